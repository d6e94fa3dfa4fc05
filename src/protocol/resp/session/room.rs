//! What a session holds in the client memory.

use super::Session;
use crate::message::reply::Reply;
use crate::protocol::core::Core;
use crate::protocol::front::{Next, Session as _};

impl Session {
    /// Charges what the connection holds after a turn; false when there is no room for its requests.
    pub(super) fn settle_room(&mut self, core: &Core, reply: &Reply) -> bool {
        let (held, new) = (self.held_bytes(), reply.len() + self.unfinished_bytes());
        self.state.room.settle(&core.shared.clients, held, new)
    }

    pub(super) fn arrived_bytes(&self) -> usize {
        self.pending.len() + self.parser.stream_bytes() + self.args.aside_bytes()
    }

    /// What is held for a reply that is being made.
    pub(super) fn unfinished_bytes(&self) -> usize {
        self.state.unfinished.as_ref().map_or(0, |work| work.held_bytes())
    }

    /// What is held for the client: requests that are not run yet, what it watches and tracks, its names.
    pub(super) fn held_bytes(&self) -> usize {
        let transaction = self.state.transaction.as_ref().map_or(0, |transaction| transaction.held_bytes());
        let tracking = self.state.tracking.as_ref().map_or(0, |tracking| tracking.held_bytes());
        self.pending.capacity()
            + self.parser.stream_bytes()
            + self.args.aside_bytes()
            + self.args.capacity_bytes()
            + transaction
            + tracking
            + self.state.watching.held_bytes()
            + self.state.labels_bytes
    }

    pub(super) fn refuse(&mut self, core: &Core, reply: &mut Reply, text: &str) -> Next {
        core.stats().query_limit_closed.add(1);
        reply.error(text);
        self.end(core);
        Next::Close
    }
}
