//! Protocol Buffers, for clients that are made from `proto/kv_cache.proto`: messages behind their lengths.
//!
//! | file | what it is |
//! |---|---|
//! | `message` | bytes to a request |
//! | `command` | a request as words of a command, and what the command comes to |
//! | `answer` | responses as bytes |
//! | `session` | the conversation |
//!
//! What no command can make sense of is an error in a response; what is no message is one, too, and ends the connection.

pub mod answer;
mod command;
mod message;
pub mod session;

#[cfg(test)]
mod schema;
