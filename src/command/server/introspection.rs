//! COMMAND: the table of commands, told to clients.

use crate::base::glob;
use crate::command::server::docs;
use crate::command::{Call, Command, Flags, Found, Group, Keys, Table, is_word, reply_help};
use crate::message::error::{self, Stop};
use crate::message::reply::Reply;
use crate::message::request::Arguments;

pub const COMMANDS: &[Command] = &[row("command", -1, command).subcommands(SUBCOMMANDS).doc(
    "2.8.13",
    "",
    "Returns detailed information about all commands.",
)];

const SUBCOMMANDS: &[Command] = &[
    row("count", 2, count).doc("2.8.13", "", "Returns a count of commands."),
    row("info", -2, info).doc("2.8.13", "[command-name [command-name ...]]", "Returns information about commands."),
    row("docs", -2, docs::docs).doc(
        "7.0.0",
        "[command-name [command-name ...]]",
        "Returns documentation about commands.",
    ),
    row("list", -2, list).doc(
        "7.0.0",
        "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        "Returns a list of command names.",
    ),
    row("getkeys", -4, getkeys).doc("2.8.13", "command [arg [arg ...]]", "Extracts the key names from a command."),
    row("getkeysandflags", -4, getkeysandflags).doc(
        "7.0.0",
        "command [arg [arg ...]]",
        "Extracts the key names and access flags from a command.",
    ),
    row("help", 2, help).doc("5.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run).flags(Flags::TELLS)
}

fn command(call: &mut Call) -> Result<(), Stop> {
    reply_all(call.reply);
    Ok(())
}

/// Every row's information.
fn reply_all(reply: &mut Reply) {
    let commands: Vec<_> = Table::get().listed_commands().collect();
    reply.array(commands.len());
    commands.into_iter().for_each(|found| reply_info(reply, found));
}

fn count(call: &mut Call) -> Result<(), Stop> {
    call.reply.integer(Table::get().listed_commands().count() as i64);
    Ok(())
}

fn info(call: &mut Call) -> Result<(), Stop> {
    if call.args.len() == 2 {
        reply_all(call.reply);
        return Ok(());
    }
    call.reply.array(call.args.len() - 2);
    for name in call.args.iter().skip(2) {
        match by_name(name) {
            Some(found) => reply_info(call.reply, found),
            None => call.reply.null(),
        }
    }
    Ok(())
}

/// A command, or a subcommand as `client|id`.
pub fn by_name(name: &[u8]) -> Option<Found> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let found = Table::get().find(parts.next()?)?;
    match parts.next() {
        None => Some(found),
        Some(sub) => Table::get().subcommand(found, sub),
    }
}

/// The ten elements of COMMAND INFO.
fn reply_info(reply: &mut Reply, found: Found) {
    let (place, row) = found;
    reply.array(10);
    reply.bulk(Table::get().names()[place].as_bytes());
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
    // Tips, which are for proxies in front of a cluster.
    reply.set(0);
    let specs = key_specs(row);
    reply.set(specs.len());
    specs.iter().for_each(|(keys, uses)| reply_key_spec(reply, *keys, uses));
    let subcommands: Vec<_> = Table::get().subcommands(found).collect();
    reply.array(subcommands.len());
    subcommands.into_iter().for_each(|sub| reply_info(reply, sub));
}

/// Where keys are, and what is done to them in Redis's words: how they are opened, then what happens to their values.
pub fn key_specs(row: &Command) -> Vec<(Keys, &'static str)> {
    let one = |at| Keys { first: at, last: at, ..Keys::ONE };
    match row.name {
        _ if row.keys == Keys::NONE => Vec::new(),
        "rename" | "renamenx" => vec![(one(1), "RW access delete"), (one(2), "OW update")],
        "copy" => vec![(one(1), "RO access"), (one(2), "OW update")],
        "bitop" => vec![(one(2), "OW update"), (Keys { first: 3, ..Keys::ALL }, "RO access")],
        _ => vec![(row.keys, uses(row))],
    }
}

fn uses(row: &Command) -> &'static str {
    match row.name {
        "set" | "bitfield" => "RW access update variable_flags",
        "del" | "unlink" => "RM delete",
        "getdel" => "RW access delete",
        "append" => "RW insert",
        "setnx" | "msetnx" => "OW insert",
        "mset" | "msetex" | "setex" | "psetex" | "restore" => "OW update",
        "setrange" | "persist" | "expire" | "expireat" | "pexpire" | "pexpireat" => "RW update",
        "exists" | "touch" | "type" | "strlen" | "encoding" | "freq" | "idletime" | "refcount" | "usage" => "RO",
        _ if row.flags.intersects(Flags::READONLY) => "RO access",
        _ => "RW access update",
    }
}

fn reply_key_spec(reply: &mut Reply, keys: Keys, uses: &str) {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(uses.split(' ').count());
    uses.split(' ').for_each(|word| reply.simple(word));
    reply.bulk(b"begin_search");
    // Of a counted list, the search begins at the count.
    reply_spec(reply, "index", &[("index", keys.first - keys.counted as i32)]);
    reply.bulk(b"find_keys");
    if keys.counted {
        reply_spec(reply, "keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", keys.step)]);
    } else {
        let last = if keys.last < 0 { keys.last } else { keys.last - keys.first };
        reply_spec(reply, "range", &[("lastkey", last), ("keystep", keys.step), ("limit", 0)]);
    }
}

fn reply_spec(reply: &mut Reply, kind: &str, fields: &[(&str, i32)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.integer(*value as i64);
    }
}

/// Redis's ACL categories, of which each command is in some.
pub const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

pub fn categories(row: &Command) -> Vec<&'static str> {
    let mut names = Vec::new();
    match row.group {
        Group::Generic => names.push("keyspace"),
        Group::Transactions => names.push("transaction"),
        Group::Server if matches!(row.name, "dbsize" | "flushall" | "flushdb" | "swapdb") => names.push("keyspace"),
        Group::Server if row.name == "command" => names.push("connection"),
        group => names.extend(CATEGORIES.iter().filter(|name| **name == group.name())),
    }
    if row.flags.intersects(Flags::WRITE) {
        names.push("write");
    }
    if row.flags.intersects(Flags::READONLY) {
        names.push("read");
    }
    let is_dangerous = matches!(row.name, "flushall" | "flushdb" | "swapdb" | "keys" | "restore" | "info" | "role");
    if row.flags.intersects(Flags::ADMIN) {
        names.push("admin");
    }
    if row.flags.intersects(Flags::ADMIN) || is_dangerous {
        names.push("dangerous");
    }
    names.push(if row.flags.intersects(Flags::FAST) { "fast" } else { "slow" });
    names
}

fn list(call: &mut Call) -> Result<(), Stop> {
    let table = Table::get();
    let all = table.listed().map(|(place, row)| (table.names()[place].as_str(), row));
    let names: Vec<&str> = match call.args.len() {
        2 => all.map(|(name, _)| name).collect(),
        5 if is_word(call.arg(2), "FILTERBY") => {
            let wanted = call.arg(4);
            if is_word(call.arg(3), "PATTERN") {
                all.map(|(name, _)| name).filter(|name| glob::matches(wanted, name.as_bytes())).collect()
            } else if is_word(call.arg(3), "ACLCAT") {
                all.filter(|(_, row)| categories(row).iter().any(|name| is_word(wanted, name)))
                    .map(|(name, _)| name)
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

/// The keys of the request that stands in another's arguments, each with what is done to it.
fn find_keys<'c>(args: Arguments<'c>) -> Result<Vec<(&'c [u8], &'static str)>, Stop> {
    let Some((_, row)) = Table::get().lookup(args) else { return Err("ERR Invalid command specified".into()) };
    if row.keys == Keys::NONE {
        return Err("ERR The command has no key arguments".into());
    }
    if !row.accepts(args.len()) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    let mut found = Vec::new();
    for (keys, uses) in key_specs(row) {
        let uses = match row.name {
            "set" if args.iter().skip(3).any(|arg| is_word(arg, "GET")) => "RW access update",
            "set" => "OW update",
            _ => uses,
        };
        found.extend(keys.positions(args).map(|at| (args.get(at), uses)));
    }
    // A script may have no keys.
    if found.is_empty() && row.group.name() != "scripting" {
        return Err("ERR Invalid arguments specified for command".into());
    }
    Ok(found)
}

fn getkeys(call: &mut Call) -> Result<(), Stop> {
    let keys = find_keys(call.args.skip(2))?;
    call.reply.array(keys.len());
    keys.iter().for_each(|(key, _)| call.reply.bulk(key));
    Ok(())
}

fn getkeysandflags(call: &mut Call) -> Result<(), Stop> {
    let keys = find_keys(call.args.skip(2))?;
    call.reply.array(keys.len());
    for (key, uses) in keys {
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.set(uses.split(' ').count());
        uses.split(' ').for_each(|word| call.reply.simple(word));
    }
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "command", SUBCOMMANDS);
    Ok(())
}
