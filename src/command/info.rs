//! INFO: the server's state as sections of `field:value` lines, under the names that monitoring tools read.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use super::connection::REDIS_VERSION;
use super::{Call, Command, Group, Table, is_word};
use crate::clock::UnixMillis;
use crate::config::policy_name;
use crate::error::Stop;
use crate::keyspace::Totals;
use crate::shared::Shared;
use crate::stats::{self, CoreStats, Counter};
use crate::system;
use crate::units::human;

pub const COMMANDS: &[Command] = &[Command::new("info", -1, Group::Server, info).doc(
    "1.0.0",
    "[section [section ...]]",
    "Returns information and statistics about the server.",
)];

/// What the sections report on.
struct View<'v> {
    shared: &'v Shared,
    now: UnixMillis,
    totals: Totals,
}

type Section = (&'static str, fn(&mut Lines, &View));

/// In the order in which they are printed; the last one only when asked for.
const SECTIONS: [Section; 10] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", statistics),
    ("Replication", replication),
    ("CPU", cpu),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
    ("Commandstats", commandstats),
];

fn info(call: &mut Call) -> Result<(), Stop> {
    let asked = |name: &str| {
        let mut words = call.args.iter().skip(1).peekable();
        let none = words.peek().is_none();
        let default = name != "Commandstats";
        none && default
            || words.any(|word| {
                is_word(word, name)
                    || is_word(word, "all")
                    || is_word(word, "everything")
                    || default && is_word(word, "default")
            })
    };
    let view = View { shared: call.shared, now: call.now, totals: call.held.totals() };
    let mut lines = Lines(String::new());
    for (name, write) in SECTIONS.iter().filter(|(name, _)| asked(name)) {
        if !lines.0.is_empty() {
            lines.0.push_str("\r\n");
        }
        lines.0.push_str(&format!("# {name}\r\n"));
        write(&mut lines, &view);
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
    lines.field("kv_cache_version", env!("CARGO_PKG_VERSION"));
    lines.field("server_name", "kv-cache");
    lines.field("redis_mode", "standalone");
    lines.field("os", system::os_release());
    lines.field("arch_bits", usize::BITS);
    if let Some(engine) = shared.engine.get() {
        lines.field("multiplexing_api", engine.name);
        lines.field("engine", engine.name);
        lines.field("engine_reason", &engine.reason);
        lines.field("registered_buffers_per_core", engine.registered_buffers);
        lines.field("registered_buffers_reason", &engine.registered_reason);
    }
    lines.field("process_id", std::process::id());
    lines.field("run_id", &shared.run_id);
    lines.field("tcp_port", shared.tcp_port);
    lines.field("server_time_usec", now * 1000);
    lines.field("uptime_in_seconds", uptime);
    lines.field("uptime_in_days", uptime / 86_400);
    lines.field("io_threads_active", shared.cores);
    lines.field("cores", shared.cores);
}

fn clients(lines: &mut Lines, &View { shared, .. }: &View) {
    lines.field("connected_clients", shared.clients.len());
    lines.field("maxclients", shared.clients.max.load(Relaxed));
    lines.field("blocked_clients", 0);
    lines.field("client_memory_limit", shared.clients.memory.limit_bytes());
    for core in 0..shared.cores {
        lines.field(&format!("connected_clients_core{core}"), shared.clients.count_of_core(core));
    }
}

fn memory(lines: &mut Lines, &View { shared, totals, .. }: &View) {
    let dataset = totals.used_bytes;
    let clients = shared.clients.memory.used_bytes() as u64;
    let buffers = shared.settings.registered_bytes as u64;
    let rss = system::resident_bytes();
    lines.bytes("used_memory", dataset + clients + buffers);
    lines.bytes("used_memory_rss", rss);
    lines.field("used_memory_dataset", dataset);
    lines.field("used_memory_clients", clients);
    lines.field("used_memory_registered_buffers", buffers);
    lines.bytes("maxmemory", shared.settings.max_memory_bytes.load(Relaxed));
    let policy = *shared.settings.policy.lock().expect("a panicking core ends the process");
    lines.field("maxmemory_policy", policy_name(policy));
    lines.bytes("total_system_memory", shared.granted_bytes);
    lines.field("largest_value", shared.settings.largest_value_bytes.load(Relaxed));
    lines.field("mem_allocator", "jemalloc");
}

fn persistence(lines: &mut Lines, _: &View) {
    lines.field("loading", 0);
    lines.field("rdb_bgsave_in_progress", 0);
    lines.field("aof_enabled", 0);
}

fn statistics(lines: &mut Lines, &View { shared, totals, .. }: &View) {
    let total = |counter: fn(&CoreStats) -> &Counter| stats::total(&shared.stats, counter);
    lines.field("total_connections_received", total(|core| &core.connections));
    lines.field("total_commands_processed", total(|core| &core.commands));
    lines.field("total_net_input_bytes", total(|core| &core.net_input_bytes));
    lines.field("total_net_output_bytes", total(|core| &core.net_output_bytes));
    lines.field("rejected_connections", total(|core| &core.rejected_connections));
    lines.field("accept_errors", total(|core| &core.accept_errors));
    lines.field("expired_keys", totals.expired);
    lines.field("evicted_keys", totals.evicted);
    lines.field("keyspace_hits", total(|core| &core.hits));
    lines.field("keyspace_misses", total(|core| &core.misses));
    lines.field("total_error_replies", total(|core| &core.errors));
    lines.field("protocol_errors", total(|core| &core.protocol_errors));
    lines.field("auth_failures", total(|core| &core.auth_failures));
    lines.field("client_query_buffer_limit_disconnections", total(|core| &core.query_limit_closed));
    lines.field(
        "client_output_buffer_limit_disconnections",
        total(|core| &core.output_stall_closed) + total(|core| &core.inbox_overflow_closed),
    );
    lines.field("client_output_waits", total(|core| &core.output_waits));
    lines.field("client_timeout_disconnections", total(|core| &core.idle_closed));
    lines.field("registered_receives", total(|core| &core.registered_receives));
    lines.field("unregistered_receives", total(|core| &core.unregistered_receives));
}

fn replication(lines: &mut Lines, &View { shared, .. }: &View) {
    lines.field("role", "master");
    lines.field("connected_slaves", 0);
    lines.field("master_replid", &shared.run_id);
    lines.field("master_repl_offset", 0);
}

fn cpu(lines: &mut Lines, _: &View) {
    if let Ok(usage) = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF) {
        let seconds = |time: nix::sys::time::TimeVal| format!("{}.{:06}", time.tv_sec(), time.tv_usec());
        lines.field("used_cpu_sys", seconds(usage.system_time()));
        lines.field("used_cpu_user", seconds(usage.user_time()));
    }
}

fn cluster(lines: &mut Lines, _: &View) {
    lines.field("cluster_enabled", 0);
}

fn keyspace(lines: &mut Lines, &View { totals, .. }: &View) {
    for (database, (items, expiring)) in totals.databases.iter().enumerate() {
        if *items > 0 {
            lines.field(&format!("db{database}"), format_args!("keys={items},expires={expiring},avg_ttl=0"));
        }
    }
}

fn commandstats(lines: &mut Lines, &View { shared, .. }: &View) {
    for (place, row) in Table::get().rows().iter().enumerate() {
        let calls = stats::total(&shared.stats, |core| &core.calls[place]);
        let failed = stats::total(&shared.stats, |core| &core.failed_calls[place]);
        if calls > 0 {
            lines.field(&format!("cmdstat_{}", row.name), format_args!("calls={calls},failed_calls={failed}"));
        }
    }
}
