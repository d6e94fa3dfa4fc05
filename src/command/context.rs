//! The state of a connection as commands see it, and change it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::connection::tracking::Tracking;
use super::room::ReplyRoom;
use super::steps::Work;
use super::transaction::{Transaction, Watching};
use crate::acl::{Access, DEFAULT, User};
use crate::clients::{Client, Labels};

/// What commands know and change of the connection they run for.
pub struct ConnectionState {
    /// What of it others may see, too: the database, the version of RESP, whether its reads count as uses.
    pub client: Arc<Client>,
    /// What its replies may hold.
    pub room: ReplyRoom,
    pub authenticated: bool,
    /// What its user may do.
    pub access: Access,
    /// What is queued since MULTI.
    pub transaction: Option<Box<Transaction>>,
    pub watching: Watching,
    /// What is left of the command that runs.
    pub unfinished: Option<Work>,
    /// Of the client's names.
    pub labels_bytes: usize,
    /// CLIENT TRACKING is on.
    pub tracking: Option<Box<Tracking>>,
    pub replies: ReplyMode,
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
    /// Changes what the client is called.
    pub fn relabel(&mut self, change: impl FnOnce(&mut Labels)) {
        let mut labels = self.client.labels();
        change(&mut labels);
        self.labels_bytes = labels.len();
    }

    /// From now on it is this user's.
    pub fn log_in(&mut self, user: Arc<User>) {
        self.authenticated = true;
        self.relabel(|labels| labels.user = if user.name == DEFAULT { String::new() } else { user.name.clone() });
        self.access = Access::of(user);
    }

    /// It is the default user's, as at its beginning.
    pub fn log_out(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
        self.relabel(|labels| labels.user = String::new());
        self.access = Access::default();
    }

    /// A connection that has asked for nothing yet.
    pub fn new(client: Arc<Client>, authenticated: bool) -> ConnectionState {
        ConnectionState {
            room: ReplyRoom::new(client.clone()),
            client,
            authenticated,
            access: Access::default(),
            transaction: None,
            watching: Watching::default(),
            unfinished: None,
            labels_bytes: 0,
            tracking: None,
            replies: ReplyMode::All,
            closing: false,
        }
    }

    /// The selected database.
    #[inline]
    pub fn db(&self) -> u8 {
        self.client.database.load(Relaxed)
    }

    pub fn select(&self, database: u8) {
        self.client.database.store(database, Relaxed);
    }

    /// What it reads does not count as used.
    #[inline]
    pub fn no_touch(&self) -> bool {
        self.client.no_touch.load(Relaxed)
    }
}
