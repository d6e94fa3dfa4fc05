//! What everything stands on and nothing here knows the cache: memory, threads, the time, and patterns.

pub mod allocator;
pub mod clock;
pub mod extents;
pub mod glob;
pub mod reserved;
pub mod threads;
#[cfg(test)]
pub(crate) mod testing;
