//! S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), and variants of it.
//!
//! What is new waits in a small queue by arrival; what was used there goes on to the main one when its turn comes, what
//! was not leaves and is remembered as a ghost, and goes straight to the main queue if it comes again. The main queue goes
//! by arrival too, and lets what was used pass to the front. A hit writes a bit or two and moves nothing.
//!
//! With `sized` queues there is one for each power of two of the size, and the next to leave is the oldest of the one where
//! age times size is largest: a large item pays for its room by leaving earlier.

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
    pub sized_small: bool,
    pub sized_main: bool,
}

impl Rules {
    pub const PUBLISHED: Rules = Rules { small: 0.1, bits: 2, ghosts: 1.0, sized_small: false, sized_main: false };

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
    small: Sized,
    main: Sized,
    ghosts: Ghosts,
    cap: u64,
    rules: Rules,
    /// Requests so far.
    now: u64,
}

const SMALL: u8 = 0;
const MAIN: u8 = 1;

impl S3Fifo {
    pub fn new(keys: usize, cap: u64, rules: Rules) -> S3Fifo {
        S3Fifo {
            nodes: Nodes::new(keys),
            small: Sized::new(rules.sized_small),
            main: Sized::new(rules.sized_main),
            ghosts: Ghosts::new(keys),
            cap,
            rules,
            now: 0,
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
        while let Some(key) = self.small.next(&self.nodes, self.now) {
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
        while let Some(key) = self.main.next(&self.nodes, self.now) {
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
        (node.queue, node.uses, node.since) = (queue, 0, self.now);
        let queue = if queue == MAIN { &mut self.main } else { &mut self.small };
        queue.push(&mut self.nodes, key, bytes);
    }
}

impl Policy for S3Fifo {
    fn read(&mut self, key: u32, bytes: u64) -> bool {
        self.now += 1;
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
struct Sized {
    classes: Vec<Queue>,
    bytes: u64,
    items: u64,
}

impl Sized {
    fn new(sized: bool) -> Sized {
        Sized { classes: vec![Queue::new(); if sized { 40 } else { 1 }], bytes: 0, items: 0 }
    }

    fn class(&self, bytes: u64) -> usize {
        (bytes.ilog2() as usize).min(self.classes.len() - 1)
    }

    /// The next to leave: the oldest, or the one of the oldest whose age times size is largest.
    fn next(&self, nodes: &Nodes, now: u64) -> Option<u32> {
        let worth = |key: &u32| (now - nodes[*key].since + 1) as u128 * u128::from(nodes[*key].bytes);
        self.classes.iter().filter_map(Queue::back).max_by_key(worth)
    }

    fn push(&mut self, nodes: &mut Nodes, key: u32, bytes: u64) {
        let class = self.class(bytes);
        self.classes[class].push(nodes, key, bytes);
        self.bytes += bytes;
        self.items += 1;
    }

    fn take(&mut self, nodes: &mut Nodes, key: u32) -> u64 {
        let class = self.class(nodes[key].bytes);
        let bytes = self.classes[class].take(nodes, key);
        self.bytes -= bytes;
        self.items -= 1;
        bytes
    }
}
