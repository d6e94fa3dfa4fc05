//! One connection's conversation in memcached's protocol, sans-IO.
//!
//! Invariant: `pending` holds exactly the bytes that were received and not yet turned into finished requests, except those of
//! a large value on its way.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::answer;
use super::arriving::Arriving;
use super::batch::{self, Batch, Behind, Bounds, Request, Within};
use super::line::{Line, Verb};
use crate::base::clock::{self, UnixMillis};
use crate::base::extents::Extents;
use crate::clients::Client;
use crate::command::timing::Timing;
use crate::command::{self, ConnectionState};
use crate::config::limits;
use crate::message::kept::Kept;
use crate::message::output::Output;
use crate::message::reply::{Reply, RespVersion};
use crate::protocol::core::Core;
use crate::protocol::front::{self, Next};
use crate::protocol::turn::{self, Excess, Turns};
use crate::shared::Shared;
use crate::store::guards::ShardGuards;

mod running;

use running::Run;

pub struct Session {
    state: ConnectionState,
    pending: Vec<u8>,
    within: Within,
    /// The line that goes on was answered with an error in place of its end: its other keys are passed over.
    is_line_over: bool,
    /// It was said in the log that the client speaks the binary protocol.
    is_binary_noted: bool,
    stage: Stage,
    /// Those of the request whose value is arriving.
    words: Kept,
    extents: Extents,
}

/// What the bytes that come next are.
enum Stage {
    Lines,
    /// The value of a request.
    Value(Request, Arriving),
    /// Nothing: the request whose words are kept has to run, and then so many bytes are thrown away.
    Run(Request, usize),
    /// Of no use: so many of them are thrown away.
    Discarded(usize),
}

/// How far a batch has come.
enum Ran {
    All,
    /// The turn ends after a request that is finished, with so many requests done.
    Ended(usize, Next),
    /// The turn ends before this request.
    Held(usize, Next),
}

impl Session {
    pub fn new(client: Arc<Client>, shared: &Shared) -> Session {
        Session {
            extents: shared.keyspace.extents(client.core),
            state: ConnectionState::new(client, !shared.settings.needs_password()),
            pending: Vec::new(),
            within: Within::Line,
            is_line_over: false,
            is_binary_noted: false,
            stage: Stage::Lines,
            words: Kept::default(),
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
        turn::take(self, RespVersion::Resp2, input, core, turn, queued, output)
    }

    fn missing_bytes(&self) -> usize {
        if let Stage::Value(_, arriving) = &self.stage { arriving.missing_bytes() } else { 0 }
    }

    fn place(&mut self, core: &Core, bytes: usize) -> Option<&mut [u8]> {
        let bytes = turn::admit(self, core, bytes)?;
        if let Stage::Value(_, arriving) = &mut self.stage { arriving.place(bytes) } else { None }
    }

    fn placed(&mut self, core: &Core, bytes: usize) {
        if let Stage::Value(_, arriving) = &mut self.stage {
            arriving.placed(bytes);
        }
        turn::note_placed(&self.state.client, core.stats(), bytes);
    }

    fn sent(&mut self, core: &Core, queued: usize) {
        turn::sent(self, core, queued);
    }

    fn end(&mut self, core: &Core) {
        self.state.room.end(&core.shared.clients);
        self.pending = Vec::new();
        self.words = Kept::default();
        self.stage = Stage::Lines;
    }
}

impl Turns for Session {
    fn state(&mut self) -> &mut ConnectionState {
        &mut self.state
    }

    fn held_bytes(&self) -> usize {
        self.pending.capacity() + self.words.held_bytes() + self.arriving_bytes()
    }

    fn arrived_bytes(&self) -> usize {
        self.pending.len() + self.arriving_bytes()
    }

    fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    fn take_in(&mut self, mut input: &[u8], core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Next {
        command::flush_if_due(&core.shared, now);
        if self.pending.is_empty() {
            let next = self.run(&mut input, core, now, reply);
            self.pending.extend_from_slice(input);
            return next;
        }
        if self.pending.try_reserve(input.len()).is_err() {
            answer::line(reply, answer::NO_MEMORY);
            return Next::Close;
        }
        self.pending.extend_from_slice(input);
        let buffered = std::mem::take(&mut self.pending);
        let mut rest = &buffered[..];
        let next = self.run(&mut rest, core, now, reply);
        let used = buffered.len() - rest.len();
        if used < buffered.len() {
            self.pending = buffered;
            self.pending.drain(..used);
        }
        next
    }

    fn refuse_excess(&mut self, _: Excess, core: &mut Core, _: UnixMillis, reply: &mut Reply) -> Next {
        core.stats().query_limit_closed.add(1);
        answer::line(reply, answer::NO_MEMORY);
        front::Session::end(self, core);
        Next::Close
    }
}

impl Session {
    fn arriving_bytes(&self) -> usize {
        if let Stage::Value(_, arriving) = &self.stage { arriving.held_bytes() } else { 0 }
    }

    /// Takes in bytes until they are used up or the turn is over; what is left of them stays.
    fn run(&mut self, input: &mut &[u8], core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Next {
        let mut left = limits::TURN_REQUESTS_MAX;
        loop {
            match &mut self.stage {
                Stage::Discarded(bytes) => {
                    let taken = input.len().min(*bytes);
                    (*bytes, *input) = (*bytes - taken, &input[taken..]);
                    if *bytes > 0 {
                        return Next::Receive;
                    }
                    self.stage = Stage::Lines;
                }
                Stage::Value(..) => {
                    if !self.take_value(input) {
                        return Next::Receive;
                    }
                    continue;
                }
                Stage::Run(request, behind) => {
                    let (request, behind) = (*request, *behind);
                    let ran = self.run_kept(request, core, now, reply);
                    if ran.is_ok() {
                        self.stage = Stage::Discarded(behind);
                    }
                    if let Err(next) | Ok(Some(next)) = ran {
                        return next;
                    }
                    left = left.saturating_sub(1);
                }
                Stage::Lines => match self.run_lines(input, core, now, reply, &mut left) {
                    Some(next) => return next,
                    None => continue,
                },
            }
            if left == 0 || core.is_turn_over() {
                return Next::Yield;
            }
        }
    }

    /// Reads a batch of requests and runs it. What ends the turn, if anything.
    fn run_lines(
        &mut self,
        input: &mut &[u8],
        core: &mut Core,
        now: UnixMillis,
        reply: &mut Reply,
        left: &mut usize,
    ) -> Option<Next> {
        let mut batch = std::mem::take(&mut core.memcached);
        let bounds = self.bounds(&core.shared);
        let mut within = self.within;
        batch.read(input, 0, &mut within, &bounds);
        *left = left.saturating_sub(batch.requests.len());
        let (mut behind, mut end) = (batch.behind, batch.end);
        let mut next = None;
        if !batch.requests.is_empty() {
            let (done, ended) = match self.run_batch(&mut batch, input, core, now, reply) {
                Ran::All => (batch.requests.len(), None),
                Ran::Ended(done, ended) | Ran::Held(done, ended) => (done, Some(ended)),
            };
            next = ended;
            if let Some(first) = batch.requests.get(done) {
                // What was read ahead lies in the input still, and is read again.
                end = first.start;
                within = if first.resumes { Within::Keys(first.line) } else { Within::Line };
                behind = Behind::Requests;
            }
        }
        match behind {
            Behind::Value => {
                self.expect_value(&batch, input);
                end = batch.arriving.end;
            }
            Behind::Discarded(bytes) => self.stage = Stage::Discarded(bytes),
            Behind::LongLine if next.is_none() => {
                turn::note_foreign(&self.state.client, core.stats(), &core.shared, &"a line without an end");
                answer::line(reply, answer::LONG_LINE);
                next = Some(Next::Close);
            }
            Behind::Tls if next.is_none() => {
                turn::note_foreign(&self.state.client, core.stats(), &core.shared, &turn::NO_TLS);
                next = Some(Next::Close);
            }
            Behind::Part if next.is_none() => next = Some(Next::Receive),
            _ => {}
        }
        if matches!(behind, Behind::Requests) && next.is_none() && (*left == 0 || core.is_turn_over()) {
            next = Some(Next::Yield);
        }
        (self.within, *input) = (within, &input[end..]);
        batch.clear();
        core.memcached = batch;
        next
    }

    fn bounds(&self, shared: &Shared) -> Bounds {
        if !self.state.authenticated {
            return Bounds { item_bytes: limits::UNAUTHENTICATED_ARGUMENT_BYTES, one: true };
        }
        let largest = shared.settings.largest_value_bytes.load(Relaxed);
        Bounds { item_bytes: shared.settings.memcached_item_bytes.min(largest), one: false }
    }

    /// A request has come whose value is large: from now on it goes to where it will lie.
    fn expect_value(&mut self, batch: &Batch, input: &[u8]) {
        let request = batch.arriving;
        let words = batch.args.view(input, request.from, request.to);
        words.iter().for_each(|word| self.words.push_argument(word));
        let length = request.line.length.expect("a value has a length");
        self.stage = Stage::Value(request, Arriving::new(length, &self.extents));
    }

    /// Takes in what belongs to the value that is arriving; false while there is more to come.
    fn take_value(&mut self, input: &mut &[u8]) -> bool {
        let Stage::Value(request, mut arriving) = std::mem::replace(&mut self.stage, Stage::Lines) else { return true };
        let left = arriving.left_bytes();
        match arriving.take(input) {
            Ok(taken) => *input = &input[taken..],
            Err(_) => {
                self.refuse_value(request, answer::NO_MEMORY, left);
                return true;
            }
        }
        if !arriving.has_come() {
            self.stage = Stage::Value(request, arriving);
            return false;
        }
        match arriving.finish() {
            Some(value) => {
                self.words.push_value(value);
                self.words.end();
                self.stage = Stage::Run(request, 0);
            }
            None => self.refuse_value(request, answer::BAD_DATA, 0),
        }
        true
    }

    /// The value cannot be had: the request is refused when the `left` bytes of it have been thrown away.
    fn refuse_value(&mut self, request: Request, refusal: &'static str, left: usize) {
        let is_lost = refusal == answer::NO_MEMORY && matches!(request.line.verb, Verb::Set | Verb::MetaSet);
        let verb = if is_lost { Verb::RefusedValue } else { Verb::Refused };
        let quiet = request.line.quiet && request.line.verb != Verb::MetaSet;
        let line = Line { verb, refusal, quiet, ..request.line };
        self.words.end();
        self.stage = Stage::Run(Request { line, ..request }, left);
    }

    /// Runs the request whose words are kept. As `run_request`.
    fn run_kept(
        &mut self,
        mut request: Request,
        core: &mut Core,
        now: UnixMillis,
        reply: &mut Reply,
    ) -> Result<Option<Next>, Next> {
        let words = std::mem::take(&mut self.words);
        let Core { shared, index, scripts, begun, only_urgent, .. } = core;
        let (shared, stats) = (&**shared, &shared.stats[*index]);
        let guards = shared.keyspace.guards_for(self.state.client.id);
        let args = words.get(0);
        request.found = batch::row(&request.line);
        request.hash = if request.line.verb.has_key() { shared.keyspace.hash(args.get(1)) } else { 0 };
        let mut timing = Timing::start(shared, stats, *begun);
        let mut run = Run { shared, stats, guards, now, reply, scripts, only_urgent: *only_urgent };
        let outcome = self.run_request(&mut run, &request, args);
        let place = request.found.map(|(place, _)| place);
        if let Some(slow) = timing.lap(1, |_| place) {
            command::server::slowlog::note(shared, now, &self.state, request.found, args, &slow);
        }
        if timing.took_nanos() > stats.longest.hold_nanos.get() {
            turn::note_hold(stats, &self.state.client, timing.took_nanos(), false);
        }
        *begun = timing.ended();
        if outcome.is_err() {
            self.words = words;
            return outcome;
        }
        stats.memcached_requests.add(1);
        outcome
    }

    fn run_batch(
        &mut self,
        batch: &mut Batch,
        input: &[u8],
        core: &mut Core,
        now: UnixMillis,
        reply: &mut Reply,
    ) -> Ran {
        let Core { shared, index, scripts, turn_begun, begun, only_urgent, .. } = core;
        let (shared, turn_begun) = (&**shared, *turn_begun);
        let stats = &shared.stats[*index];
        let mut guards = shared.keyspace.guards_for(self.state.client.id);
        batch.look_ahead(input, &mut guards);
        if self.state.client.paused.load(Relaxed) {
            self.state.client.paused.store(false, Relaxed);
        }
        let batch = &*batch;
        let mut timing = Timing::start(shared, stats, *begun);
        let is_exact = timing.is_exact();
        let mut lap = |this: &Session, guards: &ShardGuards, upto: usize| {
            let place = |at: usize| batch.requests[at].found.map(|(place, _)| place);
            if let Some(slow) = timing.lap(upto, place) {
                let (found, words) = (batch.requests[slow.first].found, batch.words(input, slow.first));
                command::server::slowlog::note(shared, now, &this.state, found, words, &slow);
            }
            if timing.took_nanos() > stats.longest.hold_nanos.get() && guards.is_locked() {
                turn::note_hold(stats, &this.state.client, timing.took_nanos(), false);
            }
            timing.ended().duration_since(turn_begun) >= limits::TURN_TIME
        };
        let mut run = Run { shared, stats, guards, now, reply, scripts, only_urgent: *only_urgent };
        let mut at = 0;
        let ran = loop {
            let Some(request) = batch.requests.get(at) else { break Ran::All };
            let alone = is_exact || request.found.is_some_and(|(_, row)| !row.is_quick(request.to - request.from));
            if alone {
                lap(self, &run.guards, at);
            }
            match self.run_request(&mut run, request, batch.words(input, at)) {
                Ok(next) => {
                    at += 1;
                    if alone && lap(self, &run.guards, at) && next.is_none() {
                        break Ran::Ended(at, Next::Yield);
                    }
                    if let Some(next) = next {
                        break Ran::Ended(at, next);
                    }
                }
                Err(wait) => break Ran::Held(at, wait),
            }
        };
        lap(self, &run.guards, at);
        stats.memcached_requests.add(at as u64);
        *begun = timing.ended();
        ran
    }
}

#[cfg(test)]
mod tests;
