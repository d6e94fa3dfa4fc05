//! The replies of one connection that the socket has not taken yet, in order. It must not know how they are sent.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::message::output::Output;

#[derive(Default)]
pub struct Outgoing {
    parts: VecDeque<Bytes>,
    /// Bytes in `parts`.
    waiting: usize,
    /// Bytes that the driver has taken out to send and has not reported as sent. They come before `parts`.
    taken: usize,
}

impl Outgoing {
    /// Bytes that have not left, those included that are taken.
    pub fn len(&self) -> usize {
        self.waiting + self.taken
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing is left to take.
    pub fn is_taken(&self) -> bool {
        self.waiting == 0
    }

    /// Takes over everything that was replied.
    pub fn append(&mut self, reply: &mut Output) {
        self.waiting += reply.len();
        reply.take(&mut self.parts);
    }

    /// Adds what is no reply.
    pub fn push(&mut self, piece: Bytes) {
        self.waiting += piece.len();
        self.parts.push_back(piece);
    }

    /// The pieces that wait, in order, to be sent from where they lie. Report what has left by `sent`.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter()
    }

    /// Moves small pieces from the front into `buffer` and returns how much; 0 when a piece of at least `direct_bytes`
    /// comes next, which is better sent from where it lies.
    pub fn take_into(&mut self, buffer: &mut [u8], direct_bytes: usize) -> usize {
        let mut filled = 0;
        while let Some(front) = self.parts.front() {
            if front.len() >= direct_bytes || filled == buffer.len() {
                break;
            }
            let step = front.len().min(buffer.len() - filled);
            buffer[filled..filled + step].copy_from_slice(&front[..step]);
            filled += step;
            self.drop_front(step);
        }
        self.taken += filled;
        filled
    }

    /// Takes the front piece whole.
    pub fn take(&mut self) -> Option<Bytes> {
        let front = self.parts.pop_front()?;
        self.waiting -= front.len();
        self.taken += front.len();
        Some(front)
    }

    /// Counts bytes as taken that the driver has a copy of and that were never put in here.
    pub fn note_taken(&mut self, bytes: usize) {
        debug_assert!(self.is_empty());
        self.taken += bytes;
    }

    /// The first `bytes` of all have left: of what is taken, or of the pieces when nothing is.
    pub fn sent(&mut self, bytes: usize) {
        if self.taken > 0 {
            debug_assert!(bytes <= self.taken);
            self.taken -= bytes;
        } else {
            self.drop_front(bytes);
        }
    }

    fn drop_front(&mut self, bytes: usize) {
        self.waiting -= bytes;
        let mut left = bytes;
        while left > 0 {
            let front = self.parts.front_mut().expect("no more is sent than waits");
            let step = left.min(front.len());
            front.advance(step);
            left -= step;
            if front.is_empty() {
                self.parts.pop_front();
            }
        }
        if self.parts.is_empty() {
            // An idle connection keeps no buffer.
            self.parts = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::reply::Reply;

    #[test]
    fn small_pieces_are_joined_and_large_ones_are_left() {
        let mut reply = Reply::default();
        reply.bulk(b"small");
        reply.bulk_shared(&Bytes::from(vec![b'L'; 20_000]));
        reply.ok();
        let mut outgoing = Outgoing::default();
        outgoing.append(&mut reply);
        let total = outgoing.len();
        let mut buffer = [0; 64];
        let filled = outgoing.take_into(&mut buffer, 16_384);
        assert_eq!(&buffer[..filled], b"$5\r\nsmall\r\n$20000\r\n");
        assert_eq!(outgoing.take_into(&mut buffer, 16_384), 0);
        assert_eq!(outgoing.len(), total, "what is taken has not left");
        outgoing.sent(filled - 1);
        outgoing.sent(1);
        outgoing.sent(5_000);
        assert_eq!(outgoing.pieces().next().map(Bytes::len), Some(15_000));
        assert_eq!(outgoing.len(), total - filled - 5_000);
        assert_eq!(outgoing.take().map(|piece| piece.len()), Some(15_000));
        outgoing.sent(15_000);
        let filled = outgoing.take_into(&mut buffer, 16_384);
        assert_eq!(&buffer[..filled], b"\r\n+OK\r\n");
        assert!(outgoing.is_taken() && !outgoing.is_empty());
        outgoing.sent(filled);
        assert!(outgoing.is_empty());
    }
}
