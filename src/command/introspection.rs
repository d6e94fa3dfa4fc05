//! COMMAND: the table of commands, told to clients.

use super::{Call, Command, Flags, Group, Keys, Table, is_word, reply_help, run_subcommand};
use crate::error::{self, Stop};
use crate::glob;
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[Command::new("command", -1, Group::Server, command).subcommands(SUBCOMMANDS).doc(
    "2.8.13",
    "",
    "Returns detailed information about all commands.",
)];

const SUBCOMMANDS: &[Command] = &[
    row("count", 2, count).doc("2.8.13", "", "Returns a count of commands."),
    row("info", -2, info).doc("2.8.13", "[command-name [command-name ...]]", "Returns information about commands."),
    row("docs", -2, docs).doc("7.0.0", "[command-name [command-name ...]]", "Returns documentation about commands."),
    row("list", -2, list).doc(
        "7.0.0",
        "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        "Returns a list of command names.",
    ),
    row("help", 2, help).doc("5.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, run: super::Run) -> Command {
    Command::new(name, arity, Group::Server, run)
}

fn command(call: &mut Call) -> Result<(), Stop> {
    if call.args.len() > 1 {
        return run_subcommand(call, "command", SUBCOMMANDS);
    }
    reply_all(call.reply);
    Ok(())
}

/// Every row's information.
fn reply_all(reply: &mut Reply) {
    let rows = Table::get().rows();
    reply.array(rows.len());
    rows.iter().for_each(|row| reply_info(reply, row, None));
}

fn count(call: &mut Call) -> Result<(), Stop> {
    call.reply.integer(Table::get().rows().len() as i64);
    Ok(())
}

fn info(call: &mut Call) -> Result<(), Stop> {
    if call.args.len() == 2 {
        reply_all(call.reply);
        return Ok(());
    }
    call.reply.array(call.args.len() - 2);
    for name in call.args.iter().skip(2) {
        match find(name) {
            Some((container, row)) => reply_info(call.reply, row, container),
            None => call.reply.null(),
        }
    }
    Ok(())
}

/// A command, or a subcommand as `client|id` with its container's name.
fn find(name: &[u8]) -> Option<(Option<&'static str>, &'static Command)> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let (_, row) = Table::get().find(parts.next()?)?;
    match parts.next() {
        None => Some((None, row)),
        Some(sub) => {
            let sub = row.subcommands.iter().find(|known| known.name.as_bytes().eq_ignore_ascii_case(sub))?;
            Some((Some(row.name), sub))
        }
    }
}

fn full_name(container: Option<&str>, row: &Command) -> String {
    container.map_or(row.name.to_owned(), |container| format!("{container}|{}", row.name))
}

/// The ten elements of COMMAND INFO.
fn reply_info(reply: &mut Reply, row: &Command, container: Option<&'static str>) {
    reply.array(10);
    reply.bulk(full_name(container, row).as_bytes());
    reply.integer(row.arity as i64);
    reply.set(row.flags.names().count() + row.keys.counted as usize);
    row.flags.names().for_each(|flag| reply.simple(flag));
    if row.keys.counted {
        // The three numbers cannot say where the keys are; the key specifications below do.
        reply.simple("movablekeys");
    }
    let places = if row.keys.counted { Keys::NONE } else { row.keys };
    for place in [places.first, places.last, places.step] {
        reply.integer(place as i64);
    }
    let categories = categories(row);
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(&format!("@{category}")));
    reply.array(0);
    reply_key_specs(reply, row);
    reply.array(row.subcommands.len());
    row.subcommands.iter().for_each(|sub| reply_info(reply, sub, Some(row.name)));
}

fn reply_key_specs(reply: &mut Reply, row: &Command) {
    if row.keys == Keys::NONE {
        return reply.array(0);
    }
    reply.array(1);
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.simple(if row.flags.has(Flags::WRITE) { "RW" } else { "RO" });
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.integer(row.keys.first as i64 - row.keys.counted as i64);
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(if row.keys.counted { b"keynum" } else { b"range".as_slice() });
    reply.bulk(b"spec");
    reply.map(3);
    if row.keys.counted {
        for (name, value) in [("keynumidx", 0), ("firstkey", 1), ("keystep", row.keys.step)] {
            reply.bulk(name.as_bytes());
            reply.integer(value as i64);
        }
        return;
    }
    reply.bulk(b"lastkey");
    reply.integer(if row.keys.last < 0 { row.keys.last } else { row.keys.last - row.keys.first } as i64);
    reply.bulk(b"keystep");
    reply.integer(row.keys.step as i64);
    reply.bulk(b"limit");
    reply.integer(0);
}

fn categories(row: &Command) -> Vec<&'static str> {
    let mut names = Vec::new();
    match row.group {
        Group::Bitmap => names.push("bitmap"),
        Group::Connection => names.push("connection"),
        Group::Generic => names.push("keyspace"),
        Group::String => names.push("string"),
        Group::Transactions => names.push("transaction"),
        Group::Server => {}
    }
    if row.flags.has(Flags::WRITE) {
        names.push("write");
    }
    if row.flags.has(Flags::READONLY) {
        names.push("read");
    }
    if row.flags.has(Flags::ADMIN) {
        names.extend(["admin", "dangerous"]);
    }
    names.push(if row.flags.has(Flags::FAST) { "fast" } else { "slow" });
    names
}

fn docs(call: &mut Call) -> Result<(), Stop> {
    let found: Vec<_> = if call.args.len() == 2 {
        Table::get().rows().iter().map(|row| (None, *row)).collect()
    } else {
        call.args.iter().skip(2).filter_map(find).collect()
    };
    call.reply.map(found.len());
    for (container, row) in found {
        reply_docs(call.reply, row, container);
    }
    Ok(())
}

fn reply_docs(reply: &mut Reply, row: &Command, container: Option<&'static str>) {
    reply.bulk(full_name(container, row).as_bytes());
    reply.map(3 + !row.subcommands.is_empty() as usize);
    for (name, text) in [("summary", row.summary), ("since", row.since), ("group", row.group.name())] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !row.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(row.subcommands.len());
        row.subcommands.iter().for_each(|sub| reply_docs(reply, sub, Some(row.name)));
    }
}

fn list(call: &mut Call) -> Result<(), Stop> {
    let rows = Table::get().rows().iter();
    let names: Vec<&str> = match call.args.len() {
        2 => rows.map(|row| row.name).collect(),
        5 if is_word(call.arg(2), "FILTERBY") => {
            let wanted = call.arg(4);
            if is_word(call.arg(3), "PATTERN") {
                rows.map(|row| row.name).filter(|name| glob::matches(wanted, name.as_bytes())).collect()
            } else if is_word(call.arg(3), "ACLCAT") {
                rows.filter(|row| categories(row).iter().any(|name| is_word(wanted, name)))
                    .map(|row| row.name)
                    .collect()
            } else if is_word(call.arg(3), "MODULE") {
                Vec::new()
            } else {
                return Err(error::SYNTAX.into());
            }
        }
        _ => return Err(error::SYNTAX.into()),
    };
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "command", SUBCOMMANDS);
    Ok(())
}
