//! One core's I/O buffers: those registered with its ring or, where that is refused, ordinary ones to receive into.
//!
//! Invariant: `armed <= armed_max`: connections that wait for input never take the buffers that are needed for sending.

use std::ops::{Deref, DerefMut};

use tokio_uring::buf::fixed::{FixedBuf, FixedBufPool};

use super::Registration;
use crate::config::host;
use crate::config::limits;
use crate::config::units::human;

/// What a connection waits for input with.
pub enum Buffer {
    Registered(FixedBuf),
    Ordinary(Vec<u8>),
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Buffer::Registered(buffer) => buffer,
            Buffer::Ordinary(buffer) => buffer,
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::Registered(buffer) => buffer,
            Buffer::Ordinary(buffer) => buffer,
        }
    }
}

pub struct Buffers {
    registered: Vec<FixedBuf>,
    /// Without registration connections wait with these.
    ordinary: Option<Vec<Vec<u8>>>,
    /// Buffers that wait for input with their connections, and how many may.
    armed: usize,
    armed_max: usize,
}

impl Buffers {
    /// Registers `wanted` buffers with the ring of the current runtime, as far as the kernel allows it.
    pub fn new(wanted: usize) -> (Buffers, Registration) {
        let (registered, registration) = match wanted {
            0 => (Vec::new(), (0, "switched off".to_owned())),
            _ => register(wanted),
        };
        let ordinary = registered.is_empty().then(Vec::new);
        // A quarter stays for sending. Without registration as many ordinary ones may wait.
        let total = if registered.is_empty() { limits::REGISTERED_BUFFERS_MAX } else { registered.len() };
        (Buffers { registered, ordinary, armed: 0, armed_max: total - total / 4 }, registration)
    }

    /// A buffer to wait for input with; `None` when enough connections have one: wait without.
    pub fn arm(&mut self) -> Option<Buffer> {
        if self.armed == self.armed_max {
            return None;
        }
        let buffer = match &mut self.ordinary {
            Some(ordinary) => Buffer::Ordinary(ordinary.pop().unwrap_or_else(|| vec![0; limits::IO_BUFFER_BYTES])),
            None => Buffer::Registered(self.registered.pop()?),
        };
        self.armed += 1;
        Some(buffer)
    }

    /// The wait is over and the input has been taken in.
    pub fn disarm(&mut self, buffer: Buffer) {
        self.armed -= 1;
        match (buffer, &mut self.ordinary) {
            (Buffer::Registered(buffer), _) => self.registered.push(buffer),
            (Buffer::Ordinary(buffer), Some(ordinary)) if ordinary.len() < limits::SPARE_BUFFERS_MAX => {
                ordinary.push(buffer);
            }
            (Buffer::Ordinary(_), _) => {}
        }
    }

    /// A registered buffer to send from, if there is one.
    pub fn take(&mut self) -> Option<FixedBuf> {
        self.registered.pop()
    }

    pub fn put(&mut self, buffer: FixedBuf) {
        self.registered.push(buffer);
    }

    /// More connections want to wait with a buffer than may.
    pub fn is_short(&self) -> bool {
        self.armed == self.armed_max
    }
}

fn register(wanted: usize) -> (Vec<FixedBuf>, Registration) {
    let pool = FixedBufPool::new((0..wanted).map(|_| vec![0; limits::IO_BUFFER_BYTES]));
    if let Err(error) = pool.register() {
        let bytes = wanted * limits::IO_BUFFER_BYTES;
        let reason = format!(
            "{error}: {bytes} bytes of locked memory are needed for each core and the limit is {}; \
             raise it (ulimit -l, LimitMEMLOCK, --ulimit memlock=-1:-1)",
            human(host::locked_memory_limit())
        );
        return (Vec::new(), (0, reason));
    }
    // All are checked out for good: our own list spares the pool's search at every use.
    let buffers: Vec<FixedBuf> = std::iter::from_fn(|| pool.try_next(limits::IO_BUFFER_BYTES)).collect();
    let count = buffers.len();
    (buffers, (count, "registered".to_owned()))
}
