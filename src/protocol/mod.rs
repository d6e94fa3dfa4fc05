//! The protocols that the endpoints speak, a folder each: parser and session. `front` is what the drivers see of them,
//! `turn` what they all do alike.

pub mod front;
pub mod core;
mod turn;
pub mod resp;
pub mod http;
pub mod memcached;
pub mod protobuf;
mod tls;

#[cfg(test)]
mod testing;
