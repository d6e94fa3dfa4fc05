//! What users were refused: the latest of each kind first, as ACL LOG tells it. No password is ever in it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::config::limits;

#[derive(Debug)]
pub struct Log {
    max_len: AtomicUsize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next_id: u64,
    /// The latest first.
    all: VecDeque<Entry>,
}

/// What was refused, and how often within a minute.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u64,
    pub count: u64,
    pub event: Event,
    /// A line of CLIENT LIST, of the last time.
    pub client: String,
    pub created_ms: u64,
    pub updated_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub reason: &'static str,
    pub context: &'static str,
    /// The command, the key, the channel.
    pub object: Vec<u8>,
    pub user: Vec<u8>,
}

/// Refusals that are alike are one entry when they come within so long.
const TOGETHER_MS: u64 = 60_000;

impl Default for Log {
    fn default() -> Log {
        Log { max_len: AtomicUsize::new(limits::ACL_LOG_LEN), entries: Mutex::default() }
    }
}

impl Log {
    pub fn max_len(&self) -> usize {
        self.max_len.load(Relaxed)
    }

    pub fn set_max_len(&self, entries: usize) {
        self.max_len.store(entries, Relaxed);
        self.entries.lock().all.truncate(entries);
    }

    pub fn note(&self, mut event: Event, mut client: String, now_ms: u64) {
        event.object.truncate(limits::ACL_LOG_TEXT_MAX_BYTES);
        event.user.truncate(limits::ACL_LOG_TEXT_MAX_BYTES);
        // A line of CLIENT LIST has ASCII alone.
        client.truncate(limits::ACL_LOG_CLIENT_MAX_BYTES);
        let mut entries = self.entries.lock();
        let is_like = |entry: &Entry| entry.event == event && now_ms.saturating_sub(entry.created_ms) < TOGETHER_MS;
        let entry = match entries.all.iter().position(is_like).and_then(|at| entries.all.remove(at)) {
            Some(known) => Entry { count: known.count + 1, client, updated_ms: now_ms, ..known },
            None => {
                entries.next_id += 1;
                Entry { id: entries.next_id - 1, count: 1, event, client, created_ms: now_ms, updated_ms: now_ms }
            }
        };
        entries.all.push_front(entry);
        entries.all.truncate(self.max_len());
    }

    /// The latest entries, at most `count`.
    pub fn latest(&self, count: usize) -> Vec<Entry> {
        self.entries.lock().all.iter().take(count).cloned().collect()
    }

    pub fn clear(&self) {
        self.entries.lock().all = VecDeque::new();
    }
}
