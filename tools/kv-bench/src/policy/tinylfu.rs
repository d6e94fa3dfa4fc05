//! TinyLFU's admission in front of an LRU, and W-TinyLFU with an adaptive window (Einziger et al., "Adaptive Software
//! Cache Management", Middleware 2018), with bytes for items.
//!
//! What is new passes through a window that is an LRU. When it leaves the window it is weighed against those that would
//! have to go for it: it stays if it was asked for more often lately than all of them together ("aggregated victims":
//! Einziger et al., "Lightweight Robust Size Aware Cache Management", ACM TOS 2022). The main part is a segmented LRU. The
//! window grows or shrinks as long as that finds more.

use super::{
    Policy,
    queue::{Nodes, Queue},
    sketch::Sketch,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The admission alone, in front of one LRU.
    None,
    Adaptive,
}

pub struct TinyLfu {
    nodes: Nodes,
    sketch: Sketch,
    window: Queue,
    probation: Queue,
    protected: Queue,
    cap: u64,
    /// Bytes of the window.
    window_cap: f64,
    climber: Option<Climber>,
}

const WINDOW: u8 = 0;
const PROBATION: u8 = 1;
const PROTECTED: u8 = 2;
/// The part of the main bytes that is for what was asked for again.
const PROTECTED_SHARE: f64 = 0.8;

/// Climbs the hill of hit ratio over window size, one step each period.
struct Climber {
    requests: u64,
    hits: u64,
    /// Of the period before, 0 to 1.
    ratio: f64,
    /// As a share of the cap, with its direction.
    step: f64,
}

impl TinyLfu {
    pub fn new(keys: usize, cap: u64, window: Window) -> TinyLfu {
        TinyLfu {
            nodes: Nodes::new(keys),
            // Nothing is known of the sizes: as wide as if all keys had to be counted, but not wider than 1 a 64 bytes.
            sketch: Sketch::new((keys as u64).min(cap / 64)),
            window: Queue::new(),
            probation: Queue::new(),
            protected: Queue::new(),
            cap,
            window_cap: if window == Window::None { 0.0 } else { cap as f64 * 0.01 },
            climber: (window == Window::Adaptive).then_some(Climber { requests: 0, hits: 0, ratio: 0.0, step: 0.0625 }),
        }
    }

    fn queue(&mut self, number: u8) -> &mut Queue {
        match number {
            WINDOW => &mut self.window,
            PROBATION => &mut self.probation,
            _ => &mut self.protected,
        }
    }

    fn shift(&mut self, key: u32, to: u8) {
        let from = self.nodes[key].queue;
        let mut queue = std::mem::replace(self.queue(from), Queue::new());
        let bytes = queue.take(&mut self.nodes, key);
        *self.queue(from) = queue;
        self.put(key, bytes, to);
    }

    fn put(&mut self, key: u32, bytes: u64, to: u8) {
        self.nodes[key].queue = to;
        let mut queue = std::mem::replace(self.queue(to), Queue::new());
        queue.push(&mut self.nodes, key, bytes);
        *self.queue(to) = queue;
    }

    fn hit(&mut self, key: u32) {
        match self.nodes[key].queue {
            WINDOW => self.shift(key, WINDOW),
            _ if self.climber.is_none() => self.shift(key, PROBATION),
            _ => {
                self.shift(key, PROTECTED);
                let most = (self.cap as f64 - self.window_cap) * PROTECTED_SHARE;
                while self.protected.bytes as f64 > most
                    && self.protected.items > 1
                    && let Some(oldest) = self.protected.back()
                {
                    self.shift(oldest, PROBATION);
                }
            }
        }
    }

    /// What leaves the window is weighed against those that it would push out.
    fn settle(&mut self) {
        while self.window.bytes as f64 > self.window_cap
            && let Some(candidate) = self.window.back()
        {
            let bytes = self.nodes[candidate].bytes;
            if self.admits(candidate, bytes) {
                self.shift(candidate, PROBATION);
            } else {
                self.window.take(&mut self.nodes, candidate);
            }
        }
    }

    /// Whether the candidate may enter the main part; if so its victims have left.
    fn admits(&mut self, candidate: u32, bytes: u64) -> bool {
        // The window's own room is not the main part's, except where the window is not full.
        let main = self.cap.saturating_sub((self.window_cap as u64).max(self.window.bytes - bytes));
        if bytes > main {
            return false;
        }
        let wanted = self.sketch.of(candidate);
        let (mut victims, mut weight, mut freed) = (vec![], 0, 0);
        let queues = [&self.probation, &self.protected];
        let mut walk = queues
            .into_iter()
            .flat_map(|queue| std::iter::successors(queue.back(), |key| queue.newer(&self.nodes, *key)));
        while self.probation.bytes + self.protected.bytes + bytes > main + freed {
            let Some(victim) = walk.next() else { return false };
            weight += self.sketch.of(victim);
            if weight >= wanted {
                return false;
            }
            freed += self.nodes[victim].bytes;
            victims.push(victim);
        }
        drop(walk);
        victims.into_iter().for_each(|victim| self.remove(victim));
        true
    }

    fn climb(&mut self, hit: bool) {
        let items = self.items();
        let Some(climber) = &mut self.climber else { return };
        climber.requests += 1;
        climber.hits += u64::from(hit);
        if climber.requests < 10 * items.max(100) {
            return;
        }
        let ratio = climber.hits as f64 / climber.requests as f64;
        let change = ratio - climber.ratio;
        if change < 0.0 {
            climber.step = -climber.step;
        }
        let next = if change.abs() >= 0.05 { 0.0625 * climber.step.signum() } else { climber.step * 0.98 };
        let window = (self.window_cap + self.cap as f64 * climber.step).clamp(0.0, self.cap as f64 * 0.8);
        *climber = Climber { requests: 0, hits: 0, ratio, step: next };
        self.window_cap = window;
    }
}

impl Policy for TinyLfu {
    fn read(&mut self, key: u32, bytes: u64) -> bool {
        self.sketch.count(key);
        let hit = self.nodes.holds(key);
        self.climb(hit);
        if hit {
            self.hit(key);
        } else if bytes <= self.cap {
            self.put(key, bytes, WINDOW);
            self.settle();
        }
        hit
    }

    fn remove(&mut self, key: u32) {
        if self.nodes.holds(key) {
            let number = self.nodes[key].queue;
            let mut queue = std::mem::replace(self.queue(number), Queue::new());
            queue.take(&mut self.nodes, key);
            *self.queue(number) = queue;
        }
    }

    fn items(&self) -> u64 {
        self.window.items + self.probation.items + self.protected.items
    }
}
