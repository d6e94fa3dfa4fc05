//! What is sampled twice a second rather than counted: rates, and the peak of memory. It must not know what it samples.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::base::clock::UnixMillis;

/// Rates are means over so many periods.
const PERIODS: usize = 4;

/// Running counts at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub at: UnixMillis,
    pub commands: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
}

#[derive(Debug, Default)]
pub struct Rates {
    samples: Mutex<VecDeque<Sample>>,
    peak_bytes: AtomicU64,
}

impl Rates {
    pub fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock();
        samples.push_back(sample);
        if samples.len() > PERIODS + 1 {
            samples.pop_front();
        }
    }

    /// How much of something there has been of late, in a second.
    pub fn per_second(&self, count: impl Fn(&Sample) -> u64) -> f64 {
        let samples = self.samples.lock();
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return 0.0 };
        match last.at.saturating_sub(first.at) {
            0 => 0.0,
            // The counts may have been reset meanwhile.
            millis => count(last).saturating_sub(count(first)) as f64 * 1000.0 / millis as f64,
        }
    }

    /// Takes note of how much memory is used, and returns the most that ever was.
    pub fn peak(&self, used_bytes: u64) -> u64 {
        self.peak_bytes.fetch_max(used_bytes, Relaxed).max(used_bytes)
    }

    pub fn reset_peak(&self) {
        self.peak_bytes.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_means_over_the_last_periods() {
        let rates = Rates::default();
        let commands = |sample: &Sample| sample.commands;
        assert_eq!(rates.per_second(commands), 0.0);
        for n in 0..100 {
            rates.add(Sample { at: n * 500, commands: n * n, ..Sample::default() });
        }
        assert_eq!(rates.per_second(commands), (99.0 * 99.0 - 95.0 * 95.0) / 2.0);
        rates.add(Sample { at: 60_000, ..Sample::default() });
        assert_eq!(rates.per_second(commands), 0.0);
        assert_eq!(rates.peak(10), 10);
        assert_eq!(rates.peak(5), 10);
    }
}
