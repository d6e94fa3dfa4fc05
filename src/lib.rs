//! kv-cache: an in-memory key-value cache server that speaks RESP over io_uring.
//!
//! The folders in the order in which a request meets them, and below them what they stand on. Imports go only down this
//! list; `tests/tidy.rs` asserts it, and `ARCHITECTURE.md` is the map.
#![deny(unsafe_code)]

pub mod server;
pub mod net;
pub mod protocol;
pub mod command;
pub mod shared;
pub mod acl;
pub mod script;
pub mod clients;
pub mod message;
pub mod observe;
pub mod store;
pub mod config;
pub mod base;
