//! The tests at the wire: each starts the real server, speaks to it through a socket and looks at the bytes. All but
//! those about choosing an engine run on both. Where a new test goes:
//!
//! | it is about | file |
//! |---|---|
//! | a command's replies and errors | `strings`, `counters`, `keys`, `expiry`, `connection`, `introspection` |

mod client;
mod harness;
mod wire;

mod backpressure;
mod balance;
mod connection;
mod counters;
mod cut;
mod drain;
mod engine_fallback;
mod expiry;
mod idle_connections;
mod introspection;
mod keys;
mod large_values;
mod limits;
mod linearizability;
mod malicious;
mod memory_cap;
mod options;
mod pipelines;
mod strings;
mod unix_socket;
