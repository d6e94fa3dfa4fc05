//! The multishot driver, for Linux 6.1 and later: completions drive connections directly, without a task, a waker or an
//! allocation for each operation.
//!
//! A core has two rings. That of its tokio-uring runtime runs the core's tasks; its own, set up here, carries the bytes.
//! While there is traffic the core's main future blocks in its own ring, which ticks each millisecond so that the tasks
//! have their turn. When it has been quiet for a while, it takes the tick away and waits for an eventfd in the runtime:
//! an idle server does not wake.

mod buffers;
mod calls;
mod ring;
mod serving;
mod table;

use std::cell::RefCell;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local, yield_now};

use super::WorkerConfig;
use super::connection::Connection;
use super::listener::Listener;
use super::readiness;
use super::uring::{self, Registration};
use super::worker::{self, Served, Transport, Worker};
use crate::clients::Client;
use crate::config::limits;
use buffers::Buffers;
use calls::Calls;
use ring::{About, Ring};
use serving::{Pass, Serving};
use table::Key;

/// How rings are set up on this host: the runtime's, and the entries of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    runtime: uring::Setup,
    entries: u32,
}

impl Setup {
    /// What an operator should know of it.
    pub fn describe(self) -> String {
        match self.entries {
            entries if entries == uring::RING_ENTRIES[0] => "DEFER_TASKRUN, multishot receive".to_owned(),
            entries => {
                format!("DEFER_TASKRUN, multishot receive; rings of {entries} entries, for want of locked memory")
            }
        }
    }
}

/// Builds both rings for as many cores as will run, receives through each once, and says with which setup that worked, or
/// why it cannot.
pub fn probe(cores: usize) -> Result<Setup, String> {
    let needs = "multishot receives and deferred work on a ring need Linux 6.1";
    let mut refusal = String::new();
    for entries in uring::RING_ENTRIES {
        let all = || (0..cores).map(|_| try_ring(entries)).collect();
        let rings: io::Result<Vec<Ring>> = uring::of_size(entries, &uring::RING_ENTRIES, all);
        match rings {
            // The runtimes' rings are there beside them, and only ever small.
            Ok(_rings) => match uring::probe(cores, &uring::RING_ENTRIES[2..]) {
                Ok(runtime) => return Ok(Setup { runtime, entries }),
                Err(reason) => refusal = reason,
            },
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Err(needs.to_owned()),
            Err(error) => {
                refusal = format!("{needs}, and cannot be had here: {error}: {}", uring::remedy(&error));
                if error.raw_os_error() != Some(libc::ENOMEM) {
                    break;
                }
            }
        }
    }
    Err(refusal)
}

fn try_ring(entries: u32) -> io::Result<Ring> {
    let mut ring = Ring::new(entries)?;
    let mut buffers = Buffers::new(1)?;
    if ring.register(&buffers).is_err() {
        // It runs without; what else the kernel has is told by the ring's flags.
        return Ok(ring);
    }
    let (mut one, other) = UnixStream::pair()?;
    let key = Key { slot: 0, generation: 0 };
    ring.receive(key, other.as_raw_fd());
    one.write_all(b"?")?;
    ring.enter(true)?;
    let Some(done) = ring.next() else { return Err(io::Error::from_raw_os_error(libc::EIO)) };
    if done.result < 0 {
        return Err(io::Error::from_raw_os_error(-done.result));
    }
    match (done.about == About::Receive(key), buffers.take(&done)) {
        (true, Some(taken)) if buffers.bytes(&taken) == b"?" => Ok(ring),
        _ => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

/// One core's rings, ready to run.
pub struct Rings {
    runtime: tokio_uring::Runtime,
    ring: Ring,
    calls: Arc<Calls>,
    event: EventFd,
}

/// Builds the rings of the core whose thread this is. It may fail although the probe went well: memory and descriptors are
/// shared with others.
pub fn prepare(setup: Setup) -> Result<Rings, String> {
    let runtime = uring::prepare(setup.runtime)?.into_runtime();
    let rings = || -> io::Result<Rings> {
        let ring = uring::patiently(|| Ring::new(setup.entries))?;
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Rings { runtime, ring, calls: Arc::new(Calls::new()?), event })
    };
    rings().map_err(|error| uring::failure_after_probe(&error))
}

/// Runs one core until the server has drained. `report` is told once whether buffers could be registered.
pub fn run(rings: Rings, buffers: usize, config: WorkerConfig, report: impl FnOnce(Registration)) -> io::Result<()> {
    let Rings { runtime, ring, calls, event } = rings;
    let ran = runtime.block_on(async {
        let (buffers, registration) = register(&ring, buffers);
        report(registration);
        let worker = Rc::new(Worker::new(&config));
        let serving = RefCell::new(Serving::new(worker.clone(), ring, buffers, calls.clone()));
        let multishot = Rc::new(Multishot { worker, serving, calls });
        let event = readiness::watch(event, Interest::READABLE)?;
        let tasks = spawn_local(worker::run(multishot.clone(), config));
        let ran = multishot.run(tasks, &event).await;
        // The process ends next, and the kernel may still work on what lies here: it is never freed.
        std::mem::forget(multishot);
        ran
    });
    // As the one-shot driver does, and for its reasons.
    std::mem::forget(runtime);
    ran
}

/// Registers as many buffers as are `wanted`, as a power of two, or fewer if the kernel has no memory for their ring.
fn register(ring: &Ring, wanted: usize) -> (Option<Buffers>, Registration) {
    let mut reason = "switched off".to_owned();
    let mut count = limits::power_of_two_within(wanted) as u16;
    while count > 0 {
        match Buffers::new(count).and_then(|buffers| ring.register(&buffers).map(|()| buffers)) {
            Ok(buffers) => return (Some(buffers), (count as usize, "registered, in a ring".to_owned())),
            Err(error) => reason = format!("{error}: {}", uring::remedy(&error)),
        }
        count /= 2;
    }
    (None, (0, reason))
}

struct Multishot {
    worker: Rc<Worker>,
    serving: RefCell<Serving>,
    calls: Arc<Calls>,
}

impl Transport for Multishot {
    fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    fn serve(self: &Rc<Self>, connection: Connection<Served>, client: Arc<Client>) {
        self.serving.borrow_mut().enter(connection, client);
        // Its receive is only on the ring once the core enters it.
        self.calls.nudge();
    }

    fn listen(self: &Rc<Self>, listener: Rc<Listener>, _: watch::Receiver<bool>) -> io::Result<()> {
        self.serving.borrow_mut().listen(listener);
        self.calls.nudge();
        Ok(())
    }
}

impl Multishot {
    /// The core's main future: passes through the ring until the core's tasks have ended.
    async fn run(self: &Rc<Self>, tasks: JoinHandle<io::Result<()>>, event: &AsyncFd<EventFd>) -> io::Result<()> {
        // The tasks set the core up before it may wait for the first time.
        yield_now().await;
        while !tasks.is_finished() {
            let pass = self.serving.borrow_mut().pass(true)?;
            self.retry_accepts();
            match pass {
                Pass::Again => {}
                Pass::Yield => yield_now().await,
                Pass::Refused => worker::rest().await,
                Pass::Park => {
                    self.park(event).await?;
                    self.serving.borrow_mut().unpark();
                }
            }
        }
        tasks.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Waits in the runtime until something happens on the ring. An error of the ring is for good.
    async fn park(&self, event: &AsyncFd<EventFd>) -> io::Result<()> {
        let registered = self.serving.borrow().ring.register_eventfd(event.get_ref().as_fd());
        if let Err(error) = registered {
            // Then it ticks on: that costs some wake-ups, nothing else.
            tracing::debug!("the ring gets no eventfd: {error}");
            return Ok(());
        }
        let may_park = self.serving.borrow_mut().may_park()?;
        if may_park {
            let mut ready = event.readable().await?;
            ready.clear_ready();
        }
        self.calls.set_awake();
        // Its count says no more than that there was something.
        let _ = event.get_ref().read();
        self.serving.borrow().ring.unregister_eventfd()
    }

    /// Whoever could not accept tries again after a while, unless the server drains.
    fn retry_accepts(self: &Rc<Self>) {
        let failed = std::mem::take(&mut self.serving.borrow_mut().failed_accepts);
        for number in failed {
            if !self.worker.is_draining() {
                let multishot = self.clone();
                spawn_local(async move {
                    tokio::time::sleep(Duration::from_millis(limits::ACCEPT_BACKOFF_MS)).await;
                    multishot.serving.borrow_mut().accept_on(number);
                    multishot.calls.nudge();
                });
            }
        }
    }
}
