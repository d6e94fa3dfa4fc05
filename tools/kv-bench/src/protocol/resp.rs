//! RESP2 and RESP3, as Redis and its kin speak them. Knows nothing of sockets; replies are borrowed from the input.

use super::{Credentials, Found, Kind, Malformed, Protocol, Reply, Request, Values, line, number, push_number};
use std::time::Duration;

pub struct Resp {
    pub version: u8,
    pub credentials: Option<Credentials>,
}

impl Protocol for Resp {
    fn greet(&self, out: &mut Vec<u8>) -> usize {
        let login: Vec<&[u8]> = match &self.credentials {
            None => vec![],
            Some(Credentials { user, password }) => match (user, self.version) {
                (None, 2) => vec![password.as_bytes()],
                (user, _) => vec![user.as_deref().unwrap_or("default").as_bytes(), password.as_bytes()],
            },
        };
        let mut words: Vec<&[u8]> = match self.version {
            2 => vec![],
            _ => vec![b"HELLO", b"3"],
        };
        if !login.is_empty() {
            words.push(b"AUTH");
            words.extend(login);
        }
        if words.is_empty() {
            return 0;
        }
        header(words.len(), out);
        words.iter().for_each(|word| bulk(word, out));
        1
    }

    /// INFO's section has `NAME_version:VERSION`; who imitates another names that one's version too, so Redis's counts
    /// only where there is no other.
    fn version(&self, about: &str) -> Option<String> {
        const OF_OTHER_THINGS: [&str; 3] = ["gcc", "proto", "availability_zone"];
        let versions = about.lines().filter_map(|line| {
            let (key, version) = line.trim_end().split_once(':')?;
            Some((key.strip_suffix("_version")?, version)).filter(|(name, _)| !OF_OTHER_THINGS.contains(name))
        });
        let (name, version) = versions.min_by_key(|(name, _)| *name == "redis")?;
        Some(format!("{} {version}", name.replace('_', "-")))
    }

    fn encode(&self, request: &Request, out: &mut Vec<u8>) {
        match request {
            Request::Get { key } => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                bulk(key, out);
            }
            Request::MultiGet { keys } => {
                header(keys.iter().len() + 1, out);
                bulk(b"MGET", out);
                keys.iter().for_each(|key| bulk(key, out));
            }
            Request::Set { key, value, ttl } => {
                out.extend_from_slice(if ttl.is_none() { b"*3\r\n$3\r\nSET\r\n" } else { b"*5\r\n$3\r\nSET\r\n" });
                bulk(key, out);
                bulk(value, out);
                if let Some(ttl) = ttl {
                    expiry(*ttl, out);
                }
            }
            Request::Delete { key } => {
                out.extend_from_slice(b"*2\r\n$3\r\nDEL\r\n");
                bulk(key, out);
            }
            Request::Increment { counter } => {
                out.extend_from_slice(b"*2\r\n$4\r\nINCR\r\n");
                bulk(counter, out);
            }
            Request::About => words(&[b"INFO", b"server"], out),
            Request::Items => words(&[b"DBSIZE"], out),
            Request::Flush => words(&[b"FLUSHALL"], out),
            Request::Limit { bytes } => words(&[b"CONFIG", b"SET", b"maxmemory", bytes.to_string().as_bytes()], out),
        }
    }

    fn decode<'a>(&self, kind: Kind, input: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, Malformed> {
        let mut start = 0;
        // A push is no answer; it may stand before one (RESP3).
        while let Some(b'>') = input.get(start) {
            match skip(input, start)? {
                None => return Ok(None),
                Some(end) => start = end,
            }
        }
        let Some(end) = skip(input, start)? else { return Ok(None) };
        let element = &input[start..end];
        let reply = match (element[0], kind) {
            (b'-' | b'!', _) => Reply::Error(text(element)),
            (_, Kind::Greeting) | (b'+', _) => Reply::Done,
            (b':', _) => Reply::Number(number(text(element)).ok_or("an integer that is none")?),
            (b'$', _) => value(element).map_or(Reply::Missing, Reply::Value),
            (b'_', _) => Reply::Missing,
            // Three letters for its format and a colon come first.
            (b'=', _) => value(element).map_or(Reply::Missing, |text| Reply::Value(text.get(4..).unwrap_or_default())),
            (b'*', _) => Reply::Values(Values::Resp(Elements::of(element))),
            _ => return Err("a reply of a type that none of the commands has"),
        };
        Ok(Some((reply, end)))
    }
}

fn words(words: &[&[u8]], out: &mut Vec<u8>) {
    header(words.len(), out);
    words.iter().for_each(|word| bulk(word, out));
}

fn header(words: usize, out: &mut Vec<u8>) {
    out.push(b'*');
    push_number(words as u64, out);
    out.extend_from_slice(b"\r\n");
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'$');
    push_number(bytes.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Whole seconds as EX, anything else as PX in milliseconds.
fn expiry(ttl: Duration, out: &mut Vec<u8>) {
    let (option, amount): (&[u8], u64) = match ttl.subsec_nanos() {
        0 => (b"EX", ttl.as_secs()),
        _ => (b"PX", ttl.as_millis() as u64),
    };
    bulk(option, out);
    let mut digits = Vec::with_capacity(20);
    push_number(amount, &mut digits);
    bulk(&digits, out);
}

/// The index behind the element at `start`, with all that it contains; `None` while it is incomplete.
fn skip(input: &[u8], start: usize) -> Result<Option<usize>, Malformed> {
    let mut at = start;
    let mut elements = 1u64;
    while elements > 0 {
        let Some(&kind) = input.get(at) else { return Ok(None) };
        if !b"+-:$*_#,(!=%~>".contains(&kind) {
            return Err("bytes that are no RESP reply");
        }
        let Some((head, behind)) = line(input, at + 1) else {
            // A reply's head is short; only errors and simple strings may be long.
            let endless = input.len() - at > 64 * 1024;
            return if endless { Err("a line without an end") } else { Ok(None) };
        };
        at = behind;
        elements -= 1;
        match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {}
            b'$' | b'!' | b'=' => {
                let length = number(head).filter(|n| *n >= -1).ok_or("a bulk string without a length")?;
                if length >= 0 {
                    at += length as usize + 2;
                    match input.get(at - 2..at) {
                        None => return Ok(None),
                        Some(b"\r\n") => {}
                        Some(_) => return Err("a bulk string longer than it says"),
                    }
                }
            }
            _ => {
                let count = number(head).filter(|n| (-1..1 << 32).contains(n)).ok_or("an array without a length")?;
                elements += count.max(0) as u64 * if kind == b'%' { 2 } else { 1 };
            }
        }
    }
    Ok(Some(at))
}

/// The words of a whole simple element or blob error.
fn text(element: &[u8]) -> &[u8] {
    match element[0] {
        b'!' => value(element).unwrap_or_default(),
        _ => &element[1..element.len() - 2],
    }
}

/// The bytes of a whole bulk string; `None` for the null one.
fn value(element: &[u8]) -> Option<&[u8]> {
    let (_, start) = line(element, 1)?;
    element.get(start..element.len() - 2)
}

/// The elements of a whole array, one after the other.
#[derive(Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    fn of(array: &'a [u8]) -> Elements<'a> {
        let start = line(array, 1).map_or(array.len(), |(_, behind)| behind);
        Elements { rest: &array[start..] }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let end = skip(self.rest, 0).ok().flatten()?;
        let (element, rest) = self.rest.split_at(end);
        self.rest = rest;
        let value = if element[0] == b'$' { value(element) } else { None };
        Some(Found { key: None, value })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, check_whole_and_at_every_cut};
    use super::*;

    fn resp(version: u8) -> Resp {
        Resp { version, credentials: None }
    }

    fn show(kind: Kind, input: &[u8]) -> String {
        testing::show(&resp(3), kind, input, |values| {
            let values: Vec<_> = values.map(|found| found.value.map(String::from_utf8_lossy)).collect();
            format!("{values:?}")
        })
    }

    const REPLIES: &[(Kind, &[u8], &str)] = &[
        (Kind::Set, b"+OK\r\n", "Done in 5"),
        (Kind::Get, b"$3\r\nfoo\r\n", "\"foo\" in 9"),
        (Kind::Get, b"$0\r\n\r\n", "\"\" in 6"),
        (Kind::Get, b"$4\r\na\r\nb\r\n", "\"a\\r\\nb\" in 10"),
        (Kind::Get, b"$-1\r\n", "Missing in 5"),
        (Kind::Get, b"_\r\n", "Missing in 3"),
        (Kind::Increment, b":-42\r\n", "Number(-42) in 6"),
        (Kind::Set, b"-OOM too much\r\n", "error \"OOM too much\" in 15"),
        (Kind::Set, b"!3\r\nbad\r\n", "error \"bad\" in 9"),
        (Kind::MultiGet, b"*3\r\n$1\r\na\r\n$-1\r\n_\r\n", "[Some(\"a\"), None, None] in 19"),
        (Kind::MultiGet, b"*0\r\n", "[] in 4"),
        (Kind::Greeting, b"%2\r\n+server\r\n+x\r\n+modules\r\n*1\r\n:1\r\n", "Done in 35"),
        (Kind::Get, b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n$1\r\nv\r\n", "\"v\" in 35"),
    ];

    #[test]
    fn replies_are_read_whole_and_at_every_cut() {
        check_whole_and_at_every_cut(show, REPLIES, b"+NEXT\r\n");
    }

    #[test]
    fn garbage_is_malformed_and_never_a_panic() {
        for bad in [&b"HTTP/1.1 400\r\n"[..], b"$x\r\n", b"$-2\r\n", b"$3\r\nfooXX", b"*9999999999999\r\n", b"\0"] {
            assert!(show(Kind::Get, bad).starts_with("malformed"), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(show(Kind::Get, &[b'+'; 100_000]).starts_with("malformed"));
        let mut state = 1u32;
        for _ in 0..200_000 {
            let input: Vec<u8> = (0..12)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b"$*%-+>_:019\r\n\r\nx"[(state >> 16) as usize % 16]
                })
                .collect();
            show(Kind::MultiGet, &input);
        }
    }

    fn encoded(request: &Request) -> String {
        let mut out = Vec::new();
        resp(2).encode(request, &mut out);
        String::from_utf8(out).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        let set = |ttl| encoded(&Request::Set { key: b"k", value: b"vv", ttl });
        assert_eq!(set(None), "*3 $3 SET $1 k $2 vv ");
        assert_eq!(set(Some(Duration::from_secs(60))), "*5 $3 SET $1 k $2 vv $2 EX $2 60 ");
        assert_eq!(set(Some(Duration::from_millis(1500))), "*5 $3 SET $1 k $2 vv $2 PX $4 1500 ");
        assert_eq!(encoded(&Request::Get { key: b"k" }), "*2 $3 GET $1 k ");
        assert_eq!(encoded(&Request::Delete { key: b"k" }), "*2 $3 DEL $1 k ");
        assert_eq!(encoded(&Request::Increment { counter: b"c" }), "*2 $4 INCR $1 c ");
        let keys = crate::protocol::Keys { bytes: b"abc".to_vec(), ends: vec![1, 3] };
        assert_eq!(encoded(&Request::MultiGet { keys: &keys }), "*3 $4 MGET $1 a $2 bc ");
    }

    #[test]
    fn servers_tell_what_they_are() {
        let version = |about: &str| resp(2).version(about);
        assert_eq!(version("# Server\r\nredis_version:7.0.15\r\ngcc_version:12\r\n").as_deref(), Some("redis 7.0.15"));
        let imitation = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        assert_eq!(version(imitation).as_deref(), Some("valkey 9.1.2"));
        assert_eq!(version("redis_version:7.4.0\r\nany_cache_version:0.1.0\r\n").as_deref(), Some("any-cache 0.1.0"));
        assert_eq!(version("uptime:1\r\n"), None);
        assert_eq!(show(Kind::About, b"=8\r\ntxt:a:1\n\r\n"), "\"a:1\\n\" in 14");
    }

    #[test]
    fn greetings_say_version_and_password() {
        let greeting = |version, user: Option<&str>| {
            let credentials = Some(Credentials { user: user.map(String::from), password: "pw".into() });
            let mut out = Vec::new();
            assert_eq!(Resp { version, credentials }.greet(&mut out), 1);
            String::from_utf8(out).unwrap().replace("\r\n", " ")
        };
        assert_eq!(greeting(2, None), "*2 $4 AUTH $2 pw ");
        assert_eq!(greeting(2, Some("me")), "*3 $4 AUTH $2 me $2 pw ");
        assert_eq!(greeting(3, None), "*5 $5 HELLO $1 3 $4 AUTH $7 default $2 pw ");
        assert_eq!(resp(2).greet(&mut Vec::new()), 0);
    }
}
