//! How often what took how long: counts in buckets whose width is at most an eighth of their value, with one writer, so
//! that recording takes no lock. It must not know what is measured.
//!
//! An own one because it stays small: 2.5 KB for each command that is in use on a core, an eighth of what a general
//! histogram of this range takes, and read by other cores while it is written.

use crate::observe::counter::Counter;

/// Buckets for each doubling.
const STEPS: usize = 8;
const STEP_BITS: u32 = STEPS.ilog2();
/// Nanoseconds from here on, 18 minutes, are counted as this much.
const MAX_BITS: u32 = 40;
const BUCKETS: usize = (MAX_BITS - STEP_BITS + 1) as usize * STEPS;

#[derive(Debug)]
pub struct Histogram(Box<[Counter]>);

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram((0..BUCKETS).map(|_| Counter::default()).collect())
    }
}

fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.min((1 << MAX_BITS) - 1);
    if nanos < STEPS as u64 {
        return nanos as usize;
    }
    let doubling = nanos.ilog2() - STEP_BITS;
    doubling as usize * STEPS + (nanos >> doubling) as usize
}

/// The first value beyond a bucket.
fn end_of(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64 + 1;
    }
    let doubling = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS) as u64 + 1) << doubling
}

impl Histogram {
    /// Only the owning core calls this.
    pub fn record(&self, nanos: u64, count: u64) {
        self.0[bucket_of(nanos)].add(count);
    }

    pub fn reset(&self) {
        self.0.iter().for_each(Counter::reset);
    }
}

/// Histograms of several cores, added up.
#[derive(Debug, Default)]
pub struct Sum(Vec<u64>);

impl Sum {
    pub fn add(&mut self, histogram: &Histogram) {
        self.0.resize(BUCKETS, 0);
        self.0.iter_mut().zip(&histogram.0).for_each(|(sum, counter)| *sum += counter.get());
    }

    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many lie below a power of two of nanoseconds.
    pub fn below(&self, nanos: u64) -> u64 {
        self.0.iter().take(bucket_of(nanos)).sum()
    }

    /// The value that this share of all, in percent, does not exceed, in nanoseconds.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((self.count() as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut passed = 0;
        let found = self.0.iter().position(|count| {
            passed += count;
            passed >= wanted
        });
        found.map_or(0, |bucket| end_of(bucket) - 1)
    }

    /// For each doubling of a microsecond (1024 ns) that something new falls below: the microseconds, and how many fall
    /// below.
    pub fn doublings(&self) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let mut below = 0;
        let mut end = 1024;
        for (bucket, count) in self.0.iter().enumerate() {
            while end_of(bucket) > end {
                end *= 2;
            }
            below += count;
            match found.last_mut() {
                _ if *count == 0 => {}
                Some((known, total)) if *known == end / 1000 => *total = below,
                _ => found.push((end / 1000, below)),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        for bucket in 1..BUCKETS {
            let (begin, end) = (end_of(bucket - 1), end_of(bucket));
            assert_eq!((bucket_of(begin), bucket_of(end - 1)), (bucket, bucket));
            assert!((end - begin) * 8 <= begin.max(8), "{begin}..{end}");
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(end_of(BUCKETS - 1), 1 << MAX_BITS);
    }

    #[test]
    fn percentiles_and_doublings() {
        let (one, two) = (Histogram::default(), Histogram::default());
        (1..=500).for_each(|n| one.record(n * 1000, 1));
        (501..=1000).for_each(|n| two.record(n * 1000, 1));
        let mut sum = Sum::default();
        sum.add(&one);
        sum.add(&two);
        assert_eq!(sum.count(), 1000);
        for percent in [50, 90, 99, 100] {
            let exact = percent * 10_000;
            let got = sum.percentile(percent as f64);
            assert!((exact..=exact + exact / 8).contains(&got), "{percent}: {got}");
        }
        let doublings = sum.doublings();
        assert_eq!(doublings.first(), Some(&(1, 1)));
        assert_eq!(doublings.last().map(|(_, count)| *count), Some(1000));
        assert!(doublings.is_sorted());
        assert_eq!(Sum::default().percentile(99.0), 0);
    }
}
