//! How long commands take, measured at one clock reading per batch of requests beside the turn's own: a reading costs as
//! much as a tenth of a GET in a pipeline. It must not know commands.
//!
//! What may be slow (`Command::is_quick` says no) is timed by itself, and so is a request that comes alone. A stretch
//! of quick commands is timed as a whole, and each counts with the mean. When a stretch as a whole was slow, for the
//! core was taken away, say, its first command is noted with the number of those behind it.

use std::time::Instant;

use crate::base::clock;
use crate::config::limits;
use crate::observe::stats::CoreStats;
use crate::shared::Shared;

pub struct Timing<'t> {
    stats: &'t CoreStats,
    /// Where the stretch that is running began: its first request, and when.
    from: usize,
    begun: Instant,
    /// What the last stretch took.
    nanos: u64,
    /// What takes at least so long is noted by the slow log or the latency monitor.
    slow_nanos: u64,
    spread: bool,
}

/// A stretch that took long.
pub struct Slow {
    pub nanos: u64,
    /// Its first request, and how many it has.
    pub first: usize,
    pub count: usize,
}

impl<'t> Timing<'t> {
    /// `begun`: when the turn began or, later in it, when its last batch ended. Parsing a batch is a part of its time.
    pub fn start(shared: &Shared, stats: &'t CoreStats, begun: Instant) -> Timing<'t> {
        Timing {
            stats,
            from: 0,
            begun,
            nanos: 0,
            slow_nanos: shared.command_logs.slow.threshold_nanos().min(shared.latency.threshold_nanos()),
            spread: shared.latency.is_tracking(),
        }
    }

    /// Quick commands, too, are to be timed each by itself.
    pub fn is_exact(&self) -> bool {
        self.slow_nanos < limits::TIMED_TOGETHER_MIN_NANOS
    }

    /// When the last stretch ended.
    pub fn ended(&self) -> Instant {
        self.begun
    }

    /// What the last stretch took.
    pub fn took_nanos(&self) -> u64 {
        self.nanos
    }

    /// The requests before `upto` have run. `place` tells a request's row.
    pub fn lap(&mut self, upto: usize, place: impl Fn(usize) -> Option<usize>) -> Option<Slow> {
        let (first, count) = (self.from, upto - self.from);
        if count == 0 {
            return None;
        }
        let now = clock::tick();
        let nanos = now.duration_since(self.begun).as_nanos() as u64;
        (self.from, self.begun, self.nanos) = (upto, now, nanos);
        let each = nanos / count as u64;
        let mut at = first;
        while at < upto {
            let row = place(at);
            let same = (at..upto).take_while(|&at| place(at) == row).count();
            if let Some(row) = row {
                self.stats.calls[row].took(each, same as u64, self.spread);
            }
            at += same;
        }
        (nanos >= self.slow_nanos).then_some(Slow { nanos, first, count })
    }
}
