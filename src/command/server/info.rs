//! INFO: the server's state as sections of `field:value` lines, under the names that monitoring tools read.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::UnixMillis;
use crate::clients::Paused;
use crate::command::connection::basic::REDIS_VERSION;
use crate::command::{Call, Command, Flags, Group, Table, is_word};
use crate::config::host;
use crate::config::units::human;
use crate::config::{ClusterMode, policy_name};
use crate::message::error::Stop;
use crate::observe::rates::Sample;
use crate::observe::stats::{self, COUNTERS, CallStats, Counter};
use crate::shared::Shared;
use crate::store::guards::Totals;
use crate::store::shard::GHOST_MEMORY;

pub const COMMANDS: &[Command] = &[Command::new("info", -1, Group::Server, info)
    .flags(Flags::WHOLE.union(Flags::TELLS))
    .doc("1.0.0", "[section [section ...]]", "Returns information and statistics about the server.")];

/// What the sections report on.
struct View<'v> {
    shared: &'v Shared,
    now: UnixMillis,
    totals: Totals,
}

struct Section {
    name: &'static str,
    write: fn(&mut Lines, &View),
    /// It is shown when no section is named.
    default: bool,
}

const fn section(name: &'static str, write: fn(&mut Lines, &View)) -> Section {
    Section { name, write, default: true }
}

const fn on_demand(name: &'static str, write: fn(&mut Lines, &View)) -> Section {
    Section { name, write, default: false }
}

/// In the order in which they are printed.
const SECTIONS: [Section; 13] = [
    section("Server", server),
    section("Clients", clients),
    section("Memory", memory),
    section("Persistence", persistence),
    section("Stats", statistics),
    section("Replication", replication),
    section("CPU", cpu),
    section("Modules", |_, _| ()),
    on_demand("Commandstats", commandstats),
    section("Errorstats", errorstats),
    on_demand("Latencystats", latencystats),
    section("Cluster", cluster),
    section("Keyspace", keyspace),
];

fn info(call: &mut Call) -> Result<(), Stop> {
    let args = call.args;
    let words = || args.iter().skip(1);
    let (all, default) =
        (words().any(|word| is_word(word, "all") || is_word(word, "everything")), call.args.len() == 1);
    let default = default || words().any(|word| is_word(word, "default"));
    let asked =
        |section: &&Section| all || default && section.default || words().any(|word| is_word(word, section.name));
    let view = View { shared: call.shared, now: call.now, totals: call.all()?.totals() };
    let mut lines = Lines(String::new());
    for section in SECTIONS.iter().filter(asked) {
        if !lines.0.is_empty() {
            lines.0.push_str("\r\n");
        }
        lines.0.push_str(&format!("# {}\r\n", section.name));
        (section.write)(&mut lines, &view);
    }
    call.reply.text(&lines.0);
    Ok(())
}

struct Lines(String);

impl Lines {
    fn field(&mut self, name: &str, value: impl Display) {
        write!(self.0, "{name}:{value}\r\n").expect("writing to a string");
    }

    /// Bytes, and the same for people.
    fn bytes(&mut self, name: &str, value: u64) {
        self.field(name, value);
        self.field(&format!("{name}_human"), human(value).replace(' ', ""));
    }
}

fn server(lines: &mut Lines, &View { shared, now, .. }: &View) {
    let uptime = now.saturating_sub(shared.started) / 1000;
    lines.field("redis_version", REDIS_VERSION);
    lines.field("redis_git_sha1", "00000000");
    lines.field("redis_git_dirty", 0);
    lines.field("redis_build_id", env!("CARGO_PKG_VERSION"));
    lines.field("redis_mode", shared.mode());
    lines.field("server_name", "kv-cache");
    lines.field("kv_cache_version", env!("CARGO_PKG_VERSION"));
    lines.field("os", host::os_release());
    lines.field("arch_bits", usize::BITS);
    if let Some(engine) = shared.engine.get() {
        lines.field("multiplexing_api", engine.api);
        lines.field("engine", engine.name);
        lines.field("engine_reason", &engine.reason);
        lines.field("registered_buffers_per_core", engine.registered_buffers);
        lines.field("registered_buffers_reason", &engine.registered_reason);
        lines.field("engine_sends", engine.sends);
    }
    lines.field("process_id", std::process::id());
    lines.field("run_id", &shared.run_id);
    lines.field("tcp_port", shared.tcp_port);
    lines.field("http_port", shared.http_port);
    lines.field("memcached_port", shared.memcached_port);
    lines.field("protobuf_port", shared.protobuf_port);
    lines.field("tls_port", shared.options.tls_port);
    lines.field("server_time_usec", now * 1000);
    lines.field("uptime_in_seconds", uptime);
    lines.field("uptime_in_days", uptime / 86_400);
    lines.field("config_file", shared.options.config.as_deref().unwrap_or("".as_ref()).display());
    lines.field("io_threads_active", shared.cores);
    lines.field("cores", shared.cores);
}

fn clients(lines: &mut Lines, &View { shared, now, .. }: &View) {
    lines.field("connected_clients", shared.clients.len());
    lines.field("cluster_connections", 0);
    lines.field("maxclients", shared.clients.max.load(Relaxed));
    lines.field("blocked_clients", shared.clients.paused());
    lines.field("tracking_clients", shared.clients.tracking().len());
    let watched: Vec<_> = shared.clients.all().iter().map(|client| client.watched.load(Relaxed)).collect();
    lines.field("pubsub_clients", shared.clients.subscribed());
    lines.field("watching_clients", watched.iter().filter(|keys| **keys > 0).count());
    lines.field("clients_in_timeout_table", 0);
    lines.field("total_watched_keys", watched.iter().sum::<usize>());
    lines.field("total_blocking_keys", 0);
    lines.field("total_blocking_keys_on_nokey", 0);
    let (reason, actions) = match shared.clients.pause.at(now) {
        None => ("none", "none"),
        Some(Paused::Writes) => ("client_pause", "write"),
        Some(Paused::All) => ("client_pause", "all"),
    };
    lines.field("paused_reason", reason);
    lines.field("paused_actions", actions);
    lines.field("paused_timeout_milliseconds", shared.clients.pause.left_ms(now));
    lines.field("client_memory_limit", shared.clients.memory.limit_bytes());
    lines.field("client_memory_lent", shared.clients.memory.lent_bytes());
    for core in 0..shared.cores {
        lines.field(&format!("connected_clients_core{core}"), shared.clients.count_of_core(core));
    }
}

fn memory(lines: &mut Lines, &View { shared, totals, .. }: &View) {
    let clients = shared.client_bytes();
    let buffers = shared.settings.registered_bytes as u64;
    let used = shared.used_bytes(totals.used_bytes);
    let peak = shared.rates.peak(used);
    let rss = host::resident_bytes();
    let percent = |part: u64, whole: u64| format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64);
    lines.bytes("used_memory", used);
    lines.bytes("used_memory_rss", rss);
    lines.bytes("used_memory_peak", peak);
    lines.field("used_memory_peak_perc", percent(used, peak));
    lines.field("used_memory_overhead", used - totals.dataset_bytes);
    lines.field("used_memory_startup", buffers);
    lines.field("used_memory_dataset", totals.dataset_bytes);
    lines.field("used_memory_dataset_perc", percent(totals.dataset_bytes, used - buffers));
    lines.field("used_memory_data", totals.used_bytes);
    lines.field("hot_bytes", shared.keyspace.hot().held_bytes());
    lines.field("used_memory_tracking", totals.watches_bytes);
    lines.field("used_memory_clients", clients);
    lines.field("used_memory_users", shared.settings.users.held_bytes());
    lines.field("used_memory_slowlog", shared.command_logs.held_bytes());
    lines.field("used_memory_registered_buffers", buffers);
    lines.bytes("total_system_memory", shared.granted_bytes);
    lines.bytes("maxmemory", shared.settings.max_memory_bytes.load(Relaxed));
    let policy = *shared.settings.policy.lock();
    lines.field("maxmemory_policy", policy_name(policy));
    lines.field("largest_value", shared.settings.largest_value_bytes.load(Relaxed));
    lines.field("mem_fragmentation_ratio", format_args!("{:.2}", rss as f64 / used.max(1) as f64));
    lines.field("mem_fragmentation_bytes", rss as i64 - used as i64);
    lines.field("mem_clients_normal", clients);
    lines.field("mem_clients_slaves", 0);
    lines.field("mem_replication_backlog", 0);
    lines.field("mem_aof_buffer", 0);
    lines.field("mem_allocator", "jemalloc");
    script_memory(lines, shared);
    lines.field("active_defrag_running", 0);
    lines.field("lazyfree_pending_objects", 0);
}

/// One interpreter runs scripts and functions, so what Redis has for the functions' own is 0.
fn script_memory(lines: &mut Lines, shared: &Shared) {
    let held = shared.scripts.held();
    let (libraries, functions) = shared.scripts.functions.count();
    lines.bytes("used_memory_lua", held.interpreter_bytes as u64);
    lines.field("used_memory_vm_eval", held.interpreter_bytes);
    lines.field("used_memory_vm_functions", 0);
    lines.bytes("used_memory_vm_total", held.interpreter_bytes as u64);
    lines.bytes("used_memory_scripts", held.source_bytes() as u64);
    lines.field("used_memory_scripts_eval", held.script_bytes);
    lines.field("used_memory_functions", held.function_bytes);
    lines.field("number_of_cached_scripts", held.scripts);
    lines.field("number_of_functions", functions);
    lines.field("number_of_libraries", libraries);
}

/// There is none; in the words that monitoring takes for good news.
fn persistence(lines: &mut Lines, &View { shared, .. }: &View) {
    lines.field("loading", 0);
    lines.field("async_loading", 0);
    lines.field("rdb_changes_since_last_save", 0);
    lines.field("rdb_bgsave_in_progress", 0);
    lines.field("rdb_last_save_time", shared.started / 1000);
    lines.field("rdb_last_bgsave_status", "ok");
    lines.field("rdb_last_bgsave_time_sec", -1);
    lines.field("rdb_current_bgsave_time_sec", -1);
    lines.field("aof_enabled", 0);
    lines.field("aof_rewrite_in_progress", 0);
    lines.field("aof_rewrite_scheduled", 0);
    lines.field("aof_last_rewrite_time_sec", -1);
    lines.field("aof_current_rewrite_time_sec", -1);
    lines.field("aof_last_bgrewrite_status", "ok");
    lines.field("aof_last_write_status", "ok");
}

fn statistics(lines: &mut Lines, &View { shared, totals, .. }: &View) {
    for count in COUNTERS {
        lines.field(count.field, stats::total(&shared.stats, count.of));
    }
    let kib_per_second = |count: fn(&Sample) -> u64| format!("{:.2}", shared.rates.per_second(count) / 1024.0);
    lines.field("instantaneous_ops_per_sec", shared.rates.per_second(|sample| sample.commands).round());
    lines.field("instantaneous_input_kbps", kib_per_second(|sample| sample.input_bytes));
    lines.field("instantaneous_output_kbps", kib_per_second(|sample| sample.output_bytes));
    lines.field("expired_keys", totals.expired);
    lines.field("expired_keys_active", totals.expired_unasked);
    lines.field("evicted_keys", totals.evicted);
    lines.field("eviction_age_ms", totals.eviction_age_millis);
    for (more, hits) in GHOST_MEMORY.iter().zip(totals.ghost_hits) {
        lines.field(&format!("ghost_hits_{:.0}_percent", more * 100.0), hits);
    }
    lines.field("evicted_clients", shared.clients.evicted.load(Relaxed));
    lines.field("evicted_scripts", shared.scripts.evicted());
    lines.field("tracking_total_keys", totals.tracked_keys);
    lines.field("tracking_total_items", totals.tracked);
    lines.field("tracking_total_prefixes", totals.prefixes);
    lines.field("pubsub_channels", (shared.clients.subscribed() > 0) as u8);
    lines.field("pubsub_patterns", 0);
    lines.field("latest_fork_usec", 0);
    lines.field("unexpected_error_replies", 0);
    lines.field("clients_waiting_for_memory", shared.clients.memory.waiting());
    lines.field("shard_locks_contended", shared.keyspace.contended());
    let turn = stats::greatest(&shared.stats, |core| &core.longest.turn_nanos);
    lines.field("longest_turn_usec", turn.longest.turn_nanos.get() / 1000);
    let place = (turn.longest.turn_command.get() as usize).checked_sub(1);
    lines.field("longest_turn_command", place.map_or("none", |place| &Table::get().names()[place]));
    let hold = stats::greatest(&shared.stats, |core| &core.longest.hold_nanos);
    lines.field("longest_hold_usec", hold.longest.hold_nanos.get() / 1000);
    let place = (hold.longest.hold_command.get() as usize).checked_sub(1);
    lines.field("longest_hold_command", place.map_or("none", |place| &Table::get().names()[place]));
    let script = stats::greatest(&shared.stats, |core| &core.longest.script_hold_nanos);
    lines.field("longest_script_hold_usec", script.longest.script_hold_nanos.get() / 1000);
    let upkeep = stats::greatest(&shared.stats, |core| &core.longest.upkeep_nanos);
    lines.field("longest_upkeep_usec", upkeep.longest.upkeep_nanos.get() / 1000);
}

fn replication(lines: &mut Lines, &View { shared, .. }: &View) {
    lines.field("role", "master");
    lines.field("connected_slaves", 0);
    lines.field("master_failover_state", "no-failover");
    lines.field("master_replid", &shared.run_id);
    lines.field("master_replid2", "0".repeat(40));
    lines.field("master_repl_offset", 0);
    lines.field("second_repl_offset", -1);
    lines.field("repl_backlog_active", 0);
    lines.field("repl_backlog_size", 0);
    lines.field("repl_backlog_first_byte_offset", 0);
    lines.field("repl_backlog_histlen", 0);
}

fn cpu(lines: &mut Lines, _: &View) {
    use nix::sys::resource::{UsageWho, getrusage};
    let seconds = |time: nix::sys::time::TimeVal| format!("{}.{:06}", time.tv_sec(), time.tv_usec());
    for (who, suffix) in [(UsageWho::RUSAGE_SELF, ""), (UsageWho::RUSAGE_CHILDREN, "_children")] {
        if let Ok(usage) = getrusage(who) {
            lines.field(&format!("used_cpu_sys{suffix}"), seconds(usage.system_time()));
            lines.field(&format!("used_cpu_user{suffix}"), seconds(usage.user_time()));
        }
    }
}

fn commandstats(lines: &mut Lines, &View { shared, .. }: &View) {
    for (place, name) in Table::get().names().iter().enumerate() {
        let total = |counter: fn(&CallStats) -> &Counter| stats::call_total(&shared.stats, place, counter);
        let (calls, rejected) = (total(|call| &call.calls), total(|call| &call.rejected));
        if calls + rejected > 0 {
            let micros = total(|call| &call.nanos) as f64 / 1000.0;
            let each = micros / total(|call| &call.timed).max(1) as f64;
            let failed = total(|call| &call.failed);
            let values = format_args!(
                "calls={calls},usec={micros:.0},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
            );
            lines.field(&format!("cmdstat_{name}"), values);
        }
    }
}

fn errorstats(lines: &mut Lines, &View { shared, .. }: &View) {
    for (code, count) in stats::errors_by_code(&shared.stats) {
        lines.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latencystats(lines: &mut Lines, &View { shared, .. }: &View) {
    if !shared.latency.is_tracking() {
        return;
    }
    let percentiles = shared.latency.percentiles();
    for (place, name) in Table::get().names().iter().enumerate() {
        let times = stats::times(&shared.stats, place);
        if times.count() > 0 {
            let values = percentiles.iter().map(|percent| {
                let micros = times.percentile(*percent) as f64 / 1000.0;
                format!("p{percent}={micros:.3}")
            });
            let values: Vec<_> = values.collect();
            lines.field(&format!("latency_percentiles_usec_{name}"), values.join(","));
        }
    }
}

fn cluster(lines: &mut Lines, &View { shared, .. }: &View) {
    lines.field("cluster_enabled", (shared.options.cluster_mode == ClusterMode::Emulated) as u8);
}

fn keyspace(lines: &mut Lines, View { totals, now, .. }: &View) {
    for (database, (items, expiring)) in totals.databases.iter().enumerate() {
        if *items > 0 {
            let mean = totals.expiry_sums[database].checked_div(*expiring as u128).unwrap_or(0);
            let left = mean.saturating_sub(*now as u128);
            let values = format_args!("keys={items},expires={expiring},avg_ttl={left}");
            lines.field(&format!("db{database}"), values);
        }
    }
}
