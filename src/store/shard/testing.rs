//! What the shard's unit tests share: numbered keys, and random numbers from a seed.

use super::{Expiry, Key, NewValue, SetError, Shard};
pub use crate::base::testing::Random;

pub const NOW: u64 = 1_700_000_000_000;

pub fn key(bytes: &[u8; 8]) -> Key<'_> {
    Key { bytes, hash: Random(u64::from_le_bytes(*bytes)).next(), db: 0 }
}

impl Shard {
    /// Sets the key with this number to `len` bytes.
    pub fn put(&mut self, number: u64, len: usize, expiry: Expiry) -> Result<(), SetError> {
        self.set(key(&number.to_le_bytes()), NewValue::Copied(&vec![number as u8; len]), expiry, NOW)
    }

    pub fn has(&self, number: u64) -> bool {
        self.peek(key(&number.to_le_bytes()), NOW).is_some()
    }
}
