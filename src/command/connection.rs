//! Commands about the connection itself: who it is, which protocol it speaks, how it ends.

use std::sync::atomic::Ordering::Relaxed;

use super::{Call, Command, Flags, Group, Table, is_word, reply_help, run_subcommand, tracking};
use crate::error::{self, Stop};
use crate::limits;
use crate::resp::reply::Protocol;

/// What clients take this server for: they choose features by it. 7.4 is the Redis whose string, key, connection and
/// scripting commands are the measure here.
pub const REDIS_VERSION: &str = "7.4.1";

const FAST: Flags = Flags::FAST;
const BEFORE_AUTH: Flags = Flags::FAST.and(Flags::NO_AUTH);

pub const COMMANDS: &[Command] = &[
    row("ping", -1, FAST, ping).doc("1.0.0", "[message]", "Returns the server's liveliness response."),
    row("echo", 2, FAST, echo).doc("1.0.0", "message", "Returns the given string."),
    row("quit", -1, BEFORE_AUTH.and(Flags::UNQUEUED), quit).doc("1.0.0", "", "Closes the connection."),
    row("hello", -1, BEFORE_AUTH, hello).doc(
        "6.0.0",
        "[protover [AUTH username password] [SETNAME clientname]]",
        "Handshakes with the server.",
    ),
    row("auth", -2, BEFORE_AUTH, auth).doc("1.0.0", "[username] password", "Authenticates the connection."),
    row("reset", 1, BEFORE_AUTH.and(Flags::UNQUEUED), reset).doc("6.2.0", "", "Resets the connection."),
    row("client", -2, Flags::NONE, |call| run_subcommand(call, "client", CLIENT)).subcommands(CLIENT).doc(
        "2.4.0",
        "",
        "A container for client connection commands.",
    ),
];

const CLIENT: &[Command] = &[
    row("id", 2, FAST, client_id).doc("5.0.0", "", "Returns the unique client ID of the connection."),
    row("getname", 2, FAST, client_getname).doc("2.6.9", "", "Returns the name of the connection."),
    row("setname", 3, FAST, client_setname).doc("2.6.9", "connection-name", "Sets the connection name."),
    row("setinfo", 4, FAST, client_setinfo).doc(
        "7.2.0",
        "<LIB-NAME libname | LIB-VER libver>",
        "Sets information specific to the client or connection.",
    ),
    row("list", -2, Flags::ADMIN, client_list).doc(
        "2.4.0",
        "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        "Lists open connections.",
    ),
    row("info", 2, Flags::NONE, client_info).doc("6.2.0", "", "Returns information about the connection."),
    row("tracking", -3, Flags::NONE, tracking::client_tracking).doc(
        "6.0.0",
        "<ON | OFF> [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        "Controls server-assisted client-side caching for the connection.",
    ),
    row("trackinginfo", 2, Flags::NONE, tracking::client_trackinginfo).doc(
        "6.2.0",
        "",
        "Returns information about server-assisted client-side caching for the connection.",
    ),
    row("caching", 3, Flags::NONE, tracking::client_caching).doc(
        "6.0.0",
        "<YES | NO>",
        "Instructs the server whether to track the keys in the next request.",
    ),
    row("getredir", 2, Flags::NONE, tracking::client_getredir).doc(
        "6.0.0",
        "",
        "Returns the client ID to which the connection's tracking notifications are redirected.",
    ),
    row("help", 2, Flags::NONE, client_help).doc("5.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: super::Run) -> Command {
    Command::new(name, arity, Group::Connection, run).flags(flags)
}

fn ping(call: &mut Call) -> Result<(), Stop> {
    match call.args.len() {
        1 => call.reply.simple("PONG"),
        2 => call.reply.bulk(call.args.get(1)),
        _ => return Err(super::wrong_arity("ping")),
    }
    Ok(())
}

fn echo(call: &mut Call) -> Result<(), Stop> {
    match call.args.shared(1) {
        Some(bytes) => call.reply.bulk_shared(bytes),
        None => call.reply.bulk(call.args.get(1)),
    }
    Ok(())
}

fn quit(call: &mut Call) -> Result<(), Stop> {
    call.reply.ok();
    call.standing.closing = true;
    Ok(())
}

fn hello(call: &mut Call) -> Result<(), Stop> {
    let protocol = match call.args.len() {
        1 => call.standing.protocol,
        _ => match super::parse_integer(call.arg(1)) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err("NOPROTO unsupported protocol version".into()),
            None => return Err("ERR Protocol version is not an integer or out of range".into()),
        },
    };
    let mut name = None;
    let mut index = 2;
    while index < call.args.len() {
        let left = call.args.len() - index - 1;
        if is_word(call.arg(index), "AUTH") && left >= 2 {
            authenticate(call, call.arg(index + 1), call.arg(index + 2))?;
            index += 3;
        } else if is_word(call.arg(index), "SETNAME") && left >= 1 {
            name = Some(label(call.arg(index + 1), "Client names")?);
            index += 2;
        } else {
            return Err(format!("ERR Syntax error in HELLO option '{}'", error::echo(call.arg(index))).into());
        }
    }
    if !call.standing.authenticated {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                    <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                    the same time"
            .into());
    }
    if let Some(name) = name {
        call.standing.client.labels().name = name;
    }
    set_protocol(call, protocol);
    let reply = &mut *call.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(call.standing.client.id as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

fn set_protocol(call: &mut Call, protocol: Protocol) {
    call.standing.protocol = protocol;
    call.standing.client.set_protocol(protocol);
    call.reply.protocol = protocol;
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
        2 => authenticate(call, b"default", call.arg(1))?,
        3 => authenticate(call, call.arg(1), call.arg(2))?,
        _ => return Err(error::SYNTAX.into()),
    }
    call.reply.ok();
    Ok(())
}

/// There is one user, `default`.
fn authenticate(call: &mut Call, user: &[u8], password: &[u8]) -> Result<(), Stop> {
    let matches = call.shared.settings.password_matches(password);
    if user == b"default" && matches {
        call.standing.authenticated = true;
        return Ok(());
    }
    call.stats.auth_failures.add(1);
    Err(error::WRONG_PASS.into())
}

fn reset(call: &mut Call) -> Result<(), Stop> {
    call.standing.authenticated = !call.shared.settings.needs_password();
    super::database::choose(call, 0);
    call.standing.leave_transaction(call.held);
    call.standing.stop_tracking(call.held);
    set_protocol(call, Protocol::Resp2);
    call.shared.clients.monitors.leave(&call.standing.client);
    call.standing.client.labels().name.clear();
    call.reply.simple("RESET");
    Ok(())
}

fn client_id(call: &mut Call) -> Result<(), Stop> {
    call.reply.integer(call.standing.client.id as i64);
    Ok(())
}

fn client_getname(call: &mut Call) -> Result<(), Stop> {
    let labels = call.standing.client.labels();
    if labels.name.is_empty() {
        call.reply.null()
    } else {
        call.reply.bulk(labels.name.as_bytes())
    }
    Ok(())
}

fn client_setname(call: &mut Call) -> Result<(), Stop> {
    call.standing.client.labels().name = label(call.arg(2), "Client names")?;
    call.reply.ok();
    Ok(())
}

fn client_setinfo(call: &mut Call) -> Result<(), Stop> {
    let (option, value) = (call.arg(2), call.arg(3));
    if is_word(option, "LIB-NAME") {
        call.standing.client.labels().lib_name = label(value, "lib-name")?;
    } else if is_word(option, "LIB-VER") {
        call.standing.client.labels().lib_ver = label(value, "lib-ver")?;
    } else {
        return Err(format!("ERR Unrecognized option '{}'", error::echo(option)).into());
    }
    call.reply.ok();
    Ok(())
}

/// A name that can stand in a line of CLIENT LIST.
fn label(bytes: &[u8], what: &str) -> Result<String, Stop> {
    if bytes.len() > limits::CLIENT_NAME_MAX_BYTES {
        return Err(format!("ERR {what} may have at most {} bytes", limits::CLIENT_NAME_MAX_BYTES).into());
    }
    if bytes.iter().any(|byte| !byte.is_ascii_graphic()) {
        return Err(format!("ERR {what} cannot contain spaces, newlines or special characters.").into());
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn client_list(call: &mut Call) -> Result<(), Stop> {
    let mut ids: Option<Vec<i64>> = None;
    let mut normal = true;
    match call.args.len() {
        2 => {}
        4 if is_word(call.arg(2), "TYPE") => {
            let known = ["normal", "master", "replica", "slave", "pubsub"];
            if !known.iter().any(|kind| is_word(call.arg(3), kind)) {
                return Err(format!("ERR Unknown client type '{}'", error::echo(call.arg(3))).into());
            }
            normal = is_word(call.arg(3), "normal");
        }
        n if n >= 4 && is_word(call.arg(2), "ID") => {
            let given: Result<Vec<i64>, Stop> =
                (3..n).map(|index| call.integer(index).map_err(|_| "ERR Invalid client ID".into())).collect();
            ids = Some(given?);
        }
        _ => return Err(error::SYNTAX.into()),
    }
    let mut text = String::new();
    for client in call.shared.clients.all() {
        if normal && ids.as_ref().is_none_or(|ids| ids.contains(&(client.id as i64))) {
            text.push_str(&client.describe(call.now, command_name));
            text.push('\n');
        }
    }
    call.reply.text(&text);
    Ok(())
}

fn client_info(call: &mut Call) -> Result<(), Stop> {
    call.standing.client.last_active.store(call.now, Relaxed);
    let text = call.standing.client.describe(call.now, command_name) + "\n";
    call.reply.text(&text);
    Ok(())
}

fn command_name(place: usize) -> &'static str {
    Table::get().rows()[place].name
}

fn client_help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "client", CLIENT);
    Ok(())
}
