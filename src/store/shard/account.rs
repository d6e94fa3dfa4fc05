//! What a shard holds, counted: items, memory, how long an item has been idle.

use super::large::LargeItems;
use super::{Key, Shard, ShardStats, UnixMillis};

impl Shard {
    /// Items held in all databases, those past their time or of an emptied database but not yet collected included.
    pub fn len(&self) -> usize {
        self.databases.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items that carry a time of expiry.
    pub fn expiring(&self) -> usize {
        self.wheel.len()
    }

    /// Items of one database, and how many of them carry a time of expiry; those past it but not yet collected included.
    pub fn len_of(&self, database: u8) -> (usize, usize) {
        let table = self.databases.table(database);
        (self.databases.index(table).len(), self.databases.expiring(table))
    }

    /// What the index of one database holds.
    pub fn index_bytes_of(&self, database: u8) -> u64 {
        self.databases.index(self.databases.table(database)).bytes()
    }

    /// The sum of the times at which items of one database expire.
    pub fn expiry_sum_of(&self, database: u8) -> u128 {
        self.databases.expiry_sum(self.databases.table(database))
    }

    /// What an item holds of memory: its cell, its share of the tables, its own allocations. None if it is not there.
    pub fn memory_usage(&self, key: Key, now: UnixMillis) -> Option<u64> {
        let loc = self.peek_live(key, now)?;
        let own = match self.heap.shape(loc).is_large() {
            true => LargeItems::cost(key.bytes.len(), self.entry(loc).value.as_slice().len()),
            false => 0,
        };
        Some(self.heap.cell_bytes(loc) + own + self.databases.bytes() / self.len() as u64)
    }

    /// Milliseconds since the item was last used, to a tenth of a second (under the LFU policies: to a quarter of a minute).
    /// None if it is not there.
    pub fn idle_millis(&self, key: Key, now: UnixMillis) -> Option<u64> {
        let loc = self.peek_live(key, now)?;
        Some(self.order.view().idle_millis(&self.heap, loc, now))
    }

    /// How often the item is used, as the LFU policies count it. None if it is not there.
    pub fn frequency(&self, key: Key, now: UnixMillis) -> Option<u8> {
        let loc = self.peek_live(key, now)?;
        Some(self.order.view().frequency(&self.heap, loc, now))
    }

    /// What the shard holds of memory, as the limit counts it.
    #[inline(always)]
    pub fn used_bytes(&self) -> u64 {
        self.heap.resident_bytes()
            + self.databases.bytes()
            + self.watches.bytes()
            + self.large.bytes()
            + self.deferred_free.bytes()
            + self.extents.overhead_bytes()
            + self.order.bytes()
    }

    pub fn reset_counts(&mut self) {
        (self.evicted, self.expired, self.expired_unasked) = (0, 0, 0);
        self.order.reset_ghost_hits();
    }

    pub fn stats(&self) -> ShardStats {
        ShardStats {
            evicted: self.evicted,
            expired: self.expired,
            expired_unasked: self.expired_unasked,
            eviction_age_millis: self.eviction_age_millis,
            ghost_hits: self.order.ghost_hits(),
            items: self.len() as u64,
            expiring: self.expiring() as u64,
            used_bytes: self.used_bytes(),
            dataset_bytes: self.dataset_bytes,
            watches_bytes: self.watches.bytes(),
            tracked_keys: self.watches.tracked_keys(),
            tracked: self.watches.tracked(),
            prefixes: self.watches.prefixes(),
        }
    }
}
