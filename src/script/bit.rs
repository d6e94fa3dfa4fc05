//! The library `bit`: operations on 32-bit integers, after Mike Pall's BitOp. It must not know who calls it.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use super::fault::{Fault, Given, native};
use super::work::Work;

pub fn library(lua: &Lua, work: &Rc<Work>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let one = |name, operation: fn(u32) -> u32| {
        let function = native(lua, work, name, move |_, given| Ok(signed(operation(word(&given, 1)?))))?;
        table.raw_set(name, function)
    };
    one("tobit", |a| a)?;
    one("bnot", |a| !a)?;
    one("bswap", u32::swap_bytes)?;
    let two = |name, operation: fn(u32, u32) -> u32| {
        let function =
            native(lua, work, name, move |_, given| Ok(signed(operation(word(&given, 1)?, word(&given, 2)? & 31))))?;
        table.raw_set(name, function)
    };
    two("lshift", |a, n| a << n)?;
    two("rshift", |a, n| a >> n)?;
    two("arshift", |a, n| (a as i32 >> n) as u32)?;
    two("rol", u32::rotate_left)?;
    two("ror", u32::rotate_right)?;
    let many = |name, operation: fn(u32, u32) -> u32| {
        let function = native(lua, work, name, move |_, given| {
            let first = word(&given, 1)?;
            (2..=given.len()).try_fold(first, |whole, index| Ok(operation(whole, word(&given, index)?))).map(signed)
        })?;
        table.raw_set(name, function)
    };
    many("band", |a, b| a & b)?;
    many("bor", |a, b| a | b)?;
    many("bxor", |a, b| a ^ b)?;
    table.raw_set("tohex", native(lua, work, "tohex", |_, given| to_hex(&given))?)?;
    Ok(table)
}

/// Results are signed.
fn signed(word: u32) -> Value {
    Value::Integer((word as i32).into())
}

/// The lower 32 bits of a number, rounded to the nearest integer.
fn word(given: &Given, index: usize) -> Result<u32, Fault> {
    let number = given.number(index)?;
    // 2^52 + 2^51: the sum's lower bits are those of the rounded integer, in two's complement.
    Ok((number + 6_755_399_441_055_744.0).to_bits() as u32)
}

/// So many digits, 8 without a second argument; upper case when it is negative.
fn to_hex(given: &Given) -> Result<String, Fault> {
    let value = word(given, 1)?;
    let wanted = if given.len() < 2 { 8 } else { word(given, 2)? as i32 };
    let digits = wanted.unsigned_abs().min(8) as usize;
    let text = if wanted < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    Ok(text[8 - digits..].to_owned())
}
