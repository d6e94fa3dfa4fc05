//! What memcached's clients are answered, in memcached's words.

use crate::config::limits;
use crate::message::error;
use crate::message::output::Output;
use crate::observe::stats::CoreStats;
use crate::store::shard::Value;

pub const ERROR: &str = "ERROR";
pub const BAD_FORMAT: &str = "CLIENT_ERROR bad command line format";
pub const BAD_DATA: &str = "CLIENT_ERROR bad data chunk";
pub const BAD_EXPTIME: &str = "CLIENT_ERROR invalid exptime argument";
pub const BAD_DELTA: &str = "CLIENT_ERROR invalid numeric delta argument";
pub const BAD_DELETE: &str = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]";
pub const NOT_A_NUMBER: &str = "CLIENT_ERROR cannot increment or decrement non-numeric value";
pub const LONG_LINE: &str = "CLIENT_ERROR line too long";
pub const TOO_LARGE: &str = "SERVER_ERROR object too large for cache";
pub const NO_MEMORY: &str = "SERVER_ERROR out of memory storing object";
pub const BUSY: &str = "SERVER_ERROR busy: a script keeps the core or the key";
pub const NO_ROOM: &str = "SERVER_ERROR out of memory writing get response";
pub const NO_SHUTDOWN: &str = "ERROR: shutdown not enabled";
pub const UNAUTHENTICATED: &str = "CLIENT_ERROR unauthenticated";
pub const BAD_TOKEN: &str = "CLIENT_ERROR bad authentication token format";
pub const NO_PERMISSION: &str = "CLIENT_ERROR the user may not do that";
pub const WRONG_PASSWORD: &str = "CLIENT_ERROR authentication failure";

/// For one who finds no place. As memcached says it.
pub const FULL: &str = "ERROR Too many open connections\r\n";
pub const PROTECTED: &[u8] =
    b"SERVER_ERROR protected mode: no password is set, so only this host is served; set one, or --protected-mode no\r\n";

/// What clients take for memcached's version: the one whose protocol this is.
pub const VERSION: &str = "1.6.18";

/// An error of a command in memcached's words.
pub fn error_of(text: &str) -> &'static str {
    match text {
        error::VALUE_TOO_LARGE => TOO_LARGE,
        error::NO_ROOM => NO_ROOM,
        _ if text.starts_with("OOM ") => NO_MEMORY,
        _ if text.starts_with("BUSY ") => BUSY,
        _ if text.starts_with("ERR the reply has") => NO_ROOM,
        _ if text.starts_with("NOPERM ") => NO_PERMISSION,
        _ => "SERVER_ERROR the command failed",
    }
}

/// Counts an answer that refuses a value.
pub fn note_refusal(stats: &CoreStats, refusal: &str) {
    match refusal {
        TOO_LARGE => stats.memcached_store_too_large.add(1),
        NO_MEMORY => stats.memcached_store_no_memory.add(1),
        _ => {}
    }
}

/// A line.
pub fn line(reply: &mut Output, text: &str) {
    reply.write(text.as_bytes());
    reply.write(b"\r\n");
}

pub fn number(reply: &mut Output, number: u64) {
    reply.write(itoa::Buffer::new().format(number).as_bytes());
}

/// A value and the end of its line: copied when it is small, else sent from where it lies.
#[inline]
pub fn data(reply: &mut Output, value: Value) {
    match value {
        Value::Shared(blob) if blob.len() >= limits::SHARED_REPLY_MIN_BYTES => reply.share(blob.clone().into()),
        value => reply.write(value.as_slice()),
    }
    reply.write(b"\r\n");
}
