//! CLIENT: the connections as operators and libraries see them: names, lists, ends, pauses.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::UnixMillis;
use crate::clients::{Client, Paused};
use crate::command::ReplyMode;
use crate::command::connection::filter::Filter;
use crate::command::connection::tracking;
use crate::command::{Call, Command, Flags, Group, Table, is_word, reply_help};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::output::Output;
use crate::shared::Shared;

pub const COMMANDS: &[Command] = &[Command::container("client", Group::Connection, CLIENT).doc(
    "2.4.0",
    "",
    "A container for client connection commands.",
)];

const CLIENT: &[Command] = &[
    row("id", 2, Flags::FAST, id).doc("5.0.0", "", "Returns the unique client ID of the connection."),
    row("getname", 2, Flags::FAST, getname).doc("2.6.9", "", "Returns the name of the connection."),
    row("setname", 3, Flags::FAST, setname).doc("2.6.9", "connection-name", "Sets the connection name."),
    row("setinfo", 4, Flags::FAST, setinfo).doc(
        "7.2.0",
        "<LIB-NAME libname | LIB-VER libver>",
        "Sets information specific to the client or connection.",
    ),
    row("info", 2, Flags::empty(), info).doc("6.2.0", "", "Returns information about the connection."),
    row("list", -2, Flags::ADMIN, list).doc(
        "2.4.0",
        "[[NOT-]TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [[NOT-]ID client-id [client-id ...]] [[NOT-]USER username] \
         [[NOT-]ADDR ip:port] [[NOT-]LADDR ip:port] [[NOT-]IP ip] [[NOT-]NAME name] [[NOT-]FLAGS flags] \
         [[NOT-]LIB-NAME name] [[NOT-]LIB-VER version] [[NOT-]DB index] [[NOT-]CAPA letters] [IDLE seconds] [MAXAGE seconds] \
         [SKIPME <YES | NO>]",
        "Lists open connections.",
    ),
    row("kill", -3, Flags::ADMIN, kill).doc(
        "2.4.0",
        "<ip:port | the filters of CLIENT LIST>",
        "Terminates open connections.",
    ),
    row("pause", -3, Flags::ADMIN, pause).doc(
        "3.0.0",
        "timeout [WRITE | ALL]",
        "Suspends commands processing for so many milliseconds.",
    ),
    row("unpause", 2, Flags::ADMIN, unpause).doc("6.2.0", "", "Resumes processing commands from paused clients."),
    row("reply", 3, Flags::empty(), reply).doc("3.2.0", "<ON | OFF | SKIP>", "Instructs the server whether to reply."),
    row("no-evict", 3, Flags::ADMIN, no_evict).doc(
        "7.0.0",
        "<ON | OFF>",
        "Protects the connection from being closed because it holds the most memory when others need a little.",
    ),
    row("no-touch", 3, Flags::FAST, no_touch).doc(
        "7.2.0",
        "<ON | OFF>",
        "Controls whether commands sent by the client count as a use of the keys that they read.",
    ),
    row("tracking", -3, Flags::empty(), tracking::client_tracking).doc(
        "6.0.0",
        "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        "Controls server-assisted client-side caching for the connection.",
    ),
    row("trackinginfo", 2, Flags::empty(), tracking::client_trackinginfo).doc(
        "6.2.0",
        "",
        "Returns information about server-assisted client-side caching for the connection.",
    ),
    row("caching", 3, Flags::empty(), tracking::client_caching).doc(
        "6.0.0",
        "<YES | NO>",
        "Instructs the server whether to track the keys in the next request.",
    ),
    row("getredir", 2, Flags::empty(), tracking::client_getredir).doc(
        "6.0.0",
        "",
        "Returns the client ID to which the connection's tracking notifications are redirected.",
    ),
    row("capa", -3, Flags::empty(), capa).doc(
        "8.0.0",
        "capability [capability ...]",
        "Tells what the client can do; nothing here depends on it (from Valkey).",
    ),
    row("unblock", -3, Flags::ADMIN, unblock).doc(
        "5.0.0",
        "client-id [TIMEOUT | ERROR]",
        "Unblocks a client blocked by a blocking command; there is none.",
    ),
    row("help", 2, Flags::empty(), help).doc("5.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Connection, run).flags(flags.union(Flags::NO_SCRIPT))
}

fn id(call: &mut Call) -> Result<(), Stop> {
    call.reply.integer(call.state.client.id as i64);
    Ok(())
}

fn getname(call: &mut Call) -> Result<(), Stop> {
    let labels = call.state.client.labels();
    if labels.name.is_empty() {
        call.reply.null()
    } else {
        call.reply.bulk(labels.name.as_bytes())
    }
    Ok(())
}

fn setname(call: &mut Call) -> Result<(), Stop> {
    let name = label(call.arg(2), "Client names")?;
    call.state.relabel(|labels| labels.name = name);
    call.reply.ok();
    Ok(())
}

fn setinfo(call: &mut Call) -> Result<(), Stop> {
    let (option, value) = (call.arg(2), call.arg(3));
    if is_word(option, "LIB-NAME") {
        let name = label(value, "lib-name")?;
        call.state.relabel(|labels| labels.lib_name = name);
    } else if is_word(option, "LIB-VER") {
        let version = label(value, "lib-ver")?;
        call.state.relabel(|labels| labels.lib_ver = version);
    } else {
        return Err(format!("ERR Unrecognized option '{}'", error::echo(option)).into());
    }
    call.reply.ok();
    Ok(())
}

/// A name that can stand in a line of CLIENT LIST.
pub fn label(bytes: &[u8], what: &str) -> Result<String, Stop> {
    if bytes.len() > limits::CLIENT_NAME_MAX_BYTES {
        return Err(format!("ERR {what} may have at most {} bytes", limits::CLIENT_NAME_MAX_BYTES).into());
    }
    if bytes.iter().any(|byte| !byte.is_ascii_graphic()) {
        return Err(format!("ERR {what} cannot contain spaces, newlines or special characters.").into());
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// About what a line of CLIENT LIST has beside the names.
const LINE_BYTES: usize = 384;

/// One line of CLIENT LIST.
fn describe(call: &Call, client: &Client) -> String {
    line(call.shared, call.now, client) + "\n"
}

/// The same without its end.
pub fn line(shared: &Shared, now: UnixMillis, client: &Client) -> String {
    client.describe(now, &shared.unix_path(), |place| &Table::get().names()[place])
}

fn info(call: &mut Call) -> Result<(), Stop> {
    let text = describe(call, &call.state.client);
    call.reply.text(&text);
    Ok(())
}

fn list(call: &mut Call) -> Result<(), Stop> {
    let filter = Filter::parse(call, false, "ERR Invalid client ID")?;
    let mut clients = call.shared.clients.all();
    clients.retain(|client| filter.meets(call, client));
    call.room(clients.iter().map(|client| LINE_BYTES + client.labels().len()).sum())?;
    let mut text = Output::default();
    for client in &clients {
        text.write(describe(call, client).as_bytes());
        text.cut();
    }
    call.reply.text_of(text);
    Ok(())
}

fn kill(call: &mut Call) -> Result<(), Stop> {
    let by_address = call.args.len() == 3;
    let filter = match by_address {
        true => Filter::of_address(call.arg(2)),
        false => Filter::parse(call, true, "ERR client-id should be greater than 0")?,
    };
    let mut found = call.shared.clients.all();
    found.retain(|client| filter.meets(call, client));
    if by_address && found.is_empty() {
        return Err("ERR No such client".into());
    }
    for client in &found {
        if client.id == call.state.client.id {
            // It is told first.
            call.state.closing = true;
        } else {
            client.kill();
        }
    }
    if by_address {
        call.reply.ok();
    } else {
        call.reply.integer(found.len() as i64);
    }
    Ok(())
}

fn pause(call: &mut Call) -> Result<(), Stop> {
    let paused = match call.args.len() {
        3 => Paused::All,
        4 if is_word(call.arg(3), "WRITE") => Paused::Writes,
        4 if is_word(call.arg(3), "ALL") => Paused::All,
        4 => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
        _ => return Err(crate::command::wrong_form(call.args)),
    };
    let millis = call.integer(2).map_err(|_| "ERR timeout is not an integer or out of range")?;
    let millis = u64::try_from(millis).map_err(|_| "ERR timeout is negative")?;
    // Redis's bound: the end is a time that it can write down.
    let until = call.now.checked_add(millis).filter(|until| i64::try_from(*until).is_ok());
    call.shared.clients.pause.begin(until.ok_or("ERR timeout is out of range")?, paused, call.now);
    call.reply.ok();
    Ok(())
}

fn unpause(call: &mut Call) -> Result<(), Stop> {
    call.shared.clients.pause.end();
    call.shared.clients.all().iter().filter(|client| client.paused.load(Relaxed)).for_each(|client| client.wake());
    call.reply.ok();
    Ok(())
}

/// The session leaves out what is not wanted.
fn reply(call: &mut Call) -> Result<(), Stop> {
    let wanted = call.arg(2);
    if is_word(wanted, "ON") {
        call.state.replies = ReplyMode::All;
        call.reply.ok();
    } else if is_word(wanted, "OFF") {
        call.state.replies = ReplyMode::None;
    } else if is_word(wanted, "SKIP") {
        if call.state.replies != ReplyMode::None {
            call.state.replies = ReplyMode::SkipNext;
        }
    } else {
        return Err(error::SYNTAX.into());
    }
    Ok(())
}

fn switch(call: &Call) -> Result<bool, Stop> {
    match call.arg(2) {
        word if is_word(word, "ON") => Ok(true),
        word if is_word(word, "OFF") => Ok(false),
        _ => Err(error::SYNTAX.into()),
    }
}

fn no_evict(call: &mut Call) -> Result<(), Stop> {
    call.state.client.no_evict.store(switch(call)?, Relaxed);
    call.reply.ok();
    Ok(())
}

fn no_touch(call: &mut Call) -> Result<(), Stop> {
    let on = switch(call)?;
    call.state.client.no_touch.store(on, Relaxed);
    call.reply.ok();
    Ok(())
}

/// What is not known is ignored, as in Valkey.
fn capa(call: &mut Call) -> Result<(), Stop> {
    if call.args.iter().skip(2).any(|capability| is_word(capability, "REDIRECT")) {
        call.state.client.redirects.store(true, Relaxed);
    }
    call.reply.ok();
    Ok(())
}

fn unblock(call: &mut Call) -> Result<(), Stop> {
    match call.args.len() {
        3 => {}
        4 if is_word(call.arg(3), "TIMEOUT") || is_word(call.arg(3), "ERROR") => {}
        4 => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
        _ => return Err(crate::command::wrong_form(call.args)),
    }
    call.integer(2)?;
    call.reply.integer(0);
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "client", CLIENT);
    Ok(())
}
