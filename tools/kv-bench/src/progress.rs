//! Shows on standard error that and how a run goes on: a bar on a terminal, plain lines elsewhere. Knows nothing of
//! results.

use crate::{engine::Moment, units};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

pub struct Progress {
    show: Show,
}

enum Show {
    Nothing,
    Bar(ProgressBar),
    Lines { next: Instant },
}

impl Progress {
    /// Plain lines come at least so far apart.
    const LINE_EVERY: Duration = Duration::from_secs(1);

    pub fn new(quiet: bool) -> Progress {
        let show = match (quiet, stderr().is_terminal()) {
            (true, _) => Show::Nothing,
            (false, true) => Show::Bar(ProgressBar::no_length()),
            (false, false) => Show::Lines { next: Instant::now() + Progress::LINE_EVERY },
        };
        Progress { show }
    }

    /// Begins a phase that lasts `length`, if that is known; what it returns takes the moments as they come.
    pub fn phase(&mut self, name: &str, length: Option<Duration>) -> impl FnMut(&Moment) {
        if let Show::Bar(bar) = &self.show {
            let known = "{prefix} {bar:30} {msg}";
            let style = ProgressStyle::with_template(if length.is_some() { known } else { "{prefix} {spinner} {msg}" });
            bar.reset();
            bar.set_style(style.expect("the templates are constants that indicatif admits"));
            bar.set_prefix(name.to_string());
            bar.set_message("");
            bar.set_length(length.map_or(0, |length| length.as_millis() as u64));
        }
        let name = name.to_string();
        move |moment| self.show.moment(&name, moment)
    }

    /// Begins a phase of so many steps; what it returns takes how many are done, and what else there is to say.
    pub fn count(&mut self, name: &str, steps: u64) -> impl FnMut(u64, &str) {
        if let Show::Bar(bar) = &self.show {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {percent}%, {eta} left  {msg}");
            bar.reset();
            bar.set_style(style.expect("the template is a constant that indicatif admits"));
            bar.set_prefix(name.to_string());
            bar.set_message("");
            bar.set_length(steps);
        }
        let name = name.to_string();
        move |done, words| self.show.steps(&name, done, steps, words)
    }

    /// Clears the bar, so that the report stands alone.
    pub fn finish(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

impl Show {
    fn steps(&mut self, name: &str, done: u64, steps: u64, words: &str) {
        match self {
            Show::Nothing => {}
            Show::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(words.to_string());
            }
            Show::Lines { next } if Instant::now() >= *next => {
                eprintln!("{name} {}%  {words}", done * 100 / steps.max(1));
                *next = Instant::now() + Progress::LINE_EVERY;
            }
            Show::Lines { .. } => {}
        }
    }

    fn moment(&mut self, name: &str, moment: &Moment) {
        let rate = units::grouped(moment.requests_per_second as u64);
        let (p50, p99) = (units::latency(moment.p50_nanoseconds), units::latency(moment.p99_nanoseconds));
        let text = format!("{rate}/s  p50 {p50}  p99 {p99}");
        match self {
            Show::Nothing => {}
            Show::Bar(bar) => {
                bar.set_position((moment.at_seconds * 1e3) as u64);
                bar.set_message(format!("{:.1}s  {text}", moment.at_seconds));
            }
            Show::Lines { next } if Instant::now() >= *next => {
                eprintln!("{name} {:.0}s  {text}", moment.at_seconds);
                *next = Instant::now() + Progress::LINE_EVERY;
            }
            Show::Lines { .. } => {}
        }
    }
}
