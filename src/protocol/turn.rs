//! What the sessions of all protocols do alike in a turn: find room for replies, count how long it took, say who did not
//! speak the protocol. It must not know any of them.

use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::core::Core;
use super::front::Next;
use crate::clients::{Client, Granted};
use crate::command::ConnectionState;
use crate::config::limits;
use crate::message::output::Mark;
use crate::message::reply::Reply;
use crate::observe::log;
use crate::observe::stats::CoreStats;
use crate::shared::Shared;

/// Finds room for the replies, of which the last stands after `before`, or ends the turn. A read is taken back and runs
/// again when there is room: `Err`. `leave_out` writes what stands in place of a long reply to what cannot run again.
#[cold]
pub fn find_room(
    state: &mut ConnectionState,
    shared: &Shared,
    stats: &CoreStats,
    reply: &mut Reply,
    (before, is_read): (Mark, bool),
    leave_out: impl FnOnce(&mut Reply),
) -> Result<Option<Next>, Next> {
    // A turn may ask for far more than it has sent: each step of the replies must find its room.
    reply.cut();
    let (room, clients) = (&mut state.room, &shared.clients);
    let limit = shared.settings.output_limit_bytes.load(Relaxed);
    let is_too_much = room.waiting_bytes(reply.len()) > limit;
    if room.cover(clients, reply.len()) && !is_too_much {
        return Ok(None);
    }
    stats.output_waits.add(1);
    if is_too_much {
        return Ok(Some(Next::Drain));
    }
    if is_read {
        let granted = room.cover_or_wait(clients, reply.len());
        if granted != Granted::Now {
            reply.rewind(before);
            state.client.paused.store(true, Relaxed);
            return Err(Next::Pause);
        }
        return Ok(None);
    }
    if reply.since(before) > limits::UNASKED_REPLY_BYTES {
        reply.rewind(before);
        leave_out(reply);
    }
    if room.cover_or_wait(clients, reply.len()) == Granted::Now {
        return Ok(None);
    }
    state.client.paused.store(true, Relaxed);
    Ok(Some(Next::Pause))
}

/// Counts a turn that began at `begun` and has ended now.
pub fn note_time(core: &Core, client: &Client, begun: Instant) {
    let took = core.begun.duration_since(begun).as_nanos() as u64;
    let longest = &core.stats().longest;
    if longest.turn_nanos.raise(took) {
        longest.turn_command.set(client.last_command.load(Relaxed).into());
    }
}

/// A shard was locked for so long by the client's last command, or those before it.
#[cold]
pub fn note_hold(stats: &CoreStats, client: &Client, nanos: u64, by_script: bool) {
    let longest = &stats.longest;
    if by_script {
        longest.script_hold_nanos.raise(nanos);
    } else if longest.hold_nanos.raise(nanos) {
        longest.hold_command.set(client.last_command.load(Relaxed).into());
    }
}

/// Somebody who does not speak the protocol, or not well.
#[cold]
pub fn note_foreign(client: &Client, stats: &CoreStats, shared: &Shared, what: &dyn Display) {
    stats.protocol_errors.add(1);
    log::PROTOCOL_ERRORS.warn(|| format!("closed {}: {what}", client.addresses(&shared.unix_path()).0));
}
