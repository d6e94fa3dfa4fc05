//! SIEVE (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024): one queue by arrival, a bit for what was used, and a hand
//! that walks from old to new, spares what was used once and evicts the rest.

use super::{
    Policy,
    queue::{Nodes, Queue},
};

pub struct Sieve {
    nodes: Nodes,
    queue: Queue,
    cap: u64,
    hand: Option<u32>,
}

impl Sieve {
    pub fn new(keys: usize, cap: u64) -> Sieve {
        Sieve { nodes: Nodes::new(keys), queue: Queue::new(), cap, hand: None }
    }

    fn evict(&mut self) {
        while let Some(key) = self.hand.or_else(|| self.queue.back()) {
            let used = std::mem::take(&mut self.nodes[key].uses) > 0;
            self.hand = self.queue.newer(&self.nodes, key);
            if !used {
                self.queue.take(&mut self.nodes, key);
                return;
            }
        }
    }
}

impl Policy for Sieve {
    fn read(&mut self, key: u32, bytes: u64) -> bool {
        if self.nodes.holds(key) {
            self.nodes[key].uses = 1;
            return true;
        }
        if bytes <= self.cap {
            while self.queue.bytes + bytes > self.cap {
                self.evict();
            }
            self.nodes[key].uses = 0;
            self.queue.push(&mut self.nodes, key, bytes);
        }
        false
    }

    fn remove(&mut self, key: u32) {
        if self.nodes.holds(key) {
            if self.hand == Some(key) {
                self.hand = self.queue.newer(&self.nodes, key);
            }
            self.queue.take(&mut self.nodes, key);
        }
    }

    fn items(&self) -> u64 {
        self.queue.items
    }
}
