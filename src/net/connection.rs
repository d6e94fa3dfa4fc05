//! One connection as every driver drives it, sans-IO: the driver tells what has happened (bytes received, the end of
//! input, bytes sent, the turn of those that gave way) and asks what comes next. No socket, no clock, no `async`.
//!
//! A driver asks `step` after each thing it has told, and meanwhile sends whatever `outgoing` has. It may receive ahead:
//! input counts whatever `step` said last, and nothing that was asked before the end of input is left unanswered.

use std::io;

use super::outgoing::Outgoing;
use crate::config::limits;
use crate::message::output::Output;
use crate::protocol::front::Next;

/// The conversation behind a connection, and the core that it is held on.
pub trait Conversation {
    /// Takes in input and hands the replies to `take`, which leaves none behind. `queued` bytes still wait from before.
    fn advance(&mut self, input: &[u8], queued: usize, take: impl FnOnce(&mut Output)) -> Next;

    /// Bytes of something large that are still to come.
    fn missing_bytes(&self) -> usize;

    /// Where up to `bytes` of them may be received straight to; `None` when they should go to `advance`.
    fn place(&mut self, bytes: usize) -> Option<&mut [u8]>;

    /// So many bytes have been received there.
    fn placed(&mut self, bytes: usize);

    /// Replies have left; `queued` bytes still wait.
    fn sent(&mut self, queued: usize);

    /// Replies wait for the socket.
    fn waits(&mut self);

    /// Somebody has pushed something to the peer, or woken the connection, or ended it.
    fn is_called(&self) -> bool;

    /// Answers a call: puts what was pushed behind the replies.
    fn take_pushed(&mut self, outgoing: &mut Outgoing);

    fn is_killed(&self) -> bool;
}

/// Where the replies of a turn go at once, when none wait before them.
pub trait Sink {
    /// Takes as many of these bytes from the front as it can. An error ends the connection.
    fn offer(&mut self, bytes: &[u8]) -> io::Result<Offered>;
}

/// What has become of bytes that were offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// So many have left.
    Sent(usize),
    /// So many were taken to be sent, and `Connection::sent` will tell.
    Taken(usize),
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for what is under way: input, if it `receives`; the socket, if replies wait; and a call, if it `listens`.
    Wait { receives: bool, listens: bool },
    /// Let the others have their turn, then `go_on`.
    Yield,
    /// Rest for `limits::REST_MS`, then `go_on`.
    Rest,
    /// It is over: let go of the socket.
    Close,
}

pub struct Connection<C> {
    conversation: C,
    next: Next,
    outgoing: Outgoing,
    /// The peer sends no more.
    has_ended: bool,
    /// The peer takes no more: nobody is there to be answered.
    is_broken: bool,
    /// The last turn's replies have left, at least in part.
    has_sent: bool,
}

impl<C: Conversation> Connection<C> {
    pub fn new(conversation: C) -> Connection<C> {
        Connection {
            conversation,
            next: Next::Receive,
            outgoing: Outgoing::default(),
            has_ended: false,
            is_broken: false,
            has_sent: false,
        }
    }

    pub fn conversation(&mut self) -> &mut C {
        &mut self.conversation
    }

    /// The socket has taken something of the last turn's replies.
    pub fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// The replies that wait; whatever has left of them is told by `sent`.
    pub fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// Input has come.
    pub fn received(&mut self, input: &[u8], sink: &mut impl Sink) {
        if self.next != Next::Close {
            self.advance(input, sink);
        }
    }

    /// So much of something large is still to come that it is better received straight to where it will lie.
    pub fn wants_place(&self) -> bool {
        self.next == Next::Receive && self.conversation.missing_bytes() >= limits::PLACED_MIN_BYTES
    }

    /// Where that is, for up to `bytes` that have come; `None` when they should be received as usual. `placed` and
    /// `received` tell of them, in this order.
    pub fn place(&mut self, bytes: usize) -> Option<&mut [u8]> {
        self.conversation.place(bytes.min(limits::PLACED_MAX_BYTES))
    }

    /// So many bytes have been received there.
    pub fn placed(&mut self, bytes: usize) {
        self.conversation.placed(bytes);
    }

    /// The peer has sent all that it will. What it asked is answered before the end.
    pub fn ended(&mut self) {
        self.has_ended = true;
    }

    /// Receiving or sending failed: nothing reaches the peer any more.
    pub fn failed(&mut self) {
        self.is_broken = true;
    }

    /// The first `bytes` of what waits have left; 0 when an attempt was in vain.
    pub fn sent(&mut self, bytes: usize) {
        if bytes > 0 {
            self.outgoing.sent(bytes);
            self.conversation.sent(self.outgoing.len());
        }
    }

    /// The turn of a connection that gave way (`Step::Yield`, `Step::Rest`).
    pub fn go_on(&mut self, sink: &mut impl Sink) {
        match self.next {
            Next::Yield | Next::Rest => self.advance(b"", sink),
            Next::Drain if self.has_room() => self.advance(b"", sink),
            _ => {}
        }
    }

    /// What comes next, after everything that was told. Calls are answered here.
    pub fn step(&mut self, sink: &mut impl Sink) -> Step {
        while self.listens() && self.conversation.is_called() {
            self.conversation.take_pushed(&mut self.outgoing);
            if self.next == Next::Pause {
                self.wake(sink);
            }
        }
        if self.is_broken {
            return Step::Close;
        }
        if self.has_ended && self.next == Next::Receive {
            self.next = Next::Close;
        }
        if !self.outgoing.is_empty() {
            self.conversation.waits();
        }
        match self.next {
            Next::Yield => Step::Yield,
            Next::Rest => Step::Rest,
            Next::Drain if self.has_room() => Step::Yield,
            Next::Close if self.outgoing.is_empty() => Step::Close,
            next => Step::Wait { receives: next == Next::Receive, listens: self.listens() },
        }
    }

    /// A paused conversation looks whether it may go on.
    fn wake(&mut self, sink: &mut impl Sink) {
        if self.conversation.is_killed() {
            self.next = Next::Close;
        } else {
            self.advance(b"", sink);
        }
    }

    fn advance(&mut self, input: &[u8], sink: &mut impl Sink) {
        let Connection { conversation, outgoing, is_broken, has_sent, .. } = self;
        *has_sent = false;
        let queued = outgoing.len();
        self.next = conversation.advance(input, queued, |reply| {
            let offered = match reply.as_contiguous() {
                Some([]) => return,
                Some(bytes) if queued == 0 => sink.offer(bytes),
                _ => Ok(Offered::Sent(0)),
            };
            let whole = reply.len();
            match offered {
                Ok(Offered::Sent(0)) => outgoing.append(reply),
                Ok(Offered::Sent(bytes)) => {
                    *has_sent = true;
                    if bytes == whole {
                        reply.clear();
                    } else {
                        outgoing.append(reply);
                        outgoing.sent(bytes);
                    }
                }
                Ok(Offered::Taken(bytes)) => {
                    debug_assert_eq!(bytes, whole, "a sink that copies takes all or nothing");
                    outgoing.note_taken(bytes);
                    reply.clear();
                }
                Err(_) => {
                    *is_broken = true;
                    reply.clear();
                }
            }
        });
        if *has_sent {
            conversation.sent(outgoing.len());
        }
    }

    /// Replies make way for what others push, and the other way round.
    fn has_room(&self) -> bool {
        self.outgoing.len() <= limits::IO_BUFFER_BYTES
    }

    fn listens(&self) -> bool {
        self.has_room() && self.next != Next::Close && !self.is_broken
    }
}

#[cfg(test)]
mod tests;
