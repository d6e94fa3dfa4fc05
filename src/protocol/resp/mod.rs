//! RESP: bytes to requests (`parser`), some of them at a time (`batch`), peers that speak
//! something else (`foreign`), and a connection's conversation (`session`).
//! Replies are written by `message::reply`, which the commands share.

pub mod batch;
mod foreign;
pub mod parser;
pub mod session;
