//! The command logs: the last commands that took longer, asked with more or were answered with more than a threshold, with
//! the beginning of their arguments. It must not know commands.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};

use crate::config::limits;

/// One of the logs.
#[derive(Debug)]
pub struct CommandLog {
    /// From here on a command is logged; negative logs nothing.
    threshold: AtomicI64,
    max_len: AtomicUsize,
    log: Mutex<Log>,
}

/// All of them, and what their entries keep.
#[derive(Debug)]
pub struct CommandLogs {
    /// By microseconds.
    pub slow: CommandLog,
    /// By bytes.
    pub large_requests: CommandLog,
    pub large_replies: CommandLog,
    pub max_arguments: AtomicUsize,
    pub max_argument_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Log {
    next_id: u64,
    /// The latest first.
    entries: VecDeque<Entry>,
    held_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u64,
    pub unix_seconds: u64,
    /// Microseconds or bytes.
    pub value: u64,
    pub args: Vec<Vec<u8>>,
    pub address: String,
    pub client_name: String,
}

impl Entry {
    fn held_bytes(&self) -> usize {
        let args: usize = self.args.iter().map(|arg| arg.len() + size_of::<Vec<u8>>()).sum();
        size_of::<Entry>() + args + self.address.len() + self.client_name.len()
    }
}

impl Default for CommandLogs {
    fn default() -> CommandLogs {
        CommandLogs {
            slow: CommandLog::of(limits::SLOWLOG_MICROS),
            large_requests: CommandLog::of(limits::COMMANDLOG_LARGE_BYTES),
            large_replies: CommandLog::of(limits::COMMANDLOG_LARGE_BYTES),
            max_arguments: AtomicUsize::new(limits::SLOWLOG_ARGUMENTS_MAX),
            max_argument_bytes: AtomicUsize::new(limits::SLOWLOG_ARGUMENT_MAX_BYTES),
        }
    }
}

impl CommandLogs {
    /// Memory held: a part of the process's own.
    pub fn held_bytes(&self) -> usize {
        [&self.slow, &self.large_requests, &self.large_replies].into_iter().map(CommandLog::held_bytes).sum()
    }

    /// What an entry keeps of a command's arguments.
    pub fn excerpt<'a>(&self, args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
        excerpt(args, self.max_arguments.load(Relaxed), self.max_argument_bytes.load(Relaxed))
    }
}

impl CommandLog {
    fn of(threshold: i64) -> CommandLog {
        CommandLog {
            threshold: AtomicI64::new(threshold),
            max_len: AtomicUsize::new(limits::SLOWLOG_LEN),
            log: Mutex::default(),
        }
    }

    /// As CONFIG has it: microseconds or bytes, negative for never.
    pub fn threshold(&self) -> i64 {
        self.threshold.load(Relaxed)
    }

    pub fn set_threshold(&self, threshold: i64) {
        self.threshold.store(threshold, Relaxed);
    }

    /// From so many bytes on a command is logged.
    pub fn threshold_bytes(&self) -> usize {
        usize::try_from(self.threshold()).unwrap_or(usize::MAX)
    }

    /// From so many nanoseconds on a command is logged.
    pub fn threshold_nanos(&self) -> u64 {
        u64::try_from(self.threshold()).map_or(u64::MAX, |micros| micros.saturating_mul(1000))
    }

    pub fn max_len(&self) -> usize {
        self.max_len.load(Relaxed)
    }

    pub fn set_max_len(&self, entries: usize) {
        self.max_len.store(entries, Relaxed);
        self.log().keep(entries);
    }

    /// Gives the entry its number.
    pub fn add(&self, entry: Entry) {
        let mut log = self.log();
        let id = log.next_id;
        log.next_id += 1;
        log.held_bytes += entry.held_bytes();
        log.entries.push_front(Entry { id, ..entry });
        log.keep(self.max_len());
    }

    /// The latest entries, at most `count`.
    pub fn latest(&self, count: usize) -> Vec<Entry> {
        self.log().entries.iter().take(count).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.log().entries.len()
    }

    fn held_bytes(&self) -> usize {
        self.log().held_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&self) {
        let mut log = self.log();
        (log.entries, log.held_bytes) = (VecDeque::new(), 0);
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock()
    }
}

impl Log {
    /// The oldest go, until there are no more than so many, and they hold no more than they may.
    fn keep(&mut self, entries: usize) {
        while self.entries.len() > entries || self.held_bytes > limits::COMMANDLOG_MAX_BYTES {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.held_bytes -= oldest.held_bytes();
        }
    }
}

/// The first arguments, and the first bytes of each; what is left out is counted.
fn excerpt<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>, most: usize, most_bytes: usize) -> Vec<Vec<u8>> {
    let total = args.len();
    let whole = if total > most { most - 1 } else { total };
    let mut kept: Vec<_> = args.take(whole).map(|arg| shorten(arg, most_bytes)).collect();
    if whole < total {
        kept.push(format!("... ({} more arguments)", total - whole).into_bytes());
    }
    kept
}

fn shorten(arg: &[u8], most: usize) -> Vec<u8> {
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
        let logs = CommandLogs::default();
        let kept = logs.excerpt(args.into_iter());
        assert_eq!(kept.len(), 32);
        assert!(kept[0].ends_with(b"x... (72 more bytes)"));
        assert_eq!(kept[31], b"... (9 more arguments)");
        assert_eq!(logs.excerpt([&b"get"[..], b"k"].into_iter()), [&b"get"[..], b"k"]);
    }

    #[test]
    fn the_latest_come_first_and_the_log_is_bounded() {
        let log = CommandLogs::default().slow;
        log.set_max_len(3);
        let entry = |value, bytes| Entry {
            id: 0,
            unix_seconds: 0,
            value,
            args: vec![vec![0; bytes]],
            address: String::new(),
            client_name: String::new(),
        };
        (0..5).for_each(|value| log.add(entry(value, 0)));
        let ids: Vec<_> = log.latest(10).iter().map(|entry| (entry.id, entry.value)).collect();
        assert_eq!(ids, [(4, 4), (3, 3), (2, 2)]);
        assert_eq!(log.latest(1).len(), 1);
        log.set_max_len(1);
        assert_eq!(log.len(), 1);
        log.clear();
        assert!(log.is_empty() && log.held_bytes() == 0);
        // However long the entries may be, all of them together are bounded.
        log.set_max_len(limits::SLOWLOG_LEN_MAX);
        (0..10).for_each(|value| log.add(entry(value, limits::COMMANDLOG_MAX_BYTES / 3)));
        assert_eq!(log.len(), 2);
    }
}
