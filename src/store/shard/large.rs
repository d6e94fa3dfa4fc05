//! Items that are too large for a cell: the key in an allocation of its own, the value in an extent, under a number that the
//! cell keeps. It must not know when they come and go.

use super::NewValue;
use crate::base::extents::{Blob, Extents};

/// Records to a chunk: growing never copies more than a list of chunks.
const CHUNK_RECORDS: usize = 256;
pub struct Large {
    pub key: Box<[u8]>,
    /// Linked: its memory is charged to the shard.
    pub value: Blob,
}

impl Large {
    /// None when the process may have no more memory.
    pub fn new(key: &[u8], value: NewValue, extents: &Extents) -> Option<Large> {
        let value = match value {
            NewValue::Shared(blob) => blob,
            NewValue::Copied(bytes) => extents.copy(bytes).ok()?,
        };
        let mut copy = Vec::new();
        copy.try_reserve_exact(key.len()).ok()?;
        copy.extend_from_slice(key);
        value.link();
        Some(Large { key: copy.into(), value })
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.value.unlink();
    }
}

#[derive(Default)]
pub struct LargeItems {
    chunks: Vec<Box<[Option<Large>]>>,
    /// Numbers that are free again.
    free: Vec<u32>,
    used: u32,
    payload_bytes: u64,
    /// Of the records, and of the list of free numbers.
    table_bytes: u64,
}

impl LargeItems {
    /// What the record of one takes.
    pub const RECORD_BYTES: u64 = size_of::<Option<Large>>() as u64;

    /// What a large item of these lengths holds of memory.
    pub fn cost(key_len: usize, value_len: usize) -> u64 {
        (key_len as u64).next_multiple_of(16) + Extents::cost(value_len)
    }

    pub fn bytes(&self) -> u64 {
        self.payload_bytes + self.table_bytes
    }

    pub fn get(&self, id: u32) -> &Large {
        let record = &self.chunks[id as usize / CHUNK_RECORDS][id as usize % CHUNK_RECORDS];
        record.as_ref().expect("a large item is there as long as its cell")
    }

    /// A value to be changed where it lies, with at least `least` bytes; none while somebody reads it, or when there is no
    /// memory for what is added.
    pub fn edit(&mut self, id: u32, least: usize) -> Option<&mut [u8]> {
        let record = self.chunks[id as usize / CHUNK_RECORDS][id as usize % CHUNK_RECORDS].as_mut();
        let large = record.expect("a large item is there as long as its cell");
        let before = Self::cost(large.key.len(), large.value.len());
        let value = large.value.edit(least)?;
        self.payload_bytes += Self::cost(large.key.len(), value.len()) - before;
        Some(value)
    }

    pub fn insert(&mut self, large: Large) -> u32 {
        self.payload_bytes += Self::cost(large.key.len(), large.value.len());
        let id = self.free.pop().unwrap_or_else(|| {
            if self.used as usize == self.chunks.len() * CHUNK_RECORDS {
                self.chunks.push((0..CHUNK_RECORDS).map(|_| None).collect());
                self.table_bytes += (CHUNK_RECORDS * size_of::<Option<Large>>()) as u64;
            }
            self.used += 1;
            self.used - 1
        });
        self.chunks[id as usize / CHUNK_RECORDS][id as usize % CHUNK_RECORDS] = Some(large);
        id
    }

    pub fn remove(&mut self, id: u32) -> Large {
        let record = self.chunks[id as usize / CHUNK_RECORDS][id as usize % CHUNK_RECORDS].take();
        let large = record.expect("a large item is there as long as its cell");
        self.payload_bytes -= Self::cost(large.key.len(), large.value.len());
        let before = self.free.capacity();
        self.free.push(id);
        self.table_bytes += ((self.free.capacity() - before) * size_of::<u32>()) as u64;
        large
    }

    /// Removes some record; none when nothing is left. For taking the whole apart step by step.
    pub fn pop(&mut self) -> Option<Large> {
        while self.used > 0 {
            self.used -= 1;
            let record = &mut self.chunks[self.used as usize / CHUNK_RECORDS][self.used as usize % CHUNK_RECORDS];
            if let Some(large) = record.take() {
                self.payload_bytes -= Self::cost(large.key.len(), large.value.len());
                return Some(large);
            }
        }
        None
    }
}
