//! One core's ring of registered buffers: the kernel takes a buffer for each receive, and gets it back once its bytes have
//! been taken in. A connection that waits holds none.
//!
//! Invariant: each buffer is in reserve, or the kernel's to fill, or stands for exactly one `Taken`.
#![allow(unsafe_code)] // Memory that the kernel writes into, and the ring through which it is handed to and fro.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring_07::types::BufRingEntry;

use super::ring::Done;
use crate::config::limits;

/// The kernel's number for the group of all of a core's buffers.
pub const GROUP: u16 = 0;

pub struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    /// A power of two.
    count: u16,
    /// Buffers from this number on are in reserve. The kernel takes them in turn: the fewer there are, the sooner one is
    /// used again, and the more likely it is still in the processor's caches.
    reserve: u16,
    tail: u16,
}

/// A filled buffer, ours until it is given back.
pub struct Taken {
    number: u16,
    len: usize,
}

impl Buffers {
    /// `count` buffers, a power of two and at most 32,768, mapped and not yet registered. They are mapped until the
    /// process ends, for the kernel may write into them; memory is taken as they are first used.
    pub fn new(count: u16) -> io::Result<Buffers> {
        assert!(count.is_power_of_two());
        let entries = map(count as usize * size_of::<BufRingEntry>())?.cast();
        let memory = map(count as usize * limits::IO_BUFFER_BYTES)?;
        let mut buffers = Buffers { entries, memory, count, reserve: 0, tail: 0 };
        buffers.offer_until(count.min(limits::OFFERED_BUFFERS));
        Ok(buffers)
    }

    /// After the kernel has run out of buffers: takes as many again out of the reserve.
    pub fn offer_more(&mut self) {
        self.offer_until(self.reserve.saturating_mul(2).min(self.count));
    }

    fn offer_until(&mut self, reserve: u16) {
        (self.reserve..reserve).for_each(|number| self.offer(number));
        self.reserve = reserve;
    }

    pub fn count(&self) -> u16 {
        self.count
    }

    /// Where the ring begins.
    pub fn address(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    /// The buffer that a receive has filled; `None` when it has brought nothing.
    pub fn take(&mut self, done: &Done) -> Option<Taken> {
        let number = done.buffer()?;
        assert!(number < self.count);
        Some(Taken { number, len: usize::try_from(done.result).unwrap_or(0).min(limits::IO_BUFFER_BYTES) })
    }

    pub fn bytes(&self, taken: &Taken) -> &[u8] {
        // SAFETY: the kernel has filled this part of the buffer, and writes into it no more until it is given back, which
        // takes the `Taken` that is borrowed here.
        unsafe { std::slice::from_raw_parts(self.buffer(taken.number).as_ptr(), taken.len) }
    }

    pub fn give(&mut self, taken: Taken) {
        self.offer(taken.number);
    }

    fn buffer(&self, number: u16) -> NonNull<u8> {
        // SAFETY: numbers are below `count`, so it lies within the mapping.
        unsafe { self.memory.add(number as usize * limits::IO_BUFFER_BYTES) }
    }

    fn offer(&mut self, number: u16) {
        let address = self.buffer(number).as_ptr() as u64;
        // SAFETY: the place is within the mapping, and the kernel reads it only below the tail. The first entry's last
        // field is the tail itself, which the setters leave alone.
        let entry = unsafe { self.entries.add((self.tail & (self.count - 1)) as usize).as_mut() };
        entry.set_addr(address);
        entry.set_len(limits::IO_BUFFER_BYTES as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies within the mapping, and is only accessed as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// Fresh zeroed pages.
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new private mapping, wherever the kernel likes.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
