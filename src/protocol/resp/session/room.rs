//! What a session holds in the client memory, and where replies and requests find room there.

use std::sync::atomic::Ordering::Relaxed;

use super::{Run, Session};
use crate::clients::Granted;
use crate::command::{Flags, Found};
use crate::config::limits;
use crate::message::error;
use crate::message::output::Mark;
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

    /// Finds room for the replies, of which the last stands after `before`, or ends the turn. A read is taken back and runs
    /// again when there is room.
    #[cold]
    pub(super) fn find_room(
        &mut self,
        run: &mut Run,
        before: Mark,
        found: Option<Found>,
    ) -> Result<Option<Next>, Next> {
        // A turn may ask for far more than it has sent: each step of the replies must find its room.
        run.reply.cut();
        let (room, clients) = (&mut self.state.room, &run.shared.clients);
        let limit = run.shared.settings.output_limit_bytes.load(Relaxed);
        let is_too_much = room.waiting_bytes(run.reply.len()) > limit;
        if room.cover(clients, run.reply.len()) && !is_too_much {
            return Ok(None);
        }
        run.stats.output_waits.add(1);
        if is_too_much {
            return Ok(Some(Next::Drain));
        }
        let is_read = found.is_some_and(|(_, row)| row.flags.intersects(Flags::READONLY.union(Flags::TELLS)));
        if is_read {
            let granted = room.cover_or_wait(clients, run.reply.len());
            if granted != Granted::Now {
                run.reply.rewind(before);
                self.state.client.paused.store(true, Relaxed);
                return Err(Next::Pause);
            }
            return Ok(None);
        }
        if run.reply.since(before) > limits::UNASKED_REPLY_BYTES {
            run.reply.rewind(before);
            run.reply.error(error::REPLY_LEFT_OUT);
        }
        if room.cover_or_wait(clients, run.reply.len()) == Granted::Now {
            return Ok(None);
        }
        self.state.client.paused.store(true, Relaxed);
        Ok(Some(Next::Pause))
    }
}
