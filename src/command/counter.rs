//! Commands that count: values that are integers in decimal text.

use super::{Call, Command, Flags, Group, Keys, parse_integer};
use crate::error::{self, Stop};
use crate::shard::{Expiry, NewValue};

pub const COMMANDS: &[Command] = &[
    row("incr", 2, |call| add(call, 1)).doc(
        "1.0.0",
        "key",
        "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
    ),
    row("decr", 2, |call| add(call, -1)).doc(
        "1.0.0",
        "key",
        "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
    ),
    row("incrby", 3, |call| add(call, call.integer(2)?)).doc(
        "1.0.0",
        "key increment",
        "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
    ),
    row("decrby", 3, decrby).doc(
        "1.0.0",
        "key decrement",
        "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
    ),
];

const fn row(name: &'static str, arity: i32, run: super::Run) -> Command {
    let flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
    Command::new(name, arity, Group::String, run).flags(flags).keys(Keys::ONE)
}

fn decrby(call: &mut Call) -> Result<(), Stop> {
    let decrement = call.integer(2)?.checked_neg().ok_or("ERR decrement would overflow")?;
    add(call, decrement)
}

fn add(call: &mut Call, increment: i64) -> Result<(), Stop> {
    let key = call.key();
    call.reserve(key, 0)?;
    let old = match call.peek(key) {
        Some(entry) => parse_integer(entry.value.as_slice()).ok_or(error::NOT_AN_INTEGER)?,
        None => 0,
    };
    let new = old.checked_add(increment).ok_or(error::OVERFLOW)?;
    let mut digits = itoa::Buffer::new();
    call.store(key, NewValue::Copied(digits.format(new).as_bytes()), Expiry::Keep)?;
    call.reply.integer(new);
    Ok(())
}
