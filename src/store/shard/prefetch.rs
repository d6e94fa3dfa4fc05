//! The processor's prefetch instruction. It must not know what is fetched.
//!
//! It is worth its `unsafe`: a load that misses the caches holds up everything behind it as soon as the processor's
//! window is full, after three or four look-ups; a prefetch does not. (`cargo bench --bench shard -- lookups`: GET in a
//! pipeline of 16.)

/// Starts fetching the cache line in which `target` begins. Only a hint: without the instruction nothing happens.
#[inline(always)]
#[allow(unsafe_code)]
pub fn prefetch<T: ?Sized>(target: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor has the instruction, it reads and writes nothing that a program can see, and
        // it may be given any address; this one is even valid.
        unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *target).cast()) }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = target;
}
