//! Errors of commands, by what happens next: reply and go on, or run again. It must not know who meets them.

use std::borrow::Cow;

/// Why a command ends before its reply.
#[derive(Debug)]
pub enum Stop {
    /// Reply with this error (Redis's text, code first) and go on with the next request.
    Error(Cow<'static, str>),
    /// An error stands in the reply and is counted: go on with the next request.
    AlreadyReplied,
    /// Room for a large value is being made piece by piece: let the others have their turn, then run it again.
    Retry,
    /// There is no room for the reply: the connection waits in line for it, then runs it again.
    Full,
    /// A script on another core holds what this needs: let the others have their turn, rest a moment, then run it again.
    Busy,
}

impl From<&'static str> for Stop {
    fn from(text: &'static str) -> Stop {
        Stop::Error(Cow::Borrowed(text))
    }
}

impl From<String> for Stop {
    fn from(text: String) -> Stop {
        Stop::Error(Cow::Owned(text))
    }
}

impl From<Cow<'static, str>> for Stop {
    fn from(text: Cow<'static, str>) -> Stop {
        Stop::Error(text)
    }
}

/// Redis's texts that more than one command uses.
pub const SYNTAX: &str = "ERR syntax error";
pub const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub const NOT_A_FLOAT: &str = "ERR value is not a valid float";
pub const OVERFLOW: &str = "ERR increment or decrement would overflow";
pub const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
pub const VALUE_TOO_LARGE: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
pub const REPLY_LEFT_OUT: &str = "ERR done, but there is no room for the reply";
pub const NO_ROOM: &str =
    "OOM no room for the reply: replies in waiting hold what they may (an eighth of maxmemory); nothing was done";
pub const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
pub const NO_AUTH: &str = "NOAUTH Authentication required.";
pub const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// A client's text as it may stand in an error: bounded, and printable.
pub fn echo(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(crate::config::limits::ERROR_ECHO_MAX_BYTES)];
    String::from_utf8_lossy(shown).into_owned()
}
