//! EVAL and its kin, SCRIPT, FUNCTION: scripts run as one step on the keys they were given.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::{self, UnixMillis};
use crate::command::ConnectionState;
use crate::command::server::monitor;
use crate::command::{Call, Command, Flags, Found, Group, Keys, Table, absent, is_word, parse_integer, reply_help};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::reply::Reply;
use crate::message::request::Arguments;
use crate::observe::stats::CoreStats;
use crate::script::library::{Library, Running, Script, Sha, Traits, parse_sha, sha_of};
use crate::script::runner::Runner;
use crate::script::{Compiled, Host};
use crate::shared::Shared;
use crate::store::guards::ShardGuards;

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
    Command::container("function", Group::Scripting, FUNCTION).doc(
        "7.0.0",
        "",
        "A container for function commands; functions are not served.",
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
    row("help", 2, Flags::empty(), script_help).doc(
        "5.0.0",
        "",
        "Returns helpful text about the different subcommands.",
    ),
];

const FUNCTION: &[Command] = &[
    row("flush", -2, Flags::NO_SCRIPT, function_flush).doc("7.0.0", "[ASYNC | SYNC]", "Answers OK: there are none."),
    row("delete", -2, Flags::NO_SCRIPT, not_served).doc("7.0.0", "library-name", "Not served."),
    row("dump", -2, Flags::NO_SCRIPT, not_served).doc("7.0.0", "", "Not served."),
    row("kill", -2, Flags::NO_SCRIPT, not_served).doc("7.0.0", "", "Not served."),
    row("list", -2, Flags::NO_SCRIPT, not_served).doc("7.0.0", "", "Not served."),
    row("load", -2, Flags::NO_SCRIPT, not_served).doc("7.0.0", "function-code", "Not served."),
    row("restore", -2, Flags::NO_SCRIPT, not_served).doc("7.0.0", "serialized-value", "Not served."),
    row("stats", -2, Flags::NO_SCRIPT, not_served).doc("7.0.0", "", "Not served."),
    row("help", 2, Flags::empty(), function_help).doc(
        "7.0.0",
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
                return Err("ERR Script killed by user with SCRIPT KILL...".into());
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
    let urgent = ["script|kill", "shutdown", "auth", "hello", "reset", "quit"];
    urgent.contains(&Table::get().names()[place].as_str())
}

/// Whether it runs a script that may change keys: one that does not say otherwise.
pub fn may_write(row: &Command, args: Arguments, scripts: &Library) -> bool {
    let traits = match row.name {
        "eval" => Traits::of(args.get(1)).ok(),
        "evalsha" => parse_sha(args.get(1)).and_then(|sha| scripts.find(&sha)).map(|script| script.traits),
        _ => return false,
    };
    traits.is_none_or(|traits| !traits.no_writes)
}

fn eval(call: &mut Call, read_only: bool) -> Result<(), Stop> {
    let keys = key_range(call.args)?;
    let source = call.arg(1);
    let sha = sha_of(source);
    let library = &call.shared.scripts;
    let known = call.scripts.as_ref().and_then(|runner| runner.known(&sha, library));
    let script = match known.or_else(|| library.find(&sha)) {
        Some(script) => script,
        None => {
            let script = new_script(sha, source)?;
            // An error in it is no reason to keep it.
            runner_of(call).try_code(source, &script.traits, library)?;
            library.keep(script)
        }
    };
    run(call, &script, keys, read_only)
}

fn evalsha(call: &mut Call, read_only: bool) -> Result<(), Stop> {
    const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";
    // What cannot be a name of one is said before all else.
    let sha = parse_sha(call.arg(1)).ok_or(NO_SCRIPT)?;
    let keys = key_range(call.args)?;
    let library = &call.shared.scripts;
    let known = call.scripts.as_ref().and_then(|runner| runner.known(&sha, library));
    let script = known.or_else(|| library.find(&sha)).ok_or(NO_SCRIPT)?;
    run(call, &script, keys, read_only)
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
    Ok(Script::new(sha, source, Traits { is_wide: is_wide(source), ..traits }))
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

fn run(call: &mut Call, script: &Arc<Script>, keys: Range<usize>, read_only: bool) -> Result<(), Stop> {
    let traits = script.traits;
    if read_only && traits.is_declared && !traits.no_writes {
        return Err("ERR Can not execute a script with write flag using *_ro command.".into());
    }
    let library = &call.shared.scripts;
    let compiled = runner_of(call).compile(script, library)?;
    library.touch(script);
    let was_sealed = call.guards.is_sealed();
    if !was_sealed {
        lock(call, script, keys.clone())?;
    }
    let running = &library.running[call.state.client.core];
    let db = call.state.db();
    if call.shared.clients.monitors.any() {
        monitor::tell(call, 0..0);
    }
    running.start(call.now.max(1));
    call.guards.begin_script();
    let outcome = execute(call, (script, &compiled), keys, running, read_only || traits.no_writes);
    call.guards.end_script();
    running.stop();
    call.state.select(db);
    if !was_sealed {
        call.guards.unseal();
    }
    outcome
}

/// Locks what the script may touch.
fn lock(call: &mut Call, script: &Script, keys: Range<usize>) -> Result<(), Stop> {
    if script.traits.is_wide {
        return call.seal_all();
    }
    let (args, keyspace) = (call.args, call.guards.keyspace());
    call.seal(keys.map(|index| keyspace.hash(args.get(index))))
}

fn execute(
    call: &mut Call,
    (script, compiled): (&Script, &Compiled),
    keys: Range<usize>,
    running: &Running,
    read_only: bool,
) -> Result<(), Stop> {
    let mut runner = call.scripts.take().expect("no script runs within a script");
    let Call { args, now, guards, reply, state, shared, stats, .. } = call;
    let args = *args;
    let mut server = Server {
        declared: Declared { args, keys: keys.clone(), everything: script.traits.is_wide },
        running,
        read_only,
        now: *now,
        guards,
        state,
        shared,
        stats,
        replied_errors: false,
    };
    let arguments = (keys.end..args.len()).map(|index| args.get(index));
    let keys = keys.map(|index| args.get(index));
    runner.run((script, compiled), keys, arguments, &mut server, reply);
    let outcome = if server.replied_errors { Err(Stop::AlreadyReplied) } else { Ok(()) };
    running.interpreter_bytes.store(runner.used_bytes(), Relaxed);
    *call.scripts = Some(runner);
    outcome
}

/// The server as a script sees it.
struct Server<'s, 'k> {
    declared: Declared<'s>,
    running: &'s Running,
    read_only: bool,
    now: UnixMillis,
    guards: &'s mut ShardGuards<'k>,
    state: &'s mut ConnectionState,
    shared: &'s Shared,
    stats: &'s CoreStats,
    /// An error stands in the script's reply.
    replied_errors: bool,
}

/// The keys that a script was given.
struct Declared<'s> {
    args: Arguments<'s>,
    keys: Range<usize>,
    everything: bool,
}

impl Declared<'_> {
    fn has(&self, key: &[u8]) -> bool {
        self.keys.clone().any(|index| self.args.get(index) == key)
    }

    /// Refuses what was not locked beforehand.
    fn check(&self, row: &Command, arguments: Arguments) -> Result<(), String> {
        if self.everything {
            return Ok(());
        }
        if needs_all_shards(row) {
            return Err(format!(
                "ERR Script calls {0} by a name that is put together; write '{0}' so that all shards are locked for it",
                row.name
            ));
        }
        match row.keys.positions(arguments).find(|position| !self.has(arguments.get(*position))) {
            None => Ok(()),
            Some(position) => Err(format!(
                "ERR Script uses the key '{}' without declaring it; pass it in KEYS, so that it is locked while the script runs",
                error::echo(arguments.get(position))
            )),
        }
    }
}

impl Server<'_, '_> {
    fn check(&self, row: &Command, arguments: Arguments) -> Result<(), Cow<'static, str>> {
        if !row.accepts(arguments.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".into());
        }
        if row.flags.intersects(Flags::NO_SCRIPT) {
            return Err("ERR This Redis command is not allowed from script".into());
        }
        if self.read_only && row.flags.intersects(Flags::WRITE) {
            return Err("ERR Write commands are not allowed from read-only scripts.".into());
        }
        self.declared.check(row, arguments).map_err(Cow::Owned)
    }

    fn refuse(&self, text: &str, reply: &mut Reply) {
        self.stats.note_error(text);
        reply.error(text);
    }
}

impl Host for Server<'_, '_> {
    fn call(&mut self, arguments: Arguments, reply: &mut Reply) {
        let Some(found) = Table::get().lookup(arguments) else {
            let reason = absent::reason(arguments.get(0)).map_or(String::new(), |reason| format!(" ({reason})"));
            return self.refuse(&format!("ERR Unknown Redis command called from script{reason}"), reply);
        };
        let (place, row) = found;
        if let Err(text) = self.check(row, arguments) {
            self.stats.calls[place].rejected.add(1);
            return self.refuse(&text, reply);
        }
        if row.flags.intersects(Flags::WRITE) {
            self.running.write();
        }
        let Server { now, guards, state, shared, stats, .. } = self;
        let mut call =
            Call { args: arguments, hash: 0, now: *now, guards, reply, state, shared, stats, scripts: &mut None };
        call.run_nested(arguments, found);
    }

    fn allows(&self, arguments: Arguments) -> Option<bool> {
        Table::get().lookup(arguments).map(|_| true)
    }

    fn replied_error(&mut self, text: &str, is_counted: bool) {
        self.replied_errors = true;
        if !is_counted {
            self.stats.note_error(text);
        }
    }
}

fn script_exists(call: &mut Call) -> Result<(), Stop> {
    call.reply.array(call.args.len() - 2);
    for name in call.args.iter().skip(2) {
        let known = parse_sha(name).and_then(|sha| call.shared.scripts.find(&sha));
        call.reply.integer(known.is_some().into());
    }
    Ok(())
}

fn script_flush(call: &mut Call) -> Result<(), Stop> {
    check_flush(call.args, "ERR SCRIPT FLUSH only support SYNC|ASYNC option")?;
    call.shared.scripts.flush();
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
    let is_long = |running: &&Running| running.elapsed(now).is_some_and(|elapsed| elapsed >= limits::SCRIPT_LONG_MS);
    let (written, others): (Vec<_>, Vec<_>) =
        call.shared.scripts.running.iter().filter(is_long).partition(|running| running.has_written());
    if !others.is_empty() {
        others.iter().for_each(|running| running.kill());
        call.reply.ok();
        return Ok(());
    }
    if written.is_empty() {
        return Err("NOTBUSY No scripts in execution right now.".into());
    }
    Err("UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
         script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
        .into())
}

fn script_load(call: &mut Call) -> Result<(), Stop> {
    let source = call.arg(2);
    let script = new_script(sha_of(source), source)?;
    let library = &call.shared.scripts;
    if library.find(&script.sha).is_none() {
        runner_of(call).try_code(source, &script.traits, library)?;
    }
    let name = script.name.clone();
    library.load(script)?;
    call.reply.bulk(name.as_bytes());
    Ok(())
}

fn script_help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "script", SCRIPT);
    Ok(())
}

fn function_flush(call: &mut Call) -> Result<(), Stop> {
    if call.args.len() > 3 {
        return Err(crate::command::wrong_form(call.args));
    }
    check_flush(call.args, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option")?;
    call.reply.ok();
    Ok(())
}

fn not_served(_: &mut Call) -> Result<(), Stop> {
    Err("ERR functions are not served, so there are none; scripts are, by EVAL and SCRIPT LOAD".into())
}

fn function_help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "function", FUNCTION);
    Ok(())
}
