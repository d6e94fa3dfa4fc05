//! The slow log: the last commands that took longer than a threshold, with the beginning of their arguments. It must
//! not know commands.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};

use crate::config::limits;

#[derive(Debug)]
pub struct SlowLog {
    /// In microseconds; negative logs nothing.
    slower_than: AtomicI64,
    max_len: AtomicUsize,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    next_id: u64,
    /// The latest first.
    entries: VecDeque<Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u64,
    pub unix_seconds: u64,
    pub micros: u64,
    pub args: Vec<Vec<u8>>,
    pub address: String,
    pub client_name: String,
}

impl Default for SlowLog {
    fn default() -> SlowLog {
        SlowLog {
            slower_than: AtomicI64::new(10_000),
            max_len: AtomicUsize::new(limits::SLOWLOG_LEN),
            log: Mutex::default(),
        }
    }
}

impl SlowLog {
    pub fn slower_than_micros(&self) -> i64 {
        self.slower_than.load(Relaxed)
    }

    pub fn set_slower_than(&self, micros: i64) {
        self.slower_than.store(micros, Relaxed);
    }

    /// From here on a command is logged.
    pub fn threshold_nanos(&self) -> u64 {
        u64::try_from(self.slower_than_micros()).map_or(u64::MAX, |micros| micros.saturating_mul(1000))
    }

    pub fn max_len(&self) -> usize {
        self.max_len.load(Relaxed)
    }

    pub fn set_max_len(&self, entries: usize) {
        self.max_len.store(entries, Relaxed);
        self.log().entries.truncate(entries);
    }

    /// Gives the entry its number.
    pub fn add(&self, entry: Entry) {
        let mut log = self.log();
        let id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(Entry { id, ..entry });
        log.entries.truncate(self.max_len());
    }

    /// The latest entries, at most `count`.
    pub fn latest(&self, count: usize) -> Vec<Entry> {
        self.log().entries.iter().take(count).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.log().entries.len()
    }

    /// Memory held: a part of the process's own.
    pub fn held_bytes(&self) -> usize {
        let bytes = |entry: &Entry| {
            let args: usize = entry.args.iter().map(|arg| arg.len() + size_of::<Vec<u8>>()).sum();
            size_of::<Entry>() + args + entry.address.len() + entry.client_name.len()
        };
        self.log().entries.iter().map(bytes).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&self) {
        self.log().entries = VecDeque::new();
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock()
    }
}

/// What an entry keeps of a command's arguments.
pub fn excerpt<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let total = args.len();
    let whole = if total > limits::SLOWLOG_ARGUMENTS_MAX { limits::SLOWLOG_ARGUMENTS_MAX - 1 } else { total };
    let mut kept: Vec<_> = args.take(whole).map(shorten).collect();
    if whole < total {
        kept.push(format!("... ({} more arguments)", total - whole).into_bytes());
    }
    kept
}

fn shorten(arg: &[u8]) -> Vec<u8> {
    let most = limits::SLOWLOG_ARGUMENT_MAX_BYTES;
    if arg.len() <= most {
        return arg.to_vec();
    }
    let mut shown = arg[..most].to_vec();
    shown.extend_from_slice(format!("... ({} more bytes)", arg.len() - most).as_bytes());
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_cut_as_redis_does() {
        let long = [b'x'; 200];
        let args: Vec<&[u8]> = std::iter::repeat_n(&long[..], 40).collect();
        let kept = excerpt(args.into_iter());
        assert_eq!(kept.len(), 32);
        assert!(kept[0].ends_with(b"x... (72 more bytes)"));
        assert_eq!(kept[31], b"... (9 more arguments)");
        assert_eq!(excerpt([&b"get"[..], b"k"].into_iter()), [&b"get"[..], b"k"]);
    }

    #[test]
    fn the_latest_come_first_and_the_log_is_bounded() {
        let log = SlowLog::default();
        log.set_max_len(3);
        for micros in 0..5 {
            let entry = Entry {
                id: 0,
                unix_seconds: 0,
                micros,
                args: Vec::new(),
                address: String::new(),
                client_name: String::new(),
            };
            log.add(entry);
        }
        let ids: Vec<_> = log.latest(10).iter().map(|entry| (entry.id, entry.micros)).collect();
        assert_eq!(ids, [(4, 4), (3, 3), (2, 2)]);
        assert_eq!(log.latest(1).len(), 1);
        log.set_max_len(1);
        assert_eq!(log.len(), 1);
        log.clear();
        assert!(log.is_empty());
    }
}
