//! What is counted while load runs: latencies by kind of request, and everything that went wrong. Knows nothing of
//! sockets.

use crate::protocol::Kind;
use hdrhistogram::Histogram;

/// The kinds of requests that are told apart, in the order of the reports.
pub const KINDS: [(Kind, &str); 5] = [
    (Kind::Get, "GET"),
    (Kind::MultiGet, "MGET"),
    (Kind::Set, "SET"),
    (Kind::Delete, "DEL"),
    (Kind::Increment, "INCR"),
];

/// An empty histogram for nanoseconds up to an hour, three digits exact.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are constants that hdrhistogram admits")
}

/// Events beside the latencies.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Keys found by reads.
    pub hits: u64,
    /// Keys not found; no error, caches evict.
    pub misses: u64,
    /// Replies in which the server refused, and bytes that were no reply.
    pub errors: u64,
    /// Replies that cannot be right.
    pub wrong: u64,
    /// Connections that ended before their time, or could not be opened again.
    pub disconnects: u64,
    /// Requests that never got a reply.
    pub unanswered: u64,
    /// Open loop: requests that were due and could not even be sent.
    pub unsent: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.errors += other.errors;
        self.wrong += other.wrong;
        self.disconnects += other.disconnects;
        self.unanswered += other.unanswered;
        self.unsent += other.unsent;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
    }

    /// Everything that went wrong, counted by kind, in words.
    pub fn trouble(&self) -> String {
        let Counts { errors, wrong, disconnects, unanswered, .. } = self;
        format!("errors {errors} · wrong replies {wrong} · disconnects {disconnects} · unanswered {unanswered}")
    }

    /// Whether nothing went wrong.
    pub fn clean(&self) -> bool {
        self.errors + self.wrong + self.disconnects + self.unanswered == 0
    }
}

/// What one thread, or all of them, have seen over some time.
#[derive(Clone, Default)]
pub struct Tally {
    answered: [u64; KINDS.len()],
    latencies: [Option<Histogram<u64>>; KINDS.len()],
    /// Open loop: how late requests were sent although a connection was free, in nanoseconds. The generator's own
    /// fault.
    lag: Option<Histogram<u64>>,
    pub counts: Counts,
    /// The first of each kind of trouble, in words.
    pub first_error: Option<String>,
    pub first_wrong: Option<String>,
}

impl Tally {
    /// A reply came after so long.
    pub fn record(&mut self, kind: Kind, nanoseconds: u64) {
        self.answered[slot(kind)] += 1;
        self.record_waiting(kind, nanoseconds);
    }

    /// No reply came, and it took so long already: that belongs to the latencies, but not to what the server did.
    pub fn record_waiting(&mut self, kind: Kind, nanoseconds: u64) {
        self.latencies[slot(kind)].get_or_insert_with(histogram).saturating_record(nanoseconds);
    }

    pub fn record_lag(&mut self, nanoseconds: u64) {
        self.lag.get_or_insert_with(histogram).saturating_record(nanoseconds);
    }

    pub fn error(&mut self, words: impl FnOnce() -> String) {
        self.counts.errors += 1;
        self.first_error.get_or_insert_with(words);
    }

    pub fn wrong(&mut self, words: impl FnOnce() -> String) {
        self.counts.wrong += 1;
        self.first_wrong.get_or_insert_with(words);
    }

    pub fn add(&mut self, other: Tally) {
        for (ours, theirs) in self.latencies.iter_mut().zip(other.latencies) {
            merge(ours, theirs);
        }
        for (ours, theirs) in self.answered.iter_mut().zip(other.answered) {
            *ours += theirs;
        }
        merge(&mut self.lag, other.lag);
        self.counts.add(&other.counts);
        self.first_error = self.first_error.take().or(other.first_error);
        self.first_wrong = self.first_wrong.take().or(other.first_wrong);
    }

    /// Each kind that occurred: its name, how many replies came, its latencies in nanoseconds.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64, &Histogram<u64>)> {
        let parts = KINDS.iter().zip(&self.answered).zip(&self.latencies);
        parts.filter_map(|(((_, name), answered), latencies)| Some((*name, *answered, latencies.as_ref()?)))
    }

    /// Requests that got a reply.
    pub fn answered(&self) -> u64 {
        self.answered.iter().sum()
    }

    /// The latencies of all kinds, in nanoseconds.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = histogram();
        for latencies in self.latencies.iter().flatten() {
            all.add(latencies).expect("all histograms have the same bounds");
        }
        all
    }

    pub fn lag(&self) -> Option<&Histogram<u64>> {
        self.lag.as_ref()
    }
}

fn slot(kind: Kind) -> usize {
    match kind {
        Kind::Get => 0,
        Kind::MultiGet => 1,
        Kind::Set | Kind::Zero | Kind::Greeting | Kind::About | Kind::Items | Kind::Order => 2,
        Kind::Delete => 3,
        Kind::Increment => 4,
    }
}

fn merge(ours: &mut Option<Histogram<u64>>, theirs: Option<Histogram<u64>>) {
    match (ours.as_mut(), theirs) {
        (Some(ours), Some(theirs)) => ours.add(theirs).expect("all histograms have the same bounds"),
        (None, theirs) => *ours = theirs,
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_by_kind() {
        let (mut a, mut b) = (Tally::default(), Tally::default());
        a.record(Kind::Get, 1000);
        b.record(Kind::Get, 3000);
        b.record(Kind::Increment, 5000);
        b.error(|| "first".into());
        b.error(|| "second".into());
        b.record_waiting(Kind::Increment, 9000);
        a.add(b);
        let kinds: Vec<_> = a.kinds().map(|(name, answered, latencies)| (name, answered, latencies.len())).collect();
        assert_eq!(kinds, [("GET", 2, 2), ("INCR", 1, 2)]);
        assert_eq!((a.answered(), a.all().len()), (3, 4));
        assert_eq!((a.counts.errors, a.first_error.as_deref()), (2, Some("first")));
        assert!(!a.counts.clean());
    }
}
