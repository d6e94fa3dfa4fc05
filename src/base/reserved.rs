//! Address space as the kernel gives it: reserved as a whole, opened for use and given back piece by piece. It must not
//! know what lies in it.

#![allow(unsafe_code)]

use std::ops::Range;
use std::ptr::NonNull;

pub use kernel::Reserved;

/// What a huge page covers.
pub const BLOCK_BYTES: usize = 2 * 1024 * 1024;
/// What is opened for use at a time: few calls, and little that a kernel which refuses to overcommit must set aside.
pub const OPEN_BYTES: usize = if cfg!(miri) { 8 } else { 64 } * 1024 * 1024;

/// A cache line, for arrays of such.
pub type Line = [u32; LINE_BYTES / 4];
pub const LINE_BYTES: usize = 64;

#[cfg(not(miri))]
mod kernel {
    use super::*;
    use libc::{c_int, c_void};
    use std::ptr;

    /// A private mapping, of which a part starts at a huge page's boundary and is ours to use.
    pub struct Reserved {
        mapping: NonNull<u8>,
        start: NonNull<u8>,
        len: usize,
    }

    // SAFETY: the mapping belongs to this value alone.
    unsafe impl Send for Reserved {}
    // SAFETY: through a shared reference nothing but an address is to be had.
    unsafe impl Sync for Reserved {}

    impl Reserved {
        pub const EMPTY: Reserved = Reserved { mapping: ALIGNED, start: ALIGNED, len: 0 };

        /// `len` bytes that nobody may touch yet; none when the process may not have as many addresses.
        pub fn new(len: usize) -> Option<Reserved> {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a new mapping at an address of the kernel's choice disturbs no other.
            let mapping = unsafe { libc::mmap(ptr::null_mut(), len + BLOCK_BYTES, libc::PROT_NONE, flags, -1, 0) };
            if mapping == libc::MAP_FAILED {
                return None;
            }
            let mapping = NonNull::new(mapping.cast::<u8>())?;
            let offset = mapping.align_offset(BLOCK_BYTES);
            // SAFETY: less than the block by which the mapping is longer.
            let reserved = Reserved { mapping, start: unsafe { mapping.add(offset) }, len };
            // A kernel without huge pages refuses, and need not be told.
            reserved.advise_huge(0..len, false);
            Some(reserved)
        }

        pub fn start(&self) -> *mut u8 {
            self.start.as_ptr()
        }

        pub fn len(&self) -> usize {
            self.len
        }

        pub fn is_empty(&self) -> bool {
            self.len == 0
        }

        /// Lets these bytes be used; what is open already stays as it is. False when the kernel refuses.
        pub fn open(&self, range: Range<usize>) -> bool {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: the range is ours; what was closed to everybody is opened.
            unsafe { libc::mprotect(self.at(&range), range.len(), access) == 0 }
        }

        /// Allows or forbids huge pages.
        pub fn advise_huge(&self, range: Range<usize>, allow: bool) -> bool {
            self.advise(range, if allow { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE })
        }

        /// Gives the memory back: the bytes read as zeroes afterwards. False when the kernel refuses.
        pub fn discard(&mut self, range: Range<usize>) -> bool {
            self.advise(range, libc::MADV_DONTNEED)
        }

        /// The same through a shared reference.
        ///
        /// # Safety
        /// Nobody may hold a reference to any of these bytes.
        // SAFETY: asked of the caller, above.
        pub unsafe fn discard_unused(&self, range: Range<usize>) -> bool {
            self.advise(range, libc::MADV_DONTNEED)
        }

        fn advise(&self, range: Range<usize>, advice: c_int) -> bool {
            // SAFETY: the range is ours. Of the three kinds of advice only DONTNEED changes bytes, to zeroes; then
            // nobody holds a reference to them: `self` is borrowed mutably, or the caller has promised it.
            unsafe { libc::madvise(self.at(&range), range.len(), advice) == 0 }
        }

        fn at(&self, range: &Range<usize>) -> *mut c_void {
            assert!(range.start <= range.end && range.end <= self.len);
            // SAFETY: within the mapping, as just asserted.
            unsafe { self.start.add(range.start) }.as_ptr().cast()
        }
    }

    impl Drop for Reserved {
        fn drop(&mut self) {
            if self.len > 0 {
                // SAFETY: the mapping as it was made; nothing borrows from a value that is dropped.
                unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.len + BLOCK_BYTES) };
            }
        }
    }

    /// Where a space of no bytes is: no address that is used, but as good as any for a slice of nothing.
    const ALIGNED: NonNull<u8> = NonNull::<Line>::dangling().cast();
}

/// Miri knows neither reserved addresses nor advice: plain memory, and little of it.
#[cfg(miri)]
mod kernel {
    use super::*;

    pub struct Reserved {
        lines: Vec<Line>,
        start: NonNull<u8>,
    }

    // SAFETY: the memory belongs to this value alone.
    unsafe impl Send for Reserved {}
    // SAFETY: through a shared reference nothing but an address is to be had.
    unsafe impl Sync for Reserved {}

    impl Reserved {
        pub const EMPTY: Reserved = Reserved { lines: Vec::new(), start: NonNull::<Line>::dangling().cast() };

        pub fn new(_: usize) -> Option<Reserved> {
            let mut lines: Vec<Line> = vec![[0; 16]; OPEN_BYTES / 64];
            let start = NonNull::new(lines.as_mut_ptr())?.cast();
            Some(Reserved { lines, start })
        }

        pub fn start(&self) -> *mut u8 {
            self.start.as_ptr()
        }

        pub fn len(&self) -> usize {
            self.lines.len() * 64
        }

        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub fn open(&self, _: Range<usize>) -> bool {
            true
        }

        pub fn advise_huge(&self, _: Range<usize>, _: bool) -> bool {
            true
        }

        pub fn discard(&mut self, range: Range<usize>) -> bool {
            // SAFETY: borrowed mutably.
            unsafe { self.discard_unused(range) }
        }

        /// # Safety
        /// Nobody may hold a reference to any of these bytes.
        // SAFETY: asked of the caller, above.
        pub unsafe fn discard_unused(&self, range: Range<usize>) -> bool {
            assert!(range.end <= self.len());
            // SAFETY: within the memory, as just asserted, and unused, as the caller has promised.
            unsafe { self.start.add(range.start).write_bytes(0, range.len()) };
            true
        }
    }
}
