//! Starts the cores, one pinned thread each, handles signals, drains and stops. It must not know how bytes move.

mod banner;
pub mod ping;
mod placement;
pub mod plan;
pub mod reload;
pub mod supervisor;
pub mod tune;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use nix::sys::signal::{SigSet, Signal};
use tokio::sync::{mpsc, watch};

use crate::base::threads;
use crate::command::Table;
use crate::config::{AtStart, Engine, Options, Resolved, StartError, YesNo, host, limits};
use crate::net::listener::{self, Address, Endpoint};
use crate::net::{self, Choice, StartupBarrier, WorkerConfig};
use crate::protocol::front::Protocol;
use crate::server::placement::Placement;
use crate::server::plan::Start;
use crate::server::reload::Applied;
use crate::shared::{EngineReport, Shared};

/// Runs the server until it has drained after SIGTERM, SIGINT or SHUTDOWN.
///
/// # Errors
/// It cannot start, with what to do about it.
pub fn run(resolved: Resolved) -> Result<(), StartError> {
    let begun = Instant::now();
    end_on_panic();
    let options = resolved.options.clone();
    resolved.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let signals = block_signals()?;
    if options.tune == AtStart::Apply {
        // Before the sockets are there: they take some settings along from their beginning. What could not be set, the
        // banner says.
        tune::apply(|outcome, line| {
            if outcome == tune::Outcome::Set {
                tracing::info!("{line}")
            }
        });
    }
    let start = Start::plan(&resolved)?;
    let Placement { threads, cores, reason: placed } = start.placement.clone();
    let (choice, reason) = (start.choice.clone(), start.engine_reason.clone());
    let mut endpoints = endpoints(&options);
    let listeners = listener::bind(&mut endpoints, threads, options.tcp_backlog)?;
    start.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let plan = start.into_plan(&resolved, |protocol| port_of(&endpoints, protocol));
    let buffers = plan.registered_buffers;
    let shared = Arc::new(Shared::new(plan, Table::get().names().len()));

    let (drain, draining) = watch::channel(false);
    let (inboxes, outboxes): (Vec<_>, Vec<_>) =
        (0..threads).map(|_| mpsc::unbounded_channel()).map(|(sender, receiver)| (receiver, sender)).unzip();
    let (reports, reported) = std::sync::mpsc::channel();
    let barrier = Arc::new(StartupBarrier::of(threads));
    let mut handles = Vec::new();
    for (index, (listeners, inbox)) in listeners.into_iter().zip(inboxes).enumerate() {
        let config = WorkerConfig {
            index,
            shared: shared.clone(),
            listeners,
            inbox,
            cores: outboxes.clone(),
            drain: draining.clone(),
        };
        let (choice, reports, core) = (choice.clone(), reports.clone(), cores.get(index).copied());
        let barrier = barrier.clone();
        let run = move || run_core(core, choice, buffers, config, &barrier, &reports);
        let spawned = std::thread::Builder::new().name(format!("core-{index}"));
        let spawned = spawned.stack_size(limits::CORE_STACK_BYTES).spawn(run);
        handles
            .push(spawned.map_err(|error| StartError::host(format!("cannot start a thread: {error}; see ulimit -u")))?);
    }
    drop(reports);
    let report = await_cores(reason, reported.iter().take(threads))?;
    shared.engine.set(report).expect("set once, here");
    // The last threads: from the banner on none is needed, whatever the kernel refuses.
    watch_signals(signals, shared.clone(), Applied::new(resolved, &shared), drain);
    supervisor::feed_watchdog(shared.clone());
    banner::announce(&shared, &placed, begun.elapsed());
    supervisor::ready(&status(&shared));
    for handle in handles {
        handle.join().expect("a panicking core ends the process");
    }
    if let Some(path) = &shared.options.unixsocket {
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("drained; bye");
    Ok(())
}

/// Where clients come in: a line for each protocol.
fn endpoints(options: &Options) -> Vec<Endpoint> {
    let tcp = |protocol: Protocol, port: u16, is_encrypted: bool, is_optional: bool| {
        options.bind.iter().map(move |address| {
            let address = Address::Tcp(SocketAddr::new(*address, port));
            Endpoint { address, protocol, is_encrypted, is_optional }
        })
    };
    let unix = options.unixsocket.iter().map(|path| {
        let address = Address::Unix { path: path.clone(), mode: options.unixsocketperm.0 };
        Endpoint { address, protocol: Protocol::Resp, is_encrypted: false, is_optional: false }
    });
    let resp_is_encrypted = options.tls_port != 0 && options.tls_port == options.port;
    let mut endpoints: Vec<_> = tcp(Protocol::Resp, options.port, resp_is_encrypted, false).chain(unix).collect();
    if options.tls_port != 0 && !resp_is_encrypted {
        endpoints.extend(tcp(Protocol::Resp, options.tls_port, true, false));
    }
    let others = [
        (Protocol::Http, options.http_port, true),
        (Protocol::Memcached, options.memcached_port, false),
        (Protocol::Protobuf, options.protobuf_port, false),
    ];
    for (protocol, port, is_optional) in others.into_iter().filter(|(_, port, _)| *port != 0) {
        endpoints.extend(tcp(protocol, port, options.tls_other_ports == YesNo::Yes, is_optional));
    }
    endpoints
}

/// The TCP port of a protocol; 0 where it has none.
fn port_of(endpoints: &[Endpoint], protocol: Protocol) -> u16 {
    let port = endpoints.iter().find_map(|endpoint| match endpoint.address {
        Address::Tcp(address) if endpoint.protocol == protocol => Some(address.port()),
        _ => None,
    });
    port.unwrap_or(0)
}

/// A panic anywhere ends the process with a message: never a half-dead server.
fn end_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        eprintln!("kv-cache: a thread panicked; the process ends. Please report the lines above.");
        std::process::abort();
    }));
}

/// What a core tells when it runs.
struct Running {
    engine: &'static str,
    /// Why it is not the engine that the probe chose.
    fallback: Option<String>,
    registered_buffers: usize,
    registered_reason: String,
}

impl Running {
    /// What replies are sent by.
    fn sends(&self) -> &'static str {
        match (self.engine, self.registered_buffers) {
            ("io_uring", 1..) => "the ring, from registered buffers",
            ("io_uring", _) => "the ring",
            ("multishot", _) => "send(2), and the ring tells when a full socket takes more",
            _ => "send(2)",
        }
    }
}

type Reports = std::sync::mpsc::Sender<Result<Running, String>>;

/// The life of one core's thread.
fn run_core(
    core: Option<usize>,
    choice: Choice,
    buffers: usize,
    config: WorkerConfig,
    barrier: &StartupBarrier,
    reports: &Reports,
) {
    if let Some(core) = core
        && let Err(error) = host::pin(core)
    {
        tracing::warn!("cannot pin a thread to core {core}: {error}; it runs where the scheduler puts it");
    }
    let index = config.index;
    // The receiver is gone only when another core has failed and the process ends.
    let report = |running| drop(reports.send(running));
    let on_epoll = |config, fallback| {
        let registered_reason = "the epoll engine has none".to_owned();
        report(Ok(Running { engine: "epoll", fallback, registered_buffers: 0, registered_reason }));
        net::epoll::run(config).map_err(|error| error.to_string())
    };
    let on_rings = |engine| {
        move |(registered_buffers, registered_reason)| {
            report(Ok(Running { engine, fallback: None, registered_buffers, registered_reason }))
        }
    };
    let without_ring = |config: WorkerConfig, reason| match config.shared.options.engine {
        Engine::Auto => on_epoll(config, Some(reason)),
        _ => Err(format!("{reason}, or start with --engine epoll")),
    };
    let failed = |error| format!("{error}; --engine epoll needs no ring");
    let ran = match choice {
        Choice::Epoll => on_epoll(config, None),
        Choice::Multishot(setup) => match barrier.attend(net::multishot::prepare(setup)) {
            Ok(rings) => net::multishot::run(rings, buffers, config, on_rings("multishot")).map_err(failed),
            Err(reason) => without_ring(config, reason),
        },
        Choice::Uring(setup) => match barrier.attend(net::uring::prepare(setup)) {
            Ok(ring) => net::uring::run(ring, buffers, config, on_rings("io_uring")).map_err(failed),
            Err(reason) => without_ring(config, reason),
        },
    };
    if let Err(reason) = ran {
        report(Err(format!("core {index} cannot run its event loop: {reason}")));
    }
}

/// Waits until every core runs.
fn await_cores(
    reason: String,
    reports: impl Iterator<Item = Result<Running, String>>,
) -> Result<EngineReport, StartError> {
    let mut least: Option<Running> = None;
    for running in reports {
        let running = running.map_err(StartError::host)?;
        if least.as_ref().is_none_or(|least| running.registered_buffers < least.registered_buffers) {
            least = Some(running);
        }
    }
    let least = least.expect("there is a core");
    let sends = least.sends();
    let Running { engine, fallback, registered_buffers, registered_reason } = least;
    let api = if engine == "epoll" { "epoll" } else { "io_uring" };
    let reason = fallback.unwrap_or(reason);
    Ok(EngineReport { name: engine, reason, registered_buffers, registered_reason, api, sends })
}

/// One line for the service manager.
fn status(shared: &Shared) -> String {
    let engine = shared.engine.get().expect("set before");
    format!("serving on port {} with {} cores on {}", shared.tcp_port, shared.cores, engine.name)
}

/// Signals are handled by one thread; every other one is started with them blocked.
fn block_signals() -> Result<SigSet, StartError> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGHUP);
    signals.thread_block().map_err(|error| StartError::host(format!("cannot block signals: {error}")))?;
    Ok(signals)
}

/// SIGHUP reads the options again. The first other signal drains, the second ends the process at once.
fn watch_signals(signals: SigSet, shared: Arc<Shared>, mut applied: Applied, drain: watch::Sender<bool>) {
    threads::start(move || {
        while let Ok(signal) = signals.wait() {
            let is_draining = shared.draining.load(Relaxed);
            match signal {
                Signal::SIGHUP if is_draining => {}
                Signal::SIGHUP => {
                    supervisor::reloading();
                    applied.reload(&shared);
                    supervisor::ready(&status(&shared));
                }
                _ if is_draining => {
                    tracing::warn!("{signal} again: ending at once");
                    std::process::exit(1);
                }
                _ => {
                    tracing::info!("{signal}: answering what was accepted, then ending; a second signal ends at once");
                    supervisor::stopping();
                    shared.draining.store(true, Relaxed);
                    let _ = drain.send(true);
                }
            }
        }
    });
}
