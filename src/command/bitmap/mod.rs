//! Values as arrays of bits.

pub mod bitfield;
pub mod bitop;
pub mod bits;
