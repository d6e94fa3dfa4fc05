//! The memory that all connections together may hold: for requests in arrival, replies in waiting, messages from other
//! connections, and scripts. It must not know what it is held for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Client, Clients};
use crate::base::allocator;
use crate::config::limits;

#[derive(Debug)]
pub struct ClientMemory {
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl ClientMemory {
    pub fn new(limit_bytes: usize) -> ClientMemory {
        ClientMemory { used: AtomicUsize::new(0), limit: AtomicUsize::new(limit_bytes) }
    }

    pub fn used_bytes(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub fn limit_bytes(&self) -> usize {
        self.limit.load(Relaxed)
    }

    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Relaxed);
    }

    /// What everything that goes out may hold: it leaves something to the requests of others.
    pub(super) fn output_limit_bytes(&self) -> usize {
        let limit = self.limit_bytes();
        limit - limit / limits::CLIENT_MEMORY_FOR_REQUESTS
    }

    /// Charges up to `wanted` bytes, as many as leave half of the memory free, but at least `least`; `None` if there are not
    /// even so many.
    pub fn take(&self, wanted: usize, least: usize) -> Option<usize> {
        let (half, limit) = (self.limit_bytes() / 2, self.output_limit_bytes());
        let mut granted = 0;
        let taken = self.used.fetch_update(Relaxed, Relaxed, |used| {
            granted = wanted.min(half.saturating_sub(used).max(least));
            (granted == 0 || used + granted <= limit).then_some(used + granted)
        });
        taken.ok().map(|_| granted)
    }

    /// Charges more, or gives back what was charged.
    pub fn change(&self, bytes: isize) {
        self.used.fetch_add(bytes as usize, Relaxed);
    }

    /// Changes a part that is charged to what is needed, rounded up to the step, and returns the new one; `None`, and
    /// no change, when all of the memory is taken or the kernel refuses more. To give back is never refused.
    pub(super) fn adjust(&self, charged: usize, needed: usize, limit: usize) -> Option<usize> {
        let wanted = needed.next_multiple_of(limits::CLIENT_MEMORY_STEP_BYTES);
        if wanted < charged {
            self.used.fetch_sub(charged - wanted, Relaxed);
        } else if wanted > charged {
            let more = wanted - charged;
            if allocator::is_short() {
                return None;
            }
            if self.used.fetch_add(more, Relaxed) + more > limit {
                self.used.fetch_sub(more, Relaxed);
                return None;
            }
        }
        Some(wanted)
    }
}

/// One connection's part of the client memory. `resize` to nothing gives it back.
#[derive(Debug)]
pub struct MemoryQuota {
    client: Arc<Client>,
    charged: usize,
}

impl MemoryQuota {
    pub fn new(client: Arc<Client>) -> MemoryQuota {
        MemoryQuota { client, charged: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.charged
    }

    /// Adjusts the part to what requests in arrival need, rounded up to the step; false, and no change, when all of the
    /// memory is taken.
    pub fn resize(&mut self, clients: &Clients, needed: usize) -> bool {
        self.adjust(&clients.memory, needed, clients.memory.limit_bytes())
    }

    /// The same for requests and replies together, which must leave something to requests of others.
    pub fn resize_with_replies(&mut self, clients: &Clients, needed: usize) -> bool {
        self.adjust(&clients.memory, needed, clients.memory.output_limit_bytes())
    }

    /// Adds what replies need in the middle of a turn.
    pub fn extend_with_replies(&mut self, clients: &Clients, more: usize) -> bool {
        self.resize_with_replies(clients, self.charged + more)
    }

    fn adjust(&mut self, memory: &ClientMemory, needed: usize, limit: usize) -> bool {
        let Some(charged) = memory.adjust(self.charged, needed, limit) else { return false };
        if charged != self.charged {
            self.charged = charged;
            self.client.held_bytes.store(charged, Relaxed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::enter;
    use super::*;

    #[test]
    fn as_much_is_taken_as_there_is() {
        let step = limits::CLIENT_MEMORY_STEP_BYTES;
        let memory = ClientMemory::new(8 * step);
        let limit = memory.output_limit_bytes();
        assert_eq!(memory.take(step, step), Some(step));
        assert_eq!(memory.take(20 * step, step), Some(3 * step));
        assert_eq!(memory.take(20 * step, limit - 4 * step), Some(limit - 4 * step));
        assert_eq!((memory.take(1, 1), memory.take(0, 1)), (None, Some(0)));
        memory.change(-(limit as isize));
        assert_eq!(memory.used_bytes(), 0);
    }

    #[test]
    fn client_memory_is_refused_at_its_limit_and_given_back() {
        let step = limits::CLIENT_MEMORY_STEP_BYTES;
        let clients = Clients::new(1, 10, 3 * step);
        let client = enter(&clients);
        let (mut one, mut two) = (MemoryQuota::new(client.clone()), MemoryQuota::new(client));
        assert!(one.resize(&clients, 2 * step));
        assert!(two.resize(&clients, 1));
        assert!(!two.resize(&clients, step + 1));
        assert!(one.resize(&clients, 0));
        assert!(two.resize(&clients, step + 1));
        assert_eq!(clients.memory.used_bytes(), 2 * step);
    }
}
