//! The order of allkeys-s3fifo: by arrival, so that a hit writes one bit and moves nothing, and scans pass through. It must
//! not know why an item goes.
//!
//! S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): what is new waits in a *small* row of
//! queues, a tenth of all bytes. What was used there goes on to the *main* row when its turn comes; what was not leaves as a
//! ghost, and goes to the main row at once if it comes back. The main row lets what was used pass to its front. Here the use
//! is one bit, which loses nothing, and sizes count: a row is a queue for each power of two of the size, and the next to go
//! is the oldest of the queue where age times the root of the size is largest. No item tells its age: that of the oldest is
//! how many its queue has, by how many of those that came lately came to it (Little's law), or how many came since the queue
//! was empty, if they are fewer. `tools/README.md` has the figures.
//!
//! Where the policy spares what never expires, such items lie on a list of their own.

use super::UnixMillis;
use super::ghosts::{Ghosts, SLOTS};
use super::heap::{Heap, Loc};
use super::item::Shape;
use super::list::List;
use super::order::{Candidate, EvictionOrder, Pace};

/// The small row's part of the bytes is one in so many.
const SMALL_SHARE: u64 = 10;
/// Queues of a row: for sizes from 16 bytes to the largest that a cache takes in.
const QUEUES: usize = 26;
const LEAST_POWER: u32 = 4;
/// Items for each line of ghosts: nearly half as many ghosts as items. With the sample it is a byte an item.
const ITEMS_PER_LINE: usize = 74;
/// Of one key in so many it is remembered longer, for `regret`: until as many have left as there are items.
pub const SAMPLED: usize = 16;
/// "Lately" is while about as many came as there are, and this many at least.
const LATELY_MIN: f32 = 64.0;

pub struct S3Fifo {
    small: Row,
    main: Row,
    spared: List,
    ghosts: Ghosts,
    sample: Ghosts,
    spares_lasting: bool,
}

/// What an item is linked in.
enum Place {
    Small,
    Main,
    Spared,
}

impl S3Fifo {
    pub fn new(spares_lasting: bool) -> S3Fifo {
        let (small, main) = (Row::new(), Row::new());
        let (ghosts, sample) = (Ghosts::new(ITEMS_PER_LINE), Ghosts::new(SLOTS));
        S3Fifo { small, main, spared: List::EMPTY, ghosts, sample, spares_lasting }
    }

    pub fn spares_lasting(&self) -> bool {
        self.spares_lasting
    }

    fn place(&self, shape: Shape) -> Place {
        match (self.spares_lasting && !shape.expires(), shape.is_main()) {
            (true, _) => Place::Spared,
            (_, true) => Place::Main,
            _ => Place::Small,
        }
    }

    fn row(&mut self, shape: Shape) -> Option<&mut Row> {
        match self.place(shape) {
            Place::Small => Some(&mut self.small),
            Place::Main => Some(&mut self.main),
            Place::Spared => None,
        }
    }

    fn len(&self) -> usize {
        (self.small.items + self.main.items) as usize
    }
}

impl EvictionOrder for S3Fifo {
    fn link(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        heap.set_accessed(loc, now);
        let tag = heap.tag(loc);
        let is_known = self.ghosts.take(tag);
        if is_sampled(tag) {
            self.sample.take(tag);
        }
        heap.set_shape(loc, heap.shape(loc).marked(is_known, false));
        self.link_again(heap, loc);
    }

    fn link_again(&mut self, heap: &mut Heap, loc: Loc) {
        let shape = heap.shape(loc);
        match self.row(shape) {
            Some(row) => row.push(heap, loc, shape),
            None => self.spared.push_newest(heap, loc),
        }
    }

    fn unlink(&mut self, heap: &mut Heap, loc: Loc) {
        let shape = heap.shape(loc);
        match self.row(shape) {
            Some(row) => row.take(heap, loc, shape),
            None => self.spared.take(heap, loc),
        }
    }

    #[inline(never)]
    fn touch(&mut self, heap: &mut Heap, loc: Loc, now: UnixMillis) {
        let shape = heap.shape(loc);
        if !shape.is_used() {
            heap.set_shape(loc, shape.marked(shape.is_main(), true));
        }
        heap.set_accessed(loc, now);
    }

    fn follow(&mut self, heap: &mut Heap, _: Loc, to: Loc) {
        let shape = heap.shape(to);
        let list = match self.row(shape) {
            Some(row) => &mut row.queues[queue(shape)].list,
            None => &mut self.spared,
        };
        list.follow(heap, to);
    }

    fn parts(&self, one: Shape, other: Shape) -> bool {
        queue(one) != queue(other) || self.spares_lasting && one.expires() != other.expires()
    }

    fn victim(&mut self, heap: &mut Heap, _: UnixMillis, pace: Pace) -> Option<Candidate> {
        let is_small_full = self.small.bytes * SMALL_SHARE >= self.small.bytes + self.main.bytes;
        let of_small = self.small.items > 0 && (is_small_full || self.main.items == 0);
        let row = if of_small { &mut self.small } else { &mut self.main };
        let loc = row.next()?;
        let shape = heap.shape(loc);
        if shape.is_used() && pace == Pace::Patient {
            row.take(heap, loc, shape);
            let shape = shape.marked(true, false);
            heap.set_shape(loc, shape);
            self.main.push(heap, loc, shape);
            return Some(Candidate::Spared);
        }
        let (tag, items) = (heap.tag(loc), self.len());
        if of_small {
            self.ghosts.add(tag, items);
        }
        if is_sampled(tag) {
            self.sample.add(tag, items / SAMPLED);
        }
        Some(Candidate::Evict(loc))
    }

    /// By the time of use, over the fronts of all queues.
    fn hottest(&mut self, heap: &mut Heap, now: UnixMillis) -> Option<Loc> {
        let fronts = self.small.queues.iter().chain(&self.main.queues).map(|queue| queue.list.newest);
        let filled = fronts.chain([self.spared.newest]).filter(|newest| !newest.is_none());
        filled.min_by_key(|&loc| heap.idle_millis(loc, now))
    }

    fn adopt(&mut self, heap: &mut Heap, loc: Loc, idle_millis: u64, now: UnixMillis) {
        heap.set_accessed(loc, now.saturating_sub(idle_millis));
        let shape = heap.shape(loc).marked(true, false);
        heap.set_shape(loc, shape);
        match self.row(shape) {
            Some(row) => row.push_oldest(heap, loc, shape),
            None => self.spared.push_oldest(heap, loc),
        }
    }

    fn idle_millis(&self, heap: &Heap, loc: Loc, now: UnixMillis) -> u64 {
        heap.idle_millis(loc, now)
    }

    fn regret(&self, tag: u32) -> Option<f32> {
        let place = if is_sampled(tag) { self.sample.find(tag)? } else { return None };
        let left_since = (place as f32 + 0.5) * (self.sample.lines() * SAMPLED) as f32;
        Some(left_since / self.len().max(1) as f32)
    }

    fn bytes(&self) -> u64 {
        self.ghosts.bytes() + self.sample.bytes()
    }

    fn dissolve_step(&mut self) -> bool {
        self.ghosts.dissolve_step() || self.sample.dissolve_step()
    }

    fn clear(&mut self) {
        (self.small, self.main, self.spared) = (Row::new(), Row::new(), List::EMPTY);
    }
}

/// A queue for each power of two of the size.
struct Row {
    queues: [Queue; QUEUES],
    /// One bit for each queue that has items.
    filled: u32,
    items: u64,
    /// About what they take of memory: each as much as the middle of its queue's sizes.
    bytes: u64,
    /// How many came lately, to all queues.
    arrivals: f32,
    /// How many ever came.
    clock: u64,
}

#[derive(Clone, Copy)]
struct Queue {
    list: List,
    items: u32,
    /// How many came lately.
    arrivals: f32,
    /// How many had come to the row when the first of those that are there did, or before.
    since: u64,
}

impl Row {
    fn new() -> Row {
        let queue = Queue { list: List::EMPTY, items: 0, arrivals: 0.0, since: 0 };
        Row { queues: [queue; QUEUES], filled: 0, items: 0, bytes: 0, arrivals: 0.0, clock: 0 }
    }

    /// The next to go.
    fn next(&self) -> Option<Loc> {
        let (mut next, mut highest) = (None, -1.0);
        let mut filled = self.filled;
        while filled != 0 {
            let at = filled.trailing_zeros() as usize;
            filled &= filled - 1;
            let queue = &self.queues[at];
            // Where nobody came for long, the oldest is old.
            let age = queue.items as f32 * self.arrivals / queue.arrivals.max(f32::MIN_POSITIVE);
            let rank = age.min((self.clock - queue.since) as f32) * ROOTS[at];
            if rank > highest {
                (next, highest) = (Some(queue.list.oldest), rank);
            }
        }
        next
    }

    /// Takes an item in that has just come.
    fn push(&mut self, heap: &mut Heap, loc: Loc, shape: Shape) {
        let at = queue(shape);
        let queue = &mut self.queues[at];
        queue.list.push_newest(heap, loc);
        if queue.items == 0 {
            queue.since = self.clock;
        }
        self.count(at);
    }

    /// Takes an item in that came before all others, nobody knows when.
    fn push_oldest(&mut self, heap: &mut Heap, loc: Loc, shape: Shape) {
        let at = queue(shape);
        let queue = &mut self.queues[at];
        queue.list.push_oldest(heap, loc);
        queue.since = 0;
        self.count(at);
    }

    fn count(&mut self, at: usize) {
        let queue = &mut self.queues[at];
        queue.items += 1;
        self.clock += 1;
        queue.arrivals += 1.0;
        self.filled |= 1 << at;
        self.items += 1;
        self.bytes += middle(at);
        self.arrivals += 1.0;
        if self.arrivals > 2.0 * LATELY_MIN.max(self.items as f32) {
            self.arrivals /= 2.0;
            self.queues.iter_mut().for_each(|queue| queue.arrivals /= 2.0);
        }
    }

    fn take(&mut self, heap: &mut Heap, loc: Loc, shape: Shape) {
        let at = queue(shape);
        let queue = &mut self.queues[at];
        queue.list.take(heap, loc);
        queue.items -= 1;
        self.filled &= !(u32::from(queue.items == 0) << at);
        self.items -= 1;
        self.bytes -= middle(at);
    }
}

/// By bits that neither tell a line from another nor a ghost.
fn is_sampled(tag: u32) -> bool {
    tag.wrapping_mul(0x9e37_79b1) >> (u32::BITS - SAMPLED.ilog2()) == 0
}

/// The number of the queue for items of a shape.
fn queue(shape: Shape) -> usize {
    (shape.power().saturating_sub(LEAST_POWER) as usize).min(QUEUES - 1)
}

/// The middle of a queue's sizes.
fn middle(queue: usize) -> u64 {
    3 << (queue as u32 + LEAST_POWER) >> 1
}

/// The root of each queue's size, but for a factor that all share.
const ROOTS: [f32; QUEUES] = {
    let mut roots = [1.0; QUEUES];
    let mut at = 1;
    while at < QUEUES {
        roots[at] = roots[at - 1] * std::f32::consts::SQRT_2;
        at += 1;
    }
    roots
};

#[cfg(test)]
mod tests;
