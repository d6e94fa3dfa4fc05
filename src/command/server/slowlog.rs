//! SLOWLOG and Valkey's COMMANDLOG, and what is noted of a command that was slow, or large.

use crate::base::clock::UnixMillis;
use crate::command::ConnectionState;
use crate::command::timing::Slow;
use crate::command::{Call, Command, Flags, Found, Group, Table, is_word, parse_integer, reply_help};
use crate::message::error::Stop;
use crate::message::request::Arguments;
use crate::observe::slowlog::{CommandLog, Entry};
use crate::shared::Shared;

pub const COMMANDS: &[Command] = &[
    Command::container("slowlog", Group::Server, SLOWLOG).doc("2.2.12", "", "A container for slow log commands."),
    Command::container("commandlog", Group::Server, COMMANDLOG).doc(
        "8.1.0",
        "",
        "A container for command log commands (from Valkey).",
    ),
];

const SLOWLOG: &[Command] = &[
    row("get", -2, get).flags(Flags::ADMIN.union(Flags::TELLS)).doc(
        "2.2.12",
        "[count]",
        "Returns the slow log's entries.",
    ),
    row("len", 2, len).doc("2.2.12", "", "Returns the number of entries in the slow log."),
    row("reset", 2, reset).doc("2.2.12", "", "Clears all entries from the slow log."),
    row("help", 2, help).flags(Flags::empty()).doc(
        "6.2.0",
        "",
        "Returns helpful text about the different subcommands.",
    ),
];

const COMMANDLOG: &[Command] = &[
    row("get", 4, commandlog_get).flags(Flags::ADMIN.union(Flags::TELLS)).doc(
        "8.1.0",
        "count <SLOW | LARGE-REQUEST | LARGE-REPLY>",
        "Returns the latest entries of a command log.",
    ),
    row("len", 3, commandlog_len).doc(
        "8.1.0",
        "<SLOW | LARGE-REQUEST | LARGE-REPLY>",
        "Returns the number of entries in a command log.",
    ),
    row("reset", 3, commandlog_reset).doc(
        "8.1.0",
        "<SLOW | LARGE-REQUEST | LARGE-REPLY>",
        "Clears all entries from a command log.",
    ),
    row("help", 2, commandlog_help).flags(Flags::empty()).doc(
        "8.1.0",
        "",
        "Returns helpful text about the different subcommands.",
    ),
];

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run).flags(Flags::ADMIN)
}

fn get(call: &mut Call) -> Result<(), Stop> {
    let count = match call.args.len() {
        2 => 10,
        3 => count(call.arg(2))?,
        _ => return Err(crate::command::wrong_form(call.args)),
    };
    reply_entries(call, &call.shared.command_logs.slow, count);
    Ok(())
}

fn count(text: &[u8]) -> Result<usize, Stop> {
    match parse_integer(text) {
        Some(-1) => Ok(usize::MAX),
        Some(count @ 0..) => Ok(count as usize),
        _ => Err("ERR count should be greater than or equal to -1".into()),
    }
}

fn reply_entries(call: &mut Call, log: &CommandLog, count: usize) {
    let entries = log.latest(count);
    let reply = &mut *call.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.unix_seconds as i64);
        reply.integer(entry.value as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.address.as_bytes());
        reply.bulk(entry.client_name.as_bytes());
    }
}

fn len(call: &mut Call) -> Result<(), Stop> {
    call.reply.integer(call.shared.command_logs.slow.len() as i64);
    Ok(())
}

fn reset(call: &mut Call) -> Result<(), Stop> {
    call.shared.command_logs.slow.clear();
    call.reply.ok();
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "slowlog", SLOWLOG);
    Ok(())
}

/// The log that an argument names.
fn named<'s>(shared: &'s Shared, name: &[u8]) -> Result<&'s CommandLog, Stop> {
    let logs = &shared.command_logs;
    match name {
        _ if is_word(name, "slow") => Ok(&logs.slow),
        _ if is_word(name, "large-request") => Ok(&logs.large_requests),
        _ if is_word(name, "large-reply") => Ok(&logs.large_replies),
        _ => Err("ERR type should be one of the following: slow, large-request, large-reply".into()),
    }
}

fn commandlog_get(call: &mut Call) -> Result<(), Stop> {
    let count = count(call.arg(2))?;
    let log = named(call.shared, call.arg(3))?;
    reply_entries(call, log, count);
    Ok(())
}

fn commandlog_len(call: &mut Call) -> Result<(), Stop> {
    let entries = named(call.shared, call.arg(2))?.len();
    call.reply.integer(entries as i64);
    Ok(())
}

fn commandlog_reset(call: &mut Call) -> Result<(), Stop> {
    named(call.shared, call.arg(2))?.clear();
    call.reply.ok();
    Ok(())
}

fn commandlog_help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "commandlog", COMMANDLOG);
    Ok(())
}

/// Enters what was slow into the slow log and the latency monitor, as far as it was slow enough for each.
#[cold]
pub fn note(
    shared: &Shared,
    now: UnixMillis,
    state: &ConnectionState,
    found: Option<Found>,
    args: Arguments,
    slow: &Slow,
) {
    let Some((place, row)) = found else { return };
    if slow.nanos >= shared.latency.threshold_nanos() {
        let name = if row.flags.intersects(Flags::FAST) { "fast-command" } else { "command" };
        shared.latency.note(name, now / 1000, slow.nanos / 1_000_000);
    }
    if slow.nanos < shared.command_logs.slow.threshold_nanos() {
        return;
    }
    let more = (slow.count > 1).then(|| format!("... ({} more commands of a pipeline)", slow.count - 1));
    let mut entry = entry(shared, now, state, args, row, slow.nanos / 1000);
    entry.args.extend(more.map(String::into_bytes));
    enter(&shared.command_logs.slow, place, entry);
}

/// Enters what was large into the log that it belongs to, by its bytes.
#[cold]
pub fn note_large(
    log: &CommandLog,
    shared: &Shared,
    now: UnixMillis,
    state: &ConnectionState,
    found: Option<Found>,
    args: Arguments,
    bytes: usize,
) {
    if let Some((place, row)) = found
        && bytes >= log.threshold_bytes()
    {
        enter(log, place, entry(shared, now, state, args, row, bytes as u64));
    }
}

/// The bytes of a request's arguments.
pub fn request_bytes(args: Arguments) -> usize {
    args.iter().map(<[u8]>::len).sum()
}

/// A password has no place in a log, nor has a command whose parts are logged for themselves.
fn enter(log: &CommandLog, place: usize, entry: Entry) {
    if !matches!(Table::get().names()[place].as_str(), "auth" | "exec") {
        log.add(entry);
    }
}

fn entry(
    shared: &Shared,
    now: UnixMillis,
    state: &ConnectionState,
    args: Arguments,
    row: &Command,
    value: u64,
) -> Entry {
    let shown = args.iter().enumerate().map(|(at, arg)| if (row.is_secret)(args, at) { b"(redacted)" } else { arg });
    Entry {
        id: 0,
        unix_seconds: now / 1000,
        value,
        args: shared.command_logs.excerpt(shown),
        address: state.client.addresses(&shared.unix_path()).0,
        client_name: state.client.labels().name.clone(),
    }
}
