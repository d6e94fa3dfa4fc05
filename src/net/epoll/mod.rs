//! The epoll driver: plain tokio on each core, for hosts that forbid io_uring. The same connections, the same limits.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use super::WorkerConfig;
use super::connection::{Connection, Step};
use super::direct::{self, Direct, Left, Received};
use super::listener::Listener;
use super::readiness;
use super::worker::{self, Served, Transport, Worker};
use crate::clients::Client;
use crate::config::limits;

/// Runs one core until the server has drained.
pub fn run(config: WorkerConfig) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scratch = RefCell::new(vec![0; limits::IO_BUFFER_BYTES]);
    let transport = Rc::new(Epoll { worker: Rc::new(Worker::new(&config)), scratch });
    LocalSet::new().block_on(&runtime, worker::run(transport, config))
}

struct Epoll {
    worker: Rc<Worker>,
    /// What is received goes through here into the session: no connection keeps a buffer while it waits.
    scratch: RefCell<Vec<u8>>,
}

impl Transport for Epoll {
    fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    fn serve(self: &Rc<Self>, mut connection: Connection<Served>, client: Arc<Client>) {
        let epoll = self.clone();
        spawn_local(async move { epoll.drive(&mut connection, &client).await });
    }

    fn listen(self: &Rc<Self>, listener: Rc<Listener>, draining: watch::Receiver<bool>) -> io::Result<()> {
        let watched = readiness::watch(listener.socket.try_clone()?, Interest::READABLE)?;
        let next = async move || {
            let (socket, _) = watched.async_io(Interest::READABLE, Socket::accept).await?;
            Ok(socket.into())
        };
        spawn_local(worker::accept(self.clone(), listener, draining, next));
        Ok(())
    }
}

impl Epoll {
    async fn drive(&self, connection: &mut Connection<Served>, client: &Arc<Client>) {
        // It fails only when the kernel has no memory for it: the end of the conversation.
        let Ok(readiness) = readiness::watch(client.clone(), Interest::READABLE | Interest::WRITABLE) else { return };
        worker::attend(client).await;
        loop {
            if !connection.outgoing().is_empty() && direct::send_waiting(connection, client) == Left::Share {
                tokio::task::yield_now().await;
                continue;
            }
            match connection.step(&mut Direct(client)) {
                Step::Close => return,
                Step::Yield => {
                    tokio::task::yield_now().await;
                    connection.go_on(&mut Direct(client));
                }
                Step::Rest => {
                    worker::rest().await;
                    connection.go_on(&mut Direct(client));
                }
                Step::Wait { receives, listens } => {
                    let sends = !connection.outgoing().is_empty();
                    let listening = listens.then_some(client);
                    let Some(ready) = ready_or_called(&readiness, receives, sends, listening).await else { continue };
                    let Ok(mut ready) = ready else { return };
                    if sends && ready.ready().is_writable() && direct::send_waiting(connection, client) == Left::Full {
                        ready.clear_ready_matching(tokio::io::Ready::WRITABLE);
                    }
                    if receives && ready.ready().is_readable() && self.receive(connection, client, &mut ready) {
                        // A socket that never runs dry would keep the event loop from looking at the others.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// Receives what is there. True if there may be more.
    fn receive(
        &self,
        connection: &mut Connection<Served>,
        client: &Arc<Client>,
        ready: &mut AsyncFdReadyGuard<Arc<Client>>,
    ) -> bool {
        let mut buffer = self.scratch.borrow_mut();
        match direct::receive(connection, client, &mut buffer) {
            Ok(Received::NOTHING) => connection.ended(),
            Ok(received) => {
                self.worker.stats().unregistered_receives.add(1);
                connection.received(&buffer[..received.buffered], &mut Direct(client));
                if received.placed > 0 || received.buffered == buffer.len() {
                    return true;
                }
                ready.clear_ready_matching(tokio::io::Ready::READABLE);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.clear_ready_matching(tokio::io::Ready::READABLE);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => connection.failed(),
        }
        false
    }
}

/// Waits for the socket or, if there is a client to listen for, until somebody calls it: `None`.
async fn ready_or_called<'r>(
    readiness: &'r AsyncFd<Arc<Client>>,
    receives: bool,
    sends: bool,
    client: Option<&Arc<Client>>,
) -> Option<io::Result<AsyncFdReadyGuard<'r, Arc<Client>>>> {
    let interest = match (receives, sends) {
        (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
        (true, false) => Some(Interest::READABLE),
        (false, true) => Some(Interest::WRITABLE),
        (false, false) => None,
    };
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
