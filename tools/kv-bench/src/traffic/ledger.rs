//! `--verify`: which versions of which keys may come back. Knows nothing of sockets and protocols.
//!
//! Each key has one writer, a connection, and a connection's commands are carried out in order. So a read may return
//! any version that was already acknowledged when the read was sent, or a later one that was issued by the time the
//! reply came: an older one is stale, a newer one was never written. A key that is missing is a miss and no error:
//! caches evict.

use super::values::Mark;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What is known of each key and counter of one run; shared by all load threads.
pub struct Ledger {
    run: u32,
    issued: Vec<AtomicU32>,
    acknowledged: Vec<AtomicU32>,
    counters: Vec<AtomicU64>,
}

impl Ledger {
    /// A counter of which nothing is known: another run may have left it behind.
    const UNKNOWN: u64 = u64::MAX;

    pub fn new(run: u32, keys: u64) -> Ledger {
        let zeros = || (0..keys).map(|_| AtomicU32::new(0)).collect();
        let counters = (0..keys).map(|_| AtomicU64::new(Ledger::UNKNOWN)).collect();
        Ledger { run, issued: zeros(), acknowledged: zeros(), counters }
    }

    /// The key beside `key` that this connection may write.
    pub fn own(&self, key: u64, connection: usize, connections: usize) -> u64 {
        let own = key - key % connections as u64 + connection as u64;
        if own < self.issued.len() as u64 { own } else { own - connections as u64 }
    }

    /// The mark of the next value of `key`; a deletion takes a version too.
    pub fn issue(&self, key: u64) -> Mark {
        let version = self.issued[key as usize].fetch_add(1, Ordering::Release) + 1;
        Mark { run: self.run, version, key }
    }

    /// The server has acknowledged a write or deletion.
    pub fn acknowledge(&self, key: u64, version: u32) {
        self.acknowledged[key as usize].fetch_max(version, Ordering::Release);
    }

    /// The oldest version that a read sent now may return.
    pub fn floor(&self, key: u64) -> u32 {
        self.acknowledged[key as usize].load(Ordering::Acquire)
    }

    /// Checks what a read of `key` returned; the error says in words what is wrong.
    pub fn check(&self, key: u64, floor: u32, value: &[u8]) -> Result<(), String> {
        let Some(mark) = Mark::read(value) else {
            return Err(format!("key {key}: {} bytes that are no whole value of kv-bench", value.len()));
        };
        if mark.run != self.run {
            return Err(format!(
                "key {key}: a value of an earlier run; leave out --no-fill, or empty the server first"
            ));
        }
        if mark.key != key {
            return Err(format!("key {key}: the value of key {}", mark.key));
        }
        if mark.version < floor {
            return Err(format!(
                "key {key}: version {} although {floor} was acknowledged before the read",
                mark.version
            ));
        }
        let issued = self.issued[key as usize].load(Ordering::Acquire);
        if mark.version > issued {
            return Err(format!("key {key}: version {} although only {issued} were written", mark.version));
        }
        Ok(())
    }

    /// Checks the reply to an INCR by the counter's only writer: one more than before, or 1 if the counter was evicted
    /// meanwhile.
    pub fn counted(&self, counter: u64, reply: i64) -> Result<(), String> {
        let before = self.counters[counter as usize].swap(reply as u64, Ordering::AcqRel);
        if reply == 1 || (before == Ledger::UNKNOWN && reply > 1) || before.checked_add(1) == Some(reply as u64) {
            return Ok(());
        }
        Err(format!("counter {counter}: {reply} after {before}"))
    }

    /// A counter was set to 0.
    pub fn zeroed(&self, counter: u64) {
        self.counters[counter as usize].store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(mark: Mark) -> Vec<u8> {
        let mut value = Vec::new();
        mark.write(64, &mut value);
        value
    }

    #[test]
    fn versions_between_acknowledged_and_issued_are_right() {
        let ledger = Ledger::new(9, 10);
        let first = ledger.issue(4);
        ledger.acknowledge(4, first.version);
        let floor = ledger.floor(4);
        let second = ledger.issue(4);
        assert_eq!(ledger.check(4, floor, &value(first)), Ok(()));
        assert_eq!(ledger.check(4, floor, &value(second)), Ok(()));
        ledger.acknowledge(4, second.version);
        assert!(ledger.check(4, ledger.floor(4), &value(first)).unwrap_err().contains("acknowledged before"));
        let never = Mark { version: 3, ..second };
        assert!(ledger.check(4, floor, &value(never)).unwrap_err().contains("only 2 were written"));
    }

    #[test]
    fn values_of_other_keys_runs_and_writers_are_wrong() {
        let ledger = Ledger::new(9, 10);
        let mark = ledger.issue(4);
        assert!(ledger.check(5, 0, &value(mark)).unwrap_err().contains("value of key 4"));
        let earlier = Mark { run: 8, ..mark };
        assert!(ledger.check(4, 0, &value(earlier)).unwrap_err().contains("earlier run"));
        assert!(ledger.check(4, 0, b"xxxxx").unwrap_err().contains("no whole value"));
    }

    #[test]
    fn a_deletion_takes_a_version() {
        let ledger = Ledger::new(9, 10);
        let written = ledger.issue(1);
        let deleted = ledger.issue(1);
        ledger.acknowledge(1, deleted.version);
        assert!(ledger.check(1, ledger.floor(1), &value(written)).is_err());
    }

    #[test]
    fn each_key_has_one_writer() {
        let ledger = Ledger::new(9, 10);
        for connection in 0..4 {
            for key in 0..10 {
                let own = ledger.own(key, connection, 4);
                assert!(own < 10);
                assert_eq!(own % 4, connection as u64);
            }
        }
    }

    #[test]
    fn counters_go_up_by_one_or_start_again() {
        let ledger = Ledger::new(9, 3);
        assert!(ledger.counted(0, 17).is_ok(), "left behind by another run");
        assert!(ledger.counted(0, 18).is_ok());
        assert!(ledger.counted(0, 1).is_ok(), "evicted");
        assert!(ledger.counted(0, 3).is_err());
        ledger.zeroed(1);
        assert!(ledger.counted(1, 1).is_ok());
        assert!(ledger.counted(1, 1).is_ok());
        assert!(ledger.counted(1, -1).is_err());
    }
}
