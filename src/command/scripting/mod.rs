//! EVAL and its kin, and SCRIPT: scripts run as one step on the keys they were given.

mod function_dump;
mod functions;
mod host;
mod memory;

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use host::{Declared, Server};
pub use memory::tend;

use crate::base::clock;
use crate::command::server::monitor;
use crate::command::{Call, Command, Flags, Found, Group, Keys, Table, is_word, parse_integer, reply_help};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::request::Arguments;
use crate::script::Compiled;
use crate::script::library::{Library, Running, Script, Sha, Traits, parse_sha, sha_of};
use crate::script::runner::Runner;
use crate::shared::Shared;

pub const COMMANDS: &[Command] = &[
    row("eval", -3, RUNS, |call| eval(call, false)).keys(KEYS).doc(
        "2.6.0",
        "script numkeys [key [key ...]] [arg [arg ...]]",
        "Executes a server-side Lua script.",
    ),
    row("evalsha", -3, RUNS, |call| evalsha(call, false)).keys(KEYS).doc(
        "2.6.0",
        "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        "Executes a server-side Lua script by SHA1 digest.",
    ),
    row("eval_ro", -3, READ_ONLY, |call| eval(call, true)).keys(KEYS).doc(
        "7.0.0",
        "script numkeys [key [key ...]] [arg [arg ...]]",
        "Executes a read-only server-side Lua script.",
    ),
    row("evalsha_ro", -3, READ_ONLY, |call| evalsha(call, true)).keys(KEYS).doc(
        "7.0.0",
        "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        "Executes a read-only server-side Lua script by SHA1 digest.",
    ),
    Command::container("script", Group::Scripting, SCRIPT).doc(
        "2.6.0",
        "",
        "A container for Lua scripts management commands.",
    ),
    Command::container("function", Group::Scripting, functions::FUNCTION).doc(
        "7.0.0",
        "",
        "A container for function commands.",
    ),
    row("fcall", -3, RUNS, |call| functions::fcall(call, false)).keys(KEYS).doc(
        "7.0.0",
        "function numkeys [key [key ...]] [arg [arg ...]]",
        "Invokes a function.",
    ),
    row("fcall_ro", -3, READ_ONLY, |call| functions::fcall(call, true)).keys(KEYS).doc(
        "7.0.0",
        "function numkeys [key [key ...]] [arg [arg ...]]",
        "Invokes a read-only function.",
    ),
];

const KEYS: Keys = Keys::counted(2, 1);

const RUNS: Flags = Flags::NO_SCRIPT.union(Flags::SKIP_MONITOR);
const READ_ONLY: Flags = RUNS.union(Flags::READONLY);

const SCRIPT: &[Command] = &[
    row("exists", -3, Flags::NO_SCRIPT, script_exists).doc(
        "2.6.0",
        "sha1 [sha1 ...]",
        "Determines whether server-side Lua scripts exist in the script cache.",
    ),
    row("flush", -2, Flags::NO_SCRIPT, script_flush).doc(
        "2.6.0",
        "[ASYNC | SYNC]",
        "Removes all server-side Lua scripts from the script cache.",
    ),
    row("kill", 2, Flags::NO_SCRIPT, script_kill).doc(
        "2.6.0",
        "",
        "Terminates a server-side Lua script during execution.",
    ),
    row("load", 3, Flags::NO_SCRIPT, script_load).doc(
        "2.6.0",
        "script",
        "Loads a server-side Lua script to the script cache.",
    ),
    row("show", 3, Flags::NO_SCRIPT, script_show).doc(
        "8.0.0",
        "sha1",
        "Returns the source of a script in the script cache (from Valkey).",
    ),
    row("help", 2, Flags::empty(), script_help).doc(
        "5.0.0",
        "",
        "Returns helpful text about the different subcommands.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Scripting, run).flags(flags)
}

/// What runs one core's scripts. `attend` is called now and then while one is busy.
pub fn runner(shared: Arc<Shared>, core: usize, attend: Box<dyn Fn()>) -> Runner {
    let cap = shared.settings.max_memory_bytes.load(Relaxed) as usize;
    let memory = limits::script_bytes(cap, shared.cores);
    let attended = Cell::new(0);
    Runner::new(
        memory,
        Box::new(move || {
            // The core is busy, not stuck.
            shared.heartbeats[core].fetch_add(1, Relaxed);
            let running = &shared.scripts.running[core];
            if running.is_killed() {
                return Err(host::KILLED.into());
            }
            let now = clock::now();
            let elapsed = running.elapsed(now).unwrap_or(0);
            if elapsed >= limits::SCRIPT_DRAIN_MS && shared.draining.load(Relaxed) {
                return Err("ERR Script ended because the server shuts down".into());
            }
            let threshold = shared.settings.busy_reply_threshold_ms.load(Relaxed);
            if threshold != 0 && elapsed >= threshold && now >= attended.get() + limits::SCRIPT_ATTEND_MS {
                attended.set(now);
                attend();
            }
            Ok(())
        }),
    )
}

/// What is answered while a script keeps a core busy.
pub fn is_urgent((place, _): Found) -> bool {
    let urgent = ["script|kill", "function|kill", "shutdown", "auth", "hello", "reset", "quit"];
    urgent.contains(&Table::get().names()[place].as_str())
}

/// Whether it runs a script that may change keys: one that does not say otherwise.
pub fn may_write(row: &Command, args: Arguments, scripts: &Library) -> bool {
    let traits = match row.name {
        "eval" => Traits::of(args.get(1)).ok(),
        "evalsha" => parse_sha(args.get(1)).and_then(|sha| scripts.find(&sha)).map(|script| script.traits),
        "fcall" => scripts.functions.find(args.get(1)).map(|(_, script)| script.traits),
        _ => return false,
    };
    traits.is_none_or(|traits| !traits.no_writes)
}

fn eval(call: &mut Call, read_only: bool) -> Result<(), Stop> {
    memory::granted(call, |call| {
        let keys = key_range(call.args)?;
        let source = call.arg(1);
        let sha = sha_of(source);
        let (script, compiled) = match find(call, &sha)? {
            Some(found) => found,
            None => {
                let script = new_script(sha, source)?;
                let library = &call.shared.scripts;
                // An error in it is no reason to keep it.
                let compiled = runner_of(call).compile(source, &script.traits)?;
                let script = library.keep(script, source);
                runner_of(call).remember(script.clone(), compiled.clone());
                (script, compiled)
            }
        };
        run(call, (&script, &compiled), keys, read_only)
    })
}

const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

fn evalsha(call: &mut Call, read_only: bool) -> Result<(), Stop> {
    memory::granted(call, |call| {
        // What cannot be a name of one is said before all else.
        let sha = parse_sha(call.arg(1)).ok_or(NO_SCRIPT)?;
        let keys = key_range(call.args)?;
        let (script, compiled) = find(call, &sha)?.ok_or(NO_SCRIPT)?;
        run(call, (&script, &compiled), keys, read_only)
    })
}

/// A script that is known, compiled for this core.
fn find(call: &mut Call, sha: &Sha) -> Result<Option<(Arc<Script>, Compiled)>, Stop> {
    let library = &call.shared.scripts;
    let runner = runner_of(call);
    if let Some(known) = runner.known(sha) {
        return Ok(Some(known));
    }
    let (Some(script), Some(source)) = (library.find(sha), library.source(sha)) else { return Ok(None) };
    let compiled = runner.compile(&source, &script.traits)?;
    runner.remember(script.clone(), compiled.clone());
    Ok(Some((script, compiled)))
}

/// Which arguments are keys.
fn key_range(args: Arguments) -> Result<Range<usize>, Stop> {
    let count = parse_integer(args.get(2)).ok_or(error::NOT_AN_INTEGER)?;
    if count > args.len() as i64 - 3 {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    if count < 0 {
        return Err("ERR Number of keys can't be negative".into());
    }
    Ok(3..3 + count as usize)
}

fn new_script(sha: Sha, source: &[u8]) -> Result<Script, Stop> {
    let traits = Traits::of(source)?;
    Ok(Script::new(sha, Traits { is_wide: traits.is_wide || is_wide(source), ..traits }))
}

/// Whether a source names, in quotes, a command that reads or writes the keyspace as a whole.
fn is_wide(source: &[u8]) -> bool {
    let source = source.to_ascii_lowercase();
    let rows = Table::get().rows().iter().filter(|row| needs_all_shards(row));
    let mut names = rows.map(|row| row.name.as_bytes());
    names.any(|name| {
        memchr::memmem::find_iter(&source, name).any(|at| {
            let before = at.checked_sub(1).map(|before| source[before]);
            let after = source.get(at + name.len()).copied();
            before == after && matches!(after, Some(b'\'' | b'"'))
        })
    })
}

/// A command without keys may look at any shard, unless we know better.
fn needs_all_shards(row: &Command) -> bool {
    let knows_no_shard = matches!(row.group, Group::Connection | Group::Scripting | Group::Transactions);
    row.keys == Keys::NONE && !knows_no_shard && row.name != "time"
}

fn runner_of<'r>(call: &'r mut Call) -> &'r mut Runner {
    call.scripts.as_mut().expect("no script runs within a script")
}

fn run(
    call: &mut Call,
    (script, compiled): (&Arc<Script>, &Compiled),
    keys: Range<usize>,
    read_only: bool,
) -> Result<(), Stop> {
    let traits = script.traits;
    if read_only && traits.is_declared && !traits.no_writes {
        return Err("ERR Can not execute a script with write flag using *_ro command.".into());
    }
    memory::check_arguments(call)?;
    let library = &call.shared.scripts;
    library.touch(script);
    let was_sealed = call.guards.is_sealed();
    let everything = touches_everything(call, &traits);
    let declared = Declared::new(call.args, keys.clone(), everything).map_err(|_| error::OUT_OF_MEMORY)?;
    if !was_sealed {
        lock(call, everything, keys.clone())?;
    }
    let running = &library.running[call.state.client.core];
    let db = call.state.db();
    if call.shared.clients.monitors.any() {
        monitor::tell(call, |_, _| false);
    }
    running.start(call.now.max(1));
    call.guards.begin_script();
    let outcome = execute(call, (script, compiled), keys, declared, running, read_only || traits.no_writes);
    call.guards.end_script();
    running.stop();
    call.state.select(db);
    if !was_sealed {
        call.guards.unseal();
    }
    outcome
}

/// Whether a script may use keys that it was not given: it says so, or the option does for those that say nothing.
fn touches_everything(call: &Call, traits: &Traits) -> bool {
    traits.is_wide || (!traits.is_declared && call.shared.settings.script_lock_all.load(Relaxed))
}

/// Locks what the script may touch.
fn lock(call: &mut Call, everything: bool, keys: Range<usize>) -> Result<(), Stop> {
    if everything {
        return call.seal_all();
    }
    let (args, keyspace) = (call.args, call.guards.keyspace());
    call.seal(keys.map(|index| keyspace.hash(args.get(index))))
}

fn execute(
    call: &mut Call,
    script: (&Script, &Compiled),
    keys: Range<usize>,
    declared: Declared,
    running: &Running,
    read_only: bool,
) -> Result<(), Stop> {
    let mut runner = call.scripts.take().expect("no script runs within a script");
    let Call { args, now, guards, reply, state, shared, stats, .. } = call;
    let args = *args;
    let mut server =
        Server { declared, running, read_only, now: *now, guards, state, shared, stats, replied_errors: false };
    let arguments = (keys.end..args.len()).map(|index| args.get(index));
    let keys = keys.map(|index| args.get(index));
    runner.run(script, keys, arguments, &mut server, reply);
    let outcome = if server.replied_errors { Err(Stop::AlreadyReplied) } else { Ok(()) };
    *call.scripts = Some(runner);
    outcome
}

fn script_exists(call: &mut Call) -> Result<(), Stop> {
    call.reply.array(call.args.len() - 2);
    for name in call.args.iter().skip(2) {
        let known = parse_sha(name).and_then(|sha| call.shared.scripts.find(&sha));
        call.reply.integer(known.is_some().into());
    }
    Ok(())
}

fn script_show(call: &mut Call) -> Result<(), Stop> {
    let source = parse_sha(call.arg(2)).and_then(|sha| call.shared.scripts.source(&sha));
    let source = source.ok_or(NO_SCRIPT)?;
    call.room(source.len())?;
    call.reply.bulk(&source);
    Ok(())
}

fn script_flush(call: &mut Call) -> Result<(), Stop> {
    check_flush(call.args, "ERR SCRIPT FLUSH only support SYNC|ASYNC option")?;
    call.shared.scripts.flush();
    // This core at once, others at their next tick.
    let (shared, core) = (call.shared, call.state.client.core);
    memory::tend(runner_of(call), shared, core);
    memory::charge_sources(shared);
    call.reply.ok();
    Ok(())
}

fn check_flush(args: Arguments, wrong: &'static str) -> Result<(), Stop> {
    let is_fine = match args.len() {
        2 => true,
        3 => is_word(args.get(2), "SYNC") || is_word(args.get(2), "ASYNC"),
        _ => false,
    };
    if is_fine { Ok(()) } else { Err(wrong.into()) }
}

/// Ends every script that has been running for long and has not written.
fn script_kill(call: &mut Call) -> Result<(), Stop> {
    let now = clock::now();
    let running = &call.shared.scripts.running;
    // All of them, not only the first.
    let killed = running.iter().filter(|running| running.kill(now, limits::SCRIPT_LONG_MS)).count();
    if killed > 0 {
        call.reply.ok();
        return Ok(());
    }
    let is_long = |running: &Running| running.elapsed(now).is_some_and(|elapsed| elapsed >= limits::SCRIPT_LONG_MS);
    if !running.iter().any(is_long) {
        return Err("NOTBUSY No scripts in execution right now.".into());
    }
    Err("UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
         script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
        .into())
}

fn script_load(call: &mut Call) -> Result<(), Stop> {
    memory::granted(call, |call| {
        let source = call.arg(2);
        let script = new_script(sha_of(source), source)?;
        if call.shared.scripts.find(&script.sha).is_none() {
            memory::check_source(call, source.len())?;
            runner_of(call).compile(source, &script.traits)?;
        }
        let name = script.name.clone();
        call.shared.scripts.load(script, source)?;
        call.reply.bulk(name.as_bytes());
        Ok(())
    })
}

fn script_help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "script", SCRIPT);
    Ok(())
}
