//! Who keeps a copy of a value outside of the shard's lock finds out here whether the value is still that: a counter for
//! each part of the keys, by their hash. It must not know who keeps copies, or of what.
//!
//! Copies are made under the shard's lock, and whatever changes an item counts up its counter under the same lock before it
//! lets go. So a copy is right as long as the counter stands where it stood when the copy was made, and a reader finds that
//! out by one load. A counter is odd while somebody may have a copy; a change of what nobody has copied writes nothing.
//!
//! All accesses that two cores may meet in are sequentially consistent. It costs a reader nothing beyond acquire on x86 and
//! ARMv8, and two connections that each write one key and then read the other's never both find what was there before.

use super::atomic::{AtomicU64, Ordering};

/// Counters of a shard. Of two keys that share one, both have changed when one has.
const SLOTS: usize = 2048;
/// The bit of a counter while somebody may have a copy.
const LENT: u64 = 1;

pub struct Versions<const COUNT: usize = SLOTS>([AtomicU64; COUNT]);

impl<const COUNT: usize> Default for Versions<COUNT> {
    fn default() -> Versions<COUNT> {
        Versions(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const COUNT: usize> Versions<COUNT> {
    /// The version that a copy of an item has which is made now; the shard is locked. `tag`: of the item's key.
    pub fn lend(&self, tag: u32) -> u64 {
        let slot = self.slot(tag);
        let version = slot.load(Ordering::Relaxed) | LENT;
        slot.store(version, Ordering::SeqCst);
        version
    }

    /// Whether nothing has changed since; nothing is locked.
    #[inline]
    pub fn is_current(&self, tag: u32, version: u64) -> bool {
        self.slot(tag).load(Ordering::SeqCst) == version
    }

    /// An item with this tag changes, or goes; the shard is locked.
    #[inline]
    pub fn change(&self, tag: u32) {
        let slot = self.slot(tag);
        if slot.load(Ordering::Relaxed) & LENT != 0 {
            slot.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// All items change, or go; the shard is locked.
    pub fn change_all(&self) {
        (0..COUNT as u32).for_each(|tag| self.change(tag));
    }

    #[inline]
    fn slot(&self, tag: u32) -> &AtomicU64 {
        &self.0[tag as usize % COUNT]
    }
}
