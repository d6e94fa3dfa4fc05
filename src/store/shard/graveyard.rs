//! Memory of what has been cleared, until it is given back in small steps. It must not know live items.

use super::garbage::Garbage;
use super::heap::Heap;
use super::index::Index;
use super::large::LargeItems;
use super::space::Space;

#[derive(Default)]
pub struct Graveyard {
    buried: Vec<Buried>,
    large: Vec<LargeItems>,
    /// ShardGuards by all of them.
    bytes: u64,
}

struct Buried {
    space: Space,
    /// How far memory may still be behind it, ...
    reach: usize,
    /// ... and how much there is at most.
    held: u64,
}

impl Graveyard {
    pub fn bury(&mut self, heap: Heap, indexes: impl Iterator<Item = Index>, large: LargeItems) {
        let held = heap.resident_bytes();
        let (space, reach) = heap.into_space();
        self.buried.push(Buried { space, reach, held });
        self.buried.extend(indexes.map(|index| {
            let (space, reach) = index.into_space();
            Buried { space, reach, held: reach as u64 }
        }));
        self.large.push(large);
        self.count();
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn count(&mut self) {
        let spaces: u64 = self.buried.iter().map(|buried| buried.held).sum();
        self.bytes = spaces + self.large.iter().map(LargeItems::bytes).sum::<u64>();
    }

    /// One bounded step. False when there was nothing left to do.
    pub fn step(&mut self, garbage: &mut Garbage) -> bool {
        let is_work = self.drop_large(garbage) || self.discard();
        if is_work {
            self.count();
        }
        is_work
    }

    fn drop_large(&mut self, garbage: &mut Garbage) -> bool {
        let Some(items) = self.large.last_mut() else { return false };
        match items.pop() {
            Some(large) => garbage.add(large.value),
            None => drop(self.large.pop()),
        }
        true
    }

    fn discard(&mut self) -> bool {
        let Some(Buried { space, reach, held }) = self.buried.last_mut() else { return false };
        if *reach == 0 {
            self.buried.pop();
            return true;
        }
        let left = space.discard_last(*reach);
        *held = held.saturating_sub((*reach - left) as u64);
        *reach = left;
        true
    }
}
