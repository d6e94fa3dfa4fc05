//! Requests of memcached's binary protocol, read as far as it takes to say that it is not spoken here, in its own terms: a
//! line of text, or a connection that closes, its clients would wait behind.
//!
//! The format is that of memcached's `BinaryProtocolRevamped`: a header of 24 bytes, then a body whose length it has.

use super::line::{Line, Verb};
use crate::message::output::Output;

/// What every request begins with, and no line of text.
pub const MAGIC: u8 = 0x80;
const ANSWER_MAGIC: u8 = 0x81;

pub const HEADER_BYTES: usize = 24;

const QUIT: u8 = 0x07;
const QUIET_QUIT: u8 = 0x17;

const NOT_SUPPORTED: u16 = 0x83;
const TEXT: &[u8] = b"Only memcached's text and meta protocols are spoken here";

/// What the header at the front of `input` asks for, and how long its body is; `None` while it is incomplete.
pub fn read(input: &[u8]) -> Option<(Line, usize)> {
    let header: &[u8; HEADER_BYTES] = input.first_chunk()?;
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (opcode, body, opaque) = (header[1], number(8), number(12));
    let verb = if matches!(opcode, QUIT | QUIET_QUIT) { Verb::Quit } else { Verb::Binary };
    Some((Line { verb, number: opcode.into(), flags: opaque, ..Line::default() }, body as usize))
}

/// Answers a request of this kind: it is not supported.
pub fn refuse(reply: &mut Output, line: &Line) {
    let mut header = [0; HEADER_BYTES];
    (header[0], header[1]) = (ANSWER_MAGIC, line.number as u8);
    header[6..8].copy_from_slice(&NOT_SUPPORTED.to_be_bytes());
    header[8..12].copy_from_slice(&(TEXT.len() as u32).to_be_bytes());
    header[12..16].copy_from_slice(&line.flags.to_be_bytes());
    reply.write(&header);
    reply.write(TEXT);
}
