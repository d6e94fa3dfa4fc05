//! A list threaded through the items, by the two links that each of them has: an item is on one list at most, and leaves it
//! from anywhere at once. It must not know what the list is for.

use super::heap::{Heap, Loc};

#[derive(Clone, Copy)]
pub struct List {
    pub newest: Loc,
    pub oldest: Loc,
}

impl List {
    pub const EMPTY: List = List { newest: Loc::NONE, oldest: Loc::NONE };

    pub fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    #[inline]
    pub fn push_newest(&mut self, heap: &mut Heap, loc: Loc) {
        heap.set_newer(loc, Loc::NONE);
        heap.set_older(loc, self.newest);
        if self.newest.is_none() {
            self.oldest = loc;
        } else {
            heap.set_newer(self.newest, loc);
        }
        self.newest = loc;
    }

    pub fn push_oldest(&mut self, heap: &mut Heap, loc: Loc) {
        heap.set_newer(loc, self.oldest);
        heap.set_older(loc, Loc::NONE);
        if self.oldest.is_none() {
            self.newest = loc;
        } else {
            heap.set_older(self.oldest, loc);
        }
        self.oldest = loc;
    }

    /// Takes out an item that is on this list. One between two others may be on any: only the ends differ.
    pub fn take(&mut self, heap: &mut Heap, loc: Loc) {
        let (newer, older) = (heap.newer(loc), heap.older(loc));
        if newer.is_none() {
            self.newest = older;
        } else {
            heap.set_older(newer, older);
        }
        if older.is_none() {
            self.oldest = newer;
        } else {
            heap.set_newer(older, newer);
        }
    }

    /// The item at `from` has been copied to `to`, links and all: its neighbours follow. What `take` says of items between
    /// two others holds here too.
    pub fn follow(&mut self, heap: &mut Heap, to: Loc) {
        let (newer, older) = (heap.newer(to), heap.older(to));
        if newer.is_none() {
            self.newest = to;
        } else {
            heap.set_older(newer, to);
        }
        if older.is_none() {
            self.oldest = to;
        } else {
            heap.set_newer(older, to);
        }
    }

    /// True of an item at an end of this list.
    pub fn ends_at(&self, loc: Loc) -> bool {
        self.newest == loc || self.oldest == loc
    }
}
