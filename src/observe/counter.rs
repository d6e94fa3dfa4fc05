//! A count with one writer, its core: no locked instruction. It must not know what is counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Readers on other cores see it a moment later.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only the owning core calls this: a plain load and store, no locked instruction.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The greatest of what it was raised to; true when this is a new one. Only the owning core calls it.
    #[inline]
    pub fn raise(&self, n: u64) -> bool {
        let is_new = n > self.0.load(Relaxed);
        if is_new {
            self.0.store(n, Relaxed);
        }
        is_new
    }

    /// Only the owning core calls it.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}
