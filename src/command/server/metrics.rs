//! The server's state for Prometheus: the counters of `observe::stats`, as INFO tells them, and what INFO computes beside,
//! in the text format or as OpenMetrics. It must not know who asks, or over what.
//! Formats: <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use crate::command::connection::basic::REDIS_VERSION;
use crate::command::{Call, Table};
use crate::config::{host, limits, policy_name};
use crate::message::error::Stop;
use crate::observe::counter::Counter;
use crate::observe::stats::{self, COUNTERS, CallStats};
use crate::shared::Shared;
use crate::store::guards::Totals;
use crate::store::shard::GHOST_MEMORY;

/// How they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    OpenMetrics,
}

impl Format {
    /// What a client prefers that accepts this: OpenMetrics where it is named.
    pub fn accepted(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Text }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics as text.
///
/// # Errors
/// A script holds a shard, or there is no room for the text.
pub fn expose(call: &mut Call, format: Format) -> Result<String, Stop> {
    let totals = call.all()?.totals();
    let mut page = Page { text: String::new(), format };
    counters(&mut page, call.shared, &totals);
    clients(&mut page, call.shared);
    memory(&mut page, call.shared, &totals);
    keyspace(&mut page, &totals);
    process(&mut page, call.shared);
    commands(&mut page, call.shared);
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    call.room(page.text.len())?;
    Ok(page.text)
}

struct Page {
    text: String,
    format: Format,
}

/// A label and its value.
type Label<'l> = (&'l str, &'l str);

impl Page {
    /// What stands before the samples of a metric, once.
    fn describe(&mut self, name: &str, kind: &str, help: &str) {
        // A family of OpenMetrics is named without the suffix that its counters have.
        let family = match (self.format, kind) {
            (Format::OpenMetrics, "counter") => name.trim_end_matches("_total"),
            _ => name,
        };
        let help = help.trim().trim_end_matches('.');
        writeln!(self.text, "# HELP {family} {help}.\n# TYPE {family} {kind}").expect("writing to a string");
    }

    fn sample(&mut self, name: &str, labels: &[Label], value: impl Display) {
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(self.text, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' }).expect("writing to a string");
        }
        writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" }).expect("writing to a string");
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.describe(name, "counter", help);
        self.sample(name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.describe(name, "gauge", help);
        self.sample(name, &[], value);
    }
}

/// A counter's name, from its field in INFO.
fn name_of(field: &str) -> String {
    format!("kv_cache_{}_total", field.trim_start_matches("total_"))
}

fn counters(page: &mut Page, shared: &Shared, totals: &Totals) {
    for count in COUNTERS {
        page.counter(&name_of(count.field), count.help, stats::total(&shared.stats, count.of));
    }
    page.counter("kv_cache_expired_keys_total", "Keys whose time had come", totals.expired);
    page.counter("kv_cache_evicted_keys_total", "Keys that were evicted for want of memory", totals.evicted);
    let help = "Connections closed because they held the most when others needed a little";
    page.counter("kv_cache_evicted_clients_total", help, shared.clients.evicted.load(Relaxed));
    page.counter("kv_cache_evicted_scripts_total", "Scripts that were forgotten for others", shared.scripts.evicted());
    page.describe("kv_cache_errors_total", "counter", "Error replies by their first word");
    for (code, count) in stats::errors_by_code(&shared.stats) {
        page.sample("kv_cache_errors_total", &[("code", &code)], count);
    }
}

fn clients(page: &mut Page, shared: &Shared) {
    page.describe("kv_cache_connected_clients", "gauge", "Connections, by the core that serves them");
    for core in 0..shared.cores {
        let labels = [("core", &*core.to_string())];
        page.sample("kv_cache_connected_clients", &labels, shared.clients.count_of_core(core));
    }
    page.gauge("kv_cache_max_clients", "Connections that there may be", shared.clients.max.load(Relaxed));
    page.gauge("kv_cache_blocked_clients", "Connections that wait for the end of a pause", shared.clients.paused());
    let waiting = shared.clients.memory.waiting();
    page.gauge("kv_cache_clients_waiting_for_memory", "Connections that wait for room for a reply", waiting);
    let limit = shared.clients.memory.limit_bytes();
    page.gauge("kv_cache_client_memory_limit_bytes", "What requests and replies in flight may hold", limit);
    let lent = shared.clients.memory.lent_bytes();
    page.gauge("kv_cache_client_memory_lent_bytes", "Of that, what is lent to data until connections need it", lent);
}

fn memory(page: &mut Page, shared: &Shared, totals: &Totals) {
    let scripts = shared.scripts.held();
    let used = shared.used_bytes(totals.used_bytes);
    page.gauge("kv_cache_memory_used_bytes", "Memory that counts against the cap", used);
    let cap = shared.settings.max_memory_bytes.load(Relaxed);
    page.gauge("kv_cache_memory_max_bytes", "The memory cap", cap);
    page.gauge("kv_cache_memory_peak_bytes", "The most that was used", shared.rates.peak(used));
    page.gauge("kv_cache_memory_dataset_bytes", "Keys and values", totals.dataset_bytes);
    page.gauge("kv_cache_memory_clients_bytes", "Requests and replies in flight", shared.client_bytes());
    let users = shared.settings.users.held_bytes();
    page.gauge("kv_cache_memory_users_bytes", "The users' rules", users);
    let buffers = shared.settings.registered_bytes;
    page.gauge("kv_cache_memory_registered_buffers_bytes", "Buffers registered with the rings", buffers);
    let hot = shared.keyspace.hot().held_bytes();
    page.gauge("kv_cache_hot_bytes", "The cores' own copies of what is read the most", hot);
    page.gauge("kv_cache_memory_scripts_bytes", "Scripts, functions and their interpreters", scripts.bytes());
    page.gauge("kv_cache_scripts", "Scripts that are kept", scripts.scripts);
    let largest = shared.settings.largest_value_bytes.load(Relaxed);
    page.gauge("kv_cache_largest_value_bytes", "The largest value that is accepted", largest);
}

fn keyspace(page: &mut Page, totals: &Totals) {
    for (name, help, of) in [
        ("kv_cache_keys", "Keys, by database", 0),
        ("kv_cache_expiring_keys", "Keys with a time of expiry, by database", 1),
    ] {
        page.describe(name, "gauge", help);
        for (database, (items, expiring)) in totals.databases.iter().enumerate() {
            let (database, count) = (database.to_string(), [items, expiring][of]);
            if *items > 0 || database == "0" {
                page.sample(name, &[("db", &database)], count);
            }
        }
    }
    let age = totals.eviction_age_millis as f64 / 1e3;
    page.gauge("kv_cache_eviction_age_seconds", "How long what was evicted last had not been used", age);
    let name = "kv_cache_ghost_hits_total";
    page.describe(name, "counter", "About how many misses would have been hits with so many times the memory");
    for (more, hits) in GHOST_MEMORY.iter().zip(totals.ghost_hits) {
        page.sample(name, &[("memory", &more.to_string())], hits);
    }
}

fn process(page: &mut Page, shared: &Shared) {
    use nix::sys::resource::{UsageWho, getrusage};
    page.describe("kv_cache_info", "gauge", "What runs");
    let engine = shared.engine.get().map_or("", |engine| engine.name);
    let policy = policy_name(*shared.settings.policy.lock());
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("redis_version", REDIS_VERSION),
        ("engine", engine),
        ("maxmemory_policy", policy),
    ];
    page.sample("kv_cache_info", &labels, 1);
    page.gauge("kv_cache_cores", "Cores that serve", shared.cores);
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    page.counter(
        "kv_cache_shard_locks_contended_total",
        "How often somebody found a shard's lock taken",
        shared.keyspace.contended(),
    );
    let turn = stats::greatest(&shared.stats, |core| &core.longest.turn_nanos).longest.turn_nanos.get();
    page.gauge("kv_cache_longest_turn_seconds", "The longest that a connection has kept a core", seconds(turn));
    let upkeep = stats::greatest(&shared.stats, |core| &core.longest.upkeep_nanos).longest.upkeep_nanos.get();
    page.gauge("kv_cache_longest_upkeep_seconds", "The longest step of a shard's upkeep", seconds(upkeep));
    let hold = stats::greatest(&shared.stats, |core| &core.longest.hold_nanos).longest.hold_nanos.get();
    page.gauge(
        "kv_cache_longest_hold_seconds",
        "The longest that a shard was locked, by scripts excepted",
        seconds(hold),
    );
    let script = stats::greatest(&shared.stats, |core| &core.longest.script_hold_nanos).longest.script_hold_nanos.get();
    page.gauge("kv_cache_longest_script_hold_seconds", "The longest that a script has kept a shard", seconds(script));
    let started = shared.started as f64 / 1e3;
    page.gauge("process_start_time_seconds", "When the process started, in Unix time", started);
    page.gauge(
        "process_resident_memory_bytes",
        "Memory of the process as the kernel counts it",
        host::resident_bytes(),
    );
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let of = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let used = of(usage.user_time()) + of(usage.system_time());
        page.counter("process_cpu_seconds_total", "Processor time of the process, the kernel's for it included", used);
    }
}

/// The commands that have been used.
fn commands(page: &mut Page, shared: &Shared) {
    let total = |place, counter: fn(&CallStats) -> &Counter| stats::call_total(&shared.stats, place, counter);
    let names = Table::get().names();
    type Count = (&'static str, &'static str, fn(&CallStats) -> &Counter);
    let counts: [Count; 3] = [
        ("kv_cache_command_calls_total", "Calls of commands, those that ended in an error included", |call| {
            &call.calls
        }),
        ("kv_cache_command_failed_calls_total", "Calls of commands that ended in an error", |call| &call.failed),
        ("kv_cache_command_rejected_calls_total", "Calls of commands refused before they ran", |call| &call.rejected),
    ];
    let used = |place: &usize| total(*place, |call| &call.calls) + total(*place, |call| &call.rejected) > 0;
    let used: Vec<usize> = (0..names.len()).filter(used).collect();
    for (name, help, counter) in counts {
        page.describe(name, "counter", help);
        used.iter().for_each(|place| page.sample(name, &[("command", &names[*place])], total(*place, counter)));
    }
    let name = "kv_cache_command_duration_seconds";
    page.describe(name, "histogram", "How long commands took");
    for &place in &used {
        let (times, command) = (stats::times(&shared.stats, place), names[place].as_str());
        if times.count() == 0 {
            continue;
        }
        let bucket = format!("{name}_bucket");
        for bits in limits::METRICS_BUCKET_BITS.step_by(2) {
            let bound = ((1u64 << bits) as f64 / 1e9).to_string();
            page.sample(&bucket, &[("command", command), ("le", &bound)], times.below(1 << bits));
        }
        page.sample(&bucket, &[("command", command), ("le", "+Inf")], times.count());
        let labels = [("command", command)];
        page.sample(&format!("{name}_sum"), &labels, total(place, |call| &call.nanos) as f64 / 1e9);
        page.sample(&format!("{name}_count"), &labels, times.count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_names_of_their_own_and_a_sentence() {
        let mut names: Vec<_> = COUNTERS.iter().map(|count| name_of(count.field)).collect();
        assert!(COUNTERS.iter().all(|count| count.help.trim().ends_with('.')));
        assert!(names.contains(&"kv_cache_connections_received_total".to_owned()));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), COUNTERS.len());
    }

    #[test]
    fn labels_are_escaped_and_help_stands_once() {
        for (format, expect) in [
            (Format::Text, "# HELP a_total Of a.\n# TYPE a_total counter\na_total{x=\"\\\"\\\\\\n\",y=\"z\"} 1\n"),
            (Format::OpenMetrics, "# HELP a Of a.\n# TYPE a counter\na_total{x=\"\\\"\\\\\\n\",y=\"z\"} 1\n"),
        ] {
            let mut page = Page { text: String::new(), format };
            page.describe("a_total", "counter", " Of a. ");
            page.sample("a_total", &[("x", "\"\\\n"), ("y", "z")], 1);
            assert_eq!(page.text, expect);
        }
    }
}
