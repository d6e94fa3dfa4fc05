//! kv-cache: an in-memory key-value cache server that speaks RESP over io_uring.
//!
//! The modules in the order in which a request meets them; arrows go only down. `ARCHITECTURE.md` is the map.
#![deny(unsafe_code)]

pub mod config;
pub mod server;
pub mod supervisor;
pub mod reload;
pub mod tune;
pub mod ping;

pub mod engine;
pub mod session;
pub mod timing;
pub mod command;
pub mod script;
pub mod resp;
pub mod keyspace;
pub mod shard;

pub mod shared;
pub mod clients;
pub mod stats;
pub mod rates;
pub mod slowlog;
pub mod latency;
pub mod histogram;
pub mod counter;
pub mod system;
pub mod glob;
pub mod clock;
pub mod units;
pub mod error;
pub mod limits;
