//! memcached's meta protocol; what an operator asks goes in the classic one. Knows nothing of sockets; replies are borrowed
//! from the input.

use super::memcached::{Text, seconds};
use super::{Found, Kind, Malformed, Protocol, Reply, Request, Values, line, number, push_number};

pub struct Meta {
    pub text: Text,
}

impl Protocol for Meta {
    fn greet(&self, out: &mut Vec<u8>) -> usize {
        self.text.greet(out)
    }

    fn version(&self, about: &str) -> Option<String> {
        self.text.version(about)
    }

    fn encode(&self, request: &Request, out: &mut Vec<u8>) {
        match request {
            Request::Get { key } => words(&[b"mg", key, b"v"], out),
            // What is missing says nothing; a no-op behind them says that they are over.
            Request::MultiGet { keys } => {
                keys.iter().for_each(|key| words(&[b"mg", key, b"k", b"q", b"v"], out));
                words(&[b"mn"], out);
            }
            Request::Set { key, value, ttl } => {
                out.extend_from_slice(b"ms ");
                out.extend_from_slice(key);
                out.push(b' ');
                push_number(value.len() as u64, out);
                if let Some(ttl) = ttl {
                    out.extend_from_slice(b" T");
                    push_number(seconds(*ttl), out);
                }
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            Request::Delete { key } => words(&[b"md", key], out),
            Request::Increment { counter } => words(&[b"ma", counter, b"v"], out),
            _ => self.text.encode(request, out),
        }
    }

    fn decode<'a>(&self, kind: Kind, input: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, Malformed> {
        let Some((head, behind)) = line(input, 0) else { return self.text.decode(kind, input) };
        let reply = match head {
            b"MN" if kind == Kind::MultiGet => return values(input),
            b"HD" if kind == Kind::Delete => Reply::Number(1),
            b"NF" if kind == Kind::Delete => Reply::Number(0),
            b"HD" => Reply::Done,
            b"EN" | b"NF" => Reply::Missing,
            b"NS" | b"EX" => Reply::Error(head),
            _ if head.starts_with(b"VA ") && kind == Kind::MultiGet => return values(input),
            _ if head.starts_with(b"VA ") => {
                let Some((found, behind)) = value(head, behind, input)? else { return Ok(None) };
                let value = found.value.unwrap_or_default();
                let reply = match kind {
                    Kind::Increment => Reply::Number(number(value).ok_or("a counter that is no number")?),
                    _ => Reply::Value(value),
                };
                return Ok(Some((reply, behind)));
            }
            _ => return self.text.decode(kind, input),
        };
        Ok(Some((reply, behind)))
    }
}

fn words(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(&words.join(&b' '));
    out.extend_from_slice(b"\r\n");
}

/// The value behind a line `VA LENGTH FLAG...`, its key if that is told, and where both end; `None` while it has not come.
fn value<'a>(head: &'a [u8], behind: usize, input: &'a [u8]) -> Result<Option<(Found<'a>, usize)>, Malformed> {
    let mut words = head.split(|byte| *byte == b' ').skip(1);
    let length =
        words.next().and_then(number).filter(|n| (0..1 << 32).contains(n)).ok_or("a value without a length")?;
    let key = words.find_map(|word| word.strip_prefix(b"k"));
    let end = behind + length as usize;
    match input.get(end..end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some((Found { key, value: Some(&input[behind..end]) }, end + 2))),
        Some(_) => Err("a value longer than it says"),
    }
}

/// The values up to `MN`.
fn values(input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let mut at = 0;
    loop {
        let Some((head, behind)) = line(input, at) else { return Ok(None) };
        if head == b"MN" {
            return Ok(Some((Reply::Values(Values::Meta(Items { rest: &input[..at] })), behind)));
        }
        if !head.starts_with(b"VA ") {
            return Err("a line among values that is none");
        }
        let Some((_, behind)) = value(head, behind, input)? else { return Ok(None) };
        at = behind;
    }
}

/// The values of several `mg`, one after the other.
#[derive(Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let (head, behind) = line(self.rest, 0)?;
        let (found, behind) = value(head, behind, self.rest).ok()??;
        self.rest = &self.rest[behind..];
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, check_whole_and_at_every_cut};
    use super::*;
    use std::time::Duration;

    fn meta() -> Meta {
        Meta { text: Text { credentials: None } }
    }

    fn show(kind: Kind, input: &[u8]) -> String {
        testing::show(&meta(), kind, input, testing::key_values)
    }

    #[test]
    fn replies_are_read_whole_and_at_every_cut() {
        let replies: &[(Kind, &[u8], &str)] = &[
            (Kind::Set, b"HD\r\n", "Done in 4"),
            (Kind::Get, b"EN\r\n", "Missing in 4"),
            (Kind::Get, b"VA 3\r\nMN\r\r\n", "\"MN\\r\" in 11"),
            (Kind::MultiGet, b"VA 1 ka\r\n1\r\nVA 2 kb\r\n22\r\nMN\r\n", "a=1 b=22 in 29"),
            (Kind::MultiGet, b"MN\r\n", " in 4"),
            (Kind::Delete, b"NF\r\n", "Number(0) in 4"),
            (Kind::Delete, b"HD\r\n", "Number(1) in 4"),
            (Kind::Increment, b"NF\r\n", "Missing in 4"),
            (Kind::Increment, b"VA 2\r\n12\r\n", "Number(12) in 10"),
            (Kind::Set, b"SERVER_ERROR out of memory\r\n", "error \"SERVER_ERROR out of memory\" in 28"),
        ];
        check_whole_and_at_every_cut(show, replies, b"HD\r\n");
    }

    #[test]
    fn requests_are_lines() {
        let encoded = |request: &Request| {
            let mut out = Vec::new();
            meta().encode(request, &mut out);
            String::from_utf8(out).unwrap().replace("\r\n", "|")
        };
        let set = |ttl| encoded(&Request::Set { key: b"k", value: b"vv", ttl });
        assert_eq!(set(None), "ms k 2|vv|");
        assert_eq!(set(Some(Duration::from_millis(1))), "ms k 2 T1|vv|");
        let keys = crate::protocol::Keys { bytes: b"abc".to_vec(), ends: vec![1, 3] };
        assert_eq!(encoded(&Request::MultiGet { keys: &keys }), "mg a k q v|mg bc k q v|mn|");
        assert_eq!(encoded(&Request::Increment { counter: b"c" }), "ma c v|");
        assert_eq!(encoded(&Request::Flush), "flush_all|");
    }
}
