//! Why the server does not start.

use std::fmt;

/// Why the server does not start, with what to do about it. `code` is the exit code: 2 for a wrong option, else 1.
#[derive(Debug)]
pub struct StartError {
    pub message: String,
    pub code: u8,
}

impl StartError {
    pub fn option(message: impl Into<String>) -> StartError {
        StartError { message: message.into(), code: 2 }
    }

    pub fn host(message: impl Into<String>) -> StartError {
        StartError { message: message.into(), code: 1 }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}
