//! The replies of one connection that the socket has not taken yet, in order. It must not know how they are sent.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::message::reply::Reply;

#[derive(Default)]
pub struct Outgoing {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Outgoing {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes over everything that was replied.
    pub fn append(&mut self, reply: &mut Reply) {
        self.bytes += reply.len();
        reply.take(&mut self.parts);
    }

    /// Adds what is no reply.
    pub fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.parts.push_back(piece);
    }

    /// The next piece; `advance` past what was sent of it.
    pub fn front(&self) -> Option<&Bytes> {
        self.parts.front()
    }

    pub fn advance(&mut self, sent: usize) {
        self.bytes -= sent;
        let mut left = sent;
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

    /// Moves small pieces from the front into `buffer` and returns how much; 0 when a piece of at least `direct_bytes`
    /// comes next, which is better sent from where it lies.
    pub fn fill(&mut self, buffer: &mut [u8], direct_bytes: usize) -> usize {
        let mut filled = 0;
        while let Some(front) = self.parts.front() {
            if front.len() >= direct_bytes || filled == buffer.len() {
                break;
            }
            let step = front.len().min(buffer.len() - filled);
            buffer[filled..filled + step].copy_from_slice(&front[..step]);
            filled += step;
            self.advance(step);
        }
        filled
    }

    /// Takes the front piece whole.
    pub fn pop(&mut self) -> Option<Bytes> {
        let front = self.parts.pop_front()?;
        self.bytes -= front.len();
        Some(front)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let filled = outgoing.fill(&mut buffer, 16_384);
        assert_eq!(&buffer[..filled], b"$5\r\nsmall\r\n$20000\r\n");
        assert_eq!(outgoing.fill(&mut buffer, 16_384), 0);
        outgoing.advance(5_000);
        assert_eq!(outgoing.front().map(Bytes::len), Some(15_000));
        assert_eq!(outgoing.len(), total - filled - 5_000);
        assert_eq!(outgoing.pop().map(|piece| piece.len()), Some(15_000));
        let filled = outgoing.fill(&mut buffer, 16_384);
        assert_eq!(&buffer[..filled], b"\r\n+OK\r\n");
        assert!(outgoing.is_empty() && outgoing.front().is_none());
    }
}
