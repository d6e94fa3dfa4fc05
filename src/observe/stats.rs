//! Counters, one set per core: each is written by its own core alone and summed only when someone asks.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use parking_lot::Mutex;

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

/// One counter, as the world knows it.
pub struct Count {
    /// Its field in INFO.
    pub field: &'static str,
    /// What is counted: a sentence.
    pub help: &'static str,
    pub of: fn(&CoreStats) -> &Counter,
}

macro_rules! core_stats {
    ($($(#[doc = $doc:literal])+ $name:ident => $field:literal,)*) => {
        /// What one core counts.
        #[derive(Debug)]
        #[repr(align(128))]
        pub struct CoreStats {
            $($(#[doc = $doc])+ pub $name: Counter,)*
            pub longest: Longest,
            /// By the command's place in the table.
            pub calls: Box<[CallStats]>,
            /// Error replies by their first word.
            errors_by_code: Mutex<BTreeMap<String, u64>>,
        }

        /// Every counter there is: INFO and whatever else tells of them goes by this table.
        pub const COUNTERS: &[Count] = &[
            $(Count { field: $field, help: concat!($($doc),+), of: |core| &core.$name },)*
        ];

        impl CoreStats {
            pub fn new(commands: usize) -> CoreStats {
                CoreStats {
                    $($name: Counter::default(),)*
                    longest: Longest::default(),
                    calls: (0..commands).map(|_| CallStats::default()).collect(),
                    errors_by_code: Mutex::default(),
                }
            }

            /// CONFIG RESETSTAT.
            pub fn reset(&self) {
                $(self.$name.reset();)*
                self.longest.reset();
                self.calls.iter().for_each(CallStats::reset);
                self.errors_by_code.lock().clear();
            }
        }
    };
}

/// What has kept a core, or a shard's lock, the longest, by cause.
#[derive(Debug, Default)]
pub struct Longest {
    /// The turn of a connection, and the last command of it: its place in the table, plus one.
    pub turn_nanos: Counter,
    pub turn_command: Counter,
    /// Commands between which no lock was let go, or one that took long by itself, and the last command of them.
    pub hold_nanos: Counter,
    pub hold_command: Counter,
    /// The same of scripts, which have a bound of their own.
    pub script_hold_nanos: Counter,
    /// A step of a shard's upkeep, during which the shard is locked.
    pub upkeep_nanos: Counter,
}

impl Longest {
    fn reset(&self) {
        let turn = [&self.turn_nanos, &self.turn_command];
        let holds = [&self.hold_nanos, &self.hold_command, &self.script_hold_nanos, &self.upkeep_nanos];
        turn.into_iter().chain(holds).for_each(Counter::reset);
    }
}

impl CoreStats {
    /// Counts an error reply.
    pub fn note_error(&self, text: &str) {
        self.errors.add(1);
        let code = text.split(' ').next().unwrap_or_default();
        let mut counts = self.errors_by_code.lock();
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
    /// Requests refused because their user may not run the command.
    acl_denied_commands => "acl_access_denied_cmd",
    /// Requests refused because their user may not use a key so.
    acl_denied_keys => "acl_access_denied_key",
    /// Requests refused because their user may not use a channel.
    acl_denied_channels => "acl_access_denied_channel",
    /// Connections that were accepted.
    connections => "total_connections_received",
    /// Connections to the port of RESP that were served.
    resp_connections => "resp_connections_received",
    /// Connections to the port of HTTP that were served.
    http_connections => "http_connections_received",
    /// Connections to the port of memcached that were served.
    memcached_connections => "memcached_connections_received",
    /// Connections to the port of Protobuf that were served.
    protobuf_connections => "protobuf_connections_received",
    /// TLS handshakes that came to their end.
    tls_handshakes => "tls_handshakes",
    /// Those of them that went on with the keys of an earlier session.
    tls_resumptions => "tls_resumptions",
    /// TLS connections closed because what came was not TLS, or not as it had to be.
    tls_failures => "tls_failures",
    /// Requests that came in RESP.
    resp_requests => "resp_requests_processed",
    /// Requests that came over HTTP, those that ran no command included.
    http_requests => "http_requests_processed",
    /// Requests that came in memcached's protocol, each key of a `get` counted.
    memcached_requests => "memcached_requests_processed",
    /// Requests that came in Protobuf, those that ran no command included.
    protobuf_requests => "protobuf_requests_processed",
    /// Requests run, those that ended in an error included.
    commands => "total_commands_processed",
    /// Turns in which bytes were received.
    reads => "total_reads_processed",
    /// Turns, and messages, whose bytes were handed over to be sent.
    writes => "total_writes_processed",
    /// Bytes received from clients.
    net_input_bytes => "total_net_input_bytes",
    /// Bytes of replies and pushes to clients.
    net_output_bytes => "total_net_output_bytes",
    /// Connections refused because of `maxclients`.
    rejected_connections => "rejected_connections",
    /// Accepts that failed, for want of descriptors, say.
    accept_errors => "accept_errors",
    /// Reads that found their key.
    hits => "keyspace_hits",
    /// Reads that found no key.
    misses => "keyspace_misses",
    /// Reads that a core answered from its own copy, without a lock.
    hot_hits => "hot_hits",
    /// Reads that found the core's own copy out of date.
    hot_stale => "hot_stale",
    /// Error replies.
    errors => "total_error_replies",
    /// Connections closed because their bytes were no requests.
    protocol_errors => "protocol_errors",
    /// Passwords that were wrong.
    auth_failures => "auth_failures",
    /// Connections closed because their requests in arrival outgrew the client memory or their query limit.
    query_limit_closed => "client_query_buffer_limit_disconnections",
    /// Connections closed because they took replies or what was pushed to them too slowly.
    output_limit_closed => "client_output_buffer_limit_disconnections",
    /// Times that a connection had to wait until its replies were taken.
    output_waits => "client_output_waits",
    /// Connections closed by `timeout`.
    idle_closed => "client_timeout_disconnections",
    /// Receives into a registered buffer.
    registered_receives => "registered_receives",
    /// Receives that found no registered buffer and used an ordinary one.
    unregistered_receives => "unregistered_receives",
    /// Bytes received straight to where they lie, as values.
    placed_bytes => "total_net_placed_bytes",
    /// Receives that found all registered buffers taken and went without.
    buffers_ran_dry => "registered_buffers_ran_dry",
    /// Keys that memcached's clients have asked for.
    memcached_cmd_get => "memcached_cmd_get",
    /// Values that they have sent.
    memcached_cmd_set => "memcached_cmd_set",
    /// Keys that they gave a new time of expiry.
    memcached_cmd_touch => "memcached_cmd_touch",
    /// Times that they have emptied the cache.
    memcached_cmd_flush => "memcached_cmd_flush",
    /// Keys that they have asked for and found.
    memcached_get_hits => "memcached_get_hits",
    /// Keys that they have asked for and not found.
    memcached_get_misses => "memcached_get_misses",
    /// Keys that they gave a new time of expiry and found.
    memcached_touch_hits => "memcached_touch_hits",
    /// Keys that they gave a new time of expiry and did not find.
    memcached_touch_misses => "memcached_touch_misses",
    /// Keys that they have deleted.
    memcached_delete_hits => "memcached_delete_hits",
    /// Keys that they wanted to delete and did not find, or found changed.
    memcached_delete_misses => "memcached_delete_misses",
    /// Numbers that they have added to.
    memcached_incr_hits => "memcached_incr_hits",
    /// Numbers that they wanted to add to and did not find.
    memcached_incr_misses => "memcached_incr_misses",
    /// Numbers that they have taken from.
    memcached_decr_hits => "memcached_decr_hits",
    /// Numbers that they wanted to take from and did not find.
    memcached_decr_misses => "memcached_decr_misses",
    /// Values that they have replaced, unchanged meanwhile.
    memcached_cas_hits => "memcached_cas_hits",
    /// Values that they wanted to replace and that had changed.
    memcached_cas_badval => "memcached_cas_badval",
    /// Values that they wanted to replace and that were gone.
    memcached_cas_misses => "memcached_cas_misses",
    /// Values that they have sent and that are larger than one may be.
    memcached_store_too_large => "memcached_store_too_large",
    /// Values that they have sent and for which there was no memory.
    memcached_store_no_memory => "memcached_store_no_memory",
    /// Passwords that they have given.
    memcached_auth_cmds => "memcached_auth_cmds",
    /// Of those, wrong ones.
    memcached_auth_errors => "memcached_auth_errors",
}

/// The sum of one counter over all cores.
pub fn total(cores: &[CoreStats], counter: impl Fn(&CoreStats) -> &Counter) -> u64 {
    cores.iter().map(|core| counter(core).get()).sum()
}

/// The core with the greatest of one counter.
pub fn greatest(cores: &[CoreStats], counter: impl Fn(&CoreStats) -> &Counter) -> &CoreStats {
    cores.iter().max_by_key(|core| counter(core).get()).expect("there is a core")
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
        for (code, count) in core.errors_by_code.lock().iter() {
            *sum.entry(code.clone()).or_default() += count;
        }
    }
    sum
}
