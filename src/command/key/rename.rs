//! Commands that put a value under another key: RENAME, RENAMENX, COPY.

use crate::command::{Call, Command, Flags, Group, Keys, is_word, room};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::store::shard::{Expiry, Extra, Found, Key, NewValue, Value};

pub const COMMANDS: &[Command] = &[
    row("rename", 3, Flags::WRITE, rename).doc("1.0.0", "key newkey", "Renames a key and overwrites the destination."),
    row("renamenx", 3, Flags::WRITE.union(Flags::FAST), renamenx).doc(
        "1.0.0",
        "key newkey",
        "Renames a key only when the target key name doesn't exist.",
    ),
    row("copy", -3, Flags::WRITE.union(Flags::DENYOOM), copy).doc(
        "6.2.0",
        "source destination [DB destination-db] [REPLACE]",
        "Copies the value of a key to a new key.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Generic, run).flags(flags).keys(Keys { last: 2, ..Keys::ONE })
}

fn rename(call: &mut Call) -> Result<(), Stop> {
    match put(call, call.key(), call.key_at(2), Put { replaces: true, keeps: false })? {
        Outcome::NotThere => Err(NO_SUCH_KEY.into()),
        Outcome::Done | Outcome::Taken => {
            call.reply.ok();
            Ok(())
        }
    }
}

fn renamenx(call: &mut Call) -> Result<(), Stop> {
    match put(call, call.key(), call.key_at(2), Put { replaces: false, keeps: false })? {
        Outcome::NotThere => return Err(NO_SUCH_KEY.into()),
        Outcome::Taken => call.reply.integer(0),
        Outcome::Done => call.reply.integer(1),
    }
    Ok(())
}

fn copy(call: &mut Call) -> Result<(), Stop> {
    let (mut database, mut replaces) = (call.state.db(), false);
    let mut index = 3;
    while index < call.args.len() {
        if is_word(call.arg(index), "REPLACE") {
            replaces = true;
        } else if is_word(call.arg(index), "DB") && index + 1 < call.args.len() {
            database = call.database(index + 1)?;
            index += 1;
        } else {
            return Err(error::SYNTAX.into());
        }
        index += 1;
    }
    let (from, to) = (call.key(), call.key_in(database, 2));
    if from.bytes == to.bytes && from.db == to.db {
        return Err("ERR source and destination objects are the same".into());
    }
    let outcome = put(call, from, to, Put { replaces, keeps: true })?;
    call.reply.integer((outcome == Outcome::Done) as i64);
    Ok(())
}

const NO_SUCH_KEY: &str = "ERR no such key";

struct Put {
    /// What is under the new key goes.
    replaces: bool,
    /// What is under the old key stays.
    keeps: bool,
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Done,
    NotThere,
    /// There is a value under the new key, and it stays.
    Taken,
}

/// Puts a value, with its time of expiry and its flags, under another key, as one step for everybody else.
fn put(call: &mut Call, from: Key, to: Key, how: Put) -> Result<Outcome, Stop> {
    crate::command::check_key(to.bytes)?;
    let now = call.now;
    let shards = &mut *call.guards;
    // Found as if it were used: making room must not take it.
    let Some(Found { entry, extra, .. }) = shards.shard(from.hash).get_with_extra(from, now) else {
        return Ok(Outcome::NotThere);
    };
    let extra = Extra { flags: extra.flags, ..Extra::NONE };
    let expiry = entry.expires_at.map_or(Expiry::Never, Expiry::At);
    // A large value is passed on as it is.
    let copied;
    let value = match entry.value {
        Value::Inline(bytes) => {
            copied = bytes.to_vec();
            NewValue::Copied(&copied)
        }
        Value::Shared(blob) => NewValue::Shared(blob.clone()),
    };
    let is_same = from.bytes == to.bytes && from.db == to.db;
    if is_same || !how.replaces && shards.shard(to.hash).peek(to, now).is_some() {
        return Ok(Outcome::Taken);
    }
    let bytes = to.bytes.len() + value.len();
    if bytes >= limits::SMALL_WRITE_BYTES {
        room(shards.shard(to.hash).make_room(bytes, now))?;
    }
    shards.shard(to.hash).set_with_extra(to, value, expiry, extra, now).map_err(crate::command::set_error)?;
    if !how.keeps {
        shards.shard(from.hash).delete(from, now);
    }
    Ok(Outcome::Done)
}
