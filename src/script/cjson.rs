//! The library `cjson`: JSON from Lua values and back, with the settings, limits and errors of lua-cjson 2.1. It must
//! not know who calls it.

mod decode;
mod encode;

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, Table, Value};

use super::fault::{Fault, Given, native};
use super::work::Work;

/// What scripts may set; each script starts with the defaults.
#[derive(Clone, Copy)]
pub struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_max_depth: i64,
    decode_max_depth: i64,
    encode_invalid: Invalid,
    decode_invalid: bool,
    keep_buffer: bool,
    precision: i64,
}

/// What becomes of numbers that JSON does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_max_depth: 1000,
            decode_max_depth: 1000,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
            keep_buffer: true,
            precision: 14,
        }
    }
}

/// Whatever scripts set, recursion ends here: one level takes a few hundred bytes of stack.
const DEPTH_MAX: i64 = 1000;

/// What a value takes at least, in instructions of Lua.
const VALUE_STEPS: usize = 10;

const INT_MAX: i64 = i32::MAX as i64;

/// The library with settings of its own.
pub fn library(lua: &Lua, work: &Rc<Work>, settings: &Rc<Cell<Settings>>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    table.raw_set("null", Value::NULL)?;
    let shared = work.clone();
    table.raw_set("new", native(lua, work, "new", move |lua, _| Ok(library(lua, &shared, &Rc::default())?))?)?;
    let add = |name, function: fn(&Lua, &Given, &Cell<Settings>) -> Result<Value, Fault>| {
        let settings = settings.clone();
        table.raw_set(name, native(lua, work, name, move |lua, given| function(lua, &given, &settings))?)
    };
    add("encode", |lua, given, settings| {
        let value = only_argument(given)?;
        let text = encode::encode(value, &settings.get(), given.work)?;
        Ok(Value::String(lua.create_string(text)?))
    })?;
    add("decode", |lua, given, settings| {
        only_argument(given)?;
        decode::decode(lua, &given.string(1)?.as_bytes(), &settings.get(), given.work)
    })?;
    add("encode_max_depth", |_, given, settings| {
        integer_setting(given, 1, settings, |s| &mut s.encode_max_depth, 1, INT_MAX)
    })?;
    add("decode_max_depth", |_, given, settings| {
        integer_setting(given, 1, settings, |s| &mut s.decode_max_depth, 1, INT_MAX)
    })?;
    add("encode_number_precision", |_, given, settings| {
        integer_setting(given, 1, settings, |s| &mut s.precision, 1, 14)
    })?;
    add("encode_keep_buffer", |_, given, settings| {
        at_most(given, 1)?;
        switch_setting(given, settings, |s| &mut s.keep_buffer)
    })?;
    add("decode_invalid_numbers", |_, given, settings| {
        at_most(given, 1)?;
        switch_setting(given, settings, |s| &mut s.decode_invalid)
    })?;
    add("encode_invalid_numbers", encode_invalid_numbers)?;
    let sparse = settings.clone();
    let function = native(lua, work, "encode_sparse_array", move |_, given| {
        at_most(&given, 3)?;
        Ok((
            switch_setting(&given, &sparse, |s| &mut s.sparse_convert)?,
            integer_of(&given, 2, &sparse, |s| &mut s.sparse_ratio, 0, INT_MAX)?,
            integer_of(&given, 3, &sparse, |s| &mut s.sparse_safe, 0, INT_MAX)?,
        ))
    })?;
    table.raw_set("encode_sparse_array", function)?;
    Ok(table)
}

fn only_argument<'g>(given: &'g Given) -> Result<&'g Value, Fault> {
    match given.get(1) {
        Some(value) if given.len() == 1 => Ok(value),
        _ => Err(Fault::argument(1, "expected 1 argument")),
    }
}

fn at_most(given: &Given, arguments: usize) -> Result<(), Fault> {
    if given.len() > arguments {
        return Err(Fault::argument(arguments + 1, "found too many arguments"));
    }
    Ok(())
}

fn integer_setting(
    given: &Given,
    index: usize,
    settings: &Cell<Settings>,
    field: fn(&mut Settings) -> &mut i64,
    least: i64,
    most: i64,
) -> Result<Value, Fault> {
    at_most(given, index)?;
    integer_of(given, index, settings, field, least, most)
}

fn integer_of(
    given: &Given,
    index: usize,
    settings: &Cell<Settings>,
    field: fn(&mut Settings) -> &mut i64,
    least: i64,
    most: i64,
) -> Result<Value, Fault> {
    let mut changed = settings.get();
    if !given.is_absent(index) {
        let value = given.integer(index)?;
        if !(least..=most).contains(&value) {
            return Err(Fault::argument(1, format!("expected integer between {least} and {most}")));
        }
        *field(&mut changed) = value;
        settings.set(changed);
    }
    Ok(Value::Integer(*field(&mut changed)))
}

/// true, false, "on" or "off".
fn switch_setting(
    given: &Given,
    settings: &Cell<Settings>,
    field: fn(&mut Settings) -> &mut bool,
) -> Result<Value, Fault> {
    let mut changed = settings.get();
    if let Some(value) = given.get(1).filter(|value| !value.is_nil()) {
        *field(&mut changed) = match value {
            Value::Boolean(on) => *on,
            _ => option(given, &["off", "on"])? == 1,
        };
        settings.set(changed);
    }
    Ok(Value::Boolean(*field(&mut changed)))
}

fn encode_invalid_numbers(lua: &Lua, given: &Given, settings: &Cell<Settings>) -> Result<Value, Fault> {
    at_most(given, 1)?;
    let mut changed = settings.get();
    if let Some(value) = given.get(1).filter(|value| !value.is_nil()) {
        changed.encode_invalid = match value {
            Value::Boolean(false) => Invalid::Refused,
            Value::Boolean(true) => Invalid::Written,
            _ => [Invalid::Refused, Invalid::Written, Invalid::Null][option(given, &["off", "on", "null"])?],
        };
        settings.set(changed);
    }
    Ok(match changed.encode_invalid {
        Invalid::Null => Value::String(lua.create_string("null")?),
        other => Value::Boolean(other == Invalid::Written),
    })
}

/// Which of the words the first argument is.
fn option(given: &Given, words: &[&str]) -> Result<usize, Fault> {
    let word = given.string(1)?;
    let found = words.iter().position(|known| word.as_bytes() == known.as_bytes());
    found.ok_or_else(|| Fault::argument(1, format!("invalid option '{}'", word.to_string_lossy())))
}
