//! The timeline as comma-separated values, one moment a line. Knows nothing of files.

use crate::engine::Moment;
use std::fmt::Write;

/// Latencies in microseconds.
pub fn timeline(moments: &[Moment]) -> String {
    let mut text = "seconds,requests,requests_per_second,p50_us,p99_us,max_us,errors\n".to_string();
    for moment in moments {
        let Moment { at_seconds, requests, requests_per_second, errors, .. } = moment;
        let [p50, p99, max] =
            [moment.p50_nanoseconds, moment.p99_nanoseconds, moment.max_nanoseconds].map(|ns| ns as f64 / 1e3);
        writeln!(text, "{at_seconds:.3},{requests},{requests_per_second:.1},{p50:.1},{p99:.1},{max:.1},{errors}")
            .expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_moment_is_a_line() {
        let moment = Moment {
            at_seconds: 0.1,
            requests: 10,
            requests_per_second: 100.0,
            p50_nanoseconds: 1500,
            p99_nanoseconds: 2500,
            max_nanoseconds: 3000,
            errors: 0,
        };
        let text = timeline(&[moment.clone(), moment]);
        assert_eq!(text.lines().nth(1), Some("0.100,10,100.0,1.5,2.5,3.0,0"));
        assert_eq!(text.lines().count(), 3);
    }
}
