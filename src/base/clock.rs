//! The time, read once for each turn of work and passed down as an argument; beside it, moments for measuring how long
//! something takes. Neither is read anywhere else.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// A time as HTTP writes it (RFC 9110, 5.6.7): 29 characters.
pub fn http_date(at: UnixMillis) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(at))
}

/// A moment, for `timing.rs`.
pub fn tick() -> Instant {
    Instant::now()
}

/// When a turn of work began.
#[derive(Clone, Copy)]
pub struct Turn {
    pub now: UnixMillis,
    pub begun: Instant,
}

impl Turn {
    /// The same without a `Clock`.
    pub fn begin() -> Turn {
        Turn { now: now(), begun: tick() }
    }
}

/// One core's clock: a single reading tells both the time of day and the moment. Where the day's time is changed by
/// somebody, it follows when it is set.
pub struct Clock {
    /// When it was set, and the time of day then.
    set: Cell<(Instant, Duration)>,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { set: Cell::new((tick(), since_epoch())) }
    }

    /// To be called every now and then. Returns the time.
    pub fn set(&self) -> UnixMillis {
        let since_epoch = since_epoch();
        self.set.set((tick(), since_epoch));
        since_epoch.as_millis() as UnixMillis
    }

    #[inline]
    pub fn turn(&self) -> Turn {
        let begun = tick();
        let (set_at, since_epoch) = self.set.get();
        let now = since_epoch + begun.duration_since(set_at);
        Turn { now: now.as_millis() as UnixMillis, begun }
    }
}

fn since_epoch() -> Duration {
    // A clock before 1970 counts as 1970: nothing that has a time of expiry outlives it then.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
