//! The state of a connection as commands see it, and change it.

use std::sync::Arc;

use super::connection::tracking::Tracking;
use super::transaction::{Transaction, Watching};
use crate::clients::Client;
use crate::message::reply::Protocol;

/// What commands know and change of the connection they run for.
pub struct ConnectionState {
    pub client: Arc<Client>,
    /// The selected database.
    pub db: u8,
    pub authenticated: bool,
    pub protocol: Protocol,
    /// What is queued since MULTI.
    pub transaction: Option<Box<Transaction>>,
    pub watching: Watching,
    /// CLIENT TRACKING is on.
    pub tracking: Option<Box<Tracking>>,
    pub replies: ReplyMode,
    /// What it reads does not count as used.
    pub no_touch: bool,
    /// The last reply is being written.
    pub closing: bool,
}

/// Which replies a client wants: CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    All,
    None,
    /// The next one is left out.
    SkipNext,
    /// The one that is being written is left out.
    Skip,
}

impl ConnectionState {
    /// A connection that has asked for nothing yet.
    pub fn new(client: Arc<Client>, authenticated: bool) -> ConnectionState {
        ConnectionState {
            client,
            db: 0,
            authenticated,
            protocol: Protocol::Resp2,
            transaction: None,
            watching: Watching::default(),
            tracking: None,
            replies: ReplyMode::All,
            no_touch: false,
            closing: false,
        }
    }
}
