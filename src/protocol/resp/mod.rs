//! RESP: bytes to requests (`parser`), and a connection's conversation (`session`). Replies are written by
//! `message::reply`, which the commands share.

pub mod parser;
pub mod session;
