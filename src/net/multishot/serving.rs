//! One core's connections under the multishot driver: each completion is told to its connection, and what comes next is
//! put on the ring. Nothing here waits but the kernel, in `pass`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;

use super::buffers::{Buffers, Taken};
use super::calls::Calls;
use super::ring::{About, Done, Ring};
use super::table::{Key, Table};
use crate::clients::{Client, Peer};
use crate::config::limits;
use crate::net::connection::{Connection, Step};
use crate::net::direct::{self, Direct, Left, Received};
use crate::net::listener::Listener;
use crate::net::worker::{Served, Worker};

/// How the next input of a connection is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    No,
    /// By a receive that goes on.
    Multishot,
    /// By a poll; what has come is then received by a system call.
    Polled,
}

/// How more room is waited for, once the socket was full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    NotAwaited,
    /// By a poll that goes on.
    Awaited,
    /// It is no longer needed: the poll has been asked to end.
    Cancelled,
}

/// A connection that has its next turn without input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queued {
    No,
    /// After the others had theirs.
    Ready,
    /// At the next tick.
    Resting,
}

struct Entry {
    connection: Connection<Served>,
    client: Arc<Client>,
    waiting: Waiting,
    /// What it waits with has been asked to end.
    is_cancelled: bool,
    /// The socket took no more, and has not told yet that it takes some again.
    is_full: bool,
    room: Room,
    queued: Queued,
    /// So many more of its receives are polled, so that others have their turns, and what is large is received in place.
    polls: u8,
    /// The pass in which it had its last turn, and what of it is held since.
    turn: u32,
    held: u32,
    /// It is over; only what is under way keeps it here.
    is_closing: bool,
}

impl Entry {
    /// Who sends much sends more.
    fn note_received(&mut self, is_much: bool) {
        self.polls = if is_much { limits::POLLS_AFTER_MUCH } else { self.polls.saturating_sub(1) };
    }
}

/// What a pass through the ring asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Pass again.
    Again,
    /// Let the core's tasks have their turn before.
    Yield,
    /// Nothing has happened for a while and nothing ticks: wait for an event.
    Park,
    /// The kernel refused for now: rest before.
    Refused,
}

pub struct Serving {
    worker: Rc<Worker>,
    pub ring: Ring,
    /// `None`: none are registered, and everybody is polled.
    buffers: Option<Buffers>,
    calls: Arc<Calls>,
    table: Table<Entry>,
    listeners: Vec<Rc<Listener>>,
    /// Numbers of listeners on which accepting has failed: to be tried again later.
    pub failed_accepts: Vec<u32>,
    /// What has come of connections that had their turn in this pass already.
    held: VecDeque<(Key, Done)>,
    /// Counts the passes.
    turn: u32,
    ready: VecDeque<Key>,
    resting: Vec<Key>,
    called: Vec<Key>,
    /// Where polled input is received.
    scratch: Vec<u8>,
    /// Something has happened since the last tick.
    has_traffic: bool,
    quiet_ticks: u32,
}

impl Serving {
    pub fn new(worker: Rc<Worker>, mut ring: Ring, buffers: Option<Buffers>, calls: Arc<Calls>) -> Serving {
        ring.await_calls(calls.event());
        ring.await_tick();
        Serving {
            worker,
            ring,
            buffers,
            calls,
            table: Table::default(),
            listeners: Vec::new(),
            failed_accepts: Vec::new(),
            held: VecDeque::new(),
            turn: 0,
            ready: VecDeque::new(),
            resting: Vec::new(),
            called: Vec::new(),
            scratch: vec![0; limits::IO_BUFFER_BYTES],
            has_traffic: false,
            quiet_ticks: 0,
        }
    }

    /// Begins to accept.
    pub fn listen(&mut self, listener: Rc<Listener>) {
        self.listeners.push(listener);
        self.accept_on(self.listeners.len() as u32 - 1);
    }

    /// Goes on to accept.
    pub fn accept_on(&mut self, number: u32) {
        self.ring.await_connection(number, &self.listeners[number as usize].socket);
    }

    /// Begins to serve.
    pub fn enter(&mut self, connection: Connection<Served>, client: Arc<Client>) {
        let calls = &self.calls;
        let key = self.table.enter(|key| {
            client.attend(&calls.waker(key));
            Entry {
                connection,
                client,
                waiting: Waiting::No,
                is_cancelled: false,
                is_full: false,
                room: Room::NotAwaited,
                queued: Queued::No,
                polls: 0,
                turn: 0,
                held: 0,
                is_closing: false,
            }
        });
        self.settle(key);
    }

    /// Enters the kernel once and handles all that has happened. `waits`: nothing else is to be done meanwhile.
    pub fn pass(&mut self, waits: bool) -> io::Result<Pass> {
        let is_idle = self.ready.is_empty() && self.held.is_empty() && !self.worker.has_backlog();
        let was_let_in = self.ring.enter(waits && is_idle && self.calls.may_wait())?;
        self.calls.set_awake();
        self.turn = self.turn.wrapping_add(1);
        // Whoever gives way in this pass goes on in the next: what has come for others by then is before it.
        let gave_way = self.ready.len();
        self.go_through_held();
        let mut pass = if was_let_in { Pass::Again } else { Pass::Refused };
        while let Some(done) = self.ring.next() {
            match done.about {
                About::Tick => pass = self.tick(),
                about => {
                    self.has_traffic = true;
                    self.handle(about, done);
                }
            }
        }
        self.calls.take(&mut self.called);
        while let Some(key) = self.called.pop() {
            self.has_traffic = true;
            self.settle(key);
        }
        for _ in 0..gave_way {
            let Some(key) = self.ready.pop_front() else { break };
            self.go_on(key);
        }
        if pass == Pass::Again && self.worker.has_backlog() {
            pass = Pass::Yield;
        }
        Ok(pass)
    }

    fn tick(&mut self) -> Pass {
        for key in std::mem::take(&mut self.resting) {
            self.go_on(key);
        }
        let is_quiet = !self.has_traffic && self.ready.is_empty() && self.held.is_empty() && self.resting.is_empty();
        self.has_traffic = false;
        self.quiet_ticks = if is_quiet { self.quiet_ticks + 1 } else { 0 };
        if self.quiet_ticks < limits::RING_QUIET_TICKS {
            self.ring.await_tick();
            return Pass::Yield;
        }
        Pass::Park
    }

    /// Something has happened while the core was parked: the ring ticks again.
    pub fn unpark(&mut self) {
        self.quiet_ticks = 0;
        self.ring.await_tick();
    }

    /// Whether the core may park: before it does, it asks once more.
    pub fn may_park(&mut self) -> io::Result<bool> {
        self.has_traffic = false;
        let passed = self.pass(false)?;
        Ok(passed == Pass::Again
            && !self.has_traffic
            && self.ready.is_empty()
            && self.held.is_empty()
            && self.resting.is_empty()
            && self.calls.may_wait())
    }

    fn handle(&mut self, about: About, done: Done) {
        match about {
            About::Accept(number) => self.accept(number),
            About::Receive(key) => self.received(key, done),
            About::Readable(key) => self.readable(key, done),
            About::Writable(key) => self.writable(key, done),
            About::Call if !done.goes_on() => self.ring.await_calls(self.calls.event()),
            About::Call | About::Tick => {}
        }
    }

    /// Accepts those who have come. It is not the ring that accepts: somebody else may take them while a script keeps this
    /// core busy, and descriptors are counted when they are taken.
    fn accept(&mut self, number: u32) {
        let listener = self.listeners[number as usize].clone();
        for _ in 0..limits::ACCEPTS_PER_TURN {
            match listener.socket.accept() {
                Ok((socket, _)) => {
                    if let Some((connection, client)) = self.worker.admit(socket.into(), &listener) {
                        self.enter(connection, client);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) if self.worker.is_draining() => return,
                Err(error) => {
                    self.worker.report_accept_error(&error);
                    return self.failed_accepts.push(number);
                }
            }
        }
        self.accept_on(number);
    }

    /// What a receive has brought. A connection has one turn in a pass, however much has come of it.
    fn received(&mut self, key: Key, done: Done) {
        if let Some(entry) = self.table.get(key)
            && (entry.held > 0 || entry.turn == self.turn)
        {
            entry.held += 1;
            return self.held.push_back((key, done));
        }
        self.take_in(key, done);
    }

    /// The turns of those of whom more has come than one turn takes.
    fn go_through_held(&mut self) {
        for _ in 0..self.held.len() {
            let Some((key, done)) = self.held.pop_front() else { break };
            match self.table.get(key) {
                Some(entry) if entry.turn == self.turn => self.held.push_back((key, done)),
                Some(entry) => {
                    entry.held -= 1;
                    self.take_in(key, done);
                }
                None => self.take_in(key, done),
            }
        }
    }

    fn take_in(&mut self, key: Key, done: Done) {
        let taken = self.buffers.as_mut().and_then(|buffers| buffers.take(&done));
        let Some(entry) = self.table.get(key) else { return self.give(taken) };
        if !done.goes_on() {
            entry.waiting = Waiting::No;
            entry.is_cancelled = false;
        }
        if entry.is_closing {
            self.give(taken);
            return self.leave(key);
        }
        entry.turn = self.turn;
        match (&taken, done.result) {
            (Some(taken), 1..) => {
                let bytes = self.buffers.as_ref().map_or(&b""[..], |buffers| buffers.bytes(taken));
                let is_full = bytes.len() == limits::IO_BUFFER_BYTES;
                self.worker.stats().registered_receives.add(1);
                entry.connection.received(bytes, &mut Direct(&entry.client));
                entry.note_received(is_full);
                // A reset that came together with these bytes is told by no other completion: the kernel takes both for one
                // event. Sending tells of it, and so does the next receive, which follows where a buffer was filled. Of the
                // end that the drain brings, sending does not tell.
                let tells = entry.connection.has_sent() && !self.worker.is_draining();
                if !is_full && !tells && direct::has_hung_up(&entry.client) {
                    self.cancel(key);
                }
            }
            (_, result) => match -result {
                0 => entry.connection.ended(),
                // All buffers are taken: it is received without one.
                libc::ENOBUFS => {
                    self.worker.stats().buffers_ran_dry.add(1);
                    if let Some(buffers) = &mut self.buffers {
                        buffers.offer_more();
                    }
                    Self::receive_now(&self.worker, entry, &mut self.scratch);
                }
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                _ => entry.connection.ended(),
            },
        }
        self.give(taken);
        self.settle(key);
    }

    /// Ends a receive that goes on. Another will follow, if more is wanted, and finds what this one has not told.
    fn cancel(&mut self, key: Key) {
        if let Some(entry) = self.table.get(key)
            && entry.waiting == Waiting::Multishot
            && !entry.is_cancelled
        {
            entry.is_cancelled = true;
            self.ring.cancel(About::Receive(key));
        }
    }

    fn give(&mut self, taken: Option<Taken>) {
        if let (Some(buffers), Some(taken)) = (&mut self.buffers, taken) {
            buffers.give(taken);
        }
    }

    fn readable(&mut self, key: Key, done: Done) {
        let Some(entry) = self.table.get(key) else { return };
        entry.waiting = Waiting::No;
        entry.is_cancelled = false;
        if entry.is_closing {
            return self.leave(key);
        }
        if done.result >= 0 {
            let has_more = Self::receive_now(&self.worker, entry, &mut self.scratch);
            // The beginning of something large has come: most of the rest is there as a rule.
            if has_more || entry.connection.wants_place() {
                Self::receive_now(&self.worker, entry, &mut self.scratch);
            }
        }
        self.settle(key);
    }

    /// Receives what is there by a system call; whether it may have been less than there is.
    fn receive_now(worker: &Worker, entry: &mut Entry, scratch: &mut [u8]) -> bool {
        match direct::receive(&mut entry.connection, &entry.client, scratch) {
            Ok(Received::NOTHING) => entry.connection.ended(),
            Ok(received) => {
                let is_full = received.buffered == scratch.len();
                entry.note_received(received.placed > 0 || is_full);
                worker.stats().unregistered_receives.add(1);
                entry.connection.received(&scratch[..received.buffered], &mut Direct(&entry.client));
                return is_full;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => entry.connection.ended(),
        }
        false
    }

    fn writable(&mut self, key: Key, done: Done) {
        let Some(entry) = self.table.get(key) else { return };
        if !done.goes_on() {
            entry.room = Room::NotAwaited;
        }
        if entry.is_closing {
            return self.leave(key);
        }
        entry.is_full = false;
        self.settle(key);
    }

    /// The turn of one that gave way.
    fn go_on(&mut self, key: Key) {
        let Some(entry) = self.table.get(key) else { return };
        entry.queued = Queued::No;
        entry.connection.go_on(&mut Direct(&entry.client));
        self.settle(key);
    }

    /// Sends what waits, asks what comes next, and sees to it.
    fn settle(&mut self, key: Key) {
        let Some(entry) = self.table.get(key) else { return };
        if entry.is_closing {
            return;
        }
        let step = loop {
            let step = entry.connection.step(&mut Direct(&entry.client));
            if entry.is_full || entry.connection.outgoing().is_empty() {
                break step;
            }
            match direct::send_waiting(&mut entry.connection, &entry.client) {
                // What comes next may be another thing now.
                Left::All => {}
                Left::Full => entry.is_full = true,
                Left::Share => break Step::Yield,
            }
        };
        let queued = match step {
            Step::Close => return self.close(key),
            Step::Yield => Queued::Ready,
            Step::Rest => Queued::Resting,
            Step::Wait { .. } => Queued::No,
        };
        match entry.room {
            Room::NotAwaited if entry.is_full => {
                entry.room = Room::Awaited;
                self.ring.await_room(key, entry.client.as_raw_fd());
            }
            Room::Awaited if entry.connection.outgoing().is_empty() => {
                entry.room = Room::Cancelled;
                self.ring.cancel(About::Writable(key));
            }
            _ => {}
        }
        if entry.queued == Queued::No && queued != Queued::No {
            entry.queued = queued;
            match queued {
                Queued::Resting => self.resting.push(key),
                _ => self.ready.push_back(key),
            }
        }
        let receives = matches!(step, Step::Wait { receives: true, .. });
        match entry.waiting {
            Waiting::No if receives => {
                // Of a Unix socket a receive that goes on does not tell the end of input that comes together with bytes.
                let is_unix = entry.client.peer == Peer::Unix;
                let polls = entry.polls > 0 || is_unix || self.buffers.is_none() || entry.connection.wants_place();
                entry.waiting = if polls { Waiting::Polled } else { Waiting::Multishot };
                match entry.waiting {
                    Waiting::Multishot => self.ring.receive(key, entry.client.as_raw_fd()),
                    _ => self.ring.await_input(key, entry.client.as_raw_fd()),
                }
            }
            // What goes on by itself is to bring no more than is wanted.
            Waiting::Multishot if !receives || entry.polls > 0 || entry.connection.wants_place() => self.cancel(key),
            _ => {}
        }
    }

    /// Ends what is under way; the connection leaves with the last of it.
    fn close(&mut self, key: Key) {
        let Some(entry) = self.table.get(key) else { return };
        entry.is_closing = true;
        entry.client.kill();
        match entry.waiting {
            Waiting::No => {}
            Waiting::Multishot => self.ring.cancel(About::Receive(key)),
            Waiting::Polled => self.ring.cancel(About::Readable(key)),
        }
        if entry.room == Room::Awaited {
            self.ring.cancel(About::Writable(key));
        }
        self.leave(key);
    }

    /// Lets go of a connection that is over, if nothing is under way for it any more.
    fn leave(&mut self, key: Key) {
        if let Some(entry) = self.table.get(key)
            && entry.waiting == Waiting::No
            && entry.room == Room::NotAwaited
        {
            self.table.remove(key);
        }
    }
}
