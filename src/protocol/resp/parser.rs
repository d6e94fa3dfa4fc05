//! Turns bytes into requests, as they come in. Pure: no I/O, no limits of its own, nothing allocated for what was
//! only promised. Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>, inline commands included.
//!
//! Invariant: `pos <= input.len()`, and everything before `pos` has been turned into `Args`.

use std::collections::TryReserveError;

use bytes::Bytes;

use crate::base::extents::{Extents, Filling, Refused};
use crate::config::limits;
use crate::message::request::Args;
use crate::protocol::turn::{NO_TLS, is_tls};

/// What the parser accepts; the session sets it by its options and by whether the client has authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub arguments: usize,
    pub argument_bytes: usize,
    /// Chooses the error text: the bounds are the tight ones from before authentication.
    pub unauthenticated: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A request is complete (possibly without arguments: an empty line); its spans were appended.
    Request,
    /// All input was used and more is needed.
    Incomplete,
}

/// Why the bytes are no request; the text of Redis, after `Protocol error: `. The connection is closed.
#[derive(Debug, PartialEq, Eq)]
pub enum ProtocolError {
    MultibulkLength,
    /// More arguments than `max-arguments`, which it says.
    TooManyArguments(usize),
    BulkLength,
    ExpectedDollar(u8),
    UnauthenticatedMultibulkLength,
    UnauthenticatedBulkLength,
    BulkTerminator,
    InlineTooBig,
    UnbalancedQuotes,
    Tls,
    /// The process may have no more memory for arguments.
    Memory,
}

impl From<TryReserveError> for ProtocolError {
    fn from(_: TryReserveError) -> ProtocolError {
        ProtocolError::Memory
    }
}

impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProtocolError::MultibulkLength => f.write_str("invalid multibulk length"),
            ProtocolError::TooManyArguments(most) => {
                write!(f, "invalid multibulk length: a request may have {most} arguments (max-arguments)")
            }
            ProtocolError::BulkLength => f.write_str("invalid bulk length"),
            ProtocolError::ExpectedDollar(b'\r' | b'\n') => f.write_str("expected '$', got ' '"),
            ProtocolError::ExpectedDollar(got) => write!(f, "expected '$', got '{}'", got.escape_ascii()),
            ProtocolError::UnauthenticatedMultibulkLength => f.write_str("unauthenticated multibulk length"),
            ProtocolError::UnauthenticatedBulkLength => f.write_str("unauthenticated bulk length"),
            ProtocolError::BulkTerminator => f.write_str("expected CRLF after bulk"),
            ProtocolError::InlineTooBig => f.write_str("too big inline request"),
            ProtocolError::Memory => f.write_str("no memory for a request of so many arguments"),
            ProtocolError::Tls => f.write_str(NO_TLS),
            ProtocolError::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between requests.
    Start,
    /// A `$length` line comes next, for the first of `missing` arguments.
    Length { missing: usize },
    /// The rest of a streamed argument, then CRLF.
    Stream { missing: usize, len: usize },
    /// The request was complete already and is asked for again.
    Complete,
}

pub struct Parser {
    state: State,
    pos: usize,
    /// Where streamed arguments go, ...
    extents: Extents,
    /// ... and the one that is arriving.
    stream: Option<Filling>,
}

impl Default for Parser {
    fn default() -> Self {
        Parser::new(Extents::default())
    }
}

impl Parser {
    /// Streamed arguments go to these extents.
    pub fn new(extents: Extents) -> Parser {
        Parser { state: State::Start, pos: 0, extents, stream: None }
    }

    /// How much of the input has been turned into arguments.
    pub fn pos(&self) -> usize {
        self.pos
    }

    /// The input now begins `bytes` later than it did.
    pub fn rebase(&mut self, bytes: usize) {
        self.pos -= bytes;
    }

    /// Goes back to where a request ended, so that the next ones are parsed again later.
    pub fn rewind(&mut self, pos: usize) {
        self.pos = pos;
        self.state = State::Start;
    }

    /// Goes back to before a complete request whose arguments the caller keeps; `pos` is its end.
    pub fn hold(&mut self, pos: usize) {
        self.pos = pos;
        self.state = State::Complete;
    }

    /// True while a streamed argument's bytes arrive: they go to `stream`, not into the input.
    pub fn is_streaming(&self) -> bool {
        self.missing_bytes() > 0
    }

    /// What has come of the argument that is arriving.
    pub fn stream_bytes(&self) -> usize {
        self.stream.as_ref().map_or(0, Filling::len)
    }

    /// Takes what belongs to the streamed argument and returns how much that was. `Err` when memory is refused.
    pub fn stream(&mut self, input: &[u8]) -> Result<usize, Refused> {
        let Some(place) = self.place(input.len()).transpose()? else { return Ok(0) };
        let taken = place.len();
        place.copy_from_slice(&input[..taken]);
        self.placed(taken);
        Ok(taken)
    }

    /// Bytes of the streamed argument that are still to come.
    pub fn missing_bytes(&self) -> usize {
        match self.state {
            State::Stream { len, .. } => len - self.stream_bytes(),
            _ => 0,
        }
    }

    /// Where up to `bytes` bytes that come next of the streamed argument will lie; `None` when none is arriving. What has
    /// come there counts with `placed`.
    pub fn place(&mut self, bytes: usize) -> Option<Result<&mut [u8], Refused>> {
        let bytes = bytes.min(self.missing_bytes());
        let State::Stream { len, .. } = self.state else { return None };
        Some(self.stream.get_or_insert_with(|| self.extents.fill()).space(bytes, len))
    }

    /// So many bytes have come where `place` said.
    pub fn placed(&mut self, bytes: usize) {
        if let Some(stream) = &mut self.stream {
            stream.filled(bytes);
        }
    }

    /// Parses the next request and appends its arguments.
    pub fn next(&mut self, input: &[u8], bounds: &Bounds, args: &mut Args) -> Result<Parsed, ProtocolError> {
        loop {
            match self.state {
                State::Start => match input.get(self.pos) {
                    None => return Ok(Parsed::Incomplete),
                    Some(b'*') => match number(input, self.pos + 1) {
                        Line::Incomplete => return Ok(Parsed::Incomplete),
                        Line::Number(count, next) if count <= bounds.arguments as i64 => {
                            self.pos = next;
                            if count <= 0 {
                                return Ok(Parsed::Request);
                            }
                            self.state = State::Length { missing: count as usize };
                        }
                        Line::Number(..) if bounds.unauthenticated => {
                            return Err(ProtocolError::UnauthenticatedMultibulkLength);
                        }
                        Line::Number(..) => return Err(ProtocolError::TooManyArguments(bounds.arguments)),
                        Line::Invalid => return Err(ProtocolError::MultibulkLength),
                    },
                    Some(_) => return self.inline(input, args),
                },
                State::Length { missing } => {
                    if let Some(parsed) = self.bulks(input, bounds, args, missing)? {
                        return Ok(parsed);
                    }
                }
                State::Stream { missing, len } => {
                    if self.stream_bytes() < len || input.len() < self.pos + 2 {
                        return Ok(Parsed::Incomplete);
                    }
                    let value = self.stream.take().expect("it has come");
                    args.push_value(value.finish());
                    if self.end_argument(input, self.pos, missing)? {
                        return Ok(Parsed::Request);
                    }
                }
                State::Complete => {
                    self.state = State::Start;
                    return Ok(Parsed::Request);
                }
            }
        }
    }

    /// Takes arguments from their length on, as long as they are whole; `None` when one of them is streamed.
    #[inline(always)]
    fn bulks(
        &mut self,
        input: &[u8],
        bounds: &Bounds,
        args: &mut Args,
        mut missing: usize,
    ) -> Result<Option<Parsed>, ProtocolError> {
        // What is known stays here until something ends it: that is a quarter of what parsing a small request costs.
        let mut pos = self.pos;
        let (state, outcome) = loop {
            let at_length = State::Length { missing };
            match input.get(pos) {
                None => break (at_length, Ok(Some(Parsed::Incomplete))),
                Some(b'$') => {}
                Some(&other) => break (at_length, Err(ProtocolError::ExpectedDollar(other))),
            }
            let (len, start) = match number(input, pos + 1) {
                Line::Incomplete => break (at_length, Ok(Some(Parsed::Incomplete))),
                Line::Number(len, start) if (0..=bounds.argument_bytes as i64).contains(&len) => (len as usize, start),
                Line::Number(len, _) if len > 0 && bounds.unauthenticated => {
                    break (at_length, Err(ProtocolError::UnauthenticatedBulkLength));
                }
                Line::Number(..) | Line::Invalid => break (at_length, Err(ProtocolError::BulkLength)),
            };
            if len >= limits::STREAMED_ARGUMENT_MIN_BYTES {
                pos = start;
                break (State::Stream { missing, len }, Ok(None));
            }
            let end = start + len;
            match input.get(end..end + 2) {
                // It is short: its length is read again when more of it has come.
                None => break (at_length, Ok(Some(Parsed::Incomplete))),
                Some(b"\r\n") => {}
                Some(_) => break (at_length, Err(ProtocolError::BulkTerminator)),
            }
            if let Err(error) = args.push(start, len) {
                break (at_length, Err(error.into()));
            }
            pos = end + 2;
            missing -= 1;
            if missing == 0 {
                break (State::Start, Ok(Some(Parsed::Request)));
            }
        };
        (self.pos, self.state) = (pos, state);
        outcome
    }

    /// Steps over the CRLF at `end`; true if that was the request's last argument.
    fn end_argument(&mut self, input: &[u8], end: usize, missing: usize) -> Result<bool, ProtocolError> {
        if input[end..end + 2] != *b"\r\n" {
            return Err(ProtocolError::BulkTerminator);
        }
        self.pos = end + 2;
        self.state = if missing == 1 { State::Start } else { State::Length { missing: missing - 1 } };
        Ok(missing == 1)
    }

    fn inline(&mut self, input: &[u8], args: &mut Args) -> Result<Parsed, ProtocolError> {
        let rest = &input[self.pos..];
        if is_tls(rest) {
            return Err(ProtocolError::Tls);
        }
        let Some(newline) = memchr::memchr(b'\n', &rest[..rest.len().min(limits::INLINE_MAX_BYTES)]) else {
            if rest.len() >= limits::INLINE_MAX_BYTES {
                return Err(ProtocolError::InlineTooBig);
            }
            return Ok(Parsed::Incomplete);
        };
        let line = rest[..newline].strip_suffix(b"\r").unwrap_or(&rest[..newline]);
        split_words(line, self.pos, args)?;
        self.pos += newline + 1;
        Ok(Parsed::Request)
    }
}

enum Line {
    /// The value, and where the next line starts.
    Number(i64, usize),
    Incomplete,
    Invalid,
}

/// Enough for every length and count that is accepted, and never overflows.
const DIGITS_MAX: usize = 18;

/// A decimal number and CRLF, as strict as Redis's `string2ll`: no plus, no leading zero, no minus zero.
#[inline(always)]
fn number(input: &[u8], start: usize) -> Line {
    // Nearly all have one digit or two: this is half of what parsing a small request costs.
    match input.get(start..start + 4) {
        Some(&[a @ b'0'..=b'9', b'\r', b'\n', _]) => Line::Number((a - b'0') as i64, start + 3),
        Some(&[a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n']) => {
            Line::Number((a - b'0') as i64 * 10 + (b - b'0') as i64, start + 4)
        }
        _ => any_number(input, start),
    }
}

#[inline(never)]
fn any_number(input: &[u8], start: usize) -> Line {
    let negative = input.get(start) == Some(&b'-');
    let first = start + negative as usize;
    let mut at = first;
    let mut value: i64 = 0;
    while let Some(digit @ b'0'..=b'9') = input.get(at) {
        if at - first == DIGITS_MAX {
            return Line::Invalid;
        }
        value = value * 10 + (digit - b'0') as i64;
        at += 1;
    }
    let digits = at - first;
    let odd_zero = digits > 0 && input[first] == b'0' && (digits > 1 || negative);
    match (input.get(at), input.get(at + 1)) {
        _ if odd_zero => Line::Invalid,
        (None, _) => Line::Incomplete,
        (Some(b'\r'), None) if digits > 0 => Line::Incomplete,
        (Some(b'\r'), Some(b'\n')) if digits > 0 => Line::Number(if negative { -value } else { value }, at + 2),
        _ => Line::Invalid,
    }
}

/// Splits an inline command at white space; quotes as in Redis's `sdssplitargs`: "\n\x41" with escapes, 'it\'s'.
fn split_words(line: &[u8], offset: usize, args: &mut Args) -> Result<(), ProtocolError> {
    let mut at = 0;
    loop {
        while at < line.len() && line[at].is_ascii_whitespace() {
            at += 1;
        }
        if at == line.len() {
            return Ok(());
        }
        let start = at;
        while at < line.len() && !line[at].is_ascii_whitespace() && !matches!(line[at], b'"' | b'\'') {
            at += 1;
        }
        if at == line.len() || line[at].is_ascii_whitespace() {
            args.push(offset + start, at - start)?;
        } else {
            let (word, end) = quoted_word(line, start)?;
            args.push_word(Bytes::from(word));
            at = end;
        }
    }
}

/// A word with quotes in it: its meaning, and where it ends.
fn quoted_word(line: &[u8], start: usize) -> Result<(Vec<u8>, usize), ProtocolError> {
    let mut word = Vec::new();
    let mut at = start;
    let mut quote = None;
    loop {
        let Some(&byte) = line.get(at) else {
            return if quote.is_some() { Err(ProtocolError::UnbalancedQuotes) } else { Ok((word, at)) };
        };
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, _) if byte.is_ascii_whitespace() => return Ok((word, at)),
            (Some(open), _) if byte == open => {
                if line.get(at + 1).is_some_and(|next| !next.is_ascii_whitespace()) {
                    return Err(ProtocolError::UnbalancedQuotes);
                }
                return Ok((word, at + 1));
            }
            (Some(b'\''), b'\\') if line.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 1;
            }
            (Some(b'"'), b'\\') if at + 1 < line.len() => {
                at += 1;
                if let Some(byte) = hex_escape(&line[at..]) {
                    word.push(byte);
                    at += 2;
                } else {
                    word.push(match line[at] {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => other,
                    });
                }
            }
            _ => word.push(byte),
        }
        at += 1;
    }
}

/// `x41` to `A`.
fn hex_escape(rest: &[u8]) -> Option<u8> {
    let [b'x', high, low, ..] = rest else { return None };
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(*high)? * 16 + digit(*low)?) as u8)
}

#[cfg(test)]
mod tests;
