//! One core's cache: a plain synchronous library. It must not know sockets, protocol, clocks or other shards:
//! keys come hashed, the time comes as an argument.

use bytes::Bytes;
use lru::LruCache;

pub use crate::clock::UnixMillis;

/// A key with its hash, computed once by the keyspace with the process's seed (64 well-mixed bits).
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}

/// A value as it lies in the shard.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A small value, inside the item: copy it while the shard is borrowed.
    Inline(&'a [u8]),
    /// A large value: clone the handle and send it after the shard is released.
    Shared(&'a Bytes),
}

impl<'a> Value<'a> {
    pub fn as_slice(&self) -> &'a [u8] {
        match self {
            Value::Inline(bytes) => bytes,
            Value::Shared(bytes) => bytes,
        }
    }
}

/// A value on its way in: bytes that are copied, or a handle that is kept.
#[derive(Clone)]
pub enum NewValue<'a> {
    Copied(&'a [u8]),
    Shared(Bytes),
}

impl NewValue<'_> {
    pub fn len(&self) -> usize {
        match self {
            NewValue::Copied(bytes) => bytes.len(),
            NewValue::Shared(bytes) => bytes.len(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Never,
    At(UnixMillis),
    /// As the item has it that is replaced; never, if there is none.
    Keep,
}

/// What a look-up finds.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub value: Value<'a>,
    pub expires_at: Option<UnixMillis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetError {
    /// The policy allows no eviction that would make the room.
    OutOfMemory,
    /// The item is larger than this shard can ever hold.
    TooLarge,
}

/// Whether room is there for bytes about to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Ready,
    /// A bounded number of items has been evicted and more must be: release the shard, come back.
    Retry,
    /// See `SetError`.
    Refused(SetError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    AllKeysLru,
    NoEviction,
    VolatileLru,
    AllKeysRandom,
    VolatileTtl,
}

/// What one background step left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// True when there is more work right now (memory to give back, items past their time).
    pub more: bool,
}

/// What a shard counts; read under its lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardStats {
    pub evicted: u64,
    pub expired: u64,
}

pub struct Shard {
    items: LruCache<Box<[u8]>, (Bytes, Option<UnixMillis>), ahash::RandomState>,
    stats: ShardStats,
    used: u64,
    limit: u64,
}

// Stands in until the real engine lands.
impl Shard {
    /// `limit_bytes`: what items, tables and their allocator overhead may hold together.
    pub fn new(limit_bytes: u64, _policy: Policy) -> Shard {
        Shard {
            items: LruCache::unbounded_with_hasher(ahash::RandomState::new()),
            stats: ShardStats::default(),
            used: 0,
            limit: limit_bytes,
        }
    }
    fn cost(key: &[u8], value: &[u8]) -> u64 {
        (key.len() + value.len() + 100) as u64
    }
    fn drop_expired(&mut self, key: Key, now: UnixMillis) {
        if let Some((_, Some(at))) = self.items.peek(key.bytes) {
            if *at <= now {
                self.delete(key, 0);
                self.stats.expired += 1;
            }
        }
    }
    /// Finds and marks as most recently used.
    pub fn get(&mut self, key: Key, now: UnixMillis) -> Option<Entry<'_>> {
        self.drop_expired(key, now);
        self.items.get(key.bytes).map(|(value, at)| Entry { value: Value::Shared(value), expires_at: *at })
    }
    /// Finds and leaves recency as it is.
    pub fn peek(&self, key: Key, now: UnixMillis) -> Option<Entry<'_>> {
        self.items
            .peek(key.bytes)
            .filter(|(_, at)| at.is_none_or(|at| at > now))
            .map(|(value, at)| Entry { value: Value::Shared(value), expires_at: *at })
    }
    /// Inserts or replaces; the item becomes the most recently used. Evicts what it must for a value of at most
    /// `SMALL_SET_BYTES`; larger ones call `make_room` first.
    pub fn set(&mut self, key: Key, value: NewValue<'_>, expiry: Expiry, now: UnixMillis) -> Result<(), SetError> {
        let kept = self.peek(key, now).and_then(|e| e.expires_at);
        self.delete(key, now);
        let value = match value {
            NewValue::Copied(bytes) => Bytes::copy_from_slice(bytes),
            NewValue::Shared(bytes) => bytes,
        };
        let at = match expiry {
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => kept,
        };
        self.used += Self::cost(key.bytes, &value);
        self.items.put(key.bytes.into(), (value, at));
        while self.used > self.limit {
            let Some((k, v)) = self.items.pop_lru() else { break };
            self.used -= Self::cost(&k, &v.0);
            self.stats.evicted += 1;
        }
        Ok(())
    }
    /// Makes room for `bytes` of keys and values that are about to be set under the same borrow.
    pub fn make_room(&mut self, _bytes: usize, _now: UnixMillis) -> Room {
        Room::Ready
    }
    /// Removes; true if a live item was there.
    pub fn delete(&mut self, key: Key, now: UnixMillis) -> bool {
        match self.items.pop(key.bytes) {
            Some((v, at)) => {
                self.used -= Self::cost(key.bytes, &v);
                at.is_none_or(|at| at > now)
            }
            None => false,
        }
    }
    /// Sets or clears the time of expiry; true if a live item was there. Recency stays as it is.
    pub fn set_expiry(&mut self, key: Key, at: Option<UnixMillis>, now: UnixMillis) -> bool {
        self.drop_expired(key, now);
        match self.items.peek_mut(key.bytes) {
            Some(item) => {
                item.1 = at;
                true
            }
            None => false,
        }
    }
    /// Items held, those past their time but not yet collected included.
    pub fn len(&self) -> usize {
        self.items.len()
    }
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
    /// Items that carry a time of expiry.
    pub fn expiring(&self) -> usize {
        self.items.iter().filter(|(_, (_, at))| at.is_some()).count()
    }
    /// Empties at once; `tick` gives the memory back piece by piece.
    pub fn clear(&mut self) {
        self.items.clear();
        self.used = 0;
    }
    /// One bounded step of background work: expiry, give-back, eviction after the limit fell.
    pub fn tick(&mut self, _now: UnixMillis) -> Tick {
        Tick { more: false }
    }
    /// What the shard holds of memory, as the limit counts it.
    pub fn used_bytes(&self) -> u64 {
        self.used
    }
    pub fn set_limit(&mut self, limit_bytes: u64) {
        self.limit = limit_bytes;
    }
    pub fn set_policy(&mut self, _policy: Policy) {}
    pub fn stats(&self) -> ShardStats {
        self.stats
    }
    /// Starts fetching the memory that a look-up of `hash` will touch; call stage 0, 1, 2 for a batch of keys in turn.
    pub fn prefetch(&self, _hash: u64, _stage: u8) {}
}
