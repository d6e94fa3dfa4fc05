//! One core's own ring, by the `io-uring` crate: what is put on it, and what comes back. What the kernel works on lies here
//! until its completion has come.
#![allow(unsafe_code)] // The kernel's interface: each operation says why what it refers to outlives it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use io_uring_07::types::{Fd, Timespec};
use io_uring_07::{EnterFlags, IoUring, cqueue, opcode, squeue};

use super::buffers::{Buffers, GROUP};
use super::table::Key;
use crate::config::limits;

/// Do not try at once what is bound to find nothing (`linux/io_uring.h`).
const IORING_RECVSEND_POLL_FIRST: u16 = 1;

/// Input, or the end of it.
const INPUT: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;

/// Completions that the kernel keeps for each entry of the submission queue; more wait in the kernel and come later.
const COMPLETIONS_PER_ENTRY: u32 = 4;

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Somebody has come to the listener of this number.
    Accept(u32),
    /// A multishot receive has brought something, or has ended.
    Receive(Key),
    /// There is input, which has not been received.
    Readable(Key),
    /// The socket takes more, or there is no one there.
    Writable(Key),
    /// Somebody has called from elsewhere.
    Call,
    /// A millisecond is over.
    Tick,
}

impl About {
    /// As the kernel carries it: the kind in the top byte, then a key or a number.
    fn user_data(self) -> u64 {
        let (kind, rest) = match self {
            About::Accept(listener) => (1, listener as u64),
            About::Receive(key) => (2, key.bits()),
            About::Readable(key) => (3, key.bits()),
            About::Writable(key) => (4, key.bits()),
            About::Call => (5, 0),
            About::Tick => (6, 0),
        };
        kind << 56 | rest
    }

    fn of(user_data: u64) -> Option<About> {
        let rest = user_data & (u64::MAX >> 8);
        Some(match user_data >> 56 {
            1 => About::Accept(rest as u32),
            2 => About::Receive(Key::of(rest)),
            3 => About::Readable(Key::of(rest)),
            4 => About::Writable(Key::of(rest)),
            5 => About::Call,
            6 => About::Tick,
            _ => return None,
        })
    }
}

/// One thing that has happened. It may stand for a buffer, so there is one of it.
#[derive(Debug)]
pub struct Done {
    pub about: About,
    /// A count or a descriptor; negative an errno.
    pub result: i32,
    flags: u32,
}

impl Done {
    /// The operation goes on: more of its completions will come.
    pub fn goes_on(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The number of the buffer that a receive has filled.
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

pub struct Ring {
    ring: IoUring,
    /// What the submission queue has had no room for.
    backlog: VecDeque<squeue::Entry>,
    tick: Box<Timespec>,
}

impl Ring {
    /// A ring for the thread that calls this: Linux 6.1 or later.
    pub fn new(entries: u32) -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(entries * COMPLETIONS_PER_ENTRY)
            .build(entries)?;
        let tick = Box::new(Timespec::from(Duration::from_millis(limits::RING_TICK_MS)));
        Ok(Ring { ring, backlog: VecDeque::new(), tick })
    }

    /// Hands a ring of buffers to the kernel, for receives.
    pub fn register(&self, buffers: &Buffers) -> io::Result<()> {
        // SAFETY: the buffers and their ring are mapped until the process ends: `Buffers` never unmaps them.
        unsafe { self.ring.submitter().register_buf_ring_with_flags(buffers.address(), buffers.count(), GROUP, 0) }
    }

    /// From now on this eventfd is signalled with every completion.
    pub fn register_eventfd(&self, event: BorrowedFd) -> io::Result<()> {
        self.ring.submitter().register_eventfd(event.as_raw_fd())
    }

    pub fn unregister_eventfd(&self) -> io::Result<()> {
        self.ring.submitter().unregister_eventfd()
    }

    /// Tells once when somebody is there to be accepted.
    pub fn await_connection(&mut self, listener: u32, socket: &impl AsRawFd) {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), libc::POLLIN as u32).build();
        self.push(entry, About::Accept(listener));
    }

    /// Receives whatever comes into registered buffers, until it fails or is cancelled.
    pub fn receive(&mut self, key: Key, socket: RawFd) {
        let mut entry = opcode::RecvMulti::new(Fd(socket), GROUP).build();
        // SAFETY: an entry is the kernel's `io_uring_sqe`, which begins with two single bytes, opcode and flags, and then
        // has this field, `ioprio`. The crate has no setter for it on this operation.
        unsafe { *(&raw mut entry).cast::<u16>().add(1) |= IORING_RECVSEND_POLL_FIRST };
        self.push(entry, About::Receive(key));
    }

    /// Tells once when there is input, or is already.
    pub fn await_input(&mut self, key: Key, socket: RawFd) {
        self.push(opcode::PollAdd::new(Fd(socket), INPUT).build(), About::Readable(key));
    }

    /// Tells whenever the socket has come to take more, until it is cancelled.
    ///
    /// It is no SEND that waits: once the peer has said that it sends no more, the kernel takes any socket for ready, and
    /// has a thread of its own block in each SEND that finds no room.
    pub fn await_room(&mut self, key: Key, socket: RawFd) {
        let entry = opcode::PollAdd::new(Fd(socket), libc::POLLOUT as u32).multi(true).build();
        self.push(entry, About::Writable(key));
    }

    /// Asks the kernel to give an operation up. Its own completion tells that it has.
    pub fn cancel(&mut self, about: About) {
        let entry = opcode::AsyncCancel::new(about.user_data()).build().flags(squeue::Flags::SKIP_SUCCESS);
        // Of failure nothing is to be learned either: the operation has completed by itself.
        self.backlog.push_back(entry.user_data(0));
        self.fill();
    }

    /// Tells of every write to an eventfd.
    pub fn await_calls(&mut self, event: &impl AsRawFd) {
        let entry = opcode::PollAdd::new(Fd(event.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.push(entry, About::Call);
    }

    /// Tells when a millisecond is over.
    pub fn await_tick(&mut self) {
        let entry = opcode::Timeout::new(&raw const *self.tick).build();
        self.push(entry, About::Tick);
    }

    fn push(&mut self, entry: squeue::Entry, about: About) {
        self.backlog.push_back(entry.user_data(about.user_data()));
        self.fill();
    }

    /// Moves what waits into the submission queue, as far as it has room.
    fn fill(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: what entries refer to outlives their operations. Sockets belong to connections, which stay in
            // their table until all their operations have completed; listeners and the eventfd of calls live as long as
            // the core. The time of a tick lies in `tick`, which is never dropped before the completion: the ring is leaked
            // with it when the core ends.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// Submits what was put on the ring, lets the kernel do its deferred work, and waits for a completion if it is to.
    /// False when the kernel refused for now: try again after a moment. An error is for good.
    pub fn enter(&mut self, waits: bool) -> io::Result<bool> {
        self.fill();
        let submitted = self.ring.submission().len() as u32;
        let wanted = (waits && self.backlog.is_empty()) as u32;
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: no argument is passed; for the entries see `fill`.
        let entered = unsafe { self.ring.submitter().enter::<libc::sigset_t>(submitted, wanted, flags, None) };
        match entered {
            Ok(_) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::ETIME) => Ok(true),
                // Too many completions wait to be taken, or memory is short.
                Some(libc::EBUSY | libc::EAGAIN | libc::ENOMEM) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// The next thing that has happened.
    pub fn next(&mut self) -> Option<Done> {
        loop {
            let done = self.ring.completion().next()?;
            if let Some(about) = About::of(done.user_data()) {
                return Some(Done { about, result: done.result(), flags: done.flags() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// `None`, said plainly, where the host has no such rings.
    fn ring(entries: u32) -> Option<Ring> {
        let ring = Ring::new(entries);
        if let Err(error) = &ring {
            eprintln!("SKIPPED a test of the ring: {error}");
        }
        ring.ok()
    }

    fn key(slot: u32) -> Key {
        Key { slot, generation: 7 }
    }

    #[test]
    fn what_a_completion_is_about_survives_the_way_through_the_kernel() {
        let key = Key { slot: u32::MAX, generation: Key::GENERATIONS - 1 };
        for about in [
            About::Accept(3),
            About::Receive(key),
            About::Readable(key),
            About::Writable(key),
            About::Call,
            About::Tick,
        ] {
            assert_eq!(About::of(about.user_data()), Some(about));
        }
        assert_eq!(About::of(0), None);
    }

    #[test]
    fn a_full_submission_queue_and_an_overflowing_completion_queue_lose_nothing() {
        let Some(mut ring) = ring(4) else { return };
        let pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
        for (slot, (one, other)) in pairs.iter().enumerate() {
            ring.await_input(key(slot as u32), other.as_raw_fd());
            (&*one).write_all(b"x").unwrap();
        }
        let mut told = vec![0; pairs.len()];
        while told.iter().sum::<usize>() < pairs.len() {
            ring.enter(true).unwrap();
            while let Some(done) = ring.next() {
                let About::Readable(key) = done.about else { panic!("{done:?}") };
                told[key.slot as usize] += 1;
            }
        }
        assert!(told.iter().all(|times| *times == 1));
    }

    #[test]
    fn a_dry_ring_of_buffers_ends_a_receive_and_says_so() {
        let Some(mut ring) = ring(8) else { return };
        let mut buffers = Buffers::new(2).unwrap();
        ring.register(&buffers).unwrap();
        let (mut one, other) = UnixStream::pair().unwrap();
        ring.receive(key(1), other.as_raw_fd());
        let mut held = Vec::new();
        let await_done = |ring: &mut Ring| loop {
            if let Some(done) = ring.next() {
                return done;
            }
            ring.enter(true).unwrap();
        };
        for _ in 0..2 {
            one.write_all(b"hello").unwrap();
            let done = await_done(&mut ring);
            assert_eq!((done.about, done.result), (About::Receive(key(1)), 5));
            let taken = buffers.take(&done).unwrap();
            assert_eq!(buffers.bytes(&taken), b"hello");
            held.push(taken);
            if !done.goes_on() {
                break;
            }
        }
        one.write_all(b"hello").unwrap();
        let done = await_done(&mut ring);
        assert_eq!((done.result, done.goes_on()), (-libc::ENOBUFS, false));
        held.into_iter().for_each(|taken| buffers.give(taken));
        ring.receive(key(1), other.as_raw_fd());
        let done = await_done(&mut ring);
        assert_eq!(done.result, 5);
        // What was cancelled says so in its last completion.
        ring.cancel(About::Receive(key(1)));
        let done = await_done(&mut ring);
        assert_eq!((done.about, done.result, done.goes_on()), (About::Receive(key(1)), -libc::ECANCELED, false));
        std::mem::forget(ring);
    }

    #[test]
    fn room_is_told_once_though_the_peer_has_half_closed() {
        let Some(mut ring) = ring(8) else { return };
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        while one.write(&[0; 4096]).is_ok() {}
        other.shutdown(Shutdown::Write).unwrap();
        ring.await_room(key(2), one.as_raw_fd());
        ring.enter(true).unwrap();
        let ended = ring.next().unwrap();
        assert!(ended.about == About::Writable(key(2)) && ended.goes_on());
        ring.enter(false).unwrap();
        assert!(ring.next().is_none(), "a full socket is quiet");
        other.set_nonblocking(true).unwrap();
        while other.read(&mut [0; 4096]).is_ok() {}
        ring.enter(true).unwrap();
        let told = ring.next().unwrap();
        assert!(told.result & i32::from(libc::POLLOUT) != 0 && told.goes_on());
        ring.cancel(About::Writable(key(2)));
        ring.enter(true).unwrap();
        let last = std::iter::from_fn(|| ring.next()).last().unwrap();
        assert_eq!((last.result, last.goes_on()), (-libc::ECANCELED, false));
    }
}
