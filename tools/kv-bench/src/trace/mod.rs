//! Recorded requests, one after the other, as caches have seen them: which key, how large its value, and where the trace
//! says so what was done and for how long it lives.
//!
//! A trace is held in memory, 16 bytes a request beside each key once, so that it can be replayed many times.

mod compression;
mod format;

use std::{collections::HashMap, fs::File, path::Path};

pub use format::Format;
use format::{Reader, Record};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads, and on a miss writes.
    Read,
    Write,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which of the trace's keys.
    pub key: u32,
    /// Of the value.
    pub size_bytes: u32,
    /// 0: for ever.
    pub ttl_seconds: u32,
    pub operation: Operation,
}

/// All requests of a trace, in its order.
pub struct Trace {
    /// The file's name without its folder.
    pub name: String,
    pub requests: Vec<Request>,
    keys: Keys,
}

/// The keys by number, one after the other in one buffer.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Trace {
    /// A larger value cannot be replayed.
    pub const LARGEST_VALUE_BYTES: u32 = 512 << 20;

    /// Reads at most `limit` requests of a file, compressed or not. An error is one line that names file and line.
    pub fn read(path: &Path, format: Format, limit: u64) -> Result<Trace, String> {
        let named = |why: String| format!("{}: {why}", path.display());
        let file = File::open(path).map_err(|why| named(why.to_string()))?;
        let input = compression::open(file).map_err(|why| named(why.to_string()))?;
        let mut numbers = Numbers::default();
        let mut requests = vec![];
        let mut reader = Reader::new(input, format, path).map_err(named)?;
        while (requests.len() as u64) < limit
            && let Some(Record { key, size_bytes, ttl_seconds, operation }) = reader.next().map_err(named)?
        {
            if size_bytes > u64::from(Trace::LARGEST_VALUE_BYTES) {
                return Err(named(format!(
                    "a value of {size_bytes} bytes; the largest is {}",
                    Trace::LARGEST_VALUE_BYTES
                )));
            }
            let key = numbers.of(key).map_err(named)?;
            requests.push(Request { key, size_bytes: size_bytes as u32, ttl_seconds, operation });
        }
        if requests.is_empty() {
            return Err(named("no requests in it".into()));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Trace { name, requests, keys: numbers.keys })
    }

    /// So many different keys.
    pub fn keys(&self) -> usize {
        self.keys.ends.len()
    }

    /// The key as it is spelled in the trace.
    pub fn key(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.keys.ends[before]);
        &self.keys.bytes[start..self.keys.ends[number]]
    }

    /// The largest value, in bytes.
    pub fn largest(&self) -> u32 {
        self.requests.iter().map(|request| request.size_bytes).max().unwrap_or(0)
    }

    /// The bytes of all keys and their first values: a cache that holds them never misses twice.
    pub fn footprint_bytes(&self) -> u64 {
        let mut seen = vec![false; self.keys()];
        let first = |request: &&Request| !std::mem::replace(&mut seen[request.key as usize], true);
        let values: u64 = self.requests.iter().filter(first).map(|request| u64::from(request.size_bytes)).sum();
        values + self.keys.bytes.len() as u64
    }
}

/// Gives numbers to keys in the order in which they appear.
#[derive(Default)]
struct Numbers {
    known: HashMap<Box<[u8]>, u32>,
    keys: Keys,
}

impl Numbers {
    fn of(&mut self, key: &[u8]) -> Result<u32, String> {
        if let Some(number) = self.known.get(key) {
            return Ok(*number);
        }
        let number = u32::try_from(self.known.len()).map_err(|_| "more than 4 billion keys")?;
        self.known.insert(key.into(), number);
        self.keys.bytes.extend_from_slice(key);
        self.keys.ends.push(self.keys.bytes.len());
        Ok(number)
    }
}
