//! What goes into a shard and comes out of it: keys, values, times, answers, counts. It must not know how they are kept.

use super::UnixMillis;
use crate::base::extents::Blob;
use bytes::Bytes;

/// A key with its hash, computed once by the keyspace with the process's seed (64 well-mixed bits).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
    /// The database, less than `DATABASES`.
    pub db: u8,
}

impl Key<'_> {
    /// The part of the hash that the index uses. The keyspace picks the shard by the other half.
    pub(in crate::store) fn tag(&self) -> u32 {
        (self.hash >> 32) as u32
    }
}

/// A value as it lies in the shard.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A small value, inside the item: copy it while the shard is borrowed.
    Inline(&'a [u8]),
    /// A large value: clone the handle and send it after the shard is released.
    Shared(&'a Blob),
}

impl<'a> Value<'a> {
    pub fn as_slice(&self) -> &'a [u8] {
        match self {
            Value::Inline(bytes) => bytes,
            Value::Shared(bytes) => bytes,
        }
    }

    /// To keep when the shard is released: a small value is copied, of a large one the handle.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Value::Inline(bytes) => Bytes::copy_from_slice(bytes),
            Value::Shared(blob) => (*blob).clone().into(),
        }
    }
}

/// A value on its way in.
#[derive(Clone)]
pub enum NewValue<'a> {
    /// Bytes to be copied.
    Copied(&'a [u8]),
    /// A handle that is kept if the item is large.
    Shared(Blob),
}

impl NewValue<'_> {
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            NewValue::Copied(bytes) => bytes,
            NewValue::Shared(bytes) => bytes,
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

/// What an item may have beside its value. It takes room only in items that have some of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// A word of the clients' own.
    pub flags: u32,
    /// Which of the values that the key ever had this is; 0 while nobody has asked. A later value's is larger.
    pub version: u64,
    /// It is served while somebody fetches a new one.
    pub is_stale: bool,
    /// Somebody was told to fetch a new one.
    pub is_claimed: bool,
}

impl Extra {
    pub const NONE: Extra = Extra { flags: 0, version: 0, is_stale: false, is_claimed: false };
}

/// What a look-up finds, with what the item has beside its value.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub entry: Entry<'a>,
    pub extra: Extra,
    /// It was read since it was written, before this.
    pub was_read: bool,
}

/// What a look-up finds.
#[derive(Clone, Copy, Debug)]
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

/// What one background step left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// True when there is more work right now (memory to give back, items past their time).
    pub more: bool,
}

/// For so many times the memory it is counted which misses would have been hits.
pub const GHOST_MEMORY: [f32; 3] = [1.1, 1.5, 2.0];

/// What a shard counts; read under its lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Items given up to make room, since the start.
    pub evicted: u64,
    /// Items removed because their time had come, since the start.
    pub expired: u64,
    /// Those of them that nobody had asked for: found by the wheel, or when room was needed.
    pub expired_unasked: u64,
    /// How long the items evicted of late had been idle: a mean in which each eviction weighs 1/16. In milliseconds.
    pub eviction_age_millis: u64,
    /// About how many misses would have been hits with `GHOST_MEMORY` times the memory, under the policies that know.
    pub ghost_hits: [u64; GHOST_MEMORY.len()],
    pub items: u64,
    /// Items that carry a time of expiry.
    pub expiring: u64,
    /// See `Shard::used_bytes`.
    pub used_bytes: u64,
    /// Keys and values alone.
    pub dataset_bytes: u64,
    /// What is kept of keys that are watched or tracked, and of prefixes.
    pub watches_bytes: u64,
    /// Keys that clients track, once for each key and once for each client that does, and prefixes.
    pub tracked_keys: u64,
    pub tracked: u64,
    pub prefixes: u64,
}
