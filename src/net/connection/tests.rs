//! The connection without a socket: scripted conversations against short sends, resets and calls at any time.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::message::reply::Reply;

const PUSH: &[u8] = b"+pushed\r\n";
/// More than makes way for others.
const LARGE: usize = 3 * limits::IO_BUFFER_BYTES;

/// A conversation in which each byte is a request.
#[derive(Default)]
struct Script {
    pending: VecDeque<u8>,
    answered: usize,
    /// The first request has been put off already.
    is_held: bool,
    is_killed: Cell<bool>,
    is_called: Cell<bool>,
    pushes: Cell<usize>,
    queued: usize,
}

/// The reply to the request numbered `number`.
fn answer(number: usize, request: u8, reply: &mut Reply) {
    match request {
        b'L' => reply.bulk(&vec![b'l'; LARGE]),
        b'S' => reply.bulk_shared(&Bytes::from(vec![b's'; LARGE])),
        _ => reply.integer(number as i64),
    }
}

impl Conversation for Script {
    fn advance(&mut self, input: &[u8], queued: usize, take: impl FnOnce(&mut Output)) -> Next {
        self.pending.extend(input);
        let mut reply = Reply::default();
        let next = loop {
            let Some(&request) = self.pending.front() else { break Next::Receive };
            if self.is_killed.get() {
                break Next::Close;
            }
            if !std::mem::replace(&mut self.is_held, true) {
                // Put off once, as for a lock, for memory, or for a pause.
                match request {
                    b'r' => break Next::Rest,
                    b'h' => break Next::Yield,
                    b'p' => break Next::Pause,
                    _ => {}
                }
            }
            self.is_held = false;
            self.pending.pop_front();
            answer(self.answered, request, &mut reply);
            self.answered += 1;
            match request {
                b'c' => break Next::Close,
                b'y' => break Next::Yield,
                _ if queued + reply.len() > limits::IO_BUFFER_BYTES => break Next::Drain,
                _ => {}
            }
        };
        take(&mut reply);
        assert!(reply.is_empty(), "replies are left behind");
        next
    }

    fn missing_bytes(&self) -> usize {
        0
    }

    fn place(&mut self, _: usize) -> Option<&mut [u8]> {
        None
    }

    fn placed(&mut self, _: usize) {}

    fn sent(&mut self, queued: usize) {
        self.queued = queued;
    }

    fn waits(&mut self) {}

    fn is_called(&self) -> bool {
        self.is_called.get()
    }

    fn take_pushed(&mut self, outgoing: &mut Outgoing) {
        self.is_called.set(false);
        for _ in 0..self.pushes.take() {
            outgoing.push(Bytes::from_static(PUSH));
        }
    }

    fn is_killed(&self) -> bool {
        self.is_killed.get()
    }
}

/// A socket that takes so much, or whose driver copies what it is offered.
struct Socket {
    got: Vec<u8>,
    room: usize,
    copies: bool,
    copy: Vec<u8>,
    is_reset: bool,
}

impl Sink for Socket {
    fn offer(&mut self, bytes: &[u8]) -> io::Result<Offered> {
        if self.is_reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.copies {
            if bytes.len() > limits::IO_BUFFER_BYTES {
                return Ok(Offered::Sent(0));
            }
            assert!(self.copy.is_empty(), "offered while something is under way");
            self.copy = bytes.to_vec();
            return Ok(Offered::Taken(bytes.len()));
        }
        let sent = bytes.len().min(self.room);
        self.got.extend_from_slice(&bytes[..sent]);
        self.room -= sent;
        Ok(Offered::Sent(sent))
    }
}

struct Driven {
    connection: Connection<Script>,
    socket: Socket,
}

impl Driven {
    fn new(copies: bool) -> Driven {
        let socket = Socket { got: Vec::new(), room: usize::MAX, copies, copy: Vec::new(), is_reset: false };
        Driven { connection: Connection::new(Script::default()), socket }
    }

    /// As a driver does: sends what the socket takes.
    fn send(&mut self, most: usize) {
        if self.socket.copies && self.socket.copy.is_empty() {
            let mut buffer = vec![0; limits::IO_BUFFER_BYTES];
            let outgoing = self.connection.outgoing();
            let filled = outgoing.take_into(&mut buffer, limits::SHARED_REPLY_MIN_BYTES);
            let taken = if filled > 0 { Some(buffer[..filled].to_vec()) } else { outgoing.take().map(Vec::from) };
            self.socket.copy = taken.unwrap_or_default();
        }
        if self.socket.is_reset {
            self.connection.failed();
        } else if self.socket.copies {
            let sent = self.socket.copy.len().min(most);
            self.socket.got.extend(self.socket.copy.drain(..sent));
            self.connection.sent(sent);
        } else {
            let waiting: Vec<u8> = self.connection.outgoing().pieces().flat_map(|piece| piece.to_vec()).collect();
            let sent = waiting.len().min(most);
            self.socket.got.extend_from_slice(&waiting[..sent]);
            self.connection.sent(sent);
        }
    }

    fn step(&mut self) -> Step {
        let step = self.connection.step(&mut self.socket);
        let has_waiting = !self.connection.outgoing().is_empty();
        match step {
            Step::Wait { receives: false, listens: false } => assert!(has_waiting, "it would wait for ever"),
            Step::Close => assert!(!has_waiting || self.connection.is_broken, "closed before all was sent"),
            _ => {}
        }
        step
    }

    fn receive(&mut self, input: &[u8]) {
        self.connection.received(input, &mut self.socket);
    }

    /// Drives it to its end; the peer sends no more, and takes everything.
    fn finish(&mut self) {
        self.socket.room = usize::MAX;
        for _ in 0..100_000 {
            match self.step() {
                Step::Close => return,
                Step::Yield | Step::Rest => self.connection.go_on(&mut self.socket),
                Step::Wait { receives, .. } => {
                    let is_paused = self.connection.outgoing().is_empty() && !receives;
                    self.send(usize::MAX);
                    self.connection.conversation().is_called.set(is_paused);
                    self.connection.ended();
                }
            }
        }
        panic!("it never ends");
    }

    /// What was sent, but for what was pushed.
    fn replies(&self) -> Vec<u8> {
        let mut replies = Vec::new();
        let mut rest = &self.socket.got[..];
        while let Some(&byte) = rest.first() {
            match rest.strip_prefix(PUSH) {
                Some(after) => rest = after,
                // A reset has cut it off.
                None if PUSH.starts_with(rest) => break,
                None => {
                    replies.push(byte);
                    rest = &rest[1..];
                }
            }
        }
        replies
    }
}

/// What all these requests are answered with: those up to the first that closes.
fn replies_to(requests: &[u8]) -> Vec<u8> {
    let (mut reply, mut parts) = (Reply::default(), VecDeque::new());
    for (number, request) in requests.iter().enumerate() {
        answer(number, *request, &mut reply);
        if *request == b'c' {
            break;
        }
    }
    reply.take(&mut parts);
    parts.into_iter().flatten().collect()
}

#[test]
fn what_was_asked_before_the_end_is_answered_whatever_holds_it_up() {
    for requests in [&b"xrxhxpxyx"[..], b"LxLxSx", b"y", b"p", b"xcx", b""] {
        for copies in [false, true] {
            let mut driven = Driven::new(copies);
            driven.receive(requests);
            driven.connection.ended();
            driven.finish();
            assert_eq!(driven.replies(), replies_to(requests), "{:?}", requests.escape_ascii().to_string());
        }
    }
}

#[test]
fn replies_that_wait_hold_back_input_and_pushes() {
    let mut driven = Driven::new(false);
    driven.socket.room = 10;
    driven.receive(b"Lx");
    assert_eq!(driven.step(), Step::Wait { receives: false, listens: false });
    driven.connection.conversation().pushes.set(1);
    driven.connection.conversation().is_called.set(true);
    assert_eq!(driven.step(), Step::Wait { receives: false, listens: false });
    driven.send(LARGE - 10);
    assert_eq!(driven.step(), Step::Yield, "there is room for more");
    driven.connection.go_on(&mut driven.socket);
    assert_eq!(driven.step(), Step::Wait { receives: true, listens: true });
    driven.finish();
    assert!(driven.socket.got.windows(PUSH.len()).any(|bytes| bytes == PUSH));
    assert_eq!(driven.replies(), replies_to(b"Lx"));
}

#[test]
fn a_paused_connection_waits_for_a_call_and_nothing_else() {
    let mut driven = Driven::new(false);
    driven.receive(b"p");
    assert_eq!(driven.step(), Step::Wait { receives: false, listens: true });
    driven.connection.go_on(&mut driven.socket);
    assert_eq!(driven.socket.got, b"", "it has no turn");
    driven.connection.conversation().is_called.set(true);
    assert_eq!(driven.step(), Step::Wait { receives: true, listens: true });
    assert_eq!(driven.socket.got, replies_to(b"p"));

    driven.receive(b"p");
    driven.connection.conversation().is_killed.set(true);
    driven.connection.conversation().is_called.set(true);
    assert_eq!(driven.step(), Step::Close, "nothing is run for whom somebody has ended");
}

#[test]
fn a_reset_ends_it_with_replies_unsent() {
    for copies in [false, true] {
        let mut driven = Driven::new(copies);
        driven.receive(b"SSx");
        driven.socket.is_reset = true;
        driven.send(usize::MAX);
        assert_eq!(driven.step(), Step::Close);
    }
}

#[derive(Clone, Debug)]
enum Told {
    Received(Vec<u8>),
    Ended,
    Room(usize),
    Sent(usize),
    WentOn,
    Called { pushes: usize },
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(b"xxxxxyrhpLSc".to_vec()), 1..6).prop_map(Told::Received),
        1 => Just(Told::Ended),
        2 => prop::sample::select(vec![0, 1, 5, 20_000, usize::MAX]).prop_map(Told::Room),
        4 => prop::sample::select(vec![0, 1, 7, 5_000, 40_000, usize::MAX]).prop_map(Told::Sent),
        4 => Just(Told::WentOn),
        2 => (0usize..3).prop_map(|pushes| Told::Called { pushes }),
    ]
}

proptest! {
    #[test]
    fn nothing_is_lost_or_said_twice_in_whatever_order_things_happen(
        copies: bool,
        events in prop::collection::vec(told(), 0..40),
        reset in prop::option::of(0usize..40),
    ) {
        let mut driven = Driven::new(copies);
        let mut requests = Vec::new();
        let mut has_ended = false;
        for (at, event) in events.into_iter().enumerate() {
            if driven.step() == Step::Close {
                break;
            }
            driven.socket.is_reset |= reset == Some(at);
            match event {
                // Even when it does not receive: a driver may have done so ahead.
                Told::Received(input) if !has_ended => {
                    requests.extend_from_slice(&input);
                    driven.receive(&input);
                }
                Told::Received(_) => {}
                Told::Ended => {
                    has_ended = true;
                    driven.connection.ended();
                }
                Told::Room(room) => driven.socket.room = room,
                Told::Sent(most) => driven.send(most),
                Told::WentOn => driven.connection.go_on(&mut driven.socket),
                Told::Called { pushes } => {
                    let script = driven.connection.conversation();
                    script.pushes.set(script.pushes.get() + pushes);
                    script.is_called.set(true);
                }
            }
        }
        driven.finish();
        let (got, wanted) = (driven.replies(), replies_to(&requests));
        if driven.socket.is_reset {
            prop_assert!(wanted.starts_with(&got));
        } else {
            prop_assert_eq!(got.len(), wanted.len());
            prop_assert!(got == wanted);
        }
    }
}
