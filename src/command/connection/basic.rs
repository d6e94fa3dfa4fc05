//! Commands about the connection itself: who it is, which protocol it speaks, how it ends.

use std::sync::atomic::Ordering::Relaxed;

use crate::acl::DEFAULT;
use crate::acl::log::Event;
use crate::command::ReplyMode;
use crate::command::connection::client::label;
use crate::command::connection::pubsub;
use crate::command::{Call, Command, Flags, Group, is_word, permission};
use crate::message::error::{self, Stop};
use crate::message::reply::RespVersion;
use crate::message::request::Arguments;

pub use crate::config::REDIS_VERSION;

const FAST: Flags = Flags::FAST;
const BEFORE_AUTH: Flags = Flags::FAST.union(Flags::NO_AUTH).union(Flags::NO_SCRIPT);

pub const COMMANDS: &[Command] = &[
    row("ping", -1, FAST, ping).doc("1.0.0", "[message]", "Returns the server's liveliness response."),
    row("echo", 2, FAST, echo).doc("1.0.0", "message", "Returns the given string."),
    row("quit", -1, BEFORE_AUTH.union(Flags::UNQUEUED), quit).doc("1.0.0", "", "Closes the connection."),
    row("hello", -1, BEFORE_AUTH, hello)
        .doc("6.0.0", "[protover [AUTH username password] [SETNAME clientname]]", "Handshakes with the server.")
        .secret(|args, at| credentials(args).is_some_and(|from| at == from || at == from + 1)),
    row("auth", -2, BEFORE_AUTH, auth)
        .doc("1.0.0", "[username] password", "Authenticates the connection.")
        .secret(|_, at| at > 0),
    row("reset", 1, BEFORE_AUTH.union(Flags::UNQUEUED), reset).doc("6.2.0", "", "Resets the connection."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Connection, run).flags(flags)
}

fn ping(call: &mut Call) -> Result<(), Stop> {
    match call.args.len() {
        1 | 2 if call.state.client.is_subscribed() && call.reply.version == RespVersion::Resp2 => {
            let echoed = call.args.iter().nth(1).unwrap_or_default();
            call.room(echoed.len())?;
            call.reply.push("pong", 2);
            call.reply.bulk(echoed);
        }
        1 => call.reply.simple("PONG"),
        2 => return echo(call),
        _ => return Err(crate::command::wrong_arity("ping")),
    }
    Ok(())
}

fn echo(call: &mut Call) -> Result<(), Stop> {
    call.room(call.arg(1).len())?;
    match call.args.value(1) {
        Some(value) => call.reply.bulk_shared(&value.clone().into()),
        None => call.reply.bulk(call.args.get(1)),
    }
    Ok(())
}

fn quit(call: &mut Call) -> Result<(), Stop> {
    call.reply.ok();
    call.state.closing = true;
    Ok(())
}

fn hello(call: &mut Call) -> Result<(), Stop> {
    let protocol = match call.args.len() {
        1 => call.state.client.version(),
        _ => match crate::command::parse_integer(call.arg(1)) {
            Some(2) => RespVersion::Resp2,
            Some(3) => RespVersion::Resp3,
            Some(_) => return Err("NOPROTO unsupported protocol version".into()),
            None => return Err("ERR Protocol version is not an integer or out of range".into()),
        },
    };
    let mut name = None;
    let mut index = 2;
    while index < call.args.len() {
        let left = call.args.len() - index - 1;
        if is_word(call.arg(index), "AUTH") && left >= 2 {
            authenticate(call, call.arg(index + 1), call.arg(index + 2), "HELLO")?;
            index += 3;
        } else if is_word(call.arg(index), "SETNAME") && left >= 1 {
            name = Some(label(call.arg(index + 1), "Client names")?);
            index += 2;
        } else {
            return Err(format!("ERR Syntax error in HELLO option '{}'", error::echo(call.arg(index))).into());
        }
    }
    if !call.state.authenticated {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                    <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                    the same time"
            .into());
    }
    if let Some(name) = name {
        call.state.relabel(|labels| labels.name = name);
    }
    let may_deliver = call.state.room.may_wait && call.state.replies == ReplyMode::All;
    if set_version(call, protocol) && may_deliver {
        pubsub::deliver(call);
    }
    let mode = call.shared.mode();
    let reply = &mut *call.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if protocol == RespVersion::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(call.state.client.id as i64);
    reply.bulk(b"mode");
    reply.bulk(mode.as_bytes());
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// False when it was this one before.
fn set_version(call: &mut Call, version: RespVersion) -> bool {
    call.reply.version = version;
    let is_new = call.state.client.version() != version;
    call.state.client.set_version(version);
    is_new
}

fn auth(call: &mut Call) -> Result<(), Stop> {
    match call.args.len() {
        2 if !call.shared.settings.needs_password() => {
            return Err(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                        your configuration is correct?"
                    .into(),
            );
        }
        2 => authenticate(call, DEFAULT.as_bytes(), call.arg(1), "AUTH")?,
        3 => authenticate(call, call.arg(1), call.arg(2), "AUTH")?,
        _ => return Err(error::SYNTAX.into()),
    }
    call.reply.ok();
    Ok(())
}

/// Where HELLO has a user's name, and after it the password.
fn credentials(args: Arguments) -> Option<usize> {
    let mut index = 2;
    while index < args.len() {
        match args.get(index) {
            word if is_word(word, "AUTH") => return Some(index + 1),
            word if is_word(word, "SETNAME") => index += 2,
            _ => return None,
        }
    }
    None
}

fn authenticate(call: &mut Call, user: &[u8], password: &[u8], command: &str) -> Result<(), Stop> {
    if let Some(user) = call.shared.settings.users.authenticate(user, password) {
        call.state.log_in(user);
        return Ok(());
    }
    let context = if call.state.transaction.is_some() { "multi" } else { "toplevel" };
    let event = Event { reason: "auth", context, object: command.into(), user: user.into() };
    let which = || format!("user {}", error::echo(user));
    permission::note_wrong_password(call.shared, call.stats, call.state, call.now, event, which);
    Err(error::WRONG_PASS.into())
}

fn reset(call: &mut Call) -> Result<(), Stop> {
    call.state.log_out(!call.shared.settings.needs_password());
    crate::command::key::database::choose(call, 0);
    call.state.leave_transaction(call.guards);
    call.state.stop_tracking(call.guards);
    call.state.client.set_subscribed(false);
    set_version(call, RespVersion::Resp2);
    call.shared.clients.monitors.leave(&call.state.client);
    pubsub::deliver(call);
    let state = &mut *call.state;
    state.relabel(|labels| labels.name = String::new());
    state.replies = ReplyMode::All;
    state.client.no_touch.store(false, Relaxed);
    state.client.no_evict.store(false, Relaxed);
    call.reply.simple("RESET");
    Ok(())
}
