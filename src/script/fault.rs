//! How functions written in Rust take their arguments from Lua and raise errors in it, worded as Lua's own libraries
//! word them. It must not know what the functions do.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use mlua::{Error, Function, IntoLuaMulti, Lua, LuaString, MultiValue, Value};

use super::work::{Ended, Work};
use crate::config::limits;

/// Why a function fails.
pub enum Fault {
    /// A Lua error with this text; the caller's position is put before it.
    Text(Cow<'static, str>),
    /// `bad argument #index to 'function' (detail)`.
    Argument(usize, Cow<'static, str>),
    /// An error reply, code first: scripts see a table with the field `err`.
    Reply(Cow<'static, str>),
    /// The same, from a command that ran and was counted.
    Answer(String),
    Lua(Error),
}

impl From<Ended> for Fault {
    fn from(_: Ended) -> Fault {
        Fault::reply("ERR the script has been ended")
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Lua(error)
    }
}

impl Fault {
    pub fn text(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Text(text.into())
    }

    pub fn argument(index: usize, detail: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Argument(index, detail.into())
    }

    pub fn reply(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Reply(text.into())
    }
}

/// Refuses to build more outside of Lua's memory: the same tables and strings may stand in many places.
pub fn check_built(bytes: usize) -> Result<(), Fault> {
    if bytes > limits::SCRIPT_BUILT_MAX_BYTES {
        return Err(Fault::text(NOT_ENOUGH_MEMORY));
    }
    Ok(())
}

/// An error on its way through Lua, which carries it as a userdata until Lua code catches it.
#[derive(Clone, Debug)]
pub struct Raised {
    pub text: String,
    /// The text is a whole error reply; otherwise it is a Lua string error.
    pub is_reply: bool,
    /// A command has answered so, and the server has counted it.
    pub is_counted: bool,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Raised {}

impl Raised {
    /// What was raised by one of our functions, or what went wrong in Lua below them.
    pub fn of(error: &Error) -> Raised {
        if let Some(raised) = error.chain().find_map(|cause| cause.downcast_ref::<Raised>()) {
            return raised.clone();
        }
        let mut error = error;
        while let Error::CallbackError { cause, .. } = error {
            error = cause;
        }
        match error {
            Error::MemoryError(_) => Raised::lua(NOT_ENOUGH_MEMORY),
            Error::RuntimeError(text) | Error::SyntaxError { message: text, .. } => Raised::lua(first_line(text)),
            other => Raised::lua(first_line(&other.to_string())),
        }
    }

    fn lua(text: impl Into<String>) -> Raised {
        Raised { text: text.into(), is_reply: false, is_counted: false }
    }

    pub fn reply(text: impl Into<String>) -> Raised {
        Raised { text: text.into(), is_reply: true, is_counted: false }
    }
}

/// Lua's own text.
pub const NOT_ENOUGH_MEMORY: &str = "not enough memory";

/// Without the trace that follows.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Makes a Lua function of a Rust function. What reading its arguments once takes is counted as work; a function that does
/// more counts it itself.
pub fn native<R: IntoLuaMulti>(
    lua: &Lua,
    work: &Rc<Work>,
    name: &'static str,
    function: impl Fn(&Lua, Given<'_>) -> Result<R, Fault> + 'static,
) -> mlua::Result<Function> {
    let work = work.clone();
    lua.create_function(move |lua, values: MultiValue| {
        let bytes = values.iter().map(|value| value.as_string().map_or(1, |text| text.as_bytes().len())).sum();
        let outcome = work.add_bytes(bytes).map_err(Fault::from);
        let outcome = outcome.and_then(|()| function(lua, Given { lua, work: &work, values }));
        outcome.map_err(|fault| raise(lua, name, fault))
    })
}

pub fn raise(lua: &Lua, function: &str, fault: Fault) -> Error {
    Error::external(match fault {
        Fault::Lua(error) => return error,
        Fault::Reply(text) => Raised::reply(text),
        Fault::Answer(text) => Raised { is_counted: true, ..Raised::reply(text) },
        Fault::Text(text) => Raised::lua(format!("{}{text}", caller(lua))),
        Fault::Argument(index, detail) => {
            Raised::lua(format!("{}bad argument #{index} to '{function}' ({detail})", caller(lua)))
        }
    })
}

/// `chunk:line: ` of the Lua code that called the running function; nothing if it was not Lua code.
fn caller(lua: &Lua) -> String {
    let place = lua.inspect_stack(1, |frame| {
        let source = frame.source();
        Some((source.short_src?.into_owned(), frame.current_line()?))
    });
    place.flatten().map_or_else(String::new, |(chunk, line)| format!("{chunk}:{line}: "))
}

/// The arguments of one call, numbered from 1.
pub struct Given<'l> {
    lua: &'l Lua,
    pub work: &'l Work,
    pub values: MultiValue,
}

impl Given<'_> {
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn get(&self, index: usize) -> Option<&Value> {
        self.values.get(index - 1)
    }

    pub fn is_absent(&self, index: usize) -> bool {
        matches!(self.get(index), None | Some(Value::Nil))
    }

    /// A string, or a number as Lua writes it.
    pub fn string(&self, index: usize) -> Result<LuaString, Fault> {
        match self.get(index) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(number @ (Value::Integer(_) | Value::Number(_))) => {
                let text = self.lua.coerce_string(number.clone())?;
                text.ok_or_else(|| self.wrong_type(index, "string"))
            }
            _ => Err(self.wrong_type(index, "string")),
        }
    }

    /// A number, or a string that reads as one.
    pub fn number(&self, index: usize) -> Result<f64, Fault> {
        match self.get(index) {
            Some(Value::Integer(number)) => Ok(*number as f64),
            Some(Value::Number(number)) => Ok(*number),
            Some(text @ Value::String(_)) => {
                let number = self.lua.coerce_number(text.clone())?;
                number.ok_or_else(|| self.wrong_type(index, "number"))
            }
            _ => Err(self.wrong_type(index, "number")),
        }
    }

    /// A number without its fraction.
    pub fn integer(&self, index: usize) -> Result<i64, Fault> {
        Ok(self.number(index)? as i64)
    }

    fn wrong_type(&self, index: usize, expected: &str) -> Fault {
        let given = self.get(index).map_or("no value", type_name);
        Fault::argument(index, format!("{expected} expected, got {given}"))
    }
}

/// Lua's name for the type of a value.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}
