//! The library `struct`: binary records by format strings, as Roberto Ierusalimschy's lua-struct 0.2 reads them. It
//! must not know who calls it.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::fault::{Fault, Given, check_built, native};
use super::work::Work;

const INTEGER_BYTES_MAX: usize = 32;

/// What `!` without a number aligns to: the strictest of the machine's types.
const ALIGN_DEFAULT: usize = 8;

/// Values that one call returns: Lua's own limit for a function.
const RESULTS_MAX: usize = 7999;

pub fn library(lua: &Lua, work: &Rc<Work>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", native(lua, work, "pack", |lua, given| Ok(lua.create_string(pack(&given)?)?))?)?;
    table.raw_set("unpack", native(lua, work, "unpack", |lua, given| unpack(lua, &given))?)?;
    table.raw_set("size", native(lua, work, "size", |_, given| size(&given))?)?;
    Ok(table)
}

/// A format on its way from left to right.
struct Format<'f> {
    rest: &'f [u8],
    little_endian: bool,
    align: usize,
}

/// One element of a format: the letter, its size (0 when the data decide), and the padding before it.
struct Item {
    letter: u8,
    size: usize,
    padding: usize,
}

impl<'f> Format<'f> {
    /// The text ends at its first zero byte.
    fn new(text: &'f [u8]) -> Format<'f> {
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        Format { rest: &text[..end], little_endian: true, align: 1 }
    }

    fn number(&mut self, default: usize) -> Result<usize, Fault> {
        if !self.rest.first().is_some_and(u8::is_ascii_digit) {
            return Ok(default);
        }
        let mut number: i32 = 0;
        while let Some((digit, rest)) = self.rest.split_first().filter(|(digit, _)| digit.is_ascii_digit()) {
            let longer = number.checked_mul(10).and_then(|number| number.checked_add(i32::from(digit - b'0')));
            number = longer.ok_or(Fault::Text("integral size overflow".into()))?;
            self.rest = rest;
        }
        Ok(number as usize)
    }

    /// The next element at `position`; options on the way change what follows.
    fn next(&mut self, position: usize) -> Result<Option<Item>, Fault> {
        while let Some((&letter, rest)) = self.rest.split_first() {
            self.rest = rest;
            let size = match letter {
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'f' => 4,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'i' | b'I' => {
                    let size = self.number(4)?;
                    if size > INTEGER_BYTES_MAX {
                        let text = format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
                        return Err(Fault::text(text));
                    }
                    size
                }
                b'c' => self.number(1)?,
                b's' => 0,
                option => {
                    self.option(option)?;
                    continue;
                }
            };
            return Ok(Some(Item { letter, size, padding: self.padding(letter, size, position) }));
        }
        Ok(None)
    }

    fn option(&mut self, option: u8) -> Result<(), Fault> {
        match option {
            b' ' => {}
            b'>' => self.little_endian = false,
            b'<' => self.little_endian = true,
            b'!' => {
                let align = self.number(ALIGN_DEFAULT)?;
                if !align.is_power_of_two() {
                    return Err(Fault::text(format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            other => return Err(Fault::argument(1, format!("invalid format option '{}'", char::from(other)))),
        }
        Ok(())
    }

    fn padding(&self, letter: u8, size: usize, position: usize) -> usize {
        if size == 0 || letter == b'c' {
            return 0;
        }
        let size = size.min(self.align);
        // For sizes that are no powers of two this is what it is in lua-struct, no more.
        size.wrapping_sub(position & (size - 1)) & (size - 1)
    }
}

fn pack(given: &Given) -> Result<Vec<u8>, Fault> {
    let text = given.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut packed = Vec::new();
    let mut argument = 2;
    while let Some(Item { letter, size, padding }) = format.next(packed.len())? {
        packed.resize(packed.len() + padding, 0);
        match letter {
            b'x' => {
                packed.push(0);
                continue;
            }
            b'f' => {
                let number = given.number(argument)? as f32;
                append(&number.to_le_bytes(), format.little_endian, &mut packed);
            }
            b'd' => append(&given.number(argument)?.to_le_bytes(), format.little_endian, &mut packed),
            b'c' | b's' => {
                let value = given.string(argument)?;
                let value = value.as_bytes();
                let size = if size == 0 { value.len() } else { size };
                if value.len() < size {
                    return Err(Fault::argument(argument + 1, "string too short"));
                }
                check_built(packed.len() + size)?;
                packed.extend_from_slice(&value[..size]);
                if letter == b's' {
                    packed.push(0);
                }
            }
            _ => {
                let number = given.number(argument)?;
                let word = if number < 0.0 { number as i64 as u64 } else { number as u64 };
                let mut bytes = [0; INTEGER_BYTES_MAX];
                bytes[..8].copy_from_slice(&word.to_le_bytes());
                append(&bytes[..size], format.little_endian, &mut packed);
            }
        }
        argument += 1;
    }
    Ok(packed)
}

fn append(little_endian_bytes: &[u8], little_endian: bool, packed: &mut Vec<u8>) {
    if little_endian {
        packed.extend_from_slice(little_endian_bytes);
    } else {
        packed.extend(little_endian_bytes.iter().rev());
    }
}

fn unpack(lua: &Lua, given: &Given) -> Result<MultiValue, Fault> {
    let text = given.string(1)?;
    let text = text.as_bytes();
    let data = given.string(2)?;
    let data = data.as_bytes();
    let start = if given.is_absent(3) { 1 } else { given.integer(3)? };
    if start < 1 {
        return Err(Fault::argument(3, "offset must be 1 or greater"));
    }
    let mut position = start as usize - 1;
    let mut format = Format::new(&text);
    let mut values = Vec::new();
    let field = |position: usize, size: usize| {
        let end = position.checked_add(size);
        end.and_then(|end| data.get(position..end)).ok_or(Fault::Argument(2, "data string too short".into()))
    };
    while let Some(Item { letter, mut size, padding }) = format.next(position)? {
        position += padding;
        let bytes = field(position, size)?;
        if values.len() == RESULTS_MAX {
            return Err(Fault::text("stack overflow (too many results)"));
        }
        match letter {
            b'x' => {}
            b'f' => {
                let bytes = in_order::<4>(bytes, format.little_endian);
                values.push(Value::Number(f32::from_le_bytes(bytes).into()));
            }
            b'd' => values.push(Value::Number(f64::from_le_bytes(in_order(bytes, format.little_endian)))),
            b'c' => {
                if size == 0 {
                    let length = match values.pop() {
                        Some(Value::Number(length)) => length,
                        _ => return Err(Fault::text("format 'c0' needs a previous size")),
                    };
                    size = length as usize;
                }
                values.push(Value::String(lua.create_string(field(position, size)?)?));
            }
            b's' => {
                let rest = field(position, data.len().saturating_sub(position))?;
                let length = memchr::memchr(0, rest).ok_or(Fault::Text("unfinished string in data".into()))?;
                values.push(Value::String(lua.create_string(&rest[..length])?));
                size = length + 1;
            }
            _ => values.push(Value::Number(integer(bytes, format.little_endian, letter.is_ascii_lowercase()))),
        }
        position += size;
    }
    values.push(Value::Integer(position as i64 + 1));
    Ok(MultiValue::from_vec(values))
}

/// `N` bytes, the least significant first.
fn in_order<const N: usize>(bytes: &[u8], little_endian: bool) -> [u8; N] {
    let mut ordered = [0; N];
    ordered.copy_from_slice(bytes);
    if !little_endian {
        ordered.reverse();
    }
    ordered
}

/// The lower 64 bits of an integer of any size.
fn integer(bytes: &[u8], little_endian: bool, is_signed: bool) -> f64 {
    let shift_in = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
    let word = if little_endian { bytes.iter().rev().fold(0, shift_in) } else { bytes.iter().fold(0, shift_in) };
    if !is_signed {
        return word as f64;
    }
    let unused = 64 - 8 * bytes.len().min(8) as u32;
    // Of no bytes at all nothing is left either way.
    (word.unbounded_shl(unused) as i64).checked_shr(unused).unwrap_or(0) as f64
}

fn size(given: &Given) -> Result<i64, Fault> {
    let text = given.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut position = 0;
    while let Some(Item { letter, size, padding }) = format.next(position)? {
        match letter {
            b's' => return Err(Fault::argument(1, "option 's' has no fixed size")),
            b'c' if size == 0 => return Err(Fault::argument(1, "option 'c0' has no fixed size")),
            _ => position += padding + size,
        }
    }
    Ok(position as i64)
}
