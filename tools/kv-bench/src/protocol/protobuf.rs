//! Messages of kv-cache's `proto/kv_cache.proto`, each behind its length. Written and read here field by field, without
//! copies; replies are borrowed from the input. Knows nothing of sockets.

use super::{Credentials, Found, Kind, Malformed, Protocol, Reply, Request, Values};
use std::time::Duration;

pub struct Protobuf {
    pub credentials: Option<Credentials>,
}

const VARINT: u64 = 0;
const BYTES: u64 = 2;

const MALFORMED: Malformed = "bytes that are no message of kv_cache.proto";

impl Protocol for Protobuf {
    fn greet(&self, out: &mut Vec<u8>) -> usize {
        let Some(Credentials { user, password }) = &self.credentials else { return 0 };
        let mut auth = Vec::new();
        push_bytes(1, password.as_bytes(), &mut auth);
        push_bytes(2, user.as_deref().unwrap_or_default().as_bytes(), &mut auth);
        push_request(9, &auth, out);
        1
    }

    /// It does not tell.
    fn version(&self, _: &str) -> Option<String> {
        None
    }

    fn encode(&self, request: &Request, out: &mut Vec<u8>) {
        let mut fields = Vec::new();
        let number = match request {
            Request::Get { key } => {
                push_bytes(1, key, &mut fields);
                2
            }
            Request::MultiGet { keys } => {
                keys.iter().for_each(|key| push_bytes(1, key, &mut fields));
                7
            }
            Request::Set { key, value, ttl } => {
                push_bytes(1, key, &mut fields);
                push_bytes(2, value, &mut fields);
                if let Some(ttl) = ttl {
                    push_varint(3 << 3 | VARINT, &mut fields);
                    push_varint(milliseconds(*ttl), &mut fields);
                }
                3
            }
            Request::Delete { key } => {
                push_bytes(1, key, &mut fields);
                4
            }
            Request::Increment { counter } => {
                push_bytes(1, counter, &mut fields);
                5
            }
            Request::About => 8,
            // There are no such orders; the server says so.
            Request::Items | Request::Flush | Request::Limit { .. } => 15,
        };
        push_request(number, &fields, out);
    }

    fn decode<'a>(&self, kind: Kind, input: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, Malformed> {
        let mut rest = input;
        let Some(length) = varint(&mut rest)? else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| MALFORMED)?;
        let Some(mut message) = rest.get(..length) else { return Ok(None) };
        let mut reply = None;
        while !message.is_empty() {
            reply = match (field(&mut message)?, kind) {
                ((1, _), _) => reply,
                ((2, Content::Bytes(text)), _) => Some(Reply::Error(text)),
                ((3, Content::Bytes(value)), _) => Some(only(value)?.map_or(Reply::Missing, Reply::Value)),
                ((4, Content::Number(done)), Kind::Delete) => Some(Reply::Number(done as i64)),
                ((4, Content::Number(1)), Kind::About) => Some(Reply::Value(b"")),
                ((4, Content::Number(1)), _) => Some(Reply::Done),
                ((5, Content::Number(zigzag)), _) => Some(Reply::Number((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))),
                ((6, Content::Bytes(rest)), _) => Some(Reply::Values(Values::Protobuf(Elements { rest }))),
                _ => return Err(MALFORMED),
            };
        }
        Ok(Some((reply.ok_or(MALFORMED)?, input.len() - rest.len() + length)))
    }
}

/// The values of a reply to a multi-key read, one after the other.
#[derive(Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let value = if self.rest.is_empty() { None } else { field(&mut self.rest).ok() };
        match value? {
            (1, Content::Bytes(value)) => Some(Found { key: None, value: only(value).ok()? }),
            _ => None,
        }
    }
}

enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The bytes in field 1 of a message that has no other; `None` when it has none at all.
fn only(mut message: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    if message.is_empty() {
        return Ok(None);
    }
    match field(&mut message)? {
        (1, Content::Bytes(bytes)) if message.is_empty() => Ok(Some(bytes)),
        _ => Err(MALFORMED),
    }
}

/// Takes the first field, which must be whole: its number and what it has.
fn field<'a>(message: &mut &'a [u8]) -> Result<(u64, Content<'a>), Malformed> {
    let key = varint(message)?.ok_or(MALFORMED)?;
    let number = varint(message)?.ok_or(MALFORMED)?;
    match key & 7 {
        VARINT => Ok((key >> 3, Content::Number(number))),
        BYTES => {
            let (bytes, rest) = message.split_at_checked(number as usize).ok_or(MALFORMED)?;
            *message = rest;
            Ok((key >> 3, Content::Bytes(bytes)))
        }
        _ => Err(MALFORMED),
    }
}

/// Takes a number; `None` while it is incomplete.
fn varint(input: &mut &[u8]) -> Result<Option<u64>, Malformed> {
    let mut number = 0;
    for (at, byte) in input.iter().enumerate() {
        if at == 10 {
            return Err(MALFORMED);
        }
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *input = &input[at + 1..];
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// A request whose command is field `number`.
fn push_request(number: u64, command: &[u8], out: &mut Vec<u8>) {
    let mut length = Vec::with_capacity(10);
    push_varint(command.len() as u64, &mut length);
    push_varint((1 + length.len() + command.len()) as u64, out);
    push_bytes(number, command, out);
}

fn push_bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    push_varint(number << 3 | BYTES, out);
    push_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// At least one: what is given a moment does not stay for ever.
fn milliseconds(ttl: Duration) -> u64 {
    (ttl.as_millis() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, check_whole_and_at_every_cut};
    use super::*;

    fn show(kind: Kind, input: &[u8]) -> String {
        testing::show(&Protobuf { credentials: None }, kind, input, |values| {
            let Values::Protobuf(elements) = values else { panic!("these are Protobuf's") };
            let shown = elements.map(|found| found.value.map(|value| String::from_utf8_lossy(value).into_owned()));
            format!("{:?}", shown.collect::<Vec<_>>())
        })
    }

    #[test]
    fn replies_are_read_whole_and_at_every_cut() {
        let replies: &[(Kind, &[u8], &str)] = &[
            (Kind::Get, b"\x06\x1a\x04\x0a\x02hi", "\"hi\" in 7"),
            (Kind::Get, b"\x08\x08\x05\x1a\x04\x0a\x02hi", "\"hi\" in 9"),
            (Kind::Get, b"\x04\x1a\x02\x0a\x00", "\"\" in 5"),
            (Kind::Get, b"\x02\x1a\x00", "Missing in 3"),
            (Kind::Set, b"\x02\x20\x01", "Done in 3"),
            (Kind::Delete, b"\x02\x20\x00", "Number(0) in 3"),
            (Kind::Increment, b"\x02\x28\x0d", "Number(-7) in 3"),
            (Kind::Set, b"\x08\x12\x06OOM no", "error \"OOM no\" in 9"),
            (Kind::MultiGet, b"\x09\x32\x07\x0a\x03\x0a\x01a\x0a\x00", "[Some(\"a\"), None] in 10"),
        ];
        check_whole_and_at_every_cut(show, replies, b"\x02\x20");
        for malformed in
            [b"+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n".as_slice(), b"\x00", b"\x02\x20\x80"]
        {
            assert!(show(Kind::Get, malformed).starts_with("malformed"));
        }
    }

    #[test]
    fn requests_are_messages_behind_their_length() {
        let encoded = |request: &Request| {
            let mut out = Vec::new();
            Protobuf { credentials: None }.encode(request, &mut out);
            out
        };
        assert_eq!(encoded(&Request::Get { key: b"k" }), b"\x05\x12\x03\x0a\x01k");
        let ttl = Some(Duration::from_millis(1500));
        assert_eq!(
            encoded(&Request::Set { key: b"k", value: b"vv", ttl }),
            b"\x0c\x1a\x0a\x0a\x01k\x12\x02vv\x18\xdc\x0b"
        );
        assert_eq!(encoded(&Request::About), b"\x02\x42\x00");
        let mut out = Vec::new();
        let credentials = Some(Credentials { user: None, password: "p".into() });
        assert_eq!(Protobuf { credentials }.greet(&mut out), 1);
        assert_eq!(out, b"\x07\x4a\x05\x0a\x01p\x12\x00");
    }
}
