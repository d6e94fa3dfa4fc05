//! The latency monitor: for each kind of event, the worst of each second in which one took longer than a threshold. It
//! must not know what an event is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};

use crate::config::limits;

#[derive(Debug)]
pub struct Latency {
    /// In milliseconds; 0 notes nothing.
    threshold: AtomicU64,
    /// The times of each command's calls are spread over a histogram.
    tracking: AtomicBool,
    /// Of the histograms, what INFO shows.
    percentiles: Mutex<Vec<f64>>,
    events: Mutex<BTreeMap<&'static str, Event>>,
}

#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Unix seconds and the worst of that second in milliseconds, the oldest first.
    pub samples: VecDeque<(u64, u64)>,
    /// In milliseconds, since the event was last reset.
    pub worst: u64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            threshold: AtomicU64::new(0),
            tracking: AtomicBool::new(true),
            percentiles: Mutex::new(vec![50.0, 99.0, 99.9]),
            events: Mutex::default(),
        }
    }
}

impl Latency {
    pub fn threshold_millis(&self) -> u64 {
        self.threshold.load(Relaxed)
    }

    pub fn set_threshold(&self, millis: u64) {
        self.threshold.store(millis, Relaxed);
    }

    /// From here on an event is noted.
    pub fn threshold_nanos(&self) -> u64 {
        match self.threshold_millis() {
            0 => u64::MAX,
            millis => millis.saturating_mul(1_000_000),
        }
    }

    pub fn is_tracking(&self) -> bool {
        self.tracking.load(Relaxed)
    }

    pub fn set_tracking(&self, on: bool) {
        self.tracking.store(on, Relaxed);
    }

    pub fn percentiles(&self) -> Vec<f64> {
        self.percentiles.lock().clone()
    }

    pub fn set_percentiles(&self, percentiles: Vec<f64>) {
        *self.percentiles.lock() = percentiles;
    }

    pub fn note(&self, name: &'static str, unix_seconds: u64, millis: u64) {
        let mut events = self.lock();
        let event = events.entry(name).or_default();
        event.worst = event.worst.max(millis);
        match event.samples.back_mut() {
            Some((second, worst)) if *second == unix_seconds => *worst = millis.max(*worst),
            _ => event.samples.push_back((unix_seconds, millis)),
        }
        if event.samples.len() > limits::LATENCY_HISTORY_MAX {
            event.samples.pop_front();
        }
    }

    pub fn events(&self) -> BTreeMap<&'static str, Event> {
        self.lock().clone()
    }

    /// Forgets an event, or all; how many there were.
    pub fn reset(&self, name: Option<&[u8]>) -> usize {
        let mut events = self.lock();
        let before = events.len();
        events.retain(|known, _| name.is_some_and(|name| !name.eq_ignore_ascii_case(known.as_bytes())));
        before - events.len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Event>> {
        self.events.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_each_second_is_kept_and_the_history_is_bounded() {
        let latency = Latency::default();
        for (second, millis) in [(1, 5), (1, 9), (1, 3), (2, 4)] {
            latency.note("command", second, millis);
        }
        let events = latency.events();
        assert_eq!(events["command"].samples, [(1, 9), (2, 4)]);
        assert_eq!(events["command"].worst, 9);
        (3..1000).for_each(|second| latency.note("fast-command", second, 1));
        assert_eq!(latency.events()["fast-command"].samples.len(), limits::LATENCY_HISTORY_MAX);
        assert_eq!(latency.reset(Some(b"nothing")), 0);
        assert_eq!(latency.reset(Some(b"COMMAND")), 1);
        assert_eq!(latency.reset(None), 1);
    }
}
