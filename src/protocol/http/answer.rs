//! Replies as bytes: status lines, the headers that all of them have, and bodies. It must not know why a reply is what it
//! is.

use crate::base::clock::{self, UnixMillis};
use crate::message::output::Output;

/// What is said to one too many, before the connection is closed.
pub const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n\
    Content-Length: 54\r\nConnection: close\r\n\r\nthe server has as many clients as --maxclients allows\n";

/// What is said to other hosts in protected mode.
pub const PROTECTED: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 106\r\n\
    Connection: close\r\n\r\nprotected mode: no password is set, so other hosts are refused; see --requirepass and --protected-mode no\n";

pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The statuses in use, each with its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    Created,
    NoContent,
    PartialContent,
    NotModified,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    /// 405 of what can only be read.
    ReadOnly,
    LengthRequired,
    Conflict,
    PreconditionFailed,
    ContentTooLarge,
    UriTooLong,
    RangeNotSatisfiable,
    ExpectationFailed,
    MisdirectedRequest,
    HeadersTooLarge,
    NotImplemented,
    Unavailable,
    VersionNotSupported,
    InsufficientStorage,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::Created => "201 Created",
            Status::NoContent => "204 No Content",
            Status::PartialContent => "206 Partial Content",
            Status::NotModified => "304 Not Modified",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed | Status::ReadOnly => "405 Method Not Allowed",
            Status::LengthRequired => "411 Length Required",
            Status::Conflict => "409 Conflict",
            Status::PreconditionFailed => "412 Precondition Failed",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::UriTooLong => "414 URI Too Long",
            Status::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Status::ExpectationFailed => "417 Expectation Failed",
            Status::MisdirectedRequest => "421 Misdirected Request",
            Status::HeadersTooLarge => "431 Request Header Fields Too Large",
            Status::NotImplemented => "501 Not Implemented",
            Status::Unavailable => "503 Service Unavailable",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
            Status::InsufficientStorage => "507 Insufficient Storage",
        }
    }

    /// Headers that come with it always.
    fn fields(self) -> &'static str {
        match self {
            Status::Unauthorized => "WWW-Authenticate: Bearer, Basic realm=\"kv-cache\"\r\n",
            Status::MethodNotAllowed => "Allow: GET, HEAD, PUT, DELETE, POST\r\n",
            Status::ReadOnly => "Allow: GET, HEAD\r\n",
            Status::Unavailable => "Retry-After: 1\r\n",
            _ => "",
        }
    }
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: Status,
    /// For people: a line.
    pub text: &'static str,
}

impl Refusal {
    pub const fn new(status: Status, text: &'static str) -> Refusal {
        Refusal { status, text }
    }
}

/// The time as it stands in replies, written once a second.
#[derive(Default)]
pub struct Date {
    second: u64,
    text: String,
}

impl Date {
    fn at(&mut self, now: UnixMillis) -> &str {
        if self.second != now / 1000 || self.text.is_empty() {
            self.second = now / 1000;
            self.text = clock::http_date(now);
        }
        &self.text
    }
}

/// How the replies to one request are written.
pub struct Writer<'w> {
    pub date: &'w mut Date,
    pub now: UnixMillis,
    /// The answer to HEAD has the length of a body and no body.
    pub without_body: bool,
    /// What the reply says of the connection, if anything.
    pub connection: &'static str,
}

/// Of values. No page of another origin may run, embed or sniff them.
pub const BYTES: &str = "application/octet-stream";
pub const TEXT: &str = "text/plain; charset=utf-8";

impl Writer<'_> {
    /// A head up to its own headers, which follow, each `Name: value\r\n`; then `length`.
    pub fn begin(&mut self, output: &mut Output, status: Status) {
        output.write(b"HTTP/1.1 ");
        output.write(status.text().as_bytes());
        output.write(b"\r\nDate: ");
        output.write(self.date.at(self.now).as_bytes());
        output.write(b"\r\n");
        output.write(status.fields().as_bytes());
        output.write(self.connection.as_bytes());
    }

    /// A whole reply without a body.
    pub fn empty(&mut self, output: &mut Output, status: Status, tag: Option<u64>) {
        self.begin(output, status);
        write_tag(output, tag);
        output.write(if status == Status::Created { b"Content-Length: 0\r\n\r\n" } else { b"\r\n" });
    }

    /// Ends a head before a body of so many bytes. False when no body follows.
    pub fn length(&self, output: &mut Output, bytes: usize, kind: &str) -> bool {
        output.write(b"Content-Type: ");
        output.write(kind.as_bytes());
        output.write(
            b"\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\nContent-Length: ",
        );
        output.write(itoa::Buffer::new().format(bytes).as_bytes());
        output.write(b"\r\n\r\n");
        !self.without_body
    }

    /// A whole reply with a line of text.
    pub fn text(&mut self, output: &mut Output, status: Status, text: &str) {
        self.begin(output, status);
        if self.length(output, text.len() + 1, TEXT) {
            output.write(text.as_bytes());
            output.write(b"\n");
        }
    }

    pub fn refusal(&mut self, output: &mut Output, refusal: Refusal) {
        self.text(output, refusal.status, refusal.text);
    }
}

/// `ETag: "..."`
pub fn write_tag(output: &mut Output, digest: Option<u64>) {
    if let Some(digest) = digest {
        let mut line = *b"ETag: \"0123456789abcdef\"\r\n";
        for (at, digit) in line[7..23].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(digest >> (60 - 4 * at)) as usize & 15];
        }
        output.write(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_are_those_of_the_texts() {
        for reply in [FULL, PROTECTED] {
            let text = std::str::from_utf8(reply).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{}", body.len());
        }
    }

    #[test]
    fn a_tag_has_sixteen_digits() {
        let mut output = Output::default();
        write_tag(&mut output, Some(0x0012_3456_789a_bcde));
        write_tag(&mut output, None);
        assert_eq!(output.as_contiguous(), Some(&b"ETag: \"00123456789abcde\"\r\n"[..]));
    }
}
