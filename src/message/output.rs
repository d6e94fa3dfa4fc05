//! The replies of one connection's turn as bytes: small ones written into one buffer, large values kept as handles
//! between. It must not know a protocol.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::config::limits;

/// Bytes on their way to a client, in order.
pub struct Output {
    pub(super) tail: Vec<u8>,
    /// What comes before `tail`, in order.
    parts: VecDeque<Bytes>,
    parts_bytes: usize,
}

/// A place between two replies.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    parts: usize,
    parts_bytes: usize,
    tail: usize,
}

impl Default for Output {
    fn default() -> Self {
        Output { tail: Vec::with_capacity(limits::REPLY_PIECE_BYTES), parts: VecDeque::new(), parts_bytes: 0 }
    }
}

impl Output {
    /// One that has no buffer yet: it stands where another has been taken from.
    pub fn unbuffered() -> Output {
        Output { tail: Vec::new(), parts: VecDeque::new(), parts_bytes: 0 }
    }

    /// Bytes written and not yet taken.
    pub fn len(&self) -> usize {
        self.parts_bytes + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything, if it lies in one piece; `clear` it after copying.
    pub fn as_contiguous(&self) -> Option<&[u8]> {
        self.parts.is_empty().then_some(&self.tail[..])
    }

    pub fn clear(&mut self) {
        self.parts.clear();
        self.parts_bytes = 0;
        self.tail.clear();
    }

    /// Moves everything out, in order; only the end of it may be copied.
    pub fn take(&mut self, into: &mut VecDeque<Bytes>) {
        self.seal();
        into.append(&mut self.parts);
        self.parts_bytes = 0;
    }

    /// Where the next reply will begin, for `rewind`.
    pub fn mark(&self) -> Mark {
        Mark { parts: self.parts.len(), parts_bytes: self.parts_bytes, tail: self.tail.len() }
    }

    /// Bytes written since the mark.
    pub fn since(&self, mark: Mark) -> usize {
        self.len() - mark.parts_bytes - mark.tail
    }

    /// Takes back everything since the mark. Nothing may have been taken out or cut meanwhile.
    pub fn rewind(&mut self, mark: Mark) {
        if let Some(sealed) = self.parts.get(mark.parts) {
            // What stood in the tail is the beginning of the first piece since.
            self.tail.clear();
            self.tail.extend_from_slice(&sealed[..mark.tail]);
        }
        self.parts.truncate(mark.parts);
        self.parts_bytes = mark.parts_bytes;
        self.tail.truncate(mark.tail);
    }

    /// A short line of RESP that was written since the mark, without its end.
    pub fn line_since(&self, mark: Mark) -> &[u8] {
        let written = &self.tail[self.tail.len() - self.since(mark)..];
        written.strip_suffix(b"\r\n").unwrap_or(written)
    }

    /// Moves in what was written elsewhere, for elements that are counted as they are found.
    pub fn append(&mut self, mut other: Output) {
        if other.parts.is_empty() && other.tail.len() < limits::REPLY_PIECE_BYTES {
            self.tail.extend_from_slice(&other.tail);
            return;
        }
        self.seal();
        other.seal();
        self.parts_bytes += other.parts_bytes;
        self.parts.append(&mut other.parts);
    }

    /// Between two replies of a long turn, or parts of a long reply: what is written goes into pieces of a size, so that it
    /// never grows by doubling and holds little more memory than its length.
    pub fn cut(&mut self) {
        if self.tail.len() >= limits::REPLY_PIECE_BYTES / 4 * 3 {
            self.seal();
        }
    }

    /// Makes what is written so far a piece of its own.
    fn seal(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        self.parts_bytes += self.tail.len();
        self.parts.push_back(if self.tail.len() < self.tail.capacity() / 2 {
            let copy = Bytes::copy_from_slice(&self.tail);
            self.tail.clear();
            copy
        } else {
            Bytes::from(std::mem::replace(&mut self.tail, Vec::with_capacity(limits::REPLY_PIECE_BYTES)))
        });
    }

    /// Appends bytes, which are copied.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Has `write` write to the end, where there is room for `room` bytes; it says how many it has written. What it fails
    /// with comes back, and nothing is written.
    pub fn write_in_place<E>(
        &mut self,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let before = self.tail.len();
        self.tail.resize(before + room, 0);
        let written = write(&mut self.tail[before..]);
        self.tail.truncate(before + written.as_ref().map_or(0, |written| *written));
        written.map(|_| ())
    }

    /// Appends a handle, whose bytes are not copied.
    pub fn share(&mut self, bytes: Bytes) {
        self.seal();
        self.parts_bytes += bytes.len();
        self.parts.push_back(bytes);
    }

    /// Everything in one piece.
    pub fn into_bytes(mut self) -> Bytes {
        self.seal();
        match self.parts.len() {
            0 | 1 => self.parts.pop_front().unwrap_or_default(),
            _ => Bytes::from(self.parts.iter().flatten().copied().collect::<Vec<u8>>()),
        }
    }
}
