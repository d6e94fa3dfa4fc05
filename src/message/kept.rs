//! Requests with bytes of their own, for a time when the input they came in is gone. It must not know what they ask.

use std::collections::TryReserveError;

use bytes::Bytes;

use super::request::{Args, Arguments};
use crate::base::extents::Blob;
use crate::config::limits;

#[derive(Default)]
pub struct Kept {
    bytes: Vec<u8>,
    args: Args,
    /// Where each request's arguments end.
    ends: Vec<usize>,
}

impl Kept {
    /// Copies a request; of streamed arguments it keeps the handles. An error, and no change, when the process may have no
    /// more memory.
    pub fn push(&mut self, request: Arguments) -> Result<(), TryReserveError> {
        let copied = (0..request.len()).filter(|&index| request.aside(index).is_none());
        self.bytes.try_reserve(copied.map(|index| request.get(index).len()).sum())?;
        self.args.reserve(request.len())?;
        for index in 0..request.len() {
            match request.aside(index) {
                Some(bytes) if bytes.len() >= limits::STREAMED_ARGUMENT_MIN_BYTES => {
                    self.args.push_aside(bytes.clone())
                }
                _ => self.push_argument(request.get(index)),
            }
        }
        self.ends.push(self.args.len());
        Ok(())
    }

    /// Copies one argument of a request that is put together here; `end` follows its last one.
    pub fn push_argument(&mut self, argument: &[u8]) {
        if argument.len() >= limits::STREAMED_ARGUMENT_MIN_BYTES {
            return self.args.push_word(Bytes::copy_from_slice(argument));
        }
        self.args.push(self.bytes.len(), argument.len()).expect("few arguments, or their room is there");
        self.bytes.extend_from_slice(argument);
    }

    /// The same from a handle: a large one is not copied.
    pub fn push_bytes(&mut self, argument: Bytes) {
        if argument.len() >= limits::STREAMED_ARGUMENT_MIN_BYTES {
            self.args.push_word(argument);
        } else {
            self.push_argument(&argument);
        }
    }

    /// An argument that was streamed to its place.
    pub fn push_value(&mut self, value: Blob) {
        self.args.push_value(value);
    }

    pub fn end(&mut self) {
        self.ends.push(self.args.len());
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.args.clear();
        self.ends.clear();
    }

    /// How many requests.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    pub fn get(&self, index: usize) -> Arguments<'_> {
        let from = if index == 0 { 0 } else { self.ends[index - 1] };
        self.args.view(&self.bytes, from, self.ends[index])
    }

    /// Memory held.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.args.aside_bytes()
            + self.args.capacity_bytes()
            + self.ends.capacity() * size_of::<usize>()
    }
}
