//! Commands that read and write a part of a value.

use std::ops::Range;

use crate::command::string::change::Tail;
use crate::command::{Call, Command, Flags, Group, Keys};
use crate::config::limits;
use crate::message::error::Stop;
use crate::store::shard::Value;

pub const COMMANDS: &[Command] = &[
    row("getrange", 4, Flags::READONLY, getrange).doc(
        "2.4.0",
        "key start end",
        "Returns a substring of the string stored at a key.",
    ),
    row("substr", 4, Flags::READONLY, getrange).doc(
        "1.0.0",
        "key start end",
        "Returns a substring from a string value.",
    ),
    row("setrange", 4, Flags::WRITE.union(Flags::DENYOOM), setrange).doc(
        "2.2.0",
        "key offset value",
        "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::String, run).flags(flags).keys(Keys::ONE)
}

fn getrange(call: &mut Call) -> Result<(), Stop> {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let key = call.key();
    let range = |length| resolve(start, end, length);
    let length = call.peek(key).map_or(0, |entry| range(entry.value.as_slice().len()).len());
    call.room(length)?;
    let found = call.guards.shard(key.hash).get(key, call.now);
    crate::command::count_lookup(call.stats, found.is_some());
    match found.map(|entry| entry.value) {
        Some(Value::Inline(bytes)) => call.reply.bulk(&bytes[range(bytes.len())]),
        Some(Value::Shared(blob)) => {
            let part = range(blob.len());
            let is_large = part.len() >= (blob.len() / limits::SHARED_PART).max(limits::SHARED_REPLY_MIN_BYTES);
            if is_large {
                call.reply.bulk_shared(&bytes::Bytes::from(blob.clone()).slice(part));
            } else {
                // It may be megabytes: nothing is locked while they are copied.
                let value = bytes::Bytes::from(blob.clone());
                call.guards.release();
                call.reply.bulk(&value[part]);
            }
        }
        None => call.reply.bulk(b""),
    }
    Ok(())
}

/// The places from `start` to `end`, both included, and both counted from the end when negative: none if they are the
/// wrong way round.
pub fn resolve(start: i64, end: i64, length: usize) -> Range<usize> {
    if start < 0 && end < 0 && start > end { 0..0 } else { clamp(start, end, length) }
}

/// The same, where what lies before the first is the first, of an end too. So does Redis before version 8, and its BITPOS
/// asks for no more.
pub fn clamp(start: i64, end: i64, length: usize) -> Range<usize> {
    let length = length as i64;
    let absolute = |at: i64| if at < 0 { (at + length).max(0) } else { at };
    let (first, last) = (absolute(start), absolute(end).min(length - 1));
    if first > last { 0..0 } else { first as usize..last as usize + 1 }
}

fn setrange(call: &mut Call) -> Result<(), Stop> {
    let least = usize::try_from(call.integer(2)?).map_or(0, |offset| offset.saturating_add(call.arg(3).len()));
    call.change(if call.arg(3).is_empty() { 0 } else { least }, Tail::Zeros, |call, _| setrange_in_place(call))
}

fn setrange_in_place(call: &mut Call) -> Result<(), Stop> {
    let offset = usize::try_from(call.integer(2)?).map_err(|_| "ERR offset is out of range")?;
    let (key, part) = (call.key(), call.arg(3));
    if part.is_empty() {
        let length = call.length_of(key);
        call.reply.integer(length as i64);
        return Ok(());
    }
    let length = call.rewrite(key, offset.saturating_add(part.len()), |value| {
        value[offset..offset + part.len()].copy_from_slice(part);
    })?;
    call.reply.integer(length as i64);
    Ok(())
}
