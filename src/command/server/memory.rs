//! MEMORY: what keys and the server hold of it.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::{Call, Command, Flags, Group, Keys, is_word, reply_help};
use crate::config::host;
use crate::config::units::human;
use crate::message::error::{self, Stop};

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

/// What of the memory is held for what, under the names that clients know.
struct Account {
    total: u64,
    data: u64,
    keys_and_values: u64,
    keys: u64,
    clients: u64,
    buffers: u64,
    resident: u64,
    cap: u64,
}

impl Account {
    fn of(call: &mut Call) -> Result<Account, Stop> {
        let (mut data, mut keys_and_values, mut keys) = (0, 0, 0);
        call.all()?.each(|shard| {
            let stats = shard.stats();
            data += stats.used_bytes;
            keys_and_values += stats.dataset_bytes;
            keys += stats.items;
        });
        let clients = call.shared.clients.memory.used_bytes() as u64;
        let buffers = call.shared.settings.registered_bytes as u64;
        let hot = call.shared.keyspace.hot().held_bytes();
        Ok(Account {
            total: data + clients + buffers + hot,
            data,
            keys_and_values,
            keys,
            clients,
            buffers,
            resident: host::resident_bytes(),
            cap: call.shared.settings.max_memory_bytes.load(Relaxed),
        })
    }

    fn overhead(&self) -> u64 {
        self.total - self.keys_and_values.min(self.total)
    }
}

fn stats(call: &mut Call) -> Result<(), Stop> {
    let account = Account::of(call)?;
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let shared = call.shared;
    let (_, sources) = shared.scripts.totals();
    let interpreters = shared.scripts.interpreter_bytes() as u64;
    // As Redis names them; what a cache without replicas and files has not is 0.
    let numbers = [
        ("peak.allocated", shared.rates.peak(account.total)),
        ("total.allocated", account.total),
        ("startup.allocated", account.buffers),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", account.clients - (interpreters + sources as u64).min(account.clients)),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", interpreters + sources as u64),
        ("functions.caches", 0),
        ("overhead.db.hashtable.lut", account.data - account.keys_and_values.min(account.data)),
        ("overhead.db.hashtable.rehashing", 0),
        ("overhead.total", account.overhead()),
        ("db.dict.rehashing.count", 0),
        ("keys.count", account.keys),
        ("keys.bytes-per-key", account.data.checked_div(account.keys).unwrap_or(0)),
        ("dataset.bytes", account.keys_and_values),
        ("allocator.allocated", account.total),
        ("allocator.active", account.resident),
        ("allocator.resident", account.resident),
        ("fragmentation.bytes", account.resident.saturating_sub(account.total)),
    ];
    let shares = [
        ("dataset.percentage", 100.0 * share(account.keys_and_values, account.total)),
        ("peak.percentage", 100.0 * share(account.total, shared.rates.peak(account.total))),
        ("fragmentation", share(account.resident, account.total)),
    ];
    call.reply.map(numbers.len() + shares.len());
    for (name, number) in numbers {
        call.reply.bulk(name.as_bytes());
        call.reply.integer(number as i64);
    }
    for (name, share) in shares {
        call.reply.bulk(name.as_bytes());
        call.reply.double(&share.to_string());
    }
    Ok(())
}

fn doctor(call: &mut Call) -> Result<(), Stop> {
    let account = Account::of(call)?;
    let room = account.cap.saturating_sub(account.total);
    call.reply.text(&format!(
        "{} of {} are in use ({} by data, {} by requests and replies under way, {} by registered buffers), {} are free; \
         the process holds {}.\n",
        human(account.total),
        human(account.cap),
        human(account.data),
        human(account.clients),
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
