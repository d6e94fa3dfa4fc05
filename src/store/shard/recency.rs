//! The order of use: a list threaded through the items. It must not know why an item moves in it.
//!
//! A use is noted at once, and some uses later the list is mended for it: meanwhile the neighbours, whose links change,
//! are fetched. Nobody sees the difference: whoever asks for the order, or adds to it, has the noted uses done first.

use super::UnixMillis;
use super::heap::{Heap, Loc};
use super::order::{Candidate, EvictionOrder, Pace};
use super::sparing::SparingList;

/// Uses that are noted: as many as a processor can have misses under way for, and one cache line.
const NOTED_MAX: usize = 16;

pub struct Recency {
    items: SparingList,
    /// Items that have been used, in a ring from `next_note` on; none where nothing is noted.
    noted: [Loc; NOTED_MAX],
    next_note: usize,
    has_notes: bool,
}

impl Recency {
    pub fn new(spares_lasting: bool) -> Recency {
        let noted = [Loc::NONE; NOTED_MAX];
        Recency { items: SparingList::new(spares_lasting), noted, next_note: 0, has_notes: false }
    }

    /// Whether what never expires is spared from now on. Where that changes, what was parked is the least recently used again.
    pub fn set_spares_lasting(&mut self, heap: &mut Heap, spares: bool) {
        self.settle(heap);
        self.items.set_spares_lasting(heap, spares);
    }

    /// Makes a linked item the most recently used.
    #[inline(always)]
    fn use_again(&mut self, heap: &mut Heap, loc: Loc) {
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

    #[inline(never)]
    fn move_to_newest(&mut self, heap: &mut Heap, loc: Loc) {
        let newest = self.items.evictable.newest;
        if newest == loc {
            return;
        }
        let (newer, older) = heap.replace_links(loc, Loc::NONE, newest);
        if newer.is_none() || older.is_none() || newest.is_none() {
            heap.replace_links(loc, newer, older);
            return self.move_from_end(heap, loc);
        }
        heap.set_older(newer, older);
        heap.set_newer(older, newer);
        heap.set_newer(newest, loc);
        self.items.evictable.newest = loc;
    }

    /// The same for an item at an end of one of the lists, or while there are only parked ones.
    #[cold]
    fn move_from_end(&mut self, heap: &mut Heap, loc: Loc) {
        self.items.move_to_newest(heap, loc);
    }
}

impl EvictionOrder for Recency {
    #[inline]
    fn link(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        heap.set_accessed(loc, now);
        self.link_again(heap, loc);
    }

    #[inline]
    fn link_again(&mut self, heap: &mut Heap, loc: Loc) {
        self.settle(heap);
        self.items.evictable.push_newest(heap, loc);
    }

    #[inline]
    fn unlink(&mut self, heap: &mut Heap, loc: Loc) {
        self.rename_notes(loc, Loc::NONE);
        self.items.take(heap, loc);
    }

    #[inline(always)]
    fn touch(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        self.use_again(heap, loc);
        heap.set_accessed(loc, now);
    }

    fn begin_expiring(&mut self, heap: &mut Heap, loc: Loc) {
        if self.items.spares_lasting() {
            self.use_again(heap, loc);
        }
    }

    fn follow(&mut self, heap: &mut Heap, from: Loc, to: Loc) {
        self.rename_notes(from, to);
        self.items.follow(heap, from, to);
    }

    fn victim(&mut self, heap: &mut Heap, _: UnixMillis, _: Pace) -> Option<Candidate> {
        self.settle(heap);
        self.items.oldest(heap)
    }

    fn hottest(&mut self, heap: &mut Heap, _: UnixMillis) -> Option<Loc> {
        self.settle(heap);
        self.items.newest()
    }

    fn adopt(&mut self, heap: &mut Heap, loc: Loc, idle_millis: u64, now: UnixMillis) {
        heap.set_accessed(loc, now.saturating_sub(idle_millis));
        self.items.evictable.push_oldest(heap, loc);
    }

    fn idle_millis(&self, heap: &Heap, loc: Loc, now: UnixMillis) -> u64 {
        heap.idle_millis(loc, now)
    }

    fn clear(&mut self) {
        *self = Recency::new(self.items.spares_lasting());
    }
}
