//! One core's tasks, whichever driver runs them: accepting, taking over connections, background work, the drain.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::spawn_local;

use super::busy_acceptor::BusyAcceptor;
use super::connection::{Connection, Conversation};
use super::janitor::{ConnectionTable, Watch};
use super::listener::Listener;
use super::outgoing::Outgoing;
use super::{Accepted, Admission, WorkerConfig, WorkerLinks, admit, report_accept_error};
use crate::base::allocator;
use crate::base::clock::{self, Clock, UnixMillis};
use crate::clients::Client;
use crate::command;
use crate::config::limits;
use crate::message::output::Output;
use crate::observe::stats;
use crate::protocol::core::Core;
use crate::protocol::front::{Next, Session};

/// What differs between the drivers.
pub trait Transport: Sized + 'static {
    fn worker(&self) -> &Rc<Worker>;

    /// Begins to serve a connection, which it does to its end. A refusal by the kernel ends it.
    fn serve(self: &Rc<Self>, connection: Connection<Served>, client: Arc<Client>);

    /// Begins to accept, until the server drains.
    fn listen(self: &Rc<Self>, listener: Rc<Listener>, draining: watch::Receiver<bool>) -> io::Result<()>;

    /// Twice a second: call back what idle connections hold.
    fn reclaim(&self) {}
}

/// What the tasks of one core share.
pub struct Worker {
    pub(super) links: WorkerLinks,
    pub connections: ConnectionTable,
    core: RefCell<Core>,
    clock: Clock,
    /// The time of the last turn: near enough for whatever is not about keys.
    now: Cell<UnixMillis>,
    reply: RefCell<Output>,
    /// Some connections wait for the end of a pause.
    has_paused: Cell<bool>,
    /// Run by all cores until the shard's last tick.
    commands_seen: Cell<u64>,
    /// The shard has more to do than it did at its last turn.
    has_backlog: Cell<bool>,
    busy_acceptor: Rc<BusyAcceptor>,
    /// Somebody has come meanwhile and waits for the core.
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
            come: Notify::new(),
            clock: Clock::start(),
            now: Cell::new(clock::now()),
            reply: RefCell::default(),
            has_paused: Cell::new(false),
            commands_seen: Cell::new(0),
            has_backlog: Cell::new(false),
            left: Notify::new(),
        }
    }

    pub fn stats(&self) -> &crate::observe::stats::CoreStats {
        &self.links.shared.stats[self.links.index]
    }

    /// Lets those go on whose pause is over.
    fn end_pause(&self, now: UnixMillis) {
        if self.has_paused.get() && self.links.shared.clients.pause.at(now).is_none() {
            self.has_paused.set(false);
            self.connections.for_each(|client, _| {
                if client.paused.load(Relaxed) {
                    client.wake()
                }
            });
        }
    }

    pub fn now(&self) -> UnixMillis {
        self.now.get()
    }

    /// Nobody has asked any core for anything since this was asked before, and nobody waits for the time to pass.
    fn is_quiet(&self) -> bool {
        let commands = stats::total(&self.links.shared.stats, |core| &core.commands);
        self.commands_seen.replace(commands) == commands && !self.has_paused.get()
    }

    /// The core's tasks want their next turn soon.
    pub fn has_backlog(&self) -> bool {
        self.has_backlog.get()
    }

    pub fn is_draining(&self) -> bool {
        self.links.shared.draining.load(Relaxed)
    }

    /// Places who was accepted. `Some` if it is to be served here.
    pub fn admit(self: &Rc<Self>, socket: OwnedFd, listener: &Listener) -> Option<(Connection<Served>, Arc<Client>)> {
        match admit(&self.links, socket, listener) {
            Admission::Here(accepted) => Some(self.enter(accepted)),
            Admission::Gone => None,
        }
    }

    pub fn report_accept_error(&self, error: &io::Error) {
        report_accept_error(&self.links, error);
    }

    /// Enters a connection that was placed here.
    fn enter(self: &Rc<Self>, accepted: Accepted) -> (Connection<Served>, Arc<Client>) {
        let links = &self.links;
        self.begin(accepted.enter(links.index, &links.shared, clock::now()))
    }

    /// A connection from its beginning, or from where the busy acceptor has left it.
    fn begin(self: &Rc<Self>, session: Box<dyn Session>) -> (Connection<Served>, Arc<Client>) {
        let client = session.client().clone();
        if self.links.shared.draining.load(Relaxed) {
            client.stop_receiving();
        }
        (Connection::new(Served::new(self, session)), client)
    }

    /// Counts what a client is sent at once.
    fn note_written(&self, client: &Client, bytes: usize) {
        self.stats().net_output_bytes.add(bytes as u64);
        self.stats().writes.add(1);
        client.output_bytes.add(bytes as u64);
    }

    /// Takes a connection off all books.
    fn leave(&self, session: &mut dyn Session) {
        self.stats().output_limit_closed.add(session.client().has_overflowed() as u64);
        session.end(&self.core.borrow());
        self.connections.leave(session.client());
        self.links.shared.clients.leave(session.client());
        if self.connections.is_empty() {
            self.left.notify_one();
        }
    }
}

/// A connection's session on its core: what stands behind a `Connection` in the server.
pub struct Served {
    worker: Rc<Worker>,
    session: Box<dyn Session>,
    watch: Rc<Watch>,
}

impl Served {
    fn new(worker: &Rc<Worker>, session: Box<dyn Session>) -> Served {
        let watch = worker.connections.enter(session.client());
        Served { worker: worker.clone(), session, watch }
    }

    pub fn watch(&self) -> &Watch {
        &self.watch
    }
}

impl Conversation for Served {
    fn advance(&mut self, input: &[u8], queued: usize, take: impl FnOnce(&mut Output)) -> Next {
        let worker = &*self.worker;
        let mut reply = worker.reply.borrow_mut();
        let turn = worker.clock.turn();
        worker.now.set(turn.now);
        let next = self.session.advance(input, &mut worker.core.borrow_mut(), turn, queued, &mut reply);
        // What the turn has pushed to its own client comes with the replies, as Redis sends it: before the next request.
        if next == Next::Receive && queued + reply.len() <= limits::IO_BUFFER_BYTES && self.session.client().is_called()
        {
            reply.write(&pushed(&mut *self.session));
        }
        if !reply.is_empty() {
            worker.note_written(self.session.client(), reply.len());
        }
        if next == Next::Pause {
            worker.has_paused.set(true);
        }
        if worker.busy_acceptor.has_waiting() {
            worker.come.notify_one();
        }
        take(&mut reply);
        debug_assert!(reply.is_empty());
        next
    }

    fn missing_bytes(&self) -> usize {
        self.session.missing_bytes()
    }

    fn place(&mut self, bytes: usize) -> Option<&mut [u8]> {
        self.session.place(&self.worker.core.borrow(), bytes)
    }

    fn placed(&mut self, bytes: usize) {
        self.session.client().last_active.store(self.worker.now(), Relaxed);
        self.session.placed(&self.worker.core.borrow(), bytes);
    }

    fn sent(&mut self, queued: usize) {
        self.watch.sending_since.set(if queued > 0 { self.worker.now() } else { 0 });
        self.session.sent(&self.worker.core.borrow(), queued);
    }

    fn waits(&mut self) {
        if self.watch.sending_since.get() == 0 {
            self.watch.sending_since.set(self.worker.now());
        }
    }

    fn is_called(&self) -> bool {
        self.session.client().is_called()
    }

    fn take_pushed(&mut self, outgoing: &mut Outgoing) {
        let pushed = pushed(&mut *self.session);
        if !pushed.is_empty() {
            self.worker.note_written(self.session.client(), pushed.len());
            outgoing.push(pushed);
        }
    }

    fn is_killed(&self) -> bool {
        self.session.client().is_killed()
    }
}

/// What others have pushed to the client, as it is sent; empty when it was only woken.
fn pushed(session: &mut dyn Session) -> Bytes {
    let pushed = session.client().take_pushed(limits::IO_BUFFER_BYTES);
    if pushed.is_empty() { pushed } else { session.wrap(pushed) }
}

impl Drop for Served {
    /// The connection is over, however it ended.
    fn drop(&mut self) {
        self.session.client().kill();
        self.worker.leave(&mut *self.session);
    }
}

/// Rests for a moment.
pub async fn rest() {
    tokio::time::sleep(Duration::from_millis(limits::REST_MS)).await;
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
        for session in worker.busy_acceptor.take() {
            let (connection, client) = worker.begin(session);
            transport.serve(connection, client);
        }
    }
}

/// Runs a core until the server has drained.
pub async fn run<T: Transport>(transport: Rc<T>, mut config: WorkerConfig) -> io::Result<()> {
    let mut sockets = Vec::new();
    for listener in config.listeners.drain(..) {
        sockets.push(listener.socket.try_clone()?);
        let listener = Rc::new(listener);
        transport.worker().busy_acceptor.watch(listener.clone());
        transport.listen(listener, config.drain.clone())?;
    }
    let (inbox_closed, inbox) = (config.drain.clone(), config.inbox);
    let taking_over = spawn_local(take_over(transport.clone(), inbox, inbox_closed));
    spawn_local(tend_shard(transport.clone()));
    spawn_local(welcome(transport.clone()));
    spawn_local(tend_connections(transport.clone()));

    // The sender lives in the main thread, which ends the process when it ends itself.
    let _ = config.drain.wait_for(|draining| *draining).await;
    for socket in &sockets {
        // Wakes the accept task, which finds that the server drains.
        let _ = socket.shutdown(Shutdown::Both);
    }
    drain(transport.worker()).await;
    // Nobody serves who is handed over from now on: closed with the inbox, they need not wait for the cores that drain still.
    taking_over.abort();
    let _ = taking_over.await;
    Ok(())
}

/// Accepts by `next`, which waits for the next connection and is never dropped while it waits.
pub async fn accept<T: Transport>(
    transport: Rc<T>,
    listener: Rc<Listener>,
    draining: watch::Receiver<bool>,
    mut next: impl AsyncFnMut() -> io::Result<OwnedFd>,
) {
    loop {
        match next().await {
            Ok(socket) => {
                if let Some((connection, client)) = transport.worker().admit(socket, &listener) {
                    transport.serve(connection, client);
                }
            }
            Err(_) if *draining.borrow() => return,
            Err(error) => {
                transport.worker().report_accept_error(&error);
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
        let (connection, client) = transport.worker().enter(accepted);
        transport.serve(connection, client);
    }
}

/// The shard's background work: in bounded steps, and between steps the connections have their turn.
async fn tend_shard<T: Transport>(transport: Rc<T>) {
    let worker = transport.worker();
    loop {
        let now = worker.clock.set();
        worker.end_pause(now);
        worker.core.borrow_mut().tend_scripts();
        worker.core.borrow_mut().tend_hot(now);
        let has_more = keep_up(worker, now);
        worker.has_backlog.set(has_more);
        // To give way is not enough: the runtime would come back here many times before it looks at the sockets.
        let rest = match () {
            _ if has_more => limits::UPKEEP_REST_MS,
            _ if worker.is_quiet() => limits::SHARD_QUIET_TICK_MS,
            _ => limits::SHARD_TICK_MS,
        };
        tokio::time::sleep(Duration::from_millis(rest)).await;
    }
}

/// Some steps of a shard's upkeep. True if there is more to do right now.
fn keep_up(worker: &Worker, now: UnixMillis) -> bool {
    let links = &worker.links;
    command::flush_if_due(&links.shared, now);
    let until = clock::tick() + limits::UPKEEP_TIME;
    while clock::tick() < until {
        let (more, held) = links.shared.tend_shard(links.index, now);
        worker.stats().longest.upkeep_nanos.raise(held.as_nanos() as u64);
        if !more {
            return false;
        }
    }
    true
}

async fn tend_connections<T: Transport>(transport: Rc<T>) {
    let worker = transport.worker();
    loop {
        tokio::time::sleep(Duration::from_millis(limits::JANITOR_PERIOD_MS)).await;
        worker.links.shared.heartbeats[worker.links.index].fetch_add(1, Relaxed);
        worker.now.set(clock::now());
        if worker.links.index == 0 {
            allocator::recover();
            worker.links.shared.sample(worker.now());
            worker.links.shared.clients.relieve(limits::JANITOR_PERIOD_MS, worker.now());
        }
        worker.connections.close_overdue(
            worker.links.shared.settings.timeout_s.load(Relaxed),
            worker.links.shared.clients.memory.patience_ms(),
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
