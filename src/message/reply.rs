//! Writes replies in RESP2 or RESP3 for one connection's turn. It must not know commands; what is a map in one
//! protocol and a flat array in the other is decided here and nowhere else.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::config::limits;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// The replies of one turn: small ones written into one buffer, large values kept as handles between.
pub struct Reply {
    tail: Vec<u8>,
    /// What comes before `tail`, in order.
    parts: VecDeque<Bytes>,
    parts_bytes: usize,
    /// What of it is large values that others hold as well.
    shared_bytes: usize,
    pub protocol: Protocol,
}

/// A place between two replies.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    parts: usize,
    parts_bytes: usize,
    shared_bytes: usize,
    tail: usize,
}

impl Default for Reply {
    fn default() -> Self {
        Reply {
            tail: Vec::with_capacity(limits::REPLY_PIECE_BYTES),
            parts: VecDeque::new(),
            parts_bytes: 0,
            shared_bytes: 0,
            protocol: Protocol::Resp2,
        }
    }
}

impl Reply {
    /// Bytes written and not yet taken.
    pub fn len(&self) -> usize {
        self.parts_bytes + self.tail.len()
    }

    /// Of these, what was copied here.
    pub fn copied_len(&self) -> usize {
        self.len() - self.shared_bytes
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
        (self.parts_bytes, self.shared_bytes) = (0, 0);
        self.tail.clear();
    }

    /// Moves everything out, in order; only the end of it may be copied.
    pub fn take(&mut self, into: &mut VecDeque<Bytes>) {
        self.seal();
        into.append(&mut self.parts);
        (self.parts_bytes, self.shared_bytes) = (0, 0);
    }

    /// Where the next reply will begin, for `rewind`.
    pub fn mark(&self) -> Mark {
        Mark {
            parts: self.parts.len(),
            parts_bytes: self.parts_bytes,
            shared_bytes: self.shared_bytes,
            tail: self.tail.len(),
        }
    }

    /// Takes back everything since the mark. Nothing may have been taken out or cut meanwhile.
    pub fn rewind(&mut self, mark: Mark) {
        if let Some(sealed) = self.parts.get(mark.parts) {
            // What stood in the tail is the beginning of the first piece since.
            self.tail.clear();
            self.tail.extend_from_slice(&sealed[..mark.tail]);
        }
        self.parts.truncate(mark.parts);
        (self.parts_bytes, self.shared_bytes) = (mark.parts_bytes, mark.shared_bytes);
        self.tail.truncate(mark.tail);
    }

    /// Moves in what was written elsewhere, for elements that are counted as they are found.
    pub fn append(&mut self, mut other: Reply) {
        if other.parts.is_empty() && other.tail.len() < limits::REPLY_PIECE_BYTES {
            self.tail.extend_from_slice(&other.tail);
            return;
        }
        self.seal();
        other.seal();
        self.parts_bytes += other.parts_bytes;
        self.shared_bytes += other.shared_bytes;
        self.parts.append(&mut other.parts);
    }

    /// Between two replies of a long turn, or parts of a long reply: what is written goes into pieces of a size, so that it never grows by
    /// doubling and holds little more memory than its length.
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

    /// `+text`
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    pub fn ok(&mut self) {
        self.tail.extend_from_slice(b"+OK\r\n");
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
        self.tail.extend_from_slice(bytes);
        self.tail.extend_from_slice(b"\r\n");
    }

    /// A number with decimals, as text.
    pub fn double(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// A bulk string from a handle: large ones are not copied.
    pub fn bulk_shared(&mut self, bytes: &Bytes) {
        self.bulk_framed(b"", bytes, b"");
    }

    /// The same with something before and after it in the same string.
    pub fn bulk_framed(&mut self, before: &[u8], bytes: &Bytes, after: &[u8]) {
        self.header(b'$', (before.len() + bytes.len() + after.len()) as i64);
        self.tail.extend_from_slice(before);
        if bytes.len() < limits::SHARED_REPLY_MIN_BYTES {
            self.tail.extend_from_slice(bytes);
        } else {
            self.seal();
            self.parts_bytes += bytes.len();
            self.shared_bytes += bytes.len();
            self.parts.push_back(bytes.clone());
        }
        self.tail.extend_from_slice(after);
        self.tail.extend_from_slice(b"\r\n");
    }

    /// No value.
    pub fn null(&mut self) {
        self.tail.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.tail.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// `count` elements follow.
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count as i64);
    }

    /// `count` keys, each with its value, follow.
    pub fn map(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', 2 * count as i64),
            Protocol::Resp3 => self.header(b'%', count as i64),
        }
    }

    /// `count` distinct elements follow.
    pub fn set(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', count as i64),
            Protocol::Resp3 => self.header(b'~', count as i64),
        }
    }

    /// Text for people: a verbatim string in RESP3.
    pub fn text(&mut self, text: &str) {
        self.verbatim(b"txt", text.as_bytes());
    }

    /// Text with its format, of three letters.
    pub fn verbatim(&mut self, format: &[u8], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                let mut letters = format.iter().copied().chain(std::iter::repeat(b' '));
                self.tail.extend(letters.by_ref().take(3));
                self.tail.push(b':');
                self.tail.extend_from_slice(text);
                self.tail.extend_from_slice(b"\r\n");
            }
        }
    }

    /// `+text`, with bytes from elsewhere: one line, whatever is in them.
    pub fn status(&mut self, text: &[u8]) {
        self.cleaned_line(b'+', text);
    }

    pub fn boolean(&mut self, value: bool) {
        match (self.protocol, value) {
            (Protocol::Resp2, value) => self.integer(value.into()),
            (Protocol::Resp3, true) => self.tail.extend_from_slice(b"#t\r\n"),
            (Protocol::Resp3, false) => self.tail.extend_from_slice(b"#f\r\n"),
        }
    }

    /// An integer of any size.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => {
                self.header(b'$', digits.len() as i64);
                self.cleaned(digits);
            }
            Protocol::Resp3 => self.cleaned_line(b'(', digits),
        }
    }

    fn cleaned_line(&mut self, kind: u8, text: &[u8]) {
        self.tail.push(kind);
        self.cleaned(text);
    }

    /// Anything that would end the line becomes a space: a client's bytes cannot forge a reply.
    fn cleaned(&mut self, text: &[u8]) {
        self.tail.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        self.tail.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.tail.push(kind);
        self.tail.extend_from_slice(text);
        self.tail.extend_from_slice(b"\r\n");
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
        self.tail.extend_from_slice(&line);
        self.tail.truncate(self.tail.len() + len - line.len());
    }

    fn long_header(&mut self, kind: u8, value: i64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value).as_bytes();
        // One write instead of three.
        let mut line = [kind; HEADER_MAX_BYTES];
        line[1..=digits.len()].copy_from_slice(digits);
        line[digits.len() + 1..digits.len() + 3].copy_from_slice(b"\r\n");
        self.tail.extend_from_slice(&line[..digits.len() + 3]);
    }
}

/// The kind, the 20 characters of the longest `i64`, CRLF.
const HEADER_MAX_BYTES: usize = 23;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(protocol: Protocol, write: impl FnOnce(&mut Reply), expect: &str) {
        let mut reply = Reply { protocol, ..Reply::default() };
        write(&mut reply);
        let mut parts = VecDeque::new();
        reply.take(&mut parts);
        let bytes: Vec<u8> = parts.iter().flatten().copied().collect();
        assert_eq!(String::from_utf8_lossy(&bytes), expect);
        assert!(reply.is_empty());
    }

    #[test]
    fn the_two_protocols_differ_where_they_should() {
        check(Protocol::Resp2, |r| r.null(), "$-1\r\n");
        check(Protocol::Resp3, |r| r.null(), "_\r\n");
        check(Protocol::Resp2, |r| r.map(2), "*4\r\n");
        check(Protocol::Resp3, |r| r.map(2), "%2\r\n");
        check(Protocol::Resp2, |r| r.set(2), "*2\r\n");
        check(Protocol::Resp3, |r| r.set(2), "~2\r\n");
        check(Protocol::Resp2, |r| r.text("hi"), "$2\r\nhi\r\n");
        check(Protocol::Resp3, |r| r.text("hi"), "=6\r\ntxt:hi\r\n");
        check(Protocol::Resp2, |r| r.double("1.5"), "$3\r\n1.5\r\n");
        check(Protocol::Resp3, |r| r.double("1.5"), ",1.5\r\n");
        check(Protocol::Resp3, |r| r.bulk(b""), "$0\r\n\r\n");
        check(Protocol::Resp2, |r| r.integer(i64::MIN), ":-9223372036854775808\r\n");
    }

    #[test]
    fn an_error_is_always_one_line() {
        check(
            Protocol::Resp2,
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
            reply.tail.extend_from_slice(start.as_bytes());
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
            reply.append(elsewhere);
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
