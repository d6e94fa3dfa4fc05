//! The RESP protocol, both ways: bytes to arguments and replies to bytes. It must not know commands, keys or sockets.

pub mod kept;
pub mod parser;
pub mod reply;
