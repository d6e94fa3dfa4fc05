//! The server: settings, statistics, what is known of commands.

pub mod acl;
pub mod basic;
pub mod cluster;
pub mod debug;
pub mod docs;
pub mod info;
pub mod introspection;
pub mod latency;
pub mod memory;
pub mod metrics;
pub mod monitor;
pub mod settings;
pub mod slowlog;
pub mod users;
mod values;
