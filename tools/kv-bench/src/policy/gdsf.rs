//! Greedy dual size frequency (Cherkasova, HP Labs 1998): what has the least uses per byte leaves first, and what has left
//! raises the bar for what comes. It needs a heap of all items, which no cache server wants: it shows what is possible.

use super::Policy;
use std::collections::BTreeSet;

pub struct Gdsf {
    /// By priority, as the bits of a positive float, which have its order.
    order: BTreeSet<(u64, u32)>,
    /// Priority, bytes (0: not there) and uses of each key.
    keys: Vec<(u64, u64, u32)>,
    used: u64,
    cap: u64,
    /// The priority of the last one that left.
    bar: f64,
}

impl Gdsf {
    pub fn new(keys: usize, cap: u64) -> Gdsf {
        Gdsf { order: BTreeSet::new(), keys: vec![(0, 0, 0); keys], used: 0, cap, bar: 0.0 }
    }

    fn put(&mut self, key: u32, bytes: u64, uses: u32) {
        let priority = (self.bar + f64::from(uses) / bytes as f64).to_bits();
        self.keys[key as usize] = (priority, bytes, uses);
        self.order.insert((priority, key));
    }
}

impl Policy for Gdsf {
    fn read(&mut self, key: u32, bytes: u64) -> bool {
        let (priority, has, uses) = self.keys[key as usize];
        if has > 0 {
            self.order.remove(&(priority, key));
            self.put(key, has, uses + 1);
            return true;
        }
        if bytes <= self.cap {
            while self.used + bytes > self.cap
                && let Some((priority, victim)) = self.order.pop_first()
            {
                self.bar = f64::from_bits(priority);
                self.used -= std::mem::take(&mut self.keys[victim as usize].1);
            }
            self.put(key, bytes, 1);
            self.used += bytes;
        }
        false
    }

    fn remove(&mut self, key: u32) {
        let (priority, has, _) = self.keys[key as usize];
        if has > 0 {
            self.order.remove(&(priority, key));
            self.keys[key as usize].1 = 0;
            self.used -= has;
        }
    }

    fn items(&self) -> u64 {
        self.order.len() as u64
    }
}
