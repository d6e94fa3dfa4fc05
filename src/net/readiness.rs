//! Watching a descriptor for readiness in tokio's event loop: the one place where tokio must take our word.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clients::Client;

/// Owns its descriptor and never changes or closes it before it is dropped.
pub trait Steady: AsRawFd {}

impl Steady for socket2::Socket {}
impl Steady for Arc<Client> {}
impl Steady for nix::sys::eventfd::EventFd {}

/// Registers a descriptor with the runtime's event loop.
pub fn watch<T: Steady>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor stays open and the same as long as the `AsyncFd` holds its owner: see `Steady`.
    Ok(unsafe { AsyncFd::register_with_interest(owner, interest) }?)
}
