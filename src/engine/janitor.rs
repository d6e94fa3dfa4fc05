//! Looks after one core's connections twice a second: the idle and the stalled are closed, armed buffers of silent
//! ones are called back. It must not know how an engine waits or cancels.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::clients::Client;
use crate::clock::UnixMillis;
use crate::limits;
use crate::shared::Shared;
use crate::stats::CoreStats;

/// What a connection's task shows of itself.
#[derive(Debug, Default)]
pub struct Watch {
    /// It waits for input with a buffer of its own.
    pub armed: Cell<bool>,
    /// Since when the peer has taken nothing of what is being sent; 0 when nothing is.
    pub sending_since: Cell<UnixMillis>,
}

/// One core's connections, as its janitor sees them.
#[derive(Default)]
pub struct Roster(RefCell<HashMap<u64, Entry>>);

type Entry = (Arc<Client>, Rc<Watch>);

impl Roster {
    pub fn enter(&self, client: &Arc<Client>) -> Rc<Watch> {
        let watch = Rc::new(Watch::default());
        self.0.borrow_mut().insert(client.id, (client.clone(), watch.clone()));
        watch
    }

    pub fn leave(&self, client: &Client) {
        self.0.borrow_mut().remove(&client.id);
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// For every connection, whatever it is doing.
    pub fn for_each(&self, mut act: impl FnMut(&Arc<Client>, &Watch)) {
        self.0.borrow().values().for_each(|(client, watch)| act(client, watch));
    }

    /// Closes connections that are idle beyond `timeout` (those that only listen excepted) or that take none of their replies.
    pub fn close_overdue(&self, shared: &Shared, stats: &CoreStats, now: UnixMillis) {
        let timeout_ms = shared.settings.timeout_s.load(Relaxed) as u64 * 1000;
        self.for_each(|client, watch| {
            let stalled = watch.sending_since.get();
            if stalled != 0 && now.saturating_sub(stalled) > limits::OUTPUT_STALL_MS {
                stats.output_stall_closed.add(1);
                tracing::info!(client = client.id, "closed: it has taken none of its replies for too long");
                client.kill();
            } else if timeout_ms != 0
                && !client.is_monitor()
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
