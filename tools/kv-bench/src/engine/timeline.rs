//! Throughput and latency over time, moment by moment. Knows nothing of threads and reports.

use super::tally::{Tally, histogram};
use hdrhistogram::Histogram;
use std::{collections::BTreeMap, time::Duration};

/// One slice of the run, over all load threads.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Moment {
    /// The end of the slice, in seconds since the warm-up ended.
    pub at_seconds: f64,
    pub requests: u64,
    pub requests_per_second: f64,
    pub p50_nanoseconds: u64,
    pub p99_nanoseconds: u64,
    pub max_nanoseconds: u64,
    pub errors: u64,
}

/// Puts the threads' slices together; a moment is closed when all threads have told theirs.
pub struct Timeline {
    parts: usize,
    slice: Duration,
    open: BTreeMap<usize, Open>,
    closed: Vec<Moment>,
}

struct Open {
    parts: usize,
    requests: u64,
    errors: u64,
    latencies: Histogram<u64>,
}

impl Timeline {
    pub fn new(parts: usize, slice: Duration) -> Timeline {
        Timeline { parts, slice, open: BTreeMap::new(), closed: vec![] }
    }

    /// Takes one thread's slice; returns the moments that are complete with it.
    pub fn add(&mut self, index: usize, tally: &Tally) -> Vec<Moment> {
        self.collect(index, tally);
        let mut complete = vec![];
        while let Some(first) = self.open.first_entry().filter(|first| first.get().parts == self.parts) {
            let (index, open) = first.remove_entry();
            complete.push(moment(&open, index as f64 * self.slice.as_secs_f64(), self.slice));
        }
        self.closed.extend_from_slice(&complete);
        complete
    }

    /// Takes a part of a slice: what a thread saw after its last whole one.
    pub fn collect(&mut self, index: usize, tally: &Tally) {
        let open =
            self.open.entry(index).or_insert_with(|| Open { parts: 0, requests: 0, errors: 0, latencies: histogram() });
        open.parts += 1;
        open.errors += trouble(tally);
        open.requests += tally.answered();
        for (_, _, latencies) in tally.kinds() {
            open.latencies.add(latencies).expect("all histograms have the same bounds");
        }
    }

    /// The whole line, as far as requests were sent (`until`, from the start): what comes then is the last replies alone,
    /// and would look like a drop. A last slice that is too short to say anything is left out.
    pub fn finish(mut self, until: Duration) -> Vec<Moment> {
        let start = |index: usize| self.slice * index as u32;
        self.closed.truncate(until.div_duration_f64(self.slice) as usize);
        for (index, open) in &self.open {
            let length = until.saturating_sub(start(*index)).min(self.slice);
            if length > self.slice / 2 {
                self.closed.push(moment(open, start(*index).as_secs_f64(), length));
            }
        }
        self.closed
    }
}

fn trouble(tally: &Tally) -> u64 {
    let counts = &tally.counts;
    counts.errors + counts.wrong + counts.disconnects + counts.unanswered
}

fn moment(open: &Open, start_seconds: f64, length: Duration) -> Moment {
    let latencies = &open.latencies;
    Moment {
        at_seconds: start_seconds + length.as_secs_f64(),
        requests: open.requests,
        requests_per_second: open.requests as f64 / length.as_secs_f64(),
        p50_nanoseconds: latencies.value_at_quantile(0.5),
        p99_nanoseconds: latencies.value_at_quantile(0.99),
        max_nanoseconds: latencies.max(),
        errors: open.errors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Kind;

    fn tally(requests: u64) -> Tally {
        let mut tally = Tally::default();
        (0..requests).for_each(|_| tally.record(Kind::Get, 1000));
        tally
    }

    #[test]
    fn a_moment_is_complete_when_all_threads_have_told_theirs() {
        let mut timeline = Timeline::new(2, Duration::from_secs(1));
        assert_eq!(timeline.add(0, &tally(10)), []);
        assert_eq!(timeline.add(1, &tally(1)), []);
        let complete = timeline.add(0, &tally(20));
        assert_eq!(complete.len(), 1);
        assert_eq!((complete[0].requests, complete[0].requests_per_second, complete[0].at_seconds), (30, 30.0, 1.0));
    }

    #[test]
    fn the_end_counts_when_it_is_long_enough() {
        let mut timeline = Timeline::new(1, Duration::from_secs(1));
        timeline.add(0, &tally(10));
        timeline.collect(1, &tally(8));
        let line = timeline.finish(Duration::from_millis(1800));
        assert_eq!(line.len(), 2);
        assert_eq!(line[1].requests_per_second, 10.0);
    }

    #[test]
    fn the_last_replies_are_no_drop() {
        let mut timeline = Timeline::new(1, Duration::from_secs(1));
        timeline.add(0, &tally(10));
        timeline.add(1, &tally(1));
        timeline.collect(2, &tally(1));
        assert_eq!(timeline.finish(Duration::from_millis(1000)).len(), 1);
        let mut timeline = Timeline::new(2, Duration::from_secs(1));
        timeline.add(0, &tally(10));
        timeline.add(0, &tally(10));
        timeline.add(1, &tally(10));
        timeline.collect(1, &tally(1));
        timeline.collect(2, &tally(9));
        assert_eq!(timeline.finish(Duration::from_millis(1100)).len(), 1, "one thread was done long before the other");
    }
}
