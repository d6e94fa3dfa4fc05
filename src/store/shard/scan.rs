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
        database: u8,
        cursor: u64,
        count: usize,
        now: UnixMillis,
        mut visit: impl FnMut(&'a [u8], Entry<'a>),
    ) -> u64 {
        let index = self.databases.index(self.databases.table(database));
        // A cursor that no scan has returned ends it.
        let mut next = u32::try_from(cursor).ok();
        let mut visited = 0;
        let mut looked_at = 0;
        while let Some(from) = next {
            next = index.scan(
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

    /// A key of a database picked at random; none if nothing (but items past their time) is there.
    pub fn random_key(&mut self, database: u8, now: UnixMillis) -> Option<&[u8]> {
        let loc = (0..RANDOM_TRIES).find_map(|_| {
            let random = self.next_random();
            let index = self.databases.index(self.databases.table(database));
            index.pick(random).filter(|&loc| !self.heap.is_expired(loc, now))
        })?;
        Some(self.key_at(loc))
    }

    /// An item of any database.
    pub(super) fn pick_random(&mut self) -> Option<Loc> {
        let random = self.next_random();
        self.databases.pick(random)
    }

    pub(super) fn next_random(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Random, key};
    use super::super::{Expiry, Policy, Shard};
    use std::collections::HashMap;

    #[test]
    fn what_is_there_throughout_is_visited_exactly_once_however_the_shard_changes() {
        for seed in 0..10 {
            let mut random = Random(seed);
            let mut shard = Shard::new(1 << 30, Policy::AllKeysLru);
            // Even numbers stay, odd ones come and go in numbers that make the index grow and shrink between calls.
            let stay = 1 + random.below(20_000);
            for number in 0..stay {
                shard.put(2 * number, 10, Expiry::Never).unwrap();
            }
            let mut visits: HashMap<u64, u32> = HashMap::new();
            let mut cursor = 0;
            let mut others = 0;
            loop {
                let count = 1 + random.below(300) as usize;
                cursor = shard.scan(0, cursor, count, NOW, |key, _| {
                    *visits.entry(u64::from_le_bytes(key.try_into().unwrap())).or_default() += 1;
                });
                if cursor == 0 {
                    break;
                }
                let target = if random.below(2) == 0 { 0 } else { random.below(5000) };
                for number in others..target {
                    shard.put(2 * number + 1, 10, Expiry::Never).unwrap();
                }
                for number in target..others {
                    shard.delete(key(&(2 * number + 1).to_le_bytes()), NOW);
                }
                others = target;
            }
            assert!((0..stay).all(|number| visits.get(&(2 * number)) == Some(&1)), "seed {seed}");
        }
    }

    #[test]
    fn while_others_evict_what_stays_is_visited() {
        let mut shard = Shard::new(8 << 20, Policy::AllKeysLru);
        let mut visits = vec![0; 1000];
        let mut cursor = 0;
        let mut others = 1000;
        loop {
            for number in 0..1000 {
                shard.put(number, 100, Expiry::Never).unwrap();
            }
            for _ in 0..5000 {
                others += 1;
                shard.put(others, 100, Expiry::Never).unwrap();
            }
            cursor = shard.scan(0, cursor, 500, NOW, |key, _| {
                if let Some(visits) = visits.get_mut(u64::from_le_bytes(key.try_into().unwrap()) as usize) {
                    *visits += 1;
                }
            });
            if cursor == 0 {
                break;
            }
        }
        assert!(shard.stats().evicted > 0);
        assert!(visits.iter().all(|&visits| visits == 1));
    }

    #[test]
    fn a_call_visits_about_as_many_as_it_is_asked_for() {
        let mut shard = Shard::new(1 << 30, Policy::AllKeysLru);
        for number in 0..100_000 {
            shard.put(number, 1, Expiry::Never).unwrap();
        }
        let mut cursor = 0;
        loop {
            let mut visited = 0;
            cursor = shard.scan(0, cursor, 100, NOW, |_, _| visited += 1);
            assert!(visited < 130 && (visited >= 100 || cursor == 0));
            if cursor == 0 {
                break;
            }
        }
        // Nonsense ends a scan, and harms nothing.
        assert_eq!(shard.scan(0, u64::MAX, 10, NOW, |_, _| ()), 0);
    }

    #[test]
    fn every_key_is_picked_at_random_in_the_end_and_none_more_often_than_chance() {
        let mut shard = Shard::new(1 << 30, Policy::AllKeysLru);
        assert_eq!(shard.random_key(0, NOW), None);
        for number in 0..500 {
            shard.put(number, 1, Expiry::Never).unwrap();
        }
        let mut picked = vec![0; 500];
        for _ in 0..50_000 {
            let key = shard.random_key(0, NOW).unwrap().try_into().unwrap();
            picked[u64::from_le_bytes(key) as usize] += 1;
        }
        assert!(picked.iter().all(|&times| times > 10 && times < 500), "{picked:?}");
    }
}
