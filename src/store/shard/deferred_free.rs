//! Large items of a shard that has been cleared, until they are freed in small steps. It must not know live items.

use super::large::LargeItems;

#[derive(Default)]
pub struct DeferredFree {
    waiting: Vec<LargeItems>,
    /// Held by all of them.
    bytes: u64,
}

impl DeferredFree {
    pub fn add(&mut self, items: LargeItems) {
        let bytes = items.bytes();
        if bytes > 0 {
            self.waiting.push(items);
            self.bytes += bytes;
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Frees one item. False when there was nothing left to do.
    pub fn step(&mut self) -> bool {
        let Some(items) = self.waiting.last_mut() else { return false };
        let before = items.bytes();
        if items.pop().is_some() {
            self.bytes -= before - items.bytes();
        } else {
            self.bytes -= before;
            self.waiting.pop();
        }
        true
    }
}
