//! The hottest values, as each core has them for itself: read without a lock and without writing to what others read. It must
//! not know commands.
//!
//! A core keeps copies of what it reads most, made under the lock of the value's shard with the version that the value had
//! then (`shard::Versions`). A read that finds a copy compares one number that only changes write to, looks at the time, and
//! has its answer; anything else goes to the shard. So every read is as of a moment between its call and its reply.
//!
//! What is hot is found by sampling (`sketch`). What the copies were used for the shards are told in the background.

mod sketch;

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use lru::LruCache;

use super::keyspace::Keyspace;
use super::shard::{Key, Shard, Versions};
use crate::base::allocator;
use crate::base::clock::UnixMillis;
use crate::config::limits;
pub use sketch::Seen;
use sketch::Sketch;

/// What a copy takes beside key and value: its place in the order of use and in the table, the allocation's rounding.
const ENTRY_BYTES: usize = 160;

/// What all cores know of each other's copies.
pub struct HotShare {
    /// What one core may hold; 0 for nothing.
    limit_bytes: AtomicUsize,
    /// Sampled reads after which a value is copied.
    threshold: AtomicU32,
    held: Box<[Held]>,
}

/// What one core holds, on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Held(AtomicUsize);

impl HotShare {
    pub fn new(cores: usize) -> HotShare {
        HotShare {
            limit_bytes: AtomicUsize::new(0),
            threshold: AtomicU32::new(limits::HOT_SAMPLES),
            held: (0..cores).map(|_| Held::default()).collect(),
        }
    }

    /// What all cores together may hold from now on; a core with less than what it takes to begin has nothing.
    pub fn set_limit(&self, bytes: usize) {
        let each = bytes / self.held.len();
        self.limit_bytes.store(each.saturating_sub(HotCache::OWN_BYTES), Relaxed);
    }

    /// Sampled reads after which a value is copied; with 0 every read is sampled, and whatever is read is copied at once.
    pub fn set_threshold(&self, samples: u32) {
        self.threshold.store(samples, Relaxed);
    }

    /// What all cores hold of copies.
    pub fn held_bytes(&self) -> u64 {
        self.held.iter().map(|held| held.0.load(Relaxed) as u64).sum()
    }
}

/// What came of looking for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// It has answered.
    Right,
    /// It is not right any more, and wants to be made anew.
    Stale,
    None,
}

struct Copied {
    /// The key, and behind it the value.
    bytes: Box<[u8]>,
    key_len: u32,
    db: u8,
    hash: u64,
    version: u64,
    /// `UnixMillis::MAX` for never.
    expires_at: UnixMillis,
    /// That the shard was not told of yet.
    uses: u32,
    /// It has been read since it was made.
    is_used: bool,
}

/// One core's copies.
pub struct HotCache {
    core: usize,
    limit_bytes: usize,
    held_bytes: usize,
    tended_at: UnixMillis,
    sketch: Sketch,
    copies: LruCache<u64, Copied, BuildHasherDefault<AsItIs>>,
    /// For a test that is to find out what happens then.
    #[cfg(test)]
    ignores_versions: bool,
}

/// Hashes are hashed already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("the keys are numbers")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where a key is kept: its hash, other in each database.
fn place(hash: u64, db: u8) -> u64 {
    hash ^ u64::from(db).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Copied {
    fn is_of(&self, key: &Key) -> bool {
        self.db == key.db && &self.bytes[..self.key_len as usize] == key.bytes
    }

    fn held_bytes(&self) -> usize {
        ENTRY_BYTES + self.bytes.len()
    }
}

impl HotCache {
    /// What a core takes before it has a copy: the sketch, and its shard's counters of versions.
    pub const OWN_BYTES: usize = Sketch::BYTES + size_of::<Versions>();

    pub fn new(core: usize) -> HotCache {
        HotCache {
            core,
            limit_bytes: 0,
            held_bytes: 0,
            tended_at: 0,
            sketch: Sketch::new(),
            copies: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
            #[cfg(test)]
            ignores_versions: false,
        }
    }

    pub fn is_on(&self) -> bool {
        self.limit_bytes > 0
    }

    /// A key is about to be read: how it stands.
    #[inline]
    pub fn see(&mut self, hash: u64, db: u8) -> Seen {
        self.sketch.see(place(hash, db))
    }

    /// Reads a value if there is a copy that is right: `answer` gets it. `counts`: it counts as a use.
    pub fn read(
        &mut self,
        versions: &Versions,
        key: &Key,
        now: UnixMillis,
        counts: bool,
        answer: impl FnOnce(&[u8]),
    ) -> Copy {
        let place = place(key.hash, key.db);
        let Some(copy) = self.copies.get_mut(&place).filter(|copy| copy.is_of(key)) else {
            self.sketch.forget(place);
            return Copy::None;
        };
        let is_current = versions.is_current(key.tag(), copy.version);
        #[cfg(test)]
        let is_current = is_current || self.ignores_versions;
        if !is_current || copy.expires_at <= now {
            return self.drop_or_renew(place);
        }
        copy.is_used = true;
        copy.uses += u32::from(counts);
        answer(&copy.bytes[copy.key_len as usize..]);
        Copy::Right
    }

    /// A copy is not right any more. One that nobody has read is not worth another.
    #[cold]
    fn drop_or_renew(&mut self, place: u64) -> Copy {
        let is_used = self.copies.peek(&place).is_some_and(|copy| copy.is_used);
        if is_used || self.sketch.takes_all() {
            return Copy::Stale;
        }
        self.remove(place);
        self.sketch.forget(place);
        Copy::None
    }

    /// Copies a value, or forgets the copy of what is not there or too large; the shard is locked.
    #[cold]
    pub fn copy(&mut self, shard: &mut Shard, key: &Key, now: UnixMillis) {
        let place = place(key.hash, key.db);
        if let Some(old) = self.copies.peek_mut(&place).filter(|copy| copy.is_of(key))
            && old.uses > 0
        {
            shard.note_uses(*key, std::mem::take(&mut old.uses), now);
        }
        self.remove(place);
        let Some(entry) = shard.peek(*key, now) else { return };
        let value = entry.value.as_slice();
        // What the kernel refuses comes from a reserve, which is not for copies.
        if key.bytes.len() + value.len() > limits::HOT_ITEM_MAX_BYTES || allocator::is_short() {
            return;
        }
        let copy = Copied {
            bytes: [key.bytes, value].concat().into(),
            key_len: key.bytes.len() as u32,
            db: key.db,
            hash: key.hash,
            version: shard.versions().lend(key.tag()),
            expires_at: entry.expires_at.unwrap_or(UnixMillis::MAX),
            uses: 0,
            is_used: false,
        };
        let bytes = copy.held_bytes();
        self.shrink(self.limit_bytes.saturating_sub(bytes));
        if self.held_bytes + bytes <= self.limit_bytes && self.sketch.keep(place) {
            self.held_bytes += bytes;
            self.copies.put(place, copy);
        }
    }

    fn remove(&mut self, place: u64) {
        if let Some(copy) = self.copies.pop(&place) {
            self.held_bytes -= copy.held_bytes();
            self.sketch.release(place);
        }
    }

    /// Forgets what was not used for the longest time, until so much is held at most.
    fn shrink(&mut self, limit_bytes: usize) {
        while self.held_bytes > limit_bytes
            && let Some((place, _)) = self.copies.peek_lru()
        {
            let place = *place;
            self.remove(place);
        }
    }

    /// Now and then: tells the shards of some uses, the oldest first, and goes by the limits of now. A shard that a script has
    /// is told later.
    pub fn tend(&mut self, keyspace: &Keyspace, now: UnixMillis) {
        if now.abs_diff(self.tended_at) < limits::SHARD_TICK_MS {
            return;
        }
        self.tended_at = now;
        let share = keyspace.hot();
        self.limit_bytes = share.limit_bytes.load(Relaxed);
        self.sketch.set_threshold(share.threshold.load(Relaxed));
        self.shrink(self.limit_bytes);
        let mut guards = keyspace.guards();
        let used = self.copies.iter_mut().rev().filter(|(_, copy)| copy.uses > 0);
        for (_, copy) in used.take(limits::HOT_TOLD_PER_TICK) {
            let key = Key { bytes: &copy.bytes[..copy.key_len as usize], hash: copy.hash, db: copy.db };
            if let Ok(shard) = guards.lock(key.hash) {
                shard.note_uses(key, std::mem::take(&mut copy.uses), now);
            }
            guards.release();
        }
        let own = if self.is_on() { Self::OWN_BYTES } else { 0 };
        share.held[self.core].0.store(own + self.held_bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests;
