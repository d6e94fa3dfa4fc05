//! SLOWLOG, and what is noted of a command that was slow.

use crate::base::clock::UnixMillis;
use crate::command::ConnectionState;
use crate::command::timing::Slow;
use crate::command::{Call, Command, Flags, Found, Group, Table, parse_integer, reply_help};
use crate::message::error::Stop;
use crate::message::request::Arguments;
use crate::observe::slowlog::{Entry, excerpt};
use crate::shared::Shared;

pub const COMMANDS: &[Command] =
    &[Command::container("slowlog", Group::Server, SLOWLOG).doc("2.2.12", "", "A container for slow log commands.")];

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

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run).flags(Flags::ADMIN)
}

fn get(call: &mut Call) -> Result<(), Stop> {
    let count = match call.args.len() {
        2 => 10,
        3 => match parse_integer(call.arg(2)) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => count as usize,
            _ => return Err("ERR count should be greater than or equal to -1".into()),
        },
        _ => return Err(crate::command::wrong_form(call.args)),
    };
    let entries = call.shared.slowlog.latest(count);
    let reply = &mut *call.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.unix_seconds as i64);
        reply.integer(entry.micros as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.address.as_bytes());
        reply.bulk(entry.client_name.as_bytes());
    }
    Ok(())
}

fn len(call: &mut Call) -> Result<(), Stop> {
    call.reply.integer(call.shared.slowlog.len() as i64);
    Ok(())
}

fn reset(call: &mut Call) -> Result<(), Stop> {
    call.shared.slowlog.clear();
    call.reply.ok();
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "slowlog", SLOWLOG);
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
    let name = Table::get().names()[place].as_str();
    // A password, or a command whose parts are logged for themselves.
    if slow.nanos < shared.slowlog.threshold_nanos() || matches!(name, "auth" | "exec") {
        return;
    }
    let shown = args.iter().enumerate().map(|(at, arg)| if (row.is_secret)(args, at) { b"(redacted)" } else { arg });
    let mut args = excerpt(shown);
    if slow.count > 1 {
        args.push(format!("... ({} more commands of a pipeline)", slow.count - 1).into_bytes());
    }
    shared.slowlog.add(Entry {
        id: 0,
        unix_seconds: now / 1000,
        micros: slow.nanos / 1000,
        args,
        address: state.client.addresses(&shared.unix_path()).0,
        client_name: state.client.labels().name.clone(),
    });
}
