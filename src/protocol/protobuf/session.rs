//! One connection's conversation, sans-IO, as that of RESP: bytes in, replies out.
//!
//! Invariant: `pending` holds exactly the bytes that were received and not yet looked at: the beginning of a message, or what
//! came behind a request that has to wait. What a request asks for is in `asked` and `words`, those of a batch that have not
//! run are in `batch`, and a large message gathers in `arriving`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Buf, Bytes};

use super::answer;
use super::command::{Asked, Outcome};
use super::message::{self, Command, Malformed, Request};
use crate::base::clock::{self, UnixMillis};
use crate::base::extents::{Extents, Filling};
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
    arriving: Option<Arriving>,
    batch: Bytes,
    /// The request that has come and has to run.
    asked: Option<Asked>,
    words: Kept,
    /// How much memory `batch`, and what is large in `words`, keep.
    lies_in_bytes: usize,
    /// Where large messages arrive.
    extents: Extents,
}

/// A message on its way to a place of its own.
struct Arriving {
    filling: Filling,
    length: usize,
}

impl Arriving {
    fn missing_bytes(&self) -> usize {
        self.length - self.filling.len()
    }
}

/// Why the conversation cannot go on.
enum Fault {
    /// It is no message.
    Malformed(Malformed),
    /// It is longer than one may be.
    TooLong(&'static str),
    NoMemory,
}

impl From<Malformed> for Fault {
    fn from(why: Malformed) -> Fault {
        Fault::Malformed(why)
    }
}

const UNAUTHENTICATED_TOO_LONG: &str = "an unauthenticated message may have 16 KiB";
const BATCH_IN_BATCH: Asked = Asked { id: 0, outcome: Outcome::Refused("ERR a batch holds no batches") };

impl Session {
    pub fn new(client: Arc<Client>, shared: &Shared) -> Session {
        Session {
            extents: shared.keyspace.extents(client.core),
            state: ConnectionState::new(client, !shared.settings.needs_password()),
            pending: Vec::new(),
            arriving: None,
            batch: Bytes::new(),
            asked: None,
            words: Kept::default(),
            lies_in_bytes: 0,
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
        self.arriving.as_ref().map_or(0, Arriving::missing_bytes)
    }

    fn place(&mut self, core: &Core, bytes: usize) -> Option<&mut [u8]> {
        let bytes = turn::admit(self, core, bytes)?;
        let Arriving { filling, length } = self.arriving.as_mut()?;
        filling.space(bytes, *length).ok().filter(|_| bytes > 0)
    }

    fn placed(&mut self, core: &Core, bytes: usize) {
        if let Some(arriving) = &mut self.arriving {
            arriving.filling.filled(bytes);
        }
        turn::note_placed(&self.state.client, core.stats(), bytes);
    }

    fn sent(&mut self, core: &Core, queued: usize) {
        turn::sent(self, core, queued);
    }

    fn end(&mut self, core: &Core) {
        self.state.room.end(&core.shared.clients);
        self.pending = Vec::new();
        self.arriving = None;
        self.batch = Bytes::new();
        self.asked = None;
        self.words = Kept::default();
    }
}

impl Turns for Session {
    fn state(&mut self) -> &mut ConnectionState {
        &mut self.state
    }

    fn held_bytes(&self) -> usize {
        let lies_in = if self.is_idle() { 0 } else { self.lies_in_bytes };
        self.pending.capacity() + self.arriving_bytes() + lies_in.max(self.words.held_bytes())
    }

    fn arrived_bytes(&self) -> usize {
        self.pending.len() + self.arriving_bytes()
    }

    fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    fn take_in(&mut self, input: &[u8], core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Next {
        match self.gather(input, core) {
            Ok(None) => Next::Receive,
            Ok(Some(bytes)) => self.run(bytes, core, now, reply),
            Err(fault) => self.refuse(fault, core, reply),
        }
    }

    fn refuse_excess(&mut self, excess: Excess, core: &mut Core, _: UnixMillis, reply: &mut Reply) -> Next {
        let code = match excess {
            Excess::Query => "ERR",
            Excess::Memory => "OOM",
        };
        core.stats().query_limit_closed.add(1);
        answer::error(reply, 0, &format!("{code} {}", excess.text()));
        self.end(core);
        Next::Close
    }
}

impl Session {
    /// No request waits to be run.
    fn is_idle(&self) -> bool {
        self.asked.is_none() && self.batch.is_empty()
    }

    fn arriving_bytes(&self) -> usize {
        self.arriving.as_ref().map_or(0, |arriving| arriving.filling.len())
    }

    /// What may be looked at now, `input` being the end of it; `None` while no message can be whole.
    fn gather(&mut self, mut input: &[u8], core: &Core) -> Result<Option<Bytes>, Fault> {
        if let Some(arriving) = &mut self.arriving {
            let (own, rest) = input.split_at(input.len().min(arriving.missing_bytes()));
            arriving.filling.push(own, arriving.length).map_err(|_| Fault::NoMemory)?;
            if arriving.missing_bytes() > 0 {
                return Ok(None);
            }
            input = rest;
            let whole = self.arriving.take().map(|arriving| Bytes::from(arriving.filling.finish()));
            let message = whole.expect("it was there");
            self.lies_in_bytes = message.len();
            self.open(message, core)?;
        }
        if self.pending.is_empty() {
            return Ok(Some(Bytes::copy_from_slice(input)));
        }
        self.pending.try_reserve(input.len()).map_err(|_| Fault::NoMemory)?;
        self.pending.extend_from_slice(input);
        if self.is_idle()
            && let Some((length, prefix)) = message::length(&self.pending)?
            && length < limits::STREAMED_ARGUMENT_MIN_BYTES as u64
            && length > (self.pending.len() - prefix) as u64
        {
            return Ok(None);
        }
        Ok(Some(Bytes::from(std::mem::take(&mut self.pending))))
    }

    /// Runs what is whole, until it is used up or the turn is over, and keeps the rest.
    fn run(&mut self, mut bytes: Bytes, core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Next {
        let mut requests = 0;
        let next = loop {
            match self.next_request(&mut bytes, core) {
                Ok(true) => {}
                Ok(false) => break Next::Receive,
                Err(fault) => return self.refuse(fault, core, reply),
            }
            match self.perform(core, now, reply) {
                Ok(None) => {}
                Ok(Some(next)) | Err(next) => break next,
            }
            requests += 1;
            if requests == limits::TURN_REQUESTS_MAX || core.is_turn_over() {
                break Next::Yield;
            }
        };
        if !bytes.is_empty() {
            self.pending = bytes.into();
        }
        next
    }

    /// Says why, before the connection is closed.
    fn refuse(&mut self, fault: Fault, core: &mut Core, reply: &mut Reply) -> Next {
        let text = match fault {
            Fault::NoMemory => "OOM no memory for a message of this size".to_owned(),
            Fault::TooLong(why) => format!("ERR {why}"),
            Fault::Malformed(why) => format!("ERR this is no message of kv_cache.proto: {why}"),
        };
        turn::note_foreign(&self.state.client, core.stats(), &core.shared, &text);
        answer::error(reply, 0, &text);
        Next::Close
    }

    /// Sees to a request in `asked`: the one that waits, the next of the batch or the next in `bytes`. False when none is
    /// whole.
    fn next_request(&mut self, bytes: &mut Bytes, core: &Core) -> Result<bool, Fault> {
        while self.asked.is_none() {
            if let Some(part) = message::next_part(&mut self.batch)? {
                let request = message::request(part)?;
                match request.command {
                    Some(Command::Batch(_)) => self.asked = Some(Asked { id: request.id, ..BATCH_IN_BATCH }),
                    _ => self.ask(request, core)?,
                }
                continue;
            }
            let Some((length, prefix)) = message::length(bytes)? else { return Ok(false) };
            self.check_length(length, core)?;
            let length = length as usize;
            if bytes.len() - prefix >= length {
                self.lies_in_bytes = bytes.len();
                bytes.advance(prefix);
                self.open(bytes.split_to(length), core)?;
                continue;
            }
            if length >= limits::STREAMED_ARGUMENT_MIN_BYTES {
                let mut filling = self.extents.fill();
                filling.push(&bytes[prefix..], length).map_err(|_| Fault::NoMemory)?;
                self.arriving = Some(Arriving { filling, length });
                bytes.clear();
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn check_length(&self, length: u64, core: &Core) -> Result<(), Fault> {
        if !self.state.authenticated && length > limits::UNAUTHENTICATED_ARGUMENT_BYTES as u64 {
            return Err(Fault::TooLong(UNAUTHENTICATED_TOO_LONG));
        }
        if length > core.shared.settings.query_limit_bytes.load(Relaxed) as u64 {
            return Err(Fault::TooLong(Excess::Query.text()));
        }
        Ok(())
    }

    /// Takes a whole message.
    fn open(&mut self, message: Bytes, core: &Core) -> Result<(), Fault> {
        let request = message::request(message)?;
        match request.command {
            Some(Command::Batch(batch)) => self.batch = batch,
            _ => self.ask(request, core)?,
        }
        Ok(())
    }

    fn ask(&mut self, request: Request, core: &Core) -> Result<(), Fault> {
        core.stats().protobuf_requests.add(1);
        self.asked = Some(Asked::of(request, &mut self.words)?);
        Ok(())
    }

    /// Runs the request that has come. `Ok` when it is answered, with what ends the turn, if anything; `Err` if it must run
    /// again, after this.
    fn perform(&mut self, core: &mut Core, now: UnixMillis, reply: &mut Reply) -> Result<Option<Next>, Next> {
        let Core { shared, index, scripts, begun, only_urgent, .. } = core;
        let (shared, stats) = (&**shared, &shared.stats[*index]);
        let asked = self.asked.expect("it has come");
        let before = reply.mark();
        let mut is_read = true;
        let refuse = |reply: &mut Reply, text: &str| {
            stats.note_error(text);
            answer::error(reply, asked.id, text);
        };
        if let Outcome::Refused(text) = asked.outcome {
            refuse(reply, text);
        } else if *only_urgent {
            refuse(reply, error::BUSY);
        } else if let Some(found) = Table::get().lookup(self.words.get(0)) {
            let (args, row) = (self.words.get(0), found.1);
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
            let outcome = call.check(found).and_then(|()| call.execute_by(found, |call, row| asked.run(call, row)));
            match outcome {
                Ok(()) | Err(Stop::AlreadyReplied) => {}
                Err(Stop::Error(text)) => {
                    reply.rewind(before);
                    refuse(reply, &text);
                }
                Err(wait @ (Stop::Retry | Stop::Busy | Stop::Full)) => {
                    reply.rewind(before);
                    return Err(turn::put_off(&self.state.client, &wait));
                }
            }
            stats.commands.add(1);
            if let Some(slow) = timing.lap(1, |_| Some(found.0)) {
                command::server::slowlog::note(shared, now, &self.state, Some(found), args, &slow);
            }
            if timing.took_nanos() > stats.longest.hold_nanos.get() {
                turn::note_hold(stats, &self.state.client, timing.took_nanos(), false);
            }
            *begun = timing.ended();
        } else {
            refuse(reply, &format!("ERR {}", turn::TAKEN_AWAY));
        }
        let room = if self.state.room.covers(reply.len()) {
            None
        } else {
            // What a reply can be made without is never long.
            turn::find_room(&mut self.state, shared, stats, reply, (before, is_read), |_| ())?
        };
        self.asked = None;
        // An idle connection holds little.
        if self.words.held_bytes() > limits::FREE_REPLY_BYTES {
            self.words = Kept::default();
        } else {
            self.words.clear();
        }
        if self.state.client.is_killed() { Ok(Some(Next::Close)) } else { Ok(room) }
    }
}

#[cfg(test)]
mod tests;
