//! One connection's conversation, sans-IO: the engine pushes bytes in and takes replies out. No socket, no clock, no
//! `async`: tests, benchmarks and every driver drive the same code.
//!
//! Invariant: `pending` holds exactly the bytes that were received and not yet turned into finished requests, except
//! those of a streamed argument, which the parser keeps.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::batch::{Batch, Request};
use super::foreign;
use super::parser::{Bounds, Parser, ProtocolError};
use crate::base::clock::{self, UnixMillis};
use crate::clients::{Client, Paused};
use crate::command::timing::Timing;
use crate::command::{self, Call, ConnectionState, Flags, Group, ReplyMode};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::output::{Mark, Output};
use crate::message::reply::Reply;
use crate::message::request::Args;
use crate::observe::stats::CoreStats;
use crate::protocol::core::Core;
use crate::protocol::front::{self, Next, Session as _};
use crate::protocol::turn::{self, Excess, Turns};
use crate::script::runner::Runner;
use crate::shared::Shared;
use crate::store::guards::ShardGuards;

/// How far a batch has come.
enum Ran {
    All,
    /// The turn ends after a request that is finished.
    Ended(Next),
    /// The turn ends before the request of this place in the batch, which has not run.
    Held(usize, Next),
}

pub struct Session {
    state: ConnectionState,
    parser: Parser,
    /// The arguments of the request that has come in part, or that is held.
    args: Args,
    pending: Vec<u8>,
}

impl Session {
    pub fn new(client: Arc<Client>, shared: &Shared) -> Session {
        Session {
            parser: Parser::new(shared.keyspace.extents(client.core)),
            state: ConnectionState::new(client, !shared.settings.needs_password()),
            args: Args::default(),
            pending: Vec::new(),
        }
    }
}

impl front::Session for Session {
    fn client(&self) -> &Arc<Client> {
        &self.state.client
    }

    fn advance(
        &mut self,
        input: &[u8],
        core: &mut Core,
        turn: clock::Turn,
        queued: usize,
        output: &mut Output,
    ) -> Next {
        let version = self.state.client.version();
        turn::take(self, version, input, core, turn, queued, output)
    }

    fn missing_bytes(&self) -> usize {
        self.parser.missing_bytes()
    }

    fn place(&mut self, core: &Core, bytes: usize) -> Option<&mut [u8]> {
        let bytes = turn::admit(self, core, bytes)?;
        self.parser.place(bytes)?.ok()
    }

    fn placed(&mut self, core: &Core, bytes: usize) {
        self.parser.placed(bytes);
        turn::note_placed(&self.state.client, core.stats(), bytes);
    }

    fn sent(&mut self, core: &Core, queued: usize) {
        turn::sent(self, core, queued);
    }

    fn end(&mut self, core: &Core) {
        self.state.unfinished = None;
        self.state.room.end(&core.shared.clients);
        self.pending = Vec::new();
        let mut guards = core.shared.keyspace.guards();
        self.state.leave_transaction(&mut guards);
        self.state.stop_tracking(&mut guards);
    }
}

impl Turns for Session {
    fn state(&mut self) -> &mut ConnectionState {
        &mut self.state
    }

    fn held_bytes(&self) -> usize {
        let transaction = self.state.transaction.as_ref().map_or(0, |transaction| transaction.held_bytes());
        let tracking = self.state.tracking.as_ref().map_or(0, |tracking| tracking.held_bytes());
        self.pending.capacity()
            + self.parser.stream_bytes()
            + self.args.aside_bytes()
            + self.args.capacity_bytes()
            + transaction
            + tracking
            + self.state.watching.held_bytes()
            + self.state.labels_bytes
    }

    fn arrived_bytes(&self) -> usize {
        self.pending.len() + self.parser.stream_bytes() + self.args.aside_bytes()
    }

    fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    fn spare_bytes(&self) -> usize {
        self.pending.capacity() - self.pending.len()
    }

    fn unfinished_bytes(&self) -> usize {
        self.state.unfinished.as_ref().map_or(0, |work| work.held_bytes())
    }

    fn take_in(&mut self, mut input: &[u8], core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Next {
        match self.parser.stream(input) {
            Ok(taken) => input = &input[taken..],
            Err(_) => return self.refuse(core, reply, "OOM no memory for a value of this size"),
        }
        if self.parser.is_streaming() {
            return Next::Receive;
        }
        if self.pending.is_empty() {
            let (used, next) = self.run(input, core, now, reply);
            let rest = &input[used..];
            if next == Next::Receive && self.parser.is_streaming() {
                // A large argument goes straight to where it will lie.
                let (before, argument) = rest.split_at(self.parser.pos());
                self.pending.extend_from_slice(before);
                return self.take_in(argument, core, now, reply);
            }
            self.pending.extend_from_slice(rest);
            self.settle(core, now, reply, next)
        } else {
            if self.pending.try_reserve(input.len()).is_err() {
                return self.refuse(core, reply, "OOM no memory for a request of this size");
            }
            self.pending.extend_from_slice(input);
            let buffered = std::mem::take(&mut self.pending);
            let (used, next) = self.run(&buffered, core, now, reply);
            self.pending = buffered;
            self.pending.drain(..used);
            self.settle(core, now, reply, next)
        }
    }

    fn refuse_excess(&mut self, excess: Excess, core: &mut Core, _: UnixMillis, reply: &mut Reply) -> Next {
        let code = match excess {
            Excess::Query => "ERR",
            Excess::Memory => "OOM",
        };
        self.refuse(core, reply, &format!("{code} {}", excess.text()))
    }
}

impl Session {
    fn refuse(&mut self, core: &Core, reply: &mut Reply, text: &str) -> Next {
        core.stats().query_limit_closed.add(1);
        reply.error(text);
        self.end(core);
        Next::Close
    }

    /// After a run: hands the beginning of a streamed argument to the parser, and gives memory back.
    fn settle(&mut self, core: &mut Core, now: UnixMillis, reply: &mut Reply, next: Next) -> Next {
        if next == Next::Receive && self.parser.is_streaming() {
            let rest = self.pending.split_off(self.parser.pos());
            return self.take_in(&rest, core, now, reply);
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        next
    }

    /// Runs requests from `input` until it is used up or the turn is over. Returns how much of it is done with.
    fn run(&mut self, input: &[u8], core: &mut Core, now: UnixMillis, reply: &mut Reply) -> (usize, Next) {
        let mut done = 0;
        let mut turn = limits::TURN_REQUESTS_MAX;
        let next = loop {
            let bounds = self.bounds(&core.shared);
            // Before authentication the bounds may change with the next command.
            let first = !self.state.authenticated;
            core.batch.parse(input, done, &mut self.parser, &bounds, &mut self.args, first);
            let ran = self.run_batch(input, &mut done, core, now, reply);
            turn = turn.saturating_sub(core.batch.requests.len());
            let over = match (ran, core.batch.error.take()) {
                (Ran::Held(at, next), _) => {
                    self.hold(&mut core.batch, at);
                    break next;
                }
                (Ran::Ended(next), _) => next,
                (Ran::All, Some(error)) => {
                    turn::note_foreign(&self.state.client, core.stats(), &core.shared, &error);
                    match error {
                        ProtocolError::Tls => {}
                        ProtocolError::Memory => reply.error("OOM no memory for a request of so many arguments"),
                        error => reply.error(&format!("ERR Protocol error: {error}")),
                    }
                    Next::Close
                }
                (Ran::All, None) if core.batch.exhausted => break Next::Receive,
                (Ran::All, None) if turn == 0 || core.is_turn_over() => Next::Yield,
                (Ran::All, None) => continue,
            };
            // What was parsed ahead lies in the input still, and is parsed again.
            self.parser.rewind(done);
            self.args.clear();
            break over;
        };
        core.batch.clear();
        self.parser.rebase(done);
        (done, next)
    }

    fn bounds(&self, shared: &Shared) -> Bounds {
        if !self.state.authenticated {
            return Bounds {
                arguments: limits::UNAUTHENTICATED_ARGUMENTS_MAX,
                argument_bytes: limits::UNAUTHENTICATED_ARGUMENT_BYTES,
                unauthenticated: true,
            };
        }
        Bounds {
            arguments: shared.settings.max_arguments.load(Relaxed),
            argument_bytes: shared.settings.largest_value_bytes.load(Relaxed),
            unauthenticated: false,
        }
    }

    /// Runs the batch; `done` follows the end of the last finished request.
    fn run_batch(
        &mut self,
        input: &[u8],
        done: &mut usize,
        core: &mut Core,
        now: UnixMillis,
        reply: &mut Reply,
    ) -> Ran {
        let Core { shared, index, batch, scripts, hot, turn_begun, begun, only_urgent, .. } = core;
        let turn_begun = *turn_begun;
        let stats = &shared.stats[*index];
        let mut guards = shared.keyspace.guards_for(self.state.client.id).with_hot(hot.as_mut());
        batch.look_ahead(input, self.state.db(), &mut guards);
        if self.state.client.paused.load(Relaxed) {
            self.state.client.paused.store(false, Relaxed);
        }
        let mut timing = Timing::start(shared, stats, *begun);
        let is_exact = timing.is_exact();
        let mut lap = |this: &Session, guards: &ShardGuards, upto: usize| {
            let place = |at: usize| batch.requests[at].found.map(|(place, _)| place);
            if let Some(slow) = timing.lap(upto, place) {
                let Request { from, to, found, .. } = batch.requests[slow.first];
                command::server::slowlog::note(
                    shared,
                    now,
                    &this.state,
                    found,
                    batch.args.view(input, from, to),
                    &slow,
                );
            }
            if timing.took_nanos() > stats.longest.hold_nanos.get() && guards.is_locked() {
                // Quick ones, all of them together: what they had locked one after the other is hardly less.
                turn::note_hold(stats, &this.state.client, timing.took_nanos(), false);
            }
            timing.ended().duration_since(turn_begun) >= limits::TURN_TIME
        };
        let large_at = reply.len().saturating_add(shared.command_logs.large_replies.threshold_bytes());
        let only_urgent = *only_urgent;
        let mut run = Run { shared, stats, batch, guards, input, now, reply, scripts, only_urgent, large_at };
        let mut at = 0;
        let ran = loop {
            if at == batch.requests.len() {
                break Ran::All;
            }
            let alone = is_exact || batch.is_slow(at);
            if alone {
                lap(self, &run.guards, at);
                run.guards.time_holds();
            }
            let outcome = self.run_request(&mut run, at);
            if alone {
                let is_script = batch.requests[at].found.is_some_and(|(_, row)| row.group == Group::Scripting);
                turn::note_hold(stats, &self.state.client, run.guards.longest_hold().as_nanos() as u64, is_script);
            }
            match outcome {
                Ok(next) => {
                    *done = batch.requests[at].end;
                    at += 1;
                    if alone && lap(self, &run.guards, at) && next.is_none() {
                        // The others have waited long enough.
                        break Ran::Ended(Next::Yield);
                    }
                    if let Some(next) = next {
                        break Ran::Ended(next);
                    }
                }
                Err(wait) => {
                    *done = batch.requests[at].start;
                    break Ran::Held(at, wait);
                }
            }
        };
        lap(self, &run.guards, at);
        stats.resp_requests.add(at as u64);
        self.state.client.commands.add(at as u64);
        if batch.bytes() >= shared.command_logs.large_requests.threshold_bytes() {
            self.note_large_requests(batch, at, input, shared, now);
        }
        *begun = timing.ended();
        ran
    }

    /// Those of the first `count` requests that are large.
    #[cold]
    fn note_large_requests(&self, batch: &Batch, count: usize, input: &[u8], shared: &Shared, now: UnixMillis) {
        let log = &shared.command_logs.large_requests;
        for Request { from, to, found, .. } in &batch.requests[..count] {
            let args = batch.args.view(input, *from, *to);
            let bytes = command::server::slowlog::request_bytes(args);
            command::server::slowlog::note_large(log, shared, now, &self.state, *found, args, bytes);
        }
    }

    /// Keeps request `at`, which will run again: its streamed arguments are no longer in the input.
    fn hold(&mut self, batch: &mut Batch, at: usize) {
        let Request { from, to, start, end, .. } = batch.requests[at];
        self.args = batch.args.take(from, to, start);
        self.parser.hold(end);
    }

    /// Runs one request. `Ok` when it is finished, with what ends the turn, if anything; `Err` if it must run again,
    /// after this.
    #[inline]
    fn run_request(&mut self, run: &mut Run, at: usize) -> Result<Option<Next>, Next> {
        let Run { shared, stats, batch, reply, now, scripts, .. } = run;
        let Request { from, to, found, hash, seen, .. } = batch.requests[at];
        if from == to {
            return Ok(None);
        }
        let args = batch.args.view(run.input, from, to);
        if let (Some(paused), Some((_, row))) = (shared.clients.pause.at(*now), found)
            && row.accepts(args.len())
            && (paused == Paused::All || self.state.may_write(row, args, &shared.scripts))
            && !shared.draining.load(Relaxed)
            && row.name != "shutdown"
        {
            self.state.client.paused.store(true, Relaxed);
            return Err(Next::Pause);
        }
        let quiet = self.state.replies != ReplyMode::All;
        if quiet && self.state.replies == ReplyMode::SkipNext {
            self.state.replies = ReplyMode::Skip;
        }
        let before = reply.mark();
        let state = &mut self.state;
        let guards = &mut run.guards;
        let mut call = Call { args, hash, seen, now: *now, guards, reply, state, shared, stats, scripts };
        let outcome = match found {
            Some(found) if run.only_urgent && !command::scripting::is_urgent(found) => Err(error::BUSY.into()),
            Some(found) => call.run(found),
            None => Err(call.refuse_unknown()),
        };
        let is_queued = self.state.transaction.is_some();
        let is_message = || !is_queued && found.is_some_and(|(_, row)| row.flags.intersects(Flags::PUBSUB));
        let is_left_out = quiet && !(outcome.is_ok() && is_message());
        match outcome {
            Ok(()) => {}
            Err(Stop::Error(_)) if foreign::is_http(args) => {
                turn::note_foreign(&self.state.client, stats, shared, &"it speaks HTTP");
                reply.foreign(foreign::HTTP_REPLY);
                return Ok(Some(Next::Close));
            }
            Err(Stop::Error(text)) => {
                stats.note_error(&text);
                reply.error(&text);
            }
            Err(Stop::AlreadyReplied) => {}
            Err(wait @ (Stop::Retry | Stop::Busy | Stop::Full)) => {
                // Nothing of it has been done, and nothing is said.
                reply.rewind(before);
                return Err(turn::put_off(&self.state.client, &wait));
            }
        }
        if quiet {
            let from = if is_left_out { before } else { reply.mark() };
            self.leave_out(reply, from);
        }
        stats.commands.add(1);
        if self.state.closing || self.state.client.is_killed() {
            return Ok(Some(Next::Close));
        }
        if run.reply.len() >= run.large_at {
            let (log, bytes) = (&run.shared.command_logs.large_replies, run.reply.since(before));
            command::server::slowlog::note_large(log, run.shared, run.now, &self.state, found, args, bytes);
            run.large_at = run.reply.len().saturating_add(log.threshold_bytes());
        }
        if self.state.room.covers(run.reply.len()) {
            return Ok(None);
        }
        let is_read = found.is_some_and(|(_, row)| row.flags.intersects(Flags::READONLY.union(Flags::TELLS)));
        turn::find_room(&mut self.state, run.shared, run.stats, run.reply, (before, is_read), |reply| {
            reply.error(error::REPLY_LEFT_OUT)
        })
    }

    /// After a command for a client that does not want all replies.
    fn leave_out(&mut self, reply: &mut Reply, mark: Mark) {
        match self.state.replies {
            ReplyMode::All | ReplyMode::SkipNext => {}
            ReplyMode::None => reply.rewind(mark),
            ReplyMode::Skip => {
                reply.rewind(mark);
                self.state.replies = ReplyMode::All;
            }
        }
    }
}

/// What the requests of one batch run with.
struct Run<'r, 'k> {
    shared: &'k Shared,
    stats: &'r CoreStats,
    batch: &'r Batch,
    guards: ShardGuards<'k>,
    input: &'r [u8],
    now: UnixMillis,
    reply: &'r mut Reply,
    scripts: &'r mut Option<Runner>,
    only_urgent: bool,
    /// Where replies come to be so long that the last one may be large: what is so long by itself never ends before.
    large_at: usize,
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
