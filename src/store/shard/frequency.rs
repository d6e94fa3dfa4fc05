//! The order of the LFU policies: how often an item is used, as Redis estimates it with eight bits. Of items that whoever
//! makes room draws at random the one that is used least goes; where few of many may go and would be drawn too seldom, a
//! hand goes round those that may, as that of a clock, and compares some at a time.
//!
//! The estimate is a logarithmic counter (Morris, "Counting large numbers of events in small registers", 1978) that loses
//! one for each stretch of time without a use; the rule is that of `evict.c` in Redis. Of the bits for what is noted, the
//! lower eight are the counter and the others the time of the last use, so a use writes one word and moves nothing. The
//! list goes by arrival, or by when the hand passed: it is for the hand, and for the order that takes over.

use super::UnixMillis;
use super::heap::{Heap, Loc};
use super::item::NOTE_BITS;
use super::order::{Candidate, EvictionOrder, Pace};
use super::sparing::SparingList;
use crate::config::LfuRules;
use crate::config::limits::EVICTION_SAMPLES;

/// What a new item starts with: it has a chance to be used before it goes.
pub const FIRST_COUNT: u8 = 5;
const COUNT_BITS: u32 = u8::BITS;
/// Grain of the time of last use: its bits last for 45 days.
const GRAIN_MILLIS: u64 = 15_000;
const GRAINS_PER_MINUTE: u32 = 4;
const TIME_MASK: u32 = (1 << (NOTE_BITS - COUNT_BITS)) - 1;
/// As in `item`: a time so little ahead is one before the clock was set back.
const AHEAD_GRAINS: u32 = 24 * 60 * GRAINS_PER_MINUTE;

pub struct Frequency {
    arrivals: SparingList,
    rules: LfuRules,
    /// State of the generator behind the counter's chances.
    random: u64,
}

impl Frequency {
    pub fn new(rules: LfuRules, spares_lasting: bool) -> Frequency {
        Frequency { arrivals: SparingList::new(spares_lasting), rules, random: 0 }
    }

    pub fn set_rules(&mut self, heap: &mut Heap, rules: LfuRules, spares_lasting: bool) {
        self.rules = rules;
        self.arrivals.set_spares_lasting(heap, spares_lasting);
    }

    fn random(&mut self) -> u64 {
        // The multiplier of PCG (O'Neill 2014), of which the upper half is good.
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        self.random
    }

    /// How many uses, as a mean, it takes to count one more.
    fn chances(&self, count: u8) -> u64 {
        u64::from(count.saturating_sub(FIRST_COUNT)) * u64::from(self.rules.log_factor) + 1
    }

    /// The counter after one more use.
    fn incremented(&mut self, count: u8) -> u8 {
        let chances = self.chances(count);
        let is_hit = (u128::from(self.random()) * u128::from(chances)) >> 64 == 0;
        count.saturating_add(u8::from(is_hit))
    }

    /// The counter after so many more uses. How many pass until the next one counts is drawn at once: the first success
    /// among trials of one chance each is distributed geometrically.
    fn incremented_often(&mut self, mut count: u8, uses: u32) -> u8 {
        let mut left = f64::from(uses);
        while count < u8::MAX {
            let chance = 1.0 / self.chances(count) as f64;
            let random = ((self.random() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            // Of a chance of 1 the logarithm is minus infinity, and the next one counts.
            left -= (random.ln() / (-chance).ln_1p()).ceil().max(1.0);
            if left < 0.0 {
                break;
            }
            count += 1;
        }
        count
    }

    fn note(&self, heap: &mut Heap, loc: Loc, count: u8, at: UnixMillis) {
        heap.set_note(loc, grains(at) << COUNT_BITS | u32::from(count));
    }
}

impl EvictionOrder for Frequency {
    fn link(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        self.note(heap, loc, FIRST_COUNT, now);
        self.link_again(heap, loc);
    }

    fn link_again(&mut self, heap: &mut Heap, loc: Loc) {
        self.arrivals.evictable.push_newest(heap, loc);
    }

    fn unlink(&mut self, heap: &mut Heap, loc: Loc) {
        self.arrivals.take(heap, loc);
    }

    #[inline]
    fn touch(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        let count = self.frequency(heap, loc, now);
        let count = self.incremented(count);
        self.note(heap, loc, count, now);
    }

    fn touch_often(&mut self, heap: &mut Heap, loc: Loc, uses: u32, now: UnixMillis) {
        let count = self.frequency(heap, loc, now);
        let count = self.incremented_often(count, uses);
        self.note(heap, loc, count, now);
    }

    fn begin_expiring(&mut self, heap: &mut Heap, loc: Loc) {
        if self.arrivals.spares_lasting() {
            self.arrivals.move_to_newest(heap, loc);
        }
    }

    fn follow(&mut self, heap: &mut Heap, from: Loc, to: Loc) {
        self.arrivals.follow(heap, from, to);
    }

    /// Where the hand stands, the one of some that is used least, and of those the one that has been idle longest; the
    /// others are met again when the hand has gone round.
    fn victim(&mut self, heap: &mut Heap, now: UnixMillis, _: Pace) -> Option<Candidate> {
        let mut met = Vec::with_capacity(EVICTION_SAMPLES);
        for _ in 0..EVICTION_SAMPLES {
            match self.arrivals.oldest(heap) {
                Some(Candidate::Evict(loc)) => {
                    met.push(loc);
                    self.arrivals.move_to_newest(heap, loc);
                }
                Some(Candidate::Spared) => {}
                None if met.is_empty() => return None,
                None => break,
            }
        }
        let least = met.into_iter().min_by_key(|&loc| self.worth(heap, loc, now));
        Some(least.map_or(Candidate::Spared, Candidate::Evict))
    }

    fn hottest(&mut self, _: &mut Heap, _: UnixMillis) -> Option<Loc> {
        self.arrivals.newest()
    }

    fn adopt(&mut self, heap: &mut Heap, loc: Loc, idle_millis: u64, now: UnixMillis) {
        self.note(heap, loc, FIRST_COUNT, now.saturating_sub(idle_millis));
        self.arrivals.evictable.push_oldest(heap, loc);
    }

    fn idle_millis(&self, heap: &Heap, loc: Loc, now: UnixMillis) -> u64 {
        u64::from(elapsed(heap.note(loc) >> COUNT_BITS, grains(now))) * GRAIN_MILLIS
    }

    fn frequency(&self, heap: &Heap, loc: Loc, now: UnixMillis) -> u8 {
        let (used, now) = (heap.note(loc) >> COUNT_BITS, grains(now));
        // By the minutes on the clock, so that half a minute may count as one.
        let minutes = elapsed(used - used % GRAINS_PER_MINUTE, now) / GRAINS_PER_MINUTE;
        let lost = minutes.checked_div(self.rules.decay_minutes).unwrap_or(0);
        (heap.note(loc) as u8).saturating_sub(u8::try_from(lost).unwrap_or(u8::MAX))
    }

    fn set_frequency(&mut self, heap: &mut Heap, loc: Loc, count: u8, now: UnixMillis) {
        self.note(heap, loc, count, now);
    }

    fn clear(&mut self) {
        self.arrivals = SparingList::new(self.arrivals.spares_lasting());
    }
}

fn grains(at: UnixMillis) -> u32 {
    (at / GRAIN_MILLIS) as u32 & TIME_MASK
}

/// Grains between two times, of which the bits may have run over.
fn elapsed(from: u32, to: u32) -> u32 {
    let grains = to.wrapping_sub(from) & TIME_MASK;
    if grains > TIME_MASK - AHEAD_GRAINS { 0 } else { grains }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, key};
    use super::super::{Expiry, Policy, Shard};
    use super::*;

    const MINUTE: u64 = 60_000;

    fn shard() -> Shard {
        Shard::new(64 << 20, Policy::AllKeysLfu)
    }

    fn frequency(shard: &Shard, number: u64, now: u64) -> u8 {
        shard.frequency(key(&number.to_le_bytes()), now).unwrap()
    }

    #[test]
    fn the_counter_grows_with_the_logarithm_of_the_uses() {
        // From the table in redis.conf: what a counter shows after so many uses, by its factor.
        let table = [(0, 100, 104..=106), (1, 1000, 40..=60), (10, 1000, 14..=24), (10, 100_000, 120..=165)];
        for (log_factor, uses, shown) in table {
            let mut shard = shard();
            shard.set_lfu(LfuRules { log_factor, decay_minutes: 1 });
            shard.put(1, 10, Expiry::Never).unwrap();
            (0..uses).for_each(|_| assert!(shard.get(key(&1u64.to_le_bytes()), NOW).is_some()));
            let count = frequency(&shard, 1, NOW);
            assert!(shown.contains(&count), "{count} with {log_factor} after {uses}");
            // The same when they are told of together.
            for step in [1, 10, uses] {
                shard.put(2, 10, Expiry::Never).unwrap();
                (0..uses / step).for_each(|_| shard.note_uses(key(&2u64.to_le_bytes()), step, NOW));
                let count = frequency(&shard, 2, NOW);
                assert!(shown.contains(&count), "{count} with {log_factor} after {uses}, {step} at a time");
                shard.delete(key(&2u64.to_le_bytes()), NOW);
            }
        }
    }

    #[test]
    fn a_counter_loses_one_each_decay_time_and_none_when_that_is_0() {
        let mut shard = shard();
        shard.set_lfu(LfuRules { log_factor: 0, decay_minutes: 1 });
        shard.put(1, 10, Expiry::Never).unwrap();
        (0..300).for_each(|_| assert!(shard.get(key(&1u64.to_le_bytes()), NOW).is_some()));
        assert_eq!(frequency(&shard, 1, NOW), 255);
        assert_eq!(frequency(&shard, 1, NOW + 10 * MINUTE), 245);
        assert_eq!(frequency(&shard, 1, NOW + 300 * MINUTE), 0);
        assert_eq!(frequency(&shard, 1, NOW - 5 * MINUTE), 255, "a clock that is set back");
        shard.set_lfu(LfuRules { log_factor: 0, decay_minutes: 7 });
        assert!([254, 253].contains(&frequency(&shard, 1, NOW + 14 * MINUTE)));
        shard.set_lfu(LfuRules { log_factor: 0, decay_minutes: 0 });
        assert_eq!(frequency(&shard, 1, NOW + 300 * MINUTE), 255);
        let idle = shard.idle_millis(key(&1u64.to_le_bytes()), NOW + 10 * MINUTE).unwrap();
        assert!(idle.abs_diff(10 * MINUTE) <= GRAIN_MILLIS);
    }

    #[test]
    fn what_is_written_again_keeps_its_counter() {
        let mut shard = shard();
        shard.set_lfu(LfuRules { log_factor: 0, decay_minutes: 1 });
        shard.put(1, 10, Expiry::Never).unwrap();
        (0..50).for_each(|_| assert!(shard.get(key(&1u64.to_le_bytes()), NOW).is_some()));
        for (step, len) in [10, 1000, 100_000, 20].into_iter().enumerate() {
            shard.put(1, len, Expiry::Never).unwrap();
            assert_eq!(frequency(&shard, 1, NOW), 56 + step as u8, "{len} bytes");
        }
    }
}
