//! The order of use: a list threaded through the items. It must not know why an item moves in it.
//!
//! Beside the list of what may be evicted there is a second one, of items that were met at its old end and that the
//! policy spares (volatile-lru): *parked*, so that they are not met again and again. An item does not know on which of
//! the two it is; only the ends differ, and those are found by comparing.
//!
//! A use is noted at once, and some uses later the list is mended for it: meanwhile the neighbours, whose links change,
//! are fetched. Nobody sees the difference: whoever asks for the order, or adds to it, has the noted uses done first.

use super::heap::{Heap, Loc};

#[derive(Clone, Copy)]
struct Ends {
    newest: Loc,
    oldest: Loc,
}

const EMPTY: Ends = Ends { newest: Loc::NONE, oldest: Loc::NONE };

/// Uses that are noted: as many as a processor can have misses under way for, and one cache line.
const NOTED_MAX: usize = 16;

pub struct Recency {
    evictable: Ends,
    parked: Ends,
    /// Items that have been used, in a ring from `next_note` on; none where nothing is noted.
    noted: [Loc; NOTED_MAX],
    next_note: usize,
    has_notes: bool,
}

impl Recency {
    pub fn new() -> Recency {
        let noted = [Loc::NONE; NOTED_MAX];
        Recency { evictable: EMPTY, parked: EMPTY, noted, next_note: 0, has_notes: false }
    }

    /// The least recently used of those that are not parked.
    pub fn oldest(&mut self, heap: &mut Heap) -> Option<Loc> {
        self.settle(heap);
        (!self.evictable.oldest.is_none()).then_some(self.evictable.oldest)
    }

    /// Links an item that is on no list, as the most recently used.
    #[inline]
    pub fn link(&mut self, heap: &mut Heap, loc: Loc) {
        self.settle(heap);
        self.evictable.push_newest(heap, loc);
    }

    pub fn unlink(&mut self, heap: &mut Heap, loc: Loc) {
        self.rename_notes(loc, Loc::NONE);
        self.take_out(heap, loc);
    }

    fn take_out(&mut self, heap: &mut Heap, loc: Loc) {
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
        heap.prefetch(heap.newer(loc), 1);
        heap.prefetch(heap.older(loc), 1);
        let earlier = std::mem::replace(&mut self.noted[self.next_note], loc);
        self.next_note = (self.next_note + 1) % NOTED_MAX;
        self.has_notes = true;
        if !earlier.is_none() {
            self.move_to_newest(heap, earlier);
        }
    }

    /// Does what has been noted.
    #[inline]
    fn settle(&mut self, heap: &mut Heap) {
        if self.has_notes {
            for step in 0..NOTED_MAX {
                let noted = &mut self.noted[(self.next_note + step) % NOTED_MAX];
                let loc = std::mem::replace(noted, Loc::NONE);
                if !loc.is_none() {
                    self.move_to_newest(heap, loc);
                }
            }
            self.has_notes = false;
        }
    }

    #[inline]
    fn rename_notes(&mut self, from: Loc, to: Loc) {
        if self.has_notes {
            self.noted.iter_mut().for_each(|noted| *noted = if *noted == from { to } else { *noted });
        }
    }

    #[inline]
    fn move_to_newest(&mut self, heap: &mut Heap, loc: Loc) {
        let newest = self.evictable.newest;
        if newest == loc {
            return;
        }
        let (newer, older) = heap.replace_links(loc, Loc::NONE, newest);
        if newer.is_none() || older.is_none() || newest.is_none() {
            // At an end of one of the lists, or parked.
            heap.replace_links(loc, newer, older);
            self.take_out(heap, loc);
            return self.evictable.push_newest(heap, loc);
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
        self.settle(heap);
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
        self.rename_notes(from, to);
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
