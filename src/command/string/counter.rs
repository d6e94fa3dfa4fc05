//! Commands that count: values that are numbers in decimal text.

use crate::command::string::long_double::LongDouble;
use crate::command::{Call, Command, Flags, Group, Keys, parse_integer};
use crate::message::error::{self, Stop};
use crate::store::shard::{Expiry, NewValue};

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
    row("incrbyfloat", 3, incrbyfloat).doc(
        "2.6.0",
        "key increment",
        "Increments the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
    ),
];

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    let flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
    Command::new(name, arity, Group::String, run).flags(flags).keys(Keys::ONE)
}

fn decrby(call: &mut Call) -> Result<(), Stop> {
    let decrement = call.integer(2)?.checked_neg().ok_or("ERR decrement would overflow")?;
    add(call, decrement)
}

fn add(call: &mut Call, increment: i64) -> Result<(), Stop> {
    let key = call.key();
    call.reserve(key, 0)?;
    let (mut digits, mut new) = (itoa::Buffer::new(), 0);
    let added = call.guards.shard(key.hash).update(key, call.now, |old| {
        let old = old.map_or(Some(0), parse_integer).ok_or(error::NOT_AN_INTEGER)?;
        new = old.checked_add(increment).ok_or(error::OVERFLOW)?;
        Ok::<_, Stop>(NewValue::Copied(digits.format(new).as_bytes()))
    })?;
    added.map_err(crate::command::set_error)?;
    call.reply.integer(new);
    Ok(())
}

fn incrbyfloat(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    call.reserve(key, 0)?;
    let old = match call.peek(key) {
        Some(entry) => LongDouble::parse(entry.value.as_slice()).ok_or(error::NOT_A_FLOAT)?,
        None => LongDouble::ZERO,
    };
    let new = old + LongDouble::parse(call.arg(2)).ok_or(error::NOT_A_FLOAT)?;
    if !new.is_finite() {
        return Err("ERR increment would produce NaN or Infinity".into());
    }
    let text = new.to_string();
    call.store_changed(key, text.as_bytes(), Expiry::Keep)?;
    call.reply.bulk(text.as_bytes());
    Ok(())
}
