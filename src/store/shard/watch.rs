//! Who wants to know when a key changes: transactions that watch it, and clients that have cached its value. It must
//! not know what they do about it.
//!
//! Whoever watches a key is told of its next change and forgotten; whoever watches a prefix is told of every one. A key
//! changes when its value or its time of expiry is set, and when it goes: deleted, expired, evicted, moved.

use super::prefixes::Prefixes;
use super::{Key, Loc, Shard, UnixMillis};
use ahash::RandomState;
use lru::LruCache;
use std::sync::Arc;

/// What an entry takes beside its key: the table's slot and links, the watcher's handle, the allocations' rounding.
const ENTRY_BYTES: usize = 192;
/// Each table may take this share of the shard; beyond, the keys watched for the longest are told of as if they had
/// changed, which is always safe.
const SHARE: u64 = 16;
/// Entries of a table that nobody needs any more which one step frees: some ten microseconds.
const FREED_PER_STEP: usize = 64;

pub trait Watcher: Send + Sync {
    /// The key may have changed, by the hand of `actor` (0 for the shard itself).
    fn changed(&self, key: &[u8], actor: u64);

    /// The database was emptied with this key in it.
    fn emptied(&self);

    /// It wants to be told of nothing any more, and is forgotten when it is met.
    fn is_gone(&self) -> bool {
        false
    }
}

struct Watch {
    key: Box<[u8]>,
    watcher: Arc<dyn Watcher>,
}

/// Who watches which keys.
struct Table {
    /// By database and tag; each change is looked up here, and compared by the key.
    keys: LruCache<(u8, u32), Vec<Watch>, RandomState>,
    bytes: u64,
    /// Watchers of all keys together.
    watches: u64,
}

pub struct Watches {
    /// By transactions: told of each key by itself.
    watched: Table,
    /// By clients that cache: of emptied and swapped databases they are told at once, and the table is forgotten.
    tracked: Table,
    prefixes: Prefixes,
    /// Tables that are forgotten and wait to be freed.
    forgotten: Vec<Table>,
    /// On whose behalf the shard is changed.
    actor: u64,
}

impl Table {
    fn new() -> Table {
        Table { keys: LruCache::unbounded_with_hasher(RandomState::new()), bytes: 0, watches: 0 }
    }

    fn add(&mut self, key: Key, watcher: &Arc<dyn Watcher>) {
        let place = (key.db, key.tag());
        let watches = self.keys.get_or_insert_mut(place, Vec::new);
        if watches.iter().any(|watch| *watch.key == *key.bytes && Arc::ptr_eq(&watch.watcher, watcher)) {
            return;
        }
        watches.push(Watch { key: key.bytes.into(), watcher: watcher.clone() });
        self.bytes += entry_bytes(key.bytes);
        self.watches += 1;
    }

    fn take(&mut self, database: u8, tag: u32, which: impl Fn(&Watch) -> bool) -> Vec<Watch> {
        let Some(watches) = self.keys.peek_mut(&(database, tag)) else { return Vec::new() };
        let taken: Vec<Watch> = watches.extract_if(.., |watch| which(watch)).collect();
        if watches.is_empty() {
            self.keys.pop(&(database, tag));
        }
        self.bytes -= taken.iter().map(|watch| entry_bytes(&watch.key)).sum::<u64>();
        self.watches -= taken.len() as u64;
        taken
    }

    fn tell(&mut self, database: u8, tag: u32, key: &[u8], actor: u64) {
        for watch in self.take(database, tag, |watch| *watch.key == *key) {
            watch.watcher.changed(key, actor);
        }
    }

    /// Tells those who have watched for the longest, until the table takes no more than `limit_bytes`.
    fn shrink(&mut self, limit_bytes: u64) {
        while self.bytes > limit_bytes
            && let Some(watches) = self.pop()
        {
            watches.iter().for_each(|watch| watch.watcher.changed(&watch.key, 0));
        }
    }

    /// Takes out the entry that was watched for the longest.
    fn pop(&mut self) -> Option<Vec<Watch>> {
        let (_, watches) = self.keys.pop_lru()?;
        self.bytes -= watches.iter().map(|watch| entry_bytes(&watch.key)).sum::<u64>();
        self.watches -= watches.len() as u64;
        Some(watches)
    }
}

impl Watches {
    pub fn new() -> Watches {
        Watches {
            watched: Table::new(),
            tracked: Table::new(),
            prefixes: Prefixes::default(),
            forgotten: Vec::new(),
            actor: 0,
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.watched.keys.is_empty() && self.tracked.keys.is_empty() && self.prefixes.is_empty()
    }

    /// Keys that clients track; those of one tag count as one.
    pub fn tracked_keys(&self) -> u64 {
        self.tracked.keys.len() as u64
    }

    /// The same, for each client that tracks one.
    pub fn tracked(&self) -> u64 {
        self.tracked.watches
    }

    pub fn prefixes(&self) -> u64 {
        self.prefixes.len() as u64
    }

    /// Memory held. The text of prefixes is charged to their clients.
    pub fn bytes(&self) -> u64 {
        let forgotten: u64 = self.forgotten.iter().map(|table| table.bytes).sum();
        self.watched.bytes + self.tracked.bytes + forgotten + (self.prefixes.len() * ENTRY_BYTES) as u64
    }

    fn tell(&mut self, database: u8, tag: u32, key: &[u8]) {
        let actor = self.actor;
        self.watched.tell(database, tag, key, actor);
        self.tracked.tell(database, tag, key, actor);
        let mut gone = Vec::new();
        for (prefix, watchers) in self.prefixes.of(key) {
            watchers.iter().for_each(|watcher| watcher.changed(key, actor));
            if watchers.iter().any(|watcher| watcher.is_gone()) {
                gone.push(prefix.len());
            }
        }
        gone.into_iter().for_each(|length| self.prefixes.remove(&key[..length], |watcher| watcher.is_gone()));
    }

    /// Whoever has cached something is told at once that all of it is worth nothing.
    fn forget_tracked(&mut self) {
        if !self.tracked.keys.is_empty() {
            self.forgotten.push(std::mem::replace(&mut self.tracked, Table::new()));
        }
    }

    /// Frees a part of what is forgotten; how much, or nothing when there is none.
    pub fn free_step(&mut self) -> Option<usize> {
        let table = self.forgotten.last_mut()?;
        let freed = (0..FREED_PER_STEP).map_while(|_| table.pop()).count();
        if table.keys.is_empty() {
            self.forgotten.pop();
        }
        Some(freed.max(1))
    }
}

fn entry_bytes(key: &[u8]) -> u64 {
    (key.len() + ENTRY_BYTES) as u64
}

impl Shard {
    /// Has the watcher told of the next change of the key. An item past its time is gone already.
    pub fn watch(&mut self, key: Key, watcher: &Arc<dyn Watcher>, now: UnixMillis) {
        let _ = self.find_live(key, now);
        self.watches.watched.add(key, watcher);
        self.watches.watched.shrink(self.limit_bytes / SHARE);
    }

    pub fn unwatch(&mut self, key: Key, watcher: &Arc<dyn Watcher>) {
        let is_own = |watch: &Watch| *watch.key == *key.bytes && Arc::ptr_eq(&watch.watcher, watcher);
        self.watches.watched.take(key.db, key.tag(), is_own);
    }

    /// The same for who has cached the value. When a database is emptied or swapped, what is tracked is forgotten without a
    /// word: the caller tells every such watcher at once.
    pub fn track(&mut self, key: Key, watcher: &Arc<dyn Watcher>, now: UnixMillis) {
        let _ = self.find_live(key, now);
        self.watches.tracked.add(key, watcher);
        self.watches.tracked.shrink(self.limit_bytes / SHARE);
    }

    /// Removes the item if its time has come, and tells those who watch it.
    pub fn expire_if_due(&mut self, key: Key, now: UnixMillis) {
        let _ = self.find_live(key, now);
    }

    /// Has the watcher told of every change of keys with this prefix, in any database.
    pub fn watch_prefix(&mut self, prefix: &[u8], watcher: &Arc<dyn Watcher>) {
        self.watches.prefixes.add(prefix, watcher);
    }

    pub fn unwatch_prefix(&mut self, prefix: &[u8], watcher: &Arc<dyn Watcher>) {
        self.watches.prefixes.remove(prefix, |known| Arc::ptr_eq(known, watcher));
    }

    /// On whose behalf what follows is done.
    #[inline]
    pub fn act_for(&mut self, actor: u64) {
        self.watches.actor = actor;
    }

    /// The item at `loc` has changed, or is about to go.
    #[inline]
    pub(super) fn note_change(&mut self, loc: Loc) {
        self.versions.change(self.heap.tag(loc));
        if !self.watches.is_empty() {
            self.tell_of(loc);
        }
    }

    #[cold]
    fn tell_of(&mut self, loc: Loc) {
        // An emptied database has been told of as a whole.
        if let Some(database) = self.databases.database(self.heap.table(loc)) {
            let key = super::key_at(&self.heap, &self.large, loc);
            self.watches.tell(database, self.heap.tag(loc), key);
        }
    }

    /// The database is about to be emptied.
    pub(super) fn note_emptying(&mut self, database: u8) {
        self.watches.forget_tracked();
        for (key, tag) in self.watched_keys(database) {
            if self.has_tagged(database, tag, &key) {
                let watches = self.watches.watched.take(database, tag, |watch| watch.key == key);
                watches.iter().for_each(|watch| watch.watcher.emptied());
            }
        }
    }

    /// Two databases have been swapped: a key that is there, or was, has changed in both.
    pub(super) fn note_swap(&mut self, one: u8, other: u8) {
        self.watches.forget_tracked();
        let actor = self.watches.actor;
        for database in [one, other] {
            for (key, tag) in self.watched_keys(database) {
                if self.has_tagged(one, tag, &key) || self.has_tagged(other, tag, &key) {
                    self.watches.watched.tell(database, tag, &key, actor);
                }
            }
        }
    }

    fn watched_keys(&self, database: u8) -> Vec<(Box<[u8]>, u32)> {
        let of_database = self.watches.watched.keys.iter().filter(|((own, _), _)| *own == database);
        of_database.flat_map(|((_, tag), watches)| watches.iter().map(|watch| (watch.key.clone(), *tag))).collect()
    }

    fn has_tagged(&self, database: u8, tag: u32, key: &[u8]) -> bool {
        self.find(Key { bytes: key, hash: (tag as u64) << 32, db: database }).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, key};
    use super::super::{Expiry, NewValue, Policy};
    use super::*;
    use std::sync::Mutex;

    /// Keeps what it is told.
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Watcher for Notes {
        fn changed(&self, key: &[u8], actor: u64) {
            self.0.lock().unwrap().push(format!("{} by {actor}", key[0]));
        }

        fn emptied(&self) {
            self.0.lock().unwrap().push("emptied".to_owned());
        }
    }

    fn watched() -> (Shard, Arc<Notes>, Arc<dyn Watcher>) {
        let notes = Arc::new(Notes::default());
        let watcher: Arc<dyn Watcher> = notes.clone();
        let mut shard = Shard::new(64 << 20, Policy::AllKeysLru);
        shard.put(1, 10, Expiry::At(NOW + 1000)).unwrap();
        shard.act_for(42);
        (shard, notes, watcher)
    }

    fn taken(notes: &Notes) -> Vec<String> {
        std::mem::take(&mut notes.0.lock().unwrap())
    }

    #[test]
    fn each_kind_of_change_is_told_once() {
        type Change = fn(&mut Shard, Key);
        let changes: [Change; 7] = [
            |shard, key| shard.set(key, NewValue::Copied(b"same class"), Expiry::Keep, NOW).unwrap(),
            |shard, key| shard.set(key, NewValue::Copied(&[0; 5000]), Expiry::Never, NOW).unwrap(),
            |shard, key| assert!(shard.delete(key, NOW)),
            |shard, key| assert!(shard.set_expiry(key, None, NOW)),
            |shard, key| assert_eq!(shard.move_to(key, 3, NOW), Ok(true)),
            |shard, _| while shard.tick(NOW + 2000).more {},
            |shard, key| assert!(shard.get(key, NOW + 2000).is_none()),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let (mut shard, notes, watcher) = watched();
            let bytes = 1u64.to_le_bytes();
            shard.watch(key(&bytes), &watcher, NOW);
            shard.put(2, 10, Expiry::Never).unwrap();
            shard.get(key(&bytes), NOW);
            assert_eq!(taken(&notes), [""; 0]);
            change(&mut shard, key(&bytes));
            assert_eq!(taken(&notes), ["1 by 42"], "change {number}");
            shard.put(1, 10, Expiry::Never).unwrap();
            assert_eq!(taken(&notes), [""; 0]);
            assert_eq!(shard.watches.bytes(), 0);
        }
    }

    #[test]
    fn a_key_that_is_not_there_can_be_watched_and_left() {
        let (mut shard, notes, watcher) = watched();
        let bytes = 9u64.to_le_bytes();
        for _ in 0..2 {
            shard.watch(key(&bytes), &watcher, NOW);
        }
        shard.unwatch(key(&bytes), &watcher);
        shard.put(9, 1, Expiry::Never).unwrap();
        shard.watch(key(&bytes), &watcher, NOW);
        shard.put(9, 2, Expiry::Never).unwrap();
        assert_eq!(taken(&notes), ["9 by 42"]);
    }

    #[test]
    fn emptying_and_swapping_are_told_for_keys_that_are_or_were_there() {
        let (mut shard, notes, watcher) = watched();
        let (there, not) = (1u64.to_le_bytes(), 2u64.to_le_bytes());
        let watch = |shard: &mut Shard| [&there, &not].map(|bytes| shard.watch(key(bytes), &watcher, NOW));
        watch(&mut shard);
        shard.clear_database(1);
        assert_eq!(taken(&notes), [""; 0]);
        shard.swap_databases(0, 1);
        assert_eq!(taken(&notes), ["1 by 42"]);
        shard.swap_databases(0, 1);
        watch(&mut shard);
        shard.clear_database(0);
        assert_eq!(taken(&notes), ["emptied"]);
        shard.put(1, 1, Expiry::Never).unwrap();
        watch(&mut shard);
        shard.clear();
        assert_eq!(taken(&notes), ["emptied"]);
    }

    #[test]
    fn what_is_tracked_is_told_of_changes_and_forgotten_with_the_database() {
        let (mut shard, notes, watcher) = watched();
        let bytes: Vec<_> = (0..1_000u64).map(u64::to_le_bytes).collect();
        bytes.iter().for_each(|bytes| shard.track(key(bytes), &watcher, NOW));
        shard.put(1, 2, Expiry::Never).unwrap();
        assert_eq!(taken(&notes), ["1 by 42"]);
        let before = shard.watches.bytes();
        shard.clear_database(5);
        shard.put(2, 2, Expiry::Never).unwrap();
        assert_eq!(taken(&notes), [""; 0]);
        assert_eq!(shard.watches.bytes(), before, "it is freed step by step");
        while shard.tick(NOW).more {}
        assert_eq!(shard.watches.bytes(), 0);
    }

    #[test]
    fn a_prefix_is_watched_until_it_is_left() {
        let (mut shard, notes, watcher) = watched();
        shard.watch_prefix(&[7], &watcher);
        for number in [7, 8, 7] {
            shard.put(number, 1, Expiry::Never).unwrap();
        }
        assert_eq!(taken(&notes), ["7 by 42", "7 by 42"]);
        shard.unwatch_prefix(&[7], &watcher);
        shard.put(7, 1, Expiry::Never).unwrap();
        assert_eq!((taken(&notes).len(), shard.watches.is_empty(), shard.watches.bytes()), (0, true, 0));
    }

    #[test]
    fn too_many_watches_are_told_of_rather_than_kept() {
        let (mut shard, notes, watcher) = watched();
        for number in 0..100_000u64 {
            shard.watch(key(&number.to_le_bytes()), &watcher, NOW);
        }
        assert!(shard.watches.bytes() <= (64 << 20) / SHARE);
        let told = taken(&notes);
        assert!(told.len() > 50_000 && told[0] == "0 by 0");
    }
}
