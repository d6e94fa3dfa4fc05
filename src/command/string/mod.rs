//! Strings: reading and writing values whole, in part, as numbers.

pub mod basic;
pub mod change;
pub mod compare;
pub mod counter;
pub mod increx;
pub mod lcs;
pub mod long_double;
pub mod range;
pub mod several;
