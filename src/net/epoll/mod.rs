//! The epoll engine: plain tokio on each core, for hosts that forbid io_uring. The same sessions, the same limits.

mod readiness;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::task::LocalSet;

use super::WorkerConfig;
use super::janitor::Watch;
use super::outgoing::Outgoing;
use super::worker::{self, Transport, Worker};
use crate::base::clock::UnixMillis;
use crate::clients::Client;
use crate::config::limits;
use crate::protocol::resp::session::{Next, Session};

/// Runs one core until the server has drained.
pub fn run(config: WorkerConfig) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scratch = RefCell::new(vec![0; limits::IO_BUFFER_BYTES]);
    let transport = Rc::new(Epoll { worker: Worker::new(&config), scratch });
    LocalSet::new().block_on(&runtime, worker::run(transport, config))
}

struct Epoll {
    worker: Worker,
    /// What is received goes through here into the session: no connection keeps a buffer while it waits.
    scratch: RefCell<Vec<u8>>,
}

impl Transport for Epoll {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    async fn serve(self: Rc<Self>, client: Arc<Client>) {
        let mut session = self.worker.session(&client);
        let watch = self.worker.connections.enter(&client);
        // It ends in an error when the peer is gone: the end of the conversation all the same.
        let _ = converse(&self, &client, &mut session, &watch).await;
        client.kill();
        self.worker.leave(&mut session);
    }

    type Listener = AsyncFd<TcpListener>;

    fn listener(&self, socket: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
        readiness::watch(socket, Interest::READABLE)
    }

    async fn accept(&self, listener: &AsyncFd<TcpListener>) -> io::Result<OwnedFd> {
        let (stream, _) = listener.async_io(Interest::READABLE, TcpListener::accept).await?;
        Ok(stream.into())
    }

    /// Nothing is held while a connection waits.
    fn reclaim(&self) {}
}

async fn converse(epoll: &Epoll, client: &Arc<Client>, session: &mut Session, watch: &Watch) -> io::Result<()> {
    let worker = &epoll.worker;
    let socket = socket2::SockRef::from(client);
    socket.set_nonblocking(true)?;
    let readiness = readiness::watch(client.clone(), Interest::READABLE | Interest::WRITABLE)?;
    let mut outgoing = Outgoing::default();
    let mut next = Next::Receive;
    worker::attend(client).await;
    loop {
        if !outgoing.is_empty() {
            let sent = send(&socket, &mut outgoing, watch, worker.now())?;
            worker.sent(session, outgoing.len());
            if sent == Sent::Share {
                tokio::task::yield_now().await;
                continue;
            }
        }
        // Replies make way for what others push, and the other way round.
        let has_room = outgoing.len() <= limits::IO_BUFFER_BYTES;
        let listens = has_room && next != Next::Close;
        if listens && client.is_called() {
            worker.take_pushed(client, &mut outgoing);
            next = match next {
                Next::Pause if client.is_killed() => Next::Close,
                Next::Pause => worker.advance(session, b"", outgoing.len(), |reply| outgoing.append(reply)),
                next => next,
            };
        }
        match next {
            Next::Yield | Next::Rest => {
                worker::give_way(next).await;
                next = worker.advance(session, b"", outgoing.len(), |reply| outgoing.append(reply));
                continue;
            }
            Next::Drain if has_room => {
                next = worker.advance(session, b"", outgoing.len(), |reply| outgoing.append(reply));
                continue;
            }
            Next::Close if outgoing.is_empty() => return Ok(()),
            _ => {}
        }
        let interest = match (next == Next::Receive, !outgoing.is_empty()) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        };
        let Some(ready) = ready_or_called(&readiness, interest, listens.then_some(client)).await else { continue };
        let mut ready = ready?;
        if ready.ready().is_writable() && !outgoing.is_empty() {
            if send(&socket, &mut outgoing, watch, worker.now())? == Sent::Full {
                ready.clear_ready_matching(tokio::io::Ready::WRITABLE);
            }
            worker.sent(session, outgoing.len());
        }
        if next == Next::Receive && ready.ready().is_readable() {
            let received = {
                let mut buffer = epoll.scratch.borrow_mut();
                let received = (&*socket).read(&mut buffer);
                if let Ok(bytes @ 1..) = received {
                    worker.stats().unregistered_receives.add(1);
                    next = worker.advance(session, &buffer[..bytes], outgoing.len(), |reply| outgoing.append(reply));
                }
                received
            };
            match received {
                Ok(0) => next = Next::Close,
                // A socket that never runs dry would keep the event loop from looking at the others.
                Ok(limits::IO_BUFFER_BYTES) => tokio::task::yield_now().await,
                Ok(_) => ready.clear_ready_matching(tokio::io::Ready::READABLE),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready_matching(tokio::io::Ready::READABLE);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits for the socket or, if there is a client to listen for, until somebody calls it: `None`.
async fn ready_or_called<'r>(
    readiness: &'r AsyncFd<Arc<Client>>,
    interest: Option<Interest>,
    client: Option<&Arc<Client>>,
) -> Option<io::Result<AsyncFdReadyGuard<'r, Arc<Client>>>> {
    let mut ready = pin!(interest.map(|interest| readiness.ready(interest)));
    poll_fn(|cx| {
        if client.is_some_and(|client| client.is_called()) {
            return Poll::Ready(None);
        }
        match ready.as_mut().as_pin_mut() {
            Some(ready) => ready.poll(cx).map(Some),
            None => Poll::Pending,
        }
    })
    .await
}

/// How an attempt to send ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    All,
    /// The socket takes no more for now.
    Full,
    /// This turn's share has left; more could.
    Share,
}

fn send(mut socket: &socket2::Socket, outgoing: &mut Outgoing, watch: &Watch, now: UnixMillis) -> io::Result<Sent> {
    let mut share = limits::SEND_MAX_BYTES;
    while let Some(piece) = outgoing.front() {
        if share == 0 {
            return Ok(Sent::Share);
        }
        match socket.write(&piece[..piece.len().min(share)]) {
            Ok(sent) => {
                share -= sent;
                outgoing.advance(sent);
                watch.sending_since.set(if outgoing.is_empty() { 0 } else { now });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if watch.sending_since.get() == 0 {
                    watch.sending_since.set(now);
                }
                return Ok(Sent::Full);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Sent::All)
}
