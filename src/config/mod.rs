//! What may be set, and every bound: options, sizes as people write them, limits, and what the host grants.

pub mod host;
pub mod limits;
mod options;
mod policy;
mod start_error;
pub mod units;

pub use options::*;
pub use policy::{POLICIES, Policy, parse_policy, policy_name};
pub use start_error::StartError;
