//! Replays a trace against one server as an application in front of it would: reads each key, and writes it when it is not
//! there. Over several connections, in batches, but those of one key always in the order of the trace.
//!
//! A key belongs to one connection. A batch of a connection has each key once: first all reads go out and are answered,
//! then all writes. So a request meets what those before it have left, and neither side ever waits for the other with
//! full buffers: only one direction at a time carries values. All connections take their batches from the same stretch of
//! the trace, so that none runs ahead of the others.

use super::dialogue::Dialogue;
use crate::{
    memory,
    protocol::{Kind, Reply, Request},
    target::Target,
    trace::{self, Operation, Trace},
    traffic::values::Pool,
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What a replay has found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Hits {
    /// All requests, whatever they did.
    pub requests: u64,
    pub reads: u64,
    pub hits: u64,
    /// The bytes that were asked for, and of those what was found: the sizes as the trace has them.
    pub read_bytes: u64,
    pub hit_bytes: u64,
    /// Writes that the server did not take, such as those of values that are too large for it.
    pub refused: u64,
    /// Its words about the first of them.
    pub first_refusal: Option<String>,
}

/// One server that is to be asked what a trace asks.
pub struct Replay<'a> {
    trace: &'a Trace,
    target: &'a Target,
    pool: &'a Pool,
    pipeline: usize,
    connections: Vec<Connection>,
}

struct Connection {
    dialogue: Dialogue,
    /// Requests of this stretch that are still to be made, in the order of the trace.
    queue: VecDeque<trace::Request>,
    /// What was asked and is not answered for.
    batch: Vec<trace::Request>,
    /// What is to be written.
    writes: Vec<trace::Request>,
}

impl Hits {
    /// A read of a value of so many bytes, and whether it was there.
    pub fn read(&mut self, size_bytes: u32, found: bool) {
        let bytes = u64::from(size_bytes);
        self.reads += 1;
        self.read_bytes += bytes;
        self.hits += u64::from(found);
        self.hit_bytes += if found { bytes } else { 0 };
    }

    /// Of the reads, the share that was found, from 0 to 1.
    pub fn object_ratio(&self) -> f64 {
        self.hits as f64 / self.reads.max(1) as f64
    }

    /// Of the bytes read, the share that was found, from 0 to 1.
    pub fn byte_ratio(&self) -> f64 {
        self.hit_bytes as f64 / self.read_bytes.max(1) as f64
    }
}

impl<'a> Replay<'a> {
    /// How often progress is told.
    const TELL_EVERY: Duration = Duration::from_millis(200);

    /// Connects. `pool` has values as long as the trace's largest.
    pub fn open(
        trace: &'a Trace,
        target: &'a Target,
        pool: &'a Pool,
        connections: usize,
        pipeline: usize,
        timeout: Duration,
    ) -> Result<Replay<'a>, String> {
        let connection = || {
            let dialogue = Dialogue::open(target, timeout)?;
            Ok(Connection { dialogue, queue: VecDeque::new(), batch: vec![], writes: vec![] })
        };
        let connections = (0..connections).map(|_| connection()).collect::<Result<_, String>>()?;
        Ok(Replay { trace, target, pool, pipeline, connections })
    }

    /// Empties the server, and bounds its memory if a cap is given, in bytes.
    pub fn prepare(&mut self, cap: Option<u64>) -> Result<(), String> {
        let dialogue = &mut self.connections[0].dialogue;
        dialogue.ask(Kind::Order, &Request::Flush, |_| ())?;
        match cap {
            Some(bytes) => dialogue.ask(Kind::Order, &Request::Limit { bytes }, |_| ()),
            None => Ok(()),
        }
    }

    /// How many items the server holds.
    pub fn items(&mut self) -> Result<u64, String> {
        let number = |reply: Reply| if let Reply::Number(number) = reply { number.max(0) as u64 } else { 0 };
        self.connections[0].dialogue.ask(Kind::Items, &Request::Items, number)
    }

    /// The whole trace. Returns what was found, and the most that the server's process had resident meanwhile, in bytes.
    pub fn run(&mut self, progress: &mut dyn FnMut(&Hits)) -> Result<(Hits, Option<u64>), String> {
        let exact = self.target.pid.is_some_and(memory::reset_peak);
        let mut hits = Hits::default();
        let (mut sampled, mut told) = (None, Instant::now());
        for stretch in self.trace.requests.chunks(self.pipeline * self.connections.len()) {
            self.stretch(stretch, &mut hits)?;
            if told.elapsed() >= Replay::TELL_EVERY {
                told = Instant::now();
                sampled = sampled.max(self.target.pid.and_then(memory::resident));
                progress(&hits);
            }
        }
        progress(&hits);
        let read = if exact { memory::peak } else { memory::resident };
        Ok((hits, sampled.max(self.target.pid.and_then(read))))
    }

    fn stretch(&mut self, requests: &[trace::Request], hits: &mut Hits) -> Result<(), String> {
        for request in requests {
            let own = request.key as usize % self.connections.len();
            self.connections[own].queue.push_back(*request);
        }
        hits.requests += requests.len() as u64;
        let Replay { trace, pool, pipeline, connections, .. } = self;
        while connections.iter().any(|connection| !connection.queue.is_empty()) {
            for connection in &mut *connections {
                connection.send_reads(trace, *pipeline)?;
            }
            for connection in &mut *connections {
                connection.receive_reads(hits)?;
            }
            for connection in &mut *connections {
                connection.send_writes(trace, pool)?;
            }
            for connection in &mut *connections {
                connection.receive_writes(hits)?;
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Written in pieces of about this size.
    const PIECE_BYTES: usize = 1 << 20;

    /// Takes the next batch, with each key once, and sends what reads and deletes.
    fn send_reads(&mut self, trace: &Trace, pipeline: usize) -> Result<(), String> {
        let mut out = vec![];
        while self.batch.len() + self.writes.len() < pipeline
            && let Some(request) = self.queue.front()
            && !self.batch.iter().chain(&self.writes).any(|earlier| earlier.key == request.key)
        {
            let key = trace.key(request.key);
            match request.operation {
                Operation::Read => self.dialogue.protocol().encode(&Request::Get { key }, &mut out),
                Operation::Delete => self.dialogue.protocol().encode(&Request::Delete { key }, &mut out),
                Operation::Write => {}
            }
            let list = if request.operation == Operation::Write { &mut self.writes } else { &mut self.batch };
            list.extend(self.queue.pop_front());
        }
        if out.is_empty() { Ok(()) } else { self.dialogue.send(&out) }
    }

    fn receive_reads(&mut self, hits: &mut Hits) -> Result<(), String> {
        for request in self.batch.drain(..) {
            if request.operation == Operation::Delete {
                self.dialogue.receive(Kind::Delete, |_| ())?;
                continue;
            }
            let found = self.dialogue.receive(Kind::Get, |reply| matches!(reply, Reply::Value(_)))?;
            hits.read(request.size_bytes, found);
            if !found {
                self.writes.push(request);
            }
        }
        Ok(())
    }

    fn send_writes(&mut self, trace: &Trace, pool: &Pool) -> Result<(), String> {
        let mut out = vec![];
        for request in &self.writes {
            let ttl = Some(request.ttl_seconds).filter(|ttl| *ttl > 0).map(|ttl| Duration::from_secs(ttl.into()));
            let value = pool.value(request.key.into(), request.size_bytes as usize);
            self.dialogue.protocol().encode(&Request::Set { key: trace.key(request.key), value, ttl }, &mut out);
            if out.len() > Connection::PIECE_BYTES {
                self.dialogue.send(&out)?;
                out.clear();
            }
        }
        if out.is_empty() { Ok(()) } else { self.dialogue.send(&out) }
    }

    fn receive_writes(&mut self, hits: &mut Hits) -> Result<(), String> {
        for _ in self.writes.drain(..) {
            let refusal = self.dialogue.answer(Kind::Set, |reply| match reply {
                Reply::Error(words) => Some(String::from_utf8_lossy(words).into_owned()),
                _ => None,
            })?;
            if let Some(words) = refusal {
                hits.refused += 1;
                hits.first_refusal.get_or_insert(words);
            }
        }
        Ok(())
    }
}
