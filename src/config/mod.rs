//! What may be set, and every bound: options, sizes as people write them, limits, and what the host grants.

pub mod host;
pub mod limits;
mod options;
pub mod pin;
mod policy;
mod resolve;
pub mod rewrite;
mod start_error;
pub mod target;
pub mod units;

pub use options::*;
pub use policy::{LfuRules, OrderKind, POLICIES, Policy, parse_policy, policy_name};
pub use resolve::{Origin, Request, Resolved, Setting, resolve};
pub use start_error::StartError;
