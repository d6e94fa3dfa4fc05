//! Commands that read and write several values at once, as one step for everybody else.

use crate::command::key::expiry::TimeWord;
use crate::command::{Call, Command, Flags, Group, Keys, is_word, room, write_value};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::shared::Shared;
use crate::store::shard::{Expiry, Key, NewValue};

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
    let keys = call.all_keys(1);
    if keys.len() > MEASURED_KEYS_MIN {
        // The reply is written whole, and measured before, in the same step: all shards are locked.
        let length = |key: &Key| call.peek(*key).map_or(0, |entry| entry.value.as_slice().len());
        let bytes = keys.iter().map(length).sum::<usize>() + keys.len() * HEADER_BYTES;
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
    write_all(call, pairs(call, 1, call.args.len()), None, Expiry::Never)?;
    call.reply.ok();
    Ok(())
}

fn msetnx(call: &mut Call) -> Result<(), Stop> {
    if call.args.len().is_multiple_of(2) {
        return Err(crate::command::wrong_arity("msetnx"));
    }
    let done = write_all(call, pairs(call, 1, call.args.len()), Some(Presence::None), Expiry::Never)?;
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
    let done = write_all(call, pairs(call, 2, end), only_if, expiry)?;
    call.reply.integer(done as i64);
    Ok(())
}

/// Which of the keys must be there for any to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    None,
    All,
}

/// The keys and values from argument `from` to before `end`.
fn pairs<'c>(call: &Call<'c, '_>, from: usize, end: usize) -> Vec<(Key<'c>, NewValue<'c>)> {
    (from..end).step_by(2).map(|index| (call.key_at(index), call.new_value(index + 1))).collect()
}

/// Writes all pairs or, when the condition does not hold, none; says which.
fn write_all(
    call: &mut Call,
    pairs: Vec<(Key, NewValue)>,
    only_if: Option<Presence>,
    expiry: Expiry,
) -> Result<bool, Stop> {
    for (key, _) in &pairs {
        crate::command::check_key(*key)?;
    }
    let shards = &mut *call.guards;
    if let Some(presence) = only_if {
        let wanted = presence == Presence::All;
        if pairs.iter().any(|(key, _)| shards.shard(key.hash).peek(*key, call.now).is_some() != wanted) {
            return Ok(false);
        }
    }
    let total: usize = pairs.iter().map(|(key, value)| key.bytes.len() + value.len()).sum();
    if total >= limits::SMALL_WRITE_BYTES {
        // Each shard is asked for all of it at once: nothing is written before everything has its room.
        for (key, bytes) in bytes_by_shard(call.shared, &pairs) {
            room(shards.shard(key.hash).make_room(bytes, call.now))?;
        }
    }
    shards.with_keys(
        pairs,
        |(key, _)| *key,
        |shard, (key, value)| shard.set(key, value, expiry, call.now).map_err(crate::command::set_error),
    )?;
    Ok(true)
}

/// For each shard that the pairs touch, one of its keys and the bytes that go there.
fn bytes_by_shard<'p>(shared: &Shared, pairs: &'p [(Key, NewValue)]) -> Vec<(Key<'p>, usize)> {
    let mut sums: Vec<(Key, usize)> = Vec::new();
    for (key, value) in pairs {
        let bytes = key.bytes.len() + value.len();
        let shard = shared.keyspace.shard_of(key.hash);
        match sums.iter_mut().find(|(known, _)| shared.keyspace.shard_of(known.hash) == shard) {
            Some((_, sum)) => *sum += bytes,
            None => sums.push((*key, bytes)),
        }
    }
    sums
}
