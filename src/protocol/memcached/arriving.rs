//! A large value on its way to where it will lie. It must not know what it is for.

use crate::base::extents::{Blob, Extents, Filling, Refused};

pub struct Arriving {
    filling: Filling,
    length: usize,
    /// How much of the line end behind it has come, and whether that is one.
    behind: usize,
    is_whole: bool,
}

const END: &[u8] = b"\r\n";

impl Arriving {
    pub fn new(length: usize, extents: &Extents) -> Arriving {
        Arriving { filling: extents.fill(), length, behind: 0, is_whole: true }
    }

    pub fn held_bytes(&self) -> usize {
        self.filling.len()
    }

    /// Bytes of the value that are still to come.
    pub fn missing_bytes(&self) -> usize {
        self.length - self.filling.len()
    }

    /// Bytes of the value and its end that are still to come.
    pub fn left_bytes(&self) -> usize {
        self.missing_bytes() + END.len() - self.behind
    }

    /// Where up to `bytes` of them, those that come next, will lie; what has come there counts with `placed`.
    pub fn place(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let bytes = bytes.min(self.missing_bytes());
        if bytes == 0 { None } else { self.filling.space(bytes, self.length).ok() }
    }

    pub fn placed(&mut self, bytes: usize) {
        self.filling.filled(bytes);
    }

    /// Takes what belongs to it from the front of `input`: how much that was. `Err` when there is no memory for it.
    pub fn take(&mut self, input: &[u8]) -> Result<usize, Refused> {
        let data = input.len().min(self.missing_bytes());
        if data > 0 {
            self.filling.push(&input[..data], self.length)?;
        }
        let mut taken = data;
        while self.missing_bytes() == 0 && self.behind < END.len() && taken < input.len() {
            self.is_whole &= input[taken] == END[self.behind];
            self.behind += 1;
            taken += 1;
        }
        Ok(taken)
    }

    pub fn has_come(&self) -> bool {
        self.left_bytes() == 0
    }

    /// The value; none when what follows it is no end of a line.
    pub fn finish(self) -> Option<Blob> {
        self.is_whole.then(|| self.filling.finish())
    }
}
