//! One connection's conversation, sans-IO: the engine pushes bytes in and takes replies out. No socket, no clock, no
//! `async`: tests, benchmarks and both engines drive the same code.
//!
//! Invariant: `pending` holds exactly the bytes that were received and not yet turned into finished requests, except
//! those of a streamed argument, which the parser keeps.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::batch::{Batch, Request};
use super::foreign;
use super::parser::{Bounds, Parser, ProtocolError};
use crate::base::clock::{self, UnixMillis};
use crate::clients::{Client, MemoryQuota, Paused};
use crate::command::timing::Timing;
use crate::command::{self, Call, ConnectionState, ReplyMode};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::output::{Mark, Output};
use crate::message::reply::Reply;
use crate::message::request::Args;
use crate::observe::log;
use crate::observe::stats::CoreStats;
use crate::protocol::core::Core;
use crate::protocol::front::{self, Next, Session as _};
use crate::script::runner::Runner;
use crate::shared::Shared;
use crate::store::guards::ShardGuards;

/// How far a batch has come.
enum Ran {
    All,
    /// The turn ends after a request that is finished.
    Ended(Next),
    /// The turn ends before a request, which waits in `Session::args` and has not run.
    Held(Next),
}

pub struct Session {
    state: ConnectionState,
    parser: Parser,
    /// The arguments of the request that has come in part, or that is held.
    args: Args,
    pending: Vec<u8>,
    /// Our part of the client memory.
    charge: MemoryQuota,
    /// Replies that the engine still has to send, from before this turn.
    queued: usize,
    /// Replies, queued and new, that the charge has room for; what one buffer holds is free.
    reply_room: usize,
}

impl Session {
    pub fn new(client: Arc<Client>, shared: &Shared) -> Session {
        Session {
            state: ConnectionState::new(client.clone(), !shared.settings.needs_password()),
            parser: Parser::new(shared.keyspace.extents(client.core)),
            args: Args::default(),
            pending: Vec::new(),
            charge: MemoryQuota::new(client),
            queued: 0,
            reply_room: limits::IO_BUFFER_BYTES,
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
        let mut reply = Reply::over(std::mem::replace(output, Output::unbuffered()), version);
        let next = self.take_turn(input, core, turn, queued, &mut reply);
        *output = reply.into_output();
        next
    }

    fn sent(&mut self, core: &Core, queued: usize) {
        self.state.client.waiting_bytes.store(queued, Relaxed);
        if queued > limits::IO_BUFFER_BYTES {
            // They may be more than was charged, when there was no room for them: they wait all the same.
            self.charge.resize_with_replies(&core.shared.clients, self.held_bytes() + queued);
        } else {
            // Giving back is never refused.
            self.charge.resize(&core.shared.clients, self.held_bytes());
        }
    }

    fn end(&mut self, core: &Core) {
        self.charge.resize(&core.shared.clients, 0);
        self.pending = Vec::new();
        let mut guards = core.shared.keyspace.guards();
        self.state.leave_transaction(&mut guards);
        self.state.stop_tracking(&mut guards);
    }
}

impl Session {
    fn take_turn(
        &mut self,
        input: &[u8],
        core: &mut Core,
        turn: clock::Turn,
        queued: usize,
        reply: &mut Reply,
    ) -> Next {
        let now = turn.now;
        core.begun = turn.begun;
        self.queued = queued;
        self.reply_room = queued.max(limits::IO_BUFFER_BYTES);
        if !input.is_empty() {
            self.state.client.last_active.store(now, Relaxed);
            core.stats().net_input_bytes.add(input.len() as u64);
        }
        let next = self.take_in(input, core, now, reply);
        let held = self.held_bytes();
        let replies = queued + reply.len();
        self.state.client.arrived_bytes.store(self.arrived_bytes(), Relaxed);
        self.state.client.waiting_bytes.store(replies, Relaxed);
        if next == Next::Close {
            self.end(core);
            return Next::Close;
        }
        if held > core.shared.settings.query_limit_bytes.load(Relaxed) {
            return self.refuse(core, reply, "ERR the request is larger than client-query-limit");
        }
        let charged = if replies > limits::IO_BUFFER_BYTES {
            self.charge.resize_with_replies(&core.shared.clients, held + replies)
        } else {
            self.charge.resize(&core.shared.clients, held)
        };
        if !charged {
            // What is charged already stays charged: it covers replies that wait.
            let least = held.max(self.charge.bytes());
            if !self.charge.resize(&core.shared.clients, least) {
                return self.refuse(
                    core,
                    reply,
                    "OOM requests and replies in flight hold an eighth of maxmemory; send smaller ones or raise maxmemory",
                );
            }
            if replies > 0 {
                core.stats().output_waits.add(1);
                return Next::Drain;
            }
        }
        next
    }

    fn arrived_bytes(&self) -> usize {
        self.pending.len() + self.parser.stream_bytes() + self.args.aside_bytes()
    }

    /// What is held of requests that are not run yet, and what is watched for them.
    fn held_bytes(&self) -> usize {
        let transaction = self.state.transaction.as_ref().map_or(0, |transaction| transaction.held_bytes());
        self.pending.capacity()
            + self.parser.stream_bytes()
            + self.args.aside_bytes()
            + transaction
            + self.state.watching.held_bytes()
    }

    fn refuse(&mut self, core: &Core, reply: &mut Reply, text: &str) -> Next {
        core.stats().query_limit_closed.add(1);
        reply.error(text);
        self.end(core);
        Next::Close
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
            self.pending.extend_from_slice(&input[used..]);
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
                (Ran::Held(next), _) => break next,
                (Ran::Ended(next), _) => next,
                (Ran::All, Some(error)) => {
                    self.note_foreign(core.stats(), &core.shared, &error);
                    if error != ProtocolError::Tls {
                        reply.error(&format!("ERR Protocol error: {error}"));
                    }
                    Next::Close
                }
                (Ran::All, None) if core.batch.exhausted => break Next::Receive,
                (Ran::All, None) if turn == 0 => Next::Yield,
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
        let Core { shared, index, batch, scripts, begun, only_urgent } = core;
        let stats = &shared.stats[*index];
        let mut guards = shared.keyspace.guards_for(self.state.client.id);
        batch.look_ahead(input, self.state.db(), &mut guards);
        if self.state.client.paused.load(Relaxed) {
            self.state.client.paused.store(false, Relaxed);
        }
        let mut timing = Timing::start(shared, stats, *begun);
        let is_exact = timing.is_exact();
        let mut lap = |this: &Session, upto: usize| {
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
        };
        let mut run = Run { shared, stats, batch, guards, input, now, reply, scripts, only_urgent: *only_urgent };
        let mut at = 0;
        let ran = loop {
            if at == batch.requests.len() {
                break Ran::All;
            }
            let alone = is_exact || batch.is_slow(at);
            if alone {
                lap(self, at);
            }
            match self.run_request(&mut run, at) {
                Ok(next) => {
                    *done = batch.requests[at].end;
                    at += 1;
                    if alone {
                        lap(self, at);
                    }
                    if let Some(next) = next {
                        break Ran::Ended(next);
                    }
                }
                Err(wait) => {
                    self.hold(batch, at);
                    *done = batch.requests[at].start;
                    break Ran::Held(wait);
                }
            }
        };
        lap(self, at);
        *begun = timing.ended();
        ran
    }

    /// Keeps request `at`, which will run again: its streamed arguments are no longer in the input.
    fn hold(&mut self, batch: &Batch, at: usize) {
        let Request { from, to, start, end, .. } = batch.requests[at];
        self.args = batch.args.keep(from, to, start);
        self.parser.hold(end);
    }

    /// Runs one request. `Ok` when it is finished, with what ends the turn, if anything; `Err` if it must run again,
    /// after this.
    #[inline]
    fn run_request(&mut self, run: &mut Run, at: usize) -> Result<Option<Next>, Next> {
        let Run { shared, stats, batch, reply, now, scripts, .. } = run;
        let Request { from, to, found, hash, .. } = batch.requests[at];
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
        let mut call = Call { args, hash, now: *now, guards, reply, state, shared, stats, scripts };
        let outcome = match found {
            Some(found) if run.only_urgent && !command::scripting::is_urgent(found) => Err(error::BUSY.into()),
            Some(found) => call.run(found),
            None => Err(call.refuse_unknown()),
        };
        match outcome {
            Ok(()) => {}
            Err(Stop::Error(_)) if foreign::is_http(args) => {
                self.note_foreign(stats, shared, &"it speaks HTTP");
                reply.foreign(foreign::HTTP_REPLY);
                return Ok(Some(Next::Close));
            }
            Err(Stop::Error(text)) => {
                stats.note_error(&text);
                reply.error(&text);
            }
            Err(Stop::AlreadyReplied) => {}
            Err(wait @ (Stop::Retry | Stop::Busy)) => {
                // Nothing of it has been done, and nothing is said.
                reply.rewind(before);
                return Err(if matches!(wait, Stop::Busy) { Next::Rest } else { Next::Yield });
            }
        }
        if quiet {
            self.leave_out(reply, before);
        }
        stats.commands.add(1);
        if self.state.closing || self.state.client.is_killed() {
            return Ok(Some(Next::Close));
        }
        Ok(self.make_way(run))
    }

    /// Somebody who does not speak our protocol, or not well.
    #[cold]
    fn note_foreign(&self, stats: &CoreStats, shared: &Shared, what: &dyn std::fmt::Display) {
        stats.protocol_errors.add(1);
        log::PROTOCOL_ERRORS.warn(|| format!("closed {}: {what}", self.state.client.addresses(&shared.unix_path()).0));
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

    /// Ends the turn when the replies find no room.
    fn make_way(&mut self, run: &mut Run) -> Option<Next> {
        let replies = self.queued + run.reply.len();
        if replies > self.reply_room {
            // A turn may ask for far more than it has sent: each step of the replies must find its room.
            run.reply.cut();
            let more = (replies - self.reply_room).next_multiple_of(limits::CLIENT_MEMORY_STEP_BYTES);
            let output_limit = run.shared.settings.output_limit_bytes.load(Relaxed);
            if replies > output_limit || !self.charge.extend_with_replies(&run.shared.clients, more) {
                run.stats.output_waits.add(1);
                return Some(Next::Drain);
            }
            self.reply_room += more;
        }
        None
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
}

#[cfg(test)]
mod tests;
