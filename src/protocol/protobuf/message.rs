//! Requests as `proto/kv_cache.proto` has them, read by prost. It must not know what they do.
//!
//! The structs are written here, not generated: a build of the server needs no compiler of schemas then, and a test
//! (`schema.rs`) holds every field against the file. Two messages of many parts stay bytes until their parts are asked for,
//! one by one: two bytes of input may be a part, and a list of them would take more than ten times as much memory.

use bytes::{Buf, Bytes};
use prost::encoding::bytes::merge;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Enumeration, Message, Oneof};

use crate::config::limits;

/// Why bytes are no request.
#[derive(Debug)]
pub enum Malformed {
    NoMessage(DecodeError),
    /// It would take long to look through.
    TooManyFields,
}

impl From<DecodeError> for Malformed {
    fn from(error: DecodeError) -> Malformed {
        Malformed::NoMessage(error)
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::NoMessage(error) => error.fmt(f),
            Malformed::TooManyFields => {
                write!(f, "it has more than {} fields or keys, or a group", limits::PROTOBUF_FIELDS_MAX)
            }
        }
    }
}

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
pub fn length(input: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    const VARINT_MAX_BYTES: usize = 10;
    let Some(end) = input.iter().take(VARINT_MAX_BYTES).position(|byte| byte & 0x80 == 0) else {
        if input.len() >= VARINT_MAX_BYTES {
            // The error is that of too many bytes.
            decode_varint(&mut &input[..])?;
        }
        return Ok(None);
    };
    Ok(Some((decode_varint(&mut &input[..=end])?, end + 1)))
}

/// Reads a whole request.
///
/// # Errors
/// It is none, or has more fields than may be looked through in one go.
pub fn request(message: Bytes) -> Result<Request, Malformed> {
    // A short one has few.
    if message.len() > limits::PROTOBUF_FIELDS_MAX {
        count_fields(&message, &mut { limits::PROTOBUF_FIELDS_MAX }, true)?;
    }
    Ok(Request::decode(message)?)
}

/// Counts down by the fields of a message and, if it is `outer`, of those in it. The requests of a batch are counted when
/// they are looked at, each by itself.
fn count_fields(mut input: &[u8], left: &mut usize, outer: bool) -> Result<(), Malformed> {
    const BATCH: u32 = 10;
    while input.has_remaining() {
        *left = left.checked_sub(1).ok_or(Malformed::TooManyFields)?;
        match decode_key(&mut input)? {
            (_, WireType::StartGroup) => return Err(Malformed::TooManyFields),
            (number, WireType::LengthDelimited) => {
                let length = decode_varint(&mut input)?;
                // Where it is cut off, reading it tells.
                let Some((content, rest)) = input.split_at_checked(length as usize) else { return Ok(()) };
                if outer && (2..BATCH).contains(&number) {
                    count_fields(content, left, false)?;
                }
                input = rest;
            }
            (number, kind) => skip_field(kind, number, &mut input, DecodeContext::default())?,
        }
    }
    Ok(())
}

/// Takes the first part, field 1, out of a message that was left as bytes; `None` when there are no more.
///
/// # Errors
/// It is no message, or more stands before its first part than may be looked through in one go.
pub fn next_part(parts: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
    for _ in 0..limits::PROTOBUF_FIELDS_MAX {
        if !parts.has_remaining() {
            return Ok(None);
        }
        match decode_key(parts)? {
            (1, WireType::LengthDelimited) => {
                let mut part = Bytes::new();
                merge(WireType::LengthDelimited, &mut part, parts, DecodeContext::default())?;
                return Ok(Some(part));
            }
            (_, WireType::StartGroup) => break,
            (number, kind) => skip_field(kind, number, parts, DecodeContext::default())?,
        }
    }
    Err(Malformed::TooManyFields)
}
