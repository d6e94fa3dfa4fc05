//! Which item goes when there must be room: what each policy makes of the orders in which items are kept. It must not know
//! who wants the room.

use super::order::{Candidate, Pace};
use super::{Loc, Shard, UnixMillis};
use crate::config::Policy;
use crate::config::limits::EVICTION_SAMPLES;

/// An eviction's weight in the mean of the eviction age is one over this.
const AGE_WEIGHT: u64 = 16;
/// Items that are drawn where one must expire, before the least recently used of those will do.
const EXPIRING_TRIES: usize = 8;

impl Shard {
    /// Evicts one item, or passes over one; none when the policy allows no more.
    pub(super) fn evict_step(&mut self, now: UnixMillis, pace: Pace) -> Option<usize> {
        let candidate = match self.policy {
            Policy::NoEviction => None,
            Policy::AllKeysRandom => self.pick_random().map(Candidate::Evict),
            Policy::VolatileRandom => self.pick_random_expiring(now, pace),
            Policy::VolatileTtl => self.wheel.soonest().map(Candidate::Evict),
            Policy::AllKeysLfu => self.least_frequent(now).map(Candidate::Evict),
            Policy::AllKeysLru
            | Policy::VolatileLru
            | Policy::AllKeysS3Fifo
            | Policy::VolatileS3Fifo
            | Policy::VolatileLfu => self.order.victim(&mut self.heap, now, pace),
        };
        if let Candidate::Evict(loc) = candidate? {
            self.prefetch_removal(self.heap.newer(loc));
            self.evict(loc, now);
        }
        Some(1)
    }

    /// Starts fetching the entry of an item that is likely the next to go; `loc` may be none.
    pub(super) fn prefetch_removal(&self, loc: Loc) {
        if !loc.is_none() {
            self.databases.index(self.heap.table(loc)).prefetch(self.heap.tag(loc));
        }
    }

    fn evict(&mut self, loc: Loc, now: UnixMillis) {
        if self.heap.is_expired(loc, now) {
            self.expired += 1;
            self.expired_unasked += 1;
        } else {
            let age = self.order.view().idle_millis(&self.heap, loc, now);
            self.eviction_age_millis = match self.evicted {
                0 => age,
                _ => (self.eviction_age_millis * (AGE_WEIGHT - 1) + age) / AGE_WEIGHT,
            };
            self.evicted += 1;
        }
        self.remove(loc);
    }

    /// Of some items drawn at random the one that is used least, and of those the one that has been idle longest.
    fn least_frequent(&mut self, now: UnixMillis) -> Option<Loc> {
        let drawn = self.draw(EVICTION_SAMPLES);
        let (heap, order) = (&self.heap, self.order.view());
        drawn.into_iter().min_by_key(|&loc| order.worth(heap, loc, now))
    }

    /// An item at random of those that expire, or, where they are so few that none is drawn, the one of them that has not been
    /// used for longest.
    fn pick_random_expiring(&mut self, now: UnixMillis, pace: Pace) -> Option<Candidate> {
        let drawn = self.draw(EXPIRING_TRIES);
        let expiring = drawn.into_iter().find(|&loc| self.heap.shape(loc).expires());
        expiring.map(Candidate::Evict).or_else(|| self.order.victim(&mut self.heap, now, pace))
    }

    /// Up to `count` items at random, which may be the same; none only if there is none.
    fn draw(&mut self, count: usize) -> Vec<Loc> {
        let drawn: Vec<Loc> = (0..count).map_while(|_| self.pick_random()).collect();
        // All are fetched before the first is looked at: the misses overlap.
        drawn.iter().for_each(|&loc| self.heap.prefetch(loc, 1));
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Random, key};
    use super::super::{Expiry, NewValue, SetError};
    use super::*;
    use crate::config::POLICIES;
    use std::collections::HashMap;

    const MIB: u64 = 1024 * 1024;

    fn evicting() -> impl Iterator<Item = Policy> {
        POLICIES.into_iter().map(|(_, policy)| policy).filter(|&policy| policy != Policy::NoEviction)
    }

    fn get(shard: &mut Shard, number: u64, now: u64) -> bool {
        shard.get(key(&number.to_le_bytes()), now).is_some()
    }

    fn set(shard: &mut Shard, number: u64, len: usize, expiry: Expiry, now: u64) -> Result<(), SetError> {
        let value = vec![number as u8; len];
        shard.set(key(&number.to_le_bytes()), NewValue::Copied(&value), expiry, now)
    }

    /// A full shard, and how many items were set: every third one lasts, if the policy spares such.
    fn full(policy: Policy, expiry: impl Fn(u64) -> Expiry) -> (Shard, u64) {
        let mut shard = Shard::new(8 * MIB, policy);
        let mut number = 0u64;
        while shard.stats().evicted == 0 {
            let lasts = number.is_multiple_of(3);
            shard.put(number, 100, if lasts { Expiry::Never } else { expiry(number) }).unwrap();
            number += 1;
        }
        (shard, number)
    }

    #[test]
    fn what_has_expired_goes_before_what_has_not() {
        for policy in evicting() {
            // One in sixteen expires soon, wherever it stands in whichever order.
            let at = |number| NOW + if number % 16 == 1 { 2_000 + number % 7_000 } else { 1_000_000 };
            let (mut shard, number) = full(policy, |number| Expiry::At(at(number)));
            let before = shard.stats();
            let later = NOW + 60_000;
            let due = (0..number).filter(|&n| !n.is_multiple_of(3) && at(n) <= later && shard.has(n)).count() as u64;
            assert!(due > 1_000);
            // Nothing ticks: whoever sets collects.
            let mut new = number;
            while shard.stats().expired - before.expired < due {
                assert_eq!(shard.stats().evicted, before.evicted, "{policy:?}: {due} were due");
                set(&mut shard, new, 100, Expiry::At(NOW + 2_000_000), later).unwrap();
                new += 1;
            }
            while shard.stats().evicted == before.evicted {
                set(&mut shard, new, 100, Expiry::At(NOW + 2_000_000), later).unwrap();
                new += 1;
            }
        }
    }

    #[test]
    fn volatile_policies_take_nothing_that_lasts_and_refuse_when_nothing_else_is_left() {
        for policy in evicting().filter(|policy| policy.is_volatile()) {
            let (mut shard, number) = full(policy, |number| Expiry::At(NOW + 1_000_000 + number % 1000 * 1000));
            let mut new = number;
            while set(&mut shard, new, 100, Expiry::Never, NOW).is_ok() {
                new += 1;
                assert!(new < 10 * number, "{policy:?}");
            }
            assert_eq!((shard.expiring(), shard.stats().expired), (0, 0), "{policy:?}");
            assert!((0..new).all(|n| shard.has(n) == (n.is_multiple_of(3) || n >= number)), "{policy:?}");
        }
    }

    #[test]
    fn what_is_used_often_stays_under_the_lfu_policies() {
        for policy in [Policy::AllKeysLfu, Policy::VolatileLfu] {
            let (mut shard, number) = full(policy, |_| Expiry::At(NOW + 1_000_000));
            let often = |n: &u64| n % 10 == 1 && !n.is_multiple_of(3);
            let used: Vec<u64> = (0..number).filter(often).filter(|&n| shard.has(n)).collect();
            for &n in &used {
                (0..50).for_each(|_| assert!(get(&mut shard, n, NOW)));
            }
            // As many new ones as half of what is there: a scan.
            for new in number..number + number / 2 {
                shard.put(new, 100, Expiry::At(NOW + 1_000_000)).unwrap();
            }
            let kept = used.iter().filter(|&&n| shard.has(n)).count();
            assert!(kept * 100 > used.len() * 99, "{policy:?}: {kept} of {}", used.len());
        }
    }

    #[test]
    fn volatile_random_finds_the_few_that_expire() {
        let mut shard = Shard::new(8 * MIB, Policy::VolatileRandom);
        for number in 0..60 {
            shard.put(number, 100, Expiry::At(NOW + 1_000 + number * 10_000)).unwrap();
        }
        let mut number = 60;
        while shard.put(number, 100, Expiry::Never).is_ok() {
            number += 1;
        }
        assert_eq!((shard.expiring(), shard.stats().evicted), (0, 60));
    }

    #[test]
    fn where_few_of_many_may_go_the_newest_of_them_do_not_go_first() {
        for policy in evicting().filter(|&policy| policy.is_volatile() && policy != Policy::VolatileTtl) {
            let mut shard = Shard::new(8 * MIB, policy);
            let mut number = 0;
            while shard.stats().evicted == 0 {
                let expires = number % 50 == 0;
                shard.put(number, 100, if expires { Expiry::At(NOW + 1_000_000) } else { Expiry::Never }).unwrap();
                number += 1;
            }
            assert!(shard.expiring() > 800, "{policy:?}");
            for _ in 0..500 {
                shard.put(number, 100, Expiry::At(NOW + 1_000_000)).unwrap();
                number += 1;
            }
            let kept = (number - 100..number).filter(|&n| shard.has(n)).count();
            assert!(kept >= 80, "{policy:?}: {kept} of the last 100");
        }
    }

    #[test]
    fn the_policy_changes_under_load_step_by_step_and_nothing_is_lost() {
        let mut random = Random(11);
        let mut shard = Shard::new(64 * MIB, Policy::AllKeysLru);
        let mut lens: HashMap<u64, usize> = HashMap::new();
        for round in 0..3 * POLICIES.len().pow(2) {
            shard.set_policy(POLICIES[random.below(POLICIES.len() as u64) as usize].1);
            // Some changes meet one that is still under way.
            for _ in 0..random.below(30) {
                for _ in 0..200 {
                    let number = random.below(5_000);
                    let bytes = number.to_le_bytes();
                    let len = if random.below(100) == 0 { 40_000 } else { random.below(1_000) as usize };
                    let there = lens.contains_key(&number);
                    match random.below(8) {
                        0..3 => assert_eq!(get(&mut shard, number, NOW), there),
                        3..5 => {
                            let at = NOW + 1_000_000 + random.below(1_000_000);
                            let expiry = [Expiry::Never, Expiry::Keep, Expiry::At(at)][random.below(3) as usize];
                            shard.put(number, len, expiry).unwrap();
                            lens.insert(number, len);
                        }
                        5 => assert_eq!(shard.delete(key(&bytes), NOW), lens.remove(&number).is_some()),
                        6 => assert_eq!(shard.set_expiry(key(&bytes), Some(NOW + 1_000_000), NOW), there),
                        _ => assert_eq!(shard.set_expiry(key(&bytes), None, NOW), there),
                    }
                }
                shard.tick(NOW);
            }
            for (&number, &len) in &lens {
                let entry = shard.peek(key(&number.to_le_bytes()), NOW);
                assert_eq!(entry.map(|entry| entry.value.as_slice().len()), Some(len), "round {round}");
            }
            assert_eq!((shard.len(), shard.stats().evicted), (lens.len(), 0));
        }
        // And whatever it was in between, all of it can go.
        while shard.tick(NOW).more {}
        for policy in evicting().filter(|policy| !policy.is_volatile()) {
            shard.set_policy(policy);
            shard.set_limit(MIB / 2);
            while shard.tick(NOW).more {}
            assert!(shard.used_bytes() <= MIB / 2, "{policy:?}");
            shard.set_limit(64 * MIB);
            (0..5_000).for_each(|number| shard.put(number, 100, Expiry::Never).unwrap());
        }
    }

    #[test]
    fn the_order_of_use_outlives_a_change_there_and_back() {
        for other in evicting() {
            let mut shard = Shard::new(64 * MIB, Policy::AllKeysLru);
            for number in 0..4_000 {
                set(&mut shard, number, 100, Expiry::Never, NOW + number * 20_000).unwrap();
            }
            let now = NOW + 4_000 * 20_000;
            shard.set_policy(other);
            while shard.tick(now).more {}
            shard.set_policy(Policy::AllKeysLru);
            // What is used while the order changes is the most recently used.
            assert!((1_000..1_010).all(|number| get(&mut shard, number, now)));
            while shard.tick(now).more {}
            shard.set_limit(shard.used_bytes() / 2);
            while shard.tick(now).more {}
            let stays = |number: &u64| shard.has(*number);
            assert!((1_000..1_010).all(|number| stays(&number)), "{other:?}");
            let first = (1_010..4_000).find(stays).unwrap();
            let kept = (first..4_000).filter(stays).count() as u64;
            assert!(kept + 40 > 4_000 - first && first > 1_500, "{other:?}: {kept} from {first} on");
        }
    }
}
