//! What a client that caches is to forget: few keys are told one by one, many in one message, and too many become
//! everything. It must not know why.

use bytes::Bytes;

use crate::message::reply::{Reply, RespVersion};

/// Keys that wait to be told in one message.
#[derive(Debug, Default)]
pub struct Invalidations {
    keys: Vec<Box<[u8]>>,
    bytes: usize,
    everything: bool,
}

impl Invalidations {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.everything
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
        *self = Invalidations { everything: true, ..Invalidations::default() };
    }

    /// All of it as one message.
    pub fn take(&mut self) -> Bytes {
        let Invalidations { keys, everything, .. } = std::mem::take(self);
        let mut message = Reply::new(RespVersion::Resp3);
        message.push("invalidate", 2);
        if everything {
            message.null();
        } else {
            message.array(keys.len());
            keys.iter().for_each(|key| message.bulk(key));
        }
        message.into_bytes()
    }
}

/// The message for one key.
pub fn of_one(key: &[u8]) -> Bytes {
    let mut message = Reply::new(RespVersion::Resp3);
    message.push("invalidate", 2);
    message.array(1);
    message.bulk(key);
    message.into_bytes()
}

/// What a key takes while it waits, and more than it takes in the message.
pub fn held_bytes(key: &[u8]) -> usize {
    key.len() + size_of::<Box<[u8]>>() + 32
}
