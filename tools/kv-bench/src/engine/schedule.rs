//! Open loop: when each request is due, whatever became of the ones before it. Knows nothing of sockets.
//!
//! Latency is counted from the moment a request was due, not from when it could be sent. A server that stalls for a
//! second therefore shows a second for the first request that waited, and less for each one after it, where a generator
//! that waits along would show one slow request ("coordinated omission": Gil Tene, "How NOT to Measure Latency", 2013).

use crate::plan::Arrivals;
use rand::{SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, Exp1};

/// The due times of one load thread, in nanoseconds of the run's clock.
pub struct Schedule {
    next: f64,
    gap: f64,
    arrivals: Arrivals,
    random: SmallRng,
}

impl Schedule {
    /// `rate` requests per second over all `parts`; the parts of a fixed schedule interleave evenly.
    pub fn new(start: u64, rate: f64, arrivals: Arrivals, seed: u64, part: usize, parts: usize) -> Schedule {
        let gap = 1e9 * parts as f64 / rate;
        let next = start as f64 + gap * part as f64 / parts as f64;
        Schedule { next, gap, arrivals, random: SmallRng::seed_from_u64(!seed ^ part as u64) }
    }

    /// When the next request is due.
    pub fn due(&self) -> u64 {
        self.next as u64
    }

    /// The next request is taken care of.
    pub fn advance(&mut self) {
        self.next += match self.arrivals {
            Arrivals::Fixed => self.gap,
            Arrivals::Poisson => {
                let gaps: f64 = Exp1.sample(&mut self.random);
                self.gap * gaps
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;

    #[test]
    fn both_arrivals_keep_the_rate() {
        for arrivals in [Arrivals::Fixed, Arrivals::Poisson] {
            let mut schedule = Schedule::new(0, 10_000.0, arrivals, 1, 0, 1);
            let mut count = 0;
            while schedule.due() < 10_000_000_000 {
                schedule.advance();
                count += 1;
            }
            assert!((99_000..=101_000).contains(&count), "{arrivals:?}: {count}");
        }
    }

    #[test]
    fn the_parts_of_a_fixed_schedule_interleave() {
        let due = |part| Schedule::new(100, 1000.0, Arrivals::Fixed, 1, part, 4).due();
        assert_eq!([due(0), due(1), due(2), due(3)], [100, 1_000_100, 2_000_100, 3_000_100]);
    }

    /// A stall seen through due times is what HdrHistogram's own correction makes of the one slow request that a
    /// waiting generator sees.
    #[test]
    fn due_times_correct_for_coordinated_omission() {
        const GAP: u64 = 1_000_000;
        const SERVICE: u64 = 100_000;
        const STALL: u64 = 50_000_000;
        let mut schedule = Schedule::new(0, 1e9 / GAP as f64, Arrivals::Fixed, 1, 0, 1);
        let mut seen = Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        let mut free_at = 0;
        for request in 0..1000 {
            let sent = free_at.max(schedule.due());
            free_at = sent + if request == 100 { STALL } else { SERVICE };
            seen.record(free_at - schedule.due()).unwrap();
            schedule.advance();
        }
        let mut corrected = Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        corrected.record_n(SERVICE, 949).unwrap();
        corrected.record_correct(STALL, GAP).unwrap();
        for quantile in [0.5, 0.9, 0.96, 0.99, 0.999, 1.0] {
            let (ours, theirs) = (seen.value_at_quantile(quantile), corrected.value_at_quantile(quantile));
            // While the queue drains, each request also waits for the service of those before it.
            assert!(ours.abs_diff(theirs) <= 6 * GAP, "{quantile}: {ours} for {theirs}");
        }
        assert_eq!(seen.max(), corrected.max());
    }
}
