//! Tells a service manager (systemd's notify protocol) how the server is: ready, reloading, stopping, alive. Without one
//! nothing happens. It must not know what the cores do, only that they move.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::base::threads;
use crate::shared::Shared;

/// Every core's event loop runs, and this is what `systemctl status` shows.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Options are read again until `ready` is said.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("answering what was accepted")]);
}

/// Feeds the manager's watchdog for as long as every core moves: one that is stuck starves it, however well the others
/// are, because a part of the keys is behind it.
pub fn feed_watchdog(shared: Arc<Shared>) {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    threads::start(move || {
        let beats = || shared.heartbeats.iter().map(|beat| beat.load(Relaxed)).collect::<Vec<u64>>();
        let (mut fed, mut fed_at, mut is_warned) = (beats(), Instant::now(), false);
        loop {
            std::thread::sleep((timeout / 4).min(Duration::from_secs(1)));
            let now = beats();
            if now.iter().zip(&fed).all(|(now, fed)| now != fed) {
                tell(&[NotifyState::Watchdog]);
                (fed, fed_at, is_warned) = (now, Instant::now(), false);
            } else if !is_warned && fed_at.elapsed() > timeout / 2 {
                let stuck = (0..now.len()).filter(|&core| now[core] == fed[core]).map(|core| core.to_string());
                let stuck = stuck.collect::<Vec<_>>().join(", ");
                tracing::error!("core {stuck} has stood still for {:?}; the watchdog starves", fed_at.elapsed());
                is_warned = true;
            }
        }
    });
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot tell the service manager: {error}");
    }
}
