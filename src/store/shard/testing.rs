//! What the shard's unit tests share: numbered keys, and random numbers from a seed.

use super::{Expiry, Key, NewValue, SetError, Shard};

pub const NOW: u64 = 1_700_000_000_000;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

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
