//! The library `cmsgpack`: MessagePack from Lua values and back, as lua-cmsgpack 0.4 does it. It must not know who
//! calls it.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::fault::{Fault, Given, check_built, native};
use super::work::Work;

/// Tables nested deeper are packed as nil, which also ends circular ones.
const PACK_DEPTH_MAX: usize = 16;

/// Packed data nested deeper is refused: a level takes a few hundred bytes of stack.
const UNPACK_DEPTH_MAX: usize = 1000;

/// What a value takes at least, in instructions of Lua.
const VALUE_STEPS: usize = 10;

/// Values that one call returns: Lua's own limit for a function.
const RESULTS_MAX: usize = 7999;

pub fn library(lua: &Lua, work: &Rc<Work>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    table.raw_set("pack", native(lua, work, "pack", |lua, given| pack_all(lua, &given))?)?;
    table.raw_set("unpack", native(lua, work, "unpack", |lua, given| unpack_all(lua, &given))?)?;
    let unpack_one = native(lua, work, "unpack_one", |lua, given| {
        let offset = if given.is_absent(2) { 0 } else { given.integer(2)? };
        unpack_some(lua, &given, 1, offset)
    })?;
    table.raw_set("unpack_one", unpack_one)?;
    let unpack_limit = native(lua, work, "unpack_limit", |lua, given| {
        let limit = given.integer(2)?;
        let offset = if given.is_absent(3) { 0 } else { given.integer(3)? };
        unpack_some(lua, &given, limit, offset)
    })?;
    table.raw_set("unpack_limit", unpack_limit)?;
    Ok(table)
}

fn pack_all(lua: &Lua, given: &Given) -> Result<Value, Fault> {
    if given.len() == 0 {
        return Err(Fault::argument(0, "MessagePack pack needs input."));
    }
    let mut packed = Vec::new();
    for value in &given.values {
        pack(value, 0, given.work, &mut packed)?;
    }
    Ok(Value::String(lua.create_string(packed)?))
}

fn pack(value: &Value, depth: usize, work: &Work, packed: &mut Vec<u8>) -> Result<(), Fault> {
    work.add(VALUE_STEPS)?;
    match value {
        Value::Boolean(value) => packed.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(number) => pack_integer(*number, packed),
        Value::Number(number) => pack_number(*number, packed),
        Value::String(text) => {
            let text = text.as_bytes();
            check_built(packed.len() + text.len())?;
            work.add_bytes(text.len())?;
            pack_length(text.len(), 0xa0, 31, Some(0xd9), 0xda, packed);
            packed.extend_from_slice(&text);
        }
        Value::Table(table) if depth < PACK_DEPTH_MAX => pack_table(table, depth, work, packed)?,
        _ => packed.push(0xc0),
    }
    Ok(())
}

fn pack_number(number: f64, packed: &mut Vec<u8>) {
    if number == number as i64 as f64 {
        return pack_integer(number as i64, packed);
    }
    if f64::from(number as f32) == number {
        packed.push(0xca);
        packed.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        packed.push(0xcb);
        packed.extend_from_slice(&number.to_be_bytes());
    }
}

/// In the fewest bytes; what is not negative, unsigned.
fn pack_integer(number: i64, packed: &mut Vec<u8>) {
    let (kind, bytes): (u8, usize) = match number {
        -32..=127 => return packed.push(number as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..=-33 => (0xd0, 1),
        -32_768..=-129 => (0xd1, 2),
        -2_147_483_648..=-32_769 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    packed.push(kind);
    packed.extend_from_slice(&number.to_be_bytes()[8 - bytes..]);
}

/// The kinds of a length: in the first byte up to `fixed_max`, in one byte if there is such a kind, in two, in four.
fn pack_length(length: usize, fixed: u8, fixed_max: usize, one: Option<u8>, two: u8, packed: &mut Vec<u8>) {
    match (length, one) {
        (length, _) if length <= fixed_max => packed.push(fixed | length as u8),
        (0..=0xff, Some(one)) => packed.extend_from_slice(&[one, length as u8]),
        (0..=0xffff, _) => {
            packed.push(two);
            packed.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            packed.push(two + 1);
            packed.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn pack_table(table: &Table, depth: usize, work: &Work, packed: &mut Vec<u8>) -> Result<(), Fault> {
    check_built(packed.len())?;
    let (mut largest, mut items, mut is_array) = (0, 0, true);
    for pair in table.pairs::<Value, Value>() {
        match pair?.0 {
            Value::Integer(index) if (1..=i64::from(i32::MAX)).contains(&index) => largest = largest.max(index),
            _ => is_array = false,
        }
        items += 1;
        work.add(VALUE_STEPS)?;
    }
    if is_array && largest == items {
        pack_length(items as usize, 0x90, 15, None, 0xdc, packed);
        for index in 1..=items {
            pack(&table.raw_get::<Value>(index)?, depth + 1, work, packed)?;
        }
        return Ok(());
    }
    pack_length(items as usize, 0x80, 15, None, 0xde, packed);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        pack(&key, depth + 1, work, packed)?;
        pack(&value, depth + 1, work, packed)?;
    }
    Ok(())
}

fn unpack_all(lua: &Lua, given: &Given) -> Result<MultiValue, Fault> {
    let text = given.string(1)?;
    let bytes = text.as_bytes();
    let mut reader = Reader { lua, work: given.work, left: &bytes };
    let mut values = Vec::new();
    while !reader.left.is_empty() {
        values.push(reader.value(0)?);
        check_results(values.len())?;
    }
    Ok(MultiValue::from_vec(values))
}

/// So many values from an offset on; before them the offset of what follows, or -1 at the end.
fn unpack_some(lua: &Lua, given: &Given, limit: i64, offset: i64) -> Result<MultiValue, Fault> {
    let text = given.string(1)?;
    let bytes = text.as_bytes();
    let length = bytes.len();
    if limit == 0 && offset == 0 {
        return unpack_all(lua, given);
    }
    if offset < 0 || limit < 0 {
        // The text says `limit` and shows the length: lua-cmsgpack does.
        let text = format!("Invalid request to unpack with offset of {offset} and limit of {length}.");
        return Err(Fault::text(text));
    }
    if offset as usize > length {
        return Err(Fault::text(format!("Start offset {offset} greater than input length {length}.")));
    }
    let mut reader = Reader { lua, work: given.work, left: &bytes[offset as usize..] };
    let mut values = vec![Value::Nil];
    while !reader.left.is_empty() && values.len() as i64 <= limit {
        values.push(reader.value(0)?);
        check_results(values.len())?;
    }
    let next = if reader.left.is_empty() { -1 } else { (length - reader.left.len()) as i64 };
    values[0] = Value::Integer(next);
    Ok(MultiValue::from_vec(values))
}

fn check_results(values: usize) -> Result<(), Fault> {
    if values > RESULTS_MAX {
        let text = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
        return Err(Fault::text(text));
    }
    Ok(())
}

struct Reader<'p> {
    lua: &'p Lua,
    work: &'p Work,
    left: &'p [u8],
}

impl<'p> Reader<'p> {
    fn bytes(&mut self, count: usize) -> Result<&'p [u8], Fault> {
        let (taken, left) = self.left.split_at_checked(count).ok_or(Fault::Text("Missing bytes in input.".into()))?;
        self.left = left;
        Ok(taken)
    }

    fn unsigned(&mut self, bytes: usize) -> Result<u64, Fault> {
        Ok(self.bytes(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// With the sign of its first bit.
    fn signed(&mut self, bytes: usize) -> Result<Value, Fault> {
        let unused = 64 - 8 * bytes as u32;
        Ok(Value::Integer(((self.unsigned(bytes)? << unused) as i64) >> unused))
    }

    fn string(&mut self, length: usize) -> Result<Value, Fault> {
        let text = self.bytes(length)?;
        Ok(Value::String(self.lua.create_string(text)?))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > UNPACK_DEPTH_MAX {
            return Err(Fault::text("Bad data format in input."));
        }
        self.work.add(VALUE_STEPS)?;
        let kind = self.bytes(1)?[0];
        Ok(match kind {
            0x00..=0x7f => Value::Integer(i64::from(kind)),
            0xe0..=0xff => Value::Integer(i64::from(kind as i8)),
            0xa0..=0xbf => self.string((kind & 0x1f).into())?,
            0x90..=0x9f => self.array((kind & 0x0f).into(), depth)?,
            0x80..=0x8f => self.map((kind & 0x0f).into(), depth)?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f32::from_bits(self.unsigned(4)? as u32).into()),
            0xcb => Value::Number(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xcf => Value::Number(self.unsigned(1 << (kind - 0xcc))? as f64),
            0xd0..=0xd3 => self.signed(1 << (kind - 0xd0))?,
            0xd9..=0xdb => {
                let length = self.unsigned(1 << (kind - 0xd9))?;
                self.string(length as usize)?
            }
            0xdc | 0xdd => {
                let length = self.unsigned(2 << (kind - 0xdc))?;
                self.array(length as usize, depth)?
            }
            0xde | 0xdf => {
                let length = self.unsigned(2 << (kind - 0xde))?;
                self.map(length as usize, depth)?
            }
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => return Err(Fault::text("Bad data format in input.")),
        })
    }

    // Nothing is set aside for a length: what was only promised costs nothing.

    fn array(&mut self, length: usize, depth: usize) -> Result<Value, Fault> {
        let table = self.lua.create_table()?;
        for index in 1..=length {
            let value = self.value(depth + 1)?;
            table.raw_seti(index, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Value, Fault> {
        let table = self.lua.create_table()?;
        for _ in 0..length {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match key {
                Value::Nil => return Err(Fault::text("table index is nil")),
                Value::Number(number) if number.is_nan() => return Err(Fault::text("table index is NaN")),
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}
