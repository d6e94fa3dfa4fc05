//! What scripts hold is charged to the memory of connections before it is made: a core's interpreter, and the sources that
//! are kept.

use std::sync::atomic::Ordering::Relaxed;

use super::runner_of;
use crate::command::Call;
use crate::config::limits;
use crate::message::error::Stop;
use crate::script::runner::Runner;
use crate::shared::Shared;

const NO_ROOM: &str = "OOM scripts, requests and replies in flight hold an eighth of maxmemory; raise maxmemory";

/// Does what may compile or run a script, with room for all that it may come to hold: what is left of that afterwards is
/// given back.
pub fn granted<T>(call: &mut Call, act: impl FnOnce(&mut Call) -> Result<T, Stop>) -> Result<T, Stop> {
    let (shared, core) = (call.shared, call.state.client.core);
    let runner = runner_of(call);
    runner.tidy(&shared.scripts);
    let held = shared.scripts.running[core].charged_bytes.load(Relaxed);
    let wanted = runner.memory_limit_bytes().saturating_sub(held);
    let granted = shared.clients.memory.take(wanted, limits::SCRIPT_ROOM_MIN_BYTES).ok_or(NO_ROOM)?;
    runner.granted_bytes = held + granted;
    shared.scripts.running[core].charged_bytes.store(held + granted, Relaxed);
    let outcome = act(call);
    if let Some(runner) = call.scripts.as_ref() {
        charge_held(runner, shared, core);
    }
    charge_sources(shared);
    outcome
}

/// Charges what the interpreter of a core holds between scripts.
fn charge_held(runner: &Runner, shared: &Shared, core: usize) {
    let charged = &shared.scripts.running[core].charged_bytes;
    let held = runner.used_bytes().next_multiple_of(limits::CLIENT_MEMORY_STEP_BYTES);
    let before = charged.load(Relaxed);
    if held != before {
        charged.store(held, Relaxed);
        shared.clients.memory.change(held as isize - before as isize);
    }
}

/// Charges what the sources that are kept hold.
pub fn charge_sources(shared: &Shared) {
    if shared.scripts.has_changed() {
        shared.clients.memory.keep(shared.scripts.take_change());
    }
}

/// Between scripts: lets go of what is known no more, and of the whole interpreter while clients wait for room.
pub fn tend(runner: &mut Runner, shared: &Shared, core: usize) {
    if runner.is_outdated(&shared.scripts) {
        runner.tidy(&shared.scripts);
        charge_held(runner, shared, core);
    }
    if runner.used_bytes() > 0 && shared.clients.memory.is_waited_for() {
        runner.start_anew();
        charge_held(runner, shared, core);
    }
}

/// Whether there is room for a source of so many bytes that is to be kept.
pub fn check_source(call: &Call, bytes: usize) -> Result<(), Stop> {
    let memory = &call.shared.clients.memory;
    if memory.used_bytes() + bytes > memory.limit_bytes() { Err(NO_ROOM.into()) } else { Ok(()) }
}

/// KEYS and ARGV are made in the interpreter, before the script runs.
pub fn check_arguments(call: &mut Call) -> Result<(), Stop> {
    let bytes: usize = call.args.iter().skip(3).map(|argument| argument.len() + limits::SCRIPT_ARGUMENT_BYTES).sum();
    let runner = runner_of(call);
    if runner.used_bytes() + bytes > runner.granted_bytes {
        return Err(format!("OOM the script needs more than the {} bytes it may hold", runner.granted_bytes).into());
    }
    Ok(())
}
