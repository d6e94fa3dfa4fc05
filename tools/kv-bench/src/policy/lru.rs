//! The two oldest orders: by last use, and by arrival.

use super::{
    Policy,
    queue::{Nodes, Queue},
};

pub struct Lru {
    nodes: Nodes,
    queue: Queue,
    cap: u64,
    /// Whether a hit moves to the front; otherwise this is FIFO.
    moves: bool,
}

impl Lru {
    pub fn new(keys: usize, cap: u64, moves: bool) -> Lru {
        Lru { nodes: Nodes::new(keys), queue: Queue::new(), cap, moves }
    }
}

impl Policy for Lru {
    fn read(&mut self, key: u32, bytes: u64) -> bool {
        if self.nodes.holds(key) {
            if self.moves {
                let bytes = self.queue.take(&mut self.nodes, key);
                self.queue.push(&mut self.nodes, key, bytes);
            }
            return true;
        }
        if bytes <= self.cap {
            while self.queue.bytes + bytes > self.cap
                && let Some(oldest) = self.queue.back()
            {
                self.queue.take(&mut self.nodes, oldest);
            }
            self.queue.push(&mut self.nodes, key, bytes);
        }
        false
    }

    fn remove(&mut self, key: u32) {
        if self.nodes.holds(key) {
            self.queue.take(&mut self.nodes, key);
        }
    }

    fn items(&self) -> u64 {
        self.queue.items
    }
}
