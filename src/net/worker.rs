//! One core's tasks, whichever engine runs them: accepting, taking over connections, background work, the drain.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::spawn_local;

use super::busy_acceptor::BusyAcceptor;
use super::janitor::ConnectionTable;
use super::outgoing::Outgoing;
use super::{Accepted, Admission, WorkerConfig, WorkerLinks, admit, report_accept_error};
use crate::base::clock::{self, Clock, UnixMillis};
use crate::clients::{Client, Peer};
use crate::config::limits;
use crate::message::reply::Reply;
use crate::protocol::core::Core;
use crate::protocol::resp::session::{Next, Session};

/// What differs between the engines.
pub trait Transport: 'static {
    fn worker(&self) -> &Worker;

    /// Serves one connection to its end.
    fn serve(self: Rc<Self>, client: Arc<Client>) -> impl Future<Output = ()>;

    /// A listening socket, as this engine waits on it.
    type Listener: 'static;

    fn listener(&self, socket: TcpListener) -> io::Result<Self::Listener>;

    /// Waits for the next connection. It is never dropped while it waits.
    fn accept(&self, listener: &Self::Listener) -> impl Future<Output = io::Result<OwnedFd>>;

    /// Twice a second: call back what idle connections hold.
    fn reclaim(&self);
}

/// What the tasks of one core share.
pub struct Worker {
    pub(super) links: WorkerLinks,
    pub connections: ConnectionTable,
    core: RefCell<Core>,
    clock: Clock,
    /// The time of the last turn: near enough for whatever is not about keys.
    now: Cell<UnixMillis>,
    reply: RefCell<Reply>,
    /// Some connections wait for the end of a pause.
    has_paused: Cell<bool>,
    busy_acceptor: Rc<BusyAcceptor>,
    /// Sessions that the attendant has begun, by their clients, on their way to the tasks that go on with them.
    begun: RefCell<HashMap<u64, Session>>,
    /// There are such sessions.
    come: Notify,
    left: Notify,
}

impl Worker {
    pub fn new(config: &WorkerConfig) -> Worker {
        let links = WorkerLinks { index: config.index, shared: config.shared.clone(), cores: config.cores.clone() };
        let busy_acceptor = Rc::new(BusyAcceptor::new(links.clone()));
        let attending = busy_acceptor.clone();
        let attend = Box::new(move || attending.attend());
        Worker {
            links,
            connections: ConnectionTable::default(),
            core: RefCell::new(Core::attended(config.shared.clone(), config.index, attend)),
            busy_acceptor,
            begun: RefCell::default(),
            come: Notify::new(),
            clock: Clock::start(),
            now: Cell::new(clock::now()),
            reply: RefCell::default(),
            has_paused: Cell::new(false),
            left: Notify::new(),
        }
    }

    pub fn stats(&self) -> &crate::observe::stats::CoreStats {
        &self.links.shared.stats[self.links.index]
    }

    /// A connection's session, from its beginning or from where the attendant has left it.
    pub fn session(&self, client: &Arc<Client>) -> Session {
        let begun = self.begun.borrow_mut().remove(&client.id);
        begun.unwrap_or_else(|| Session::new(client.clone(), &self.links.shared))
    }

    /// Lets a session take in what was received, and hands its replies to `take`, which must leave none behind.
    pub fn advance(&self, session: &mut Session, input: &[u8], queued: usize, take: impl FnOnce(&mut Reply)) -> Next {
        let mut reply = self.reply.borrow_mut();
        let turn = self.clock.turn();
        self.now.set(turn.now);
        let next = session.advance(input, &mut self.core.borrow_mut(), turn, queued, &mut reply);
        self.stats().net_output_bytes.add(reply.len() as u64);
        if next == Next::Pause {
            self.has_paused.set(true);
        }
        if self.busy_acceptor.has_waiting() {
            self.come.notify_one();
        }
        take(&mut reply);
        debug_assert!(reply.is_empty());
        next
    }

    /// Lets those go on whose pause is over.
    fn end_pause(&self, now: UnixMillis) {
        if self.has_paused.get() && self.links.shared.clients.pause.at(now).is_none() {
            self.has_paused.set(false);
            self.connections.for_each(|client, _| client.wake());
        }
    }

    pub fn now(&self) -> UnixMillis {
        self.now.get()
    }

    /// Tells a session that replies have left.
    pub fn sent(&self, session: &mut Session, queued: usize) {
        session.sent(&self.core.borrow(), queued);
    }

    /// Puts behind the replies what others have pushed to this connection meanwhile.
    pub fn take_pushed(&self, client: &Client, outgoing: &mut Outgoing) {
        let pushed = client.take_pushed(limits::IO_BUFFER_BYTES);
        if !pushed.is_empty() {
            self.stats().net_output_bytes.add(pushed.len() as u64);
            outgoing.push(pushed);
        }
    }

    /// Takes a connection off all books.
    pub fn leave(&self, session: &mut Session) {
        self.stats().inbox_overflow_closed.add(session.client().has_overflowed() as u64);
        session.end(&self.core.borrow());
        self.connections.leave(session.client());
        self.links.shared.clients.leave(session.client());
        if self.connections.is_empty() {
            self.left.notify_one();
        }
    }
}

/// Lets other connections have their turn.
pub async fn give_way(next: Next) {
    if next == Next::Rest {
        tokio::time::sleep(Duration::from_millis(limits::REST_MS)).await;
    } else {
        tokio::task::yield_now().await;
    }
}

/// Has the task that serves this connection woken whenever somebody calls. It is polled with one waker all its life.
pub async fn attend(client: &Client) {
    poll_fn(|cx| {
        client.attend(cx.waker());
        Poll::Ready(())
    })
    .await
}

/// Takes over who came while a script kept the core busy.
async fn welcome<T: Transport>(transport: Rc<T>) {
    let worker = transport.worker();
    loop {
        worker.come.notified().await;
        for (client, session) in worker.busy_acceptor.take() {
            if worker.links.shared.draining.load(Relaxed) {
                client.stop_receiving();
            }
            worker.begun.borrow_mut().insert(client.id, session);
            spawn_local(transport.clone().serve(client));
        }
    }
}

/// Runs a core until the server has drained.
pub async fn run<T: Transport>(transport: Rc<T>, mut config: WorkerConfig) -> io::Result<()> {
    let mut listeners = Vec::new();
    for socket in config.tcp.drain(..) {
        socket.set_nonblocking(true)?;
        transport.worker().busy_acceptor.watch(socket.try_clone()?, None);
        listeners.push(socket.try_clone()?);
        spawn_local(accept_tcp(transport.clone(), transport.listener(socket)?, config.drain.clone()));
    }
    if let Some(listener) = config.unix.take() {
        transport.worker().busy_acceptor.watch(listener.try_clone()?, Some(Peer::Unix));
        spawn_local(accept_unix(transport.clone(), listener));
    }
    let (inbox_closed, inbox) = (config.drain.clone(), config.inbox);
    spawn_local(take_over(transport.clone(), inbox, inbox_closed));
    spawn_local(tend_shard(transport.clone()));
    spawn_local(welcome(transport.clone()));
    spawn_local(tend_connections(transport.clone()));

    // The sender lives in the main thread, which ends the process when it ends itself.
    let _ = config.drain.wait_for(|draining| *draining).await;
    for listener in &listeners {
        // Wakes the accept task, which finds that the server drains.
        let _ = socket2::SockRef::from(listener).shutdown(Shutdown::Both);
    }
    drain(transport.worker()).await;
    Ok(())
}

fn enter<T: Transport>(transport: &Rc<T>, accepted: Accepted) {
    let links = &transport.worker().links;
    let client = links.shared.clients.enter(links.index, accepted.socket, accepted.peer, clock::now());
    if links.shared.draining.load(Relaxed) {
        client.stop_receiving();
    }
    spawn_local(transport.clone().serve(client));
}

async fn accept_tcp<T: Transport>(transport: Rc<T>, listener: T::Listener, draining: watch::Receiver<bool>) {
    loop {
        match transport.accept(&listener).await {
            Ok(socket) => {
                if let Admission::Here(accepted) = admit(&transport.worker().links, socket, None) {
                    enter(&transport, accepted);
                }
            }
            Err(_) if *draining.borrow() => return,
            Err(error) => {
                report_accept_error(&transport.worker().links, &error);
                tokio::time::sleep(Duration::from_millis(limits::ACCEPT_BACKOFF_MS)).await;
            }
        }
    }
}

/// Unix connections are few and local: plain tokio accepts them under either engine.
async fn accept_unix<T: Transport>(transport: Rc<T>, listener: std::os::unix::net::UnixListener) {
    let listener = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the Unix socket cannot be watched: {error}"),
    };
    loop {
        match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                if let Admission::Here(accepted) = admit(&transport.worker().links, stream.into(), Some(Peer::Unix)) {
                    enter(&transport, accepted);
                }
            }
            Err(error) => {
                report_accept_error(&transport.worker().links, &error);
                tokio::time::sleep(Duration::from_millis(limits::ACCEPT_BACKOFF_MS)).await;
            }
        }
    }
}

/// Serves what other cores accepted for this one.
async fn take_over<T: Transport>(
    transport: Rc<T>,
    mut inbox: mpsc::UnboundedReceiver<Accepted>,
    draining: watch::Receiver<bool>,
) {
    while let Some(accepted) = inbox.recv().await {
        if *draining.borrow() {
            transport.worker().links.shared.clients.unplace(transport.worker().links.index);
            continue;
        }
        enter(&transport, accepted);
    }
}

/// The shard's background work: in bounded steps, and between steps the connections have their turn.
async fn tend_shard<T: Transport>(transport: Rc<T>) {
    let links = &transport.worker().links;
    loop {
        let now = transport.worker().clock.set();
        transport.worker().end_pause(now);
        if links.shared.keyspace.tick(links.index, now) {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(Duration::from_millis(limits::SHARD_TICK_MS)).await;
        }
    }
}

async fn tend_connections<T: Transport>(transport: Rc<T>) {
    let worker = transport.worker();
    loop {
        tokio::time::sleep(Duration::from_millis(limits::JANITOR_PERIOD_MS)).await;
        worker.links.shared.heartbeats[worker.links.index].fetch_add(1, Relaxed);
        worker.now.set(clock::now());
        if worker.links.index == 0 {
            worker.links.shared.sample(worker.now());
        }
        worker.connections.close_overdue(
            worker.links.shared.settings.timeout_s.load(Relaxed),
            worker.stats(),
            worker.now(),
        );
        transport.reclaim();
    }
}

/// Answers what has been received and waits for the connections to end; those that do not in time are cut off.
async fn drain(worker: &Worker) {
    worker.connections.for_each(|client, _| {
        client.stop_receiving();
        // Nothing pauses any more.
        client.wake();
    });
    let all_left = async {
        while !worker.connections.is_empty() {
            worker.left.notified().await;
        }
    };
    let timeout = Duration::from_secs(worker.links.shared.options.shutdown_timeout);
    if tokio::time::timeout(timeout, all_left).await.is_err() {
        worker.connections.for_each(|client, _| {
            tracing::warn!(client = client.id, "cut off: its replies were not taken within --shutdown-timeout");
            client.kill();
        });
    }
}
