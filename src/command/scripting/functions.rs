//! FCALL and FUNCTION: scripts that have a name, and come in libraries.

use std::sync::Arc;

use super::{check_flush, function_dump, is_wide, key_range, memory, run, runner_of, script_kill};
use crate::base::{clock, glob};
use crate::command::{Call, Command, Flags, Group, is_word, reply_help};
use crate::message::error::Stop;
use crate::script::functions::{FunctionLibrary, Policy, header};

/// Of what removes libraries, and of what brings some.
const REMOVES: Flags = Flags::NO_SCRIPT.union(Flags::WRITE);
const BRINGS: Flags = REMOVES.union(Flags::DENYOOM);

pub const FUNCTION: &[Command] = &[
    row("load", -3, load).flags(BRINGS).doc("7.0.0", "[REPLACE] function-code", "Creates a library."),
    row("list", -2, list).doc(
        "7.0.0",
        "[LIBRARYNAME library-name-pattern] [WITHCODE]",
        "Returns information about all libraries.",
    ),
    row("delete", 3, delete).flags(REMOVES).doc("7.0.0", "library-name", "Deletes a library and its functions."),
    row("flush", -2, flush).flags(REMOVES).doc("7.0.0", "[ASYNC | SYNC]", "Deletes all libraries and functions."),
    row("stats", 2, stats).doc("7.0.0", "", "Returns information about a function during execution."),
    row("kill", 2, script_kill).doc("7.0.0", "", "Terminates a function during execution."),
    row("dump", 2, function_dump::dump).doc("7.0.0", "", "Dumps all libraries into a serialized binary payload."),
    row("restore", -3, function_dump::restore).flags(BRINGS).doc(
        "7.0.0",
        "serialized-value [FLUSH | APPEND | REPLACE]",
        "Restores all libraries from a payload.",
    ),
    row("help", 2, help).doc("7.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Scripting, run).flags(Flags::NO_SCRIPT)
}

pub fn fcall(call: &mut Call, read_only: bool) -> Result<(), Stop> {
    memory::granted(call, |call| {
        let (library, script) = call.shared.scripts.functions.find(call.arg(1)).ok_or("ERR Function not found")?;
        if crate::command::parse_integer(call.arg(2)).is_none() {
            return Err("ERR Bad number of keys provided".into());
        }
        let keys = key_range(call.args)?;
        let running = &call.shared.scripts.running[call.state.client.core];
        // Its library may have to run here first.
        running.start(call.now.max(1));
        let compiled = runner_of(call).function(&library, &script);
        running.stop();
        *running.function.lock() = Some(script.clone());
        let outcome =
            compiled.map_err(Stop::from).and_then(|compiled| run(call, (&script, &compiled), keys, read_only));
        *running.function.lock() = None;
        outcome
    })
}

fn load(call: &mut Call) -> Result<(), Stop> {
    let last = call.args.len() - 1;
    let replaces = last == 3 && is_word(call.arg(2), "REPLACE");
    if last > 2 && !replaces {
        return Err(format!("ERR Unknown option given: {}", crate::message::error::echo(call.arg(2))).into());
    }
    let policy = if replaces { Policy::Replace } else { Policy::Append };
    memory::granted(call, |call| {
        memory::check_source(call, call.arg(last).len())?;
        let library = read_library(call, call.arg(last))?;
        let name = library.name.clone();
        call.shared.scripts.load_functions(vec![library], policy)?;
        call.reply.bulk(name.as_bytes());
        Ok(())
    })
}

/// Runs a library's source, for which there is room, to see what it registers.
pub fn read_library(call: &mut Call, source: &[u8]) -> Result<FunctionLibrary, Stop> {
    let (name, code_at) = header(source)?;
    let running = &call.shared.scripts.running[call.state.client.core];
    running.start(call.now.max(1));
    let registered = runner_of(call).try_library(&source[code_at..]);
    running.stop();
    let functions = registered?.into_iter().map(|(registered, _)| registered).collect();
    Ok(FunctionLibrary::new((name, code_at), source, functions, is_wide(source))?)
}

fn list(call: &mut Call) -> Result<(), Stop> {
    let (mut pattern, mut with_code, mut at) = (None, false, 2);
    while at < call.args.len() {
        let word = call.arg(at);
        if is_word(word, "WITHCODE") && !with_code {
            with_code = true;
        } else if is_word(word, "LIBRARYNAME") && pattern.is_none() {
            at += 1;
            if at == call.args.len() {
                return Err("ERR library name argument was not given".into());
            }
            pattern = Some(call.arg(at));
        } else {
            return Err(format!("ERR Unknown argument {}", crate::message::error::echo(word)).into());
        }
        at += 1;
    }
    let mut libraries = call.shared.scripts.functions.all();
    libraries.retain(|library| pattern.is_none_or(|pattern| glob::matches(pattern, library.name.as_bytes())));
    call.room(libraries.iter().map(|library| described_bytes(library, with_code)).sum())?;
    call.reply.array(libraries.len());
    libraries.iter().for_each(|library| reply_library(call, library, with_code));
    Ok(())
}

/// About what FUNCTION LIST says of a library.
fn described_bytes(library: &FunctionLibrary, with_code: bool) -> usize {
    let description = |one: &crate::script::functions::Declared| one.description.as_ref().map_or(0, String::len);
    let functions: usize = library.functions.iter().map(|one| 256 + description(one)).sum();
    256 + functions + if with_code { library.source.len() } else { 0 }
}

fn reply_library(call: &mut Call, library: &Arc<FunctionLibrary>, with_code: bool) {
    let reply = &mut *call.reply;
    reply.map(3 + with_code as usize);
    reply.bulk(b"library_name");
    reply.bulk(library.name.as_bytes());
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(function.script.name.as_bytes());
        reply.bulk(b"description");
        match &function.description {
            Some(text) => reply.bulk(text.as_bytes()),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        reply.set(function.flags.len());
        function.flags.iter().for_each(|flag| reply.simple(flag));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.source);
    }
}

fn delete(call: &mut Call) -> Result<(), Stop> {
    if !call.shared.scripts.delete_functions(call.arg(2)) {
        return Err("ERR Library not found".into());
    }
    settle(call);
    Ok(())
}

fn flush(call: &mut Call) -> Result<(), Stop> {
    if call.args.len() > 3 {
        return Err(crate::command::wrong_form(call.args));
    }
    check_flush(call.args, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option")?;
    call.shared.scripts.flush_functions();
    settle(call);
    Ok(())
}

/// Something was forgotten: by this core at once, by others at their next tick.
fn settle(call: &mut Call) {
    let (shared, core) = (call.shared, call.state.client.core);
    memory::tend(runner_of(call), shared, core);
    memory::charge_sources(shared);
    call.reply.ok();
}

fn stats(call: &mut Call) -> Result<(), Stop> {
    let now = clock::now();
    let running = call.shared.scripts.running.iter().find_map(|running| {
        let function = running.function.lock().clone()?;
        Some((function, running.elapsed(now).unwrap_or(0)))
    });
    let (libraries, functions) = call.shared.scripts.functions.count();
    let reply = &mut *call.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match running {
        Some((function, elapsed)) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(function.name.as_bytes());
            reply.bulk(b"command");
            reply.array(2);
            reply.bulk(b"FCALL");
            reply.bulk(function.name.as_bytes());
            reply.bulk(b"duration_ms");
            reply.integer(elapsed as i64);
        }
        None => reply.null(),
    }
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.integer(libraries as i64);
    reply.bulk(b"functions_count");
    reply.integer(functions as i64);
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "function", FUNCTION);
    Ok(())
}
