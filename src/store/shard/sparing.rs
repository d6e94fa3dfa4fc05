//! A list of items of which those that never expire may be spared: they are *parked* on a second list when they are met at
//! the old end, so that they are not met again and again. An item does not know on which of the two it is; only the ends
//! differ, and those are found by comparing. It must not know by what the items are ordered.

use super::heap::{Heap, Loc};
use super::list::List;
use super::order::Candidate;

pub struct SparingList {
    /// What may go, and what has not been met yet.
    pub evictable: List,
    parked: List,
    spares_lasting: bool,
}

impl SparingList {
    pub fn new(spares_lasting: bool) -> SparingList {
        SparingList { evictable: List::EMPTY, parked: List::EMPTY, spares_lasting }
    }

    pub fn spares_lasting(&self) -> bool {
        self.spares_lasting
    }

    /// Whether what never expires is spared from now on. Where that changes, what was parked is the oldest again.
    pub fn set_spares_lasting(&mut self, heap: &mut Heap, spares: bool) {
        if std::mem::replace(&mut self.spares_lasting, spares) == spares {
            return;
        }
        let parked = std::mem::replace(&mut self.parked, List::EMPTY);
        if parked.is_empty() {
            return;
        }
        if self.evictable.is_empty() {
            self.evictable = parked;
            return;
        }
        heap.set_older(self.evictable.oldest, parked.newest);
        heap.set_newer(parked.newest, self.evictable.oldest);
        self.evictable.oldest = parked.oldest;
    }

    pub fn take(&mut self, heap: &mut Heap, loc: Loc) {
        self.list_of(loc).take(heap, loc);
    }

    /// Makes an item of either list the newest.
    pub fn move_to_newest(&mut self, heap: &mut Heap, loc: Loc) {
        self.take(heap, loc);
        self.evictable.push_newest(heap, loc);
    }

    /// The item at `from` has been copied to `to`, links and all.
    pub fn follow(&mut self, heap: &mut Heap, from: Loc, to: Loc) {
        self.list_of(from).follow(heap, to);
    }

    /// The oldest, if it may go; one that is spared is parked instead. None when nothing is left that has not been parked.
    pub fn oldest(&mut self, heap: &mut Heap) -> Option<Candidate> {
        let oldest = self.evictable.oldest;
        if oldest.is_none() {
            return None;
        }
        if self.spares_lasting && !heap.shape(oldest).expires() {
            self.evictable.take(heap, oldest);
            self.parked.push_newest(heap, oldest);
            return Some(Candidate::Spared);
        }
        Some(Candidate::Evict(oldest))
    }

    /// Of those that are not parked, if there are such.
    pub fn newest(&self) -> Option<Loc> {
        let newest = if self.evictable.is_empty() { self.parked.newest } else { self.evictable.newest };
        (!newest.is_none()).then_some(newest)
    }

    /// The list that an item is at an end of; either, if it is between two others.
    fn list_of(&mut self, loc: Loc) -> &mut List {
        if self.parked.ends_at(loc) { &mut self.parked } else { &mut self.evictable }
    }
}
