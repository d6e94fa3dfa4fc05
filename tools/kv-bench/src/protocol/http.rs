//! HTTP/1.1, with the value of a key at `/kv/KEY` and Prometheus's text at `/metrics`. Knows nothing of sockets; replies are
//! borrowed from the input.

use super::{Credentials, Kind, Malformed, Protocol, Reply, Request, line, number, push_number};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::time::Duration;

pub struct Http {
    pub credentials: Option<Credentials>,
}

/// No head of a reply is longer.
const HEAD_MAX_BYTES: usize = 64 * 1024;

impl Protocol for Http {
    /// Each request brings the password.
    fn greet(&self, _: &mut Vec<u8>) -> usize {
        0
    }

    fn version(&self, about: &str) -> Option<String> {
        let (_, rest) = about.split_once("\nkv_cache_info{version=\"")?;
        rest.split_once('"').map(|(version, _)| format!("kv-cache {version}"))
    }

    fn encode(&self, request: &Request, out: &mut Vec<u8>) {
        match request {
            Request::Get { key } => self.ask("GET", key, b"", out),
            // The options refuse it: there is no such request.
            Request::MultiGet { .. } => self.ask("GET", b"", b"", out),
            Request::Set { key, value, ttl } => {
                let mut query = Vec::new();
                if let Some(ttl) = ttl {
                    query.extend_from_slice(b"?ttl=");
                    push_number(seconds(*ttl), &mut query);
                }
                self.begin("PUT", key, &query, out);
                out.extend_from_slice(b"Content-Length: ");
                push_number(value.len() as u64, out);
                out.extend_from_slice(b"\r\n\r\n");
                out.extend_from_slice(value);
            }
            Request::Delete { key } => self.ask("DELETE", key, b"", out),
            Request::Increment { counter } => self.ask("POST", counter, b"", out),
            Request::About | Request::Items => {
                out.extend_from_slice(b"GET /metrics HTTP/1.1\r\n");
                self.end(out);
            }
            // There is no such order; the server says so.
            Request::Flush | Request::Limit { .. } => {
                out.extend_from_slice(b"DELETE /kv HTTP/1.1\r\n");
                self.end(out);
            }
        }
    }

    fn decode<'a>(&self, kind: Kind, input: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, Malformed> {
        let Some((first, mut at)) = line(input, 0) else {
            return if input.len() > HEAD_MAX_BYTES { Err("a line without an end") } else { Ok(None) };
        };
        let status = first.strip_prefix(b"HTTP/1.1 ").ok_or("bytes that are no HTTP reply")?;
        let mut length = 0;
        loop {
            let Some((field, behind)) = line(input, at) else {
                return if input.len() - at > HEAD_MAX_BYTES { Err("a line without an end") } else { Ok(None) };
            };
            at = behind;
            if field.is_empty() {
                break;
            }
            const LENGTH: &[u8] = b"content-length: ";
            if field.len() > LENGTH.len() && field[..LENGTH.len()].eq_ignore_ascii_case(LENGTH) {
                let bytes = number(&field[LENGTH.len()..]).and_then(|bytes| usize::try_from(bytes).ok());
                length = bytes.ok_or("a length that is none")?;
            }
        }
        let Some(body) = input.get(at..at + length) else { return Ok(None) };
        let reply = match (&status[..status.len().min(3)], kind) {
            (b"404", Kind::Get) => Reply::Missing,
            (b"404", Kind::Delete) => Reply::Number(0),
            (b"200", Kind::Increment) => Reply::Number(number(body).ok_or("a count that is no number")?),
            (b"200", Kind::Items) => Reply::Number(keys(body)),
            (b"200", _) => Reply::Value(body),
            (b"204", Kind::Delete) => Reply::Number(1),
            (b"201" | b"204", _) => Reply::Done,
            _ => Reply::Error(status),
        };
        Ok(Some((reply, at + length)))
    }
}

impl Http {
    /// A request without a body.
    fn ask(&self, method: &str, key: &[u8], query: &[u8], out: &mut Vec<u8>) {
        self.begin(method, key, query, out);
        out.extend_from_slice(b"\r\n");
    }

    /// A head up to its own headers.
    fn begin(&self, method: &str, key: &[u8], query: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(method.as_bytes());
        out.extend_from_slice(b" /kv/");
        for &byte in key {
            if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
                out.push(byte);
            } else {
                out.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
        out.extend_from_slice(query);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.identify(out);
    }

    fn identify(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Host: localhost\r\n");
        if let Some(Credentials { user, password }) = &self.credentials {
            let secret = BASE64_STANDARD.encode(format!("{}:{password}", user.as_deref().unwrap_or_default()));
            out.extend_from_slice(format!("Authorization: Basic {secret}\r\n").as_bytes());
        }
    }

    fn end(&self, out: &mut Vec<u8>) {
        self.identify(out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Of all databases, from the metrics.
fn keys(metrics: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(metrics);
    let counts = text.lines().filter(|line| line.starts_with("kv_cache_keys{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok()).sum()
}

/// At least one: what is given a moment does not stay for ever.
fn seconds(ttl: Duration) -> u64 {
    (ttl.as_millis() as u64).div_ceil(1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, check_whole_and_at_every_cut};
    use super::*;

    fn show(kind: Kind, input: &[u8]) -> String {
        testing::show(&Http { credentials: None }, kind, input, |_| unreachable!("HTTP reads one key at a time"))
    }

    #[test]
    fn replies_are_read_whole_and_at_every_cut() {
        let replies: &[(Kind, &[u8], &str)] = &[
            (Kind::Get, b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nhi", "\"hi\" in 46"),
            (Kind::Get, b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nn", "Missing in 46"),
            (Kind::Set, b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", "Done in 43"),
            (Kind::Set, b"HTTP/1.1 204 No Content\r\n\r\n", "Done in 27"),
            (Kind::Delete, b"HTTP/1.1 204 No Content\r\n\r\n", "Number(1) in 27"),
            (Kind::Increment, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n-7", "Number(-7) in 40"),
            (Kind::Set, b"HTTP/1.1 507 Insufficient Storage\r\n\r\n", "error \"507 Insufficient Storage\" in 37"),
        ];
        check_whole_and_at_every_cut(show, replies, b"HTTP/1.1 200 OK\r\n");
        assert!(show(Kind::Get, b"+PONG\r\n").starts_with("malformed"));
    }

    #[test]
    fn requests_have_a_head_and_a_body() {
        let encoded = |request: &Request, credentials| {
            let mut out = Vec::new();
            Http { credentials }.encode(request, &mut out);
            String::from_utf8(out).unwrap().replace("\r\n", "|")
        };
        assert_eq!(encoded(&Request::Get { key: b"a b" }, None), "GET /kv/a%20b HTTP/1.1|Host: localhost||");
        let ttl = Some(Duration::from_millis(1500));
        assert_eq!(
            encoded(&Request::Set { key: b"k", value: b"vv", ttl }, None),
            "PUT /kv/k?ttl=2 HTTP/1.1|Host: localhost|Content-Length: 2||vv"
        );
        let credentials = Some(Credentials { user: None, password: "secret".into() });
        assert_eq!(
            encoded(&Request::Increment { counter: b"c" }, credentials),
            "POST /kv/c HTTP/1.1|Host: localhost|Authorization: Basic OnNlY3JldA==||"
        );
    }

    #[test]
    fn metrics_tell_version_and_keys() {
        let page = "# x\nkv_cache_info{version=\"0.1.0\",engine=\"epoll\"} 1\nkv_cache_keys{db=\"0\"} 2\nkv_cache_keys{db=\"3\"} 40\n";
        assert_eq!(Http { credentials: None }.version(page), Some("kv-cache 0.1.0".into()));
        assert_eq!(keys(page.as_bytes()), 42);
    }
}
