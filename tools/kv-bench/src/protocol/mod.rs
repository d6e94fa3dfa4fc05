//! The languages that servers speak: what is asked, what may come back. A protocol turns requests into bytes and bytes
//! into replies; it must not know of sockets, clocks or workloads. A new protocol is one file here and one row in
//! `Dialect`.

mod http;
mod memcached;
mod memcached_meta;
mod protobuf;
mod resp;
#[cfg(test)]
mod testing;

use clap::ValueEnum;
use std::{fmt, time::Duration};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Get,
    MultiGet,
    Set,
    Delete,
    Increment,
    /// Sets a counter to 0: only while filling, since memcached counts up only what exists.
    Zero,
    /// What the server is, in its own words.
    About,
    /// How many items the server holds.
    Items,
    /// An operator's order: to empty the server, to bound its memory.
    Order,
    /// Whatever the protocol says first on a connection: versions, passwords.
    Greeting,
}

/// One request, ready to be written.
pub enum Request<'a> {
    Get {
        key: &'a [u8],
    },
    MultiGet {
        keys: &'a Keys,
    },
    Set {
        key: &'a [u8],
        value: &'a [u8],
        ttl: Option<Duration>,
    },
    Delete {
        key: &'a [u8],
    },
    Increment {
        counter: &'a [u8],
    },
    About,
    Items,
    /// Removes all items.
    Flush,
    /// Bounds what the server may use, in bytes.
    Limit {
        bytes: u64,
    },
}

/// Several keys, one after the other in one buffer that is used again.
#[derive(Default)]
pub struct Keys {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
}

impl Keys {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ends.len()).map(|index| {
            let start = if index == 0 { 0 } else { self.ends[index - 1] };
            &self.bytes[start..self.ends[index]]
        })
    }
}

/// One reply, borrowed from the bytes that arrived.
#[derive(Debug)]
pub enum Reply<'a> {
    /// A write or greeting was accepted.
    Done,
    Value(&'a [u8]),
    Missing,
    Number(i64),
    /// What a multi-key read found. RESP answers each key in its place; memcached leaves out the missing ones.
    Values(Values<'a>),
    /// The server refused; its own words.
    Error(&'a [u8]),
}

/// The values of a multi-key read, found one after the other in the reply.
#[derive(Debug)]
pub enum Values<'a> {
    Resp(resp::Elements<'a>),
    Memcached(memcached::Items<'a>),
    Meta(memcached_meta::Items<'a>),
    Protobuf(protobuf::Elements<'a>),
}

/// A value or a gap; memcached names the key of each value that it returns.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

impl<'a> Iterator for Values<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        match self {
            Values::Resp(elements) => elements.next(),
            Values::Memcached(items) => items.next(),
            Values::Meta(items) => items.next(),
            Values::Protobuf(elements) => elements.next(),
        }
    }
}

/// Bytes that are no reply in this protocol; the connection cannot be used any further.
pub type Malformed = &'static str;

/// A user and password; the user is empty where only a password is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub user: Option<String>,
    pub password: String,
}

pub trait Protocol: Send {
    /// Appends what has to be said first on a connection; returns the number of replies to it.
    fn greet(&self, out: &mut Vec<u8>) -> usize;

    /// Name and version from the answer to `Request::About`; `None` if it does not tell.
    fn version(&self, about: &str) -> Option<String>;

    fn encode(&self, request: &Request, out: &mut Vec<u8>);

    /// The first reply in `input` and its length in bytes; `None` while it is incomplete.
    fn decode<'a>(&self, kind: Kind, input: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, Malformed>;
}

/// The protocols by the names that the options use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    Resp2,
    Resp3,
    Memcached,
    MemcachedMeta,
    Http,
    Protobuf,
}

impl Dialect {
    /// It can ask for several keys at once.
    pub fn has_multi_get(self) -> bool {
        self != Dialect::Http
    }

    pub fn protocol(self, credentials: Option<Credentials>) -> Box<dyn Protocol> {
        match self {
            Dialect::Resp2 => Box::new(resp::Resp { version: 2, credentials }),
            Dialect::Resp3 => Box::new(resp::Resp { version: 3, credentials }),
            Dialect::Memcached => Box::new(memcached::Text { credentials }),
            Dialect::MemcachedMeta => Box::new(memcached_meta::Meta { text: memcached::Text { credentials } }),
            Dialect::Http => Box::new(http::Http { credentials }),
            Dialect::Protobuf => Box::new(protobuf::Protobuf { credentials }),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Dialect::Resp2 => "resp2",
            Dialect::Resp3 => "resp3",
            Dialect::Memcached => "memcached",
            Dialect::MemcachedMeta => "memcached-meta",
            Dialect::Http => "http",
            Dialect::Protobuf => "protobuf",
        })
    }
}

/// The line that starts at `from`, without its CR LF, and the index behind it; `None` while it is incomplete.
fn line(input: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = input.get(from..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..end], from + end + 2))
}

/// Appends a number in decimal.
fn push_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A signed decimal number, nothing else.
fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
