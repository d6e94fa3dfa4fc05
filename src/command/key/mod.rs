//! Keys whatever their values: names, times to live, databases, transport.

pub mod basic;
pub mod database;
pub mod dump;
pub mod expiry;
pub mod object;
pub mod payload;
pub mod rename;
pub mod scan;
