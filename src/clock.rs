//! The time, read once for each turn of work and passed down as an argument; beside it, moments for measuring how long
//! something takes. Neither is read anywhere else.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub type UnixMillis = u64;

pub fn now() -> UnixMillis {
    since_epoch().as_millis() as UnixMillis
}

/// Seconds and microseconds since the Unix epoch, for TIME.
pub fn now_micros() -> (u64, u32) {
    let elapsed = since_epoch();
    (elapsed.as_secs(), elapsed.subsec_micros())
}

/// A moment, for `timing.rs`.
pub fn tick() -> Instant {
    Instant::now()
}

fn since_epoch() -> std::time::Duration {
    // A clock before 1970 counts as 1970: nothing that has a time of expiry outlives it then.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
