//! Commands about the server as a whole: its time, its end, and what it is not.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock;
use crate::command::connection::basic::REDIS_VERSION;
use crate::command::{Call, Command, Flags, Group, is_word};
use crate::message::error::{self, Stop};

pub const COMMANDS: &[Command] = &[
    row("time", 1, Flags::FAST, time).doc("2.6.0", "", "Returns the server time."),
    row("shutdown", -1, Flags::ADMIN.union(Flags::NO_SCRIPT).union(Flags::NO_MULTI), shutdown).doc(
        "1.0.0",
        "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        "Answers what was accepted and shuts the server down.",
    ),
    row("role", 1, Flags::ADMIN.union(Flags::FAST), role).doc("2.8.12", "", "Returns the replication role: master."),
    row("wait", 3, Flags::empty(), wait).doc(
        "3.0.0",
        "numreplicas timeout",
        "Returns the number of replicas that have what was written: none.",
    ),
    Command::container("module", Group::Server, MODULE).doc("4.0.0", "", "A container for module commands."),
    row("lolwut", -1, Flags::READONLY.union(Flags::FAST), lolwut).doc(
        "5.0.0",
        "[VERSION version]",
        "Displays what runs here.",
    ),
];

const MODULE: &[Command] = &[
    row("list", 2, Flags::ADMIN, module_list).doc("4.0.0", "", "Returns all loaded modules: none."),
    row("help", 2, Flags::empty(), |call| {
        crate::command::reply_help(call.reply, "module", MODULE);
        Ok(())
    })
    .doc("5.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run).flags(flags)
}

fn time(call: &mut Call) -> Result<(), Stop> {
    let (seconds, micros) = clock::now_micros();
    call.reply.array(2);
    call.reply.bulk(seconds.to_string().as_bytes());
    call.reply.bulk(micros.to_string().as_bytes());
    Ok(())
}

fn shutdown(call: &mut Call) -> Result<(), Stop> {
    for word in call.args.iter().skip(1) {
        if is_word(word, "ABORT") {
            return Err("ERR No shutdown in progress.".into());
        }
        if !["SAVE", "NOSAVE", "NOW", "FORCE"].iter().any(|known| is_word(word, known)) {
            return Err(error::SYNTAX.into());
        }
    }
    // The same way down as from outside. Like Redis, no reply: the end of the connection is one.
    // To the process, not by `raise` to this thread, which has the signal blocked. Once: a second signal would end it before
    // what was accepted is answered.
    call.state.closing = true;
    if call.shared.draining.load(Relaxed) || call.shared.shutdown_asked.swap(true, Relaxed) {
        return Ok(());
    }
    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGTERM)
        .map_err(|error| format!("ERR Errors trying to SHUTDOWN: {error}").into())
}

fn role(call: &mut Call) -> Result<(), Stop> {
    call.reply.array(3);
    call.reply.bulk(b"master");
    call.reply.integer(0);
    call.reply.array(0);
    Ok(())
}

/// Nobody could become a replica meanwhile: there is nothing to wait for.
fn wait(call: &mut Call) -> Result<(), Stop> {
    call.integer(1)?;
    let timeout = call.integer(2).map_err(|_| "ERR timeout is not an integer or out of range")?;
    if timeout < 0 {
        return Err("ERR timeout is negative".into());
    }
    call.reply.integer(0);
    Ok(())
}

fn module_list(call: &mut Call) -> Result<(), Stop> {
    call.reply.array(0);
    Ok(())
}

/// Draws how full the cache is.
fn lolwut(call: &mut Call) -> Result<(), Stop> {
    let used = call.shared.used_bytes(call.all()?.totals().used_bytes);
    let cap = call.shared.settings.max_memory_bytes.load(Relaxed);
    let full = (used as f64 / cap as f64 * 60.0).round().clamp(0.0, 60.0) as usize;
    let mut text = String::new();
    for row in 0..4 {
        let edge = if row % 3 == 0 { ["+", "-", "-"] } else { ["|", "#", " "] };
        text.push_str(&format!("{0}{1}{2}{0}\n", edge[0], edge[1].repeat(full), edge[2].repeat(60 - full)));
    }
    text.push_str(&format!("\nkv-cache ver. {}, serving as Redis ver. {REDIS_VERSION}\n", env!("CARGO_PKG_VERSION")));
    call.reply.text(&text);
    Ok(())
}
