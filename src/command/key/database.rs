//! Commands about databases as a whole.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::UnixMillis;
use crate::command::connection::tracking;
use crate::command::{Call, Command, Flags, Group, Keys, is_word};
use crate::message::error::{self, Stop};
use crate::shared::Shared;
use crate::store::shard::{DATABASES, Shard};

pub const COMMANDS: &[Command] = &[
    Command::new("select", 2, Group::Connection, select).flags(Flags::FAST).doc(
        "1.0.0",
        "index",
        "Changes the selected database.",
    ),
    row("swapdb", 3, Flags::WRITE.union(Flags::FAST), swapdb).doc("4.0.0", "index1 index2", "Swaps two databases."),
    row("dbsize", 1, Flags::READONLY.union(Flags::FAST), dbsize).doc(
        "1.0.0",
        "",
        "Returns the number of keys in the database.",
    ),
    row("flushdb", -1, Flags::WRITE, flushdb).doc(
        "1.0.0",
        "[ASYNC | SYNC]",
        "Removes all keys from the current database.",
    ),
    row("flushall", -1, Flags::WRITE, flushall).doc("1.0.0", "[ASYNC | SYNC]", "Removes all keys from all databases."),
    Command::new("move", 3, Group::Generic, move_key).flags(Flags::WRITE.union(Flags::FAST)).keys(Keys::ONE).doc(
        "1.0.0",
        "key db",
        "Moves a key to another database.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run).flags(flags)
}

fn select(call: &mut Call) -> Result<(), Stop> {
    let database = call.database(1)?;
    choose(call, database);
    call.reply.ok();
    Ok(())
}

/// Makes a database the selected one.
pub fn choose(call: &mut Call, database: u8) {
    call.state.select(database);
}

impl Call<'_, '_> {
    /// The database that argument `index` names.
    pub fn database(&self, index: usize) -> Result<u8, Stop> {
        let number = self.integer(index)?;
        in_range(i32::try_from(number).map_err(|_| NOT_32_BITS)?)
    }
}

const NOT_32_BITS: &str = "ERR value is out of range, value must between -2147483648 and 2147483647";

fn in_range(number: i32) -> Result<u8, Stop> {
    let number = usize::try_from(number).ok().filter(|number| *number < DATABASES);
    number.map(|number| number as u8).ok_or("ERR DB index is out of range".into())
}

fn swapdb(call: &mut Call) -> Result<(), Stop> {
    // Both are numbers before either is looked for.
    let number = |index, error| {
        let number = crate::command::parse_integer(call.arg(index)).and_then(|number| i32::try_from(number).ok());
        number.ok_or(Stop::from(error))
    };
    let (one, other) = (number(1, "ERR invalid first DB index")?, number(2, "ERR invalid second DB index")?);
    let (one, other) = (in_range(one)?, in_range(other)?);
    call.all()?.each(|shard| shard.swap_databases(one, other));
    if one != other {
        tracking::tell_flushed(call.shared);
    }
    call.reply.ok();
    Ok(())
}

fn dbsize(call: &mut Call) -> Result<(), Stop> {
    let (database, mut items) = (call.state.db(), 0);
    call.all()?.each(|shard| items += shard.len_of(database).0);
    call.reply.integer(items as i64);
    Ok(())
}

fn flushdb(call: &mut Call) -> Result<(), Stop> {
    check_flush_mode(call)?;
    let (database, mut is_ready) = (call.state.db(), true);
    let mut shards = call.all()?;
    shards.each(|shard| is_ready &= shard.is_ready_to_clear(database));
    if !is_ready {
        return Err(Stop::Retry);
    }
    shards.each(|shard| shard.clear_database(database));
    drop(shards);
    tracking::tell_flushed(call.shared);
    call.reply.ok();
    Ok(())
}

fn flushall(call: &mut Call) -> Result<(), Stop> {
    check_flush_mode(call)?;
    call.all()?.each(Shard::clear);
    tracking::tell_flushed(call.shared);
    call.reply.ok();
    Ok(())
}

/// Empties the first database if memcached's clients have asked for it and the time has come. Where a script holds a shard
/// it comes a little later.
pub fn flush_if_due(shared: &Shared, now: UnixMillis) {
    let at = shared.flush_at.load(Relaxed);
    if at != 0 && at <= now {
        flush_now(shared, at);
    }
}

#[cold]
fn flush_now(shared: &Shared, at: UnixMillis) {
    let mut guards = shared.keyspace.guards();
    let Ok(mut shards) = guards.lock_all() else { return };
    // Unless another core was quicker, or it was put off.
    if shared.flush_at.compare_exchange(at, 0, Relaxed, Relaxed).is_ok() {
        shards.each(|shard| shard.clear_database(0));
        drop(shards);
        tracking::tell_flushed(shared);
    }
}

/// Both modes empty at one moment and give the memory back step by step: nobody waits for it.
fn check_flush_mode(call: &Call) -> Result<(), Stop> {
    match call.args.len() {
        1 => Ok(()),
        2 if is_word(call.arg(1), "ASYNC") || is_word(call.arg(1), "SYNC") => Ok(()),
        _ => Err(error::SYNTAX.into()),
    }
}

fn move_key(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    let database = call.database(2)?;
    if database == key.db {
        return Err("ERR source and destination objects are the same".into());
    }
    let moved = call.guards.shard(key.hash).move_to(key, database, call.now).map_err(crate::command::set_error)?;
    call.reply.integer(moved as i64);
    Ok(())
}
