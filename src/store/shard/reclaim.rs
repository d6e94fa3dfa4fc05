//! Room for what comes: expiry, eviction, moving cells together, giving memory back. All of it is done in steps of a
//! microsecond or a few, and whoever asks says how many. It must not know what a command wants the room for.

use std::ops::RangeInclusive;

use super::heap::PAGE_BYTES;
use super::large::LargeItems;
use super::order::Pace;
use super::wheel::Step;
use super::{Room, SMALL_SET_BYTES, SetError, Shard, Tick, UnixMillis};
use crate::config::{LfuRules, Policy};

/// Work is counted in evictions or moves of an item: each takes up to a microsecond, for it touches half a dozen cache
/// lines. This much is done in one call of `make_room`, which somebody waits for, ...
pub(super) const ROOM_WORK: usize = 512;
/// ... this much in one call of `tick`, ...
const TICK_WORK: usize = 256;
/// ... and this much in a command that finds the shard above its limit.
const SETTLE_WORK: usize = 16;
/// ... and, when the memory for its item is not at hand either, this much at most: about a millisecond. If that was not
/// enough, because the limit has just fallen far, the item is taken in beyond it, and the next command goes on. That
/// converges: so many evictions as the hasty half of it is free more than the largest item in a cell takes.
const SET_WORK: usize = 4096;
/// This much of it may go into steps after which there is no more room than before.
const PATIENT_WORK: usize = SET_WORK / 2;
/// What giving a page back to the kernel counts for: it takes some 12 us.
const PAGE_WORK: usize = 16;
/// How long room that was begun for a waiting caller is kept from others when the caller does not come back.
const RESERVATION_MILLIS: u64 = 1000;
/// Pages kept for the next class that asks, instead of given back at once: a quarter of all, but 1 MiB at least, and 3 MiB
/// at most.
const IDLE_PAGES_KEPT: RangeInclusive<usize> = 16..=48;
/// What large values leave is kept for those that come, up to this part of the limit: whoever evicts for a value makes
/// place for the next one, and neither asks the kernel. 256 KiB at least, and 32 MiB at most.
const IDLE_EXTENTS_SHARE: u64 = 64;
const IDLE_EXTENTS_KEPT: RangeInclusive<u64> = 256 * 1024..=32 * 1024 * 1024;
/// Cells are moved together in the background when more than one byte in this many is in holes.
const TOLERATED_HOLES: u64 = 8;

/// Room that is being made for a caller of `make_room`: until it comes back, what others set has to fit beside it.
pub struct Reservation {
    bytes: u64,
    until: UnixMillis,
}

/// The pace of a command that has done so much already.
pub(super) fn pace(work: usize) -> Pace {
    if work < PATIENT_WORK { Pace::Patient } else { Pace::Hasty }
}

impl Shard {
    /// Makes room for `bytes` of keys and values that are about to be set under the same borrow. After `Retry`, the
    /// room made so far is kept from others for a second.
    pub fn make_room(&mut self, bytes: usize, now: UnixMillis) -> Room {
        if bytes <= SMALL_SET_BYTES {
            return Room::Ready;
        }
        let needed = LargeItems::cost(0, bytes) + PAGE_BYTES as u64;
        if needed > self.limit_bytes {
            return Room::Refused(SetError::TooLarge);
        }
        let mut work = 0;
        while work < ROOM_WORK {
            if self.used_bytes() + needed <= self.limit_bytes {
                self.reservation = None;
                return Room::Ready;
            }
            let Some(done) = self.shrink_step(now, Pace::Patient) else {
                self.reservation = None;
                return Room::Refused(SetError::OutOfMemory);
            };
            work += done;
        }
        self.reserve(needed, now);
        Room::Retry
    }

    /// Keeps room that is being made for a caller who comes back.
    pub(super) fn reserve(&mut self, bytes: u64, now: UnixMillis) {
        self.reservation = Some(Reservation { bytes, until: now + RESERVATION_MILLIS });
    }

    /// One bounded step of background work: expiry, give-back, eviction after the limit fell.
    pub fn tick(&mut self, now: UnixMillis) -> Tick {
        if self.reservation.as_ref().is_some_and(|reservation| reservation.until <= now) {
            self.reservation = None;
        }
        let mut work = 0;
        while work < TICK_WORK {
            match self.expire_step(now).or_else(|| self.background_step(now)) {
                Some(done) => work += done,
                None => return Tick { more: false },
            }
        }
        Tick { more: true }
    }

    /// Whether `clear_database` can be done at once. Otherwise some work has been done towards it: release the shard, come
    /// back.
    pub fn is_ready_to_clear(&mut self, database: u8) -> bool {
        let mut work = 0;
        while work < ROOM_WORK && !self.databases.can_empty(database) {
            let Some(done) = self.free_deferred_step().or_else(|| self.empty_step()) else { break };
            work += done;
        }
        self.databases.can_empty(database)
    }

    /// What items and tables may hold from now on, beside what is lent.
    pub fn set_limit(&mut self, limit_bytes: u64) {
        (self.own_bytes, self.limit_bytes) = (limit_bytes, limit_bytes);
    }

    /// Of memory that is lent, what the shard may hold, or still does.
    pub fn lent_bytes(&self) -> u64 {
        self.lent_bytes
    }

    /// Whether it can give back whatever it has been lent: a policy that spares some items cannot.
    pub fn gives_back(&self) -> bool {
        self.policy != Policy::NoEviction && !self.policy.is_volatile()
    }

    /// A `tick` with so many bytes lent from now on; where it has been more, what is over is given back step by step.
    pub fn tick_on_loan(&mut self, loan_bytes: u64, now: UnixMillis) -> Tick {
        self.limit_bytes = self.own_bytes + loan_bytes;
        let tick = self.tick(now);
        let held = self.used_bytes().saturating_sub(self.own_bytes).min(self.lent_bytes);
        // What cannot be given back is not waited for.
        self.lent_bytes = if tick.more { loan_bytes.max(held) } else { loan_bytes };
        tick
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.order.set_policy(&mut self.heap, policy);
    }

    /// How the counters of the LFU policies grow and shrink.
    pub fn set_lfu(&mut self, rules: LfuRules) {
        self.order.set_lfu(&mut self.heap, rules);
    }

    /// Makes room for a cell of the class and `outside` bytes beside it.
    pub(super) fn admit(&mut self, class: u8, outside: u64, now: UnixMillis) -> Result<(), SetError> {
        self.settle(now)?;
        let mut work = 0;
        while outside > 0 && work < SET_WORK && self.used_bytes() + outside + PAGE_BYTES as u64 > self.limit_bytes {
            let is_too_large = outside + PAGE_BYTES as u64 > self.limit_bytes;
            let refusal = if is_too_large { SetError::TooLarge } else { SetError::OutOfMemory };
            work += self.shrink_step(now, pace(work)).ok_or(refusal)?;
        }
        // Room that a waiting caller has reserved is not for small items: they evict for themselves, up to a point.
        let mut reserved = if outside > 0 { 0 } else { self.reserved(now) };
        while !self.heap.has_hole(class) {
            let used = self.used_bytes() + reserved;
            let is_near = used <= self.limit_bytes || work >= SET_WORK;
            if is_near && self.heap.idle_pages() > 0 {
                break;
            }
            if work >= SET_WORK {
                return if self.heap.grow(0) { Ok(()) } else { Err(SetError::OutOfMemory) };
            }
            if used + PAGE_BYTES as u64 <= self.limit_bytes && self.heap.grow(self.limit_bytes - used) {
                break;
            }
            match self.shrink_step(now, pace(work)) {
                Some(done) => work += done,
                None if reserved == 0 => return Err(SetError::OutOfMemory),
                None => reserved = 0,
            }
            if work >= SETTLE_WORK {
                reserved = 0;
            }
        }
        Ok(())
    }

    /// Above the limit, or above what a waiting caller leaves of it: some work towards it. An error when that is needed
    /// and the policy allows none.
    pub(super) fn settle(&mut self, now: UnixMillis) -> Result<(), SetError> {
        let reserved = self.reserved(now);
        let mut work = 0;
        while work < SETTLE_WORK && self.used_bytes() + reserved > self.limit_bytes {
            match self.shrink_step(now, Pace::Patient) {
                Some(done) => work += done,
                None if self.used_bytes() > self.limit_bytes => return Err(SetError::OutOfMemory),
                None => break,
            }
        }
        Ok(())
    }

    fn reserved(&self, now: UnixMillis) -> u64 {
        self.reservation
            .as_ref()
            .filter(|reservation| reservation.until > now)
            .map_or(0, |reservation| reservation.bytes)
    }

    // What follows are steps: each says what it cost, in evictions or so, or none when there was nothing left to do.

    /// Removes an item whose time has come, or brings the wheel nearer to it.
    fn expire_step(&mut self, now: UnixMillis) -> Option<usize> {
        match self.wheel.step(&mut self.heap, now) {
            Step::Due(loc) => {
                self.prefetch_removal(self.heap.timer_next(loc));
                self.remove_expired_unasked(loc);
                Some(1)
            }
            Step::Moved => Some(1),
            Step::Rest => None,
        }
    }

    fn idle_pages_kept(&self) -> usize {
        (self.heap.resident_pages() / 4).clamp(*IDLE_PAGES_KEPT.start(), *IDLE_PAGES_KEPT.end())
    }

    /// Work that nobody waits for.
    fn background_step(&mut self, now: UnixMillis) -> Option<usize> {
        if self.used_bytes() + self.reserved(now) > self.limit_bytes {
            return self.shrink_step(now, Pace::Patient);
        }
        let too_many_idle = self.heap.idle_pages() > self.idle_pages_kept();
        let too_many_holes = self.heap.hole_bytes() * TOLERATED_HOLES > self.heap.resident_bytes();
        self.watches
            .free_step()
            .or_else(|| self.free_deferred_step())
            .or_else(|| self.empty_step())
            .or_else(|| if too_many_idle { self.release_step() } else { None })
            .or_else(|| if self.has_too_many_idle_extents() { self.release_extents_step() } else { None })
            .or_else(|| if too_many_holes { self.evacuate_step() } else { None })
            .or_else(|| self.order.change_step(&mut self.heap, now).then_some(1))
    }

    /// A step towards less memory in use. What has expired goes before what has not, as long as there is time to look for it.
    pub(super) fn shrink_step(&mut self, now: UnixMillis, pace: Pace) -> Option<usize> {
        let is_patient = pace == Pace::Patient;
        self.watches
            .free_step()
            .or_else(|| self.free_deferred_step())
            .or_else(|| self.empty_step())
            .or_else(|| self.release_step())
            .or_else(|| if self.has_too_many_idle_extents() { self.release_extents_step() } else { None })
            .or_else(|| self.evacuate_step())
            .or_else(|| if is_patient { self.expire_step(now) } else { None })
            .or_else(|| self.evict_step(now, pace))
            .or_else(|| self.expire_step(now))
            .or_else(|| self.release_extents_step())
    }

    /// Gives back some of what has been cleared.
    fn free_deferred_step(&mut self) -> Option<usize> {
        let freed = self.deferred_free.step().then_some(1);
        freed.or_else(|| self.databases.wipe_step().then_some(PAGE_WORK))
    }

    /// Removes some items of emptied databases.
    pub(super) fn empty_step(&mut self) -> Option<usize> {
        let doomed = self.databases.doomed(|loc| self.heap.tag(loc));
        doomed.iter().for_each(|&loc| self.remove(loc));
        (!doomed.is_empty()).then_some(doomed.len())
    }

    fn release_step(&mut self) -> Option<usize> {
        self.heap.release_idle_pages().then_some(PAGE_WORK)
    }

    fn has_too_many_idle_extents(&self) -> bool {
        let kept = (self.limit_bytes / IDLE_EXTENTS_SHARE).clamp(*IDLE_EXTENTS_KEPT.start(), *IDLE_EXTENTS_KEPT.end());
        self.extents.idle_bytes() > kept
    }

    fn release_extents_step(&mut self) -> Option<usize> {
        self.extents.release_step().then_some(2 * PAGE_WORK)
    }

    /// Moves one item, so that its page becomes free in the end; none when no class has a page's worth of holes.
    fn evacuate_step(&mut self) -> Option<usize> {
        let loc = self.heap.next_evacuee()?;
        self.move_item(loc);
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Random, key};
    use super::super::{Expiry, NewValue};
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const SOON: Expiry = Expiry::At(NOW + 1000);

    fn full(policy: Policy, expiry: impl Fn(u64) -> Expiry) -> (Shard, u64) {
        let mut shard = Shard::new(8 * MIB, policy);
        let mut number = 0;
        while shard.put(number, 100, expiry(number)).is_ok() && shard.stats().evicted == 0 {
            number += 1;
        }
        (shard, number)
    }

    #[test]
    fn noeviction_refuses_what_does_not_fit_and_keeps_what_is_there() {
        let (mut shard, number) = full(Policy::NoEviction, |_| Expiry::Never);
        assert_eq!(shard.put(number, 100, Expiry::Never), Err(SetError::OutOfMemory));
        assert_eq!(shard.make_room(MIB as usize, NOW), Room::Refused(SetError::OutOfMemory));
        assert!((0..number).all(|number| shard.has(number)));
        assert!(shard.delete(key(&0u64.to_le_bytes()), NOW));
        shard.put(number, 100, Expiry::Never).unwrap();
    }

    #[test]
    fn noeviction_makes_room_of_what_has_expired() {
        let (mut shard, number) = full(Policy::NoEviction, |_| SOON);
        let later = NOW + 2000;
        let bytes = number.to_le_bytes();
        shard.set(key(&bytes), NewValue::Copied(&[1; 100]), Expiry::Never, later).unwrap();
        assert!(shard.stats().expired > 0);
    }

    #[test]
    fn volatile_lru_evicts_only_what_expires_in_the_order_of_use() {
        let (mut shard, number) =
            full(Policy::VolatileLru, |number| if number % 2 == 0 { SOON } else { Expiry::Never });
        for new in number + 1..number + 1000 {
            shard.put(new, 100, SOON).unwrap();
        }
        let gone: Vec<u64> = (0..number).filter(|&number| !shard.has(number)).collect();
        assert!(gone.len() > 900 && gone.iter().enumerate().all(|(at, &number)| number == 2 * at as u64));
        // And refuses when only such are left as do not expire.
        let mut new = number + 1000;
        while shard.put(new, 100, Expiry::Never).is_ok() {
            new += 1;
        }
        assert_eq!(shard.expiring(), 0);
        // Another policy finds again what this one spared.
        shard.set_policy(Policy::AllKeysLru);
        shard.put(new, 100, Expiry::Never).unwrap();
        assert!(!shard.has(1));
    }

    #[test]
    fn volatile_ttl_evicts_what_expires_soonest() {
        let (mut shard, number) = full(Policy::VolatileTtl, |number| Expiry::At(NOW + 1_000_000 - number));
        for new in number + 1..number + 2000 {
            shard.put(new, 100, Expiry::Never).unwrap();
        }
        let gone = (0..=number).filter(|&number| !shard.has(number)).count() as u64;
        // A bucket of the wheel's second level covers 8 s, that is 8192 of these items.
        assert!(gone > 1000 && (0..=number - gone.max(8192)).all(|number| shard.has(number)));
    }

    #[test]
    fn allkeys_random_evicts_and_holds_the_limit() {
        let (mut shard, number) = full(Policy::AllKeysRandom, |_| Expiry::Never);
        for new in number + 1..2 * number {
            shard.put(new, 100, Expiry::Never).unwrap();
            assert!(shard.used_bytes() <= 8 * MIB + PAGE_BYTES as u64);
        }
        let old = (0..number).filter(|&number| shard.has(number)).count() as u64;
        assert!(old > number / 5 && old < number / 2, "{old} of {number}");
    }

    #[test]
    fn what_can_never_fit_is_too_large() {
        let mut shard = Shard::new(8 * MIB, Policy::AllKeysLru);
        assert_eq!(shard.make_room(9 * MIB as usize, NOW), Room::Refused(SetError::TooLarge));
        let large = NewValue::Shared(shard.extents().copy(&vec![0; 9 * MIB as usize]).unwrap());
        assert_eq!(shard.set(key(&[0; 8]), large, Expiry::Never, NOW), Err(SetError::TooLarge));
        assert!(shard.is_empty());
    }

    #[test]
    fn a_waiting_caller_gets_its_room_although_others_go_on_setting() {
        let (mut shard, mut number) = full(Policy::AllKeysLru, |_| Expiry::Never);
        let mut calls = 0;
        while shard.make_room(5 * MIB as usize, NOW) == Room::Retry {
            calls += 1;
            assert!(calls < 1000, "starved");
            for _ in 0..200 {
                number += 1;
                shard.put(number, 100 + number as usize % 1000, Expiry::Never).unwrap();
            }
        }
        let large = NewValue::Shared(shard.extents().copy(&vec![0; 5 * MIB as usize]).unwrap());
        shard.set(key(&[0; 8]), large, Expiry::Never, NOW).unwrap();
        assert!(calls > 10 && shard.used_bytes() <= 8 * MIB);
    }

    #[test]
    fn room_for_a_caller_that_never_comes_back_is_given_up() {
        let (mut shard, number) = full(Policy::AllKeysLru, |_| Expiry::Never);
        assert_eq!(shard.make_room(5 * MIB as usize, NOW), Room::Retry);
        while shard.tick(NOW).more {}
        assert!(shard.used_bytes() <= 3 * MIB, "the rest is made in the background");
        shard.tick(NOW + RESERVATION_MILLIS);
        for new in 0..number {
            shard.put(new, 100, Expiry::Never).unwrap();
        }
        assert!(shard.used_bytes() > 7 * MIB);
    }

    #[test]
    fn a_lower_limit_is_reached_by_ticks_alone() {
        let (mut shard, _) = full(Policy::AllKeysLru, |_| Expiry::Never);
        shard.set_limit(2 * MIB);
        let mut ticks = 0;
        while shard.tick(NOW).more {
            ticks += 1;
        }
        assert!(ticks > 10 && shard.used_bytes() <= 2 * MIB && !shard.is_empty());
    }

    #[test]
    fn what_is_lent_is_used_and_given_back_by_ticks_alone() {
        let (mut shard, number) = full(Policy::AllKeysLru, |_| Expiry::Never);
        assert!(shard.gives_back() && !shard.tick_on_loan(4 * MIB, NOW).more);
        assert_eq!(shard.lent_bytes(), 4 * MIB);
        (0..number / 3).for_each(|new| shard.put(number + 1 + new, 100, Expiry::Never).unwrap());
        let used = shard.used_bytes();
        assert!(used > 10 * MIB && shard.stats().evicted < 100);
        let mut ticks = 0;
        while shard.tick_on_loan(MIB, NOW).more {
            ticks += 1;
            // As long as it holds what was lent, it says so.
            assert!(shard.used_bytes() <= 8 * MIB + shard.lent_bytes());
        }
        assert!(ticks > 10 && shard.lent_bytes() == MIB && shard.used_bytes() <= 9 * MIB);
        // A limit of its own, and nothing lent, is kept from now on.
        shard.set_limit(4 * MIB);
        while shard.tick_on_loan(0, NOW).more {}
        assert!(shard.lent_bytes() == 0 && shard.used_bytes() <= 4 * MIB);
    }

    #[test]
    fn what_cannot_be_given_back_is_not_waited_for() {
        let (mut shard, _) = full(Policy::AllKeysLru, |_| Expiry::Never);
        shard.tick_on_loan(4 * MIB, NOW);
        while shard.used_bytes() < 11 * MIB {
            let number = shard.len() as u64 + 1_000_000;
            shard.put(number, 100, Expiry::Never).unwrap();
        }
        shard.set_policy(Policy::NoEviction);
        assert!(!shard.gives_back());
        while shard.tick_on_loan(0, NOW).more {}
        assert!(shard.lent_bytes() == 0 && shard.used_bytes() > 10 * MIB);
    }

    #[test]
    fn far_above_a_limit_that_has_fallen_a_set_does_bounded_work() {
        let mut shard = Shard::new(64 * MIB, Policy::AllKeysLru);
        let mut number = 0;
        while shard.stats().evicted == 0 {
            number += 1;
            shard.put(number, 20, Expiry::Never).unwrap();
        }
        shard.set_limit(4 * MIB);
        let mut sets = 0;
        while shard.used_bytes() > 4 * MIB {
            let evicted = shard.stats().evicted;
            // Each of another size: none finds a cell of its own at hand.
            sets += 1;
            shard.put(number + sets, 100 + 900 * sets as usize % 16_000, Expiry::Never).unwrap();
            assert!(shard.stats().evicted - evicted <= (SETTLE_WORK + SET_WORK) as u64);
        }
        assert!(sets > 10 && shard.has(number + sets), "{sets}");
    }

    #[test]
    fn the_limit_holds_while_sizes_shift_and_most_of_it_is_items() {
        let mut random = Random(3);
        let mut shard = Shard::new(32 * MIB, Policy::AllKeysLru);
        let phases: [fn(&mut Random) -> u64; 5] =
            [|_| 100, |_| 10_240, |_| 100, |random| 1 << random.below(21), |random| random.below(4096)];
        for len_of in phases {
            let mut set_bytes = 0;
            while set_bytes < 40 * MIB {
                let (number, len) = (random.below(1_000_000), len_of(&mut random) as usize);
                while shard.make_room(len, NOW) == Room::Retry {}
                shard.put(number, len, Expiry::Never).unwrap();
                set_bytes += len as u64;
                assert!(shard.used_bytes() <= 32 * MIB + PAGE_BYTES as u64);
            }
            assert!(shard.stats().dataset_bytes > 32 * MIB * 7 / 10, "{}", shard.stats().dataset_bytes);
        }
    }

    #[test]
    fn the_eviction_age_is_how_long_the_evicted_had_been_idle() {
        let (mut shard, number) = full(Policy::AllKeysLru, |_| Expiry::Never);
        let later = NOW + 60_000;
        for new in number + 1..number + 200 {
            shard.set(key(&new.to_le_bytes()), NewValue::Copied(&[0; 100]), Expiry::Never, later).unwrap();
        }
        assert!((59_000..=60_000).contains(&shard.stats().eviction_age_millis));
    }
}
