//! The body of a request on its way to where the value will lie: of a length that was said before, or in chunks. It must
//! not know what it is for.

use super::answer::{Refusal, Status};
use super::head::Framing;
use crate::base::extents::{Blob, Extents, Filling};
use crate::config::limits;

/// A body that is arriving.
pub struct Body {
    state: State,
    sink: Sink,
    /// What may come of data.
    most: usize,
    come: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes are to come, and no more.
    Length(u64),
    /// A chunk's size, of which some digits have come.
    Size { size: u64, digits: u8 },
    /// The line feed after a chunk's size.
    SizeEnd(u64),
    /// The data of a chunk.
    Data(u64),
    /// CR and LF after it.
    DataEnd(u8),
    /// CR and LF after the last chunk. Trailers are refused.
    End(u8),
}

/// Where the data goes.
enum Sink {
    Small(Vec<u8>),
    /// To its place in the extents.
    Large(Filling),
    /// Nowhere: the request is refused.
    Discard,
}

/// A body that has come.
pub enum Received {
    Small(Vec<u8>),
    Large(Blob),
    Nothing,
}

const MALFORMED: Refusal = Refusal::new(Status::BadRequest, "a chunk is malformed");
const TOO_LARGE: Refusal = Refusal::new(Status::ContentTooLarge, "the value is larger than one may be");
const NO_MEMORY: Refusal = Refusal::new(Status::InsufficientStorage, "there is no memory for the value");

/// A chunk's size may be written with so many digits.
const SIZE_DIGITS_MAX: u8 = 16;

impl Body {
    /// One that becomes a value of at most `most` bytes; `None` when nothing follows.
    ///
    /// # Errors
    /// It says that it will be longer.
    pub fn kept(framing: Framing, most: usize) -> Result<Option<Body>, Refusal> {
        match framing {
            Framing::Length(length) if length > most as u64 => Err(TOO_LARGE),
            _ => Ok(Body::of(framing, most, Sink::Small(Vec::new()))),
        }
    }

    /// One that is thrown away; `None` when nothing follows, or too much for that.
    pub fn discarded(framing: Framing) -> Option<Body> {
        Body::of(framing, limits::HTTP_DISCARDED_BYTES, Sink::Discard)
            .filter(|body| !matches!(body.state, State::Length(length) if length > body.most as u64))
    }

    fn of(framing: Framing, most: usize, sink: Sink) -> Option<Body> {
        let state = match framing {
            Framing::Nothing | Framing::Length(0) => return None,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
        };
        Some(Body { state, sink, most, come: 0 })
    }

    /// Memory that it holds.
    pub fn held_bytes(&self) -> usize {
        match &self.sink {
            Sink::Small(bytes) => bytes.capacity(),
            Sink::Large(filling) => filling.len(),
            Sink::Discard => 0,
        }
    }

    /// Bytes that are known to come still, of a body that goes to the extents.
    pub fn missing_bytes(&self) -> usize {
        match (self.state, &self.sink) {
            (State::Length(left) | State::Data(left), Sink::Large(_)) => left as usize,
            _ => 0,
        }
    }

    /// Where up to `bytes` of them, those that come next, will lie; `None` when none do, or there is no memory for it. What
    /// has come there counts with `placed`.
    pub fn place(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let missing = self.missing_bytes();
        let promised = self.promised(missing as u64);
        match &mut self.sink {
            Sink::Large(filling) if missing > 0 => filling.space(bytes.min(missing), promised).ok(),
            _ => None,
        }
    }

    /// So many bytes have come where `place` said.
    pub fn placed(&mut self, bytes: usize) {
        if let (State::Length(left) | State::Data(left), Sink::Large(filling)) = (&mut self.state, &mut self.sink) {
            filling.filled(bytes);
            *left -= bytes as u64;
            self.come += bytes;
        }
    }

    /// Takes what belongs to it from the front of `input`: how much that was, and whether it is whole.
    ///
    /// # Errors
    /// It is malformed, too large, or there is no memory for it: the connection has to be closed.
    pub fn take(&mut self, input: &[u8], extents: &Extents) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        // The last of it may have been placed.
        while at < input.len() || self.state == State::Length(0) {
            match self.state {
                State::Length(left) | State::Data(left) => {
                    let data = &input[at..at + left.min((input.len() - at) as u64) as usize];
                    self.push(data, left, extents)?;
                    at += data.len();
                    let left = left - data.len() as u64;
                    self.state = match self.state {
                        State::Length(_) if left == 0 => return Ok((at, true)),
                        State::Length(_) => State::Length(left),
                        _ if left == 0 => State::DataEnd(0),
                        _ => State::Data(left),
                    };
                }
                _ => {
                    at += 1;
                    if self.frame(input[at - 1])? {
                        return Ok((at, true));
                    }
                }
            }
        }
        Ok((at, false))
    }

    /// One byte of what stands between the data of chunks; true for the last one of the body.
    fn frame(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.state = match (self.state, byte) {
            (State::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS_MAX => {
                let digit = (byte as char).to_digit(16).expect("it is one") as u64;
                State::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (State::Size { size, digits: 1.. }, b'\r') => State::SizeEnd(size),
            (State::SizeEnd(0), b'\n') => State::End(0),
            (State::SizeEnd(size), b'\n') if size > (self.most - self.come) as u64 => return Err(TOO_LARGE),
            (State::SizeEnd(size), b'\n') => State::Data(size),
            (State::DataEnd(0), b'\r') => State::DataEnd(1),
            (State::DataEnd(1), b'\n') => State::Size { size: 0, digits: 0 },
            (State::End(0), b'\r') => State::End(1),
            (State::End(1), b'\n') => return Ok(true),
            _ => return Err(MALFORMED),
        };
        Ok(false)
    }

    /// Keeps data, of which `left` bytes are known to come.
    fn push(&mut self, data: &[u8], left: u64, extents: &Extents) -> Result<(), Refusal> {
        let promised = self.promised(left);
        self.come += data.len();
        if let Sink::Small(bytes) = &mut self.sink {
            if promised < limits::STREAMED_ARGUMENT_MIN_BYTES {
                bytes.try_reserve(data.len()).map_err(|_| NO_MEMORY)?;
                bytes.extend_from_slice(data);
                return Ok(());
            }
            let mut filling = extents.fill();
            filling.push(bytes, promised).map_err(|_| NO_MEMORY)?;
            self.sink = Sink::Large(filling);
        }
        match &mut self.sink {
            Sink::Large(filling) => filling.push(data, promised).map_err(|_| NO_MEMORY),
            _ => Ok(()),
        }
    }

    /// How many bytes there will be, of which `left` are known to come still.
    fn promised(&self, left: u64) -> usize {
        match self.state {
            State::Length(_) => self.come + left as usize,
            // What else comes in chunks nobody knows: it grows by doubling.
            _ => (2 * self.come).max(self.come + left as usize).min(self.most),
        }
    }

    /// What has come, when it is whole.
    pub fn finish(self) -> Received {
        match self.sink {
            Sink::Small(bytes) => Received::Small(bytes),
            Sink::Large(filling) => Received::Large(filling.finish()),
            Sink::Discard => Received::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a body that comes in pieces: its data, and what is left behind it.
    fn receive(framing: Framing, input: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, Status> {
        let extents = Extents::default();
        let mut body = Body::kept(framing, 100_000).map_err(|refusal| refusal.status)?.expect("a body");
        let mut taken = 0;
        for piece in input.chunks(piece) {
            let (used, is_whole) = body.take(piece, &extents).map_err(|refusal| refusal.status)?;
            taken += used;
            if is_whole {
                let data = match body.finish() {
                    Received::Small(bytes) => bytes,
                    Received::Large(blob) => blob.to_vec(),
                    Received::Nothing => panic!("it was kept"),
                };
                return Ok(Some((data, input.len() - taken)));
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_come_together_wherever_they_are_cut() {
        let long = "x".repeat(0x7000);
        for (input, expect, rest) in [
            ("0\r\n\r\nGET", "".to_owned(), 3),
            ("5\r\nhello\r\n0\r\n\r\n", "hello".to_owned(), 0),
            ("1\r\n\r\r\n0001\r\n\n\r\n00\r\n\r\n0\r\n\r\n", "\r\n".to_owned(), 5),
            (&format!("a\r\n0123456789\r\n7000\r\n{long}\r\n1\r\ny\r\n0\r\n\r\n"), format!("0123456789{long}y"), 0),
        ] {
            for piece in [1, 2, 3, 7, 1000, usize::MAX] {
                let found = receive(Framing::Chunked, input.as_bytes(), piece);
                assert!(found == Ok(Some((expect.clone().into_bytes(), rest))), "{piece}");
            }
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for input in [
            "\r\n",
            "x\r\n",
            "5;a=b\r\nhello\r\n",
            "5 \r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5\nhello\r\n",
            "5\r\nhello\n",
            "5\r\nhelloX\r\n",
            "-5\r\n",
            "+5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "5\r\r\n",
            "0\r\nX: y\r\n\r\n",
            "0\r\n\n",
            "00000000000000005\r\nhello\r\n",
        ] {
            for piece in [1, usize::MAX] {
                assert_eq!(receive(Framing::Chunked, input.as_bytes(), piece), Err(Status::BadRequest), "{input:?}");
            }
        }
        for input in ["186a1\r\n", "ffffffffffffffff\r\n", "5\r\nhello\r\n1869c\r\n"] {
            assert_eq!(receive(Framing::Chunked, input.as_bytes(), 1), Err(Status::ContentTooLarge), "{input:?}");
        }
    }

    #[test]
    fn a_length_is_kept() {
        for length in [1, limits::STREAMED_ARGUMENT_MIN_BYTES - 1, limits::STREAMED_ARGUMENT_MIN_BYTES, 70_000] {
            let input = vec![b'v'; length + 2];
            for piece in [997, usize::MAX] {
                let found = receive(Framing::Length(length as u64), &input, piece).unwrap().unwrap();
                assert!(found.0 == input[..length], "{length}");
            }
        }
        assert!(matches!(Body::kept(Framing::Length(100_001), 100_000), Err(refusal) if refusal == TOO_LARGE));
        assert!(matches!(Body::kept(Framing::Length(0), 1), Ok(None)));
        assert!(Body::discarded(Framing::Length(limits::HTTP_DISCARDED_BYTES as u64 + 1)).is_none());
    }
}
