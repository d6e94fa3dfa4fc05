//! S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), and variants of it.
//!
//! What is new waits in a small queue by arrival; what was used there goes on to the main one when its turn comes, what
//! was not leaves and is remembered as a ghost, and goes straight to the main queue if it comes again. The main queue goes
//! by arrival too, and lets what was used pass to the front. A hit writes a bit or two and moves nothing.
//!
//! `Rules::size` makes it aware of sizes: each of the two is a row of queues, one for each power of two of the size, and
//! the next to leave is the oldest of the one where age times size (to that power) is largest, so that a large item pays
//! for its room by leaving earlier. No item tells its age: that of the oldest is how many are in its queue, divided by how
//! many came lately (Little's law). So this costs a few counters for each queue, and nothing for an item.

use super::{
    Policy,
    queue::{Ghosts, Nodes, Queue},
};

/// What distinguishes the variants.
#[derive(Clone, Copy)]
pub struct Rules {
    /// The small queue's share of the bytes, 0 to 1.
    pub small: f64,
    /// Bits that count uses: 1 or 2.
    pub bits: u8,
    /// Ghosts for each item.
    pub ghosts: f64,
    /// The power of an item's size by which it leaves earlier; 0 if sizes do not matter.
    pub size: f64,
}

impl Rules {
    pub const PUBLISHED: Rules = Rules { small: 0.1, bits: 2, ghosts: 1.0, size: 0.0 };

    /// Uses in the small queue that lead to the main one.
    fn enough(self) -> u8 {
        if self.bits == 1 { 1 } else { 2 }
    }

    fn most_uses(self) -> u8 {
        (1 << self.bits) - 1
    }
}

pub struct S3Fifo {
    nodes: Nodes,
    small: Row,
    main: Row,
    ghosts: Ghosts,
    cap: u64,
    rules: Rules,
}

const SMALL: u8 = 0;
const MAIN: u8 = 1;

impl S3Fifo {
    pub fn new(keys: usize, cap: u64, rules: Rules) -> S3Fifo {
        S3Fifo {
            nodes: Nodes::new(keys),
            small: Row::new(rules.size),
            main: Row::new(rules.size),
            ghosts: Ghosts::new(keys),
            cap,
            rules,
        }
    }

    fn evict(&mut self) {
        if self.small.bytes as f64 >= self.cap as f64 * self.rules.small || self.main.items == 0 {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        while let Some(key) = self.small.next() {
            let bytes = self.small.take(&mut self.nodes, key);
            if self.nodes[key].uses < self.rules.enough() {
                let most = ((self.items() as f64 * self.rules.ghosts) as u64).max(1);
                self.ghosts.add(key, bytes, |ghosts, _| ghosts > most);
                return;
            }
            self.put(MAIN, key, bytes);
        }
    }

    fn evict_main(&mut self) {
        while let Some(key) = self.main.next() {
            let bytes = self.main.take(&mut self.nodes, key);
            let uses = self.nodes[key].uses;
            if uses == 0 {
                return;
            }
            self.put(MAIN, key, bytes);
            self.nodes[key].uses = uses - 1;
        }
    }

    fn put(&mut self, queue: u8, key: u32, bytes: u64) {
        let node = &mut self.nodes[key];
        (node.queue, node.uses) = (queue, 0);
        let queue = if queue == MAIN { &mut self.main } else { &mut self.small };
        queue.push(&mut self.nodes, key, bytes);
    }
}

impl Policy for S3Fifo {
    fn read(&mut self, key: u32, bytes: u64) -> bool {
        if self.nodes.holds(key) {
            let node = &mut self.nodes[key];
            node.uses = (node.uses + 1).min(self.rules.most_uses());
            return true;
        }
        if bytes <= self.cap {
            let known = self.ghosts.take(key);
            while self.small.bytes + self.main.bytes + bytes > self.cap {
                self.evict();
            }
            self.put(if known { MAIN } else { SMALL }, key, bytes);
        }
        false
    }

    fn remove(&mut self, key: u32) {
        if self.nodes.holds(key) {
            let queue = if self.nodes[key].queue == MAIN { &mut self.main } else { &mut self.small };
            queue.take(&mut self.nodes, key);
        }
    }

    fn items(&self) -> u64 {
        self.small.items + self.main.items
    }
}

/// A queue, or one for each power of two of the size.
struct Row {
    queues: Vec<Queue>,
    /// For each queue, how many items came to it lately.
    arrivals: Vec<f64>,
    all_arrivals: f64,
    bytes: u64,
    items: u64,
    size: f64,
}

impl Row {
    /// Sizes have so many powers of two at most.
    const POWERS: usize = 40;

    fn new(size: f64) -> Row {
        let count = if size > 0.0 { Row::POWERS } else { 1 };
        let (queues, arrivals) = (vec![Queue::new(); count], vec![0.0; count]);
        Row { queues, arrivals, all_arrivals: 0.0, bytes: 0, items: 0, size }
    }

    fn place(&self, bytes: u64) -> usize {
        (bytes.ilog2() as usize).min(self.queues.len() - 1)
    }

    /// The next to leave.
    fn next(&self) -> Option<u32> {
        let rank = |(queue, arrivals): &(&Queue, &f64)| {
            let age = queue.items as f64 / arrivals.max(f64::MIN_POSITIVE);
            age * (queue.bytes as f64 / queue.items as f64).powf(self.size)
        };
        let filled = self.queues.iter().zip(&self.arrivals).filter(|(queue, _)| queue.items > 0);
        filled.max_by(|one, other| rank(one).total_cmp(&rank(other)))?.0.back()
    }

    fn push(&mut self, nodes: &mut Nodes, key: u32, bytes: u64) {
        let place = self.place(bytes);
        self.queues[place].push(nodes, key, bytes);
        self.bytes += bytes;
        self.items += 1;
        self.arrivals[place] += 1.0;
        self.all_arrivals += 1.0;
        // "Lately" is while about as many came as there are.
        if self.all_arrivals > 2.0 * self.items.max(64) as f64 {
            self.all_arrivals /= 2.0;
            self.arrivals.iter_mut().for_each(|count| *count /= 2.0);
        }
    }

    fn take(&mut self, nodes: &mut Nodes, key: u32) -> u64 {
        let place = self.place(nodes[key].bytes);
        let bytes = self.queues[place].take(nodes, key);
        self.bytes -= bytes;
        self.items -= 1;
        bytes
    }
}
