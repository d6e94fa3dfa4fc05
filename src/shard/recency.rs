//! The order of use: a list threaded through the items. It must not know why an item moves in it.
//!
//! Beside the list of what may be evicted there is a second one, of items that were met at its old end and that the
//! policy spares (volatile-lru): *parked*, so that they are not met again and again. An item does not know on which of
//! the two it is; only the ends differ, and those are found by comparing.

use super::heap::{Heap, Loc};

#[derive(Clone, Copy)]
struct Ends {
    newest: Loc,
    oldest: Loc,
}

const EMPTY: Ends = Ends { newest: Loc::NONE, oldest: Loc::NONE };

pub struct Recency {
    evictable: Ends,
    parked: Ends,
}

impl Recency {
    pub fn new() -> Recency {
        Recency { evictable: EMPTY, parked: EMPTY }
    }

    /// The least recently used of those that are not parked.
    pub fn oldest(&self) -> Option<Loc> {
        (!self.evictable.oldest.is_none()).then_some(self.evictable.oldest)
    }

    /// Links an item that is on no list, as the most recently used.
    #[inline]
    pub fn link(&mut self, heap: &mut Heap, loc: Loc) {
        self.evictable.push_newest(heap, loc);
    }

    pub fn unlink(&mut self, heap: &mut Heap, loc: Loc) {
        let (newer, older) = (heap.newer(loc), heap.older(loc));
        if newer.is_none() {
            self.ends_with(|ends| ends.newest == loc).newest = older;
        } else {
            heap.set_older(newer, older);
        }
        if older.is_none() {
            self.ends_with(|ends| ends.oldest == loc).oldest = newer;
        } else {
            heap.set_newer(older, newer);
        }
    }

    /// Makes a linked item the most recently used.
    #[inline]
    pub fn touch(&mut self, heap: &mut Heap, loc: Loc) {
        let newest = self.evictable.newest;
        if newest == loc {
            return;
        }
        let (newer, older) = heap.replace_links(loc, Loc::NONE, newest);
        if newer.is_none() || older.is_none() || newest.is_none() {
            // At an end of one of the lists, or parked.
            heap.replace_links(loc, newer, older);
            self.unlink(heap, loc);
            return self.link(heap, loc);
        }
        heap.set_older(newer, older);
        heap.set_newer(older, newer);
        heap.set_newer(newest, loc);
        self.evictable.newest = loc;
    }

    /// Puts a linked item among those that are spared.
    pub fn park(&mut self, heap: &mut Heap, loc: Loc) {
        self.unlink(heap, loc);
        self.parked.push_newest(heap, loc);
    }

    /// Makes the parked items evictable again, as the least recently used.
    pub fn unpark_all(&mut self, heap: &mut Heap) {
        let parked = std::mem::replace(&mut self.parked, EMPTY);
        if parked.newest.is_none() {
            return;
        }
        if self.evictable.oldest.is_none() {
            self.evictable = parked;
            return;
        }
        heap.set_older(self.evictable.oldest, parked.newest);
        heap.set_newer(parked.newest, self.evictable.oldest);
        self.evictable.oldest = parked.oldest;
    }

    /// The item at `from` has been copied to `to`, links and all: its neighbours follow.
    pub fn follow(&mut self, heap: &mut Heap, from: Loc, to: Loc) {
        let (newer, older) = (heap.newer(to), heap.older(to));
        if newer.is_none() {
            self.ends_with(|ends| ends.newest == from).newest = to;
        } else {
            heap.set_older(newer, to);
        }
        if older.is_none() {
            self.ends_with(|ends| ends.oldest == from).oldest = to;
        } else {
            heap.set_newer(older, to);
        }
    }

    fn ends_with(&mut self, has: impl Fn(&Ends) -> bool) -> &mut Ends {
        if has(&self.evictable) { &mut self.evictable } else { &mut self.parked }
    }
}

impl Ends {
    #[inline]
    fn push_newest(&mut self, heap: &mut Heap, loc: Loc) {
        heap.set_newer(loc, Loc::NONE);
        heap.set_older(loc, self.newest);
        if self.newest.is_none() {
            self.oldest = loc;
        } else {
            heap.set_newer(self.newest, loc);
        }
        self.newest = loc;
    }
}
