//! The order of eviction: which item goes first. Each kind of order is a file and implements `EvictionOrder`; the shard
//! knows this file alone, and this file does not know what the shard wants room for.
//!
//! When the rules change while the server runs, one order takes over from the other, an item at a time: an item's
//! *generation* says which of the two it is in. What is used, written or removed meanwhile is where its generation says;
//! the hottest go over first, each as the coldest there, so what is used meanwhile stays ahead of them, in order.

use super::UnixMillis;
use super::frequency::{FIRST_COUNT, Frequency};
use super::heap::{Heap, Loc};
use super::item::{Generation, Shape, Standing};
use super::recency::Recency;
use super::s3fifo::{S3Fifo, SAMPLED};
use super::types::GHOST_MEMORY;
use crate::config::{LfuRules, OrderKind, Policy};
use std::cmp::Reverse;

/// What an order of eviction does. Every item of the shard is linked in one.
pub trait EvictionOrder {
    /// Takes a new item in.
    fn link(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis);

    /// Takes an item in again, whose note and marks say how it stood when it was unlinked.
    fn link_again(&mut self, heap: &mut Heap, loc: Loc);

    fn unlink(&mut self, heap: &mut Heap, loc: Loc);

    /// The item has been used.
    fn touch(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis);

    /// The same of many uses that are noted together.
    fn touch_often(&mut self, heap: &mut Heap, loc: Loc, _uses: u32, now: UnixMillis) {
        self.touch(heap, loc, now);
    }

    /// The item has got a time of expiry, or a new one.
    fn begin_expiring(&mut self, _heap: &mut Heap, _loc: Loc) {}

    /// The item at `from` has been copied to `to`, links and all.
    fn follow(&mut self, heap: &mut Heap, from: Loc, to: Loc);

    /// Whether an item of one shape must be unlinked and linked again when it takes the other.
    fn parts(&self, _one: Shape, _other: Shape) -> bool {
        false
    }

    /// The next to go; none when none may go.
    fn victim(&mut self, heap: &mut Heap, now: UnixMillis, pace: Pace) -> Option<Candidate>;

    /// The item that would go last, or nearly so; none when the order is empty.
    fn hottest(&mut self, heap: &mut Heap, now: UnixMillis) -> Option<Loc>;

    /// Takes an item in from another order, as the first to go.
    fn adopt(&mut self, heap: &mut Heap, loc: Loc, idle_millis: u64, now: UnixMillis);

    /// Milliseconds since the item was used.
    fn idle_millis(&self, heap: &Heap, loc: Loc, now: UnixMillis) -> u64;

    /// Redis's estimate of how often an item is used.
    fn frequency(&self, _heap: &Heap, _loc: Loc, _now: UnixMillis) -> u8 {
        FIRST_COUNT
    }

    /// What is used more often is worth more, and of what is used as often, what has been used later.
    fn worth(&self, heap: &Heap, loc: Loc, now: UnixMillis) -> (u8, Reverse<u64>) {
        (self.frequency(heap, loc, now), Reverse(self.idle_millis(heap, loc, now)))
    }

    /// Says how often an item is used, where that is counted.
    fn set_frequency(&mut self, _heap: &mut Heap, _loc: Loc, _count: u8, _now: UnixMillis) {}

    /// Of a key that is not there: how many more items, for each that is, would have kept it. None if that is not known.
    fn regret(&self, _tag: u32) -> Option<f32> {
        None
    }

    /// Memory held beside the items.
    fn bytes(&self) -> u64 {
        0
    }

    /// Gives some of it back, when there are no items any more; false when none was left.
    fn dissolve_step(&mut self) -> bool {
        false
    }

    /// Forgets all items at once.
    fn clear(&mut self);
}

/// What an order says of an item when room is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Candidate {
    Evict(Loc),
    /// One has been passed over; the next may do.
    Spared,
}

/// Whether there is time to pass over items: what is passed over leaves as much memory in use as there was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Patient,
    Hasty,
}

/// The order of a shard, and the rules it goes by.
pub struct Order {
    kind: Kind,
    /// Of all items, but those that are still in an order that is given up.
    generation: Generation,
    rules: Rules,
    /// As `EvictionOrder::bytes` says: asked for with each command that writes.
    bytes: u64,
    ghost_hits: [u64; GHOST_MEMORY.len()],
}

#[derive(Clone, Copy)]
struct Rules {
    kind: OrderKind,
    /// What never expires is spared.
    spares_lasting: bool,
    lfu: LfuRules,
}

enum Kind {
    Lru(Recency),
    Lfu(Frequency),
    S3Fifo(Box<S3Fifo>),
    Changing(Box<Change>),
}

impl Order {
    pub fn new(policy: Policy) -> Order {
        let rules = Rules { kind: policy.order(), spares_lasting: policy.is_volatile(), lfu: LfuRules::default() };
        Order { kind: Kind::new(rules), generation: Generation::FIRST, rules, bytes: 0, ghost_hits: [0; _] }
    }

    /// Goes by another policy from now on. What takes longer than a moment is done by `change_step`.
    pub fn set_policy(&mut self, heap: &mut Heap, policy: Policy) {
        (self.rules.kind, self.rules.spares_lasting) = (policy.order(), policy.is_volatile());
        self.apply(heap);
    }

    pub fn set_lfu(&mut self, heap: &mut Heap, lfu: LfuRules) {
        self.rules.lfu = lfu;
        self.apply(heap);
    }

    /// The generation of a new item.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    #[inline(always)]
    pub fn link(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        match &mut self.kind {
            Kind::Lru(order) => order.link(heap, loc, now),
            kind => kind.link(heap, loc, now),
        }
    }

    /// Takes in an item that replaces another, as that one stood.
    #[inline(never)]
    pub fn link_as(&mut self, heap: &mut Heap, loc: Loc, standing: Standing) {
        heap.set_standing(loc, standing);
        self.any().link_again(heap, loc);
    }

    #[inline]
    pub fn unlink(&mut self, heap: &mut Heap, loc: Loc) {
        match &mut self.kind {
            Kind::Lru(order) => order.unlink(heap, loc),
            kind => kind.order().unlink(heap, loc),
        }
    }

    #[inline(always)]
    pub fn touch(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        match &mut self.kind {
            Kind::Lru(order) => order.touch(heap, loc, now),
            Kind::S3Fifo(order) => order.touch(heap, loc, now),
            kind => kind.touch(heap, loc, now),
        }
    }

    /// As many uses, noted together.
    pub fn touch_often(&mut self, heap: &mut Heap, loc: Loc, uses: u32, now: UnixMillis) {
        self.any().touch_often(heap, loc, uses, now);
    }

    /// Memory held beside the items.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next to go, of the policies that go by this order; none when none may go.
    pub fn victim(&mut self, heap: &mut Heap, now: UnixMillis, pace: Pace) -> Option<Candidate> {
        if let Kind::Lru(order) = &mut self.kind {
            return order.victim(heap, now, pace);
        }
        let candidate = self.any().victim(heap, now, pace);
        self.bytes = self.view().bytes();
        candidate
    }

    /// A key was asked for that is not there.
    #[inline]
    pub fn missed(&mut self, tag: u32) {
        if !matches!(self.kind, Kind::Lru(_))
            && let Some(regret) = self.view().regret(tag)
        {
            for (count, more) in self.ghost_hits.iter_mut().zip(GHOST_MEMORY) {
                *count += if regret <= more - 1.0 { SAMPLED as u64 } else { 0 };
            }
        }
    }

    /// About how many misses would have been hits with `GHOST_MEMORY` times the memory, of those that orders with ghosts saw.
    pub fn ghost_hits(&self) -> [u64; GHOST_MEMORY.len()] {
        self.ghost_hits
    }

    pub fn reset_ghost_hits(&mut self) {
        self.ghost_hits = [0; _];
    }

    /// For all that most commands do not ask for.
    pub fn any(&mut self) -> &mut dyn EvictionOrder {
        self.kind.order()
    }

    /// The same, to look only.
    pub fn view(&self) -> &dyn EvictionOrder {
        self.kind.view()
    }

    #[cfg(test)]
    pub fn s3fifo(&self) -> Option<&S3Fifo> {
        if let Kind::S3Fifo(order) = &self.kind { Some(order) } else { None }
    }

    /// Some work towards the order that the rules ask for; false when it is that.
    pub fn change_step(&mut self, heap: &mut Heap, now: UnixMillis) -> bool {
        let Kind::Changing(change) = &mut self.kind else { return false };
        if !change.step(heap, now) {
            self.finish();
            // To a third, which was asked for in the meantime.
            self.apply(heap);
        }
        self.bytes = self.view().bytes();
        true
    }

    /// Forgets all items at once.
    pub fn clear(&mut self) {
        self.any().clear();
    }

    /// Makes this order go by the rules, or begins to replace it by one that does.
    fn apply(&mut self, heap: &mut Heap) {
        let rules = self.rules;
        match &mut self.kind {
            Kind::Changing(change) => {
                change.spares_lasting = rules.spares_lasting;
                if !change.to.goes_by(rules, heap) && change.from.goes_by(rules, heap) {
                    std::mem::swap(&mut change.from, &mut change.to);
                    change.generation = change.generation.next();
                }
                self.generation = change.generation;
            }
            kind => {
                if kind.goes_by(rules, heap) {
                    return;
                }
                self.generation = self.generation.next();
                let from = std::mem::replace(kind, Kind::new(rules));
                let to = std::mem::replace(kind, Kind::Lru(Recency::new(false)));
                let (generation, spares_lasting) = (self.generation, rules.spares_lasting);
                *kind = Kind::Changing(Box::new(Change { from, to, generation, spares_lasting }));
            }
        }
    }

    fn finish(&mut self) {
        if let Kind::Changing(change) = std::mem::replace(&mut self.kind, Kind::Lru(Recency::new(false))) {
            self.kind = change.to;
        }
    }
}

impl Kind {
    fn new(rules: Rules) -> Kind {
        match rules.kind {
            OrderKind::Lru => Kind::Lru(Recency::new(rules.spares_lasting)),
            OrderKind::Lfu => Kind::Lfu(Frequency::new(rules.lfu, rules.spares_lasting)),
            OrderKind::S3Fifo => Kind::S3Fifo(Box::new(S3Fifo::new(rules.spares_lasting))),
        }
    }

    /// Goes by these rules from now on; false if that takes another order.
    fn goes_by(&mut self, rules: Rules, heap: &mut Heap) -> bool {
        match self {
            Kind::Lru(order) if rules.kind == OrderKind::Lru => order.set_spares_lasting(heap, rules.spares_lasting),
            Kind::Lfu(order) if rules.kind == OrderKind::Lfu => order.set_rules(heap, rules.lfu, rules.spares_lasting),
            Kind::S3Fifo(order) => {
                return rules.kind == OrderKind::S3Fifo && rules.spares_lasting == order.spares_lasting();
            }
            _ => return false,
        }
        true
    }

    // Out of the way of the order of use, which is asked with each command.
    #[inline(never)]
    fn link(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        self.order().link(heap, loc, now);
    }

    #[inline(never)]
    fn touch(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        self.order().touch(heap, loc, now);
    }

    fn order(&mut self) -> &mut dyn EvictionOrder {
        match self {
            Kind::Lru(order) => order,
            Kind::Lfu(order) => order,
            Kind::S3Fifo(order) => &mut **order,
            Kind::Changing(change) => &mut **change,
        }
    }

    fn view(&self) -> &dyn EvictionOrder {
        match self {
            Kind::Lru(order) => order,
            Kind::Lfu(order) => order,
            Kind::S3Fifo(order) => &**order,
            Kind::Changing(change) => &**change,
        }
    }
}

/// One order takes over from another: both together are an order.
struct Change {
    from: Kind,
    to: Kind,
    /// Of the items that are in `to`.
    generation: Generation,
    spares_lasting: bool,
}

impl Change {
    /// Takes one item over, or gives back what the empty order held; false when there is nothing left.
    fn step(&mut self, heap: &mut Heap, now: UnixMillis) -> bool {
        let hottest = self.from.order().hottest(heap, now);
        hottest.inspect(|&loc| self.take_over(heap, loc, now));
        hottest.is_some() || self.from.order().dissolve_step()
    }

    fn take_over(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        let idle_millis = self.from.view().idle_millis(heap, loc, now);
        self.from.order().unlink(heap, loc);
        heap.set_generation(loc, self.generation);
        self.to.order().adopt(heap, loc, idle_millis, now);
    }

    fn has_taken(&self, heap: &Heap, loc: Loc) -> bool {
        heap.generation(loc) == self.generation
    }

    fn order_of(&mut self, heap: &Heap, loc: Loc) -> &mut dyn EvictionOrder {
        if self.has_taken(heap, loc) { self.to.order() } else { self.from.order() }
    }

    fn view_of(&self, heap: &Heap, loc: Loc) -> &dyn EvictionOrder {
        if self.has_taken(heap, loc) { self.to.view() } else { self.from.view() }
    }
}

impl EvictionOrder for Change {
    fn link(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        self.to.order().link(heap, loc, now);
    }

    fn link_again(&mut self, heap: &mut Heap, loc: Loc) {
        self.order_of(heap, loc).link_again(heap, loc);
    }

    fn unlink(&mut self, heap: &mut Heap, loc: Loc) {
        self.order_of(heap, loc).unlink(heap, loc);
    }

    fn touch(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        if !self.has_taken(heap, loc) {
            self.take_over(heap, loc, now);
        }
        self.to.order().touch(heap, loc, now);
    }

    fn touch_often(&mut self, heap: &mut Heap, loc: Loc, uses: u32, now: UnixMillis) {
        if !self.has_taken(heap, loc) {
            self.take_over(heap, loc, now);
        }
        self.to.order().touch_often(heap, loc, uses, now);
    }

    fn begin_expiring(&mut self, heap: &mut Heap, loc: Loc) {
        self.order_of(heap, loc).begin_expiring(heap, loc);
    }

    fn follow(&mut self, heap: &mut Heap, from: Loc, to: Loc) {
        self.order_of(heap, to).follow(heap, from, to);
    }

    fn parts(&self, one: Shape, other: Shape) -> bool {
        self.from.view().parts(one, other) || self.to.view().parts(one, other)
    }

    /// What is in the order that is given up goes first, but by the rules of now.
    fn victim(&mut self, heap: &mut Heap, now: UnixMillis, pace: Pace) -> Option<Candidate> {
        let from = self.from.order();
        let candidate = from.victim(heap, now, pace).or_else(|| from.hottest(heap, now).map(Candidate::Evict));
        match candidate {
            Some(Candidate::Evict(loc)) if self.spares_lasting && !heap.shape(loc).expires() => {
                self.take_over(heap, loc, now);
                Some(Candidate::Spared)
            }
            Some(candidate) => Some(candidate),
            None => self.to.order().victim(heap, now, pace),
        }
    }

    fn hottest(&mut self, heap: &mut Heap, now: UnixMillis) -> Option<Loc> {
        self.to.order().hottest(heap, now)
    }

    fn adopt(&mut self, heap: &mut Heap, loc: Loc, idle_millis: u64, now: UnixMillis) {
        self.to.order().adopt(heap, loc, idle_millis, now);
    }

    fn idle_millis(&self, heap: &Heap, loc: Loc, now: UnixMillis) -> u64 {
        self.view_of(heap, loc).idle_millis(heap, loc, now)
    }

    fn frequency(&self, heap: &Heap, loc: Loc, now: UnixMillis) -> u8 {
        self.view_of(heap, loc).frequency(heap, loc, now)
    }

    fn set_frequency(&mut self, heap: &mut Heap, loc: Loc, count: u8, now: UnixMillis) {
        self.order_of(heap, loc).set_frequency(heap, loc, count, now);
    }

    fn regret(&self, tag: u32) -> Option<f32> {
        self.to.view().regret(tag)
    }

    fn bytes(&self) -> u64 {
        self.from.view().bytes() + self.to.view().bytes()
    }

    fn clear(&mut self) {
        self.from.order().clear();
        self.to.order().clear();
    }
}
