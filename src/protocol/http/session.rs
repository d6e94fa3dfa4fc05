//! One connection's conversation, sans-IO, as that of RESP: bytes in, replies out.
//!
//! Invariant: `pending` holds exactly the bytes that were received and not yet looked at: the beginning of a head, or what
//! was pipelined behind a request that has to wait. What a request asked for is in `request` and `words` from the end of
//! its head on, its body in `stage`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::access;
use super::answer::{self, Refusal, Status, Writer};
use super::body::{Body, Received};
use super::head::{self, Framing, Method, Scan};
use super::resource::{self, Request};
use crate::base::clock::{self, UnixMillis};
use crate::base::extents::Extents;
use crate::clients::{Client, Paused};
use crate::command::timing::Timing;
use crate::command::{self, Call, ConnectionState, Flags, Table};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::kept::Kept;
use crate::message::output::Output;
use crate::message::reply::{Reply, RespVersion};
use crate::protocol::core::Core;
use crate::protocol::front::{self, Next, Session as _};
use crate::protocol::turn::{self, Excess, Turns};
use crate::shared::Shared;
use crate::store::hot::Seen;

pub struct Session {
    state: ConnectionState,
    pending: Vec<u8>,
    stage: Stage,
    request: Request,
    /// Those of the command that does what the request asks for.
    words: Kept,
    /// Where large values arrive.
    extents: Extents,
}

/// What comes next.
enum Stage {
    Head(Scan),
    Body(Body),
    /// The request has come and has to run, or to be refused.
    Run,
    /// The last reply has been written; so many bytes of what the client still sends are thrown away, or it would see a
    /// reset connection in place of the reply.
    Linger(usize),
}

/// CR and LF.
const EMPTY_LINE: usize = 2;

const START: Stage = Stage::Head(Scan::NONE);

/// What has become of bytes.
enum Step {
    /// So many were taken.
    Took(usize),
    /// They are all taken, and more is needed.
    More,
    /// The turn ends. So many were taken.
    Ended(usize, Next),
}

impl Session {
    pub fn new(client: Arc<Client>, shared: &Shared) -> Session {
        Session {
            extents: shared.keyspace.extents(client.core),
            // Every request says who it is from.
            state: ConnectionState::new(client, true),
            pending: Vec::new(),
            stage: START,
            request: Request::default(),
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
        if let Stage::Body(body) = &self.stage { body.missing_bytes() } else { 0 }
    }

    fn place(&mut self, core: &Core, bytes: usize) -> Option<&mut [u8]> {
        let bytes = turn::admit(self, core, bytes)?;
        if let Stage::Body(body) = &mut self.stage { body.place(bytes) } else { None }
    }

    fn placed(&mut self, core: &Core, bytes: usize) {
        if let Stage::Body(body) = &mut self.stage {
            body.placed(bytes);
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
        self.stage = START;
    }
}

impl Turns for Session {
    fn state(&mut self) -> &mut ConnectionState {
        &mut self.state
    }

    fn held_bytes(&self) -> usize {
        self.pending.capacity() + self.words.held_bytes() + self.body_bytes()
    }

    fn arrived_bytes(&self) -> usize {
        self.pending.len() + self.body_bytes()
    }

    fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    fn take_in(&mut self, input: &[u8], core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Next {
        if self.pending.is_empty() {
            let (used, next) = self.run(input, core, now, reply);
            self.pending.extend_from_slice(&input[used..]);
            return next;
        }
        if self.pending.try_reserve(input.len()).is_err() {
            self.refuse(
                core,
                now,
                reply,
                Refusal::new(Status::InsufficientStorage, "there is no memory for the request"),
            );
            return Next::Close;
        }
        self.pending.extend_from_slice(input);
        let mut buffered = std::mem::take(&mut self.pending);
        let (used, next) = self.run(&buffered, core, now, reply);
        if used < buffered.len() {
            buffered.drain(..used);
            self.pending = buffered;
        }
        next
    }

    fn refuse_excess(&mut self, excess: Excess, core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Next {
        let status = match excess {
            Excess::Query => Status::ContentTooLarge,
            Excess::Memory => Status::InsufficientStorage,
        };
        core.stats().query_limit_closed.add(1);
        self.refuse(core, now, reply, Refusal::new(status, excess.text()));
        self.end(core);
        Next::Close
    }
}

impl Session {
    /// What has come of a body.
    fn body_bytes(&self) -> usize {
        if let Stage::Body(body) = &self.stage { body.held_bytes() } else { 0 }
    }

    /// Says why, before the connection is closed.
    fn refuse(&mut self, core: &mut Core, now: UnixMillis, reply: &mut Reply, refusal: Refusal) {
        let connection = "Connection: close\r\n";
        let mut writer = Writer { date: &mut core.date, now, without_body: false, connection };
        writer.refusal(reply, refusal);
    }

    /// Takes in bytes until they are used up or the turn is over. Returns how many of them are done with.
    fn run(&mut self, input: &[u8], core: &mut Core, now: UnixMillis, reply: &mut Reply) -> (usize, Next) {
        let mut at = 0;
        let mut requests = 0;
        loop {
            let was_run = matches!(self.stage, Stage::Run);
            match self.step(&input[at..], core, now, reply) {
                Ok(Step::Took(used)) => at += used,
                Ok(Step::More) => return (if self.is_in_head() { at } else { input.len() }, Next::Receive),
                Ok(Step::Ended(used, next)) => return (at + used, next),
                Err(refusal) => {
                    // What is refused already says why.
                    let refusal = self.request.refusal.take().unwrap_or(refusal);
                    turn::note_foreign(&self.state.client, core.stats(), &core.shared, &refusal.text);
                    self.refuse(core, now, reply, refusal);
                    return (input.len(), Next::Close);
                }
            }
            requests += was_run as usize;
            let is_over = requests == limits::TURN_REQUESTS_MAX || requests > 0 && core.is_turn_over();
            if was_run && is_over {
                return (at, Next::Yield);
            }
        }
    }

    fn is_in_head(&self) -> bool {
        matches!(self.stage, Stage::Head(_))
    }

    /// Takes what comes next from the front of `input`.
    ///
    /// # Errors
    /// It is malformed: the connection has to be closed.
    fn step(&mut self, input: &[u8], core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Result<Step, Refusal> {
        match &mut self.stage {
            Stage::Head(scan) => match scan.end(input)? {
                None => Ok(Step::More),
                // Old clients send one behind a body.
                Some(EMPTY_LINE) => {
                    *scan = Scan::NONE;
                    Ok(Step::Took(EMPTY_LINE))
                }
                Some(end) => {
                    let taken = self.begin(&input[..end], &input[end..], core, now, reply)?;
                    Ok(Step::Took(end + taken))
                }
            },
            Stage::Body(body) => {
                let (used, is_whole) = body.take(input, &self.extents)?;
                if !is_whole {
                    return Ok(Step::More);
                }
                if let Stage::Body(body) = std::mem::replace(&mut self.stage, Stage::Run) {
                    match body.finish() {
                        Received::Small(bytes) => self.words.push_argument(&bytes),
                        Received::Large(blob) => self.words.push_value(blob),
                        Received::Nothing => {}
                    }
                    self.words.end();
                }
                Ok(Step::Took(used))
            }
            Stage::Run => match self.perform(core, now, reply) {
                Ok(None) => Ok(Step::Took(0)),
                Ok(Some(next)) | Err(next) => Ok(Step::Ended(0, next)),
            },
            Stage::Linger(left) if input.len() < *left => {
                *left -= input.len();
                Ok(Step::More)
            }
            Stage::Linger(_) => Ok(Step::Ended(input.len(), Next::Close)),
        }
    }

    /// A head has come, and `rest` behind it, of which so many bytes are taken.
    fn begin(
        &mut self,
        bytes: &[u8],
        rest: &[u8],
        core: &Core,
        now: UnixMillis,
        reply: &mut Reply,
    ) -> Result<usize, Refusal> {
        let (shared, stats) = (&*core.shared, core.stats());
        stats.http_requests.add(1);
        self.request = Request::default();
        let mut head = head::parse(bytes)?;
        let unwelcome = access::refusal(&head, &mut self.state, stats, shared, now);
        self.request = Request::of(&mut head);
        let request = &mut self.request;
        request.refusal = unwelcome.or(request.refusal);
        request.keeps_alive &= !shared.draining.load(Relaxed);
        self.stage = Stage::Run;
        if request.refusal.is_none() {
            let most = shared.settings.largest_value_bytes.load(Relaxed);
            match Body::kept(head.framing, most) {
                Err(refusal) => request.refusal = Some(refusal),
                Ok(body) => {
                    resource::push_words(&head, &mut self.words);
                    return Ok(self.expect(head.framing, body, head.waits, rest, reply));
                }
            }
        }
        if head.waits {
            // It is told before it sends anything.
            request.keeps_alive = false;
        } else if let Some(body) = Body::discarded(head.framing) {
            self.stage = Stage::Body(body);
        } else if matches!(head.framing, Framing::Length(1..)) {
            // Too much to be thrown away: `perform` lingers.
            request.keeps_alive = false;
            request.is_overlong = true;
        }
        Ok(0)
    }

    /// Prepares for the body of a request that is served; what has come of a small one is taken at once.
    fn expect(&mut self, framing: Framing, body: Option<Body>, waits: bool, rest: &[u8], reply: &mut Reply) -> usize {
        let Some(body) = body else {
            if self.request.method == Method::Put {
                self.words.push_argument(b"");
            }
            self.words.end();
            return 0;
        };
        if let Framing::Length(length) = framing
            && length < limits::STREAMED_ARGUMENT_MIN_BYTES as u64
            && rest.len() as u64 >= length
        {
            self.words.push_argument(&rest[..length as usize]);
            self.words.end();
            return length as usize;
        }
        if waits && rest.is_empty() {
            reply.write(answer::CONTINUE);
        }
        self.stage = Stage::Body(body);
        0
    }

    /// Runs the request that has come. `Ok` when it is answered, with what ends the turn, if anything; `Err` if it must run
    /// again, after this.
    fn perform(&mut self, core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Result<Option<Next>, Next> {
        let Core { shared, index, scripts, date, begun, only_urgent, .. } = core;
        let (shared, stats) = (&**shared, &shared.stats[*index]);
        let request = &self.request;
        let before = reply.mark();
        let without_body = request.method == Method::Head;
        let mut writer = Writer { date, now, without_body, connection: request.connection() };
        let mut is_read = true;
        if let Some(refusal) = request.refusal {
            writer.refusal(reply, refusal);
        } else if request.is_about_health() {
            resource::health(request, shared, reply, &mut writer);
        } else if *only_urgent {
            let text = "BUSY a script keeps the core busy";
            writer.text(reply, Status::Unavailable, text);
        } else if let Some(found) = Table::get().lookup(self.words.get(0)) {
            let args = self.words.get(0);
            let row = found.1;
            is_read = row.flags.intersects(Flags::READONLY.union(Flags::TELLS));
            if let Some(paused) = shared.clients.pause.at(now)
                && (paused == Paused::All || row.flags.intersects(Flags::WRITE))
                && !shared.draining.load(Relaxed)
            {
                self.state.client.paused.store(true, Relaxed);
                return Err(Next::Pause);
            }
            self.state.client.paused.store(false, Relaxed);
            let mut timing = Timing::start(shared, stats, *begun);
            let mut guards = shared.keyspace.guards_for(self.state.client.id);
            let hash = if args.len() > 1 { shared.keyspace.hash(args.get(1)) } else { 0 };
            let (guards, state) = (&mut guards, &mut self.state);
            let mut call = Call { args, hash, seen: Seen::Cold, now, guards, reply, state, shared, stats, scripts };
            let outcome = call.execute_by(found, |call, row| resource::run(call, row, request, &mut writer));
            match outcome {
                Ok(()) | Err(Stop::AlreadyReplied) => {}
                Err(Stop::Error(text)) => {
                    stats.note_error(&text);
                    reply.rewind(before);
                    writer.text(reply, resource::status_of(&text), &text);
                }
                Err(wait @ (Stop::Retry | Stop::Busy | Stop::Full)) => {
                    reply.rewind(before);
                    return Err(turn::put_off(&self.state.client, &wait));
                }
            }
            stats.commands.add(1);
            self.state.client.commands.add(1);
            let logs = &shared.command_logs;
            for (log, bytes) in [
                (&logs.large_requests, command::server::slowlog::request_bytes(args)),
                (&logs.large_replies, reply.since(before)),
            ] {
                command::server::slowlog::note_large(log, shared, now, &self.state, Some(found), args, bytes);
            }
            if let Some(slow) = timing.lap(1, |_| Some(found.0)) {
                command::server::slowlog::note(shared, now, &self.state, Some(found), args, &slow);
            }
            if timing.took_nanos() > stats.longest.hold_nanos.get() {
                turn::note_hold(stats, &self.state.client, timing.took_nanos(), false);
            }
            *begun = timing.ended();
        } else {
            writer.text(reply, Status::Forbidden, turn::TAKEN_AWAY);
        }
        let room = if self.state.room.covers(reply.len()) {
            None
        } else {
            turn::find_room(&mut self.state, shared, stats, reply, (before, is_read), |reply| {
                writer.text(reply, Status::Unavailable, error::REPLY_LEFT_OUT)
            })?
        };
        Ok(self.finish(room))
    }

    /// The request is answered. What ends the turn, if anything.
    fn finish(&mut self, room: Option<Next>) -> Option<Next> {
        // An idle connection holds little.
        if self.words.held_bytes() > limits::FREE_REPLY_BYTES {
            self.words = Kept::default();
        } else {
            self.words.clear();
        }
        self.stage = START;
        self.request.refusal = None;
        if self.request.is_overlong {
            self.stage = Stage::Linger(limits::HTTP_DISCARDED_BYTES);
            return room;
        }
        if !self.request.keeps_alive || self.state.client.is_killed() {
            return Some(Next::Close);
        }
        room
    }
}

#[cfg(test)]
mod tests;
