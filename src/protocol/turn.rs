//! What the sessions of all protocols do alike: the turn itself, room for what they hold, how long it took, who did not
//! speak the protocol. It must not know any of them.

use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::core::Core;
use super::front::{Next, Session};
use crate::base::clock::{Turn, UnixMillis};
use crate::clients::{Client, Granted};
use crate::command::ConnectionState;
use crate::config::limits;
use crate::message::error::Stop;
use crate::message::output::{Mark, Output};
use crate::message::reply::{Reply, RespVersion};
use crate::observe::log;
use crate::observe::stats::CoreStats;
use crate::shared::Shared;

/// What a session of any protocol has turns with.
pub trait Turns: Session {
    fn state(&mut self) -> &mut ConnectionState;

    /// What is held for the client beside replies: requests that are not run yet above all.
    fn held_bytes(&self) -> usize;

    /// Of those, bytes of requests that have come.
    fn arrived_bytes(&self) -> usize;

    /// Of those, bytes that were not looked at.
    fn pending_bytes(&self) -> usize;

    /// Kept for what arrives, beyond what has.
    fn spare_bytes(&self) -> usize {
        0
    }

    /// What is held for a reply that is being made.
    fn unfinished_bytes(&self) -> usize {
        0
    }

    /// Takes in what was received, and runs what is complete.
    fn take_in(&mut self, input: &[u8], core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Next;

    /// Says why requests are too large, and ends.
    fn refuse_excess(&mut self, excess: Excess, core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Next;
}

/// Which bound requests have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// `client-query-limit`.
    Query,
    /// The client memory.
    Memory,
}

impl Excess {
    pub fn text(self) -> &'static str {
        match self {
            Excess::Query => "the request is larger than client-query-limit",
            Excess::Memory => {
                "requests and replies in flight hold an eighth of maxmemory; send smaller ones or raise maxmemory"
            }
        }
    }
}

/// A session's turn, as `Session::advance` has it, with the replies written in `version`.
pub fn take(
    session: &mut impl Turns,
    version: RespVersion,
    input: &[u8],
    core: &mut Core,
    turn: Turn,
    queued: usize,
    output: &mut Output,
) -> Next {
    let mut reply = Reply::over(std::mem::replace(output, Output::unbuffered()), version);
    let next = run(session, input, core, turn, queued, &mut reply);
    *output = reply.into_output();
    next
}

fn run(session: &mut impl Turns, input: &[u8], core: &mut Core, turn: Turn, queued: usize, reply: &mut Reply) -> Next {
    let now = turn.now;
    (core.turn_begun, core.begun) = (turn.begun, turn.begun);
    let held = held_bytes(session);
    if session.state().room.begin(&core.shared.clients, queued, held) && input.is_empty() {
        return wait_for_room(core, now);
    }
    if !input.is_empty() {
        session.client().last_active.store(now, Relaxed);
        note_input(session.client(), core.stats(), input.len());
    }
    let mut next = session.take_in(input, core, now, reply);
    // What there is no room to keep runs now, rather than be refused, as long as that gets on.
    let mut pending = usize::MAX;
    while next == Next::Yield && session.pending_bytes() < pending && !settle(session, core, reply) {
        pending = session.pending_bytes();
        core.turn_begun = core.begun;
        next = session.take_in(b"", core, now, reply);
    }
    note_time(core, session.client(), turn.begun);
    let client = session.client();
    client.arrived_bytes.store(session.arrived_bytes(), Relaxed);
    client.spare_bytes.store(session.spare_bytes(), Relaxed);
    client.waiting_bytes.store(queued + reply.len(), Relaxed);
    if next == Next::Close {
        session.end(core);
        return Next::Close;
    }
    if session.held_bytes() > core.shared.settings.query_limit_bytes.load(Relaxed) {
        return session.refuse_excess(Excess::Query, core, now, reply);
    }
    if !settle(session, core, reply) {
        return session.refuse_excess(Excess::Memory, core, now, reply);
    }
    match next {
        Next::Pause if session.state().room.is_in_line() => wait_for_room(core, now),
        // Amid a request: what has come of it holds what is lent to data.
        Next::Receive if session.held_bytes() > 0 && core.shared.clients.memory.is_recalled() => {
            core.shared.recall(core.index, now);
            Next::Rest
        }
        next => next,
    }
}

/// A place in line is waited for until it is granted, and meanwhile what is lent to data is taken back.
fn wait_for_room(core: &Core, now: UnixMillis) -> Next {
    if core.shared.recall(core.index, now) { Next::Rest } else { Next::Pause }
}

/// With what encryption holds.
fn held_bytes(session: &impl Turns) -> usize {
    session.held_bytes() + session.client().encryption_bytes.load(Relaxed)
}

/// Charges what the connection holds after a turn; false when there is no room for its requests.
fn settle(session: &mut impl Turns, core: &Core, reply: &Reply) -> bool {
    let (held, new) = (held_bytes(session), reply.len() + session.unfinished_bytes());
    session.state().room.settle(&core.shared.clients, held, new)
}

/// As `Session::sent`.
pub fn sent(session: &mut impl Turns, core: &Core, queued: usize) {
    session.client().waiting_bytes.store(queued, Relaxed);
    let (held, waiting) = (held_bytes(session), queued + session.unfinished_bytes());
    session.state().room.sent(&core.shared.clients, held, waiting);
}

/// How many of `bytes` bytes of something large, about to be received in place, there is room for: as many as are missing,
/// or `None`.
pub fn admit(session: &mut impl Turns, core: &Core, bytes: usize) -> Option<usize> {
    let bytes = bytes.min(session.missing_bytes());
    let held = session.held_bytes() + bytes;
    let is_within = held <= core.shared.settings.query_limit_bytes.load(Relaxed);
    let is_free = !core.shared.clients.memory.is_recalled();
    (is_within && is_free && session.state().room.hold(&core.shared.clients, held)).then_some(bytes)
}

/// Counts bytes that were received in place.
pub fn note_placed(client: &Client, stats: &CoreStats, bytes: usize) {
    note_input(client, stats, bytes);
    stats.placed_bytes.add(bytes as u64);
}

#[inline]
fn note_input(client: &Client, stats: &CoreStats, bytes: usize) {
    stats.net_input_bytes.add(bytes as u64);
    stats.reads.add(1);
    client.input_bytes.add(bytes as u64);
}

/// What the driver does before a request runs again that was put off, of which nothing has been done or is said.
pub fn put_off(client: &Client, wait: &Stop) -> Next {
    client.paused.store(matches!(wait, Stop::Full), Relaxed);
    match wait {
        Stop::Busy => Next::Rest,
        Stop::Full => Next::Pause,
        _ => Next::Yield,
    }
}

/// Finds room for the replies, of which the last stands after `before`, or ends the turn. A read is taken back and runs
/// again when there is room: `Err`. `leave_out` writes what stands in place of a long reply to what cannot run again, or of
/// one that there will never be room for.
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
    let is_covered = if is_read { room.cover(clients, reply.len()) } else { room.cover_at_once(clients, reply.len()) };
    if is_covered && !is_too_much {
        return Ok(None);
    }
    stats.output_waits.add(1);
    if is_too_much {
        return Ok(Some(Next::Drain));
    }
    if is_read {
        match room.cover_or_wait(clients, reply.len(), 0) {
            Granted::Now => return Ok(None),
            Granted::Later => {
                reply.rewind(before);
                state.client.paused.store(true, Relaxed);
                return Err(Next::Pause);
            }
            Granted::Never => {}
        }
    }
    if is_read || reply.since(before) > limits::UNASKED_REPLY_BYTES {
        reply.rewind(before);
        leave_out(reply);
    }
    match room.cover_or_wait(clients, reply.len(), 0) {
        Granted::Now => Ok(None),
        Granted::Later => {
            state.client.paused.store(true, Relaxed);
            Ok(Some(Next::Pause))
        }
        // Nothing will be granted, but the replies before it will be taken.
        Granted::Never => Ok(Some(Next::Drain)),
    }
}

/// Counts a turn that began at `begun` and has ended now.
fn note_time(core: &Core, client: &Client, begun: Instant) {
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

/// The beginning of a TLS handshake record, of any version.
pub fn is_tls(input: &[u8]) -> bool {
    input.starts_with(&[0x16, 0x03])
}

/// What is said in the log of who begins so where TLS is not spoken.
pub const NO_TLS: &str = "this port does not speak TLS";

/// What whoever asks for something is told whose command the operator has disabled.
pub const TAKEN_AWAY: &str = "--disable-command takes away the command that does this";

/// Somebody who does not speak the protocol, or not well.
#[cold]
pub fn note_foreign(client: &Client, stats: &CoreStats, shared: &Shared, what: &dyn Display) {
    stats.protocol_errors.add(1);
    log::PROTOCOL_ERRORS.warn(|| format!("closed {}: {what}", client.addresses(&shared.unix_path()).0));
}
