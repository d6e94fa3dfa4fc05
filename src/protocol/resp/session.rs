//! One connection's conversation, sans-IO: the engine pushes bytes in and takes replies out. No socket, no clock, no
//! `async`: tests, benchmarks and both engines drive the same code.
//!
//! Invariant: `pending` holds exactly the bytes that were received and not yet turned into finished requests, except
//! those of a streamed argument, which the parser keeps.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::base::clock::{self, UnixMillis};
use crate::clients::{Client, MemoryQuota, Paused};
use crate::command::timing::Timing;
use crate::command::{self, Call, ConnectionState, Found, ReplyMode, Table};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::reply::{Mark, Reply};
use crate::message::request::Args;
use crate::observe::stats::CoreStats;
use crate::protocol::resp::parser::{Bounds, Parsed, Parser, ProtocolError};
use crate::script::runner::Runner;
use crate::shared::Shared;
use crate::store::keyspace::ShardGuards;

/// What the engine does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Receive more.
    Receive,
    /// Let other connections have their turn, then call `advance` again without input.
    Yield,
    /// The same, and rest for a moment before: what is needed is held for long.
    Rest,
    /// Send until less is queued, then call `advance` again without input.
    Drain,
    /// Wait until the client is woken, then call `advance` again without input.
    Pause,
    /// Send what is queued, then close.
    Close,
}

/// What one core's sessions work with: the shared state, and scratch space that no session keeps.
pub struct Core {
    pub shared: Arc<Shared>,
    pub index: usize,
    batch: Batch,
    scripts: Option<Runner>,
    /// When the turn began, or its last batch ended.
    begun: Instant,
    /// A script keeps the core busy: whatever cannot help that is refused.
    only_urgent: bool,
}

impl Core {
    pub fn new(shared: Arc<Shared>, index: usize) -> Core {
        Core::attended(shared, index, Box::new(|| {}))
    }

    /// `attend` is called now and then while a script runs that keeps this core from everything else.
    pub fn attended(shared: Arc<Shared>, index: usize, attend: Box<dyn Fn()>) -> Core {
        let scripts = Some(command::scripting::runner(shared.clone(), index, attend));
        Core { shared, index, batch: Batch::default(), scripts, begun: clock::tick(), only_urgent: false }
    }

    /// For those who come while a script keeps the core busy.
    pub fn urgent(shared: Arc<Shared>, index: usize) -> Core {
        Core { shared, index, batch: Batch::default(), scripts: None, begun: clock::tick(), only_urgent: true }
    }

    pub fn stats(&self) -> &CoreStats {
        &self.shared.stats[self.index]
    }
}

/// Requests parsed ahead of their execution.
#[derive(Default)]
struct Batch {
    args: Args,
    requests: Vec<Request>,
    /// All of the input has been parsed; what is left of it is the beginning of a request.
    exhausted: bool,
    /// The first error in the bytes, after all the requests.
    error: Option<ProtocolError>,
}

struct Request {
    /// The request's arguments, as positions in `Batch::args`.
    from: usize,
    to: usize,
    /// Where it starts and ends in the input.
    start: usize,
    end: usize,
    found: Option<Found>,
    /// Of its first key; 0 without one.
    hash: u64,
}

impl Batch {
    /// Request `at` is timed by itself.
    fn is_slow(&self, at: usize) -> bool {
        let request = &self.requests[at];
        request.found.is_some_and(|(_, row)| !row.is_quick(request.to - request.from))
    }
}

pub struct Session {
    state: ConnectionState,
    parser: Parser,
    /// The arguments of the request that has come in part, or that waits for room.
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
            parser: Parser::default(),
            args: Args::default(),
            pending: Vec::new(),
            charge: MemoryQuota::new(client),
            queued: 0,
            reply_room: limits::IO_BUFFER_BYTES,
        }
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.state.client
    }

    /// Takes what was received (nothing, when called again after `Yield` or `Drain`), runs what is complete, and
    /// appends the replies. `queued` is what the engine still has to send from before.
    pub fn advance(
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
        reply.protocol = self.state.protocol;
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

    /// Called when replies have left: `queued` bytes of them still wait.
    pub fn sent(&mut self, core: &Core, queued: usize) {
        self.state.client.waiting_bytes.store(queued, Relaxed);
        if queued > limits::IO_BUFFER_BYTES {
            // They may be more than was charged, when there was no room for them: they wait all the same.
            self.charge.resize_with_replies(&core.shared.clients, self.held_bytes() + queued);
        } else {
            // Giving back is never refused.
            self.charge.resize(&core.shared.clients, self.held_bytes());
        }
    }

    /// Called when the connection is over, however it ended.
    pub fn end(&mut self, core: &Core) {
        self.charge.resize(&core.shared.clients, 0);
        self.pending = Vec::new();
        let mut guards = core.shared.keyspace.hold();
        self.state.leave_transaction(&mut guards);
        self.state.stop_tracking(&mut guards);
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
        loop {
            self.parse_batch(input, done, core);
            let stopped = self.run_batch(input, &mut done, core, now, reply);
            turn = turn.saturating_sub(core.batch.requests.len());
            let error = core.batch.error.take();
            let next = match (stopped, error) {
                (Some(next), _) => Some(next),
                (None, Some(error)) => {
                    core.stats().protocol_errors.add(1);
                    reply.error(&format!("ERR Protocol error: {error}"));
                    Some(Next::Close)
                }
                (None, None) if core.batch.exhausted => Some(Next::Receive),
                (None, None) if turn == 0 => Some(Next::Yield),
                (None, None) => None,
            };
            if let Some(next) = next {
                let keeps = matches!(stopped, Some(Next::Yield | Next::Pause)) && !self.args.is_empty();
                if next != Next::Receive && !keeps {
                    // Requests that were parsed ahead are parsed again; a request that is kept waits in `args`.
                    self.parser.rewind(done);
                    self.args.clear();
                }
                core.batch.args.clear();
                core.batch.args.shrink();
                self.parser.rebase(done);
                return (done, next);
            }
        }
    }

    /// Fills the batch with the requests that `input` holds from `done` on. The beginning of an incomplete one is
    /// kept in `self.args`.
    fn parse_batch(&mut self, input: &[u8], done: usize, core: &mut Core) {
        let bounds = self.bounds(&core.shared);
        let batch = &mut core.batch;
        batch.requests.clear();
        batch.exhausted = false;
        // The arguments of a request that has come in part before come first.
        batch.args.clear();
        if !self.args.is_empty() {
            std::mem::swap(&mut batch.args, &mut self.args);
        }
        let mut start = done;
        // One request is parsed in any case: what has come of it may already be more arguments than a batch has.
        while batch.requests.is_empty()
            || batch.requests.len() < limits::BATCH_REQUESTS_MAX && batch.args.len() < limits::BATCH_ARGUMENTS_MAX
        {
            let from = batch.requests.last().map_or(0, |request: &Request| request.to);
            match self.parser.next(input, &bounds, &mut batch.args) {
                Ok(Parsed::Request) => {
                    let (to, end) = (batch.args.len(), self.parser.pos());
                    batch.requests.push(Request { from, to, start, end, found: None, hash: 0 });
                    start = end;
                }
                Ok(Parsed::Incomplete) => {
                    batch.exhausted = true;
                    if start == 0 {
                        // The common case for a request of many arguments: nothing before it, nothing to move.
                        std::mem::swap(&mut batch.args, &mut self.args);
                    } else {
                        self.args = batch.args.keep(from, batch.args.len(), start);
                    }
                    break;
                }
                Err(error) => {
                    batch.error = Some(error);
                    break;
                }
            }
            if !self.state.authenticated {
                // The bounds may change with the next command.
                break;
            }
        }
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

    /// Runs the batch; `done` follows the end of the last finished request. `Some` when the turn ends before the
    /// batch does.
    fn run_batch(
        &mut self,
        input: &[u8],
        done: &mut usize,
        core: &mut Core,
        now: UnixMillis,
        reply: &mut Reply,
    ) -> Option<Next> {
        let Core { shared, index, batch, scripts, begun, only_urgent } = core;
        let stats = &shared.stats[*index];
        let mut guards = shared.keyspace.hold_for(self.state.client.id);
        look_ahead(input, batch, self.state.db, &mut guards);
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
        let ended = loop {
            if at == batch.requests.len() {
                break None;
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
                    if next.is_some() {
                        break next;
                    }
                }
                Err(wait) => {
                    // Its streamed arguments are no longer in the input: keep them all, as they are.
                    let Request { from, to, start, end, .. } = batch.requests[at];
                    self.args = batch.args.keep(from, to, start);
                    self.parser.hold(end);
                    *done = start;
                    break Some(wait);
                }
            }
        };
        lap(self, at);
        *begun = timing.ended();
        ended
    }

    /// Runs one request. `Err` if it must run again, after this.
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
        {
            self.state.client.paused.store(true, Relaxed);
            return Err(Next::Pause);
        }
        let quiet = self.state.replies != ReplyMode::All;
        if quiet && self.state.replies == ReplyMode::SkipNext {
            self.state.replies = ReplyMode::Skip;
        }
        let before = quiet.then(|| reply.mark());
        let state = &mut self.state;
        let guards = &mut run.guards;
        let mut call = Call { args, hash, now: *now, guards, reply, state, shared, stats, scripts };
        let outcome = match found {
            Some(found) if run.only_urgent && !command::scripting::is_urgent(found) => Err(error::BUSY.into()),
            Some(found) => call.run(found),
            None if is_web_request(args.get(0)) => {
                stats.protocol_errors.add(1);
                return Ok(Some(Next::Close));
            }
            None => Err(call.refuse_unknown()),
        };
        match outcome {
            Ok(()) => {}
            Err(Stop::Error(text)) => {
                stats.note_error(&text);
                reply.error(&text);
            }
            Err(Stop::AlreadyReplied) => {}
            Err(Stop::Retry) => return Err(Next::Yield),
            Err(Stop::Busy) => return Err(Next::Rest),
        }
        if let Some(mark) = before {
            self.leave_out(reply, mark);
        }
        stats.commands.add(1);
        if self.state.closing || self.state.client.is_killed() {
            return Ok(Some(Next::Close));
        }
        Ok(self.make_way(run))
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

/// Looks up each request's row and hashes its first key, then starts fetching the memory that the look-ups will
/// touch.
fn look_ahead(input: &[u8], batch: &mut Batch, db: u8, guards: &mut ShardGuards) {
    let table = Table::get();
    for request in &mut batch.requests {
        let args = batch.args.view(input, request.from, request.to);
        if args.is_empty() {
            continue;
        }
        request.found = table.lookup(args);
        if let Some((_, row)) = request.found
            && row.keys.first > 0
            && args.len() > row.keys.first as usize
        {
            request.hash = guards.keyspace().hash(args.get(row.keys.first as usize));
        }
    }
    if batch.requests.len() > 1 {
        guards.prefetch(db, batch.requests.iter().map(|request| request.hash).filter(|hash| *hash != 0));
    }
}

/// A browser or a proxy that was made to talk to us: nothing it sends may run.
fn is_web_request(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}
