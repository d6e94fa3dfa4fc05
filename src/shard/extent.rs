//! Anonymous memory that can be handed back to the kernel piece by piece. It must not know what lies in it.

use memmap2::{MmapMut, MmapOptions, UncheckedAdvice};
use std::io;
use std::ops::{Deref, DerefMut, Range};

/// A stretch of zeroed address space; memory stands behind a part of it from the first write to its `discard`.
pub struct Extent(MmapMut);

impl Extent {
    /// Reserves address space only. Fails when the process may not map more.
    pub fn new(bytes: usize) -> io::Result<Extent> {
        MmapOptions::new().len(bytes).map_anon().map(Extent)
    }

    /// Gives the memory behind `range` (of whole kernel pages) back; it reads as zeroes afterwards.
    #[allow(unsafe_code)]
    pub fn discard(&mut self, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.0.len());
        // SAFETY: the mapping is private, anonymous and borrowed mutably here, so nobody holds a reference into it;
        // DONTNEED turns its bytes into zeroes, and every bit pattern is a valid u8.
        let advised = unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        // Only a range that is misaligned or locked into memory is refused; the memory then merely stays.
        debug_assert!(advised.is_ok());
    }
}

impl Deref for Extent {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Extent {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discarded_bytes_read_as_zeroes_and_their_neighbours_stay() {
        let mut extent = Extent::new(1 << 20).unwrap();
        extent.fill(7);
        extent.discard(65536..131072);
        assert!(extent[65536..131072].iter().all(|&byte| byte == 0));
        assert_eq!((extent[65535], extent[131072]), (7, 7));
    }
}
