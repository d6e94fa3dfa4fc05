//! What may be set, and every bound: options, sizes as people write them, limits, and what the host grants.

pub mod host;
mod hot;
pub mod limits;
mod options;
mod origin;
pub mod pin;
mod policy;
mod resolve;
pub mod rewrite;
mod start_error;
pub mod target;
pub mod tls;
pub mod units;

/// What clients take this server for: they choose features by it. 7.4 is the Redis whose string, key, connection and
/// scripting commands are the measure here.
pub const REDIS_VERSION: &str = "7.4.1";
/// The same as one number, as scripts see it.
pub const REDIS_VERSION_NUMBER: i64 = 0x0007_0401;

pub use hot::HotMemory;
pub use options::*;
pub use origin::{Origin, Resolved, Setting};
pub use policy::{LfuRules, OrderKind, POLICIES, Policy, parse_policy, policy_name};
pub use resolve::{Request, resolve};
pub use start_error::StartError;
