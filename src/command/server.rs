//! Commands about the server as a whole: its time, its end, and what it is not.

use super::{Call, Command, Flags, Group, is_word};
use crate::clock;
use crate::error::{self, Stop};

pub const COMMANDS: &[Command] = &[
    row("time", 1, Flags::FAST, time).doc("2.6.0", "", "Returns the server time."),
    row("shutdown", -1, Flags::ADMIN.and(Flags::NO_SCRIPT), shutdown).doc(
        "1.0.0",
        "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        "Answers what was accepted and shuts the server down.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: super::Run) -> Command {
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
    // To the process, not by `raise` to this thread, which has the signal blocked.
    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGTERM)
        .map_err(|error| format!("ERR Errors trying to SHUTDOWN: {error}"))?;
    call.standing.closing = true;
    Ok(())
}
