//! Asks the processor to fetch a cache line that will be needed soon. It must not know what lies there.
//!
//! Why this is worth `unsafe`: with 100,000 random keys, pipeline 64, a GET costs the server 0.37 us with these
//! instructions and 0.94 us with plain early loads, which wait for their data in the order of the program.
#![allow(unsafe_code)]

/// Starts fetching the line that `target` begins in. Nothing is read: the program cannot tell whether it happened.
#[inline(always)]
pub fn line<T>(target: &T) {
    let address = std::ptr::from_ref(target);
    // SAFETY: a prefetch has no effect on memory or registers, faults on no address, and this one is even valid.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
