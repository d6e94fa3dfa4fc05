//! The fuzzer drives the shard against its model, `tests/model/reference.rs`: any sequence of commands must be answered
//! alike and evict the same keys in the same order.
//!
//! Without cargo-fuzz: `RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
//! -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table" cargo +nightly run --target x86_64-unknown-linux-gnu
//! --release --bin shard -- -max_len=4096`

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use reference::{Command, Pair, Time};

#[path = "../../tests/model/reference.rs"]
mod reference;

const LIMIT_BYTES: u64 = 3 * 1024 * 1024;

#[derive(Arbitrary, Debug)]
enum Input {
    Get(u8),
    Peek(u8),
    /// Key, length as a power of two and what is beyond it, time of expiry in grains (0 never, 255 keep).
    Set(u8, u8, u16, u8),
    /// As many keys from this one on, of this length: fills the shard with few bytes of input.
    SetMany(u16, u8, u8),
    Delete(u8),
    SetExpiry(u8, Option<u16>),
    Pass(u8),
    Tick,
    Limit(u8),
    Scan(u16),
    Clear,
    Select(bool),
    Move(u8),
    Swap,
    ClearDatabase(bool),
}

fuzz_target!(|input: (bool, Vec<Input>)| {
    let (collide, inputs) = input;
    let mut pair = Pair::new(LIMIT_BYTES, if collide { 0xf000_0000_0000_0000 } else { u64::MAX });
    for input in inputs {
        run(&mut pair, input);
    }
    pair.compare_all();
});

fn run(pair: &mut Pair, input: Input) {
    match input {
        Input::Get(key) => pair.run(Command::Get(key.into())),
        Input::Peek(key) => pair.run(Command::Peek(key.into())),
        Input::Set(key, power, beyond, time) => {
            let len = (1 << (power % 20)) + u32::from(beyond);
            let time = match time {
                0 => Time::Never,
                255 => Time::Keep,
                grains => Time::In(grains.into()),
            };
            pair.run(Command::Set(key.into(), len, time));
        }
        Input::SetMany(first, count, len) => {
            for key in 0..u16::from(count) {
                pair.run(Command::Set(first.wrapping_add(key), u32::from(len) * 16, Time::Never));
            }
        }
        Input::Delete(key) => pair.run(Command::Delete(key.into())),
        Input::SetExpiry(key, grains) => pair.run(Command::SetExpiry(key.into(), grains)),
        Input::Pass(grains) => pair.run(Command::Pass(grains)),
        Input::Tick => pair.run(Command::Tick),
        Input::Limit(mib) => pair.run(Command::Limit((1 + u64::from(mib % 4)) * 1024 * 1024)),
        Input::Scan(count) => pair.run(Command::Scan(count)),
        Input::Clear => pair.run(Command::Clear),
        Input::Select(second) => pair.run(Command::Select(second.into())),
        Input::Move(key) => {
            // From either of the two databases to the other.
            for (from, to) in [(0, 1), (1, 0)] {
                pair.run(Command::Select(from));
                pair.run(Command::Move(key.into(), to));
            }
        }
        Input::Swap => pair.run(Command::Swap(0, 1)),
        Input::ClearDatabase(second) => pair.run(Command::ClearDatabase(second.into())),
    }
}
