//! One core's cache: a plain synchronous library. It must not know sockets, protocol, clocks or other shards:
//! keys come hashed, the time comes as an argument.
//!
//! In reading order, from what a command does down to where bytes lie:
//!
//! - this file: the commands on one key;  `lifecycle`: how an item comes, changes and goes;
//! - `reclaim`: room for what comes, by eviction, by moving cells together, by giving memory back, in bounded steps;
//! - `several`: items that are set together or not at all;  `extras`: what an item has beside its value;
//! - `account`: what is held, counted;
//! - `scan`: the commands on any key;  `edit`: changes of large values where they lie;
//! - `evict`: which item goes, by the policy;  `order`: the order of eviction, and how one takes over from another;
//! - `recency`: the order of use;  `frequency`: that of counted uses;  `s3fifo`, `ghosts`: that of arrival, with second
//!   chances;  `list`: how items are threaded together;
//! - `databases`, `index`: from a key's hash to its cell;  `wheel`: the order of expiry;
//! - `item`: what lies in a cell;  `heap`, `classes`: where cells lie;  `large`: what is too large for one;
//! - `space`: the memory of cells and indexes;
//! - `watch`: who is told when a key changes;  `versions`: how who keeps copies finds that out;
//! - `types`: what goes in and comes out;
//! - `deferred_free`: large values that have been cleared and are not freed yet.
//!
//! An item is one cell. Both orders are lists threaded through the cells, so an item costs its cell and an entry of
//! the index, and whoever moves a cell mends the index and the neighbours (`Shard::move_item`).

// Two exceptions: `space` (memory as the kernel gives it) and `prefetch` (one instruction).
#![deny(unsafe_code)]

mod account;
mod classes;
mod databases;
mod deferred_free;
mod edit;
mod evict;
mod extras;
mod frequency;
mod ghosts;
mod heap;
mod index;
mod item;
mod large;
mod lifecycle;
mod list;
mod order;
mod prefetch;
mod prefixes;
mod reclaim;
mod recency;
mod s3fifo;
mod scan;
mod several;
mod space;
mod sparing;
#[cfg(test)]
mod testing;
mod types;
mod versions;
mod watch;
mod wheel;

use classes::{MAX_CELL_BYTES, class_of};
use databases::Databases;
use deferred_free::DeferredFree;
use heap::{Heap, Loc};
use item::{Fields, Shape};
use large::{Large, LargeItems};
use order::Order;
use reclaim::Reservation;
use std::sync::{Arc, atomic};
use watch::Watches;
use wheel::Wheel;

pub use crate::base::clock::UnixMillis;
use crate::base::extents::Extents;
use crate::config::Policy;
pub use databases::DATABASES;
pub use types::*;
pub use versions::Versions;
pub use watch::Watcher;

/// `set` makes the room for items of at most this much itself; for larger ones call `make_room` first. Also the
/// largest item whose value is copied into the shard; of a larger one the handle is kept.
pub const SMALL_SET_BYTES: usize = MAX_CELL_BYTES;

/// The cache lines of an item that are fetched ahead: links, key, and a value of about a hundred bytes.
const ITEM_LINES: usize = 3;

pub struct Shard {
    heap: Heap,
    large: LargeItems,
    extents: Extents,
    databases: Databases,
    order: Order,
    wheel: Wheel,
    deferred_free: DeferredFree,
    watches: Watches,
    versions: Arc<Versions>,
    policy: Policy,
    /// The shard's own part, and what it has beyond that for now.
    own_bytes: u64,
    lent_bytes: u64,
    limit_bytes: u64,
    dataset_bytes: u64,
    reservation: Option<Reservation>,
    evicted: u64,
    expired: u64,
    expired_unasked: u64,
    eviction_age_millis: u64,
    /// State of the generator behind random choices.
    random: u64,
    /// The last that was given.
    version: u64,
}

impl Shard {
    /// `limit_bytes`: what items, tables and their allocator overhead may hold together.
    pub fn new(limit_bytes: u64, policy: Policy) -> Shard {
        Shard::with_extents(limit_bytes, policy, Extents::default())
    }

    /// The same beside others: what `extents` of all of them hold, each bears its part of.
    pub fn with_extents(limit_bytes: u64, policy: Policy, extents: Extents) -> Shard {
        Shard {
            heap: Heap::new(),
            large: LargeItems::default(),
            extents,
            databases: Databases::new(),
            order: Order::new(policy),
            wheel: Wheel::new(),
            deferred_free: DeferredFree::default(),
            watches: Watches::new(),
            versions: Arc::default(),
            policy,
            own_bytes: limit_bytes,
            lent_bytes: 0,
            limit_bytes,
            dataset_bytes: 0,
            reservation: None,
            evicted: 0,
            expired: 0,
            expired_unasked: 0,
            eviction_age_millis: 0,
            random: 0,
            version: 0,
        }
    }

    /// Finds and marks as most recently used.
    pub fn get(&mut self, key: Key, now: UnixMillis) -> Option<Entry<'_>> {
        let Some(loc) = self.find_live(key, now) else {
            self.order.missed(key.tag());
            return None;
        };
        self.touch(loc, now);
        self.note_read(loc);
        Some(self.entry(loc))
    }

    /// Finds and leaves recency as it is.
    pub fn peek(&self, key: Key, now: UnixMillis) -> Option<Entry<'_>> {
        Some(self.entry(self.peek_live(key, now)?))
    }

    /// Inserts or replaces; the item becomes the most recently used. Evicts what it must for an item of at most
    /// `SMALL_SET_BYTES`; larger ones call `make_room` first. A time of expiry that has passed removes the item.
    pub fn set(&mut self, key: Key, value: NewValue<'_>, expiry: Expiry, now: UnixMillis) -> Result<(), SetError> {
        let old = self.find_live(key, now);
        self.write::<false>(old, key, value, (expiry, Extra::NONE), now)
    }

    /// The same with a value of at most `SMALL_SET_BYTES` that `change` makes of the present one, if there is one; what
    /// expires keeps its time, and its flags stay. An error of `change` leaves all as it is.
    pub fn update<'v, E>(
        &mut self,
        key: Key,
        now: UnixMillis,
        change: impl FnOnce(Option<&[u8]>) -> Result<NewValue<'v>, E>,
    ) -> Result<Result<(), SetError>, E> {
        let old = self.find_live(key, now);
        let value = match old {
            Some(loc) => change(Some(self.entry(loc).value.as_slice())),
            None => change(None),
        }?;
        let extra = self.kept_extra(old);
        Ok(self.write::<false>(old, key, value, (Expiry::Keep, extra), now))
    }

    /// `PREPARED`: its room is there, and nothing has to go for it.
    #[inline]
    fn write<const PREPARED: bool>(
        &mut self,
        old: Option<Loc>,
        key: Key,
        value: NewValue<'_>,
        (expiry, extra): (Expiry, Extra),
        now: UnixMillis,
    ) -> Result<(), SetError> {
        let expires_at = match expiry {
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => old.and_then(|loc| self.heap.expires_at(loc)),
        };
        if expires_at.is_some_and(|at| at <= now) {
            old.inspect(|&loc| self.remove(loc));
            return Ok(());
        }
        let shape = shape_of(key.bytes.len(), value.len(), Fields::of(expires_at.is_some(), &extra));
        let class = class_of(shape.cell_bytes()).expect("what is too large for a cell is not inline");
        let outside = if shape.is_large() { LargeItems::cost(key.bytes.len(), value.len()) } else { 0 };
        if let Some(loc) = old {
            // First, so that it is not what is evicted for its own successor.
            self.touch(loc, now);
            let old = self.heap.shape(loc);
            if !shape.is_large() && !old.is_large() && class_of(old.cell_bytes()) == Some(class) {
                self.overwrite(loc, shape, (key, value.as_slice()), (expires_at, &extra), now);
                return if PREPARED { Ok(()) } else { self.settle(now) };
            }
        }
        if PREPARED { self.admit_prepared(class) } else { self.admit(class, outside, now) }?;
        let large = match shape.is_large() {
            true => Some(Large::new(key.bytes, value.clone(), &self.extents).ok_or(SetError::OutOfMemory)?),
            false => None,
        };
        // It may have been evicted for its successor after all.
        let standing = old.and_then(|_| self.find(key)).map(|loc| {
            let standing = self.heap.standing(loc);
            self.remove(loc);
            standing
        });
        let loc = self.insert(class, shape, key, expires_at, standing, now).ok_or(SetError::OutOfMemory)?;
        match large {
            Some(large) => {
                let id = self.large.insert(large);
                self.heap.set_large_id(loc, id);
            }
            None => self.heap.set_key_and_value(loc, key.bytes, value.as_slice()),
        }
        self.heap.set_extra(loc, &extra);
        self.dataset_bytes += (key.bytes.len() + value.len()) as u64;
        self.note_change(loc);
        Ok(())
    }

    /// Removes; true if a live item was there.
    pub fn delete(&mut self, key: Key, now: UnixMillis) -> bool {
        let live = self.find_live(key, now);
        live.inspect(|&loc| self.remove(loc)).is_some()
    }

    /// Sets or clears the time of expiry; true if a live item was there. Recency stays as it is (under volatile-lru an
    /// item that starts to expire counts as just used). A time that has passed removes the item.
    pub fn set_expiry(&mut self, key: Key, at: Option<UnixMillis>, now: UnixMillis) -> bool {
        let Some(mut loc) = self.find_live(key, now) else { return false };
        self.note_change(loc);
        if at.is_some_and(|at| at <= now) {
            self.remove(loc);
            return true;
        }
        let fields = self.heap.shape(loc).fields();
        let expires = self.heap.shape(loc).expires();
        if expires != at.is_some() {
            let Some(moved) = self.reshape(loc, fields.with_expiry(at.is_some())) else { return true };
            loc = moved;
        } else if expires {
            self.stop_timer(loc);
        }
        if let Some(at) = at {
            self.start_timer(loc, at, now);
            self.order.any().begin_expiring(&mut self.heap, loc);
        }
        // Beyond the limit for a moment rather than refused: the next command pays.
        let _ = self.settle(now);
        true
    }

    /// Says how often an item is used, for the policies that count it.
    pub fn set_frequency(&mut self, key: Key, count: u8, now: UnixMillis) {
        if let Some(loc) = self.find_live(key, now) {
            self.order.any().set_frequency(&mut self.heap, loc, count, now);
        }
    }

    /// Empties at once; `tick` gives the memory back piece by piece.
    pub fn clear(&mut self) {
        (0..DATABASES as u8).for_each(|database| self.note_emptying(database));
        self.versions.change_all();
        self.heap.clear();
        self.databases.clear();
        self.deferred_free.add(std::mem::take(&mut self.large));
        self.order.clear();
        self.wheel = Wheel::new();
        self.dataset_bytes = 0;
    }

    /// Empties one database at once; its items are removed by `tick`. When sixteen are being emptied already, the items of
    /// some of these are removed now: ask `is_ready_to_clear` before.
    pub fn clear_database(&mut self, database: u8) {
        if self.databases.is_all(database) {
            return self.clear();
        }
        self.note_emptying(database);
        self.versions.change_all();
        while !self.is_ready_to_clear(database) {}
        self.databases.empty(database);
    }

    pub fn swap_databases(&mut self, one: u8, other: u8) {
        self.databases.swap(one, other);
        self.versions.change_all();
        self.note_swap(one, other);
    }

    /// Moves an item to another database as it is; false if it is not there, or its key is there already.
    pub fn move_to(&mut self, key: Key, database: u8, now: UnixMillis) -> Result<bool, SetError> {
        let target = Key { db: database, ..key };
        if self.find_live(target, now).is_some() {
            return Ok(false);
        }
        let Some(loc) = self.find_live(key, now) else { return Ok(false) };
        let (from, to) = (self.heap.table(loc), self.databases.table(database));
        if from == to {
            return Ok(false);
        }
        let place = self.place_of(loc);
        if !self.databases.insert(to, key.tag(), loc, |loc| self.heap.tag(loc)) {
            return Err(SetError::OutOfMemory);
        }
        self.note_change(loc);
        if let Some(at) = self.heap.expires_at(loc) {
            self.databases.discount_expiring(from, at);
            self.databases.count_expiring(to, at);
        }
        self.databases.remove(from, key.tag(), place, |loc| self.heap.tag(loc));
        self.heap.set_table(loc, to);
        self.note_change(loc);
        Ok(true)
    }

    /// Uses of a key that were told of later than they were: see `hot`.
    pub fn note_uses(&mut self, key: Key, uses: u32, now: UnixMillis) {
        if let Some(loc) = self.peek_live(key, now) {
            self.order.touch_often(&mut self.heap, loc, uses, now);
        }
    }

    /// By which a copy of an item's value, made under the shard's lock, is known to be right later, without it.
    pub fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// Where its large values lie, and whatever arrives on its core.
    pub fn extents(&self) -> Extents {
        self.extents.clone()
    }

    /// Starts fetching the memory that look-ups of these hashes will touch, a stage at a time for all of them: their
    /// cache misses overlap instead of adding up.
    pub fn prefetch(&self, database: u8, hashes: impl Iterator<Item = u64> + Clone) {
        let index = self.databases.index(self.databases.table(database));
        let tags = hashes.map(|hash| (hash >> 32) as u32);
        tags.clone().for_each(|tag| index.prefetch(tag));
        for loc in tags.filter_map(|tag| index.likely(tag)) {
            self.heap.prefetch(loc, ITEM_LINES);
        }
    }

    #[inline]
    fn find(&self, key: Key) -> Option<Loc> {
        let index = self.databases.index(self.databases.table(key.db));
        index.find(key.tag(), |loc| self.has_key(loc, key.bytes))
    }

    #[inline]
    fn has_key(&self, loc: Loc, key: &[u8]) -> bool {
        let shape = self.heap.shape(loc);
        if shape.has_inline_key(key.len()) {
            return self.heap.bytes(loc, shape.body_start(), key.len()) == key;
        }
        shape.is_large() && *self.key_at(loc) == *key
    }

    fn peek_live(&self, key: Key, now: UnixMillis) -> Option<Loc> {
        self.find(key).filter(|&loc| !self.heap.is_expired(loc, now))
    }

    /// As `peek_live`, and removes what is past its time.
    #[inline]
    fn find_live(&mut self, key: Key, now: UnixMillis) -> Option<Loc> {
        let loc = self.find(key)?;
        if self.heap.is_expired(loc, now) {
            self.remove_expired(loc);
            return None;
        }
        Some(loc)
    }

    /// The same for an item that nobody has asked for.
    fn remove_expired_unasked(&mut self, loc: Loc) {
        let before = self.expired;
        self.remove_expired(loc);
        self.expired_unasked += self.expired - before;
    }

    fn remove_expired(&mut self, loc: Loc) {
        // What an emptied database still holds has gone before its time came.
        self.expired += u64::from(!self.databases.is_emptying(self.heap.table(loc)));
        self.remove(loc);
    }

    #[inline]
    fn touch(&mut self, loc: Loc, now: UnixMillis) {
        self.order.touch(&mut self.heap, loc, now);
    }

    fn key_at(&self, loc: Loc) -> &[u8] {
        key_at(&self.heap, &self.large, loc)
    }

    #[inline]
    fn entry(&self, loc: Loc) -> Entry<'_> {
        let shape = self.heap.shape(loc);
        let value = match shape.is_large() {
            true => Value::Shared(&self.large.get(self.heap.large_id(loc)).value),
            false => Value::Inline(self.heap.value(loc, shape)),
        };
        Entry { value, expires_at: if shape.expires() { self.heap.expires_at(loc) } else { None } }
    }
}

fn key_at<'a>(heap: &'a Heap, large: &'a LargeItems, loc: Loc) -> &'a [u8] {
    match heap.shape(loc).is_large() {
        true => &large.get(heap.large_id(loc)).key,
        false => heap.key_and_value(loc).0,
    }
}

/// Small items lie inline. Whether one expires, or has anything else beside its value, makes no difference to that, so that
/// it can be given to any item where it is.
fn shape_of(key_len: usize, value_len: usize, fields: Fields) -> Shape {
    if item::fits_inline(key_len, value_len) {
        Shape::inline(key_len, value_len, fields)
    } else {
        Shape::large(LargeItems::cost(key_len, value_len), fields)
    }
}

#[cfg(test)]
mod tests;
