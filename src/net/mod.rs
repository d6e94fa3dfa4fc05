//! How bytes reach the sessions: io_uring where the host allows it, epoll elsewhere. Chooses the driver, and holds what
//! all of them share. Only code below this folder awaits a socket.

pub mod listener;
mod worker;
mod busy_acceptor;
mod janitor;
pub mod connection;
pub mod outgoing;
mod direct;
mod readiness;

pub mod epoll;
pub mod multishot;
pub mod uring;

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Barrier, OnceLock};

use tokio::sync::{mpsc, watch};

use crate::base::clock::UnixMillis;
use crate::base::{allocator, clock};
use crate::clients::Peer;
use crate::config::StartError;
use crate::config::limits;
use crate::config::{Engine, Switch};
use crate::observe::log;
use crate::protocol::front::{Protocol, Session};
use crate::shared::Shared;
use listener::{Address, Listener};

/// A connection that was placed on a core and is on its way there.
#[derive(Debug)]
pub struct Accepted {
    pub socket: OwnedFd,
    pub peer: Peer,
    pub protocol: Protocol,
    pub is_encrypted: bool,
}

impl Accepted {
    /// Enters it among the clients of its core.
    fn enter(self, core: usize, shared: &Shared, now: UnixMillis) -> Box<dyn Session> {
        let client = shared.clients.enter(core, self.socket, self.peer, now);
        self.protocol.session_over(self.is_encrypted, client, shared)
    }
}

/// What one core's thread is given to run with.
pub struct WorkerConfig {
    pub index: usize,
    pub shared: Arc<Shared>,
    /// The core's own.
    pub listeners: Vec<Listener>,
    /// Connections that other cores accepted for this one. Bounded by `maxclients`: places are counted before sending.
    pub inbox: mpsc::UnboundedReceiver<Accepted>,
    /// Every core's inbox.
    pub cores: Vec<mpsc::UnboundedSender<Accepted>>,
    /// Turns true when the server drains.
    pub drain: watch::Receiver<bool>,
}

/// The driver that will run.
#[derive(Clone, Debug)]
pub enum Choice {
    Multishot(multishot::Setup),
    Uring(uring::Setup),
    Epoll,
}

/// Where all cores' threads meet once each has its ring, or has none: either all run on rings, or none does.
pub struct StartupBarrier {
    everybody: Barrier,
    failure: OnceLock<String>,
}

impl StartupBarrier {
    pub fn of(cores: usize) -> StartupBarrier {
        StartupBarrier { everybody: Barrier::new(cores), failure: OnceLock::new() }
    }

    /// Comes with what one core has got, waits for the others, and returns it if nobody has failed.
    pub fn attend<T>(&self, own: Result<T, String>) -> Result<T, String> {
        let own = own.map_err(|reason| self.failure.get_or_init(|| reason).clone());
        self.everybody.wait();
        match self.failure.get() {
            Some(reason) => Err(reason.clone()),
            None => own,
        }
    }
}

/// Probes the host as `--engine` asks. The text says why.
pub fn choose(wanted: Engine, cores: usize) -> Result<(Choice, String), StartError> {
    let refuse = |reason: String| StartError::host(format!("{reason}, or start with --engine epoll"));
    match wanted {
        Engine::Epoll => Ok((Choice::Epoll, "asked for by --engine epoll".to_owned())),
        Engine::Multishot => multishot(cores).map_err(refuse),
        Engine::Uring => one_shot(cores).map_err(refuse),
        Engine::Auto => Ok(multishot(cores)
            .or_else(|newest| one_shot(cores).map(|(choice, reason)| (choice, format!("{reason}; {newest}"))))
            .unwrap_or_else(|reason| (Choice::Epoll, reason))),
    }
}

fn multishot(cores: usize) -> Result<(Choice, String), String> {
    multishot::probe(cores)
        .map(|setup| (Choice::Multishot(setup), format!("the host allows it ({})", setup.describe())))
}

fn one_shot(cores: usize) -> Result<(Choice, String), String> {
    uring::probe(cores, &uring::RING_ENTRIES)
        .map(|setup| (Choice::Uring(setup), format!("the host allows it ({})", setup.describe())))
}

/// Registered buffers for each core, before it is known whether the kernel grants them.
pub fn wanted_buffers(choice: &Choice, switch: Switch, max_memory_bytes: usize, cores: usize) -> usize {
    let wanted = limits::registered_buffers(max_memory_bytes, cores);
    match (choice, switch) {
        (Choice::Multishot(_), Switch::On) => limits::power_of_two_within(wanted),
        (Choice::Uring(_), Switch::On) => wanted,
        _ => 0,
    }
}

/// Where an accepted socket goes.
enum Admission {
    /// To this core, placed and counted.
    Here(Accepted),
    /// To another core, or nowhere.
    Gone,
}

/// Prepares an accepted socket and sends it to the core that has the fewest.
fn admit(config: &WorkerLinks, socket: OwnedFd, listener: &Listener) -> Admission {
    let stats = &config.shared.stats[config.index];
    stats.connections.add(1);
    let reference = socket2::SockRef::from(&socket);
    let peer = match listener.endpoint.address {
        Address::Unix { .. } => Peer::Unix,
        Address::Tcp(_) => {
            // A peer that is gone already has no address: nobody is there to be served.
            let (Ok(peer), Ok(local)) = (reference.peer_addr(), reference.local_addr()) else { return Admission::Gone };
            let (Some(peer), Some(local)) = (peer.as_socket(), local.as_socket()) else { return Admission::Gone };
            listener::prepare(&reference, config.shared.settings.tcp_keepalive_s.load(Relaxed));
            Peer::Tcp { peer, local }
        }
    };
    if let Peer::Tcp { peer, .. } = peer
        && config.shared.settings.protects_from(peer.ip())
    {
        stats.rejected_connections.add(1);
        log::REFUSALS.warn(|| format!("refused {peer}: protected mode, and no password is set"));
        listener.endpoint.tell(&reference, listener.endpoint.protocol.protection());
        return Admission::Gone;
    }
    // Whoever comes to a core that runs a long script would wait for its end.
    let now = clock::now();
    let is_free = |core: usize| {
        let elapsed = config.shared.scripts.running[core].elapsed(now);
        elapsed.is_none_or(|elapsed| elapsed < limits::SCRIPT_LONG_MS)
    };
    // Nor is there a place when the kernel refuses memory.
    let place = || config.shared.clients.place(config.index, is_free);
    let Some(core) = (!allocator::is_short()).then(place).flatten() else {
        stats.rejected_connections.add(1);
        log::REFUSALS.warn(|| format!("refused a connection: --maxclients {} are there", config.shared.clients.len()));
        // The send buffer of a new socket has room for it.
        listener.endpoint.tell(&reference, &listener.endpoint.protocol.refusal());
        return Admission::Gone;
    };
    let protocol = listener.endpoint.protocol;
    protocol.connections(stats).add(1);
    let accepted = Accepted { socket, peer, protocol, is_encrypted: listener.endpoint.is_encrypted };
    if core == config.index {
        return Admission::Here(accepted);
    }
    if config.cores[core].send(accepted).is_err() {
        // That core has ended: the server is going down.
        config.shared.clients.unplace(core);
    }
    Admission::Gone
}

/// The parts of a seat that its accept tasks share.
#[derive(Clone)]
struct WorkerLinks {
    index: usize,
    shared: Arc<Shared>,
    cores: Vec<mpsc::UnboundedSender<Accepted>>,
}

/// Says why an accept failed, and what to do; the caller rests before it tries again.
fn report_accept_error(config: &WorkerLinks, error: &std::io::Error) {
    config.shared.stats[config.index].accept_errors.add(1);
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => {
            tracing::warn!(
                "cannot accept: {error}; raise the limit on open files (ulimit -n, LimitNOFILE) or lower --maxclients"
            );
        }
        _ => tracing::debug!("cannot accept: {error}"),
    }
}
