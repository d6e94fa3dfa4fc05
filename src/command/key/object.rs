//! OBJECT: how a value would be kept by Redis, and how a key has been used.

use crate::command::{Call, Command, Flags, Group, Keys, parse_integer, reply_help};
use crate::config::OrderKind;
use crate::message::error::Stop;

pub const COMMANDS: &[Command] = &[Command::container("object", Group::Generic, SUBCOMMANDS)
    .flags(Flags::READONLY)
    .doc("2.2.3", "", "A container for object introspection commands.")];

const SUBCOMMANDS: &[Command] = &[
    row("encoding", encoding).doc("2.2.3", "key", "Returns the internal encoding of a Redis object."),
    row("freq", freq).doc("4.0.0", "key", "Returns the logarithmic access frequency counter of a Redis object."),
    row("idletime", idletime).doc("2.2.3", "key", "Returns the time since the last access to a Redis object."),
    row("refcount", refcount).doc("2.2.3", "key", "Returns the reference count of a value of a key."),
    Command::new("help", 2, Group::Generic, help).doc(
        "6.2.0",
        "",
        "Returns helpful text about the different subcommands.",
    ),
];

const fn row(name: &'static str, run: crate::command::Run) -> Command {
    Command::new(name, 3, Group::Generic, run).flags(Flags::READONLY).keys(Keys::SECOND)
}

/// The longest text that Redis keeps in one allocation with its header.
const EMBEDDED_MAX_BYTES: usize = 44;

fn encoding(call: &mut Call) -> Result<(), Stop> {
    let name = call.peek(call.key_at(2)).map(|entry| match entry.value.as_slice() {
        text if parse_integer(text).is_some() => "int",
        text if text.len() <= EMBEDDED_MAX_BYTES => "embstr",
        _ => "raw",
    });
    match name {
        Some(name) => call.reply.bulk(name.as_bytes()),
        None => call.reply.null(),
    }
    Ok(())
}

const NO_LFU: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                      switching between policies at runtime LRU and LFU data will take some time to adjust.";
const NO_IDLE_TIME: &str = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
                            switching between policies at runtime LRU and LFU data will take some time to adjust.";

fn freq(call: &mut Call) -> Result<(), Stop> {
    let (key, counts) = (call.key_at(2), counts_uses(call));
    match call.guards.shard(key.hash).frequency(key, call.now) {
        None => call.reply.null(),
        Some(_) if !counts => return Err(NO_LFU.into()),
        Some(frequency) => call.reply.integer(frequency.into()),
    }
    Ok(())
}

fn idletime(call: &mut Call) -> Result<(), Stop> {
    let (key, counts) = (call.key_at(2), counts_uses(call));
    match call.guards.shard(key.hash).idle_millis(key, call.now) {
        None => call.reply.null(),
        Some(_) if counts => return Err(NO_IDLE_TIME.into()),
        Some(idle_millis) => call.reply.integer((idle_millis / 1000) as i64),
    }
    Ok(())
}

/// Whether the policy counts how often a key is used, instead of noting when.
fn counts_uses(call: &Call) -> bool {
    call.shared.settings.policy.lock().order() == OrderKind::Lfu
}

fn refcount(call: &mut Call) -> Result<(), Stop> {
    match call.peek(call.key_at(2)).is_some() {
        true => call.reply.integer(1),
        false => call.reply.null(),
    }
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "object", SUBCOMMANDS);
    Ok(())
}
