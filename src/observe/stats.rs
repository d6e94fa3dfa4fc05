//! Counters, one set per core: each is written by its own core alone and summed only when someone asks.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use crate::config::limits;
pub use crate::observe::counter::Counter;
use crate::observe::histogram::{Histogram, Sum};

/// What one core counts of one command.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct CallStats {
    /// Those that ended in an error included.
    pub calls: Counter,
    pub failed: Counter,
    /// Refused before they ran: the wrong number of arguments, no authentication.
    pub rejected: Counter,
    /// What all calls took together, those within scripts excepted.
    pub nanos: Counter,
    /// How many calls that is the time of.
    pub timed: Counter,
    /// Made when the command is first used.
    times: OnceLock<Histogram>,
}

impl CallStats {
    /// `count` calls took `nanos` each. `spread`: note how the times are spread, too.
    pub fn took(&self, nanos: u64, count: u64, spread: bool) {
        self.nanos.add(nanos * count);
        self.timed.add(count);
        if spread {
            self.times.get_or_init(Histogram::default).record(nanos, count);
        }
    }

    fn reset(&self) {
        [&self.calls, &self.failed, &self.rejected, &self.nanos, &self.timed].into_iter().for_each(Counter::reset);
        self.reset_times();
    }

    pub fn reset_times(&self) {
        self.times.get().inspect(|times| times.reset());
    }
}

macro_rules! core_stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one core counts.
        #[derive(Debug)]
        #[repr(align(128))]
        pub struct CoreStats {
            $($(#[$doc])* pub $name: Counter,)*
            /// By the command's place in the table.
            pub calls: Box<[CallStats]>,
            /// Error replies by their first word.
            errors_by_code: Mutex<BTreeMap<String, u64>>,
        }

        impl CoreStats {
            pub fn new(commands: usize) -> CoreStats {
                CoreStats {
                    $($name: Counter::default(),)*
                    calls: (0..commands).map(|_| CallStats::default()).collect(),
                    errors_by_code: Mutex::default(),
                }
            }

            /// CONFIG RESETSTAT.
            pub fn reset(&self) {
                $(self.$name.reset();)*
                self.calls.iter().for_each(CallStats::reset);
                self.errors_by_code.lock().expect("a panicking core ends the process").clear();
            }
        }
    };
}

impl CoreStats {
    /// Counts an error reply.
    pub fn note_error(&self, text: &str) {
        self.errors.add(1);
        let code = text.split(' ').next().unwrap_or_default();
        let mut counts = self.errors_by_code.lock().expect("a panicking core ends the process");
        if let Some(count) = counts.get_mut(code) {
            *count += 1;
        } else {
            // A script chooses its codes: beyond the bound they are counted together.
            let known = counts.len() < limits::ERROR_CODES_MAX && code.len() <= limits::ERROR_ECHO_MAX_BYTES;
            *counts.entry(if known { code } else { "ERRORSTATS_OVERFLOW" }.to_owned()).or_default() += 1;
        }
    }
}

core_stats! {
    /// Requests run, those that ended in an error included.
    commands,
    /// Error replies.
    errors,
    hits,
    misses,
    net_input_bytes,
    net_output_bytes,
    connections,
    /// Refused because of `maxclients`.
    rejected_connections,
    /// Accepts that failed, e.g. for want of descriptors.
    accept_errors,
    /// Closed because the bytes were no requests.
    protocol_errors,
    /// Closed because their requests in arrival outgrew the client memory or their query limit.
    query_limit_closed,
    /// Closed because they took none of their replies for too long.
    output_stall_closed,
    /// Closed because they took what was pushed to them more slowly than it came.
    inbox_overflow_closed,
    /// Times that a connection had to wait until its replies were taken.
    output_waits,
    /// Closed by `timeout`.
    idle_closed,
    auth_failures,
    /// Receives that found no registered buffer and used an ordinary one.
    unregistered_receives,
    registered_receives,
}

/// The sum of one counter over all cores.
pub fn total(cores: &[CoreStats], counter: impl Fn(&CoreStats) -> &Counter) -> u64 {
    cores.iter().map(|core| counter(core).get()).sum()
}

/// One command's counts over all cores.
pub fn call_total(cores: &[CoreStats], place: usize, counter: impl Fn(&CallStats) -> &Counter) -> u64 {
    total(cores, |core| counter(&core.calls[place]))
}

/// How the times of one command's calls are spread, over all cores.
pub fn times(cores: &[CoreStats], place: usize) -> Sum {
    let mut sum = Sum::default();
    cores.iter().filter_map(|core| core.calls[place].times.get()).for_each(|times| sum.add(times));
    sum
}

/// Error replies by their first word, over all cores.
pub fn errors_by_code(cores: &[CoreStats]) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for core in cores {
        for (code, count) in core.errors_by_code.lock().expect("a panicking core ends the process").iter() {
            *sum.entry(code.clone()).or_default() += count;
        }
    }
    sum
}
