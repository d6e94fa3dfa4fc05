//! The protocols that the endpoints speak, a folder each: parser and session. `front` is what the drivers see of them.

pub mod front;
pub mod core;
pub mod resp;
