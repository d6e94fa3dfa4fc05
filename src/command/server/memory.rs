//! MEMORY: what keys and the server hold of it.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::{Call, Command, Flags, Group, Keys, is_word, reply_help};
use crate::config::host;
use crate::config::units::human;
use crate::message::error::{self, Stop};
use crate::script::library::Held;
use crate::store::shard::DATABASES;

pub const COMMANDS: &[Command] = &[Command::container("memory", Group::Server, SUBCOMMANDS)
    .flags(Flags::READONLY)
    .doc("4.0.0", "", "A container for memory diagnostics commands.")];

const SUBCOMMANDS: &[Command] = &[
    row("doctor", 2, doctor).doc("4.0.0", "", "Outputs a memory problems report."),
    row("malloc-stats", 2, malloc_stats).doc("4.0.0", "", "Returns the allocator statistics."),
    row("purge", 2, purge).doc("4.0.0", "", "Asks the allocator to release memory."),
    row("stats", 2, stats).doc("4.0.0", "", "Returns details about memory usage."),
    row("usage", -3, usage).flags(Flags::READONLY).keys(Keys::SECOND).doc(
        "4.0.0",
        "key [SAMPLES count]",
        "Estimates the memory usage of a key.",
    ),
    row("help", 2, help).doc("4.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run)
}

/// Values have no parts of which samples could be taken: the answer is exact, whatever is asked for.
fn usage(call: &mut Call) -> Result<(), Stop> {
    match call.args.len() {
        3 => {}
        5 if is_word(call.arg(3), "SAMPLES") => {
            if call.integer(4)? < 0 {
                return Err(error::SYNTAX.into());
            }
        }
        _ => return Err(error::SYNTAX.into()),
    }
    let key = call.key_at(2);
    match call.guards.shard(key.hash).memory_usage(key, call.now) {
        Some(bytes) => call.reply.integer(bytes as i64),
        None => call.reply.null(),
    }
    Ok(())
}

/// What of the memory is held for what.
struct Account {
    total: u64,
    data: u64,
    keys_and_values: u64,
    keys: u64,
    /// The index of each database, of those that have keys.
    indexes: Vec<(u8, u64)>,
    clients: u64,
    scripts: Held,
    buffers: u64,
    peak: u64,
    resident: u64,
    cap: u64,
}

impl Account {
    fn of(call: &mut Call) -> Result<Account, Stop> {
        let (mut data, mut keys_and_values, mut keys) = (0, 0, 0);
        let mut databases = [(0, 0); DATABASES];
        call.all()?.each(|shard| {
            let stats = shard.stats();
            data += stats.used_bytes;
            keys_and_values += stats.dataset_bytes;
            keys += stats.items;
            for (database, (items, bytes)) in (0..).zip(&mut databases) {
                *items += shard.len_of(database).0;
                *bytes += shard.index_bytes_of(database);
            }
        });
        let shared = call.shared;
        let total = shared.used_bytes(data);
        let used = (0..).zip(databases).filter(|(_, (items, _))| *items > 0);
        Ok(Account {
            total,
            data,
            keys_and_values,
            keys,
            indexes: used.map(|(database, (_, bytes))| (database, bytes)).collect(),
            clients: shared.client_bytes() as u64,
            scripts: shared.scripts.held(),
            buffers: shared.settings.registered_bytes as u64,
            peak: shared.rates.peak(total),
            resident: host::resident_bytes(),
            cap: shared.settings.max_memory_bytes.load(Relaxed),
        })
    }

    /// As Redis names it; what a cache without replicas and files has not is 0. jemalloc is not asked: between what is
    /// accounted for and what the process holds there is nothing to tell apart.
    fn numbers(&self) -> Vec<(&'static str, u64)> {
        let unused = self.resident.saturating_sub(self.total);
        vec![
            ("peak.allocated", self.peak),
            ("total.allocated", self.total),
            ("startup.allocated", self.buffers),
            ("replication.backlog", 0),
            ("replica.fullsync.buffer", 0),
            ("clients.slaves", 0),
            ("clients.normal", self.clients),
            ("cluster.links", 0),
            ("aof.buffer", 0),
            ("lua.caches", self.scripts.script_bytes as u64),
            ("functions.caches", self.scripts.function_bytes as u64),
            ("script.VMs", self.scripts.interpreter_bytes as u64),
            ("overhead.db.hashtable.lut", self.indexes.iter().map(|(_, bytes)| bytes).sum()),
            ("overhead.db.hashtable.rehashing", 0),
            ("overhead.total", self.total - self.keys_and_values.min(self.total)),
            ("db.dict.rehashing.count", 0),
            ("keys.count", self.keys),
            ("keys.bytes-per-key", self.data.checked_div(self.keys).unwrap_or(0)),
            ("dataset.bytes", self.keys_and_values),
            ("allocator.allocated", self.total),
            ("allocator.active", self.resident),
            ("allocator.resident", self.resident),
            ("allocator.muzzy", 0),
            ("allocator-fragmentation.bytes", unused),
            ("allocator-rss.bytes", 0),
            ("rss-overhead.bytes", 0),
            ("fragmentation.bytes", unused),
        ]
    }

    fn shares(&self) -> Vec<(&'static str, f64)> {
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        vec![
            ("dataset.percentage", 100.0 * share(self.keys_and_values, self.total)),
            ("peak.percentage", 100.0 * share(self.total, self.peak)),
            ("allocator-fragmentation.ratio", share(self.resident, self.total)),
            ("allocator-rss.ratio", 1.0),
            ("rss-overhead.ratio", 1.0),
            ("fragmentation", share(self.resident, self.total)),
        ]
    }
}

fn stats(call: &mut Call) -> Result<(), Stop> {
    let account = Account::of(call)?;
    let (numbers, shares) = (account.numbers(), account.shares());
    let reply = &mut *call.reply;
    reply.map(numbers.len() + account.indexes.len() + shares.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(number as i64);
    }
    for (database, bytes) in &account.indexes {
        reply.bulk(format!("db.{database}").as_bytes());
        reply.map(2);
        reply.bulk(b"overhead.hashtable.main");
        reply.integer(*bytes as i64);
        // An item carries its time of expiry itself.
        reply.bulk(b"overhead.hashtable.expires");
        reply.integer(0);
    }
    for (name, share) in shares {
        reply.bulk(name.as_bytes());
        reply.double(&share.to_string());
    }
    Ok(())
}

fn doctor(call: &mut Call) -> Result<(), Stop> {
    let account = Account::of(call)?;
    let room = account.cap.saturating_sub(account.total);
    call.reply.text(&format!(
        "{} of {} are in use ({} by data, {} by requests and replies under way, {} by scripts, {} by registered buffers), \
         {} are free; the process holds {}.\n",
        human(account.total),
        human(account.cap),
        human(account.data),
        human(account.clients),
        human(account.scripts.bytes() as u64),
        human(account.buffers),
        human(room),
        human(account.resident),
    ));
    Ok(())
}

/// The allocator keeps nothing that it does not need.
fn purge(call: &mut Call) -> Result<(), Stop> {
    call.reply.ok();
    Ok(())
}

fn malloc_stats(call: &mut Call) -> Result<(), Stop> {
    call.reply.text("Stats not supported for the current allocator");
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "memory", SUBCOMMANDS);
    Ok(())
}
