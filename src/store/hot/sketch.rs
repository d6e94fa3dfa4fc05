//! Which keys are read the most, found from a sample of the reads: cells by the key's hash, in each of which the key that is
//! sampled the most wins out. It must not know what is done about them.
//!
//! A cell has one candidate and a count. A sampled read of the candidate counts up, one of another key counts down, and at
//! zero the candidate is another: Boyer and Moore, "MJRTY: a fast majority vote algorithm" (1981), for each cell. What is
//! read now and then by chance stays near zero, however many keys there are; a key that is read more often than all others of
//! its cell together reaches any count.

/// Cells: as many keys can be hot at most.
const CELLS: usize = 4096;
/// The lower bits of a cell.
const COUNT_MAX: u32 = 0xff;
/// The candidate is kept.
const KEPT: u32 = 1 << 8;
/// The upper bits tell candidates from each other.
const MARK: u32 = !(KEPT | COUNT_MAX);
/// One read in so many is sampled, at distances drawn from 1 to twice as many: what comes in turns is not always the same.
const SAMPLED: u64 = 32;

/// What is known of a key that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Cold,
    /// It has been seen often enough to be kept.
    Warm,
    Kept,
}

pub struct Sketch {
    cells: Box<[u32; CELLS]>,
    /// Reads until the next one is sampled.
    until_sample: u64,
    /// Samples for which a key is warm; 0 takes all.
    threshold: u32,
    random: u64,
}

fn mark(place: u64) -> u32 {
    (place >> 32) as u32 & MARK
}

impl Sketch {
    pub const BYTES: usize = CELLS * size_of::<u32>();

    pub fn new() -> Sketch {
        Sketch { cells: Box::new([0; CELLS]), until_sample: 1, threshold: COUNT_MAX, random: 1 }
    }

    pub fn set_threshold(&mut self, samples: u32) {
        self.threshold = samples.min(COUNT_MAX);
    }

    pub fn takes_all(&self) -> bool {
        self.threshold == 0
    }

    /// A key is read.
    #[inline]
    pub fn see(&mut self, place: u64) -> Seen {
        self.until_sample -= 1;
        if self.until_sample == 0 {
            return self.sample(place);
        }
        if self.is_kept(place) { Seen::Kept } else { Seen::Cold }
    }

    #[inline]
    fn is_kept(&self, place: u64) -> bool {
        self.cells[place as usize % CELLS] & (MARK | KEPT) == mark(place) | KEPT
    }

    #[cold]
    fn sample(&mut self, place: u64) -> Seen {
        // Xorshift (Marsaglia 2003).
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.until_sample = if self.takes_all() { 1 } else { 1 + self.random % (2 * SAMPLED - 1) };
        let cell = &mut self.cells[place as usize % CELLS];
        let count = *cell & COUNT_MAX;
        if *cell & MARK == mark(place) {
            *cell += u32::from(count < COUNT_MAX);
        } else if count == 0 || self.threshold == 0 {
            *cell = mark(place) | 1;
        } else {
            *cell -= 1;
            return Seen::Cold;
        }
        match *cell {
            cell if cell & KEPT != 0 => Seen::Kept,
            cell if cell & COUNT_MAX >= self.threshold => Seen::Warm,
            _ => Seen::Cold,
        }
    }

    /// A key is kept from now on; false when it is not the candidate of its cell any more.
    pub fn keep(&mut self, place: u64) -> bool {
        let cell = &mut self.cells[place as usize % CELLS];
        let is_own = *cell & MARK == mark(place);
        *cell |= if is_own { KEPT } else { 0 };
        is_own
    }

    /// It is not any more.
    pub fn release(&mut self, place: u64) {
        let cell = &mut self.cells[place as usize % CELLS];
        if *cell & MARK == mark(place) {
            *cell &= !KEPT;
        }
    }

    /// The same, and it has to be seen anew.
    pub fn forget(&mut self, place: u64) {
        let cell = &mut self.cells[place as usize % CELLS];
        if *cell & MARK == mark(place) {
            *cell &= !(KEPT | COUNT_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::testing::Random;

    fn sketch(threshold: u32) -> Sketch {
        let mut sketch = Sketch::new();
        sketch.set_threshold(threshold);
        sketch
    }

    #[test]
    fn of_many_keys_that_are_read_alike_none_becomes_warm() {
        let (mut sketch, mut random) = (sketch(4), Random(1));
        let warm = (0..2_000_000)
            .filter(|_| sketch.see(random.below(1 << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15)) == Seen::Warm);
        assert_eq!(warm.count(), 0);
    }

    #[test]
    fn a_key_that_is_read_more_often_than_others_is_found_among_them() {
        let (mut sketch, mut random) = (sketch(4), Random(2));
        let hot = random.next();
        // One read in five hundred.
        let found = (0..100_000).find(|_| {
            let other = random.next();
            sketch.see(if random.below(500) == 0 { hot } else { other }) == Seen::Warm
        });
        assert!(found.is_some());
        assert!(sketch.keep(hot) && sketch.is_kept(hot) && sketch.see(hot) == Seen::Kept);
        // It stays while it is read, whoever else comes.
        for at in 0..1_000_000 {
            sketch.see(if at % 500 == 0 { hot } else { random.next() });
        }
        assert!(sketch.is_kept(hot));
        sketch.forget(hot);
        assert!(!sketch.is_kept(hot));
        // Once it is read no more its cell is another's.
        sketch.keep(hot);
        for _ in 0..1_000_000 {
            sketch.see(random.next());
        }
        assert!(!sketch.keep(hot));
    }

    #[test]
    fn with_a_threshold_of_0_whatever_is_read_is_warm_at_once() {
        let (mut sketch, mut random) = (sketch(0), Random(3));
        sketch.see(0);
        for _ in 0..10_000 {
            let place = random.next();
            assert_eq!(sketch.see(place), Seen::Warm);
            assert!(sketch.keep(place));
            assert_eq!(sketch.see(place), Seen::Kept);
        }
    }
}
