//! Drives one connection on the ring: what is being sent and the next receive are armed in the same turn of the loop.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::Uring;
use super::buffers::Buffer;
use super::ring::{self, Chunk};
use crate::clients::Client;
use crate::config::limits;
use crate::net::connection::{Connection, Offered, Sink, Step};
use crate::net::direct::{self, Received};
use crate::net::worker::{self, Served};

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

/// The usual turn: its replies fit one buffer and nothing waits before them, so they go there at once.
struct Ready<'u> {
    uring: &'u Uring,
    chunk: Option<Chunk>,
}

impl Sink for Ready<'_> {
    fn offer(&mut self, bytes: &[u8]) -> io::Result<Offered> {
        if bytes.len() > limits::IO_BUFFER_BYTES {
            return Ok(Offered::Sent(0));
        }
        debug_assert!(self.chunk.is_none(), "nothing is offered while a chunk is under way");
        self.chunk = Some(match self.uring.buffers.borrow_mut().take() {
            Some(mut buffer) => {
                buffer[..bytes.len()].copy_from_slice(bytes);
                Chunk::Registered { buffer, from: 0, to: bytes.len() }
            }
            None => Chunk::Direct(Bytes::copy_from_slice(bytes)),
        });
        Ok(Offered::Taken(bytes.len()))
    }
}

/// What is under way for one connection.
struct Driver<'u> {
    uring: &'u Uring,
    client: &'u Arc<Client>,
    waiting: Option<Waiting>,
    sending: Option<ring::Send>,
    /// The last receive took all there was.
    is_dry: bool,
    ready: Ready<'u>,
}

pub async fn serve(uring: &Uring, connection: &mut Connection<Served>, client: &Arc<Client>) {
    // The kernel waits in our place: it must not be told to answer EAGAIN instead.
    let _ = socket2::SockRef::from(client).set_nonblocking(false);
    let ready = Ready { uring, chunk: None };
    let mut driver = Driver { uring, client, waiting: None, sending: None, is_dry: true, ready };
    worker::attend(client).await;
    driver.converse(connection).await;
    driver.finish(connection).await;
}

impl Driver<'_> {
    async fn converse(&mut self, connection: &mut Connection<Served>) {
        loop {
            let step = connection.step(&mut self.ready);
            self.start_sending(connection);
            match step {
                Step::Close => return,
                Step::Yield => {
                    tokio::task::yield_now().await;
                    connection.go_on(&mut self.ready);
                }
                Step::Rest => {
                    worker::rest().await;
                    connection.go_on(&mut self.ready);
                }
                Step::Wait { receives, listens } => {
                    if receives && self.waiting.is_none() {
                        self.start_waiting(connection);
                    }
                    let event = self.event(listens).await;
                    self.tell(connection, event);
                }
            }
        }
    }

    fn tell(&mut self, connection: &mut Connection<Served>, event: Event) {
        match event {
            Event::Called => {}
            Event::Received(received, buffer) => {
                connection.conversation().watch().armed.set(false);
                if received.as_ref().is_err_and(is_passing) {
                    // Its buffer was called back: it waits on without one.
                    self.waiting = Some(Waiting::Polled(ring::readable(self.client.clone())));
                } else {
                    self.is_dry = received.as_ref().is_ok_and(|received| *received < buffer.len());
                    let received = received.map(|buffered| Received { placed: 0, buffered });
                    self.take_in(connection, received, &buffer);
                    self.count_receive(&buffer);
                }
                self.uring.buffers.borrow_mut().disarm(buffer);
            }
            Event::Readable => {
                let mut scratch = self.uring.scratch.borrow_mut();
                let received = direct::receive(connection, self.client, &mut scratch);
                self.take_in(connection, received, &scratch);
                self.uring.worker.stats().unregistered_receives.add(1);
            }
            Event::Sent(sent, chunk) => self.note_sent(connection, sent, chunk),
        }
    }

    fn take_in(&mut self, connection: &mut Connection<Served>, received: io::Result<Received>, buffer: &[u8]) {
        match received {
            Ok(Received::NOTHING) => connection.ended(),
            Ok(received) => connection.received(&buffer[..received.buffered], &mut self.ready),
            Err(error) if is_passing(&error) => {}
            // What was asked is answered all the same, if anybody is there to take it.
            Err(_) => connection.ended(),
        }
    }

    fn start_sending(&mut self, connection: &mut Connection<Served>) {
        if self.sending.is_none()
            && let Some(chunk) = self.ready.chunk.take().or_else(|| self.next_chunk(connection))
        {
            self.sending = Some(ring::send(self.client.clone(), chunk));
        }
    }

    fn next_chunk(&self, connection: &mut Connection<Served>) -> Option<Chunk> {
        let outgoing = connection.outgoing();
        let is_large = outgoing.pieces().next()?.len() >= limits::SHARED_REPLY_MIN_BYTES;
        let buffer = if is_large { None } else { self.uring.buffers.borrow_mut().take() };
        let Some(mut buffer) = buffer else { return outgoing.take().map(Chunk::Direct) };
        let to = outgoing.take_into(&mut buffer, limits::SHARED_REPLY_MIN_BYTES);
        Some(Chunk::Registered { buffer, from: 0, to })
    }

    fn note_sent(&mut self, connection: &mut Connection<Served>, sent: io::Result<usize>, chunk: Chunk) {
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) if is_passing(&error) => 0,
            Err(_) => {
                self.recycle(chunk);
                return connection.failed();
            }
        };
        if sent == chunk.len() {
            self.recycle(chunk);
        } else {
            let rest = match chunk {
                Chunk::Registered { buffer, from, to } => Chunk::Registered { buffer, from: from + sent, to },
                Chunk::Direct(mut bytes) => Chunk::Direct(bytes.split_off(sent)),
            };
            self.sending = Some(ring::send(self.client.clone(), rest));
        }
        connection.sent(sent);
    }

    fn recycle(&mut self, chunk: Chunk) {
        if let Chunk::Registered { buffer, .. } = chunk {
            self.uring.buffers.borrow_mut().put(buffer);
        }
    }

    fn start_waiting(&mut self, connection: &mut Connection<Served>) {
        // What is large is received by a system call, straight to where it will lie.
        let buffer = if connection.wants_place() { None } else { self.uring.buffers.borrow_mut().arm() };
        self.waiting = Some(match buffer {
            Some(buffer) => {
                connection.conversation().watch().armed.set(true);
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
            Poll::Ready(event)
        })
        .await
    }

    /// Ends what is under way. No operation is left behind.
    async fn finish(mut self, connection: &mut Connection<Served>) {
        self.client.kill();
        while self.sending.is_some() || self.waiting.is_some() {
            match self.event(false).await {
                Event::Received(_, buffer) => {
                    connection.conversation().watch().armed.set(false);
                    self.uring.buffers.borrow_mut().disarm(buffer);
                }
                Event::Sent(_, chunk) => self.recycle(chunk),
                Event::Readable | Event::Called => {}
            }
        }
        if let Some(chunk) = self.ready.chunk.take() {
            self.recycle(chunk);
        }
    }
}

/// The operation was called back or interrupted; the connection is as it was.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN | libc::ENOBUFS))
}
