//! When items expire: a hierarchical timing wheel (Varghese and Lauck, 1987) whose lists are threaded through the items.
//! It must not know what happens to an item whose time has come.
//!
//! Level 0 has a bucket for each of the next 64 grains of time, level 1 one for each of the next 64 stretches of 64
//! grains, and so on. An item lies on the level of the highest digit (of 6 bits) in which its time differs from the
//! wheel's, so it moves down at most `LEVELS` times, one item per step: a million items that expire together are a
//! million small steps, never one long one.

use super::UnixMillis;
use super::heap::{Heap, Loc, MAX_LOC};

/// Items are collected at most this long after their time, when ticks keep up.
const GRAIN_MILLIS: u64 = 128;
const DIGIT_BITS: u32 = 6;
const BUCKETS: usize = 1 << DIGIT_BITS;
/// 2^36 grains: 278 years ahead.
const LEVELS: usize = 6;
const HORIZON: u64 = (1 << (DIGIT_BITS * LEVELS as u32)) - 1;
/// Items beyond it lie in the last bucket but one of the topmost level; the very last would be that of now.
const FARTHEST: u64 = HORIZON - (1 << (DIGIT_BITS * (LEVELS as u32 - 1)));
/// The first item of a bucket has, instead of its predecessor, this plus the bucket's number: unlinking needs no search.
const BUCKET_MARK: u32 = u32::MAX - (2 * LEVELS * BUCKETS) as u32 - 1;
/// A clock that is so far behind the wheel was set back.
const SET_BACK_GRAINS: u64 = 8;

const _: () = assert!(MAX_LOC < BUCKET_MARK);

pub struct Wheel {
    /// The grain being worked on: everything before it has been collected.
    current: u64,
    /// Two sets of levels. One is in use; the other holds what lies where an earlier clock has put it, and moves over.
    heads: [[Loc; BUCKETS]; 2 * LEVELS],
    /// One bit per bucket that holds items.
    occupied: [u64; 2 * LEVELS],
    /// The first level of the set in use.
    base: usize,
    len: usize,
    /// Nothing has to be done before the next grain, but what is linked into the bucket of this one.
    rests: bool,
}

/// What one step of the wheel came to.
pub enum Step {
    /// This item's time has come; it is still linked.
    Due(Loc),
    /// An item moved down a level, or empty time was skipped.
    Moved,
    /// Nothing is due.
    Rest,
}

impl Wheel {
    pub fn new() -> Wheel {
        Wheel {
            current: 0,
            heads: [[Loc::NONE; BUCKETS]; 2 * LEVELS],
            occupied: [0; 2 * LEVELS],
            base: 0,
            len: 0,
            rests: false,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn link(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        if self.len == 0 && now > 0 {
            (self.current, self.rests) = (now / GRAIN_MILLIS, false);
        }
        let at = heap.expires_at(loc).expect("an item with a time of expiry");
        let (level, bucket) = self.place(at);
        let head = self.heads[level][bucket];
        heap.set_timer_next(loc, head);
        heap.set_timer_prev(loc, BUCKET_MARK + (level * BUCKETS + bucket) as u32);
        if !head.is_none() {
            heap.set_timer_prev(head, loc.0);
        }
        self.heads[level][bucket] = loc;
        self.occupied[level] |= 1 << bucket;
        self.len += 1;
    }

    pub fn unlink(&mut self, heap: &mut Heap, loc: Loc) {
        let (prev, next) = (heap.timer_prev(loc), heap.timer_next(loc));
        self.set_successor(heap, prev, next);
        if !next.is_none() {
            heap.set_timer_prev(next, prev);
        }
        self.len -= 1;
    }

    /// The item has been copied to `to`, links and all: its neighbours follow.
    pub fn follow(&mut self, heap: &mut Heap, to: Loc) {
        let (prev, next) = (heap.timer_prev(to), heap.timer_next(to));
        self.set_successor(heap, prev, to);
        if !next.is_none() {
            heap.set_timer_prev(next, to.0);
        }
    }

    /// One step of bounded work towards `now`.
    pub fn step(&mut self, heap: &mut Heap, now: UnixMillis) -> Step {
        let now = now / GRAIN_MILLIS;
        if self.rests && self.current == now && self.heads[self.base][now as usize % BUCKETS].is_none() {
            return Step::Rest;
        }
        self.rests = false;
        if self.len == 0 {
            self.current = now;
            return Step::Rest;
        }
        if let Some(head) = self.left_behind() {
            self.unlink(heap, head);
            self.link(heap, head, 0);
            return Step::Moved;
        }
        if now + SET_BACK_GRAINS < self.current {
            self.base = LEVELS - self.base;
            self.current = now;
            return Step::Moved;
        }
        // Buckets of upper levels whose stretch has begun go down first, the topmost before the others.
        for level in (1..LEVELS).rev() {
            let shift = DIGIT_BITS * level as u32;
            let head = self.heads[self.base + level][(self.current >> shift) as usize % BUCKETS];
            if !head.is_none() {
                self.unlink(heap, head);
                self.link(heap, head, 0);
                return Step::Moved;
            }
        }
        if self.current > now {
            return Step::Rest;
        }
        let due = self.heads[self.base][self.current as usize % BUCKETS];
        if !due.is_none() {
            return Step::Due(due);
        }
        if self.current == now {
            self.rests = true;
            return Step::Rest;
        }
        self.current = self.next_stop().min(now);
        Step::Moved
    }

    /// An item of those that expire soonest; within a bucket of an upper level the order is left open.
    pub fn soonest(&self) -> Option<Loc> {
        let own = &self.occupied[self.base..self.base + LEVELS];
        let Some(level) = own.iter().position(|&occupied| occupied != 0) else { return self.left_behind() };
        let from = (self.current >> (DIGIT_BITS * level as u32)) as u32 % BUCKETS as u32;
        let bucket = (own[level].rotate_right(from).trailing_zeros() + from) as usize % BUCKETS;
        Some(self.heads[self.base + level][bucket])
    }

    /// An item that lies where an earlier clock has put it.
    fn left_behind(&self) -> Option<Loc> {
        let other = LEVELS - self.base;
        let level = (other..other + LEVELS).find(|level| self.occupied[*level] != 0)?;
        Some(self.heads[level][self.occupied[level].trailing_zeros() as usize])
    }

    /// The next grain at which a bucket has to be looked at.
    fn next_stop(&self) -> u64 {
        for level in 0..LEVELS {
            let shift = DIGIT_BITS * level as u32;
            let digit = (self.current >> shift) % BUCKETS as u64;
            // Two shifts, because one by 64 is not defined.
            let ahead = self.occupied[self.base + level] >> digit >> 1;
            if ahead != 0 {
                return ((self.current >> shift) + 1 + ahead.trailing_zeros() as u64) << shift;
            }
        }
        (self.current | HORIZON) + 1
    }

    fn place(&self, at: UnixMillis) -> (usize, usize) {
        // Rounded up: when the wheel reaches the grain, the item's time has come.
        let due = at.div_ceil(GRAIN_MILLIS).clamp(self.current, self.current.saturating_add(FARTHEST));
        let differing = (due ^ self.current) & HORIZON;
        let level = (u64::BITS - differing.leading_zeros()).saturating_sub(1) / DIGIT_BITS;
        (self.base + level as usize, (due >> (DIGIT_BITS * level)) as usize % BUCKETS)
    }

    fn set_successor(&mut self, heap: &mut Heap, prev: u32, next: Loc) {
        if prev < BUCKET_MARK {
            heap.set_timer_next(Loc(prev), next);
            return;
        }
        let (level, bucket) = ((prev - BUCKET_MARK) as usize / BUCKETS, (prev - BUCKET_MARK) as usize % BUCKETS);
        self.heads[level][bucket] = next;
        if next.is_none() {
            self.occupied[level] &= !(1 << bucket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Random, key};
    use super::super::{Expiry, NewValue, Policy, Shard};
    use super::GRAIN_MILLIS;

    #[test]
    fn items_go_after_their_time_and_within_a_grain_of_it() {
        for seed in 0..20 {
            let mut random = Random(seed);
            let mut shard = Shard::new(1 << 30, Policy::AllKeysLru);
            let mut times: Vec<u64> = Vec::new();
            let mut now = NOW;
            for number in 0..2000 {
                // From milliseconds to years.
                let ahead = 1 + random.next() % (1 << (1 + random.below(36)));
                shard.put(number, 10, Expiry::At(NOW + ahead)).unwrap();
                times.push(NOW + ahead);
            }
            while !shard.is_empty() {
                now += 1 + random.next() % (1 << (1 + random.below(32)));
                while shard.tick(now).more {}
                let due = times.iter().filter(|&&at| at <= now).count();
                let long_due = times.iter().filter(|&&at| at + GRAIN_MILLIS <= now).count();
                let gone = times.len() - shard.len();
                assert!((long_due..=due).contains(&gone), "seed {seed}: {gone} gone, {long_due} to {due} due");
            }
            assert_eq!(shard.expiring(), 0);
        }
    }

    #[test]
    fn times_at_the_end_of_time_and_clocks_that_jump_do_no_harm() {
        let mut shard = Shard::new(1 << 30, Policy::AllKeysLru);
        shard.put(1, 1, Expiry::At(u64::MAX)).unwrap();
        shard.put(2, 1, Expiry::At(NOW + 1)).unwrap();
        for now in [NOW - 1_000_000_000, NOW, NOW + (1 << 40), NOW] {
            while shard.tick(now).more {}
        }
        assert!(shard.has(1) && !shard.has(2));
    }

    #[test]
    fn items_beyond_the_horizon_stay() {
        let mut shard = Shard::new(1 << 30, Policy::AllKeysLru);
        for (number, at) in [(1, u64::MAX), (2, i64::MAX as u64), (3, NOW + (1 << 50))] {
            shard.put(number, 1, Expiry::At(at)).unwrap();
        }
        for later in 0..2_000 {
            while shard.tick(NOW + 100 + later * 77).more {}
        }
        assert!((1..=3).all(|number| shard.has(number)));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_items_from_going() {
        const HOUR: u64 = 3_600_000;
        let mut shard = Shard::new(1 << 30, Policy::AllKeysLru);
        shard.put(1, 1, Expiry::At(NOW + HOUR)).unwrap();
        for number in 10..500 {
            shard.put(number, 1, Expiry::At(NOW + number * 100)).unwrap();
        }
        while shard.tick(NOW).more {}
        let earlier = NOW - HOUR;
        while shard.tick(earlier).more {}
        let name = 2u64.to_le_bytes();
        let value = NewValue::Copied(b"v");
        shard.set(key(&name), value, Expiry::At(earlier + 500), earlier).unwrap();
        while shard.tick(earlier + 1_000).more {}
        assert!(!shard.has(2) && shard.has(1) && shard.has(10));
        while shard.tick(NOW + 1_200).more {}
        assert!(!shard.has(10) && shard.has(20) && shard.has(1));
        while shard.tick(NOW + HOUR + 200).more {}
        assert!(shard.is_empty());
    }
}
