//! What the server knows of itself: counters, times, and what is kept of slow commands.

pub mod counter;
pub mod histogram;
pub mod latency;
pub mod log;
pub mod rates;
pub mod slowlog;
pub mod stats;
