//! Who is closed where others need room in the client memory and nobody gives any back.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{Client, Clients};
use crate::base::clock::UnixMillis;
use crate::config::limits;

impl Clients {
    /// Closes whoever holds the most memory for one that needs `needed` bytes, a little: of those who hold far more, and
    /// those who wait for room or leave their replies waiting. False, and nobody is closed, when that is not enough.
    /// CLIENT NO-EVICT protects from it.
    pub(super) fn make_room(&self, needed: usize) -> bool {
        let held = |client: &Arc<Client>| client.held_bytes.load(Relaxed);
        let is_blocked = |client: &Client| client.in_line.load(Relaxed) || client.waiting_bytes.load(Relaxed) > 0;
        let (killed, mut due): (Vec<_>, Vec<_>) = self.all().into_iter().partition(|client| client.is_killed());
        // What those hold who are closed already is about to come back.
        let mut found: usize = killed.iter().map(held).sum();
        if found >= needed {
            return true;
        }
        due.retain(|client| {
            !client.no_evict.load(Relaxed)
                && (held(client) >= 4 * limits::LITTLE_REQUEST_BYTES || is_blocked(client) && held(client) > 0)
        });
        // Who takes its replies, or is sending still, goes after others that hold an eighth of it.
        let weight = |client: &Arc<Client>| held(client) * if is_blocked(client) { 8 } else { 1 };
        due.sort_by_cached_key(|client| Reverse(weight(client)));
        let enough = due.iter().position(|client| {
            found += held(client);
            found >= needed
        });
        let Some(last) = enough else { return false };
        due[..=last].iter().for_each(|client| self.close(client));
        true
    }

    /// To be called every `period_ms`: where somebody has waited for room for too long, and most of it is held by those who
    /// wait themselves or have stopped amid a request, those who hold the most are closed until an eighth of it is free for
    /// replies.
    pub fn relieve(&self, period_ms: u64, now: UnixMillis) {
        // The kernel may have given memory again.
        self.memory.serve_line();
        if !self.memory.has_waited_too_long(period_ms) {
            return;
        }
        let held = |client: &Arc<Client>| client.held_bytes.load(Relaxed);
        let has_stopped = |client: &Client| {
            client.arrived_bytes.load(Relaxed) > 0
                && !client.no_evict.load(Relaxed)
                && now.saturating_sub(client.last_active.load(Relaxed)) > limits::REQUEST_STALL_MS
        };
        let mut due = self.all();
        due.retain(|client| !client.is_killed() && (client.in_line.load(Relaxed) || has_stopped(client)));
        if due.iter().map(held).sum::<usize>() < self.memory.used_bytes() / 2 {
            return;
        }
        due.sort_by_cached_key(|client| Reverse(held(client)));
        let memory = &self.memory;
        let mut left = (memory.used_bytes() + memory.limit_bytes() / 8).saturating_sub(memory.output_limit_bytes());
        for client in &due {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(held(client));
            self.close(client);
        }
    }

    fn close(&self, client: &Client) {
        let bytes = client.held_bytes.load(Relaxed);
        tracing::info!(client = client.id, bytes, "closed: it holds the most, and others need a little");
        self.evicted.fetch_add(1, Relaxed);
        client.kill();
    }
}
