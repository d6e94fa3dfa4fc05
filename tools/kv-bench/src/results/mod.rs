//! What was measured, beyond a single run: plain data that the commands fill and the reports read.

pub mod comparison;
pub mod replay;
pub mod search;
