//! The protocols that the endpoints speak, a folder each: parser and session.

pub mod core;
pub mod resp;
