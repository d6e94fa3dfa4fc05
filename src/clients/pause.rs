//! CLIENT PAUSE: until when which commands wait. It must not know who waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::base::clock::UnixMillis;

#[derive(Debug, Default)]
pub struct Pause {
    /// 0 when there is none.
    until: AtomicU64,
    /// Reads wait, too.
    all: AtomicBool,
}

/// What a pause holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    Writes,
    All,
}

impl Pause {
    /// Begins a pause. One that goes on never becomes shorter or milder by it.
    pub fn begin(&self, until: UnixMillis, paused: Paused, now: UnixMillis) {
        let before = self.at(now);
        self.all.store(paused == Paused::All || before == Some(Paused::All), Relaxed);
        let earlier = if before.is_some() { self.until.load(Relaxed) } else { 0 };
        self.until.store(until.max(earlier), Relaxed);
    }

    pub fn end(&self) {
        self.until.store(0, Relaxed);
    }

    /// Milliseconds that are left of it.
    pub fn left_ms(&self, now: UnixMillis) -> u64 {
        self.until.load(Relaxed).saturating_sub(now)
    }

    #[inline]
    pub fn at(&self, now: UnixMillis) -> Option<Paused> {
        if self.until.load(Relaxed) <= now {
            return None;
        }
        Some(if self.all.load(Relaxed) { Paused::All } else { Paused::Writes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_and_the_stricter_of_two_pauses_holds() {
        let pause = Pause::default();
        assert_eq!(pause.at(10), None);
        pause.begin(20, Paused::All, 10);
        pause.begin(15, Paused::Writes, 11);
        assert_eq!(pause.at(19), Some(Paused::All));
        assert_eq!(pause.at(20), None);
        pause.begin(30, Paused::Writes, 20);
        assert_eq!(pause.at(29), Some(Paused::Writes));
        pause.end();
        assert_eq!(pause.at(25), None);
    }
}
