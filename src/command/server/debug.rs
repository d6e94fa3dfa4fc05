//! DEBUG, for tests: off unless `--enable-debug-command` says otherwise.

use std::time::Duration;

use crate::clients::Peer;
use crate::command::{Call, Command, Flags, Group, is_word};
use crate::config::DebugCommand;
use crate::message::error::{self, Stop};

pub const COMMANDS: &[Command] =
    &[Command::new("debug", -2, Group::Server, debug).flags(Flags::ADMIN.union(Flags::NO_SCRIPT)).doc(
        "1.0.0",
        "<SLEEP seconds | ERROR message | SET-ACTIVE-EXPIRE flag | LOG message | HOT-SAMPLES number>",
        "Holds a core up or answers with an error, for tests; refused unless --enable-debug-command allows it.",
    )];

fn debug(call: &mut Call) -> Result<(), Stop> {
    let is_local = match call.state.client.peer {
        Peer::Tcp { peer, .. } => peer.ip().is_loopback(),
        Peer::Unix => true,
    };
    match call.shared.options.enable_debug_command {
        DebugCommand::Yes => {}
        DebugCommand::Local if is_local => {}
        _ => {
            return Err("ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can \
                        run it from a local connection, otherwise you need to set this option in the configuration file, \
                        and then restart the server."
                .into());
        }
    }
    let what = call.arg(1);
    if call.args.len() != 3 {
        return Err(crate::command::wrong_form(call.args));
    } else if is_word(what, "SLEEP") {
        let seconds = std::str::from_utf8(call.arg(2)).ok().and_then(|text| text.parse::<f64>().ok());
        let length = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        // No shard is held up by it.
        call.guards.release();
        std::thread::sleep(length.ok_or("ERR value is not a valid float")?);
    } else if is_word(what, "ERROR") {
        return Err(error::echo(call.arg(2)).into());
    } else if is_word(what, "LOG") {
        tracing::info!("DEBUG LOG: {}", error::echo(call.arg(2)));
    } else if is_word(what, "HOT-SAMPLES") {
        let samples = call.integer(2)?.try_into().map_err(|_| error::NOT_AN_INTEGER)?;
        call.shared.keyspace.hot().set_threshold(samples);
    } else if !is_word(what, "SET-ACTIVE-EXPIRE") {
        // Expiry cannot be switched off: whoever asks for that has an expired key found out on access all the same.
        return Err(crate::command::wrong_form(call.args));
    }
    call.reply.ok();
    Ok(())
}
