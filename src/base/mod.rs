//! What everything stands on and nothing here knows the cache: the time, and patterns.

pub mod clock;
pub mod glob;
