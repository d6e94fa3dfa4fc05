//! What a run has shown, and whether that can be trusted. Knows nothing of threads and reports.

use super::{Moment, tally::Tally};
use crate::{plan::Pace, units};
use std::time::Duration;

/// What a run has shown.
#[derive(Clone)]
pub struct Outcome {
    pub tally: Tally,
    /// From the end of the warm-up to the last reply.
    pub elapsed: Duration,
    pub timeline: Vec<Moment>,
    /// CPU time of the server's process meanwhile, in nanoseconds, if its pid was given.
    pub server_cpu: Option<u64>,
    pub generator: Generator,
    /// What the client beside the load did, if there was one: writes and reads of its large value, warm-up included.
    pub neighbour_requests: Option<u64>,
    /// Why the run ended before its time.
    pub failure: Option<String>,
}

impl Outcome {
    /// Whether every request was answered, and rightly.
    pub fn clean(&self) -> bool {
        self.failure.is_none() && self.tally.counts.clean()
    }

    pub fn requests(&self) -> u64 {
        self.tally.answered()
    }

    pub fn requests_per_second(&self) -> f64 {
        self.requests() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// CPU time of the server per request, in nanoseconds.
    pub fn cpu_per_request(&self) -> Option<f64> {
        self.server_cpu.map(|nanoseconds| nanoseconds as f64 / self.requests().max(1) as f64)
    }

    /// Why the figures are doubtful, in a sentence that begins with CAUTION and says what to do.
    pub fn caution(&self, pace: Pace) -> Option<String> {
        Some(self.self_check(pace)).filter(|words| words.starts_with("CAUTION"))
    }

    /// Whether the figures are the server's or the generator's own, in a sentence; one that begins with CAUTION says
    /// what to do.
    pub fn self_check(&self, pace: Pace) -> String {
        const MOST_WAITING: f64 = 0.05;
        const MOST_BUSY: f64 = 0.9;
        let percent = |share: f64| format!("{:.0}%", share * 100.0);
        let Generator { running, waiting } = self.generator;
        if waiting > MOST_WAITING {
            let share = percent(waiting);
            return format!(
                "CAUTION: other processes had the generator's core for {share} of the time; stop them or move them away"
            );
        }
        let late = self.tally.lag().map_or(0, |lag| lag.value_at_quantile(0.99));
        let late_words = units::latency(late);
        match pace {
            Pace::Closed if running > MOST_BUSY => {
                let share = percent(running);
                format!(
                    "CAUTION: the generator was busy for {share} of the time, the server may be faster; try more --threads"
                )
            }
            Pace::Closed => format!("the generator was busy for {} of the time: not the bottleneck", percent(running)),
            Pace::Open { .. } if late > self.tally.all().value_at_quantile(0.99) / 10 => {
                format!(
                    "CAUTION: the generator itself sent 1% of the requests more than {late_words} late; try more --threads"
                )
            }
            Pace::Open { .. } => format!("the generator sent 99% of the requests within {late_words} of their time"),
        }
    }
}

/// How busy the load threads were, as shares of the elapsed time (0 to 1); of the busiest one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generator {
    pub running: f64,
    /// Ready to run while another process had the core.
    pub waiting: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::Arrivals, protocol::Kind};

    fn outcome(running: f64, waiting: f64) -> Outcome {
        Outcome {
            tally: Tally::default(),
            elapsed: Duration::from_secs(1),
            timeline: vec![],
            server_cpu: None,
            generator: Generator { running, waiting },
            neighbour_requests: None,
            failure: None,
        }
    }

    #[test]
    fn a_busy_or_displaced_generator_is_no_measure_of_a_server() {
        assert!(outcome(0.5, 0.0).self_check(Pace::Closed).contains("not the bottleneck"));
        assert!(outcome(0.95, 0.0).self_check(Pace::Closed).starts_with("CAUTION: the generator was busy for 95%"));
        assert!(outcome(0.5, 0.3).self_check(Pace::Closed).starts_with("CAUTION: other processes"));
    }

    #[test]
    fn an_open_loop_is_judged_by_its_lateness() {
        let pace = Pace::Open { rate: 1000.0, arrivals: Arrivals::Fixed };
        let mut outcome = outcome(1.0, 0.0);
        outcome.tally.record(Kind::Get, 1_000_000);
        outcome.tally.record_lag(10_000);
        assert!(outcome.self_check(pace).contains("within 10.0 µs of their time"), "{}", outcome.self_check(pace));
        outcome.tally.record_lag(500_000);
        assert!(outcome.self_check(pace).starts_with("CAUTION"), "{}", outcome.self_check(pace));
    }
}
