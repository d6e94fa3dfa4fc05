//! What a search for the highest rate showed, step by step.

use crate::engine::Outcome;
use std::time::Duration;

/// All steps of a search, in the order in which they were tried.
pub struct RateSearch {
    pub bound: Duration,
    pub steps: Vec<RateStep>,
}

/// What one rate showed.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct RateStep {
    /// Requests per second that were due, and that were answered.
    pub rate: f64,
    pub reached: f64,
    pub p50_nanoseconds: u64,
    pub p99_nanoseconds: u64,
    pub max_nanoseconds: u64,
    /// 99% of the requests were sent at most so late by the generator itself.
    pub late_nanoseconds: u64,
    pub cpu_nanoseconds_per_request: Option<f64>,
    /// Whether p99 stayed under the bound and nothing went wrong.
    pub held: bool,
}

impl RateStep {
    pub fn new(rate: f64, bound: Duration, outcome: &Outcome) -> RateStep {
        let all = outcome.tally.all();
        let p99 = all.value_at_quantile(0.99);
        RateStep {
            rate,
            reached: outcome.requests_per_second(),
            p50_nanoseconds: all.value_at_quantile(0.5),
            p99_nanoseconds: p99,
            max_nanoseconds: all.max(),
            late_nanoseconds: outcome.tally.lag().map_or(0, |lag| lag.value_at_quantile(0.99)),
            cpu_nanoseconds_per_request: outcome.cpu_per_request(),
            held: outcome.clean() && outcome.tally.counts.unsent == 0 && u128::from(p99) <= bound.as_nanos(),
        }
    }
}

impl RateSearch {
    /// The highest rate that held, in requests per second.
    pub fn highest(&self) -> Option<f64> {
        self.steps.iter().filter(|step| step.held).map(|step| step.rate).max_by(f64::total_cmp)
    }
}
