//! `stats`: what memcached's tools read (memcached_exporter, phpMemcachedAdmin, the clients' own checks), as far as there is the
//! like of it here. Items are of one class, number 1: cells come in a hundred sizes and change them.

use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;

use super::text::run_silently;
use super::{answer, line};
use crate::base::clock;
use crate::command::{Call, Command};
use crate::config::{Policy, limits};
use crate::message::error::Stop;
use crate::observe::stats::{CoreStats, Counter, total};
use crate::store::guards::Totals;

/// Answers `stats`, with a word behind it or without.
pub fn answer(call: &mut Call, row: &Command) -> Result<(), Stop> {
    let about = if call.args.len() > 1 { call.arg(1) } else { b"" };
    match about {
        b"" => general(call)?,
        b"settings" => settings(call),
        b"items" => items(call)?,
        b"slabs" => slabs(call)?,
        b"sizes" => stat(call, "sizes_status", "disabled"),
        b"conns" => {}
        b"reset" => {
            run_silently(call, row)?;
            answer::line(call.reply, "RESET");
            return Ok(());
        }
        b"cachedump" if call.args.len() < 4 => {
            answer::line(call.reply, "CLIENT_ERROR bad command line");
            return Ok(());
        }
        b"cachedump" => dump(call)?,
        b"detail" => {
            answer::line(call.reply, "CLIENT_ERROR stats detail not allowed");
            return Ok(());
        }
        _ => {
            answer::line(call.reply, answer::ERROR);
            return Ok(());
        }
    }
    answer::line(call.reply, "END");
    Ok(())
}

fn stat(call: &mut Call, name: impl Display, value: impl Display) {
    answer::line(call.reply, &format!("STAT {name} {value}"));
}

fn totals(call: &mut Call) -> Result<Totals, Stop> {
    Ok(call.guards.lock_all().map_err(|_| Stop::Busy)?.totals())
}

type Count = (&'static str, fn(&CoreStats) -> &Counter);

/// Counters under memcached's names.
const COUNTS: &[Count] = &[
    ("total_connections", |core| &core.connections),
    ("rejected_connections", |core| &core.rejected_connections),
    ("cmd_get", |core| &core.memcached_cmd_get),
    ("cmd_set", |core| &core.memcached_cmd_set),
    ("cmd_flush", |core| &core.memcached_cmd_flush),
    ("cmd_touch", |core| &core.memcached_cmd_touch),
    ("get_hits", |core| &core.memcached_get_hits),
    ("get_misses", |core| &core.memcached_get_misses),
    ("delete_misses", |core| &core.memcached_delete_misses),
    ("delete_hits", |core| &core.memcached_delete_hits),
    ("incr_misses", |core| &core.memcached_incr_misses),
    ("incr_hits", |core| &core.memcached_incr_hits),
    ("decr_misses", |core| &core.memcached_decr_misses),
    ("decr_hits", |core| &core.memcached_decr_hits),
    ("cas_misses", |core| &core.memcached_cas_misses),
    ("cas_hits", |core| &core.memcached_cas_hits),
    ("cas_badval", |core| &core.memcached_cas_badval),
    ("touch_hits", |core| &core.memcached_touch_hits),
    ("touch_misses", |core| &core.memcached_touch_misses),
    ("store_too_large", |core| &core.memcached_store_too_large),
    ("store_no_memory", |core| &core.memcached_store_no_memory),
    ("auth_cmds", |core| &core.memcached_auth_cmds),
    ("auth_errors", |core| &core.memcached_auth_errors),
    ("bytes_read", |core| &core.net_input_bytes),
    ("bytes_written", |core| &core.net_output_bytes),
];

/// What memcached counts and what does not happen here.
const NEVER: &[&str] = &[
    "get_expired",
    "get_flushed",
    "conn_yields",
    "listen_disabled_num",
    "time_in_listen_disabled_us",
    "hash_is_expanding",
    "slab_reassign_running",
    "slabs_moved",
    "malloc_fails",
    "expired_unfetched",
    "evicted_unfetched",
    "evicted_active",
    "crawler_reclaimed",
    "crawler_items_checked",
    "lru_maintainer_juggles",
    "lrutail_reflocked",
    "moves_to_cold",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
];

fn general(call: &mut Call) -> Result<(), Stop> {
    use nix::sys::resource::{UsageWho, getrusage};
    let totals = totals(call)?;
    let (shared, now) = (call.shared, clock::now());
    stat(call, "pid", std::process::id());
    stat(call, "uptime", now.saturating_sub(shared.started) / 1000);
    stat(call, "time", now / 1000);
    stat(call, "version", answer::VERSION);
    stat(call, "pointer_size", usize::BITS);
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        for (name, time) in [("rusage_user", usage.user_time()), ("rusage_system", usage.system_time())] {
            stat(call, name, format_args!("{}.{:06}", time.tv_sec(), time.tv_usec()));
        }
    }
    stat(call, "max_connections", shared.clients.max.load(Relaxed));
    stat(call, "curr_connections", shared.clients.len());
    for (name, counter) in COUNTS {
        stat(call, name, total(&shared.stats, counter));
    }
    stat(call, "limit_maxbytes", shared.settings.max_memory_bytes.load(Relaxed));
    stat(call, "accepting_conns", 1);
    stat(call, "threads", shared.cores);
    stat(call, "hash_power_level", totals.databases[0].0.max(1).ilog2());
    stat(call, "hash_bytes", totals.used_bytes - totals.dataset_bytes);
    stat(call, "bytes", totals.used_bytes);
    stat(call, "curr_items", totals.databases[0].0);
    stat(call, "total_items", total(&shared.stats, |core| &core.memcached_cmd_set));
    stat(call, "evictions", totals.evicted);
    stat(call, "reclaimed", totals.expired);
    for name in NEVER {
        stat(call, name, 0);
    }
    Ok(())
}

fn settings(call: &mut Call) {
    let shared = call.shared;
    let policy = *shared.settings.policy.lock();
    let address = shared.options.bind.first().map_or(String::new(), |address| address.to_string());
    stat(call, "maxbytes", shared.settings.max_memory_bytes.load(Relaxed));
    stat(call, "maxconns", shared.clients.max.load(Relaxed));
    stat(call, "tcpport", shared.memcached_port);
    stat(call, "udpport", 0);
    stat(call, "inter", address);
    stat(call, "verbosity", 0);
    stat(call, "oldest", 0);
    stat(call, "evictions", if policy == Policy::NoEviction { "off" } else { "on" });
    stat(call, "domain_socket", "NULL");
    stat(call, "umask", 700);
    stat(call, "growth_factor", "1.00");
    stat(call, "chunk_size", 20);
    stat(call, "num_threads", shared.cores);
    stat(call, "num_threads_per_udp", 0);
    stat(call, "stat_key_prefix", ":");
    stat(call, "detail_enabled", "no");
    stat(call, "reqs_per_event", limits::TURN_REQUESTS_MAX);
    stat(call, "cas_enabled", "yes");
    stat(call, "tcp_backlog", shared.options.tcp_backlog);
    let authenticates = if shared.settings.needs_password() { "yes" } else { "no" };
    stat(call, "auth_enabled_ascii", authenticates);
    stat(call, "auth_enabled_sasl", "no");
    stat(call, "binding_protocol", "ascii");
    stat(call, "item_size_max", shared.settings.memcached_item_bytes);
    stat(call, "maxconns_fast", "yes");
    stat(call, "flush_enabled", "yes");
    stat(call, "dump_enabled", "no");
    stat(call, "hash_algorithm", "ahash");
    stat(call, "lru_crawler", "yes");
    stat(call, "lru_maintainer_thread", "yes");
    stat(call, "lru_segmented", "yes");
    stat(call, "idle_timeout", shared.settings.timeout_s.load(Relaxed));
    stat(call, "tail_repair_time", 0);
    stat(call, "slab_reassign", "yes");
    stat(call, "ssl_enabled", "no");
}

fn items(call: &mut Call) -> Result<(), Stop> {
    let totals = totals(call)?;
    let number = totals.databases[0].0;
    if number == 0 {
        return Ok(());
    }
    let age = totals.eviction_age_millis / 1000;
    stat(call, "items:1:number", number);
    for (name, value) in [
        ("age", age),
        ("mem_requested", totals.dataset_bytes),
        ("evicted", totals.evicted),
        ("evicted_nonzero", 0),
        ("evicted_time", age),
        ("outofmemory", 0),
        ("tailrepairs", 0),
        ("reclaimed", totals.expired),
        ("expired_unfetched", 0),
        ("evicted_unfetched", 0),
        ("evicted_active", 0),
        ("crawler_reclaimed", 0),
        ("crawler_items_checked", 0),
        ("lrutail_reflocked", 0),
    ] {
        stat(call, format_args!("items:1:{name}"), value);
    }
    Ok(())
}

/// `stats cachedump CLASS LIMIT`: some keys, those that can be written on a line, with the length of the value and when it
/// expires.
fn dump(call: &mut Call) -> Result<(), Stop> {
    let most = match line::unsigned(call.arg(3)) {
        Some(0) | None => limits::MEMCACHED_DUMPED_KEYS_MAX,
        Some(most) => limits::MEMCACHED_DUMPED_KEYS_MAX.min(most as usize),
    };
    if call.arg(2) != b"1" {
        return Ok(());
    }
    call.room(most * (limits::MEMCACHED_KEY_MAX_BYTES + DUMPED_ROOM_BYTES))?;
    let (now, mut left) = (call.now, most);
    for number in 0..call.guards.keyspace().shards() {
        let shard = call.guards.lock_number(number).map_err(|_| Stop::Busy)?;
        let reply = &mut *call.reply;
        let mut cursor = 0;
        while left > 0 {
            cursor = shard.scan(0, cursor, left, now, |key, entry| {
                let is_shown = key.len() <= limits::MEMCACHED_KEY_MAX_BYTES && key.iter().all(u8::is_ascii_graphic);
                if left > 0 && is_shown {
                    left -= 1;
                    reply.write(b"ITEM ");
                    reply.write(key);
                    let expires = entry.expires_at.map_or(0, |at| at / 1000);
                    let about = format!(" [{} b; {expires} s]", entry.value.as_slice().len());
                    answer::line(reply, &about);
                }
            });
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// What stands around a key.
const DUMPED_ROOM_BYTES: usize = 50;

fn slabs(call: &mut Call) -> Result<(), Stop> {
    let totals = totals(call)?;
    let number = totals.databases[0].0 as u64;
    let stats = &call.shared.stats;
    let count = |counter: fn(&CoreStats) -> &Counter| total(stats, counter);
    if let Some(of_each) = totals.used_bytes.checked_div(number) {
        let of_each = of_each.max(1);
        for (name, value) in [
            ("chunk_size", of_each),
            ("chunks_per_page", ((1 << 20) / of_each).max(1)),
            ("total_pages", totals.used_bytes >> 20),
            ("total_chunks", number),
            ("used_chunks", number),
            ("free_chunks", 0),
            ("free_chunks_end", 0),
            ("mem_requested", totals.dataset_bytes),
            ("get_hits", count(|core| &core.memcached_get_hits)),
            ("cmd_set", count(|core| &core.memcached_cmd_set)),
            ("delete_hits", count(|core| &core.memcached_delete_hits)),
            ("incr_hits", count(|core| &core.memcached_incr_hits)),
            ("decr_hits", count(|core| &core.memcached_decr_hits)),
            ("cas_hits", count(|core| &core.memcached_cas_hits)),
            ("cas_badval", count(|core| &core.memcached_cas_badval)),
            ("touch_hits", count(|core| &core.memcached_touch_hits)),
        ] {
            stat(call, format_args!("1:{name}"), value);
        }
    }
    stat(call, "active_slabs", u64::from(number > 0));
    stat(call, "total_malloced", totals.used_bytes);
    Ok(())
}
