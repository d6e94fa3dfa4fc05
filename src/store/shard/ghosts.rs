//! Who has gone lately: of each item that left unused, 16 bits of its hash, in the order in which they left. It must not know
//! why they left, nor what it means when one comes back.
//!
//! A line of the processor's cache holds 32 ghosts, the newest first, of the hashes that end in its number: one more pushes
//! the oldest out. So a ghost is two bytes, and its place in the line tells how long ago it left. The table grows and shrinks
//! a line at a time, as `index` does, with the number of items. A line that is added begins as a copy of the one that it shares
//! hashes with: what is not its own there is never asked for, and is pushed out.

use super::space::{LINE_BYTES, Line, Space};

/// Ghosts in a line.
pub const SLOTS: usize = LINE_BYTES / 2;
/// Half as many as a shard can hold items, in address space; memory comes in kernel pages, as the table grows.
const RESERVED_BYTES: usize = 1024 * 1024 * 1024;
const STEP_BYTES: usize = 4096;
/// Stands where no ghost is.
const NOBODY: u16 = 0;

pub struct Ghosts {
    space: Space,
    /// How many items there are for each line.
    items_per_line: usize,
    /// Lines in use.
    homes: u32,
    /// Lines that have memory.
    backed: u32,
}

impl Ghosts {
    pub const fn new(items_per_line: usize) -> Ghosts {
        Ghosts { space: Space::empty(), items_per_line, homes: 0, backed: 0 }
    }

    /// Memory held.
    pub fn bytes(&self) -> u64 {
        self.backed as u64 * LINE_BYTES as u64
    }

    /// Remembers the hash of an item that leaves a cache of `items`.
    pub fn add(&mut self, tag: u32, items: usize) {
        self.fit(items);
        if let Some(line) = self.line_mut(tag) {
            for word in (1..line.len()).rev() {
                line[word] = line[word] << 16 | line[word - 1] >> 16;
            }
            line[0] = line[0] << 16 | u32::from(fingerprint(tag));
        }
    }

    /// Forgets a hash; true if it was there.
    pub fn take(&mut self, tag: u32) -> bool {
        let Some(place) = self.find(tag) else { return false };
        let line = self.line_mut(tag).expect("it was found there");
        let mut slots = slots(line);
        slots.copy_within(place + 1.., place);
        slots[SLOTS - 1] = NOBODY;
        for (word, pair) in line.iter_mut().zip(slots.as_chunks::<2>().0) {
            *word = u32::from(pair[0]) | u32::from(pair[1]) << 16;
        }
        true
    }

    /// The place of a hash in its line, if it is there: about so many times `lines` have left since.
    pub fn find(&self, tag: u32) -> Option<usize> {
        let line = self.space.lines().get(self.home(tag)?)?;
        let twice = u32::from(fingerprint(tag)) * 0x0001_0001;
        // Most are not there: two slots are looked at together, without a branch. A half that is equal becomes zero, and
        // borrows from its upper bit.
        let has_zero = |word: u32| word.wrapping_sub(0x0001_0001) & !word & 0x8000_8000;
        if line.iter().fold(0, |any, word| any | has_zero(word ^ twice)) == 0 {
            return None;
        }
        slots(line).iter().position(|&slot| slot == fingerprint(tag))
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.homes as usize
    }

    /// Gives some memory back; false when there is none left. What was there is forgotten.
    pub fn dissolve_step(&mut self) -> bool {
        if self.backed == 0 {
            return false;
        }
        self.homes = 0;
        self.backed = (self.space.discard_last(self.bytes() as usize) / LINE_BYTES) as u32;
        true
    }

    /// One line more or less, if there are too few or too many for so many items.
    fn fit(&mut self, items: usize) {
        let wanted = items / self.items_per_line + 1;
        let homes = self.homes as usize;
        if homes < wanted {
            self.grow();
        } else if homes > wanted + wanted / 8 {
            self.homes -= 1;
            self.give_back();
        }
    }

    fn grow(&mut self) {
        if self.homes == self.backed {
            if !self.space.is_reserved() {
                self.space = Space::reserve(RESERVED_BYTES);
            }
            if !self.space.open(self.bytes() as usize + STEP_BYTES) {
                return;
            }
            self.backed += (STEP_BYTES / LINE_BYTES) as u32;
        }
        let new = self.homes as usize;
        let lines = self.space.lines_mut();
        // Its twin has the number without the uppermost bit.
        lines[new] = if new == 0 { [0; _] } else { lines[new & !(1 << new.ilog2())] };
        self.homes += 1;
    }

    /// Takes the memory of the last lines away, if they have not been in use for half as many.
    fn give_back(&mut self) {
        let end = self.bytes() as usize;
        if self.homes as usize * LINE_BYTES + STEP_BYTES + STEP_BYTES / 2 <= end
            && self.space.discard(end - STEP_BYTES..end)
        {
            self.backed -= (STEP_BYTES / LINE_BYTES) as u32;
        }
    }

    fn home(&self, tag: u32) -> Option<usize> {
        let round = self.homes.checked_ilog2()?;
        let home = tag & ((2 << round) - 1);
        Some(if home < self.homes { home } else { home & !(1 << round) } as usize)
    }

    fn line_mut(&mut self, tag: u32) -> Option<&mut Line> {
        let home = self.home(tag)?;
        self.space.lines_mut().get_mut(home)
    }
}

fn slots(line: &Line) -> [u16; SLOTS] {
    std::array::from_fn(|slot| (line[slot / 2] >> (slot % 2 * 16)) as u16)
}

/// Of the upper bits: the lower ones say which line.
fn fingerprint(tag: u32) -> u16 {
    ((tag >> 16) as u16).max(NOBODY + 1)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn the_last_to_go_are_remembered_in_order_and_each_once() {
        let mut random = Random(5);
        let mut ghosts = Ghosts::new(64);
        let items = 64_000;
        // Until there are as many lines as that many items have.
        (0..20_000).for_each(|_| ghosts.add(random.next() as u32, items));
        assert_eq!(ghosts.lines(), items / 64 + 1);
        let mut left = VecDeque::new();
        for _ in 0..100_000 {
            let tag = random.next() as u32;
            ghosts.add(tag, items);
            left.push_front(tag);
            left.truncate(items / 2);
        }
        // A line has more or fewer of the last half than its share, but 32 always.
        let near = left.iter().take(items / 4).filter(|&&tag| ghosts.find(tag).is_some()).count();
        assert!(near > items / 4 * 99 / 100, "{near}");
        let place = |at: usize| left.range(at..at + 1000).filter_map(|&tag| ghosts.find(tag)).sum::<usize>() / 1000;
        assert!(place(0) <= 1 && (14..18).contains(&place(items / 4)), "{} {}", place(0), place(items / 4));
        let strangers = (0..100_000).filter(|_| ghosts.find(random.next() as u32).is_some()).count();
        assert!(strangers < 100, "{strangers}");
        for tag in left.range(..1000).copied().collect::<Vec<_>>() {
            assert!(ghosts.take(tag));
            assert!(!ghosts.take(tag) || left.iter().filter(|&&other| other >> 16 == tag >> 16).count() > 1);
        }
    }

    #[test]
    fn the_table_follows_the_items_a_line_at_a_time_and_loses_little_on_the_way_up() {
        let mut random = Random(6);
        let mut ghosts = Ghosts::new(64);
        let mut last = VecDeque::new();
        for step in 0..200_000 {
            let tag = random.next() as u32;
            let before = ghosts.lines();
            ghosts.add(tag, step);
            assert!(ghosts.lines().abs_diff(before) <= 1);
            assert!(ghosts.bytes() <= (step + 64) as u64 + 2 * STEP_BYTES as u64);
            last.push_front(tag);
            last.truncate(step / 8 + 1);
        }
        let found = last.iter().filter(|&&tag| ghosts.find(tag).is_some()).count();
        assert!(found * 100 > last.len() * 97, "{found} of {}", last.len());
        for _ in 0..10_000 {
            ghosts.add(random.next() as u32, 1000);
        }
        assert!(ghosts.lines() <= 18 && ghosts.bytes() <= 3 * STEP_BYTES as u64);
        while ghosts.dissolve_step() {}
        assert_eq!((ghosts.bytes(), ghosts.find(7), ghosts.take(7)), (0, None, false));
        ghosts.add(7 << 16, 10);
        assert!(ghosts.take(7 << 16));
    }
}
