//! Searches for the highest rate at which p99 stays under a bound: an open loop at one rate after the other, halving
//! the gap between the highest rate that held and the lowest that did not. Knows nothing of options and sockets.

use crate::{
    engine::{self, Outcome, Session},
    options::Search,
    plan::Pace,
    progress::Progress,
    report, units,
};
use std::time::Duration;

/// All steps of a search, in the order in which they were tried.
pub struct Ascent {
    pub bound: Duration,
    pub steps: Vec<Step>,
}

/// What one rate showed.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Step {
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

/// The search ends when the gap is this share of the rate.
const PRECISION: f64 = 0.02;
/// A server that cannot hold this share of the ceiling has no rate worth a name.
const LOWEST_SHARE: f64 = 1.0 / 64.0;

/// Searches and reports; whether any rate held.
pub fn saturate(search: &Search) -> Result<bool, String> {
    report::check_writable(&[&search.outputs.json, &search.outputs.html])?;
    let mut progress = Progress::new(search.outputs.quiet);
    let plan = &search.plan;
    engine::probe(&plan.target, plan.timeout)?;
    let session = Session::new(plan);
    if plan.fill {
        session.fill(&mut progress.phase("filling", None))?;
    }
    let ceiling = match search.ceiling {
        Some(ceiling) => ceiling,
        None => {
            let outcome = session.load(&mut progress.phase("closed loop", plan.length()))?;
            outcome.requests_per_second()
        }
    };
    let steps = bisect(ceiling, |rate| {
        let pace = Pace::Open { rate, arrivals: search.arrivals };
        let name = format!("{}/s", units::grouped(rate as u64));
        let outcome = session.load_at(pace, &mut progress.phase(&name, plan.length()))?;
        Ok(Step::new(rate, search.bound, &outcome))
    })?;
    progress.finish();
    let ascent = Ascent { bound: search.bound, steps };
    report::ascent(plan, &ascent, &search.outputs)?;
    Ok(ascent.highest().is_some())
}

impl Step {
    fn new(rate: f64, bound: Duration, outcome: &Outcome) -> Step {
        let all = outcome.tally.all();
        let p99 = all.value_at_quantile(0.99);
        Step {
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

impl Ascent {
    /// The highest rate that held, in requests per second.
    pub fn highest(&self) -> Option<f64> {
        self.steps.iter().filter(|step| step.held).map(|step| step.rate).max_by(f64::total_cmp)
    }
}

/// Tries rates between 0 and `ceiling`, first of all the ceiling itself.
fn bisect(ceiling: f64, mut attempt: impl FnMut(f64) -> Result<Step, String>) -> Result<Vec<Step>, String> {
    let (mut held, mut failed, mut rate) = (0.0, ceiling * (1.0 + PRECISION), ceiling);
    let mut steps = vec![];
    while rate >= ceiling * LOWEST_SHARE && failed - held > PRECISION * failed {
        let step = attempt(rate)?;
        match step.held {
            true => held = rate,
            false => failed = rate,
        }
        steps.push(step);
        rate = (held + failed) / 2.0;
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(ceiling: f64, limit: f64) -> Ascent {
        let attempt = |rate: f64| Ok(Step { rate, held: rate <= limit, ..Step::default() });
        Ascent { bound: Duration::from_millis(1), steps: bisect(ceiling, attempt).unwrap() }
    }

    #[test]
    fn the_search_ends_close_below_the_limit() {
        for limit in [2000.0, 12_345.0, 99_000.0] {
            let ascent = search(100_000.0, limit);
            let highest = ascent.highest().unwrap();
            assert!(highest <= limit && highest > limit * 0.97, "{highest} for {limit}");
            assert!(ascent.steps.len() <= 14, "{}", ascent.steps.len());
        }
    }

    #[test]
    fn a_ceiling_that_holds_is_the_answer_and_a_server_that_never_holds_has_none() {
        assert_eq!(search(1000.0, 5000.0).highest(), Some(1000.0));
        assert_eq!(search(1000.0, 0.0).highest(), None);
    }
}
