//! The standing attacks: each file is a kind of harm that a client may try, each test one way to do it, on every driver.
//! `siege` is what all of them share: the server's memory is sampled and its neighbours' waits are taken throughout.
//! `README.md` lists the classes of bad input and the test that covers each.
//!
//! `cargo test --test torture` is the short form, minutes; `TORTURE_ROUNDS=n` repeats and enlarges, for hours by hand.

// What it needs of the tests at the wire, which use all of it.
#[allow(dead_code)]
#[path = "../it/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../it/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../it/wire.rs"]
mod wire;

mod clock;
mod memory;
mod siege;
mod smuggling;
mod starvation;
