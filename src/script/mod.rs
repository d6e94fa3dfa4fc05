//! Lua scripts: one interpreter per core, which runs compiled scripts against a server that it knows only by the trait
//! `Host`. It must not know commands, keys, sockets or other cores.
//!
//! | file | what it is |
//! |---|---|
//! | `sandbox.rs`, `prelude.lua` | what a script can reach |
//! | `convert.rs` | replies as Lua values, Lua values as replies |
//! | `cjson.rs`, `cmsgpack.rs`, `structs.rs`, `bit.rs` | the libraries that Redis gives to scripts |
//! | `fault.rs`, `number.rs` | arguments and errors of functions written in Rust; numbers as text |
//! | `work.rs` | how long a script may go on |
//! | `library.rs`, `functions.rs`, `runner.rs` | the scripts and functions that are known, for all cores; the interpreter of one core |

mod bit;
mod cjson;
mod cmsgpack;
mod convert;
mod fault;
pub mod functions;
#[cfg(test)]
mod hostile;
pub mod library;
mod number;
pub mod runner;
mod sandbox;
mod structs;
mod work;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

// The interpreter itself.
use kv_lua as _;
use mlua::{Function, HookTriggers, Lua, MultiValue, Table, Value, VmState};

use crate::config::limits;
use crate::message::kept::Kept;
use crate::message::reply::Reply;
use crate::message::request::Arguments;
use convert::Names;
pub use fault::NOT_ENOUGH_MEMORY;
use fault::{Fault, Raised};
use functions::Registered;
use sandbox::{Failure, Mood, State};
pub use work::Pulse;
use work::Work;

/// The server, as a script sees it.
pub trait Host {
    /// Runs one command and writes its reply, errors included.
    fn call(&mut self, arguments: Arguments, reply: &mut Reply);

    /// `redis.acl_check_cmd`: whether the command may be run; `None` if there is no such command.
    fn allows(&self, arguments: Arguments) -> Option<bool>;

    /// The script's reply has this error in it. `is_counted`: `call` has answered so before.
    fn replied_error(&mut self, text: &str, is_counted: bool);
}

/// A compiled script, or a function of a library; it belongs to the interpreter that compiled it.
#[derive(Clone)]
pub struct Compiled {
    function: Function,
    /// It takes KEYS and ARGV as arguments; a script finds them as globals.
    takes_arguments: bool,
}

/// A Lua interpreter with Redis's libraries.
pub struct Interpreter {
    lua: Lua,
    redis: Table,
    run: Function,
    load: Function,
    names: Rc<Names>,
    state: Rc<State>,
    scratch: RefCell<Scratch>,
    /// What the next script may hold.
    pub memory_limit_bytes: usize,
    /// Held after the last collection.
    settled_bytes: usize,
    /// It ran out of memory or was stopped in the middle of something.
    poisoned: bool,
}

/// What the calls of a script are put together in.
#[derive(Default)]
struct Scratch {
    request: Kept,
    reply: Reply,
    parts: VecDeque<bytes::Bytes>,
}

impl Interpreter {
    pub fn new(pulse: Pulse) -> mlua::Result<Interpreter> {
        let state = Rc::new(State::new(pulse));
        let sandbox::Sandbox { lua, redis, run, load } = sandbox::build(&state)?;
        let triggers = HookTriggers::new().every_nth_instruction(limits::SCRIPT_PULSE_INSTRUCTIONS);
        let shared = state.clone();
        lua.set_global_hook(triggers, move |lua, _| look(lua, &shared.work))?;
        lua.gc_collect()?;
        Ok(Interpreter {
            names: Rc::new(Names::new(&lua)?),
            settled_bytes: lua.used_memory(),
            scratch: RefCell::default(),
            poisoned: false,
            memory_limit_bytes: 0,
            lua,
            redis,
            run,
            load,
            state,
        })
    }

    /// Compiles a script, or says why not.
    pub fn compile(&self, source: &[u8]) -> Result<Compiled, String> {
        self.bounded(true);
        let function = sandbox::compile(&self.lua, source, "@user_script");
        self.bounded(false);
        function.map(|function| Compiled { function, takes_arguments: false })
    }

    /// Runs the code of a library, which registers functions and can do nothing else.
    ///
    /// # Errors
    /// Redis's texts.
    pub fn load_library(&mut self, code: &[u8]) -> Result<Vec<(Registered, Compiled)>, String> {
        self.state.reset();
        self.bounded(true);
        let compiled = sandbox::compile(&self.lua, code, "@user_function");
        let loaded = compiled.map(|chunk| self.load.call::<(bool, Value)>(&chunk));
        self.bounded(false);
        let outcome = match loaded {
            Err(text) => Err(format!("ERR Error compiling function: {text}")),
            Ok(Ok((true, Value::Table(registered)))) => registrations(&registered),
            Ok(ended) => {
                let failure = self.state.failure.take().map(|failure| failure.text);
                let text = failure.unwrap_or_else(|| match &ended {
                    // The handler was not called: no memory.
                    Ok((_, value)) => value.to_string().unwrap_or_default(),
                    Err(error) => failure_of(error).text,
                });
                Err(format!("ERR Error registering functions: {}", text.strip_prefix("ERR ").unwrap_or(&text)))
            }
        };
        let reason = self.state.work.take_reason();
        self.poisoned |=
            reason.is_some() || outcome.as_ref().is_err_and(|text| text.ends_with(fault::NOT_ENOUGH_MEMORY));
        match reason {
            Some(reason) => Err(reason.into_owned()),
            None => outcome,
        }
    }

    pub fn used_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    /// Of them, what was there after the last collection: scripts that are compiled, above all.
    pub fn settled_bytes(&self) -> usize {
        self.settled_bytes
    }

    /// It must be replaced before the next script.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Runs a script and writes its reply, errors included. `sha` is its name in them.
    pub fn run<'a>(
        &mut self,
        script: &Compiled,
        sha: &str,
        keys: impl Iterator<Item = &'a [u8]>,
        arguments: impl Iterator<Item = &'a [u8]>,
        host: &mut dyn Host,
        reply: &mut Reply,
    ) {
        self.state.reset();
        let mark = reply.mark();
        let outcome = self.execute(script, keys, arguments, host, reply);
        self.bounded(false);
        let ended = self.state.work.take_reason();
        let mut failure = match outcome {
            Ok(()) if ended.is_none() => return self.collect(),
            Ok(()) => Failure::default(),
            Err(failure) => failure,
        };
        if let Some(reason) = ended {
            self.poisoned = true;
            failure = Failure { text: reason.into_owned(), is_counted: false, ..failure };
        } else if failure.text.ends_with(fault::NOT_ENOUGH_MEMORY) {
            self.poisoned = true;
            let text = format!("OOM the script needs more than the {} bytes it may hold", self.memory_limit_bytes);
            failure = Failure { text, is_counted: false, ..failure };
        } else {
            self.collect();
        }
        let text = with_place(&failure.text, sha, failure.place);
        reply.rewind(mark);
        reply.error(&text);
        host.replied_error(&text, failure.is_counted);
    }

    fn execute<'a>(
        &self,
        script: &Compiled,
        keys: impl Iterator<Item = &'a [u8]>,
        arguments: impl Iterator<Item = &'a [u8]>,
        host: &mut dyn Host,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let host = RefCell::new(host);
        let outcome = self.lua.scope(|scope| {
            // One function, for each costs as much as a small script; `pcall` and the others call it in another mood.
            let call = scope.create_function(|lua, values: MultiValue| {
                let outcome = match self.state.mood.take() {
                    Mood::Raise => self.command(lua, values, &host).and_then(|value| self.raise_error(value)),
                    Mood::Return => match self.command(lua, values, &host) {
                        Err(Fault::Reply(text)) => Ok(self.error_table(&text)?),
                        outcome => outcome,
                    },
                    Mood::Ask => self.allows(values, &host).map(Value::Boolean),
                };
                outcome.map_err(|fault| fault::raise(lua, "call", fault))
            })?;
            self.redis.raw_set(&self.names.call, call)?;
            let keys = self.array(keys)?;
            let arguments = self.array(arguments)?;
            self.bounded(true);
            self.run.call::<(bool, Value)>((&script.function, keys, arguments, script.takes_arguments))
        });
        match outcome {
            Ok((true, value)) => {
                self.bounded(false);
                let mut host = host.borrow_mut();
                let writer = convert::Writer::new(&self.names, &self.state, &mut **host, self.memory_limit_bytes);
                writer.finish(&value, reply).map_err(|error| failure_of(&error))
            }
            Ok((false, value)) => Err(self.state.failure.take().unwrap_or_else(|| Failure {
                // The handler was not called: no memory, or an error in it.
                text: format!("ERR {}", value.to_string().unwrap_or_default()),
                ..Failure::default()
            })),
            // Ended between the script and its end: the handler has seen it, or nobody.
            Err(error) => Err(self.state.failure.take().unwrap_or_else(|| failure_of(&error))),
        }
    }

    fn array<'a>(&self, elements: impl Iterator<Item = &'a [u8]>) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(elements.size_hint().0, 0)?;
        for (index, element) in elements.enumerate() {
            table.raw_seti(index + 1, self.lua.create_string(element)?)?;
        }
        Ok(table)
    }

    /// One command of the script: its reply as a Lua value.
    fn command(&self, lua: &Lua, values: MultiValue, host: &RefCell<&mut dyn Host>) -> Result<Value, Fault> {
        // Some commands take long: not many of them run between two looks.
        self.state.work.add(limits::SCRIPT_PULSE_INSTRUCTIONS as usize / limits::SCRIPT_PULSE_COMMANDS)?;
        let mut scratch = self.scratch.borrow_mut();
        let Scratch { request, reply, parts } = &mut *scratch;
        put_together(request, &values, self.memory_limit_bytes)?;
        reply.clear();
        reply.version = convert::version(self.state.resp3.get());
        host.borrow_mut().call(request.get(0), reply);
        if lua.used_memory() + 2 * reply.len() > self.memory_limit_bytes {
            return Err(Fault::text(fault::NOT_ENOUGH_MEMORY));
        }
        // It has its room: Lua need not be asked at each step.
        self.bounded(false);
        let value = match reply.as_contiguous() {
            Some(bytes) => convert::to_lua(lua, &self.names, bytes),
            None => {
                reply.take(parts);
                let bytes: Vec<u8> = parts.drain(..).flatten().collect();
                convert::to_lua(lua, &self.names, &bytes)
            }
        };
        self.bounded(true);
        Ok(value?)
    }

    fn allows(&self, values: MultiValue, host: &RefCell<&mut dyn Host>) -> Result<bool, Fault> {
        let mut scratch = self.scratch.borrow_mut();
        put_together(&mut scratch.request, &values, self.memory_limit_bytes)?;
        let allowed = host.borrow().allows(scratch.request.get(0));
        allowed.ok_or(Fault::reply("ERR Invalid command passed to redis.acl_check_cmd()"))
    }

    /// An error reply raises, as `redis.call` does.
    fn raise_error(&self, value: Value) -> Result<Value, Fault> {
        if let Value::Table(table) = &value
            && let Value::String(text) = table.raw_get::<Value>(&self.names.err)?
        {
            return Err(Fault::Answer(text.to_string_lossy()));
        }
        Ok(value)
    }

    fn error_table(&self, text: &str) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        table.raw_set(&self.names.err, text)?;
        Ok(Value::Table(table))
    }

    /// Whether Lua may refuse memory. While it may, each step from here into Lua is guarded, which costs time.
    fn bounded(&self, bounded: bool) {
        let limit = if bounded { self.memory_limit_bytes } else { 0 };
        self.lua.set_memory_limit(limit).expect("the interpreter's memory is ours");
    }

    /// Frees what scripts have left, before it becomes much.
    fn collect(&mut self) {
        if self.lua.used_memory() > 2 * self.settled_bytes + limits::SCRIPT_GARBAGE_BYTES {
            self.poisoned |= self.lua.gc_collect().is_err();
            self.settled_bytes = self.lua.used_memory();
        }
    }
}

/// What the prelude has collected from `redis.register_function`.
fn registrations(registered: &Table) -> Result<Vec<(Registered, Compiled)>, String> {
    let read = |entry: mlua::Result<Table>| {
        let entry = entry?;
        let flags: Vec<mlua::LuaString> =
            entry.raw_get::<Table>("flags")?.sequence_values().collect::<mlua::Result<_>>()?;
        let description: Option<mlua::LuaString> = entry.raw_get("description")?;
        let registered = Registered {
            name: entry.raw_get::<mlua::LuaString>("name")?.to_string_lossy(),
            description: description.map(|text| text.to_string_lossy()),
            flags: flags.iter().map(|flag| flag.to_string_lossy()).collect(),
        };
        Ok((registered, Compiled { function: entry.raw_get("callback")?, takes_arguments: true }))
    };
    let all: mlua::Result<_> = registered.sequence_values().map(read).collect();
    all.map_err(|error| format!("ERR Error registering functions: {}", failure_of(&error).text))
}

/// The hook of a running script.
fn look(lua: &Lua, work: &Work) -> mlua::Result<VmState> {
    if work.look().is_ok() { Ok(VmState::Continue) } else { refuse(lua) }
}

/// Ends the script at each instruction from now on: whatever catches the error gets no further.
fn refuse(lua: &Lua) -> mlua::Result<VmState> {
    // Each time anew, for it is set on one coroutine, and those that wait for it go on.
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(1), |lua, _| refuse(lua))?;
    Err(end())
}

fn end() -> mlua::Error {
    mlua::Error::external(Raised::reply("ERR the script has been ended"))
}

fn failure_of(error: &mlua::Error) -> Failure {
    let raised = Raised::of(error);
    let text = if raised.is_reply { raised.text } else { format!("ERR {}", raised.text) };
    Failure { text, is_counted: raised.is_counted, place: None }
}

/// The last words of an error in a script.
fn with_place(text: &str, sha: &str, place: Option<String>) -> String {
    match place {
        Some(place) => format!("{text} script: {sha}, on {place}."),
        None => format!("{text} script: {sha}"),
    }
}

/// The arguments of a command, as text.
fn put_together(request: &mut Kept, values: &MultiValue, limit_bytes: usize) -> Result<(), Fault> {
    request.clear();
    let mut bytes = 0;
    if values.is_empty() {
        return Err(Fault::reply("ERR Please specify at least one argument for this redis lib call"));
    }
    for value in values {
        match value {
            Value::String(text) => {
                let text = text.as_bytes();
                // The same text may stand many times.
                bytes += text.len();
                if bytes > limit_bytes {
                    return Err(Fault::text(fault::NOT_ENOUGH_MEMORY));
                }
                request.push_argument(&text);
            }
            Value::Integer(number) => request.push_argument(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Number(number) if *number == (*number as i64) as f64 && number.abs() < i64::MAX as f64 => {
                request.push_argument(itoa::Buffer::new().format(*number as i64).as_bytes());
            }
            Value::Number(number) => request.push_argument(number::shortest(*number).as_bytes()),
            _ => return Err(Fault::reply("ERR Lua redis lib command arguments must be strings or integers")),
        }
    }
    request.end();
    Ok(())
}
