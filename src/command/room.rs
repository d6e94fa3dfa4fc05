//! What the replies of a connection may hold. Who writes, or may reply with much, asks for room before (`Call::room`): a
//! command that finds none has changed nothing, and runs again when there is some. A small reply of a read is made first,
//! and taken back by the session if it finds no room.

use std::sync::Arc;

use super::Call;
use crate::clients::{Client, Clients, Granted, MemoryQuota};
use crate::config::limits;
use crate::message::error::{self, Stop};

/// A connection's part of the client memory, and what of it is for replies.
pub struct ReplyRoom {
    quota: MemoryQuota,
    /// Replies that the driver still has to send, from before this turn.
    queued: usize,
    /// Replies, queued and new, that there is room for.
    room: usize,
    /// Within a transaction nothing can wait.
    pub may_wait: bool,
}

impl ReplyRoom {
    pub fn new(client: Arc<Client>) -> ReplyRoom {
        ReplyRoom { quota: MemoryQuota::new(client), queued: 0, room: limits::FREE_REPLY_BYTES, may_wait: true }
    }

    /// A turn begins with `queued` bytes of replies in waiting and `held` bytes of requests. True while it has to wait in
    /// line for room.
    pub fn begin(&mut self, clients: &Clients, queued: usize, held: usize) -> bool {
        let waits = self.quota.is_waiting(clients);
        self.queued = queued;
        // What others have pushed waits already, whether there was room for it or not.
        self.room = (self.quota.bytes().saturating_sub(held) + limits::FREE_REPLY_BYTES).max(queued);
        waits
    }

    /// Replies in waiting, when `new` bytes of them were made in this turn.
    pub fn waiting_bytes(&self, new: usize) -> usize {
        self.queued + new
    }

    /// The new replies have their room already.
    #[inline]
    pub fn covers(&self, new: usize) -> bool {
        self.queued + new <= self.room
    }

    /// How many bytes of the new replies have no room.
    fn missing(&self, new: usize) -> usize {
        (self.queued + new).saturating_sub(self.room)
    }

    /// Finds room for the new replies; false, and no change, when there is none.
    pub fn cover(&mut self, clients: &Clients, new: usize) -> bool {
        self.cover_by(clients, new, !self.may_wait)
    }

    /// The same for a reply to what is done and cannot wait: what is lent is used all the same.
    pub fn cover_at_once(&mut self, clients: &Clients, new: usize) -> bool {
        self.cover_by(clients, new, true)
    }

    fn cover_by(&mut self, clients: &Clients, new: usize, at_once: bool) -> bool {
        if self.covers(new) {
            return true;
        }
        let (missing, before) = (self.missing(new), self.quota.bytes());
        // A turn that has more than a little has more still, as a rule.
        let has_backlog = self.queued > 0;
        let mut extend = |bytes| self.quota.extend(clients, bytes, has_backlog, at_once);
        let found = missing < limits::IO_BUFFER_BYTES && extend(limits::IO_BUFFER_BYTES) || extend(missing);
        self.room += self.quota.bytes() - before;
        found
    }

    /// The same for a request that holds so many bytes, and takes a place in line when there is none.
    pub fn cover_or_wait(&mut self, clients: &Clients, new: usize, held: usize) -> Granted {
        if self.cover(clients, new) {
            return Granted::Now;
        }
        self.quota.extend_or_wait(clients, self.missing(new), self.queued > 0, held)
    }

    /// The turn is over, with `held` bytes of requests and `new` bytes of replies. False when there is no room for the
    /// requests.
    pub fn settle(&mut self, clients: &Clients, held: usize, new: usize) -> bool {
        // Who waits in line keeps what was granted for the reply that is made again, but not what requests held that are
        // done: it would wait for itself.
        let replies = if self.quota.is_in_line() { self.room.max(self.queued + new) } else { self.queued + new };
        let needed = held + charged_for(replies);
        // What is charged covers replies that wait, if there was no room for all of them.
        self.is_about(needed)
            || self.quota.resize(clients, needed)
            || self.quota.resize(clients, held.max(self.quota.bytes()))
            || self.quota.resize_in_place_of_another(clients, held)
    }

    /// It waits for room.
    pub fn is_in_line(&self) -> bool {
        self.quota.is_in_line()
    }

    /// Requests in arrival are about to come to `held` bytes: false, and no change, when there is no room for them.
    pub fn hold(&mut self, clients: &Clients, held: usize) -> bool {
        self.quota.bytes() >= held || self.quota.resize(clients, held)
    }

    /// Replies have left: `queued` bytes still wait, and `held` bytes of requests.
    pub fn sent(&mut self, clients: &Clients, held: usize, queued: usize) {
        let needed = held + charged_for(queued);
        // Nobody keeps what is over while others wait, least of all who waits itself.
        if !self.is_about(needed) || clients.memory.is_waited_for() {
            // What others have pushed may be more than there is room for: it waits all the same.
            self.quota.resize_with_replies(clients, needed);
        }
    }

    /// What is charged is what is needed, or so little more that it is not worth to give it back.
    fn is_about(&self, needed: usize) -> bool {
        let charged = self.quota.bytes();
        needed > 0 && charged >= needed && charged - needed < limits::CLIENT_MEMORY_STEP_BYTES
    }

    /// The connection is over.
    pub fn end(&mut self, clients: &Clients) {
        self.quota.end(clients);
    }
}

/// A little is free.
fn charged_for(replies: usize) -> usize {
    replies.saturating_sub(limits::FREE_REPLY_BYTES)
}

impl Call<'_, '_> {
    /// Asks for the room of a reply of about so many bytes, before any of it is made and before anything is changed. In a
    /// transaction, which cannot wait, want of room is an error.
    #[inline]
    pub fn room(&mut self, bytes: usize) -> Result<(), Stop> {
        if self.state.room.covers(self.reply.len() + bytes) { Ok(()) } else { self.find_room(bytes) }
    }

    /// Finds room for so many bytes of a reply that is being made; false when there is none.
    pub fn has_room(&mut self, bytes: usize) -> bool {
        self.is_within_script() || self.state.room.cover(&self.shared.clients, self.reply.len() + bytes)
    }

    #[cold]
    fn find_room(&mut self, bytes: usize) -> Result<(), Stop> {
        if self.room_to_work(bytes)? {
            return Ok(());
        }
        if !self.state.room.may_wait {
            return Err(error::NO_ROOM.into());
        }
        let most = self.shared.clients.memory.most_bytes();
        Err(format!("ERR the reply has about {bytes} bytes and may have {most}; ask for less at a time").into())
    }

    /// Asks for room for so many bytes that a command holds, and takes a place in line where it may wait; false where there is
    /// none, or can never be so much. What is within a script goes into the interpreter, whose memory has its own bounds.
    pub fn room_to_work(&mut self, bytes: usize) -> Result<bool, Stop> {
        if self.is_within_script() || !self.state.room.may_wait {
            return Ok(self.has_room(bytes));
        }
        let new = self.reply.len() + bytes;
        let held = self.args.iter().map(<[u8]>::len).sum();
        match self.state.room.cover_or_wait(&self.shared.clients, new, held) {
            Granted::Now => Ok(true),
            Granted::Later => {
                self.stats.output_waits.add(1);
                Err(Stop::Full)
            }
            Granted::Never => Ok(false),
        }
    }
}
