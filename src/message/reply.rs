//! Replies in the terms of Redis's commands, as RESP2 or RESP3 write them. It must not know commands; what is a map in one
//! version and a flat array in the other is decided here and nowhere else.
//! Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;

use super::output::Output;
use crate::config::limits;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RespVersion {
    #[default]
    Resp2,
    Resp3,
}

/// Writes replies into an output, which it stands for in all that is about bytes.
#[derive(Default)]
pub struct Reply {
    output: Output,
    pub version: RespVersion,
}

impl Deref for Reply {
    type Target = Output;

    fn deref(&self) -> &Output {
        &self.output
    }
}

impl DerefMut for Reply {
    fn deref_mut(&mut self) -> &mut Output {
        &mut self.output
    }
}

impl Reply {
    pub fn new(version: RespVersion) -> Reply {
        Reply { output: Output::default(), version }
    }

    /// Goes on where `output` ends; `into_output` gives it back.
    pub fn over(output: Output, version: RespVersion) -> Reply {
        Reply { output, version }
    }

    pub fn into_output(self) -> Output {
        self.output
    }

    /// The bytes of one message that is written apart.
    pub fn into_bytes(self) -> Bytes {
        self.output.into_bytes()
    }

    /// `+text`
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    pub fn ok(&mut self) {
        self.output.write(b"+OK\r\n");
    }

    /// What is not RESP, for a peer that does not speak it.
    pub fn foreign(&mut self, text: &str) {
        self.tail.extend_from_slice(text.as_bytes());
    }

    /// `-text`, on one line whatever is in it.
    pub fn error(&mut self, text: &str) {
        self.cleaned_line(b'-', text.as_bytes());
    }

    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len() as i64);
        self.output.write(bytes);
        self.output.write(b"\r\n");
    }

    /// A number with decimals, as text.
    pub fn double(&mut self, text: &str) {
        match self.version {
            RespVersion::Resp2 => self.bulk(text.as_bytes()),
            RespVersion::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// A bulk string from a handle: large ones are not copied.
    pub fn bulk_shared(&mut self, bytes: &Bytes) {
        self.bulk_framed(b"", bytes, b"");
    }

    /// The same with something before and after it in the same string.
    pub fn bulk_framed(&mut self, before: &[u8], bytes: &Bytes, after: &[u8]) {
        self.header(b'$', (before.len() + bytes.len() + after.len()) as i64);
        self.output.write(before);
        if bytes.len() < limits::SHARED_REPLY_MIN_BYTES {
            self.output.write(bytes);
        } else {
            self.output.share(bytes.clone());
        }
        self.output.write(after);
        self.output.write(b"\r\n");
    }

    /// No value.
    pub fn null(&mut self) {
        self.output.write(match self.version {
            RespVersion::Resp2 => b"$-1\r\n",
            RespVersion::Resp3 => b"_\r\n",
        });
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.output.write(match self.version {
            RespVersion::Resp2 => b"*-1\r\n",
            RespVersion::Resp3 => b"_\r\n",
        });
    }

    /// `count` elements follow.
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count as i64);
    }

    /// `count` keys, each with its value, follow.
    pub fn map(&mut self, count: usize) {
        match self.version {
            RespVersion::Resp2 => self.header(b'*', 2 * count as i64),
            RespVersion::Resp3 => self.header(b'%', count as i64),
        }
    }

    /// `count` distinct elements follow.
    pub fn set(&mut self, count: usize) {
        match self.version {
            RespVersion::Resp2 => self.header(b'*', count as i64),
            RespVersion::Resp3 => self.header(b'~', count as i64),
        }
    }

    /// Text for people: a verbatim string in RESP3.
    pub fn text(&mut self, text: &str) {
        self.verbatim(b"txt", text.as_bytes());
    }

    /// The same, as it was written elsewhere.
    pub fn text_of(&mut self, text: Output) {
        match self.version {
            RespVersion::Resp2 => self.header(b'$', text.len() as i64),
            RespVersion::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                self.output.write(b"txt:");
            }
        }
        self.output.append(text);
        self.output.write(b"\r\n");
    }

    /// Text with its format, of three letters.
    pub fn verbatim(&mut self, format: &[u8], text: &[u8]) {
        match self.version {
            RespVersion::Resp2 => self.bulk(text),
            RespVersion::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                let mut letters = format.iter().copied().chain(std::iter::repeat(b' '));
                self.output.tail.extend(letters.by_ref().take(3));
                self.output.tail.push(b':');
                self.output.write(text);
                self.output.write(b"\r\n");
            }
        }
    }

    /// `+text`, with bytes from elsewhere: one line, whatever is in them.
    pub fn status(&mut self, text: &[u8]) {
        self.cleaned_line(b'+', text);
    }

    pub fn boolean(&mut self, value: bool) {
        match (self.version, value) {
            (RespVersion::Resp2, value) => self.integer(value.into()),
            (RespVersion::Resp3, true) => self.output.write(b"#t\r\n"),
            (RespVersion::Resp3, false) => self.output.write(b"#f\r\n"),
        }
    }

    /// An integer of any size.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.version {
            RespVersion::Resp2 => {
                self.header(b'$', digits.len() as i64);
                self.cleaned(digits);
            }
            RespVersion::Resp3 => self.cleaned_line(b'(', digits),
        }
    }

    /// A message that answers nothing, of `count` elements with its kind. To RESP2 it is an array like another, which only
    /// who has subscribed knows to tell apart.
    pub fn push(&mut self, kind: &str, count: usize) {
        match self.version {
            RespVersion::Resp2 => self.header(b'*', count as i64),
            RespVersion::Resp3 => self.header(b'>', count as i64),
        }
        self.bulk(kind.as_bytes());
    }

    fn cleaned_line(&mut self, kind: u8, text: &[u8]) {
        self.output.tail.push(kind);
        self.cleaned(text);
    }

    /// Anything that would end the line becomes a space: a client's bytes cannot forge a reply.
    fn cleaned(&mut self, text: &[u8]) {
        self.output.tail.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        self.output.write(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.output.tail.push(kind);
        self.output.write(text);
        self.output.write(b"\r\n");
    }

    fn header(&mut self, kind: u8, value: i64) {
        // Most numbers are short: eight bytes at once, of which the end is taken back, are cheaper than a copy of as many
        // as there are, and this is most of what a small reply costs.
        let digit = |value: i64| b'0' + (value % 10) as u8;
        let (line, len) = match value {
            0..10 => ([kind, digit(value), b'\r', b'\n', 0, 0, 0, 0], 4),
            10..100 => ([kind, digit(value / 10), digit(value), b'\r', b'\n', 0, 0, 0], 5),
            100..1000 => ([kind, digit(value / 100), digit(value / 10), digit(value), b'\r', b'\n', 0, 0], 6),
            _ => return self.long_header(kind, value),
        };
        self.output.write(&line);
        self.output.tail.truncate(self.output.tail.len() + len - line.len());
    }

    fn long_header(&mut self, kind: u8, value: i64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value).as_bytes();
        // One write instead of three.
        let mut line = [kind; HEADER_MAX_BYTES];
        line[1..=digits.len()].copy_from_slice(digits);
        line[digits.len() + 1..digits.len() + 3].copy_from_slice(b"\r\n");
        self.output.write(&line[..digits.len() + 3]);
    }
}

/// The kind, the 20 characters of the longest `i64`, CRLF.
const HEADER_MAX_BYTES: usize = 23;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn check(version: RespVersion, write: impl FnOnce(&mut Reply), expect: &str) {
        let mut reply = Reply::new(version);
        write(&mut reply);
        let mut parts = VecDeque::new();
        reply.take(&mut parts);
        let bytes: Vec<u8> = parts.iter().flatten().copied().collect();
        assert_eq!(String::from_utf8_lossy(&bytes), expect);
        assert!(reply.is_empty());
    }

    #[test]
    fn the_two_versions_differ_where_they_should() {
        check(RespVersion::Resp2, |r| r.null(), "$-1\r\n");
        check(RespVersion::Resp3, |r| r.null(), "_\r\n");
        check(RespVersion::Resp2, |r| r.map(2), "*4\r\n");
        check(RespVersion::Resp3, |r| r.map(2), "%2\r\n");
        check(RespVersion::Resp2, |r| r.set(2), "*2\r\n");
        check(RespVersion::Resp3, |r| r.set(2), "~2\r\n");
        check(RespVersion::Resp2, |r| r.text("hi"), "$2\r\nhi\r\n");
        check(RespVersion::Resp3, |r| r.text("hi"), "=6\r\ntxt:hi\r\n");
        check(RespVersion::Resp2, |r| r.double("1.5"), "$3\r\n1.5\r\n");
        check(RespVersion::Resp3, |r| r.double("1.5"), ",1.5\r\n");
        check(RespVersion::Resp3, |r| r.bulk(b""), "$0\r\n\r\n");
        check(RespVersion::Resp2, |r| r.integer(i64::MIN), ":-9223372036854775808\r\n");
    }

    #[test]
    fn an_error_is_always_one_line() {
        check(
            RespVersion::Resp2,
            |r| r.error("ERR unknown command 'x\r\n+OK\r\n'"),
            "-ERR unknown command 'x  +OK  '\r\n",
        );
    }

    #[test]
    fn replies_can_be_taken_back() {
        let large = Bytes::from(vec![b'v'; limits::SHARED_REPLY_MIN_BYTES]);
        let mut reply = Reply::default();
        reply.bulk_shared(&large);
        for start in ["", "+OK\r\n"] {
            reply.output.tail.extend_from_slice(start.as_bytes());
            let (mark, length) = (reply.mark(), reply.len());
            reply.bulk_shared(&large);
            reply.bulk_shared(&large);
            reply.integer(7);
            reply.rewind(mark);
            assert_eq!(reply.len(), length);
            reply.integer(7);
            reply.rewind(mark);
            assert_eq!(reply.len(), length);
        }
        let mut parts = VecDeque::new();
        reply.take(&mut parts);
        assert_eq!(&parts[2][..], b"\r\n+OK\r\n");
    }

    #[test]
    fn what_was_written_elsewhere_comes_where_it_is_put() {
        for length in [0, 10, limits::REPLY_PIECE_BYTES + 1] {
            let (mut reply, mut elsewhere) = (Reply::default(), Reply::default());
            reply.ok();
            let value = vec![b'v'; length];
            elsewhere.bulk(&value);
            elsewhere.cut();
            elsewhere.integer(7);
            reply.append(elsewhere.into_output());
            reply.ok();
            let length_before = reply.len();
            let mut parts = VecDeque::new();
            reply.take(&mut parts);
            let bytes = parts.iter().flatten().copied().collect::<Vec<u8>>();
            let expect = [format!("+OK\r\n${length}\r\n").as_bytes(), &value, b"\r\n:7\r\n+OK\r\n"].concat();
            assert!(bytes == expect && length_before == bytes.len());
        }
    }

    #[test]
    fn a_large_value_is_not_copied() {
        let value = Bytes::from(vec![b'v'; limits::SHARED_REPLY_MIN_BYTES]);
        let mut reply = Reply::default();
        reply.ok();
        reply.bulk_shared(&value);
        reply.ok();
        let length = reply.len();
        let mut parts = VecDeque::new();
        reply.take(&mut parts);
        assert_eq!(parts[1].as_ptr(), value.as_ptr());
        assert_eq!(parts.iter().map(Bytes::len).sum::<usize>(), length);
        assert_eq!(&parts[2][..], b"\r\n+OK\r\n");
    }
}
