//! 2Q (Johnson and Shasha, VLDB 1994), the full version, with bytes for pages: what is new waits in a queue by arrival
//! (a quarter of the cache); what comes again soon after it left that queue goes to the main one, which is an LRU.

use super::{
    Policy,
    queue::{Ghosts, Nodes, Queue},
};

pub struct TwoQueue {
    nodes: Nodes,
    new: Queue,
    main: Queue,
    ghosts: Ghosts,
    cap: u64,
}

const NEW: u8 = 0;
const MAIN: u8 = 1;

impl TwoQueue {
    pub fn new(keys: usize, cap: u64) -> TwoQueue {
        TwoQueue { nodes: Nodes::new(keys), new: Queue::new(), main: Queue::new(), ghosts: Ghosts::new(keys), cap }
    }

    fn evict(&mut self) {
        let from_new = self.new.bytes > self.cap / 4 || self.main.items == 0;
        let queue = if from_new { &mut self.new } else { &mut self.main };
        let Some(key) = queue.back() else { return };
        let bytes = queue.take(&mut self.nodes, key);
        if from_new {
            let most = self.cap / 2;
            self.ghosts.add(key, bytes, |_, bytes| bytes > most);
        }
    }
}

impl Policy for TwoQueue {
    fn read(&mut self, key: u32, bytes: u64) -> bool {
        if self.nodes.holds(key) {
            if self.nodes[key].queue == MAIN {
                let bytes = self.main.take(&mut self.nodes, key);
                self.main.push(&mut self.nodes, key, bytes);
            }
            return true;
        }
        if bytes <= self.cap {
            let known = self.ghosts.take(key);
            while self.new.bytes + self.main.bytes + bytes > self.cap {
                self.evict();
            }
            self.nodes[key].queue = if known { MAIN } else { NEW };
            let queue = if known { &mut self.main } else { &mut self.new };
            queue.push(&mut self.nodes, key, bytes);
        }
        false
    }

    fn remove(&mut self, key: u32) {
        if self.nodes.holds(key) {
            let queue = if self.nodes[key].queue == MAIN { &mut self.main } else { &mut self.new };
            queue.take(&mut self.nodes, key);
        }
    }

    fn items(&self) -> u64 {
        self.new.items + self.main.items
    }
}
