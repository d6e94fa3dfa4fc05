//! The connections as the commands see them: who is there, what they are called, how to end one, how to tell one
//! something, and the memory they may hold together. It must not know how bytes reach them.

mod encryption;
mod inbox;
mod invalidations;
mod listing;
mod loans;
mod memory;
mod monitors;
mod pause;
mod relief;
#[cfg(test)]
pub mod testing;
mod tracking;

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Waker;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use crate::base::clock::UnixMillis;
use crate::message::reply::RespVersion;
pub use encryption::Encryption;
use inbox::Inbox;
pub use invalidations::CHANNEL as INVALIDATIONS;
pub use memory::{ClientMemory, Granted, MemoryQuota};
pub use monitors::Monitors;
pub use pause::{Pause, Paused};
use tracking::Tracking;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp { peer: SocketAddr, local: SocketAddr },
    Unix,
}

/// One connection. It owns the socket, so that the descriptor cannot be reused while anybody may still shut it down.
#[derive(Debug)]
pub struct Client {
    pub id: u64,
    pub core: usize,
    pub created: UnixMillis,
    socket: OwnedFd,
    pub peer: Peer,
    pub last_active: AtomicU64,
    /// The selected one.
    pub database: AtomicU8,
    /// The last command's place in the table, plus one.
    pub last_command: AtomicU16,
    /// Of RESP: 2 or 3.
    version: AtomicU8,
    killed: AtomicBool,
    /// It was ended because its inbox had no room.
    overflowed: AtomicBool,
    /// It is told of every command.
    monitoring: AtomicBool,
    /// It hears what clients that cache redirect to it: Redis's one channel for that.
    subscribed: AtomicBool,
    tracking: Tracking,
    /// Its next command waits for the end of a pause.
    pub paused: AtomicBool,
    /// Requests that wait for EXEC, plus one; 0 outside of a transaction.
    pub queued: AtomicUsize,
    /// Keys that it watches.
    pub watched: AtomicUsize,
    /// What CLIENT NO-EVICT and NO-TOUCH said.
    pub no_evict: AtomicBool,
    pub no_touch: AtomicBool,
    /// CLIENT CAPA has said that it follows redirections.
    pub redirects: AtomicBool,
    /// Bytes held for requests that arrive and replies that wait.
    pub held_bytes: AtomicUsize,
    /// It waits for room for a reply, and what it was granted then.
    in_line: AtomicBool,
    granted_bytes: AtomicUsize,
    /// Bytes of requests that have come and are not run yet, after the last turn.
    pub arrived_bytes: AtomicUsize,
    /// Bytes of replies that are not sent yet, after the last turn.
    pub waiting_bytes: AtomicUsize,
    /// What has come from it, what was made for it, and how many requests it has asked.
    pub input_bytes: Tally,
    pub output_bytes: Tally,
    pub commands: Tally,
    /// What is queued for EXEC.
    pub queued_bytes: AtomicUsize,
    /// Kept for what arrives, beyond what has.
    pub spare_bytes: AtomicUsize,
    /// An `Encryption`, and what it holds beside requests and replies.
    pub encryption: AtomicU8,
    pub encryption_bytes: AtomicUsize,
    inbox: Inbox,
    memory: Arc<ClientMemory>,
    labels: Mutex<Labels>,
}

/// A count that the client's own core writes alone, and all may read.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Labels {
    pub name: String,
    pub lib_name: String,
    pub lib_ver: String,
    /// Empty for the default user.
    pub user: String,
}

impl Labels {
    /// Bytes of text.
    pub fn len(&self) -> usize {
        self.name.len() + self.lib_name.len() + self.lib_ver.len() + self.user.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn user(&self) -> &str {
        if self.user.is_empty() { "default" } else { &self.user }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Client {
    /// Ends the connection from any core: its engine sees the end of the input and cleans up.
    pub fn kill(&self) {
        self.killed.store(true, Relaxed);
        self.shutdown(Shutdown::Both);
        self.inbox.close(&self.memory);
    }

    /// True once somebody has ended it: nothing more is run for it.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }

    /// Sends the peer one whole message, encoded as its protocol wants it, from any core: after the replies of the turn
    /// that is running and after what was pushed before. A connection whose messages are not taken is ended.
    pub fn push(&self, message: Bytes) {
        if self.inbox.push(message, &self.memory).is_err() {
            self.overflowed.store(true, Relaxed);
            self.kill();
        }
    }

    /// Wakes the connection without a message, from any core: a paused one looks whether it may go on.
    pub fn wake(&self) {
        self.inbox.wake();
    }

    /// For the connection's own task: who is to be woken.
    pub fn attend(&self, waker: &Waker) {
        self.inbox.attend(waker);
    }

    /// For the connection's own task: `take_pushed` has something to say.
    pub fn is_called(&self) -> bool {
        self.inbox.is_called()
    }

    /// For the connection's own task: messages for about `room` bytes; empty when it was only woken.
    pub fn take_pushed(&self, room: usize) -> Bytes {
        self.inbox.take(room, &self.memory)
    }

    /// Drops what waits to be told, in RESP2, of what clients that cache have redirected to it.
    pub fn forget_invalidations(&self) {
        self.inbox.forget_invalidations(&self.memory);
    }

    /// It was ended because it did not take what was pushed.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed.load(Relaxed)
    }

    pub fn is_monitor(&self) -> bool {
        self.monitoring.load(Relaxed)
    }

    /// Lets nothing more in; what the kernel has received already can still be read.
    pub fn stop_receiving(&self) {
        self.shutdown(Shutdown::Read);
    }

    fn shutdown(&self, how: Shutdown) {
        // It fails only when the peer is gone already.
        let _ = socket2::SockRef::from(&self.socket).shutdown(how);
    }

    pub fn labels(&self) -> MutexGuard<'_, Labels> {
        self.labels.lock()
    }

    pub fn set_version(&self, version: RespVersion) {
        self.version.store(if version == RespVersion::Resp3 { 3 } else { 2 }, Relaxed);
    }

    pub fn version(&self) -> RespVersion {
        if self.version.load(Relaxed) == 3 { RespVersion::Resp3 } else { RespVersion::Resp2 }
    }

    pub fn set_subscribed(&self, subscribed: bool) {
        self.subscribed.store(subscribed, Relaxed);
    }

    pub fn is_subscribed(&self) -> bool {
        self.subscribed.load(Relaxed)
    }
}

type ById = BTreeMap<u64, Arc<Client>>;

/// All connections, kept per core so that cores do not meet on one lock.
#[derive(Debug)]
pub struct Clients {
    cores: Box<[Mutex<ById>]>,
    /// Connections placed on each core, those on their way there included. Chosen and counted under one lock, so
    /// that the balance is exact.
    placed: Mutex<Vec<usize>>,
    next_id: AtomicU64,
    pub max: AtomicUsize,
    /// Closed because they held the most when others needed a little.
    pub evicted: AtomicU64,
    pub memory: Arc<ClientMemory>,
    pub monitors: Monitors,
    pub pause: Pause,
}

impl Clients {
    pub fn new(cores: usize, max: usize, memory_limit_bytes: usize) -> Clients {
        Clients {
            cores: (0..cores).map(|_| Mutex::default()).collect(),
            placed: Mutex::new(vec![0; cores]),
            next_id: AtomicU64::new(1),
            max: AtomicUsize::new(max),
            evicted: AtomicU64::new(0),
            memory: Arc::new(ClientMemory::new(memory_limit_bytes)),
            monitors: Monitors::default(),
            pause: Pause::default(),
        }
    }

    /// Chooses the core for a connection that `acceptor` has accepted: the least loaded of those that are free, itself
    /// among equals, and itself when none is free. `None` when `maxclients` is reached.
    pub fn place(&self, acceptor: usize, is_free: impl Fn(usize) -> bool) -> Option<usize> {
        let mut placed = self.placed.lock();
        if placed.iter().sum::<usize>() >= self.max.load(Relaxed) {
            return None;
        }
        let free = (0..placed.len()).filter(|core| is_free(*core));
        let core = free.min_by_key(|core| (placed[*core], *core != acceptor)).unwrap_or(acceptor);
        placed[core] += 1;
        Some(core)
    }

    /// Enters a connection that was placed on `core`.
    pub fn enter(&self, core: usize, socket: OwnedFd, peer: Peer, now: UnixMillis) -> Arc<Client> {
        let client = Arc::new(Client {
            id: self.next_id.fetch_add(1, Relaxed),
            core,
            created: now,
            socket,
            peer,
            last_active: AtomicU64::new(now),
            database: AtomicU8::new(0),
            last_command: AtomicU16::new(0),
            version: AtomicU8::new(2),
            killed: AtomicBool::new(false),
            overflowed: AtomicBool::new(false),
            monitoring: AtomicBool::new(false),
            subscribed: AtomicBool::new(false),
            tracking: Tracking::default(),
            paused: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            watched: AtomicUsize::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            redirects: AtomicBool::new(false),
            held_bytes: AtomicUsize::new(0),
            in_line: AtomicBool::new(false),
            granted_bytes: AtomicUsize::new(0),
            arrived_bytes: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            input_bytes: Tally::default(),
            output_bytes: Tally::default(),
            commands: Tally::default(),
            queued_bytes: AtomicUsize::new(0),
            spare_bytes: AtomicUsize::new(0),
            encryption: AtomicU8::new(Encryption::None as u8),
            encryption_bytes: AtomicUsize::new(0),
            inbox: Inbox::default(),
            memory: self.memory.clone(),
            labels: Mutex::default(),
        });
        self.on_core(core).insert(client.id, client.clone());
        client
    }

    /// Takes a connection off the books, and its place on its core.
    pub fn leave(&self, client: &Client) {
        self.monitors.leave(client);
        // In this order: whoever sees it gone can have its place.
        self.unplace(client.core);
        self.on_core(client.core).remove(&client.id);
    }

    /// Gives up a place that was never entered.
    pub fn unplace(&self, core: usize) {
        self.placed.lock()[core] -= 1;
    }

    pub fn len(&self) -> usize {
        self.placed.lock().iter().sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn count_of_core(&self, core: usize) -> usize {
        self.on_core(core).len()
    }

    /// How many wait for the end of a pause.
    pub fn paused(&self) -> usize {
        self.all().iter().filter(|client| client.paused.load(Relaxed)).count()
    }

    /// How many hear what others redirect to them.
    pub fn subscribed(&self) -> usize {
        self.all().iter().filter(|client| client.is_subscribed()).count()
    }

    /// One core's connections, oldest first.
    pub fn of_core(&self, core: usize) -> Vec<Arc<Client>> {
        self.on_core(core).values().cloned().collect()
    }

    /// Every connection, oldest first.
    pub fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = (0..self.cores.len()).flat_map(|core| self.of_core(core)).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// The one of this number, while it lives.
    pub fn find(&self, id: u64) -> Option<Arc<Client>> {
        let found = (0..self.cores.len()).find_map(|core| self.on_core(core).get(&id).cloned());
        found.filter(|client| !client.is_killed())
    }

    /// The connections with CLIENT TRACKING on.
    pub fn tracking(&self) -> Vec<Arc<Client>> {
        let of_core = |core| self.on_core(core).values().filter(|client| client.tracks()).cloned().collect::<Vec<_>>();
        (0..self.cores.len()).flat_map(of_core).collect()
    }

    fn on_core(&self, core: usize) -> MutexGuard<'_, ById> {
        self.cores[core].lock()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{enter, socket};
    use super::*;
    use crate::config::limits;

    #[test]
    fn connections_are_spread_evenly_whoever_accepts_them() {
        let clients = Clients::new(4, 100, 0);
        let mut counts = [0; 4];
        for n in 0..64 {
            counts[clients.place(if n % 3 == 0 { 1 } else { 2 }, |_| true).unwrap()] += 1;
        }
        assert_eq!(counts, [16; 4]);
    }

    #[test]
    fn maxclients_counts_connections_on_their_way() {
        let clients = Clients::new(2, 2, 0);
        let first = clients.place(0, |_| true).unwrap();
        assert!(clients.place(0, |_| true).is_some());
        assert_eq!(clients.place(1, |_| true), None);
        let client = clients.enter(first, socket(), Peer::Unix, 0);
        clients.leave(&client);
        assert!(clients.place(1, |_| true).is_some());
    }

    #[test]
    fn a_client_that_takes_nothing_is_ended() {
        let clients = Clients::new(1, 10, 64 << 20);
        let client = enter(&clients);
        let message = Bytes::from(vec![b'm'; 100_000]);
        for _ in 0..limits::INBOX_MAX_BYTES / message.len() + 1 {
            assert!(!client.is_killed());
            client.push(message.clone());
        }
        assert!(client.is_killed() && client.has_overflowed());
        assert_eq!(clients.memory.used_bytes(), 0);
    }

    #[test]
    fn monitors_hear_until_they_leave() {
        let clients = Clients::new(1, 10, 64 << 20);
        let (one, two) = (enter(&clients), enter(&clients));
        assert!(!clients.monitors.any());
        assert!(clients.monitors.enter(&one) && clients.monitors.enter(&two) && !clients.monitors.enter(&one));
        clients.monitors.tell(Bytes::from_static(b"first"));
        clients.leave(&one);
        clients.monitors.tell(Bytes::from_static(b" second"));
        assert_eq!((one.take_pushed(100), two.take_pushed(100)), ("first".into(), "first second".into()));
        assert!(clients.monitors.any());
        clients.monitors.leave(&two);
        assert!(!clients.monitors.any() && !two.is_monitor());
    }
}
