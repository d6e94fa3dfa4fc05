//! Items that are set together or not at all: everything that they need is at hand before the first of them is written. It
//! must not know which command sets them.

use super::classes::{CLASS_COUNT, cells_per_page, class_of};
use super::heap::PAGE_BYTES;
use super::index::Index;
use super::item::{self, Fields};
use super::large::LargeItems;
use super::reclaim::{ROOM_WORK, pace};
use super::{Expiry, Extra, Key, NewValue, Room, SMALL_SET_BYTES, SetError, Shard, UnixMillis, shape_of};
use crate::base::extents::Blob;
use crate::config::Policy;

/// What items need beside what is there.
struct Need {
    /// New cells of each class.
    cells: [u32; CLASS_COUNT],
    /// Items whose key is not there.
    new: usize,
    /// Memory beside the cells.
    outside: u64,
}

impl Shard {
    /// Sees to all that these items of one database need, each a key and the length of its value: what `set_prepared` then writes of them,
    /// under the same borrow, is not refused. After `Retry`, the room made so far is kept from others for a second.
    pub fn prepare<'k>(
        &mut self,
        items: impl Iterator<Item = (Key<'k>, usize)> + Clone,
        expiry: Expiry,
        now: UnixMillis,
    ) -> Room {
        let Some((Key { db, .. }, _)) = items.clone().next() else { return Room::Ready };
        let mut work = 0;
        // Who brings many waits for many at a time: each look at them is paid for by as many steps.
        let most = ROOM_WORK.max(items.clone().count());
        loop {
            let need = self.need(items.clone(), expiry, now);
            if self.missing(&need) > self.limit_bytes {
                return Room::Refused(SetError::TooLarge);
            }
            if self.fits(&need) {
                self.reservation = None;
                return if self.take(&need, db) { Room::Ready } else { Room::Refused(SetError::OutOfMemory) };
            }
            while !self.fits(&need) {
                if work >= most {
                    self.reserve(self.missing(&need), now);
                    return Room::Retry;
                }
                let Some(done) = self.shrink_step(now, pace(work)) else {
                    self.reservation = None;
                    return Room::Refused(SetError::OutOfMemory);
                };
                work += done;
            }
            // What was evicted may be what was to be written over: seen at the next look.
        }
    }

    /// Items of so many bytes together find their room as they are set: there is little that they need, and anything goes
    /// for it.
    pub fn admits_one_by_one(&self, bytes: usize) -> bool {
        bytes < SMALL_SET_BYTES && self.policy != Policy::NoEviction && !self.policy.is_volatile()
    }

    /// Whether a value is too large for a cell with its key.
    pub fn is_placed(key: Key, value: &[u8]) -> bool {
        !item::fits_inline(key.bytes.len(), value.len())
    }

    /// Copies such a value to where it will lie.
    pub fn place(&self, value: &[u8]) -> Result<Blob, SetError> {
        self.extents.copy(value).map_err(|_| SetError::OutOfMemory)
    }

    /// Sets an item that `prepare` has seen to.
    pub fn set_prepared(
        &mut self,
        key: Key,
        value: NewValue<'_>,
        expiry: Expiry,
        now: UnixMillis,
    ) -> Result<(), SetError> {
        let old = self.find_live(key, now);
        self.write::<true>(old, key, value, (expiry, Extra::NONE), now)
    }

    /// A cell of the class, whatever the limit says.
    pub(super) fn admit_prepared(&mut self, class: u8) -> Result<(), SetError> {
        if self.heap.has_room(class) || self.heap.grow(0) { Ok(()) } else { Err(SetError::OutOfMemory) }
    }

    fn need<'k>(&self, items: impl Iterator<Item = (Key<'k>, usize)>, expiry: Expiry, now: UnixMillis) -> Need {
        let mut need = Need { cells: [0; CLASS_COUNT], new: 0, outside: 0 };
        for (key, value_len) in items {
            let old = self.peek_live(key, now);
            let expires = match expiry {
                Expiry::Never => false,
                Expiry::At(_) => true,
                Expiry::Keep => old.is_some_and(|loc| self.heap.shape(loc).expires()),
            };
            let shape = shape_of(key.bytes.len(), value_len, Fields::of(expires, &Extra::NONE));
            let class = class_of(shape.cell_bytes()).expect("what is too large for a cell is not inline");
            let is_in_place = |loc| !self.heap.shape(loc).is_large() && self.heap.class_at(loc) == class;
            if shape.is_large() {
                need.outside += LargeItems::cost(key.bytes.len(), value_len) + LargeItems::RECORD_BYTES;
            } else if old.is_some_and(is_in_place) {
                continue;
            }
            need.cells[class as usize] += 1;
            need.new += old.is_none() as usize;
        }
        need
    }

    /// Pages beyond the idle ones.
    fn missing_pages(&self, need: &Need) -> usize {
        let pages = need.cells.iter().enumerate().filter(|(_, cells)| **cells > 0).map(|(class, &cells)| {
            cells.saturating_sub(self.heap.holes(class as u8)).div_ceil(cells_per_page(class as u8)) as usize
        });
        pages.sum::<usize>().saturating_sub(self.heap.idle_pages())
    }

    /// Memory beyond what the shard holds.
    fn missing(&self, need: &Need) -> u64 {
        let pages = (self.missing_pages(need) * PAGE_BYTES) as u64;
        need.outside + pages + Index::growth_bytes(need.new)
    }

    fn fits(&self, need: &Need) -> bool {
        self.used_bytes() + self.missing(need) <= self.limit_bytes
    }

    /// Takes cells and places in the index from the kernel; false when it refuses.
    fn take(&mut self, need: &Need, db: u8) -> bool {
        while self.missing_pages(need) > 0 {
            if !self.heap.grow(0) {
                return false;
            }
        }
        self.databases.prepare(self.databases.table(db), need.new)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Random, key};
    use super::*;

    /// Fills shards to about their limit and sets items together, of one size and of many: all are there, or none and what
    /// was there before is as it was.
    #[test]
    fn all_are_set_or_none() {
        let mut random = Random(11);
        for round in 0..40 {
            let mut shard = Shard::new(4 << 20, Policy::NoEviction);
            let mut number = 0;
            let fill = 20 + random.below(2000) as usize;
            while shard.put(number, fill, Expiry::Never).is_ok() {
                number += 1;
            }
            for gone in 0..random.below(number) {
                shard.delete(key(&gone.to_le_bytes()), NOW);
            }
            let count = 1 + random.below(2000);
            let first = if round % 2 == 0 { number + 1 } else { number - number.min(count) };
            let most = if round % 3 == 0 { 40_000 } else { 300 };
            let lengths: Vec<usize> = (0..count).map(|_| random.below(most) as usize).collect();
            let keys: Vec<[u8; 8]> = (first..first + count).map(u64::to_le_bytes).collect();
            let before: Vec<_> = keys.iter().map(|bytes| shard.has(u64::from_le_bytes(*bytes))).collect();
            let items = keys.iter().map(|bytes| key(bytes)).zip(lengths.iter().copied());
            let room = loop {
                match shard.prepare(items.clone(), Expiry::Never, NOW) {
                    Room::Retry => {}
                    room => break room,
                }
            };
            if room == Room::Ready {
                let bytes = vec![7; most as usize];
                for (key, length) in items {
                    shard.set_prepared(key, NewValue::Copied(&bytes[..length]), Expiry::Never, NOW).unwrap();
                }
                assert!(keys.iter().all(|bytes| shard.has(u64::from_le_bytes(*bytes))));
                assert!(shard.used_bytes() <= (4 << 20) + PAGE_BYTES as u64, "{}", shard.used_bytes());
            } else {
                let after: Vec<_> = keys.iter().map(|bytes| shard.has(u64::from_le_bytes(*bytes))).collect();
                assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn what_is_evicted_for_items_is_counted_again() {
        for policy in [Policy::AllKeysRandom, Policy::AllKeysLru, Policy::AllKeysS3Fifo, Policy::VolatileTtl] {
            let mut shard = Shard::new(4 << 20, policy);
            let at = Expiry::At(NOW + 1000);
            (0..50_000).for_each(|number| shard.put(number, 60, at).unwrap());
            let keys: Vec<[u8; 8]> = (49_000u64..50_500).map(u64::to_le_bytes).collect();
            let items = keys.iter().map(|bytes| (key(bytes), 900));
            while shard.prepare(items.clone(), at, NOW) == Room::Retry {}
            for (key, length) in items {
                shard.set_prepared(key, NewValue::Copied(&vec![1; length]), at, NOW).unwrap();
            }
            assert!(shard.used_bytes() <= (4 << 20) + PAGE_BYTES as u64);
        }
    }
}
