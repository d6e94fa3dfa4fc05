//! Which stretches of an array are free, and behind which of its pages there is memory. Numbers alone: it must not know
//! where the array lies.
//!
//! A stretch is handed out of the smallest free one that has room (the first of several), and comes back together with its
//! free neighbours. A page is *held* from the first time that something is written to it; a held page of which all is free
//! is *idle*, and may be given up.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub const UNIT_BYTES: usize = 64;
/// What the kernel gives and takes back at least.
pub const PAGE_BYTES: usize = 4096;
const PAGE_UNITS: u32 = (PAGE_BYTES / UNIT_BYTES) as u32;
/// Idle pages that are given up in one step, at most: 256 KiB, which takes the kernel some 30 us.
const STEP_PAGES: usize = 64;
/// What a free stretch costs: its nodes in three trees.
const RUN_BYTES: usize = 64;

/// A stretch of units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    pub start: u32,
    pub units: u32,
}

impl Run {
    pub fn end(self) -> u32 {
        self.start + self.units
    }

    /// The pages that lie in it as a whole.
    fn pages(self) -> Range<usize> {
        let start = self.start.div_ceil(PAGE_UNITS) as usize;
        start..((self.end() / PAGE_UNITS) as usize).max(start)
    }
}

#[derive(Clone, Copy)]
struct Free {
    units: u32,
    idle_pages: usize,
}

#[derive(Default)]
pub struct Runs {
    by_start: BTreeMap<u32, Free>,
    by_units: BTreeSet<(u32, u32)>,
    /// Where free runs with idle pages start.
    with_idle: BTreeSet<u32>,
    /// One bit for each page that is held.
    held: Vec<u64>,
    held_pages: usize,
    idle_pages: usize,
}

impl Runs {
    /// All of `units` is free, and nothing is held.
    pub fn new(units: u32) -> Runs {
        let mut runs = Runs::default();
        runs.add(Run { start: 0, units }, 0);
        runs
    }

    /// Memory held, and what it takes to know of it.
    pub fn bytes(&self) -> usize {
        self.held_pages * PAGE_BYTES + self.by_start.len() * RUN_BYTES + self.held.capacity() * size_of::<u64>()
    }

    /// Memory that is held for nothing.
    pub fn idle_bytes(&self) -> usize {
        self.idle_pages * PAGE_BYTES
    }

    /// A stretch of so many units; none when there is none.
    pub fn take(&mut self, units: u32) -> Option<Run> {
        let &(free_units, start) = self.by_units.range((units, 0)..).next()?;
        self.take_from(Run { start, units: free_units }, units);
        Some(Run { start, units })
    }

    /// Makes a stretch that was taken longer where it is; false when what comes behind is not free.
    pub fn lengthen(&mut self, run: Run, units: u32) -> bool {
        let more = units - run.units;
        match self.by_start.get(&run.end()) {
            Some(free) if free.units >= more => {
                self.take_from(Run { start: run.end(), units: free.units }, more);
                true
            }
            _ => false,
        }
    }

    /// Takes a stretch back.
    pub fn give(&mut self, run: Run) {
        if run.units == 0 {
            return;
        }
        let (mut whole, mut idle_pages) = (run, 0);
        let mut fresh = None;
        if let Some((&start, &before)) = self.by_start.range(..run.start).next_back()
            && start + before.units == run.start
        {
            let before_run = Run { start, units: before.units };
            self.remove(before_run);
            idle_pages += before.idle_pages;
            fresh = Some(before_run.pages().end);
            whole = Run { start, units: before.units + run.units };
        }
        let mut until = None;
        if let Some(&behind) = self.by_start.get(&run.end()) {
            let behind_run = Run { start: run.end(), units: behind.units };
            self.remove(behind_run);
            idle_pages += behind.idle_pages;
            until = Some(behind_run.pages().start);
            whole.units += behind.units;
        }
        // What lies neither in the one before nor in the one behind as a whole.
        let pages = whole.pages();
        idle_pages +=
            self.count_held(fresh.unwrap_or(pages.start)..until.map_or(pages.end, |until: usize| until.min(pages.end)));
        self.add(whole, idle_pages);
    }

    /// Something is about to be written to these units: the pages they lie in are held from now on. False when there is no
    /// memory to know of it.
    pub fn hold(&mut self, run: Run) -> bool {
        let pages = (run.start / PAGE_UNITS) as usize..(run.end().div_ceil(PAGE_UNITS)) as usize;
        let words = pages.end.div_ceil(64);
        if words > self.held.len() {
            if self.held.try_reserve(words - self.held.len()).is_err() {
                return false;
            }
            self.held.resize(words, 0);
        }
        for page in pages {
            let bit = 1 << (page % 64);
            self.held_pages += usize::from(self.held[page / 64] & bit == 0);
            self.held[page / 64] |= bit;
        }
        true
    }

    /// Some idle pages side by side, the last ones, which are held no more; none when there are none.
    pub fn give_up(&mut self) -> Option<Range<usize>> {
        let start = *self.with_idle.last()?;
        let free = *self.by_start.get(&start)?;
        let pages = self.vacate(Run { start, units: free.units })?;
        let count = pages.len();
        self.idle_pages -= count;
        let free = self.by_start.get_mut(&start)?;
        free.idle_pages -= count;
        if free.idle_pages == 0 {
            self.with_idle.remove(&start);
        }
        Some(pages)
    }

    /// The same of any stretch that nothing is in.
    pub fn vacate(&mut self, run: Run) -> Option<Range<usize>> {
        let pages = run.pages();
        let end = self.last_held(pages.clone())? + 1;
        let first = (pages.start..end).rev().take(STEP_PAGES).take_while(|&page| self.is_held(page)).last()?;
        (first..end).for_each(|page| self.held[page / 64] &= !(1 << (page % 64)));
        self.held_pages -= end - first;
        Some(first..end)
    }

    /// Takes the first units of a free run.
    fn take_from(&mut self, free: Run, units: u32) {
        let idle_pages = self.remove(free);
        let rest = Run { start: free.start + units, units: free.units - units };
        if rest.units > 0 {
            let gone = free.pages().start..rest.pages().start.min(free.pages().end);
            self.add(rest, idle_pages - self.count_held(gone));
        }
    }

    fn add(&mut self, run: Run, idle_pages: usize) {
        self.by_start.insert(run.start, Free { units: run.units, idle_pages });
        self.by_units.insert((run.units, run.start));
        if idle_pages > 0 {
            self.with_idle.insert(run.start);
        }
        self.idle_pages += idle_pages;
    }

    /// How many idle pages it had.
    fn remove(&mut self, run: Run) -> usize {
        let free = self.by_start.remove(&run.start).expect("it is free");
        self.by_units.remove(&(run.units, run.start));
        if free.idle_pages > 0 {
            self.with_idle.remove(&run.start);
        }
        self.idle_pages -= free.idle_pages;
        free.idle_pages
    }

    fn is_held(&self, page: usize) -> bool {
        self.held.get(page / 64).is_some_and(|word| word & 1 << (page % 64) != 0)
    }

    /// The bits of these pages, word by word.
    fn words(&self, pages: Range<usize>) -> impl DoubleEndedIterator<Item = (usize, u64)> {
        let end = pages.end.min(self.held.len() * 64);
        let words = pages.start / 64..end.div_ceil(64).max(pages.start / 64);
        words.map(move |at| {
            let from = pages.start.saturating_sub(at * 64);
            let past = end.saturating_sub(at * 64);
            let below_end = if past >= 64 { u64::MAX } else { (1 << past) - 1 };
            let above_start = if from >= 64 { 0 } else { u64::MAX << from };
            (at, self.held[at] & below_end & above_start)
        })
    }

    fn count_held(&self, pages: Range<usize>) -> usize {
        self.words(pages).map(|(_, bits)| bits.count_ones() as usize).sum()
    }

    fn last_held(&self, pages: Range<usize>) -> Option<usize> {
        let (at, bits) = self.words(pages).rev().find(|(_, bits)| *bits != 0)?;
        Some(at * 64 + bits.ilog2() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNITS: u32 = 4000;

    /// Counts what it should count by looking at every unit and page.
    fn check(runs: &Runs, taken: &[Run], written: &BTreeSet<usize>) {
        let mut is_taken = vec![false; UNITS as usize];
        for run in taken {
            for unit in run.start..run.end() {
                assert!(!std::mem::replace(&mut is_taken[unit as usize], true), "handed out twice");
            }
        }
        let free: u32 = runs.by_start.values().map(|free| free.units).sum();
        assert_eq!(free, is_taken.iter().filter(|taken| !**taken).count() as u32);
        let ends: BTreeSet<u32> = runs.by_start.iter().map(|(start, free)| start + free.units).collect();
        assert!(runs.by_start.keys().all(|start| !ends.contains(start)), "neighbours are one");
        assert_eq!(runs.held_pages, written.len());
        let is_idle = |page: &&usize| {
            let units = **page * PAGE_UNITS as usize..((**page + 1) * PAGE_UNITS as usize).min(UNITS as usize);
            units.len() == PAGE_UNITS as usize && is_taken[units].iter().all(|taken| !taken)
        };
        assert_eq!(runs.idle_pages, written.iter().filter(is_idle).count());
        assert_eq!(runs.idle_pages, runs.by_start.values().map(|free| free.idle_pages).sum::<usize>());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_disjoint_and_what_is_held_and_idle_is_counted(
            steps in prop::collection::vec((0..5u8, 1..600u32), 1..200),
        ) {
            let (mut runs, mut taken, mut written) = (Runs::new(UNITS), Vec::<Run>::new(), BTreeSet::new());
            for (kind, number) in steps {
                let at = (!taken.is_empty()).then(|| number as usize % taken.len());
                match (kind, at) {
                    (0 | 1, _) => {
                        if let Some(run) = runs.take(number) {
                            let half = Run { start: run.start, units: number.div_ceil(2) };
                            prop_assert!(runs.hold(half));
                            let pages = half.start / PAGE_UNITS..half.end().div_ceil(PAGE_UNITS);
                            written.extend(pages.map(|page| page as usize));
                            taken.push(run);
                        }
                    }
                    (2, Some(at)) => runs.give(taken.swap_remove(at)),
                    (3, Some(at)) => {
                        if runs.lengthen(taken[at], taken[at].units + number) {
                            taken[at].units += number;
                        }
                    }
                    _ => {
                        if let Some(mut pages) = runs.give_up() {
                            prop_assert!(pages.all(|page| written.remove(&page)));
                        }
                    }
                }
                check(&runs, &taken, &written);
            }
            taken.drain(..).for_each(|run| runs.give(run));
            while runs.give_up().is_some() {}
            // The last page may not be whole.
            prop_assert!(runs.held_pages <= 1 && runs.by_start.len() == 1);
        }
    }
}
