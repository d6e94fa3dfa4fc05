//! The commands on any key: SCAN and RANDOMKEY. They must not change what they look at.

use super::{Entry, Loc, Shard, UnixMillis};

/// Picks before giving up on finding an item that is not past its time.
const RANDOM_TRIES: usize = 64;

impl Shard {
    /// Visits about `count` items from `cursor` on (0 at first) and returns the cursor from which to go on; 0 at the
    /// end. The cursor is a position in the order of the keys' hashes, which nothing changes: whatever is there from
    /// start to end is visited exactly once, however the shard grows, shrinks and evicts in between.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        now: UnixMillis,
        mut visit: impl FnMut(&'a [u8], Entry<'a>),
    ) -> u64 {
        // A cursor that no scan has returned ends it.
        let mut next = u32::try_from(cursor).ok();
        let mut visited = 0;
        let mut looked_at = 0;
        while let Some(from) = next {
            next = self.index.scan(
                from,
                |loc| self.heap.tag(loc),
                |loc| {
                    visited += 1;
                    if !self.heap.is_expired(loc, now) {
                        visit(self.key_at(loc), self.entry(loc));
                    }
                },
            );
            // A sparse table's empty buckets count a little: the work of a call is bounded.
            looked_at += 1;
            if visited >= count || looked_at > 10 * count.max(1) {
                break;
            }
        }
        next.map_or(0, u64::from)
    }

    /// A key picked at random; none if nothing (but items past their time) is there.
    pub fn random_key(&mut self, now: UnixMillis) -> Option<&[u8]> {
        let loc = (0..RANDOM_TRIES).find_map(|_| self.pick_random().filter(|&loc| !self.heap.is_expired(loc, now)))?;
        Some(self.key_at(loc))
    }

    pub(super) fn pick_random(&mut self) -> Option<Loc> {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.index.pick(mixed ^ (mixed >> 31))
    }
}
