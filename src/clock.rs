//! The time, read once for each turn of work and passed down as an argument. It must not be read anywhere else.

use std::time::{SystemTime, UNIX_EPOCH};

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

fn since_epoch() -> std::time::Duration {
    // A clock before 1970 counts as 1970: nothing that has a time of expiry outlives it then.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
