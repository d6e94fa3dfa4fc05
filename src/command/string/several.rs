//! Commands that read and write several values at once, as one step for everybody else.

use std::ops::Range;

use crate::base::extents::Blob;
use crate::command::key::expiry::TimeWord;
use crate::command::{Call, Command, Flags, Group, Keys, is_word, room, write_value};
use crate::message::error::{self, Stop};
use crate::store::shard::{Expiry, Key, NewValue, SetError, Shard};

pub const COMMANDS: &[Command] = &[
    row("mget", -2, Flags::READONLY.union(Flags::FAST), mget)
        .keys(Keys::ALL)
        .doc("1.0.0", "key [key ...]", "Atomically returns the string values of one or more keys."),
    row("mset", -3, Flags::WRITE.union(Flags::DENYOOM), mset)
        .keys(Keys::PAIRS)
        .doc("1.0.1", "key value [key value ...]", "Atomically creates or modifies the string values of one or more keys."),
    row("msetnx", -3, Flags::WRITE.union(Flags::DENYOOM), msetnx).keys(Keys::PAIRS).doc(
        "1.0.1",
        "key value [key value ...]",
        "Atomically modifies the string values of one or more keys only when all keys don't exist.",
    ),
    row("msetex", -4, Flags::WRITE.union(Flags::DENYOOM), msetex).keys(Keys::counted(1, 2)).doc(
        "8.4.0",
        "numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        "Atomically sets multiple string keys with a shared expiration in a single operation.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::String, run).flags(flags)
}

/// The values of fewer keys, as far as they are copied, are little enough to be taken back.
const MEASURED_KEYS_MIN: usize = 64;
/// What a value has around it in a reply.
const HEADER_BYTES: usize = 16;

fn mget(call: &mut Call) -> Result<(), Stop> {
    let keys = call.all_keys();
    if keys.len() > MEASURED_KEYS_MIN {
        // The reply is written whole, and measured before, in the same step: all shards are locked.
        let length = |key: Key| call.length_of(key);
        let bytes = keys.clone().map(length).sum::<usize>() + keys.len() * HEADER_BYTES;
        call.room(bytes)?;
    }
    call.reply.array(keys.len());
    call.guards.with_keys(
        keys,
        |key| *key,
        |shard, key| {
            let found = shard.get(key, call.now);
            crate::command::count_lookup(call.stats, found.is_some());
            match found {
                Some(entry) => write_value(call.reply, entry.value),
                None => call.reply.null(),
            }
            call.reply.cut();
            Ok(())
        },
    )
}

fn mset(call: &mut Call) -> Result<(), Stop> {
    if call.args.len().is_multiple_of(2) {
        return Err(crate::command::wrong_arity("mset"));
    }
    write_all(call, 1..call.args.len(), None, Expiry::Never)?;
    call.reply.ok();
    Ok(())
}

fn msetnx(call: &mut Call) -> Result<(), Stop> {
    if call.args.len().is_multiple_of(2) {
        return Err(crate::command::wrong_arity("msetnx"));
    }
    let done = write_all(call, 1..call.args.len(), Some(Presence::None), Expiry::Never)?;
    call.reply.integer(done as i64);
    Ok(())
}

fn msetex(call: &mut Call) -> Result<(), Stop> {
    let count = match crate::command::parse_integer(call.arg(1)) {
        Some(count) if (1..=i32::MAX as i64).contains(&count) => count as usize,
        _ => return Err("ERR invalid numkeys value".into()),
    };
    let end = 2 + 2 * count;
    if call.args.len() < end {
        return Err("ERR wrong number of key-value pairs".into());
    }
    let (mut only_if, mut time) = (None, TimeWord::Unsaid);
    let mut index = end;
    while index < call.args.len() {
        let word = call.arg(index);
        let presence =
            [("NX", Presence::None), ("XX", Presence::All)].into_iter().find(|(name, _)| is_word(word, name));
        match presence {
            Some((_, presence)) if only_if.is_none_or(|other| other == presence) => {
                only_if = Some(presence);
                index += 1;
            }
            Some(_) => return Err(error::SYNTAX.into()),
            None => index += time.take(call, index, &[("KEEPTTL", TimeWord::Keep)])?,
        }
    }
    let expiry = time.expiry(call, Expiry::Never, "msetex")?;
    let done = write_all(call, 2..end, only_if, expiry)?;
    call.reply.integer(done as i64);
    Ok(())
}

/// Which of the keys must be there for any to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    None,
    All,
}

/// Writes all pairs of the arguments or, when the condition does not hold, none; says which.
fn write_all(
    call: &mut Call,
    arguments: Range<usize>,
    only_if: Option<Presence>,
    expiry: Expiry,
) -> Result<bool, Stop> {
    let (first, places) = (arguments.start, arguments.step_by(2));
    let (key_at, now) = (call.keys(), call.now);
    let mut bytes = 0;
    for place in places.clone() {
        crate::command::check_key(call.arg(place))?;
        bytes += call.arg(place).len() + call.arg(place + 1).len();
    }
    if let Some(presence) = only_if {
        let is_unwanted =
            |key: Key| call.guards.shard(key.hash).peek(key, now).is_some() != (presence == Presence::All);
        if places.clone().map(key_at).any(is_unwanted) {
            return Ok(false);
        }
    }
    // The policy is the same for all shards.
    if call.guards.shard(key_at(first).hash).admits_one_by_one(bytes) {
        write(call, places, |shard, key, value| shard.set(key, value, expiry, now))?;
    } else {
        let mut placed = prepare(call, places.clone(), expiry)?.into_iter();
        write(call, places, |shard, key, value| {
            let value = match value {
                NewValue::Copied(bytes) if Shard::is_placed(key, bytes) => {
                    NewValue::Shared(placed.next().expect("placed"))
                }
                value => value,
            };
            shard.set_prepared(key, value, expiry, now)
        })?;
    }
    Ok(true)
}

/// Sets the pairs that begin at these arguments.
fn write(
    call: &mut Call,
    places: impl Iterator<Item = usize>,
    mut set: impl FnMut(&mut Shard, Key, NewValue) -> Result<(), SetError>,
) -> Result<(), Stop> {
    let (args, key_at) = (call.args, call.keys());
    call.guards.with_keys(
        places.map(|place| (key_at(place), place + 1)),
        |(key, _)| *key,
        |shard, (key, value)| {
            set(shard, key, crate::command::new_value(args, value)).map_err(crate::command::set_error)
        },
    )
}

/// Every shard sees to all that its part of the pairs needs, before any is written; values that are copied to where they
/// will lie come back.
fn prepare(call: &mut Call, places: impl Iterator<Item = usize> + Clone, expiry: Expiry) -> Result<Vec<Blob>, Stop> {
    let (args, key_at, now) = (call.args, call.keys(), call.now);
    let keyspace = call.guards.keyspace();
    // A byte for each: they are counted again and again.
    let shards: Vec<u8> = places.clone().map(|place| keyspace.shard_of(key_at(place).hash) as u8).collect();
    for number in 0..keyspace.shards() {
        let pairs = places.clone().zip(&shards).filter(|(_, shard)| **shard as usize == number);
        let items = pairs.map(|(place, _)| (key_at(place), args.get(place + 1).len()));
        if let Some((first, _)) = items.clone().next() {
            room(call.guards.shard(first.hash).prepare(items, expiry, now))?;
        }
    }
    let mut placed = Vec::new();
    for place in places {
        let key = key_at(place);
        if args.value(place + 1).is_none() && Shard::is_placed(key, args.get(place + 1)) {
            placed.push(call.guards.shard(key.hash).place(args.get(place + 1)).map_err(crate::command::set_error)?);
        }
    }
    Ok(placed)
}
