//! Connections for tests: a client whose peer is not there.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Client, Clients, Peer};

/// A socket that nobody is at the other end of.
pub fn socket() -> OwnedFd {
    std::os::unix::net::UnixStream::pair().expect("two descriptors").0.into()
}

/// A connection of core 0.
pub fn enter(clients: &Clients) -> Arc<Client> {
    clients.place(0, |_| true).expect("fewer than maxclients");
    clients.enter(0, socket(), Peer::Unix, 0)
}
