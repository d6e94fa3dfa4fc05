//! Measures servers side by side. Absolute figures drift from minute to minute on a shared machine; what holds is a
//! ratio of figures taken right after each other. So the rounds alternate, A B C A B C, and each ratio is the median of
//! the rounds' ratios.

use crate::{
    engine::{
        self, Outcome, Session,
        tally::{Counts, histogram},
    },
    options::Comparison,
    plan::Plan,
    progress::Progress,
    report,
};
use hdrhistogram::Histogram;

/// One workload over all servers.
pub struct Contest {
    pub plan: Plan,
    pub standings: Vec<Standing>,
}

/// What one server showed in all rounds of a workload.
pub struct Standing {
    pub name: String,
    pub rounds: Vec<Round>,
    /// Of all rounds together, in nanoseconds.
    pub latencies: Histogram<u64>,
    pub counts: Counts,
    /// Generator trouble and the first words of server trouble.
    trouble: Vec<String>,
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

/// Carries out the whole comparison and reports each workload as soon as it is measured; whether all of it went well.
pub fn compare(comparison: &Comparison) -> Result<bool, String> {
    report::check_writable(&[&comparison.outputs.json, &comparison.outputs.html])?;
    let mut progress = Progress::new(comparison.outputs.quiet);
    for server in &comparison.servers {
        let timeout = comparison.workloads[0].timeout;
        engine::probe(server, timeout).map_err(|why| format!("{}: {why}", server.name))?;
    }
    let mut contests = Vec::new();
    for plan in &comparison.workloads {
        let contest = contest(comparison, plan, &mut progress)?;
        progress.finish();
        report::print_unless_json(&comparison.outputs, || report::table::contest(&contest));
        contests.push(contest);
    }
    report::comparison(&contests, &comparison.outputs)?;
    Ok(contests.iter().flat_map(|contest| &contest.standings).all(|standing| standing.counts.clean()))
}

fn contest(comparison: &Comparison, plan: &Plan, progress: &mut Progress) -> Result<Contest, String> {
    let plans: Vec<Plan> =
        comparison.servers.iter().map(|server| Plan { target: server.clone(), ..plan.clone() }).collect();
    let sessions: Vec<Session> = plans.iter().map(Session::new).collect();
    let mut standings: Vec<Standing> = comparison.servers.iter().map(|server| Standing::new(&server.name)).collect();
    for (session, standing) in sessions.iter().zip(&standings).filter(|_| plan.fill) {
        let name = format!("{}: filling {}", plan.label, standing.name);
        session.fill(&mut progress.phase(&name, None)).map_err(|why| format!("{}: {why}", standing.name))?;
    }
    for round in 1..=comparison.rounds {
        for (session, standing) in sessions.iter().zip(&mut standings) {
            let name = format!("{} {round}/{}: {}", plan.label, comparison.rounds, standing.name);
            let outcome = session.load(&mut progress.phase(&name, plan.length()));
            standing.add(plan, outcome.map_err(|why| format!("{}: {why}", standing.name))?);
        }
    }
    Ok(Contest { plan: plan.clone(), standings })
}

impl Contest {
    /// The workload in the words of the option that asked for it.
    pub fn label(&self) -> String {
        format!("{}:p{}:c{}", self.plan.label, self.plan.pipeline, self.plan.connections)
    }
}

impl Standing {
    fn new(name: &str) -> Standing {
        Standing {
            name: name.into(),
            rounds: vec![],
            latencies: histogram(),
            counts: Counts::default(),
            trouble: vec![],
        }
    }

    fn add(&mut self, plan: &Plan, outcome: Outcome) {
        self.rounds.push(Round {
            requests_per_second: outcome.requests_per_second(),
            cpu_nanoseconds_per_request: outcome.cpu_per_request(),
        });
        self.latencies.add(outcome.tally.all()).expect("all histograms have the same bounds");
        self.counts.add(&outcome.tally.counts);
        let check = Some(outcome.self_check(plan.pace)).filter(|words| words.starts_with("CAUTION"));
        let words = [check, outcome.failure, outcome.tally.first_error, outcome.tally.first_wrong];
        self.trouble.extend(words.into_iter().flatten());
    }

    /// Requests per second: the median of the rounds.
    pub fn throughput(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.requests_per_second).collect()).unwrap_or(0.0)
    }

    /// CPU time of the server per request, in nanoseconds: the median of the rounds.
    pub fn cpu_per_request(&self) -> Option<f64> {
        median(self.rounds.iter().filter_map(|round| round.cpu_nanoseconds_per_request).collect())
    }

    pub fn throughput_ratio(&self, first: &Standing) -> Option<Ratio> {
        Ratio::of(self, first, |round| Some(round.requests_per_second))
    }

    pub fn cpu_ratio(&self, first: &Standing) -> Option<Ratio> {
        Ratio::of(self, first, |round| round.cpu_nanoseconds_per_request)
    }

    /// What went wrong, or makes the figures doubtful; the last of it.
    pub fn trouble(&self) -> Option<&String> {
        self.trouble.last()
    }
}

impl Ratio {
    fn of(one: &Standing, other: &Standing, figure: impl Fn(&Round) -> Option<f64>) -> Option<Ratio> {
        let pairs = one.rounds.iter().zip(&other.rounds);
        let mut ratios: Vec<f64> = pairs.filter_map(|(one, other)| Some(figure(one)? / figure(other)?)).collect();
        ratios.sort_by(f64::total_cmp);
        Some(Ratio { min: *ratios.first()?, max: *ratios.last()?, median: median(ratios)? })
    }

    /// The median and the spread, as a table shows them.
    pub fn cells(&self) -> [String; 2] {
        [format!("{:.2}", self.median), format!("{:.2}..{:.2}", self.min, self.max)]
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

    fn standing(rounds: &[(f64, Option<f64>)]) -> Standing {
        let round = |(requests_per_second, cpu_nanoseconds_per_request): &(f64, Option<f64>)| Round {
            requests_per_second: *requests_per_second,
            cpu_nanoseconds_per_request: *cpu_nanoseconds_per_request,
        };
        Standing { rounds: rounds.iter().map(round).collect(), ..Standing::new("x") }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let first = standing(&[(100.0, Some(10.0)), (200.0, Some(20.0)), (100.0, None)]);
        let second = standing(&[(150.0, Some(5.0)), (220.0, Some(8.0)), (200.0, Some(1.0))]);
        let ratio = second.throughput_ratio(&first).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (1.5, 1.1, 2.0));
        assert_eq!(second.cpu_ratio(&first).unwrap().median, 0.45);
        assert_eq!(standing(&[(1.0, None)]).cpu_ratio(&first), None);
    }

    #[test]
    fn medians_of_even_and_odd_numbers() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
