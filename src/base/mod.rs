//! What everything stands on and nothing here knows the cache: memory, the time, and patterns.

pub mod allocator;
pub mod clock;
pub mod extents;
pub mod glob;
pub mod reserved;
#[cfg(test)]
pub(crate) mod testing;
