//! Commands that read and write one value as a whole.

use crate::command::key::expiry::{self, TimeWord, Unit};
use crate::command::string::change::Tail;
use crate::command::string::compare::{Condition, ConditionOf, compare_first, is_allowed};
use crate::command::{Call, Command, Flags, Group, Keys, count_lookup, is_word};
use crate::message::error::{self, Stop};
use crate::store::shard::Expiry;

pub const COMMANDS: &[Command] = &[
    row("get", 2, Flags::READONLY.union(Flags::FAST).union(Flags::HOT), get)
        .doc("1.0.0", "key", "Returns the string value of a key."),
    row("set", -3, Flags::WRITE.union(Flags::DENYOOM), set).doc(
        "1.0.0",
        "key value [NX | XX | IFEQ value | IFNE value | IFDEQ digest | IFDNE digest] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
    ),
    row("setex", 4, Flags::WRITE.union(Flags::DENYOOM), |call| set_with_time(call, Unit::SECONDS, "setex")).doc(
        "2.0.0",
        "key seconds value",
        "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
    ),
    row("psetex", 4, Flags::WRITE.union(Flags::DENYOOM), |call| set_with_time(call, Unit::MILLISECONDS, "psetex")).doc(
        "2.6.0",
        "key milliseconds value",
        "Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist.",
    ),
    row("setnx", 3, Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST), setnx).doc(
        "1.0.0",
        "key value",
        "Sets the string value of a key only when the key doesn't exist.",
    ),
    row("getset", 3, Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST), getset).doc(
        "1.0.0",
        "key value",
        "Returns the previous string value of a key after setting it to a new value.",
    ),
    row("getdel", 2, Flags::WRITE.union(Flags::FAST), getdel)
        .doc("6.2.0", "key", "Returns the string value of a key after deleting the key."),
    row("getex", -2, Flags::WRITE.union(Flags::FAST), getex).doc(
        "6.2.0",
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        "Returns the string value of a key after setting its expiration time.",
    ),
    row("strlen", 2, Flags::READONLY.union(Flags::FAST), strlen)
        .doc("2.2.0", "key", "Returns the length of a string value."),
    row("append", 3, Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST), append)
        .doc("2.0.0", "key value", "Appends a string to the value of a key. Creates the key if it doesn't exist."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::String, run).flags(flags).keys(Keys::ONE)
}

fn get(call: &mut Call) -> Result<(), Stop> {
    call.reply_value(call.key())
}

/// What SET's words ask for.
#[derive(Default)]
struct SetOptions<'a> {
    only_if: Option<Condition<'a>>,
    get: bool,
    time: TimeWord,
}

impl<'a> SetOptions<'a> {
    // A call of its own costs a SET in a pipeline a tenth more.
    #[inline(always)]
    fn parse(call: &Call<'a, '_>) -> Result<SetOptions<'a>, Stop> {
        let mut options = SetOptions::default();
        let mut index = 3;
        while index < call.args.len() {
            let word = call.arg(index);
            if is_word(word, "GET") {
                options.get = true;
                index += 1;
            } else if let Some((condition, taken)) = Condition::parse(call, index)? {
                if options.only_if.is_some_and(|other| other != condition || condition.is_comparison()) {
                    return Err(error::SYNTAX.into());
                }
                options.only_if = Some(condition);
                index += taken;
            } else {
                index += options.time.take(call, index, &[("KEEPTTL", TimeWord::Keep)])?;
            }
        }
        Ok(options)
    }
}

fn set(call: &mut Call) -> Result<(), Stop> {
    let options = SetOptions::parse(call)?;
    if options.only_if.is_some_and(|condition| condition.takes_long(call)) {
        let condition_of: ConditionOf = |call| Ok(SetOptions::parse(call)?.only_if);
        return compare_first(call, condition_of, |call, holds| set_if(call, SetOptions::parse(call)?, holds));
    }
    set_if(call, options, None)
}

/// SET, of which it may be known whether its condition holds.
#[inline(always)]
fn set_if(call: &mut Call, options: SetOptions, holds: Option<bool>) -> Result<(), Stop> {
    let expiry = options.time.expiry(call, Expiry::Never, "set")?;
    let key = call.key();
    let value = call.new_value(2);
    call.reserve(key, call.arg(2).len())?;
    let old = if options.get { call.old_value(key)? } else { None };
    // Room may have been made at the cost of the value.
    let known = holds.filter(|_| call.peek(key).is_some());
    let allowed = is_allowed(call, known, options.only_if)?;
    if allowed {
        call.store(key, value, expiry)?;
    }
    match (options.get, allowed) {
        (true, _) => call.reply_old_value(old),
        (false, true) => call.reply.ok(),
        (false, false) => call.reply.null(),
    }
    Ok(())
}

fn set_with_time(call: &mut Call, unit: Unit, name: &str) -> Result<(), Stop> {
    let key = call.key();
    let expires_at = expiry::absolute(call, 2, unit, name)?;
    call.reserve(key, call.arg(3).len())?;
    call.store(key, call.new_value(3), Expiry::At(expires_at))?;
    call.reply.ok();
    Ok(())
}

fn setnx(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    call.reserve(key, call.arg(2).len())?;
    let is_new = call.peek(key).is_none();
    if is_new {
        call.store(key, call.new_value(2), Expiry::Never)?;
    }
    call.reply.integer(is_new as i64);
    Ok(())
}

fn getset(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    call.reserve(key, call.arg(2).len())?;
    let old = call.old_value(key)?;
    call.store(key, call.new_value(2), Expiry::Never)?;
    call.reply_old_value(old);
    Ok(())
}

fn getdel(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    let old = call.old_value(key)?;
    count_lookup(call.stats, old.is_some());
    call.reply_old_value(old);
    call.guards.shard(key.hash).delete(key, call.now);
    Ok(())
}

fn getex(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    let mut time = TimeWord::Unsaid;
    let mut index = 2;
    while index < call.args.len() {
        index += time.take(call, index, &[("PERSIST", TimeWord::Never)])?;
    }
    // Nothing to give a time to: not even a wrong one is looked at.
    let length = call.peek(key).map(|entry| entry.value.as_slice().len());
    call.room(length.unwrap_or(0))?;
    let expiry = if length.is_some() { time.expiry(call, Expiry::Keep, "getex")? } else { Expiry::Keep };
    call.reply_value(key)?;
    match expiry {
        Expiry::Keep => false,
        Expiry::Never => expiry::apply(call, key, None),
        Expiry::At(at) => expiry::apply(call, key, Some(at)),
    };
    Ok(())
}

fn strlen(call: &mut Call) -> Result<(), Stop> {
    let length = call.find(call.key()).map_or(0, |entry| entry.value.as_slice().len());
    call.reply.integer(length as i64);
    Ok(())
}

fn append(call: &mut Call) -> Result<(), Stop> {
    let old = call.length_of(call.key());
    call.change(old + call.arg(2).len(), Tail::Argument(2), |call, is_done| {
        if !is_done {
            return append_in_place(call);
        }
        let length = call.length_of(call.key());
        call.reply.integer(length as i64);
        Ok(())
    })
}

fn append_in_place(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    let added = call.arg(2);
    let old = call.length_of(key);
    if let Some(length) = call.edit(key, old + added.len(), |value| value[old..].copy_from_slice(added))? {
        call.reply.integer(length as i64);
        return Ok(());
    }
    call.reserve(key, old + added.len())?;
    let mut value = crate::command::memory_for(old + added.len())?;
    if let Some(entry) = call.peek(key) {
        value.extend_from_slice(entry.value.as_slice());
    }
    value.extend_from_slice(added);
    let length = value.len();
    call.store_changed(key, &value, Expiry::Keep)?;
    call.reply.integer(length as i64);
    Ok(())
}
