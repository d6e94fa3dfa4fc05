//! Commands about keys whatever their values are.

use crate::command::{Call, Command, Flags, Group, Keys};
use crate::message::error::Stop;

pub const COMMANDS: &[Command] = &[
    row("del", Flags::WRITE, delete).doc("1.0.0", "key [key ...]", "Deletes one or more keys."),
    row("unlink", Flags::WRITE.union(Flags::FAST), delete).doc(
        "4.0.0",
        "key [key ...]",
        "Deletes one or more keys; memory is given back in the background.",
    ),
    row("exists", Flags::READONLY.union(Flags::FAST), exists).doc(
        "1.0.0",
        "key [key ...]",
        "Determines whether one or more keys exist.",
    ),
    row("touch", Flags::READONLY.union(Flags::FAST), touch).doc(
        "3.2.1",
        "key [key ...]",
        "Returns the number of existing keys out of those specified after marking them as used.",
    ),
    Command::new("type", 2, Group::Generic, type_of).flags(Flags::READONLY.union(Flags::FAST)).keys(Keys::ONE).doc(
        "1.0.0",
        "key",
        "Determines the type of value stored at a key.",
    ),
];

const fn row(name: &'static str, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, -2, Group::Generic, run).flags(flags).keys(Keys::ALL)
}

fn delete(call: &mut Call) -> Result<(), Stop> {
    count(call, |shard, key, now| shard.delete(key, now))
}

fn exists(call: &mut Call) -> Result<(), Stop> {
    count(call, |shard, key, now| shard.peek(key, now).is_some())
}

fn touch(call: &mut Call) -> Result<(), Stop> {
    count(call, |shard, key, now| shard.get(key, now).is_some())
}

/// Replies with the number of keys for which `act` says yes, all of them under one set of locks.
fn count(
    call: &mut Call,
    act: impl Fn(&mut crate::store::shard::Shard, crate::store::shard::Key, crate::base::clock::UnixMillis) -> bool,
) -> Result<(), Stop> {
    let total = if call.args.len() == 2 {
        let key = call.key();
        act(call.guards.shard(key.hash), key, call.now) as i64
    } else {
        let keys = call.all_keys();
        let (mut total, now) = (0, call.now);
        call.guards.with_keys(
            keys,
            |key| *key,
            |shard, key| {
                total += act(shard, key, now) as i64;
                Ok::<_, Stop>(())
            },
        )?;
        total
    };
    call.reply.integer(total);
    Ok(())
}

fn type_of(call: &mut Call) -> Result<(), Stop> {
    let exists = call.peek(call.key()).is_some();
    call.reply.simple(if exists { "string" } else { "none" });
    Ok(())
}
