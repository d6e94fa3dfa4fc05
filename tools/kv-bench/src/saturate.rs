//! Searches for the highest rate at which p99 stays under a bound: an open loop at one rate after the other, halving
//! the gap between the highest rate that held and the lowest that did not.

use crate::{
    engine::{self, Session},
    evidence::Evidence,
    options::Search,
    plan::Pace,
    progress::Progress,
    report,
    results::search::{RateSearch, RateStep},
    units,
};

/// The search ends when the gap is this share of the rate.
const PRECISION: f64 = 0.02;
/// A server that cannot hold this share of the ceiling has no rate worth a name.
const LOWEST_SHARE: f64 = 1.0 / 64.0;

/// Searches and reports; whether any rate held.
pub fn saturate(search: &Search) -> Result<bool, String> {
    report::check_writable(&[&search.outputs.json, &search.outputs.html])?;
    let mut progress = Progress::new(search.outputs.quiet);
    let plan = &search.plan;
    let mut evidence = Evidence::collect();
    evidence.add(&plan.target.name, engine::probe(&plan.target, plan.timeout)?);
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
        Ok(RateStep::new(rate, search.bound, &outcome))
    })?;
    progress.finish();
    let found = RateSearch { bound: search.bound, steps };
    report::search(plan, &found, &evidence, &search.outputs)?;
    Ok(found.highest().is_some())
}

/// Tries rates between 0 and `ceiling`, first of all the ceiling itself.
fn bisect(ceiling: f64, mut attempt: impl FnMut(f64) -> Result<RateStep, String>) -> Result<Vec<RateStep>, String> {
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
    use std::time::Duration;

    fn search(ceiling: f64, limit: f64) -> RateSearch {
        let attempt = |rate: f64| Ok(RateStep { rate, held: rate <= limit, ..RateStep::default() });
        RateSearch { bound: Duration::from_millis(1), steps: bisect(ceiling, attempt).unwrap() }
    }

    #[test]
    fn the_search_ends_close_below_the_limit() {
        for limit in [2000.0, 12_345.0, 99_000.0] {
            let search = search(100_000.0, limit);
            let highest = search.highest().unwrap();
            assert!(highest <= limit && highest > limit * 0.97, "{highest} for {limit}");
            assert!(search.steps.len() <= 14, "{}", search.steps.len());
        }
    }

    #[test]
    fn a_ceiling_that_holds_is_the_answer_and_a_server_that_never_holds_has_none() {
        assert_eq!(search(1000.0, 5000.0).highest(), Some(1000.0));
        assert_eq!(search(1000.0, 0.0).highest(), None);
    }
}
