//! The io_uring driver of one-shot operations: tokio-uring on each core. Finds out what the kernel allows and runs one core on it.
//!
//! tokio-uring's facts that shape this folder: dropping a future does not cancel its operation, so nothing that is
//! under way is ever dropped; a registry holds at most 1,024 buffers; a pending receive owns its buffer.

mod buffers;
mod connection;
mod ring;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode};
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::WorkerConfig;
use super::connection::Connection;
use super::listener::Listener;
use super::worker::{self, Served, Transport, Worker};
use crate::clients::Client;
use crate::config::host;
use crate::config::limits;
use buffers::Buffers;

/// Entries of the submission queue, most first: a loop turn that has more to say submits in between. For users other
/// than root rings are locked memory, 100 KiB each with the most entries: where that is scarce, fewer do.
pub const RING_ENTRIES: [u32; 3] = [1024, 256, 64];

/// Locked memory that a closed ring held is free a moment later: so long a core tries again for its own, and the probe
/// after it has closed larger ones.
const RING_MEMORY_WAIT: Duration = Duration::from_secs(2);
const PROBE_MEMORY_WAIT: Duration = Duration::from_millis(100);

/// How rings are set up on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    rung: Rung,
    entries: u32,
}

impl Setup {
    /// What an operator should know of it.
    pub fn describe(self) -> String {
        match self.entries {
            entries if entries == RING_ENTRIES[0] => self.rung.name().to_owned(),
            entries => format!("{}; rings of {entries} entries, for want of locked memory", self.rung.name()),
        }
    }
}

/// The ring's set-up flags, best first. COOP_TASKRUN halves the cost of a request: completions are handled when the
/// core enters the kernel anyway, without interrupting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rung {
    /// Linux 6.0 and later.
    CoopSingleIssuer,
    /// Linux 5.19 and later.
    Coop,
    /// Linux 5.11 and later.
    Plain,
}

impl Rung {
    const LADDER: [Rung; 3] = [Rung::CoopSingleIssuer, Rung::Coop, Rung::Plain];

    fn name(self) -> &'static str {
        match self {
            Rung::CoopSingleIssuer => "COOP_TASKRUN, SINGLE_ISSUER",
            Rung::Coop => "COOP_TASKRUN; SINGLE_ISSUER needs Linux 6.0",
            Rung::Plain => "without COOP_TASKRUN, which needs Linux 5.19 and halves the cost of a request",
        }
    }

    fn builder(self) -> io_uring::Builder {
        let mut builder = IoUring::builder();
        match self {
            Rung::CoopSingleIssuer => builder.setup_coop_taskrun().setup_single_issuer(),
            Rung::Coop => builder.setup_coop_taskrun(),
            Rung::Plain => &mut builder,
        };
        builder
    }
}

/// Builds as many rings as will run, of the first of these sizes that can be had, uses each once, and says with which setup
/// that worked, or why it cannot.
pub fn probe(cores: usize, sizes: &[u32]) -> Result<Setup, String> {
    let mut last = io::Error::from_raw_os_error(libc::ENOSYS);
    for rung in Rung::LADDER {
        for &entries in sizes {
            let setup = Setup { rung, entries };
            let all = || (0..cores).map(|_| try_ring(setup)).collect();
            let rings: io::Result<Vec<IoUring>> = of_size(entries, sizes, all);
            match rings {
                Ok(_) => return Ok(setup),
                Err(error) => last = error,
            }
            if last.raw_os_error() != Some(libc::ENOMEM) {
                break;
            }
        }
    }
    Err(format!("io_uring cannot be had: {last}: {}", remedy(&last)))
}

fn try_ring(setup: Setup) -> io::Result<IoUring> {
    let mut ring = setup.rung.builder().build(setup.entries)?;
    ring::push_nop(&mut ring, opcode::Nop::new().build())?;
    ring.submit_and_wait(1)?;
    match ring.completion().next() {
        Some(done) if done.result() >= 0 => {}
        Some(done) => return Err(io::Error::from_raw_os_error(-done.result())),
        None => return Err(io::Error::from_raw_os_error(libc::EIO)),
    }
    Ok(ring)
}

/// What an operator can do about an error of the ring.
pub fn remedy(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match host::sysctl("kernel.io_uring_disabled") {
            Some(level @ 1..) => format!("sysctl kernel.io_uring_disabled is {level}; set it to 0"),
            _ => "a seccomp profile or a security module forbids it; in Docker give --security-opt \
                  seccomp=docker/seccomp.json"
                .to_owned(),
        },
        Some(libc::ENOSYS) => "the kernel has none (Linux 5.11 or later has) or a seccomp profile hides it".to_owned(),
        Some(libc::ENOMEM) => format!(
            "locked memory ran out: the limit is {}; raise it (ulimit -l, LimitMEMLOCK, --ulimit memlock=-1:-1)",
            crate::config::units::human(host::locked_memory_limit())
        ),
        Some(libc::EMFILE | libc::ENFILE) => "no file descriptors left; raise the limit (ulimit -n)".to_owned(),
        Some(libc::EINVAL) => "this kernel is too old for it; Linux 5.11 or later is needed".to_owned(),
        _ => "see man io_uring_setup".to_owned(),
    }
}

/// Whether buffers could be registered, for the banner: how many, and why not.
pub type Registration = (usize, String);

/// One core's ring, ready to run.
pub struct Ring {
    setup: Setup,
    runtime: tokio_uring::Runtime,
}

/// Builds the ring of the core whose thread this is. It may fail although the probe went well: memory and descriptors
/// are shared with others.
pub fn prepare(setup: Setup) -> Result<Ring, String> {
    match runtime(setup) {
        Ok(runtime) => Ok(Ring { setup, runtime }),
        Err(error) => Err(failure_after_probe(&error)),
    }
}

impl Ring {
    /// The bare runtime, for a driver that brings a ring of its own.
    pub fn into_runtime(self) -> tokio_uring::Runtime {
        self.runtime
    }
}

/// A core got no ring although all got theirs in the probe.
pub fn failure_after_probe(error: &io::Error) -> String {
    format!("io_uring worked in the probe, but a core's ring failed: {error}: {}", remedy(error))
}

/// Runs one core until the server has drained. `report` is told once whether buffers could be registered.
pub fn run(ring: Ring, buffers: usize, config: WorkerConfig, report: impl FnOnce(Registration)) -> io::Result<()> {
    let Ring { setup, runtime } = ring;
    runtime.block_on(async {
        let (buffers, registration) = Buffers::new(buffers);
        report(registration);
        let scratch = RefCell::new(vec![0; limits::IO_BUFFER_BYTES]);
        let transport = Rc::new(Uring {
            worker: Rc::new(Worker::new(&config)),
            buffers: RefCell::new(buffers),
            has_poll_first: setup.rung != Rung::Plain,
            scratch,
        });
        worker::run(transport, config).await
    })?;
    // Nothing is under way any more that matters, and the process ends next: tokio-uring's own clean-up would wait
    // for connections that were cut off.
    std::mem::forget(runtime);
    Ok(())
}

fn runtime(setup: Setup) -> io::Result<tokio_uring::Runtime> {
    let mut builder = tokio_uring::builder();
    builder.entries(setup.entries).uring_builder(&setup.rung.builder());
    patiently(|| tokio_uring::Runtime::new(&builder))
}

/// Builds one core's ring, again and again while memory is short.
pub fn patiently<T>(build: impl Fn() -> io::Result<T>) -> io::Result<T> {
    retry(RING_MEMORY_WAIT, build)
}

/// Builds the probe's rings of one of the `sizes`, the first of which is tried once.
pub fn of_size<T>(entries: u32, sizes: &[u32], build: impl Fn() -> io::Result<T>) -> io::Result<T> {
    retry(if entries == sizes[0] { Duration::ZERO } else { PROBE_MEMORY_WAIT }, build)
}

fn retry<T>(patience: Duration, build: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        match build() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && begun.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

pub(super) struct Uring {
    worker: Rc<Worker>,
    buffers: RefCell<Buffers>,
    /// The kernel knows receives that wait before they try.
    has_poll_first: bool,
    /// Where input is received that was waited for without a buffer.
    scratch: RefCell<Vec<u8>>,
}

impl Transport for Uring {
    fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    fn serve(self: &Rc<Self>, mut connection: Connection<Served>, client: Arc<Client>) {
        let uring = self.clone();
        spawn_local(async move { connection::serve(&uring, &mut connection, &client).await });
    }

    fn listen(self: &Rc<Self>, listener: Rc<Listener>, draining: watch::Receiver<bool>) -> io::Result<()> {
        let accepting = listener.clone();
        let next = async move || ring::accept(accepting.clone()).await;
        spawn_local(worker::accept(self.clone(), listener, draining, next));
        Ok(())
    }

    /// Silent connections give their buffers back when others could use them.
    fn reclaim(&self) {
        if self.buffers.borrow().is_short() {
            for client in self.worker.connections.silent_and_armed(self.worker.now()) {
                ring::cancel(client);
            }
        }
    }
}
