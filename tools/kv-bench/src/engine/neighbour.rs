//! A client beside the load that writes and reads one large value without a pause. Its own requests are not measured: what
//! counts is how the others fare meanwhile.

use super::dialogue::Dialogue;
use crate::{
    protocol::{Kind, Request},
    target::Target,
    traffic::values::Pool,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

pub struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Neighbour {
    /// Begins, on a connection and a thread of its own, with a value of so many bytes.
    pub fn start(target: &Target, bytes: usize, timeout: Duration) -> Result<Neighbour, String> {
        let mut dialogue = Dialogue::open(target, timeout)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            let pool = Pool::new(bytes, 1);
            let mut requests = 0;
            while !stopped.load(Ordering::Relaxed) {
                let (key, value) = (b"kv-bench-neighbour", pool.value(requests, bytes));
                dialogue.ask(Kind::Set, &Request::Set { key, value, ttl: None }, |_| ())?;
                dialogue.ask(Kind::Get, &Request::Get { key }, |_| ())?;
                requests += 2;
            }
            Ok(requests)
        };
        let thread = thread::Builder::new().name("neighbour".into()).spawn(work);
        Ok(Neighbour { stop, thread: thread.map_err(|why| format!("thread: {why}"))? })
    }

    /// Ends after the request under way; how many there were, or why they failed.
    pub fn finish(self) -> Result<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        let result = self.thread.join().unwrap_or_else(|_| Err("its thread ended unexpectedly".into()));
        result.map_err(|why| format!("the client with the large value failed: {why}"))
    }
}
