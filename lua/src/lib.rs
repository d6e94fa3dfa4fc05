//! Lua 5.1.5 with its known faults mended: the C library that `mlua` is linked against. There is no Rust in it; `edits.rs`
//! says what differs from the sources and why, `build.rs` makes the edits and compiles.
#![no_std]
