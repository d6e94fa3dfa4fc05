//! Memory for what is large: stretches of reserved address space, handed out and taken back on any core. What has been
//! freed is handed out again as it is, without the kernel's help, and what is held of memory is counted to the page. It
//! must not know what lies in it.
//!
//! - `Filling` is a stretch that is being filled, by one owner, and grows as it is;
//! - `Blob` is one that is full: it is read by many, and goes back when the last of them lets go of it.
//!
//! It is worth its `unsafe`: an allocator that keeps what is freed cannot keep the memory cap, and one that does not maps
//! and unmaps every value: setting 64 KiB took 3.7 times, setting 1 MiB 21 times the time it takes here.

#![allow(unsafe_code)]

mod filling;
mod runs;

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::reserved::{OPEN_BYTES, Reserved};
pub use filling::Filling;
use runs::{PAGE_BYTES, Run, Runs, UNIT_BYTES};

/// Address space for each `Extents`. Where the process may not have as much, half of it will do, or a quarter, ...
const RESERVED_BYTES: usize = if cfg!(miri) { OPEN_BYTES } else { 256 * 1024 * 1024 * 1024 };
/// ... but not less than this.
const RESERVED_MIN_BYTES: usize = if cfg!(miri) { OPEN_BYTES } else { 1024 * 1024 * 1024 };
/// What a handle holds beside its bytes.
pub const HANDLE_BYTES: usize = 64;

/// The kernel refuses memory, or all addresses are in use.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused;

/// One core's: it hands out, and takes back whatever it has handed out. What is held and charged is counted for all cores
/// together, and each of them bears its part.
#[derive(Clone, Default)]
pub struct Extents(Arc<Region>);

#[derive(Default)]
struct Region {
    memory: OnceLock<Reserved>,
    state: Mutex<State>,
    totals: Arc<Totals>,
}

/// Over all cores.
struct Totals {
    cores: u64,
    /// What `Runs::bytes` and `Runs::idle_bytes` say.
    held_bytes: AtomicU64,
    idle_bytes: AtomicU64,
    /// What is being filled or has not been linked yet is charged to whoever fills it; what is linked, to whoever links it.
    charged_bytes: AtomicU64,
}

impl Default for Totals {
    fn default() -> Totals {
        Totals::new(1)
    }
}

impl Totals {
    fn new(cores: u64) -> Totals {
        let zero = AtomicU64::default;
        Totals { cores, held_bytes: zero(), idle_bytes: zero(), charged_bytes: zero() }
    }
}

#[derive(Default)]
struct State {
    /// None until it is known how much can be reserved.
    runs: Option<Runs>,
    open_bytes: usize,
}

impl Extents {
    /// One for each core.
    pub fn for_cores(cores: usize) -> Vec<Extents> {
        let totals = Arc::new(Totals::new(cores as u64));
        (0..cores).map(|_| Extents(Arc::new(Region { totals: totals.clone(), ..Region::default() }))).collect()
    }

    /// A core's part of the memory that is held and nobody is charged for: idle pages, what blobs leave of their pages, and
    /// blobs that are linked no more but still read.
    #[inline]
    pub fn overhead_bytes(&self) -> u64 {
        let Totals { cores, held_bytes, charged_bytes, .. } = &*self.0.totals;
        held_bytes.load(Relaxed).saturating_sub(charged_bytes.load(Relaxed)) / cores
    }

    /// A core's part of the idle memory.
    pub fn idle_bytes(&self) -> u64 {
        self.0.totals.idle_bytes.load(Relaxed) / self.0.totals.cores
    }

    /// Gives some idle memory back to the kernel, some ten microseconds' worth. False when there is none.
    pub fn release_step(&self) -> bool {
        self.0.release_step()
    }

    /// A copy.
    pub fn copy(&self, bytes: &[u8]) -> Result<Blob, Refused> {
        let mut filling = self.fill();
        filling.push(bytes, bytes.len())?;
        Ok(filling.finish())
    }

    /// Something empty, to be filled.
    pub fn fill(&self) -> Filling {
        Filling { region: self.0.clone(), run: Run { start: 0, units: 0 }, len: 0 }
    }

    /// What a blob of so many bytes takes.
    pub fn cost(bytes: usize) -> u64 {
        (bytes.next_multiple_of(UNIT_BYTES) + HANDLE_BYTES) as u64
    }
}

impl Region {
    fn memory(&self) -> Option<&Reserved> {
        if let Some(memory) = self.memory.get() {
            return Some(memory);
        }
        let sizes = std::iter::successors(Some(RESERVED_BYTES), |bytes| Some(bytes / 2));
        let reserved = sizes.take_while(|bytes| *bytes >= RESERVED_MIN_BYTES).find_map(Reserved::new)?;
        // Another core may have been faster.
        Some(self.memory.get_or_init(|| reserved))
    }

    /// Does something to the state, and counts what has come of it.
    fn with<T>(&self, act: impl FnOnce(&Reserved, &mut Runs, &mut usize) -> T) -> Option<T> {
        let memory = self.memory()?;
        let State { runs, open_bytes } = &mut *self.state.lock();
        // One unit less: a number of units has 32 bits.
        let runs = runs.get_or_insert_with(|| Runs::new(((memory.len() - UNIT_BYTES) / UNIT_BYTES) as u32));
        let (held, idle) = (runs.bytes(), runs.idle_bytes());
        let done = act(memory, runs, open_bytes);
        add(&self.totals.held_bytes, held, runs.bytes());
        add(&self.totals.idle_bytes, idle, runs.idle_bytes());
        Some(done)
    }

    fn release_step(&self) -> bool {
        self.memory.get().is_some()
            && self.with(|memory, runs, _| {
                let Some(pages) = runs.give_up() else { return false };
                // SAFETY: whole pages of a free stretch: nobody has them, and nobody can get them while the state is
                // locked. (A refusal leaves memory behind them that is not counted; the kernel has no reason for one.)
                unsafe { memory.discard_unused(pages.start * PAGE_BYTES..pages.end * PAGE_BYTES) };
                true
            }) == Some(true)
    }

    /// Makes a stretch longer, where it is or elsewhere, with what its first `len` bytes are.
    fn grow(&self, run: Run, len: usize, bytes: usize) -> Result<Run, Refused> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).map_err(|_| Refused)?;
        let grown = self.with(|_, runs, _| {
            if run.units > 0 && runs.lengthen(run, units) {
                return Some(Run { units, ..run });
            }
            runs.take(units)
        });
        let grown = grown.flatten().ok_or(Refused)?;
        if grown.start != run.start && len > 0 {
            if let Err(refused) = self.hold(grown, 0, len) {
                self.give(grown);
                return Err(refused);
            }
            // SAFETY: both stretches are the caller's alone, do not overlap, and have `len` bytes that are open.
            unsafe { std::ptr::copy_nonoverlapping(self.at(run), self.at(grown), len) };
        }
        if grown.start != run.start {
            self.give(run);
        }
        Ok(grown)
    }

    /// Bytes `from` to `to` of a stretch are about to be written to.
    fn hold(&self, run: Run, from: usize, to: usize) -> Result<(), Refused> {
        let written = Run {
            start: run.start + (from / UNIT_BYTES) as u32,
            units: (to.div_ceil(UNIT_BYTES) - from / UNIT_BYTES) as u32,
        };
        let end = written.end() as usize * UNIT_BYTES;
        let held = self.with(|memory, runs, open_bytes| {
            if end > *open_bytes {
                let wanted = end.next_multiple_of(OPEN_BYTES).min(memory.len());
                if !memory.open(*open_bytes..wanted) {
                    return false;
                }
                *open_bytes = wanted;
            }
            runs.hold(written)
        });
        if held == Some(true) { Ok(()) } else { Err(Refused) }
    }

    /// Nothing is to be held behind the first `len` bytes of a stretch.
    fn vacate(&self, run: Run, len: usize) {
        let used = len.div_ceil(UNIT_BYTES) as u32;
        let rest = Run { start: run.start + used, units: run.units - used };
        self.with(|memory, runs, _| {
            while let Some(pages) = runs.vacate(rest) {
                // SAFETY: the stretch is the caller's alone, who has no reference to it.
                unsafe { memory.discard_unused(pages.start * PAGE_BYTES..pages.end * PAGE_BYTES) };
            }
        });
    }

    fn give(&self, run: Run) {
        if run.units > 0 {
            self.with(|_, runs, _| runs.give(run));
        }
    }

    fn at(&self, run: Run) -> *mut u8 {
        let memory = self.memory.get().expect("a stretch was handed out of it");
        debug_assert!(run.end() as usize * UNIT_BYTES <= memory.len());
        // SAFETY: within the memory: that is where stretches are handed out of.
        unsafe { memory.start().add(run.start as usize * UNIT_BYTES) }
    }
}

/// A part of the counter changes.
fn add(counter: &AtomicU64, before: usize, after: usize) {
    if before != after {
        counter.fetch_add((after as u64).wrapping_sub(before as u64), Relaxed);
    }
}

/// Bytes that are shared.
#[derive(Clone)]
pub struct Blob(Arc<Stretch>);

struct Stretch {
    region: Arc<Region>,
    run: Run,
    len: usize,
    links: AtomicU32,
    is_arriving: AtomicBool,
}

impl Blob {
    /// Somebody else is charged for it from now on: whoever says so, until `unlink`.
    pub fn link(&self) {
        if self.0.links.fetch_add(1, Relaxed) == 0 {
            add(&self.0.region.totals.charged_bytes, 0, self.0.bytes());
        }
        self.0.arrive();
    }

    /// The bytes, to be changed where they lie, and at least `least` of them: zeroes behind what there was. None, and no
    /// change, while others have the blob, or when there is no memory for what is added.
    pub fn edit(&mut self, least: usize) -> Option<&mut [u8]> {
        let stretch = Arc::get_mut(&mut self.0)?;
        if least > stretch.len {
            stretch.lengthen(least).ok()?;
        }
        if stretch.len == 0 {
            return Some(&mut []);
        }
        // SAFETY: as in `deref`; and there is no other handle.
        Some(unsafe { std::slice::from_raw_parts_mut(stretch.region.at(stretch.run), stretch.len) })
    }

    /// Up to this length they can be changed where they lie; 0 while others have the blob.
    pub fn room(&self) -> usize {
        if Arc::strong_count(&self.0) == 1 { self.0.run.units as usize * UNIT_BYTES } else { 0 }
    }

    pub fn unlink(&self) {
        if self.0.links.fetch_sub(1, Relaxed) == 1 {
            add(&self.0.region.totals.charged_bytes, self.0.bytes(), 0);
        }
    }
}

impl Stretch {
    /// What is charged for it: a stretch that grows has more addresses than that, but nothing behind them.
    fn bytes(&self) -> usize {
        self.len.next_multiple_of(UNIT_BYTES)
    }

    fn lengthen(&mut self, len: usize) -> Result<(), Refused> {
        let before = self.bytes();
        if len > self.run.units as usize * UNIT_BYTES {
            // Addresses for more, so that what grows by a little at a time is seldom moved.
            self.run = self.region.grow(self.run, self.len, len + len / 4)?;
            self.region.vacate(self.run, len);
        }
        self.region.hold(self.run, self.len, len)?;
        // SAFETY: the stretch has no other handle, has room for `len` bytes, and is open up to there.
        unsafe { self.region.at(self.run).add(self.len).write_bytes(0, len - self.len) };
        self.len = len;
        add(&self.region.totals.charged_bytes, before, self.bytes());
        Ok(())
    }

    fn arrive(&self) {
        if self.is_arriving.load(Relaxed) && self.is_arriving.swap(false, Relaxed) {
            add(&self.region.totals.charged_bytes, self.bytes(), 0);
        }
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        self.arrive();
        debug_assert_eq!(self.links.load(Relaxed), 0);
        self.region.give(self.run);
    }
}

impl Deref for Blob {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: the stretch is this blob's until its last handle is gone, was filled up to `len`, and is not written to.
        unsafe { std::slice::from_raw_parts(self.0.region.at(self.0.run), self.0.len) }
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Blob> for Bytes {
    fn from(blob: Blob) -> Bytes {
        Bytes::from_owner(blob)
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterned(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 31 + at / 251 + seed) as u8).collect()
    }

    #[test]
    fn what_is_filled_in_pieces_is_whole_and_goes_back_when_nobody_has_it() {
        let extents = Extents::default();
        let most = if cfg!(miri) { 20_000 } else { 3_000_000 };
        let mut blobs = Vec::new();
        for (seed, len) in [1, 63, 64, 65, 4096, 10_000, most].into_iter().enumerate() {
            let bytes = patterned(len, seed);
            let mut filling = extents.fill();
            for piece in bytes.chunks(len / 7 + 1) {
                filling.push(piece, len).unwrap();
            }
            assert_eq!(filling.len(), len);
            blobs.push((filling.finish(), bytes));
        }
        assert!(blobs.iter().all(|(blob, bytes)| **blob == bytes[..]));
        assert!(extents.overhead_bytes() < 7 * 3 * PAGE_BYTES as u64 + most as u64);
        let shared = Bytes::from(blobs[6].0.clone());
        let expected = blobs.pop().unwrap().1;
        blobs.clear();
        let held = extents.overhead_bytes();
        assert_eq!(shared, expected);
        drop(shared);
        assert!(extents.idle_bytes() >= most as u64 - PAGE_BYTES as u64 && extents.overhead_bytes() > held);
        while extents.release_step() {}
        assert_eq!(extents.idle_bytes(), 0);
        assert!(extents.overhead_bytes() < 64 * 1024);
    }

    #[test]
    fn what_is_charged_to_others_is_no_overhead() {
        let extents = Extents::default();
        let bytes = patterned(64 * 1024, 0);
        let blob = extents.copy(&bytes).unwrap();
        let free = extents.overhead_bytes();
        assert!(free < 1024, "{free}");
        blob.link();
        assert_eq!(extents.overhead_bytes(), free);
        let reader = blob.clone();
        blob.unlink();
        drop(blob);
        assert_eq!(extents.overhead_bytes(), free + 64 * 1024, "only a reader has it");
        assert_eq!(extents.idle_bytes(), 0);
        drop(reader);
        assert_eq!(extents.idle_bytes(), 64 * 1024);
        // And is handed out again.
        let again = extents.copy(&bytes).unwrap();
        assert_eq!((&again[..], extents.idle_bytes()), (&bytes[..], 0));
    }

    #[test]
    fn many_threads_fill_and_free() {
        let extents = Extents::default();
        let rounds = if cfg!(miri) { 20 } else { 2000 };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let extents = &extents;
                scope.spawn(move || {
                    let mut kept = std::collections::VecDeque::new();
                    for round in 0..rounds {
                        let bytes = patterned(100 + (round * 997) % 20_000, thread);
                        kept.push_back((extents.copy(&bytes).unwrap(), bytes));
                        if kept.len() > 10 {
                            let (blob, bytes) = kept.pop_front().unwrap();
                            assert_eq!(*blob, bytes[..]);
                        }
                        if round % 16 == 0 {
                            extents.release_step();
                        }
                    }
                });
            }
        });
        while extents.release_step() {}
        assert!(extents.overhead_bytes() < 64 * 1024);
    }
}
