//! Replies as Lua values, and Lua values as replies, by the rules in Redis's documentation. It must not know who runs
//! the commands.

use mlua::{Lua, LuaString, Table, Value};

use super::fault::Raised;
use super::sandbox::{COUNTED, State, is_counted};
use super::work::Work;
use super::{Host, number};
use crate::config::limits;
use crate::message::reply::{Reply, RespVersion};

/// The names of fields, made once.
pub struct Names {
    pub err: LuaString,
    pub ok: LuaString,
    pub call: LuaString,
    double: LuaString,
    big_number: LuaString,
    verbatim_string: LuaString,
    string: LuaString,
    format: LuaString,
    map: LuaString,
    set: LuaString,
}

impl Names {
    pub fn new(lua: &Lua) -> mlua::Result<Names> {
        Ok(Names {
            err: lua.create_string("err")?,
            ok: lua.create_string("ok")?,
            call: lua.create_string("call")?,
            double: lua.create_string("double")?,
            big_number: lua.create_string("big_number")?,
            verbatim_string: lua.create_string("verbatim_string")?,
            string: lua.create_string("string")?,
            format: lua.create_string("format")?,
            map: lua.create_string("map")?,
            set: lua.create_string("set")?,
        })
    }
}

/// A reply as a Lua value. The bytes are our own: they are whole and well formed.
pub fn to_lua(lua: &Lua, names: &Names, reply: &[u8]) -> mlua::Result<Value> {
    Reader { lua, names, rest: reply }.value()
}

struct Reader<'r> {
    lua: &'r Lua,
    names: &'r Names,
    rest: &'r [u8],
}

impl<'r> Reader<'r> {
    fn line(&mut self) -> &'r [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        line
    }

    fn integer(&mut self) -> i64 {
        let line = self.line();
        let (negative, digits) = line.strip_prefix(b"-").map_or((false, line), |digits| (true, digits));
        let sign = if negative { -1 } else { 1 };
        digits.iter().fold(0i64, |number, digit| {
            number.wrapping_mul(10).wrapping_add(sign * i64::from(digit.wrapping_sub(b'0')))
        })
    }

    fn bytes(&mut self, length: usize) -> &'r [u8] {
        let bytes = &self.rest[..length];
        self.rest = &self.rest[length + 2..];
        bytes
    }

    fn string(&self, bytes: &[u8]) -> mlua::Result<Value> {
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    /// A table with this one field.
    fn wrapped(&self, name: &LuaString, value: Value) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    }

    fn value(&mut self) -> mlua::Result<Value> {
        let Some((&kind, rest)) = self.rest.split_first() else { return Ok(Value::Nil) };
        self.rest = rest;
        match kind {
            b'$' => match self.integer() {
                -1 => Ok(Value::Boolean(false)),
                length => {
                    let bytes = self.bytes(length as usize);
                    self.string(bytes)
                }
            },
            b':' => Ok(Value::Integer(self.integer())),
            b'*' => match self.integer() {
                -1 => Ok(Value::Boolean(false)),
                count => self.array(count as usize),
            },
            b'+' => {
                let text = self.line();
                self.wrapped(&self.names.ok, self.string(text)?)
            }
            b'-' => {
                let text = self.line();
                let error = self.lua.create_table_with_capacity(0, 2)?;
                error.raw_set(&self.names.err, self.string(text)?)?;
                error.raw_set(COUNTED, true)?;
                Ok(Value::Table(error))
            }
            _ => self.resp3_value(kind),
        }
    }

    fn array(&mut self, count: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(count, 0)?;
        for index in 1..=count {
            table.raw_seti(index, self.value()?)?;
        }
        Ok(Value::Table(table))
    }

    /// What only RESP3 has.
    fn resp3_value(&mut self, kind: u8) -> mlua::Result<Value> {
        match kind {
            b'#' => Ok(Value::Boolean(self.line() == b"t")),
            b',' => {
                let number = String::from_utf8_lossy(self.line()).parse().unwrap_or(f64::NAN);
                self.wrapped(&self.names.double, Value::Number(number))
            }
            b'(' => {
                let digits = self.line();
                self.wrapped(&self.names.big_number, self.string(digits)?)
            }
            b'=' => {
                let length = self.integer() as usize;
                let text = self.bytes(length);
                let table = self.lua.create_table_with_capacity(0, 2)?;
                table.raw_set(&self.names.format, self.string(&text[..3])?)?;
                table.raw_set(&self.names.string, self.string(&text[4..])?)?;
                self.wrapped(&self.names.verbatim_string, Value::Table(table))
            }
            b'%' => {
                let pairs = self.integer() as usize;
                let map = self.lua.create_table_with_capacity(0, pairs)?;
                for _ in 0..pairs {
                    let (key, value) = (self.value()?, self.value()?);
                    map.raw_set(key, value)?;
                }
                self.wrapped(&self.names.map, Value::Table(map))
            }
            b'~' => {
                let elements = self.integer() as usize;
                let set = self.lua.create_table_with_capacity(0, elements)?;
                for _ in 0..elements {
                    set.raw_set(self.value()?, true)?;
                }
                self.wrapped(&self.names.set, Value::Table(set))
            }
            _ => {
                self.line();
                Ok(Value::Nil)
            }
        }
    }
}

/// Writes what a script returned. Of its tables it holds none but those on the way down to where it is.
pub struct Writer<'w> {
    names: &'w Names,
    /// The script has asked for RESP3, in which booleans are booleans.
    resp3: bool,
    /// Told of errors.
    host: &'w mut dyn Host,
    work: &'w Work,
    tables: usize,
    /// Tables may contain each other over and over, and strings stand anywhere: what comes of them ends here.
    room: usize,
}

/// What writing a value takes at least, in instructions of Lua.
const VALUE_STEPS: usize = 10;

/// What writing a table costs at least, in the time of so many bytes.
const TABLE_BYTES: usize = 64;

impl<'w> Writer<'w> {
    /// `room`: how many bytes the reply may have.
    pub fn new(names: &'w Names, state: &'w State, host: &'w mut dyn Host, room: usize) -> Writer<'w> {
        Writer { names, resp3: state.resp3.get(), work: &state.work, host, tables: 0, room }
    }

    /// Writes a whole reply, or fails somewhere in it.
    pub fn finish(mut self, value: &Value, reply: &mut Reply) -> mlua::Result<()> {
        let room = self.room;
        self.room = reply.len().saturating_add(room);
        self.write(value, 0, reply)
    }

    fn check_room(&self, more: usize, reply: &Reply) -> mlua::Result<()> {
        if reply.len() + self.tables * TABLE_BYTES + more > self.room {
            let text = "OOM the script's reply is larger than what a script may hold";
            return Err(mlua::Error::external(Raised::reply(text)));
        }
        Ok(())
    }

    fn write(&mut self, value: &Value, depth: usize, reply: &mut Reply) -> mlua::Result<()> {
        // The reason is said by whoever has asked.
        self.work
            .add(VALUE_STEPS)
            .map_err(|_| mlua::Error::external(Raised::reply("ERR the script has been ended")))?;
        match value {
            Value::String(text) => {
                let text = text.as_bytes();
                self.check_room(text.len(), reply)?;
                reply.bulk(&text);
            }
            Value::Integer(number) => reply.integer(*number),
            Value::Number(number) => reply.integer(truncated(*number)),
            Value::Boolean(value) if self.resp3 => reply.boolean(*value),
            Value::Boolean(true) => reply.integer(1),
            Value::Table(table) => {
                self.tables += 1;
                self.check_room(TABLE_BYTES, reply)?;
                if depth == limits::SCRIPT_REPLY_DEPTH_MAX {
                    self.write_error("ERR reached lua stack limit", false, reply);
                    return Ok(());
                }
                self.write_table(table, depth + 1, reply)?;
            }
            _ => reply.null(),
        }
        Ok(())
    }

    fn write_table(&mut self, table: &Table, depth: usize, reply: &mut Reply) -> mlua::Result<()> {
        let names = self.names;
        let field = |name: &LuaString| table.raw_get::<Value>(name);
        if let Value::String(text) = field(&names.err)? {
            self.write_error(&text.to_string_lossy(), is_counted(table), reply);
        } else if let Value::String(text) = field(&names.ok)? {
            self.check_room(text.as_bytes().len(), reply)?;
            reply.status(&text.as_bytes());
        } else if let Some(number) = as_number(&field(&names.double)?) {
            reply.double(&number::shortest(number));
        } else if let Value::String(digits) = field(&names.big_number)? {
            self.check_room(digits.as_bytes().len(), reply)?;
            reply.big_number(&digits.as_bytes());
        } else if let Some((format, text)) = self.verbatim(&field(&names.verbatim_string)?)? {
            self.check_room(text.as_bytes().len(), reply)?;
            reply.verbatim(&format.as_bytes(), &text.as_bytes());
        } else if let Value::Table(map) = field(&names.map)? {
            reply.map(map.pairs::<Value, Value>().count());
            for pair in map.pairs() {
                let (key, value) = pair?;
                self.write(&key, depth, reply)?;
                self.write(&value, depth, reply)?;
            }
        } else if let Value::Table(set) = field(&names.set)? {
            reply.set(set.pairs::<Value, Value>().count());
            for pair in set.pairs::<Value, Value>() {
                self.write(&pair?.0, depth, reply)?;
            }
        } else {
            self.write_array(table, depth, reply)?;
        }
        Ok(())
    }

    fn write_error(&mut self, text: &str, is_counted: bool, reply: &mut Reply) {
        reply.error(text);
        self.host.replied_error(text, is_counted);
    }

    /// An array ends at its first nil.
    fn write_array(&mut self, table: &Table, depth: usize, reply: &mut Reply) -> mlua::Result<()> {
        let mut length = 0;
        while !matches!(table.raw_get(length + 1)?, Value::Nil) {
            length += 1;
        }
        self.check_room(length, reply)?;
        reply.array(length);
        (1..=length).try_for_each(|index| self.write(&table.raw_get(index)?, depth, reply))
    }

    fn verbatim(&self, value: &Value) -> mlua::Result<Option<(LuaString, LuaString)>> {
        let Value::Table(table) = value else { return Ok(None) };
        let (format, text) = (table.raw_get(&self.names.format)?, table.raw_get(&self.names.string)?);
        Ok(match (format, text) {
            (Value::String(format), Value::String(text)) => Some((format, text)),
            _ => None,
        })
    }
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// The fraction is cut off; what does not fit becomes the least integer, as processors convert it.
fn truncated(number: f64) -> i64 {
    if number >= i64::MIN as f64 && number < i64::MAX as f64 { number as i64 } else { i64::MIN }
}

/// The protocol of the replies that a script sees.
pub fn version(resp3: bool) -> RespVersion {
    if resp3 { RespVersion::Resp3 } else { RespVersion::Resp2 }
}
