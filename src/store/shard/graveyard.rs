//! Large items of a shard that has been cleared, until they are freed in small steps. It must not know live items.

use super::large::LargeItems;

#[derive(Default)]
pub struct Graveyard {
    buried: Vec<LargeItems>,
    /// Held by all of them.
    bytes: u64,
}

impl Graveyard {
    pub fn bury(&mut self, items: LargeItems) {
        let bytes = items.bytes();
        if bytes > 0 {
            self.buried.push(items);
            self.bytes += bytes;
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Frees one item. False when there was nothing left to do.
    pub fn step(&mut self) -> bool {
        let Some(items) = self.buried.last_mut() else { return false };
        let before = items.bytes();
        if items.pop().is_some() {
            self.bytes -= before - items.bytes();
        } else {
            self.bytes -= before;
            self.buried.pop();
        }
        true
    }
}
