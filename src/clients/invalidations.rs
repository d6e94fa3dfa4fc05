//! What a client that caches is to forget: few keys are told one by one, many in one message, and too many become
//! everything. It must not know why.

use bytes::Bytes;

use crate::message::reply::{Reply, RespVersion};

/// The channel of those who are told in RESP2.
pub const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Keys that wait to be told in one message.
#[derive(Debug, Default)]
pub struct Invalidations {
    keys: Vec<Box<[u8]>>,
    bytes: usize,
    everything: bool,
    /// The connection to which they should have gone instead is gone.
    lost: Option<u64>,
    /// In which all is told.
    pub version: RespVersion,
}

impl Invalidations {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.everything && self.lost.is_none()
    }

    /// It is told to forget everything: no key need be added.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn add(&mut self, key: &[u8]) {
        self.bytes += held_bytes(key);
        self.keys.push(key.into());
    }

    pub fn add_everything(&mut self) {
        *self = Invalidations { keys: Vec::new(), bytes: 0, everything: true, ..*self };
    }

    /// What is redirected to the connection of this number reaches nobody. RESP2 has no word for it.
    pub fn add_lost(&mut self, id: u64) {
        (self.lost, self.version) = (Some(id), RespVersion::Resp3);
    }

    /// All of it: one message about keys, after the one about a connection that is gone.
    pub fn take(&mut self) -> Bytes {
        let Invalidations { keys, everything, lost, version, .. } = std::mem::take(self);
        let mut message = Reply::new(version);
        if let Some(id) = lost {
            message.push("tracking-redir-broken", 2);
            message.integer(id as i64);
        }
        if everything {
            begin(&mut message);
            message.null();
        } else if !keys.is_empty() {
            begin(&mut message);
            message.array(keys.len());
            keys.iter().for_each(|key| message.bulk(key));
        }
        message.into_bytes()
    }
}

/// A push of RESP3, or the message that RESP2 has for it.
fn begin(message: &mut Reply) {
    match message.version {
        RespVersion::Resp3 => message.push("invalidate", 2),
        RespVersion::Resp2 => {
            message.push("message", 3);
            message.bulk(CHANNEL);
        }
    }
}

/// The message for one key.
pub fn of_one(key: &[u8], version: RespVersion) -> Bytes {
    let mut message = Reply::new(version);
    begin(&mut message);
    message.array(1);
    message.bulk(key);
    message.into_bytes()
}

/// Whether a message is one of these, as RESP2 has them.
pub fn is_in_resp2(message: &[u8]) -> bool {
    message.starts_with(b"*3\r\n$7\r\nmessage\r\n")
}

/// What a key takes while it waits, and more than it takes in the message.
pub fn held_bytes(key: &[u8]) -> usize {
    key.len() + size_of::<Box<[u8]>>() + 32
}
