//! Counters, one set per core: each is written by its own core alone and summed only when someone asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count with one writer; readers on other cores see it a moment later.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only the owning core calls this: a plain load and store, no locked instruction.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

macro_rules! core_stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one core counts.
        #[derive(Debug)]
        #[repr(align(128))]
        pub struct CoreStats {
            $($(#[$doc])* pub $name: Counter,)*
            /// Calls per command, by its place in the table.
            pub calls: Box<[Counter]>,
            /// Calls per command that ended in an error.
            pub failed_calls: Box<[Counter]>,
        }

        impl CoreStats {
            pub fn new(commands: usize) -> CoreStats {
                let zeros = || (0..commands).map(|_| Counter::default()).collect();
                CoreStats { $($name: Counter::default(),)* calls: zeros(), failed_calls: zeros() }
            }

            /// CONFIG RESETSTAT.
            pub fn reset(&self) {
                $(self.$name.reset();)*
                self.calls.iter().chain(&self.failed_calls).for_each(Counter::reset);
            }
        }
    };
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
