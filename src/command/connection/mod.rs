//! The connection itself: who asks, how it is answered, what it is told of.

pub mod basic;
pub mod client;
pub mod filter;
pub mod pubsub;
pub mod tracking;
