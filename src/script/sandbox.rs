//! What a script can reach: an interpreter whose tables are read-only, without files, processes, modules or bytecode.
//! It must not know commands.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value};

use super::fault::{Fault, Given, Raised, native};
use super::work::{Pulse, Work};
use super::{bit, cjson, cmsgpack, structs};
use crate::config::{REDIS_VERSION, REDIS_VERSION_NUMBER};

/// What one interpreter's functions share.
pub struct State {
    pub work: Rc<Work>,
    /// What the script has set the protocol of its replies to.
    pub resp3: Cell<bool>,
    pub random: Random,
    /// How the next call of a command is meant.
    pub mood: Cell<Mood>,
    pub cjson: Rc<Cell<cjson::Settings>>,
    /// The last error that nobody caught.
    pub failure: RefCell<Option<Failure>>,
}

/// What a call of a command does with an error.
#[derive(Clone, Copy, Default)]
pub enum Mood {
    /// `redis.call`
    #[default]
    Raise,
    /// `redis.pcall`
    Return,
    /// `redis.acl_check_cmd`: the command is not run.
    Ask,
}

/// How a script ended.
#[derive(Default)]
pub struct Failure {
    pub text: String,
    /// A command has answered so, and the server has counted it.
    pub is_counted: bool,
    /// Where it was, as `@user_script:1`.
    pub place: Option<String>,
}

impl State {
    pub fn new(pulse: Pulse) -> State {
        State {
            work: Rc::new(Work::new(pulse)),
            resp3: Cell::default(),
            random: Random::default(),
            mood: Cell::default(),
            cjson: Rc::default(),
            failure: RefCell::default(),
        }
    }

    /// Each script begins as if it were the first.
    pub fn reset(&self) {
        self.resp3.set(false);
        self.random.seeded.set(None);
        self.cjson.set(cjson::Settings::default());
        self.mood.take();
        self.failure.take();
        self.work.begin();
    }
}

/// The generator of `drand48`, as Redis has it: the same numbers for the same seed everywhere.
pub struct Random {
    stream: Cell<u64>,
    /// Set by the script, for itself.
    seeded: Cell<Option<u64>>,
}

impl Default for Random {
    fn default() -> Random {
        // The keys of a fresh hasher are the process's randomness.
        let stream = ahash::RandomState::new().hash_one(0) >> 16;
        Random { stream: Cell::new(stream), seeded: Cell::new(None) }
    }
}

impl Random {
    fn seed(&self, seed: u32) {
        self.seeded.set(Some(u64::from(seed) << 16 | 0x330E));
    }

    /// From 0 up to 1.
    fn next(&self) -> f64 {
        let step = |state: u64| state.wrapping_mul(0x5DEE_CE66D).wrapping_add(0xB) & ((1 << 48) - 1);
        let state = match self.seeded.get() {
            Some(state) => {
                self.seeded.set(Some(step(state)));
                step(state)
            }
            None => {
                self.stream.set(step(self.stream.get()));
                self.stream.get()
            }
        };
        let most = i32::MAX as u64;
        ((state >> 17) % most) as f64 / most as f64
    }
}

/// An interpreter, its library `redis` for the functions that need the server, and the function that runs a script:
/// (script, KEYS, ARGV, whether they are its arguments) -> whether it ended well, its value. `load` runs the code of a library:
/// (code) -> whether it ended well, what it has registered.
pub struct Sandbox {
    pub lua: Lua,
    pub redis: Table,
    pub run: Function,
    pub load: Function,
}

const PRELUDE: &str = include_str!("prelude.lua");

pub fn build(state: &Rc<State>) -> mlua::Result<Sandbox> {
    let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::OS;
    // A panic ends the process before anybody could catch it: with this option `pcall` stays Lua's own.
    let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(true))?;
    let redis = redis_library(&lua, state)?;
    let ours = lua.create_table()?;
    ours.raw_set("redis", &redis)?;
    ours.raw_set("bit", bit::library(&lua, &state.work)?)?;
    ours.raw_set("cjson", cjson::library(&lua, &state.work, &state.cjson)?)?;
    ours.raw_set("cmsgpack", cmsgpack::library(&lua, &state.work)?)?;
    ours.raw_set("struct", structs::library(&lua, &state.work)?)?;
    let prelude = lua.load(PRELUDE).set_name(PRELUDE_NAME).into_function()?;
    let (globals, run, load): (Table, Function, Function) = prelude.call((natives(&lua, state)?, ours))?;
    lua.set_globals(globals)?;
    Ok(Sandbox { lua, redis, run, load })
}

const PRELUDE_NAME: &str = "=redis";

/// Compiles a script or a library, which errors call `name`, or says why not.
pub fn compile(lua: &Lua, source: &[u8], name: &str) -> Result<Function, String> {
    if source.first() == Some(&0x1b) {
        return Err(format!("{}: bytecode is not loaded", &name[1..]));
    }
    let chunk = lua.load(source).set_name(name).set_mode(ChunkMode::Text);
    chunk.into_function().map_err(|error| Raised::of(&error).text)
}

/// Functions for the prelude.
fn natives(lua: &Lua, state: &Rc<State>) -> mlua::Result<Table> {
    let work = &state.work;
    let table = lua.create_table()?;
    let text = lua.create_function(|lua, value: Value| match value {
        Value::Error(error) => Ok(Value::String(lua.create_string(Raised::of(&error).text)?)),
        other => Ok(other),
    })?;
    table.raw_set("text", text)?;
    let plain = lua.create_function(|lua, value: Value| {
        let Value::Error(error) = value else { return Ok(value) };
        let raised = Raised::of(&error);
        let text = lua.create_string(raised.text)?;
        if !raised.is_reply {
            return Ok(Value::String(text));
        }
        let table = lua.create_table()?;
        table.raw_set("err", text)?;
        if raised.is_counted {
            table.raw_set(COUNTED, true)?;
        }
        Ok(Value::Table(table))
    })?;
    table.raw_set("plain", plain)?;
    for (name, mood) in [("returning", Mood::Return), ("asking", Mood::Ask)] {
        let shared = state.clone();
        let set = lua.create_function(move |_, ()| {
            shared.mood.set(mood);
            Ok(())
        })?;
        table.raw_set(name, set)?;
    }
    let shared = state.clone();
    table.raw_set("is_ended", lua.create_function(move |_, ()| Ok(shared.work.is_ended()))?)?;
    let shared = state.clone();
    let failed = lua.create_function(move |lua, value: Value| {
        let (text, is_counted) = final_text(&value);
        shared.failure.replace(Some(Failure { text, is_counted, place: place(lua) }));
        Ok(())
    })?;
    table.raw_set("failed", failed)?;
    let shared = state.clone();
    table.raw_set("random", native(lua, work, "random", move |_, given| random(&shared.random, &given))?)?;
    let shared = state.clone();
    let seed = native(lua, work, "randomseed", move |_, given| {
        shared.random.seed(given.integer(1)? as u32);
        Ok(())
    })?;
    table.raw_set("randomseed", seed)?;
    Ok(table)
}

/// The error reply that an uncaught error becomes, and whether it is counted already.
fn final_text(value: &Value) -> (String, bool) {
    let lua_error = |text: &str| (format!("ERR {text}"), false);
    match value {
        Value::Error(error) => {
            let raised = Raised::of(error);
            if raised.is_reply { (raised.text, raised.is_counted) } else { lua_error(&raised.text) }
        }
        Value::Table(table) => match table.raw_get::<Value>("err") {
            Ok(Value::String(text)) => (text.to_string_lossy(), is_counted(table)),
            Ok(Value::Integer(number)) => (number.to_string(), is_counted(table)),
            _ => lua_error("the script raised a table without the field 'err'"),
        },
        Value::String(text) => lua_error(&text.to_string_lossy()),
        other => lua_error(&other.to_string().unwrap_or_else(|_| other.type_name().to_owned())),
    }
}

/// Beside `err` in the table of an error with which a command has answered. Redis has the name.
pub const COUNTED: &str = "ignore_error_stats_update";

/// Whether an error's table is a command's answer.
pub fn is_counted(table: &Table) -> bool {
    matches!(table.raw_get(COUNTED), Ok(Value::Boolean(true)))
}

/// Where the running code was called by a script: the innermost frame that is neither C nor the prelude.
fn place(lua: &Lua) -> Option<String> {
    for level in 1.. {
        let frame = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            (source.what != "C").then_some((source.source?.into_owned(), frame.current_line()))
        })?;
        if let Some((source, Some(line))) = frame
            && source != PRELUDE_NAME
        {
            return Some(format!("{source}:{line}"));
        }
    }
    None
}

fn random(random: &Random, given: &Given) -> Result<f64, Fault> {
    let fraction = random.next();
    let (least, most, last) = match given.len() {
        0 => return Ok(fraction),
        1 => (1, given.integer(1)?, 1),
        2 => (given.integer(1)?, given.integer(2)?, 2),
        _ => return Err(Fault::text("wrong number of arguments")),
    };
    if least > most {
        return Err(Fault::argument(last, "interval is empty"));
    }
    Ok((fraction * (most as f64 - least as f64 + 1.0)).floor() + least as f64)
}

/// The part of the library `redis` that needs no server.
fn redis_library(lua: &Lua, state: &Rc<State>) -> mlua::Result<Table> {
    let work = &state.work;
    let table = lua.create_table()?;
    for (name, value) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
        ("REDIS_VERSION_NUM", REDIS_VERSION_NUMBER),
        ("SERVER_VERSION_NUM", REDIS_VERSION_NUMBER),
    ] {
        table.raw_set(name, value)?;
    }
    // Valkey's names beside Redis's.
    for (name, text) in
        [("REDIS_VERSION", REDIS_VERSION), ("SERVER_VERSION", REDIS_VERSION), ("SERVER_NAME", "kv-cache")]
    {
        table.raw_set(name, text)?;
    }
    table.raw_set("sha1hex", native(lua, work, "sha1hex", |_, given| sha1hex(&given))?)?;
    table.raw_set("log", native(lua, work, "log", |_, given| log(&given))?)?;
    table.raw_set("set_repl", native(lua, work, "set_repl", |_, given| set_repl(&given))?)?;
    let shared = state.clone();
    let setresp = native(lua, work, "setresp", move |_, given| {
        if given.len() != 1 {
            return Err(Fault::reply("ERR redis.setresp() requires one argument."));
        }
        match given.integer(1).unwrap_or(0) {
            version @ 2..=3 => shared.resp3.set(version == 3),
            _ => return Err(Fault::reply("ERR RESP version must be 2 or 3.")),
        }
        Ok(())
    })?;
    table.raw_set("setresp", setresp)?;
    Ok(table)
}

fn sha1hex(given: &Given) -> Result<String, Fault> {
    if given.len() != 1 {
        return Err(Fault::reply("ERR wrong number of arguments"));
    }
    // What is neither text nor number counts as empty.
    let digest = match given.string(1) {
        Ok(text) => sha1_smol::Sha1::from(text.as_bytes()),
        Err(_) => sha1_smol::Sha1::new(),
    };
    Ok(digest.digest().to_string())
}

fn log(given: &Given) -> Result<(), Fault> {
    if given.len() < 2 {
        return Err(Fault::reply("ERR redis.log() requires two arguments or more."));
    }
    let level = match given.get(1) {
        Some(Value::Integer(level)) => *level,
        Some(Value::Number(level)) => *level as i64,
        _ => return Err(Fault::reply("ERR First argument must be a number (log level).")),
    };
    let words: Vec<_> =
        (2..=given.len()).filter_map(|index| Some(given.string(index).ok()?.to_string_lossy())).collect();
    let text = words.join(" ");
    let shown = crate::message::error::echo(text.as_bytes());
    match level {
        0 => tracing::debug!("script: {shown}"),
        1 | 2 => tracing::info!("script: {shown}"),
        3 => tracing::warn!("script: {shown}"),
        _ => return Err(Fault::reply("ERR Invalid debug level.")),
    }
    Ok(())
}

/// There is nobody to replicate to.
fn set_repl(given: &Given) -> Result<(), Fault> {
    if given.len() != 1 {
        return Err(Fault::reply("ERR redis.set_repl() requires one argument."));
    }
    if !(0..=3).contains(&given.integer(1).unwrap_or(0)) {
        let text = "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return Err(Fault::reply(text));
    }
    Ok(())
}
