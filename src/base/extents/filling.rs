//! A stretch that is being filled, by one owner, from where a copy or the kernel puts its bytes.
#![allow(unsafe_code)] // Where the next bytes will lie is memory that only the region knows of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use super::runs::{Run, UNIT_BYTES};
use super::{Blob, Refused, Region, Stretch, add};

/// What `Extents::fill` begins.
pub struct Filling {
    pub(super) region: Arc<Region>,
    pub(super) run: Run,
    pub(super) len: usize,
}

/// A stretch has addresses for all that will come, up to here: they are memory only as it comes. Beyond, it must have come
/// so far.
const AT_ONCE_MAX_BYTES: usize = 1024 * 1024;

impl Filling {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends; `promised` bytes will come in all. An error, and no change, when there is no memory for it.
    pub fn push(&mut self, bytes: &[u8], promised: usize) -> Result<(), Refused> {
        self.space(bytes.len(), promised)?.copy_from_slice(bytes);
        self.filled(bytes.len());
        Ok(())
    }

    /// Where the next `bytes` bytes of the `promised` will lie: whatever is written there counts with `filled`.
    pub fn space(&mut self, bytes: usize, promised: usize) -> Result<&mut [u8], Refused> {
        let len = self.len + bytes;
        if len > self.capacity() {
            let wanted = if len > AT_ONCE_MAX_BYTES { promised } else { promised.min(AT_ONCE_MAX_BYTES) };
            self.run = self.region.grow(self.run, self.len, wanted.max(len))?;
        }
        self.region.hold(self.run, self.len, len)?;
        // SAFETY: the stretch is ours alone, has room for them, is open up to there, and the kernel has filled its pages
        // with zeroes or somebody before us with whatever it was.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.region.at(self.run).add(self.len), bytes) })
    }

    /// The next `bytes` bytes are there. Panics when there is no such space.
    pub fn filled(&mut self, bytes: usize) {
        assert!(self.len + bytes <= self.capacity());
        self.count(self.len + bytes);
    }

    /// Nothing more will come. What is not filled goes back.
    pub fn finish(self) -> Blob {
        self.finish_to_grow(0)
    }

    /// The same, but up to `room` bytes, if it has so many, the addresses stay: it can grow there.
    pub fn finish_to_grow(mut self, room: usize) -> Blob {
        let len = self.len;
        let kept = len.max(room.min(self.capacity()));
        let run = Run { units: kept.div_ceil(UNIT_BYTES) as u32, ..self.run };
        let rest = Run { start: run.end(), units: self.run.units - run.units };
        self.region.give(rest);
        if kept > len {
            self.region.vacate(run, len);
        }
        self.count(len.next_multiple_of(UNIT_BYTES));
        // It has nothing left to give back.
        (self.run, self.len) = (Run { start: 0, units: 0 }, 0);
        Blob(Arc::new(Stretch {
            region: self.region.clone(),
            run,
            len,
            links: AtomicU32::new(0),
            is_arriving: AtomicBool::new(true),
        }))
    }

    fn capacity(&self) -> usize {
        self.run.units as usize * UNIT_BYTES
    }

    fn count(&mut self, len: usize) {
        add(&self.region.totals.charged_bytes, self.len, len);
        self.len = len;
    }
}

impl Drop for Filling {
    /// What came to nothing goes back to the kernel at once, if it is not too much for that: of a crowd that is turned away
    /// nothing stays.
    fn drop(&mut self) {
        add(&self.region.totals.charged_bytes, self.len, 0);
        let units = self.run.units.min((AT_ONCE_MAX_BYTES / UNIT_BYTES) as u32);
        self.region.vacate(Run { units, ..self.run }, 0);
        self.region.give(self.run);
    }
}
