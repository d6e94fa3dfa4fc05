//! Room for what comes: eviction by policy, moving cells together, giving memory back. All of it is done in steps of a
//! microsecond or a few, and whoever asks says how many. It must not know what a command wants the room for.

use super::heap::PAGE_BYTES;
use super::large::LargeItems;
use super::wheel::Step;
use super::{Loc, Policy, Room, SMALL_SET_BYTES, SetError, Shard, Tick, UnixMillis};

/// Steps for one call of `make_room`, `tick`, or a command that finds the shard above its limit. A step costs up to a
/// microsecond (an eviction touches half a dozen cache lines), so a call of the first two stays well under 1 ms.
const ROOM_STEPS: usize = 512;
const TICK_STEPS: usize = 512;
const SETTLE_STEPS: usize = 16;
/// How long room that was begun for a waiting caller is kept from others when the caller does not come back.
const RESERVATION_MILLIS: u64 = 1000;
/// Pages kept for the next class that asks, instead of given back at once: 1 MiB.
const IDLE_PAGES_KEPT: usize = 16;
/// Cells are moved together in the background when more than one byte in this many is in holes.
const TOLERATED_HOLES: u64 = 8;
/// An eviction's weight in the mean of the eviction age is one over this.
const AGE_WEIGHT: u64 = 16;

/// Room that is being made for a caller of `make_room`: until it comes back, what others set has to fit beside it.
pub struct Reservation {
    bytes: u64,
    until: UnixMillis,
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
        for _ in 0..ROOM_STEPS {
            if self.used_bytes() + needed <= self.limit_bytes {
                self.reservation = None;
                return Room::Ready;
            }
            if !self.shrink_step(now) {
                self.reservation = None;
                return Room::Refused(self.refusal());
            }
        }
        self.reservation = Some(Reservation { bytes: needed, until: now + RESERVATION_MILLIS });
        Room::Retry
    }

    /// One bounded step of background work: expiry, give-back, eviction after the limit fell.
    pub fn tick(&mut self, now: UnixMillis) -> Tick {
        if self.reservation.as_ref().is_some_and(|reservation| reservation.until <= now) {
            self.reservation = None;
        }
        let more = (0..TICK_STEPS).all(|_| self.expire_step(now) || self.background_step(now));
        Tick { more }
    }

    pub fn set_limit(&mut self, limit_bytes: u64) {
        self.limit_bytes = limit_bytes;
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.recency.unpark_all(&mut self.heap);
    }

    /// Makes room for a cell of the class and `outside` bytes beside it.
    pub(super) fn admit(&mut self, class: u8, outside: u64, now: UnixMillis) -> Result<(), SetError> {
        self.settle(now)?;
        while outside > 0 && self.used_bytes() + outside + PAGE_BYTES as u64 > self.limit_bytes {
            if !self.shrink_step(now) {
                return Err(self.refusal());
            }
        }
        // Room that a waiting caller has reserved is not for small items: they evict for themselves. So they do above
        // the limit, for one page and not for all that is too much.
        let idle_before = self.heap.idle_pages();
        while !self.heap.has_hole(class) {
            let used = self.used_bytes() + if outside > 0 { 0 } else { self.reserved(now) };
            let idle = self.heap.idle_pages();
            if idle > idle_before || idle > 0 && used <= self.limit_bytes {
                break;
            }
            if used + PAGE_BYTES as u64 <= self.limit_bytes && self.heap.grow() {
                break;
            }
            if !self.free_step(now) {
                return Err(self.refusal());
            }
        }
        Ok(())
    }

    /// Above the limit, or above what a waiting caller leaves of it: a few steps towards it. An error when that is
    /// needed and the policy allows none.
    pub(super) fn settle(&mut self, now: UnixMillis) -> Result<(), SetError> {
        let reserved = self.reserved(now);
        for _ in 0..SETTLE_STEPS {
            let used = self.used_bytes();
            if used + reserved <= self.limit_bytes {
                break;
            }
            if !self.shrink_step(now) {
                return if used > self.limit_bytes { Err(self.refusal()) } else { Ok(()) };
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

    fn refusal(&self) -> SetError {
        if self.is_empty() { SetError::TooLarge } else { SetError::OutOfMemory }
    }

    /// Removes an item whose time has come, or brings the wheel nearer to it. False when nothing is due.
    fn expire_step(&mut self, now: UnixMillis) -> bool {
        match self.wheel.step(&mut self.heap, now) {
            Step::Due(loc) => {
                self.remove(loc);
                self.expired += 1;
                true
            }
            Step::Moved => true,
            Step::Rest => false,
        }
    }

    /// Work that nobody waits for. False when there is none.
    fn background_step(&mut self, now: UnixMillis) -> bool {
        if self.used_bytes() + self.reserved(now) > self.limit_bytes {
            return self.shrink_step(now);
        }
        if self.graveyard.step() {
            return true;
        }
        if self.heap.idle_pages() > IDLE_PAGES_KEPT {
            return self.heap.release_idle_page();
        }
        self.heap.hole_bytes() * TOLERATED_HOLES > self.heap.resident_bytes() && self.evacuate_step()
    }

    /// A step towards less memory in use. False when there is none left.
    fn shrink_step(&mut self, now: UnixMillis) -> bool {
        self.graveyard.step() || self.heap.release_idle_page() || self.free_step(now)
    }

    /// A step towards a free page or a hole. False when there is none left.
    fn free_step(&mut self, now: UnixMillis) -> bool {
        self.evacuate_step() || self.evict_step(now) || self.expire_step(now)
    }

    /// Moves one item, so that its page becomes free in the end. False when no class has a page's worth of holes.
    fn evacuate_step(&mut self) -> bool {
        let evacuee = self.heap.next_evacuee();
        evacuee.inspect(|&loc| self.move_item(loc)).is_some()
    }

    /// Evicts one item, or parks one that the policy spares. False when the policy allows no more.
    fn evict_step(&mut self, now: UnixMillis) -> bool {
        let candidate = match self.policy {
            Policy::AllKeysLru | Policy::VolatileLru => self.recency.oldest(),
            Policy::AllKeysRandom => self.pick_random(),
            Policy::VolatileTtl => self.wheel.soonest(),
            Policy::NoEviction => None,
        };
        let Some(loc) = candidate else { return false };
        if self.policy == Policy::VolatileLru && !self.heap.shape(loc).expires() {
            self.recency.park(&mut self.heap, loc);
        } else {
            self.evict(loc, now);
        }
        true
    }

    fn evict(&mut self, loc: Loc, now: UnixMillis) {
        if self.heap.is_expired(loc, now) {
            self.expired += 1;
        } else {
            let age = self.heap.idle_millis(loc, now);
            self.eviction_age_millis = match self.evicted {
                0 => age,
                _ => (self.eviction_age_millis * (AGE_WEIGHT - 1) + age) / AGE_WEIGHT,
            };
            self.evicted += 1;
        }
        self.remove(loc);
    }
}
