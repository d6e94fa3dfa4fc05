//! memcached's text protocol. Knows nothing of sockets; replies are borrowed from the input.

use super::{Credentials, Found, Kind, Malformed, Protocol, Reply, Request, Values, line, number, push_number};
use std::time::Duration;

pub struct Text {
    pub credentials: Option<Credentials>,
}

impl Protocol for Text {
    /// With `-Y` memcached takes user and password as the value of a first `set`, whatever its key.
    fn greet(&self, out: &mut Vec<u8>) -> usize {
        let Some(Credentials { user, password }) = &self.credentials else { return 0 };
        let secret = format!("{} {password}", user.as_deref().unwrap_or_default());
        store(b"auth", secret.as_bytes(), None, out);
        1
    }

    fn version(&self, about: &str) -> Option<String> {
        Some(format!("memcached {about}")).filter(|_| !about.is_empty())
    }

    fn encode(&self, request: &Request, out: &mut Vec<u8>) {
        match request {
            Request::Get { key } => words(&[b"get", key], out),
            Request::MultiGet { keys } => {
                out.extend_from_slice(b"get");
                for key in keys.iter() {
                    out.push(b' ');
                    out.extend_from_slice(key);
                }
                out.extend_from_slice(b"\r\n");
            }
            Request::Set { key, value, ttl } => store(key, value, *ttl, out),
            Request::Delete { key } => words(&[b"delete", key], out),
            Request::Increment { counter } => words(&[b"incr", counter, b"1"], out),
            Request::About => words(&[b"version"], out),
            Request::Items => words(&[b"stats"], out),
            Request::Flush => words(&[b"flush_all"], out),
            // In units of a MiB, rounded.
            Request::Limit { bytes } => {
                let units = (bytes + (1 << 19)) >> 20;
                words(&[b"cache_memlimit", units.to_string().as_bytes()], out);
            }
        }
    }

    fn decode<'a>(&self, kind: Kind, input: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, Malformed> {
        let Some((head, behind)) = line(input, 0) else {
            return if input.len() > 64 * 1024 { Err("a line without an end") } else { Ok(None) };
        };
        let reply = match head {
            b"STORED" | b"OK" => Reply::Done,
            b"DELETED" => Reply::Number(1),
            b"NOT_FOUND" if kind == Kind::Delete => Reply::Number(0),
            b"NOT_FOUND" => Reply::Missing,
            b"NOT_STORED" | b"ERROR" => Reply::Error(head),
            _ if head.starts_with(b"MEMLIMIT_") => Reply::Error(head),
            _ if head.starts_with(b"SERVER_ERROR") || head.starts_with(b"CLIENT_ERROR") => Reply::Error(head),
            _ if head.starts_with(b"VALUE ") || head == b"END" => return values(kind, input),
            _ if head.starts_with(b"STAT ") => return items(input),
            _ if head.starts_with(b"VERSION ") => Reply::Value(&head[b"VERSION ".len()..]),
            digits => Reply::Number(number(digits).ok_or("bytes that are no memcached reply")?),
        };
        Ok(Some((reply, behind)))
    }
}

fn words(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(&words.join(&b' '));
    out.extend_from_slice(b"\r\n");
}

fn store(key: &[u8], value: &[u8], ttl: Option<Duration>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"set ");
    out.extend_from_slice(key);
    out.extend_from_slice(b" 0 ");
    push_number(ttl.map_or(0, seconds), out);
    out.push(b' ');
    push_number(value.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whole seconds, rounded up. memcached takes more than 30 days for a date in 1970, so longer ones are cut there.
pub fn seconds(ttl: Duration) -> u64 {
    const LONGEST_RELATIVE_SECONDS: u64 = 30 * 24 * 3600;
    ttl.as_millis().div_ceil(1000).min(u128::from(LONGEST_RELATIVE_SECONDS)) as u64
}

/// Reads `STAT` lines up to `END`; of them all it takes how many items there are.
fn items(input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let (mut at, mut count) = (0, 0);
    loop {
        let Some((head, behind)) = line(input, at) else { return Ok(None) };
        at = behind;
        match head.strip_prefix(b"STAT ") {
            Some(stat) => count = stat.strip_prefix(b"curr_items ").and_then(number).unwrap_or(count),
            None if head == b"END" => return Ok(Some((Reply::Number(count), at))),
            None => return Err("a line among STATs that is none"),
        }
    }
}

/// Reads `VALUE` blocks up to `END`.
fn values(kind: Kind, input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let mut items = Items { rest: input };
    let mut first = None;
    loop {
        match items.step()? {
            Step::Incomplete => return Ok(None),
            Step::Item(found) => first = first.or(found.value),
            Step::End => break,
        }
    }
    let length = input.len() - items.rest.len();
    let reply = match (kind, first) {
        (Kind::MultiGet, _) => Reply::Values(Values::Memcached(Items { rest: &input[..length] })),
        (_, None) => Reply::Missing,
        (_, Some(value)) => Reply::Value(value),
    };
    Ok(Some((reply, length)))
}

/// The items of a reply to `get`, one after the other.
#[derive(Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

enum Step<'a> {
    Incomplete,
    Item(Found<'a>),
    End,
}

impl<'a> Iterator for Items<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        match self.step() {
            Ok(Step::Item(found)) => Some(found),
            _ => None,
        }
    }
}

impl<'a> Items<'a> {
    fn step(&mut self) -> Result<Step<'a>, Malformed> {
        let input = self.rest;
        let Some((head, behind)) = line(input, 0) else { return Ok(Step::Incomplete) };
        if head == b"END" {
            self.rest = &input[behind..];
            return Ok(Step::End);
        }
        // VALUE key flags bytes
        let mut words = head.split(|byte| *byte == b' ');
        let (Some(b"VALUE"), key, _flags, length) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err("bytes that are no memcached value");
        };
        let length = length.and_then(number).filter(|n| (0..1 << 32).contains(n)).ok_or("a value without a length")?;
        let end = behind + length as usize;
        match input.get(end..end + 2) {
            None => Ok(Step::Incomplete),
            Some(b"\r\n") => {
                self.rest = &input[end + 2..];
                Ok(Step::Item(Found { key, value: Some(&input[behind..end]) }))
            }
            Some(_) => Err("a value longer than it says"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, check_whole_and_at_every_cut};
    use super::*;

    fn show(kind: Kind, input: &[u8]) -> String {
        testing::show(&Text { credentials: None }, kind, input, testing::key_values)
    }

    #[test]
    fn replies_are_read_whole_and_at_every_cut() {
        let replies: &[(Kind, &[u8], &str)] = &[
            (Kind::Set, b"STORED\r\n", "Done in 8"),
            (Kind::Get, b"END\r\n", "Missing in 5"),
            (Kind::Get, b"VALUE k 0 3\r\nEND\r\nEND\r\n", "\"END\" in 23"),
            (Kind::MultiGet, b"VALUE a 0 1\r\n1\r\nVALUE b 0 2\r\n22\r\nEND\r\n", "a=1 b=22 in 38"),
            (Kind::MultiGet, b"END\r\n", " in 5"),
            (Kind::Delete, b"NOT_FOUND\r\n", "Number(0) in 11"),
            (Kind::Delete, b"DELETED\r\n", "Number(1) in 9"),
            (Kind::Increment, b"NOT_FOUND\r\n", "Missing in 11"),
            (Kind::Increment, b"12\r\n", "Number(12) in 4"),
            (Kind::Set, b"SERVER_ERROR out of memory\r\n", "error \"SERVER_ERROR out of memory\" in 28"),
        ];
        check_whole_and_at_every_cut(show, replies, b"STORED\r\n");
    }

    #[test]
    fn garbage_is_malformed() {
        for bad in [&b"hello there\r\n"[..], b"VALUE k 0\r\n", b"VALUE k 0 x\r\n", b"VALUE k 0 1\r\nabcd\r\n"] {
            assert!(show(Kind::Get, bad).starts_with("malformed"), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn requests_are_lines() {
        let encoded = |request: &Request| {
            let mut out = Vec::new();
            Text { credentials: None }.encode(request, &mut out);
            String::from_utf8(out).unwrap().replace("\r\n", "|")
        };
        let set = |ttl| encoded(&Request::Set { key: b"k", value: b"vv", ttl });
        assert_eq!(set(None), "set k 0 0 2|vv|");
        assert_eq!(set(Some(Duration::from_millis(1))), "set k 0 1 2|vv|");
        assert_eq!(set(Some(Duration::from_secs(90 * 24 * 3600))), "set k 0 2592000 2|vv|");
        let keys = crate::protocol::Keys { bytes: b"abc".to_vec(), ends: vec![1, 3] };
        assert_eq!(encoded(&Request::MultiGet { keys: &keys }), "get a bc|");
        assert_eq!(encoded(&Request::Increment { counter: b"c" }), "incr c 1|");
    }
}
