//! Commands that read and write values as a whole.

use super::{Call, Command, Flags, Group, Keys, is_word, room, write_value};
use crate::command::expiry::{self, Unit};
use crate::error::{self, Stop};
use crate::limits;
use crate::shard::{Expiry, Key, NewValue, SMALL_SET_BYTES};

pub const COMMANDS: &[Command] = &[
    row("get", 2, Flags::READONLY.and(Flags::FAST), get)
        .doc("1.0.0", "key", "Returns the string value of a key."),
    row("set", -3, Flags::WRITE.and(Flags::DENYOOM), set).doc(
        "1.0.0",
        "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
    ),
    row("getdel", 2, Flags::WRITE.and(Flags::FAST), getdel)
        .doc("6.2.0", "key", "Returns the string value of a key after deleting the key."),
    row("getex", -2, Flags::WRITE.and(Flags::FAST), getex).doc(
        "6.2.0",
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        "Returns the string value of a key after setting its expiration time.",
    ),
    row("mget", -2, Flags::READONLY.and(Flags::FAST), mget)
        .keys(Keys::ALL)
        .doc("1.0.0", "key [key ...]", "Atomically returns the string values of one or more keys."),
    row("mset", -3, Flags::WRITE.and(Flags::DENYOOM), mset)
        .keys(Keys::PAIRS)
        .doc("1.0.1", "key value [key value ...]", "Atomically creates or modifies the string values of one or more keys."),
    row("strlen", 2, Flags::READONLY.and(Flags::FAST), strlen)
        .doc("2.2.0", "key", "Returns the length of a string value."),
    row("append", 3, Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST), append)
        .doc("2.0.0", "key value", "Appends a string to the value of a key. Creates the key if it doesn't exist."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: super::Run) -> Command {
    Command::new(name, arity, Group::String, run).flags(flags).keys(Keys::ONE)
}

fn get(call: &mut Call) -> Result<(), Stop> {
    call.reply_value(call.key());
    Ok(())
}

/// What SET's words ask for.
#[derive(Default)]
struct SetOptions {
    only_if: Option<Presence>,
    get: bool,
    expiry: Option<Expiry>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Absent,
    Present,
}

impl SetOptions {
    fn parse(call: &Call) -> Result<SetOptions, Stop> {
        let mut options = SetOptions::default();
        let mut index = 3;
        while index < call.args.len() {
            let word = call.arg(index);
            if is_word(word, "NX") && options.only_if != Some(Presence::Present) {
                options.only_if = Some(Presence::Absent);
            } else if is_word(word, "XX") && options.only_if != Some(Presence::Absent) {
                options.only_if = Some(Presence::Present);
            } else if is_word(word, "GET") {
                options.get = true;
            } else if is_word(word, "KEEPTTL") && matches!(options.expiry, None | Some(Expiry::Keep)) {
                options.expiry = Some(Expiry::Keep);
            } else {
                let (true, Some(unit), true) =
                    (options.expiry.is_none(), Unit::of_word(word), index + 1 < call.args.len())
                else {
                    return Err(error::SYNTAX.into());
                };
                index += 1;
                options.expiry = Some(Expiry::At(expiry::absolute(call, index, unit, "set")?));
            }
            index += 1;
        }
        Ok(options)
    }
}

fn set(call: &mut Call) -> Result<(), Stop> {
    let options = SetOptions::parse(call)?;
    let key = call.key();
    let value = call.new_value(2);
    call.reserve(key, call.arg(2).len())?;
    if options.get {
        call.reply_old_value(key);
    }
    let refused = options.only_if.is_some_and(|wanted| (wanted == Presence::Present) != call.peek(key).is_some());
    if refused {
        if !options.get {
            call.reply.null();
        }
        return Ok(());
    }
    call.store(key, value, options.expiry.unwrap_or(Expiry::Never))?;
    if !options.get {
        call.reply.ok();
    }
    Ok(())
}

fn getdel(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    call.reply_value(key);
    call.held.shard(key.hash).delete(key, call.now);
    Ok(())
}

fn getex(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    let expires_at = match call.args.len() {
        2 => None,
        3 if is_word(call.arg(2), "PERSIST") => Some(None),
        4 => match Unit::of_word(call.arg(2)) {
            Some(unit) => Some(Some(expiry::absolute(call, 3, unit, "getex")?)),
            None => return Err(error::SYNTAX.into()),
        },
        _ => return Err(error::SYNTAX.into()),
    };
    call.reply_value(key);
    if let Some(expires_at) = expires_at {
        expiry::apply(call, key, expires_at);
    }
    Ok(())
}

fn mget(call: &mut Call) -> Result<(), Stop> {
    let keys = call.all_keys(1);
    let mut shards = call.held.shards(keys.iter().map(|key| key.hash));
    let limit = call.shared.copied_reply_bytes();
    if keys.len() * SMALL_SET_BYTES > limit {
        // A reply is written whole, and what is copied into it is new memory: it is measured before.
        let copied_bytes =
            |key: &Key| shards.shard(key.hash).peek(*key, call.now).map_or(0, |e| e.value.copied_bytes());
        let copied: usize = keys.iter().map(copied_bytes).sum();
        if copied > limit {
            return Err(
                format!("ERR the values have {copied} bytes and a reply may copy {limit}; ask for fewer keys").into()
            );
        }
    }
    call.reply.array(keys.len());
    for key in keys {
        let found = shards.shard(key.hash).get(key, call.now);
        super::count_lookup(call.stats, found.is_some());
        match found {
            Some(entry) => write_value(call.reply, entry.value),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn mset(call: &mut Call) -> Result<(), Stop> {
    if call.args.len().is_multiple_of(2) {
        return Err(super::wrong_arity("mset"));
    }
    let pairs: Vec<(Key, NewValue)> =
        call.all_keys(2).into_iter().enumerate().map(|(n, key)| (key, call.new_value(2 * n + 2))).collect();
    for (key, _) in &pairs {
        super::check_key(*key)?;
    }
    let mut shards = call.held.shards(pairs.iter().map(|(key, _)| key.hash));
    let total: usize = call.args.iter().skip(1).map(<[u8]>::len).sum();
    if total >= limits::SMALL_WRITE_BYTES {
        // Each shard is asked for all of it at once: nothing is written before everything has its room.
        for (key, bytes) in bytes_by_shard(call.shared, &pairs) {
            room(shards.shard(key.hash).make_room(bytes, call.now))?;
        }
    }
    for (key, value) in pairs {
        shards.shard(key.hash).set(key, value, Expiry::Never, call.now).map_err(super::set_error)?;
    }
    call.reply.ok();
    Ok(())
}

/// For each shard that the pairs touch, one of its keys and the bytes that go there.
fn bytes_by_shard<'p>(shared: &crate::shared::Shared, pairs: &'p [(Key, NewValue)]) -> Vec<(Key<'p>, usize)> {
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

fn strlen(call: &mut Call) -> Result<(), Stop> {
    let length = call.find(call.key()).map_or(0, |entry| entry.value.as_slice().len());
    call.reply.integer(length as i64);
    Ok(())
}

fn append(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    let added = call.arg(2);
    let old = call.peek(key).map_or(0, |entry| entry.value.as_slice().len());
    call.reserve(key, old + added.len())?;
    let mut value = Vec::with_capacity(old + added.len());
    if let Some(entry) = call.peek(key) {
        value.extend_from_slice(entry.value.as_slice());
    }
    value.extend_from_slice(added);
    let length = value.len();
    call.store_built(key, value)?;
    call.reply.integer(length as i64);
    Ok(())
}
