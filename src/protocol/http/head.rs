//! The head of a request: where it ends, and what stands in it. Whatever another program on the way might read in another
//! way is refused.

use std::mem::MaybeUninit;

use super::answer::{Refusal, Status};
use super::fields::{self, ByteRange, Tags};
use super::target::Target;
use crate::config::limits;
use crate::protocol::turn::NO_TLS;

const MALFORMED: Refusal = Refusal::new(Status::BadRequest, "the request is malformed");

/// Finds the end of a head in bytes that come piece by piece, and looks at each of them once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    looked_at: usize,
    line_start: usize,
    /// Where the request line ends, when it has come, ...
    first_end: usize,
    /// ... and whether it was looked at.
    is_checked: bool,
}

impl Scan {
    pub const NONE: Scan = Scan { looked_at: 0, line_start: 0, first_end: 0, is_checked: false };

    /// Where the head ends that begins `bytes`; `None` when more has to come. To be asked again with the same bytes and
    /// more. An empty line in place of a head ends behind itself.
    ///
    /// # Errors
    /// A line ends otherwise than with CRLF, the head is too long, or it does not begin like one: who speaks something else
    /// may wait for an answer to that.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        match bytes.first() {
            // The beginning of a TLS handshake.
            Some(0x16) => return Err(Refusal::new(Status::BadRequest, NO_TLS)),
            Some(first) if !first.is_ascii_graphic() && *first != b'\r' => return Err(MALFORMED),
            _ => {}
        }
        let found = self.look(bytes);
        // A whole head is read from its beginning in any case.
        if !self.is_checked && self.first_end > 0 && !matches!(found, Ok(Some(_))) {
            self.is_checked = true;
            read(&bytes[..self.first_end], |_| Ok(()))?;
        }
        found
    }

    fn look(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.looked_at..]) {
            let newline = self.looked_at + found;
            if newline >= limits::HTTP_HEAD_MAX_BYTES {
                return Err(self.too_long());
            }
            if newline == 0 || bytes[newline - 1] != b'\r' {
                return Err(Refusal::new(Status::BadRequest, "a line of the head does not end with CRLF"));
            }
            let is_empty = newline - 1 == self.line_start;
            (self.looked_at, self.line_start) = (newline + 1, newline + 1);
            if is_empty {
                return Ok(Some(newline + 1));
            }
            if self.first_end == 0 {
                self.first_end = newline + 1;
            }
        }
        self.looked_at = bytes.len();
        if bytes.len() < limits::HTTP_HEAD_MAX_BYTES { Ok(None) } else { Err(self.too_long()) }
    }

    fn too_long(&self) -> Refusal {
        match self.line_start {
            0 => Refusal::new(Status::UriTooLong, "the request line is too long"),
            _ => Refusal::new(Status::HeadersTooLarge, "the headers are too long"),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    #[default]
    Get,
    Head,
    Put,
    Delete,
    Post,
    /// One that HTTP has and no resource here.
    Other,
}

impl Method {
    pub fn changes(self) -> bool {
        matches!(self, Method::Put | Method::Delete | Method::Post)
    }
}

/// How much follows the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    #[default]
    Nothing,
    Length(u64),
    Chunked,
}

/// What a head says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head<'h> {
    pub method: Method,
    pub target: Target<'h>,
    /// HTTP/1.0
    pub is_old: bool,
    pub framing: Framing,
    pub keeps_alive: bool,
    /// The client waits for 100 before it sends the body.
    pub waits: bool,
    pub host: Option<&'h str>,
    pub origin: Option<&'h str>,
    pub authorization: Option<&'h str>,
    pub accept: &'h str,
    /// Of Cache-Control.
    pub max_age: Option<i64>,
    pub if_match: Option<Tags>,
    pub if_none_match: Option<Tags>,
    pub range: Option<ByteRange>,
    pub if_range: Option<&'h str>,
    /// What is no fault of its form, and why it is not served all the same: the connection can go on.
    pub refusal: Option<Refusal>,
}

/// Takes a whole head apart.
///
/// # Errors
/// What it says is malformed, or may be read in two ways: the connection has to be closed.
pub fn parse(bytes: &[u8]) -> Result<Head<'_>, Refusal> {
    let mut head = None;
    read(bytes, |request| {
        head = Some(take(request)?);
        Ok(())
    })?;
    head.ok_or(MALFORMED)
}

/// Has httparse read a head, or the beginning of one: `act` is called if it is whole.
fn read<'h>(
    bytes: &'h [u8],
    act: impl FnOnce(&httparse::Request<'_, 'h>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    // To fill them with something would cost as much as to parse.
    let mut headers = [const { MaybeUninit::uninit() }; limits::HTTP_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    // It takes empty lines before the request line, of which Scan lets none pass.
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(_)) => act(&request),
        Ok(httparse::Status::Partial) => Ok(()),
        Err(error) => Err(match error {
            httparse::Error::TooManyHeaders => Refusal::new(Status::HeadersTooLarge, "there are too many headers"),
            httparse::Error::Version => Refusal::new(Status::VersionNotSupported, "HTTP/1.1 and 1.0 are spoken here"),
            _ => MALFORMED,
        }),
    }
}

fn take<'h>(request: &httparse::Request<'_, 'h>) -> Result<Head<'h>, Refusal> {
    let mut head = Head { is_old: request.version == Some(0), ..Head::default() };
    head.keeps_alive = !head.is_old;
    head.method = match request.method.unwrap_or_default() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "POST" => Method::Post,
        "OPTIONS" | "TRACE" | "CONNECT" | "PATCH" => Method::Other,
        _ => {
            head.refuse(Status::NotImplemented, "the method is not known");
            Method::Other
        }
    };
    match Target::parse(request.path.unwrap_or_default()) {
        Ok(target) => head.target = target,
        Err(refusal) => head.refusal = head.refusal.or(Some(refusal)),
    }
    let mut coding = None;
    let mut length = None;
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or("\u{fffd}").trim_matches([' ', '\t']);
        match header.name {
            name if name.eq_ignore_ascii_case("content-length") => {
                once(&mut length, value, "Content-Length comes twice")?
            }
            name if name.eq_ignore_ascii_case("transfer-encoding") => {
                once(&mut coding, value, "Transfer-Encoding comes twice")?
            }
            name if name.eq_ignore_ascii_case("host") => once(&mut head.host, value, "Host comes twice")?,
            name => head.take_field(name, value)?,
        }
    }
    head.framing = framing(length, coding, head.is_old)?;
    if head.host.is_none() && !head.is_old {
        return Err(Refusal::new(Status::BadRequest, "there is no Host"));
    }
    Ok(head)
}

fn once<'h>(place: &mut Option<&'h str>, value: &'h str, twice: &'static str) -> Result<(), Refusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::new(Status::BadRequest, twice)),
    }
}

/// RFC 9112, 6.3, without what it lets a recipient mend.
fn framing(length: Option<&str>, coding: Option<&str>, is_old: bool) -> Result<Framing, Refusal> {
    match (length, coding) {
        (None, None) => Ok(Framing::Nothing),
        (Some(length), None) => match fields::number(length) {
            Some(length) => Ok(Framing::Length(length)),
            None => Err(Refusal::new(Status::BadRequest, "Content-Length is no length")),
        },
        (Some(_), Some(_)) => {
            Err(Refusal::new(Status::BadRequest, "there is both a Content-Length and a Transfer-Encoding"))
        }
        (None, Some(_)) if is_old => Err(Refusal::new(Status::BadRequest, "HTTP/1.0 has no Transfer-Encoding")),
        (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(Refusal::new(Status::NotImplemented, "the Transfer-Encoding is not chunked")),
    }
}

impl<'h> Head<'h> {
    /// What is found first counts.
    fn refuse(&mut self, status: Status, text: &'static str) {
        self.refusal.get_or_insert(Refusal::new(status, text));
    }

    fn take_field(&mut self, name: &str, value: &'h str) -> Result<(), Refusal> {
        match name {
            _ if name.eq_ignore_ascii_case("connection") => {
                for word in fields::words(value) {
                    if word.eq_ignore_ascii_case("close") {
                        self.keeps_alive = false;
                    } else if word.eq_ignore_ascii_case("keep-alive") && self.is_old {
                        self.keeps_alive = true;
                    }
                }
            }
            _ if name.eq_ignore_ascii_case("expect") => match value.eq_ignore_ascii_case("100-continue") {
                true => self.waits = !self.is_old,
                false => self.refuse(Status::ExpectationFailed, "only 100-continue can be expected"),
            },
            _ if name.eq_ignore_ascii_case("authorization") => {
                once(&mut self.authorization, value, "Authorization comes twice")?
            }
            _ if name.eq_ignore_ascii_case("origin") => once(&mut self.origin, value, "Origin comes twice")?,
            _ if name.eq_ignore_ascii_case("accept") => self.accept = value,
            _ if name.eq_ignore_ascii_case("cache-control") => self.max_age = self.max_age.or(fields::max_age(value)),
            _ if name.eq_ignore_ascii_case("if-match") => {
                self.if_match = Tags::read(self.if_match.take(), value);
                if self.if_match.is_none() {
                    self.refuse(Status::BadRequest, "If-Match is no list of tags");
                }
            }
            _ if name.eq_ignore_ascii_case("if-none-match") => {
                self.if_none_match = Tags::read(self.if_none_match.take(), value);
                if self.if_none_match.is_none() {
                    self.refuse(Status::BadRequest, "If-None-Match is no list of tags");
                }
            }
            _ if name.eq_ignore_ascii_case("range") => self.range = ByteRange::parse(value),
            _ if name.eq_ignore_ascii_case("if-range") => self.if_range = Some(value),
            _ if name.eq_ignore_ascii_case("content-range") => {
                self.refuse(Status::BadRequest, "a part of a value cannot be put")
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status that a head is refused with.
    fn status(text: &str) -> Option<Status> {
        let mut scan = Scan::default();
        match scan.end(text.as_bytes()) {
            Err(refusal) => Some(refusal.status),
            Ok(end) => parse(&text.as_bytes()[..end.expect("a whole head")]).err().map(|refusal| refusal.status),
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let cases = [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: -5",
            "Content-Length: 0x5",
            "Content-Length: 5 5",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length : 5",
            "Transfer-Encoding : chunked",
            " Content-Length: 5",
            "X: a\r\n b",
            "X: a\r\n\tContent-Length: 5",
            "X: a\nContent-Length: 5",
            "X: a\rContent-Length: 5",
            "X: a\0b",
            "X",
            ": x",
            "Host: other",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Content\u{e9}Length: 5",
        ];
        for case in cases {
            let text = format!("PUT /kv/k HTTP/1.1\r\nHost: h\r\n{case}\r\n\r\n");
            assert_eq!(status(&text), Some(Status::BadRequest), "{case:?}");
        }
        for coding in ["xchunked", "chunked, chunked", "gzip, chunked", "chunked, identity", "\u{b}chunked", ""] {
            let text = format!("PUT /kv/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {coding}\r\n\r\n");
            assert!(matches!(status(&text), Some(Status::NotImplemented | Status::BadRequest)), "{coding:?}");
        }
    }

    #[test]
    fn request_lines() {
        for (line, expect) in [
            ("GET / HTTP/1.1", None),
            ("GET  / HTTP/1.1", Some(Status::BadRequest)),
            ("GET / HTTP/1.1 ", Some(Status::BadRequest)),
            ("GET /a b HTTP/1.1", Some(Status::VersionNotSupported)),
            ("GET /", Some(Status::BadRequest)),
            ("GET / HTTP/2.0", Some(Status::VersionNotSupported)),
            ("GET / HTTP/1.2", Some(Status::VersionNotSupported)),
            ("GET\t/ HTTP/1.1", Some(Status::BadRequest)),
            ("*1", Some(Status::BadRequest)),
            ("PING", Some(Status::BadRequest)),
            ("", Some(Status::BadRequest)),
        ] {
            assert_eq!(status(&format!("{line}\r\nHost: h\r\n\r\n")), expect, "{line:?}");
        }
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), Some(Status::BadRequest));
        assert_eq!(status("GET / HTTP/1.0\r\n\r\n"), None);
        assert_eq!(status("GET / HTTP/1.1\nHost: h\n\n"), Some(Status::BadRequest));
        assert_eq!(
            parse(b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().refusal.unwrap().status,
            Status::NotImplemented
        );
    }

    #[test]
    fn heads_are_bounded() {
        let long = "x".repeat(limits::HTTP_HEAD_MAX_BYTES);
        let ended = |text: &str| Scan::default().end(text.as_bytes()).map_err(|refusal| refusal.status);
        assert_eq!(ended(&format!("GET /kv/{long}")), Err(Status::UriTooLong));
        assert_eq!(ended(&format!("GET /kv/k HTTP/1.1\r\nX: {long}")), Err(Status::HeadersTooLarge));
        assert_eq!(ended(&format!("GET /kv/k HTTP/1.1\r\nX: {long}\r\n\r\n")), Err(Status::HeadersTooLarge));
        let many = "X: y\r\n".repeat(limits::HTTP_HEADERS_MAX + 1);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{many}\r\n")), Some(Status::HeadersTooLarge));
    }

    #[test]
    fn the_end_is_found_wherever_the_pieces_end() {
        let text = b"GET /kv/k HTTP/1.1\r\nHost: h\r\n\r\nGET";
        let mut scan = Scan::default();
        for cut in 0..text.len() - 3 {
            let expect = (cut == text.len() - 3).then_some(cut);
            assert_eq!(scan.end(&text[..cut]), Ok(expect), "{cut}");
        }
        assert_eq!(scan.end(text), Ok(Some(text.len() - 3)));
    }

    #[test]
    fn what_a_head_says() {
        let head = parse(
            b"PUT /kv/a%20b?ttl=5 HTTP/1.1\r\nHost: h:1\r\nConnection: x, Close\r\ncontent-length: 007\r\n\
              Expect: 100-Continue\r\nIF-MATCH: \"0000000000000001\"\r\nIf-Match: \"0000000000000002\"\r\n\r\n",
        );
        let head = head.unwrap();
        assert_eq!((head.method, &head.target.key[..], head.target.ttl), (Method::Put, &b"a b"[..], Some(5)));
        assert_eq!((head.framing, head.keeps_alive, head.waits), (Framing::Length(7), false, true));
        assert_eq!(head.if_match, Some(Tags::Listed(vec![(1, false), (2, false)])));
        assert_eq!(head.refusal, None);
    }
}
