//! Address space for an array that grows where it is: memory is put behind it and taken back piece by piece. It must not
//! know what lies in it.
//!
//! The whole range is reserved at once, so that a place in the array is one addition away from its address, and opened
//! for use as the array grows. Memory comes in small kernel pages, except where whoever uses the space has asked for a
//! huge one: there the kernel may fill all of a block at the first write, or later, unasked. So a block is only made
//! huge when all of it is counted as held, and is made small again before a part of it is given back.
//!
//! It is worth its `unsafe`: on huge pages a look-up among five million items takes half the time (`cargo bench --bench
//! shard -- lookups`), and no safe interface changes the kind of pages under an array that is in use.

use std::ops::{Deref, DerefMut, Range};

pub use crate::base::reserved::{BLOCK_BYTES, LINE_BYTES, Line};
use crate::base::reserved::{OPEN_BYTES, Reserved};

/// Arrays up to here (8 MiB) are as small as what is in them: there, 2 MiB at once would be much.
pub const FIRST_HUGE_BLOCK: usize = 4;
/// What of a block of small pages is given back in one step: it costs about 4 us. A huge page costs no more.
const SMALL_STEP_BYTES: usize = 64 * 1024;

pub struct Space {
    memory: Reserved,
    open_bytes: usize,
    /// One for each block that has been opened.
    is_huge: Vec<bool>,
}

impl Space {
    /// No space at all.
    pub const fn empty() -> Space {
        Space { memory: Reserved::EMPTY, open_bytes: 0, is_huge: Vec::new() }
    }

    /// Reserves `bytes`, or nothing when the process may not have as many addresses.
    pub fn reserve(bytes: usize) -> Space {
        let memory = Reserved::new(bytes);
        memory.map_or(Space::empty(), |memory| Space { memory, ..Space::empty() })
    }

    pub fn is_reserved(&self) -> bool {
        !self.memory.is_empty()
    }

    /// Lets the first `bytes` be used; they read as zeroes. False when the space ends before, or the kernel refuses.
    pub fn open(&mut self, bytes: usize) -> bool {
        // A kernel that must set memory aside for many may still have it for one block.
        bytes <= self.open_bytes || [OPEN_BYTES, BLOCK_BYTES].into_iter().any(|step| self.open_by(bytes, step))
    }

    fn open_by(&mut self, bytes: usize, step: usize) -> bool {
        let wanted = bytes.next_multiple_of(step).min(self.memory.len());
        let blocks = wanted / BLOCK_BYTES;
        if wanted < bytes
            || self.is_huge.try_reserve(blocks - self.is_huge.len()).is_err()
            || !self.memory.open(self.open_bytes..wanted)
        {
            return false;
        }
        self.open_bytes = wanted;
        self.is_huge.resize(blocks, false);
        true
    }

    pub fn is_huge(&self, block: usize) -> bool {
        self.is_huge[block]
    }

    /// Asks for a huge page behind this block. If that is granted, all of it counts as held from now on.
    pub fn make_huge(&mut self, block: usize) -> bool {
        self.is_huge[block] = self.memory.advise_huge(block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES, true);
        self.is_huge[block]
    }

    /// Gives the memory behind `range` (of whole kernel pages, in one block) back; it reads as zeroes afterwards. False
    /// when the kernel refuses.
    pub fn discard(&mut self, range: Range<usize>) -> bool {
        let block = range.start / BLOCK_BYTES;
        assert!(range.start < range.end && range.end <= (block + 1) * BLOCK_BYTES && range.end <= self.open_bytes);
        if self.is_huge[block] && range.len() < BLOCK_BYTES {
            // First, so that the kernel does not make the block whole again. Where it refuses, because the process has
            // as many kinds of memory side by side as it may, it may do so; to give nothing back would be worse.
            self.is_huge[block] = !self.memory.advise_huge(block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES, false);
        }
        self.memory.discard(range)
    }

    /// Clears a piece of the first `bytes`, at their end, by giving its memory back, and returns how many are left.
    pub fn discard_last(&mut self, bytes: usize) -> usize {
        let block = (bytes - 1) / BLOCK_BYTES;
        let step = if self.is_huge[block] { BLOCK_BYTES } else { SMALL_STEP_BYTES };
        let start = (bytes - 1) / step * step;
        if !self.discard(start..bytes) {
            // Whoever uses them next finds zeroes in any case.
            self[start..bytes].fill(0);
        }
        start
    }

    #[inline]
    #[allow(unsafe_code)]
    pub fn lines(&self) -> &[Line] {
        // SAFETY: the open bytes are readable, live as long as `self`, start at a page, and are zeroes or what was
        // written through `self`; every bit pattern is a valid u32.
        unsafe { std::slice::from_raw_parts(self.memory.start().cast(), self.open_bytes / LINE_BYTES) }
    }

    #[inline]
    #[allow(unsafe_code)]
    pub fn lines_mut(&mut self) -> &mut [Line] {
        // SAFETY: as in `lines`; they are writable too, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().cast(), self.open_bytes / LINE_BYTES) }
    }
}

impl Deref for Space {
    type Target = [u8];

    #[inline]
    #[allow(unsafe_code)]
    fn deref(&self) -> &[u8] {
        // SAFETY: as in `lines`.
        unsafe { std::slice::from_raw_parts(self.memory.start(), self.open_bytes) }
    }
}

impl DerefMut for Space {
    #[inline]
    #[allow(unsafe_code)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `lines_mut`.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start(), self.open_bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discarded_bytes_read_as_zeroes_and_their_neighbours_stay_in_blocks_of_both_kinds() {
        let mut space = Space::reserve(4 * OPEN_BYTES);
        assert!(space.open(2 * BLOCK_BYTES));
        space.make_huge(1);
        space[..2 * BLOCK_BYTES].fill(7);
        for start in [0, BLOCK_BYTES] {
            let range = start + 65536..start + 131072;
            assert!(space.discard(range.clone()));
            assert!(space[range.clone()].iter().all(|&byte| byte == 0));
            assert_eq!((space[range.start - 1], space[range.end]), (7, 7));
        }
        assert!(!space.is_huge(1), "before the kernel makes it whole again");
    }

    #[test]
    fn a_space_ends_where_it_was_reserved_to_end() {
        assert!(!Space::empty().open(1));
        let mut space = Space::reserve(OPEN_BYTES);
        assert!(space.is_empty() && space.open(OPEN_BYTES) && !space.open(OPEN_BYTES + 1));
        space.lines_mut().last_mut().unwrap()[15] = 1;
        assert_eq!(space.iter().rev().take(4).copied().collect::<Vec<_>>(), [0, 0, 0, 1]);
        assert_eq!(space.discard_last(BLOCK_BYTES), BLOCK_BYTES - SMALL_STEP_BYTES);
        space.make_huge(3);
        assert_eq!(space.discard_last(4 * BLOCK_BYTES), 3 * BLOCK_BYTES);
    }
}
