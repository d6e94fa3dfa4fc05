//! Looks after one core's connections twice a second: the idle and the stalled are closed, armed buffers of silent
//! ones are called back. It must not know how an engine waits or cancels.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::UnixMillis;
use crate::clients::Client;
use crate::config::limits;
use crate::observe::stats::CoreStats;

/// What a connection's task shows of itself.
#[derive(Debug, Default)]
pub struct Watch {
    /// It waits for input with a buffer of its own.
    pub armed: Cell<bool>,
    /// Since when the peer has taken nothing of what is being sent; 0 when nothing is.
    pub sending_since: Cell<UnixMillis>,
    /// What the last visit has found there.
    stalled_since: Cell<UnixMillis>,
}

/// One core's connections, as its janitor sees them.
#[derive(Default)]
pub struct ConnectionTable {
    entries: RefCell<HashMap<u64, Entry>>,
}

type Entry = (Arc<Client>, Rc<Watch>);

impl ConnectionTable {
    pub fn enter(&self, client: &Arc<Client>) -> Rc<Watch> {
        let watch = Rc::new(Watch::default());
        self.entries.borrow_mut().insert(client.id, (client.clone(), watch.clone()));
        watch
    }

    pub fn leave(&self, client: &Client) {
        self.entries.borrow_mut().remove(&client.id);
    }

    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// For every connection, whatever it is doing.
    pub fn for_each(&self, mut act: impl FnMut(&Arc<Client>, &Watch)) {
        self.entries.borrow().values().for_each(|(client, watch)| act(client, watch));
    }

    /// Closes connections that are idle beyond the timeout (0 for none; those that only listen never are) or that take
    /// none of their replies for `stall_ms`.
    pub fn close_overdue(&self, timeout_s: u32, stall_ms: u64, stats: &CoreStats, now: UnixMillis) {
        let timeout_ms = timeout_s as u64 * 1000;
        self.for_each(|client, watch| {
            let stalled = watch.sending_since.get();
            // A core that comes late may not have seen yet what was taken: once more, and it has.
            let was_seen = watch.stalled_since.replace(stalled) == stalled;
            if stalled != 0 && was_seen && now.saturating_sub(stalled) > stall_ms {
                stats.output_limit_closed.add(1);
                tracing::info!(client = client.id, "closed: it has taken none of its replies for too long");
                client.kill();
            } else if timeout_ms != 0
                && !client.is_monitor()
                && !client.is_subscribed()
                && !client.paused.load(Relaxed)
                && now.saturating_sub(client.last_active.load(Relaxed)) > timeout_ms
            {
                stats.idle_closed.add(1);
                client.kill();
            }
        });
    }

    /// The connections that have been silent for a while and hold a buffer.
    pub fn silent_and_armed(&self, now: UnixMillis) -> Vec<Arc<Client>> {
        let mut found = Vec::new();
        self.for_each(|client, watch| {
            if watch.armed.get() && now.saturating_sub(client.last_active.load(Relaxed)) > limits::ARMED_IDLE_MS {
                found.push(client.clone());
            }
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{Clients, Peer};

    const START: UnixMillis = 1_000_000;

    fn connect(clients: &Clients, connections: &ConnectionTable) -> (Arc<Client>, Rc<Watch>) {
        let socket = std::os::unix::net::UnixStream::pair().unwrap().0.into();
        let client = clients.enter(clients.place(0, |_| true).unwrap(), socket, Peer::Unix, START);
        let watch = connections.enter(&client);
        (client, watch)
    }

    #[test]
    fn who_takes_nothing_for_a_minute_is_closed() {
        let (clients, connections, stats) = (Clients::new(1, 10, 0), ConnectionTable::default(), CoreStats::new(0));
        let (stalled, watch) = connect(&clients, &connections);
        let (quiet, _) = connect(&clients, &connections);
        watch.sending_since.set(START);
        connections.close_overdue(0, limits::OUTPUT_STALL_MS, &stats, START + limits::OUTPUT_STALL_MS);
        assert!(!stalled.is_killed());
        // It has taken something meanwhile.
        watch.sending_since.set(START + 10);
        connections.close_overdue(0, limits::OUTPUT_STALL_MS, &stats, START + limits::OUTPUT_STALL_MS + 10);
        assert!(!stalled.is_killed());
        connections.close_overdue(0, limits::OUTPUT_STALL_MS, &stats, START + limits::OUTPUT_STALL_MS + 11);
        assert!(stalled.is_killed() && !quiet.is_killed());
        assert_eq!((stats.output_limit_closed.get(), stats.idle_closed.get()), (1, 0));
    }

    #[test]
    fn who_is_silent_beyond_the_timeout_is_closed() {
        let (clients, connections, stats) = (Clients::new(1, 10, 0), ConnectionTable::default(), CoreStats::new(0));
        let (idle, _) = connect(&clients, &connections);
        let (busy, _) = connect(&clients, &connections);
        let (monitor, _) = connect(&clients, &connections);
        assert!(clients.monitors.enter(&monitor));
        let (subscriber, _) = connect(&clients, &connections);
        subscriber.set_subscribed(true);
        busy.last_active.store(START + 1, Relaxed);
        connections.close_overdue(0, limits::OUTPUT_STALL_MS, &stats, START + 999_999);
        connections.close_overdue(2, limits::OUTPUT_STALL_MS, &stats, START + 2_000);
        assert!(!idle.is_killed());
        connections.close_overdue(2, limits::OUTPUT_STALL_MS, &stats, START + 2_001);
        assert!(idle.is_killed() && !busy.is_killed() && !monitor.is_killed() && !subscriber.is_killed());
        assert_eq!((stats.output_limit_closed.get(), stats.idle_closed.get()), (0, 1));
    }
}
