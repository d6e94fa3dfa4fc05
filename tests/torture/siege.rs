//! A server under attack: its resident memory is sampled every 10 ms, and a neighbour on each core works all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Client, patterned};
use crate::harness::{Engine, Server};
use crate::wire::Value;

/// The memory cap of a server under attack, and what the process itself may hold beside it.
pub const CAP_BYTES: usize = 128 << 20;
const PROCESS_BYTES: usize = 32 << 20;

const SAMPLE: Duration = Duration::from_millis(10);
/// A neighbour that waits for so long is starved, whatever else the machine has to do.
const STARVED: Duration = Duration::from_secs(15);

pub struct Siege {
    server: Server,
    name: &'static str,
    engine: Engine,
    over: Arc<AtomicBool>,
    peak: Arc<AtomicUsize>,
    sampler: Option<JoinHandle<()>>,
    neighbours: Vec<JoinHandle<Duration>>,
}

/// How often an attack is repeated: once, or as `TORTURE_ROUNDS` says.
pub fn rounds() -> usize {
    std::env::var("TORTURE_ROUNDS").map_or(1, |rounds| rounds.parse().expect("TORTURE_ROUNDS is a number"))
}

impl Siege {
    pub fn begin(engine: Engine, name: &'static str) -> Siege {
        Siege::with(engine, name, &[])
    }

    pub fn with(engine: Engine, name: &'static str, flags: &[&str]) -> Siege {
        let cap = format!("--maxmemory={CAP_BYTES}");
        let server = Server::with(engine, &[&[cap.as_str()], flags].concat());
        let password = flags.iter().find_map(|flag| flag.strip_prefix("--requirepass="));
        let (over, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        // The first two connections: one on each core.
        let mut clients: Vec<Client> = (0..2).map(|_| server.client()).collect();
        if let Some(password) = password {
            clients.iter_mut().for_each(|client| drop(client.call(&["AUTH", password])));
        }
        let neighbours = clients.into_iter().enumerate().map(|(number, client)| {
            let over = over.clone();
            std::thread::spawn(move || work(client, number, &over))
        });
        let neighbours = neighbours.collect();
        let sampler = {
            let (pid, over, peak) = (server.pid(), over.clone(), peak.clone());
            std::thread::spawn(move || sample(pid, &over, &peak))
        };
        Siege { server, name, engine, over, peak, sampler: Some(sampler), neighbours }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Connections that will be told off one after the other.
    pub fn clients(&self, count: usize) -> Vec<Client> {
        (0..count).map(|_| self.server.client()).collect()
    }

    /// The attack is over: nobody was starved, and memory has stayed under the cap.
    pub fn end(mut self) {
        self.over.store(true, Relaxed);
        let waits: Vec<Duration> = self.neighbours.drain(..).map(|neighbour| neighbour.join().unwrap()).collect();
        self.sampler.take().unwrap().join().unwrap();
        let peak = self.peak.load(Relaxed);
        let over = peak.saturating_sub(CAP_BYTES + PROCESS_BYTES) >> 20;
        println!("{} on {}: {} MiB resident, neighbours waited {waits:?}", self.name, self.engine.name(), peak >> 20);
        assert!(peak <= CAP_BYTES + PROCESS_BYTES, "{}: over the cap by {over} MiB", self.name);
        assert!(waits.iter().all(|wait| *wait < STARVED), "{}: a neighbour waited {waits:?}", self.name);
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

/// Writes and reads values of a few sizes until it is over, and returns the longest wait for a reply.
fn work(mut client: Client, number: usize, over: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    let key = format!("neighbour:{number}");
    let mut round = 0;
    while !over.load(Relaxed) {
        let value = patterned([10, 1_000, 10_000][round % 3], round);
        let begun = Instant::now();
        let set = client.call(&[b"SET".as_slice(), key.as_bytes(), &value]);
        assert_eq!(set, Value::Simple("OK".into()));
        longest = longest.max(begun.elapsed());
        let begun = Instant::now();
        // It may be evicted, but never be another.
        match client.call(&["GET", &key]) {
            Value::Bulk(got) => assert!(got == value, "what was stored is not what comes back"),
            Value::Null => {}
            other => panic!("{other:?}"),
        }
        longest = longest.max(begun.elapsed());
        round += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    longest
}

fn sample(pid: u32, over: &AtomicBool, peak: &AtomicUsize) {
    while !over.load(Relaxed) {
        if let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/statm")) {
            let pages: usize = text.split_whitespace().nth(1).unwrap().parse().unwrap();
            peak.fetch_max(pages * 4096, Relaxed);
        }
        std::thread::sleep(SAMPLE);
    }
}
