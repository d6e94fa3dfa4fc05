//! Requests as `proto/kv_cache.proto` has them, read by prost. It must not know what they do.
//!
//! The structs are written here, not generated: a build of the server needs no compiler of schemas then, and a test
//! (`schema.rs`) holds every field against the file. Two messages of many parts stay bytes until their parts are asked for,
//! one by one: two bytes of input may be a part, and a list of them would take more than ten times as much memory.

use bytes::{Buf, Bytes};
use prost::encoding::bytes::merge;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(oneof = "Command", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub command: Option<Command>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Command {
    #[prost(message, tag = "2")]
    Get(Get),
    #[prost(message, tag = "3")]
    Set(Set),
    #[prost(message, tag = "4")]
    Delete(Delete),
    #[prost(message, tag = "5")]
    Increment(Increment),
    #[prost(message, tag = "6")]
    Touch(Touch),
    /// `MultiGet`, whose parts are keys.
    #[prost(bytes = "bytes", tag = "7")]
    MultiGet(Bytes),
    #[prost(message, tag = "8")]
    Ping(Ping),
    #[prost(message, tag = "9")]
    Auth(Auth),
    /// `Batch`, whose parts are requests.
    #[prost(bytes = "bytes", tag = "10")]
    Batch(Bytes),
}

#[derive(Clone, PartialEq, Message)]
pub struct Get {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct Set {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    #[prost(uint64, tag = "3")]
    pub ttl_ms: u64,
    #[prost(enumeration = "Condition", tag = "4")]
    pub condition: i32,
    #[prost(bytes = "bytes", tag = "5")]
    pub expected: Bytes,
    #[prost(bool, tag = "6")]
    pub keep_ttl: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
pub enum Condition {
    Always = 0,
    IfAbsent = 1,
    IfPresent = 2,
    IfEqual = 3,
}

#[derive(Clone, PartialEq, Message)]
pub struct Delete {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct Increment {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(sint64, optional, tag = "2")]
    pub by: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Touch {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(uint64, tag = "2")]
    pub ttl_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ping {}

#[derive(Clone, PartialEq, Message)]
pub struct Auth {
    #[prost(string, tag = "1")]
    pub password: String,
    #[prost(string, tag = "2")]
    pub user: String,
}

/// The length that a message begins with, and how many bytes that takes; `None` while it is incomplete.
///
/// # Errors
/// It is longer than a varint may be.
pub fn length(input: &[u8]) -> Result<Option<(u64, usize)>, DecodeError> {
    const VARINT_MAX_BYTES: usize = 10;
    let Some(end) = input.iter().take(VARINT_MAX_BYTES).position(|byte| byte & 0x80 == 0) else {
        // The error is that of too many bytes.
        return if input.len() < VARINT_MAX_BYTES { Ok(None) } else { decode_varint(&mut &input[..]).map(|_| None) };
    };
    Ok(Some((decode_varint(&mut &input[..=end])?, end + 1)))
}

/// Takes the first part, field 1, out of a message that was left as bytes; `None` when there are no more.
pub fn next_part(parts: &mut Bytes) -> Result<Option<Bytes>, DecodeError> {
    while parts.has_remaining() {
        match decode_key(parts)? {
            (1, WireType::LengthDelimited) => {
                let mut part = Bytes::new();
                merge(WireType::LengthDelimited, &mut part, parts, DecodeContext::default())?;
                return Ok(Some(part));
            }
            (number, kind) => skip_field(kind, number, parts, DecodeContext::default())?,
        }
    }
    Ok(None)
}
