//! HdrHistogram's percentile distribution, as its own tools write and plot it. Knows nothing of files.
//!
//! Values are microseconds. One more line than usual, a comment to every plotter, carries the histogram itself in
//! HdrHistogram's V2 compressed encoding (in nanoseconds), so that any other HdrHistogram library can compute what it
//! likes from the counts.

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer},
};
use std::fmt::Write;

const NANOSECONDS_PER_UNIT: f64 = 1e3;
/// Steps per halving of the distance to 100%, as HdrHistogram's tools have it.
const TICKS_PER_HALF: u32 = 5;

pub fn distribution(latencies: &Histogram<u64>) -> String {
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut line = |words: std::fmt::Arguments| writeln!(text, "{words}").expect("a String takes everything");
    let mut total = 0;
    for step in latencies.iter_quantiles(TICKS_PER_HALF) {
        total += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / NANOSECONDS_PER_UNIT;
        let quantile = step.quantile_iterated_to();
        match quantile < 1.0 {
            true => line(format_args!("{value:12.3} {quantile:2.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))),
            false => line(format_args!("{value:12.3} {quantile:2.12} {total:10}")),
        }
    }
    let [mean, deviation] = [latencies.mean(), latencies.stdev()].map(|value| value / NANOSECONDS_PER_UNIT);
    line(format_args!("#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]"));
    let max = latencies.max() as f64 / NANOSECONDS_PER_UNIT;
    line(format_args!("#[Max     = {max:12.3}, Total count    = {:12}]", latencies.len()));
    line(format_args!("#[Buckets = {:12}, SubBuckets     = {:12}]", latencies.buckets(), 2048));
    line(format_args!("#[Encoded = {}]", encoded(latencies)));
    text
}

fn encoded(latencies: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(latencies, &mut bytes).expect("a Vec takes everything");
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tally::histogram;
    use hdrhistogram::serialization::Deserializer;

    #[test]
    fn the_distribution_says_what_was_recorded() {
        let mut latencies = histogram();
        (1..=1000).for_each(|microseconds| latencies.record(microseconds * 1000).unwrap());
        let text = distribution(&latencies);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        for row in &rows {
            let expected = latencies.value_at_quantile(row[1]) as f64 / 1000.0;
            // The iterator may stand one recorded value further, where a quantile falls between two.
            assert!((row[0] - expected).abs() <= 1.0 + expected / 500.0, "{row:?} for {expected}");
        }
        assert_eq!(rows.last().unwrap()[1..], [1.0, 1000.0]);
        assert!(text.contains("Total count    =         1000]"));
    }

    #[test]
    fn the_encoded_histogram_can_be_read_back() {
        let mut latencies = histogram();
        for value in [1, 1000, 123_456_789] {
            latencies.record(value).unwrap();
        }
        let text = distribution(&latencies);
        let encoded = text.lines().find_map(|line| line.strip_prefix("#[Encoded = ")?.strip_suffix(']')).unwrap();
        let bytes = BASE64_STANDARD.decode(encoded).unwrap();
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(read, latencies);
    }
}
