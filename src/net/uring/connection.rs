//! One connection on the ring: what is being sent and the next receive are armed in the same turn of the loop.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::Uring;
use super::buffers::Buffer;
use super::ring::{self, Chunk};
use crate::clients::Client;
use crate::config::limits;
use crate::net::janitor::Watch;
use crate::net::outgoing::Outgoing;
use crate::net::worker;
use crate::protocol::resp::session::{Next, Session};

/// How a connection waits for input.
enum Waiting {
    /// With a buffer, into which the kernel receives at once.
    Armed(ring::Receive),
    /// Without one, because enough others have theirs.
    Polled(ring::Operation<Arc<Client>>),
}

enum Event {
    Received(io::Result<usize>, Buffer),
    /// There is input, but it has not been received.
    Readable,
    /// Somebody has pushed something, or woken us.
    Called,
    Sent(io::Result<usize>, Chunk),
}

struct Connection<'u> {
    uring: &'u Uring,
    client: Arc<Client>,
    session: Session,
    watch: Rc<Watch>,
    waiting: Option<Waiting>,
    sending: Option<ring::Send>,
    /// The last receive took all there was.
    is_dry: bool,
    /// Bytes of the chunk that is being sent.
    in_flight: usize,
    outgoing: Outgoing,
    /// The replies of the last turn, already in the buffer they are sent from.
    ready: Option<Chunk>,
}

pub async fn serve(uring: &Uring, client: Arc<Client>) {
    // The kernel waits in our place: it must not be told to answer EAGAIN instead.
    let _ = socket2::SockRef::from(&client).set_nonblocking(false);
    let mut connection = Connection {
        uring,
        session: uring.worker.session(&client),
        watch: uring.worker.connections.enter(&client),
        client,
        waiting: None,
        sending: None,
        is_dry: true,
        in_flight: 0,
        outgoing: Outgoing::default(),
        ready: None,
    };
    connection.converse().await;
    connection.finish().await;
}

impl Connection<'_> {
    async fn converse(&mut self) {
        let mut next = Next::Receive;
        worker::attend(&self.client).await;
        loop {
            // Replies make way for what others push, and the other way round.
            let has_room = self.queued() <= limits::IO_BUFFER_BYTES;
            let listens = has_room && next != Next::Close;
            if listens && self.client.is_called() {
                next = self.answer_call(next);
            }
            self.start_sending();
            match next {
                Next::Receive if self.waiting.is_none() => self.start_waiting(),
                Next::Yield | Next::Rest => {
                    worker::give_way(next).await;
                    next = self.advance(b"");
                    continue;
                }
                Next::Drain if has_room => {
                    next = self.advance(b"");
                    continue;
                }
                Next::Close if self.sending.is_none() => return,
                _ => {}
            }
            match self.event(listens).await {
                Event::Called => {}
                Event::Received(Err(error), buffer) if is_passing(&error) => {
                    // Its buffer was called back: it waits on without one.
                    self.uring.buffers.borrow_mut().disarm(buffer);
                    self.waiting = Some(Waiting::Polled(ring::readable(self.client.clone())));
                }
                Event::Received(received, buffer) => {
                    self.is_dry = received.as_ref().is_ok_and(|received| *received < buffer.len());
                    next = self.take_in(received, &buffer);
                    self.count_receive(&buffer);
                    self.uring.buffers.borrow_mut().disarm(buffer);
                }
                Event::Readable => {
                    let mut scratch = self.uring.scratch.borrow_mut();
                    let received = ring::receive_now(&self.client, &mut scratch);
                    next = self.take_in(received, &scratch);
                    self.uring.worker.stats().unregistered_receives.add(1);
                }
                Event::Sent(Ok(sent), chunk) => self.note_sent(sent, chunk),
                Event::Sent(Err(error), chunk) if is_passing(&error) => self.note_sent(0, chunk),
                Event::Sent(Err(_), chunk) => {
                    self.recycle(chunk);
                    return;
                }
            }
        }
    }

    fn take_in(&mut self, received: io::Result<usize>, buffer: &[u8]) -> Next {
        match received {
            // The peer has sent all it will, and what it asked is answered before the end.
            Ok(0) => Next::Close,
            Ok(received) => self.advance(&buffer[..received]),
            Err(error) if is_passing(&error) => Next::Receive,
            Err(_) => Next::Close,
        }
    }

    fn answer_call(&mut self, next: Next) -> Next {
        self.uring.worker.take_pushed(&self.client, &mut self.outgoing);
        match next {
            Next::Pause if self.client.is_killed() => Next::Close,
            Next::Pause => self.advance(b""),
            next => next,
        }
    }

    fn queued(&self) -> usize {
        self.outgoing.len() + self.in_flight + self.ready.as_ref().map_or(0, Chunk::len)
    }

    fn advance(&mut self, input: &[u8]) -> Next {
        let queued = self.queued();
        let (buffers, outgoing, ready) = (&self.uring.buffers, &mut self.outgoing, &mut self.ready);
        self.uring.worker.advance(&mut self.session, input, queued, |reply| match reply.as_contiguous() {
            Some([]) => {}
            // The usual turn: everything fits one buffer, and nothing waits before it.
            Some(bytes) if bytes.len() <= limits::IO_BUFFER_BYTES && outgoing.is_empty() && ready.is_none() => {
                *ready = Some(match buffers.borrow_mut().take() {
                    Some(mut buffer) => {
                        buffer[..bytes.len()].copy_from_slice(bytes);
                        Chunk::Registered { buffer, from: 0, to: bytes.len() }
                    }
                    None => Chunk::Direct(Bytes::copy_from_slice(bytes)),
                });
                reply.clear();
            }
            _ => outgoing.append(reply),
        })
    }

    fn start_sending(&mut self) {
        if self.sending.is_some() {
            return;
        }
        let Some(chunk) = self.ready.take().or_else(|| self.next_chunk()) else { return };
        self.in_flight = chunk.len();
        if self.watch.sending_since.get() == 0 {
            self.watch.sending_since.set(self.uring.worker.now());
        }
        self.sending = Some(ring::send(self.client.clone(), chunk));
    }

    fn next_chunk(&mut self) -> Option<Chunk> {
        let is_large = self.outgoing.front()?.len() >= limits::SHARED_REPLY_MIN_BYTES;
        let buffer = if is_large { None } else { self.uring.buffers.borrow_mut().take() };
        let Some(mut buffer) = buffer else { return self.outgoing.pop().map(Chunk::Direct) };
        let to = self.outgoing.fill(&mut buffer, limits::SHARED_REPLY_MIN_BYTES);
        Some(Chunk::Registered { buffer, from: 0, to })
    }

    fn note_sent(&mut self, sent: usize, chunk: Chunk) {
        let left = chunk.len() - sent;
        self.in_flight = left;
        if sent > 0 {
            self.watch.sending_since.set(if left + self.outgoing.len() > 0 { self.uring.worker.now() } else { 0 });
        }
        if left == 0 {
            self.recycle(chunk);
        } else {
            let rest = match chunk {
                Chunk::Registered { buffer, from, to } => Chunk::Registered { buffer, from: from + sent, to },
                Chunk::Direct(mut bytes) => Chunk::Direct(bytes.split_off(sent)),
            };
            self.sending = Some(ring::send(self.client.clone(), rest));
        }
        let queued = self.queued();
        self.uring.worker.sent(&mut self.session, queued);
    }

    fn recycle(&mut self, chunk: Chunk) {
        if let Chunk::Registered { buffer, .. } = chunk {
            self.uring.buffers.borrow_mut().put(buffer);
        }
    }

    fn start_waiting(&mut self) {
        let buffer = self.uring.buffers.borrow_mut().arm();
        self.waiting = Some(match buffer {
            Some(buffer) => {
                self.watch.armed.set(true);
                Waiting::Armed(ring::receive(self.client.clone(), buffer, self.is_dry, self.uring.has_poll_first))
            }
            None => Waiting::Polled(ring::readable(self.client.clone())),
        });
    }

    fn count_receive(&self, buffer: &Buffer) {
        let stats = self.uring.worker.stats();
        match buffer {
            Buffer::Registered(_) => stats.registered_receives.add(1),
            Buffer::Ordinary(_) => stats.unregistered_receives.add(1),
        }
    }

    /// Waits until something that is under way is done or, if it `listens`, until somebody calls.
    async fn event(&mut self, listens: bool) -> Event {
        poll_fn(|cx| {
            if listens && self.client.is_called() {
                return Poll::Ready(Event::Called);
            }
            if let Some(sending) = &mut self.sending
                && let Poll::Ready((result, (_, chunk))) = Pin::new(sending).poll(cx)
            {
                self.sending = None;
                return Poll::Ready(Event::Sent(result, chunk));
            }
            let event = match &mut self.waiting {
                None => return Poll::Pending,
                Some(Waiting::Armed(receive)) => match Pin::new(receive).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready((result, (_, buffer))) => Event::Received(result, buffer),
                },
                Some(Waiting::Polled(readable)) => match Pin::new(readable).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(_) => Event::Readable,
                },
            };
            self.waiting = None;
            self.watch.armed.set(false);
            Poll::Ready(event)
        })
        .await
    }

    /// Ends what is under way and takes the connection off the books. No operation is left behind.
    async fn finish(mut self) {
        self.client.kill();
        while self.sending.is_some() || self.waiting.is_some() {
            match self.event(false).await {
                Event::Received(_, buffer) => self.uring.buffers.borrow_mut().disarm(buffer),
                Event::Sent(_, chunk) => self.recycle(chunk),
                Event::Readable | Event::Called => {}
            }
        }
        if let Some(chunk) = self.ready.take() {
            self.recycle(chunk);
        }
        self.uring.worker.leave(&mut self.session);
    }
}

/// The operation was called back or interrupted; the connection is as it was.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN | libc::ENOBUFS))
}
