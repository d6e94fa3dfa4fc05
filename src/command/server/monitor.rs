//! MONITOR: every command that runs, told to whoever asked for it. Passwords are never shown, nor what administers the
//! server.

use std::fmt::Write;

use crate::base::clock;
use crate::clients::Peer;
use crate::command::row::IsSecret;
use crate::command::{Call, Command, Flags, Group};
use crate::config::limits;
use crate::message::error::Stop;
use crate::message::reply::Reply;

pub const COMMANDS: &[Command] = &[Command::new("monitor", 1, Group::Server, monitor)
    .flags(Flags::ADMIN.union(Flags::NO_SCRIPT))
    .doc("1.0.0", "", "Listens for all requests received by the server in real-time.")];

fn monitor(call: &mut Call) -> Result<(), Stop> {
    // EXEC has a reply for each command, and one that listens already is told nothing.
    if call.guards.is_sealed() {
        return Err("ERR MONITOR isn't allowed for DENY BLOCKING client".into());
    }
    // Like Redis, nothing to say to one that listens already.
    if call.shared.clients.monitors.enter(&call.state.client) {
        call.reply.ok();
    }
    Ok(())
}

/// Tells the monitors of a call that has run.
pub fn show(call: &Call, row: &Command) {
    if !row.flags.intersects(Flags::ADMIN) {
        tell(call, row.is_secret);
    }
}

/// Tells them of a call with all its arguments but the secret ones.
pub fn tell(call: &Call, is_secret: IsSecret) {
    let (seconds, micros) = clock::now_micros();
    let mut line = format!("{seconds}.{micros:06} [{} ", call.state.db());
    match (&call.state.client.peer, &call.shared.options.unixsocket) {
        _ if call.is_within_script() => line.push_str("lua]"),
        (Peer::Tcp { peer, .. }, _) => write!(line, "{peer}]").expect("writing to a string"),
        (Peer::Unix, path) => {
            let path = path.as_deref().unwrap_or("".as_ref()).display();
            write!(line, "unix:{path}]").expect("writing to a string");
        }
    }
    for (index, arg) in call.args.iter().enumerate() {
        if line.len() >= limits::MONITOR_LINE_MAX_BYTES {
            write!(line, " ... ({} more arguments)", call.args.len() - index).expect("writing to a string");
            break;
        }
        if is_secret(call.args, index) {
            line.push_str(" \"(redacted)\"");
        } else {
            push_quoted(&mut line, arg);
        }
    }
    let mut message = Reply::default();
    message.simple(&line);
    call.shared.clients.monitors.tell(message.into_bytes());
}

/// ` "argument"`, with whatever would not show, or end the quotes or the line, escaped as Redis does.
fn push_quoted(line: &mut String, arg: &[u8]) {
    let shown = &arg[..arg.len().min(limits::MONITOR_ARGUMENT_MAX_BYTES)];
    line.push_str(" \"");
    for &byte in shown {
        match byte {
            b'\\' | b'"' => line.extend(['\\', byte as char]),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(byte as char),
            _ => write!(line, "\\x{byte:02x}").expect("writing to a string"),
        }
    }
    if shown.len() < arg.len() {
        write!(line, "... ({} more bytes)", arg.len() - shown.len()).expect("writing to a string");
    }
    line.push('"');
}
