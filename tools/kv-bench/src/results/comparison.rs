//! What servers showed side by side: each round's figures, and the ratios between servers within a round.
//!
//! Absolute figures drift from minute to minute on a shared machine; what holds is a ratio of figures taken right after
//! each other. So each ratio is the median of the rounds' ratios.

use crate::{
    engine::{
        Outcome,
        tally::{Counts, histogram},
    },
    plan::Plan,
};
use hdrhistogram::Histogram;

/// One workload over all servers.
pub struct WorkloadResult {
    pub plan: Plan,
    pub servers: Vec<ServerResult>,
}

/// What one server showed in all rounds of a workload.
pub struct ServerResult {
    pub name: String,
    pub rounds: Vec<Round>,
    /// Of all rounds together, in nanoseconds.
    pub latencies: Histogram<u64>,
    pub counts: Counts,
    /// The last thing that makes the figures doubtful.
    pub caution: Option<String>,
    /// The first words of what went wrong.
    pub first_fault: Option<String>,
    /// Whether a round ended before its time.
    ended_early: bool,
}

/// One server's figures in one round.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Round {
    pub requests_per_second: f64,
    pub cpu_nanoseconds_per_request: Option<f64>,
}

/// The median of the rounds' ratios, and the extremes.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ratio {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl ServerResult {
    pub fn new(name: &str) -> ServerResult {
        ServerResult {
            name: name.into(),
            rounds: vec![],
            latencies: histogram(),
            counts: Counts::default(),
            caution: None,
            first_fault: None,
            ended_early: false,
        }
    }

    /// Adds a round.
    pub fn add(&mut self, plan: &Plan, outcome: Outcome) {
        self.rounds.push(Round {
            requests_per_second: outcome.requests_per_second(),
            cpu_nanoseconds_per_request: outcome.cpu_per_request(),
        });
        self.latencies.add(outcome.tally.all()).expect("all histograms have the same bounds");
        self.counts.add(&outcome.tally.counts);
        self.caution = outcome.caution(plan.pace).or(self.caution.take());
        self.ended_early |= outcome.failure.is_some();
        let words = [outcome.failure, outcome.tally.first_error, outcome.tally.first_wrong];
        self.first_fault = self.first_fault.take().or(words.into_iter().flatten().next());
    }

    /// Requests per second: the median of the first server's rounds, and for the others that times their ratio, so that
    /// figures and ratios say the same.
    pub fn throughput(&self, first: &ServerResult) -> f64 {
        let median = median(first.rounds.iter().map(|round| round.requests_per_second).collect()).unwrap_or(0.0);
        self.throughput_ratio(first).map_or(0.0, |ratio| ratio.median * median)
    }

    /// CPU time of the server per request, in nanoseconds; as with the throughput, if the first server's is known.
    pub fn cpu_per_request(&self, first: &ServerResult) -> Option<f64> {
        let own = |server: &ServerResult| {
            median(server.rounds.iter().filter_map(|round| round.cpu_nanoseconds_per_request).collect())
        };
        match (self.cpu_ratio(first), own(first)) {
            (Some(ratio), Some(median)) => Some(ratio.median * median),
            _ => own(self),
        }
    }

    pub fn throughput_ratio(&self, first: &ServerResult) -> Option<Ratio> {
        Ratio::of(self, first, |round| Some(round.requests_per_second))
    }

    pub fn cpu_ratio(&self, first: &ServerResult) -> Option<Ratio> {
        Ratio::of(self, first, |round| round.cpu_nanoseconds_per_request)
    }

    /// Why this is no clean result, in words with the counts; `None` if every request was answered rightly.
    pub fn fault(&self) -> Option<String> {
        if self.counts.clean() && !self.ended_early {
            return None;
        }
        let first = self.first_fault.as_ref().map_or(String::new(), |words| format!(" ({words})"));
        Some(format!("{}{first}", self.counts.trouble()))
    }

    /// What is to be said of this server beside its figures, a sentence each.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.fault().into_iter().chain(self.caution.clone()).map(|words| format!("{}: {words}", self.name))
    }
}

impl Ratio {
    fn of(one: &ServerResult, other: &ServerResult, figure: impl Fn(&Round) -> Option<f64>) -> Option<Ratio> {
        let pairs = one.rounds.iter().zip(&other.rounds);
        let mut ratios: Vec<f64> = pairs.filter_map(|(one, other)| Some(figure(one)? / figure(other)?)).collect();
        ratios.sort_by(f64::total_cmp);
        Some(Ratio { min: *ratios.first()?, max: *ratios.last()?, median: median(ratios)? })
    }

    /// The median and the spread, as a table shows them.
    pub fn cells(&self) -> [String; 2] {
        [format!("×{:.2}", self.median), format!("{:.2}–{:.2}", self.min, self.max)]
    }
}

/// The middle one, or the mean of the middle two.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = figures[(figures.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(rounds: &[(f64, Option<f64>)]) -> ServerResult {
        let round = |(requests_per_second, cpu_nanoseconds_per_request): &(f64, Option<f64>)| Round {
            requests_per_second: *requests_per_second,
            cpu_nanoseconds_per_request: *cpu_nanoseconds_per_request,
        };
        ServerResult { rounds: rounds.iter().map(round).collect(), ..ServerResult::new("x") }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let first = server(&[(100.0, Some(10.0)), (200.0, Some(20.0)), (100.0, None)]);
        let second = server(&[(150.0, Some(5.0)), (220.0, Some(8.0)), (200.0, Some(1.0))]);
        let ratio = second.throughput_ratio(&first).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (1.5, 1.1, 2.0));
        assert_eq!(second.cpu_ratio(&first).unwrap().median, 0.45);
        assert_eq!(server(&[(1.0, None)]).cpu_ratio(&first), None);
        assert_eq!(ratio.cells(), ["×1.50", "1.10–2.00"]);
    }

    /// The medians alone would say that the second is slower, the ratios that it is faster.
    #[test]
    fn figures_never_contradict_their_ratios() {
        let first = server(&[(100.0, Some(10.0)), (210.0, Some(10.0)), (300.0, Some(30.0))]);
        let second = server(&[(110.0, None), (231.0, None), (200.0, None)]);
        assert_eq!((first.throughput(&first), second.throughput(&first).round()), (210.0, 231.0));
        assert_eq!((first.cpu_per_request(&first), second.cpu_per_request(&first)), (Some(10.0), None));
        assert_eq!(first.cpu_per_request(&second), Some(10.0), "its own, where the first one's is not known");
    }

    #[test]
    fn medians_of_even_and_odd_numbers() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
