//! BITOP: bit by bit, several values become one.

use bytes::Bytes;

use crate::command::steps::{Progress, Work};
use crate::command::{Call, Command, Flags, Group, Keys, is_word, room};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::store::shard::{Expiry, Key, NewValue};

pub const COMMANDS: &[Command] = &[Command::new("bitop", -4, Group::Bitmap, bitop)
    .flags(Flags::WRITE.union(Flags::DENYOOM))
    .keys(Keys { first: 2, ..Keys::ALL })
    .doc(
        "2.6.0",
        "<AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key [key ...]",
        "Performs bitwise operations on multiple strings, and stores the result.",
    )];

/// The operations; the last four came with Redis 8.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// In the first and in none of the others.
    Diff,
    /// In any of the others and not in the first.
    Diff1,
    /// In the first and in any of the others.
    AndOr,
    /// In exactly one.
    One,
}

const OPERATIONS: [(&str, Operation); 8] = [
    ("AND", Operation::And),
    ("OR", Operation::Or),
    ("XOR", Operation::Xor),
    ("NOT", Operation::Not),
    ("DIFF", Operation::Diff),
    ("DIFF1", Operation::Diff1),
    ("ANDOR", Operation::AndOr),
    ("ONE", Operation::One),
];

fn bitop(call: &mut Call) -> Result<(), Stop> {
    let Some(&(name, operation)) = OPERATIONS.iter().find(|(name, _)| is_word(call.arg(1), name)) else {
        return Err(error::SYNTAX.into());
    };
    let sources = (3..call.args.len()).map(call.keys());
    match operation {
        Operation::Not if sources.len() != 1 => {
            return Err("ERR BITOP NOT must be called with a single source key.".into());
        }
        Operation::Diff | Operation::Diff1 | Operation::AndOr if sources.len() < 2 => {
            return Err(format!("ERR BITOP {name} must be called with at least two source keys.").into());
        }
        _ => {}
    }
    let target = call.key_at(2);
    crate::command::check_key(target.bytes)?;
    let now = call.now;
    let shards = &mut *call.guards;
    // Found as if they were used: making room must not take them.
    let mut length_of = |key: Key| shards.shard(key.hash).get(key, now).map_or(0, |entry| entry.value.as_slice().len());
    let longest = sources.clone().map(&mut length_of).max().unwrap_or(0);
    if target.bytes.len() + longest >= limits::SMALL_WRITE_BYTES {
        room(shards.shard(target.hash).make_room(target.bytes.len() + longest, now))?;
    }
    let large = longest >= STEPPED_MIN_BYTES && sources.len() <= STEPPED_SOURCES_MAX;
    if large && !call.is_within_script() && call.room_to_work(longest)? {
        let handles = sources.map(|source| call.handle(source)).collect();
        return in_steps(call, operation, longest, handles);
    }
    at_once(call, operation, longest)
}

/// From this length on the values are combined piece by piece, while nothing is locked, ...
const STEPPED_MIN_BYTES: usize = 1 << 18;
/// ... if they are no more than this many, ...
const STEPPED_SOURCES_MAX: usize = 64;
/// ... in pieces of this size over all of them: some ten microseconds.
const STEP_BYTES: usize = 1 << 17;

fn at_once(call: &mut Call, operation: Operation, longest: usize) -> Result<(), Stop> {
    let (now, target) = (call.now, call.key_at(2));
    let sources = (3..call.args.len()).map(call.keys());
    let shards = &mut *call.guards;
    let mut result = Combined::new(operation, longest)?;
    for source in sources {
        let found = shards.shard(source.hash).peek(source, now);
        result.add(found.map_or(&[], |entry| entry.value.as_slice()));
    }
    let shard = shards.shard(target.hash);
    if longest == 0 {
        shard.delete(target, now);
    } else {
        shard.set(target, NewValue::Copied(&result.finish()), Expiry::Never, now).map_err(crate::command::set_error)?;
    }
    call.reply.integer(longest as i64);
    Ok(())
}

/// Combines the values piece by piece; the result is stored if the sources are still what they were, or they are combined
/// again, at once. So it is one step for everybody else.
fn in_steps(call: &mut Call, operation: Operation, longest: usize, handles: Vec<Option<Bytes>>) -> Result<(), Stop> {
    call.guards.release();
    let step = (STEP_BYTES / handles.len()).max(1 << 12);
    let mut filling = Some(call.shared.keyspace.extents(call.state.client.core).fill());
    let mut value = None;
    call.work(Work::new(move |call| {
        if let Some(mut filled) = filling.take() {
            let from = filled.len();
            let end = longest.min(from + step);
            let mut piece = Combined::new(operation, end - from)?;
            for handle in &handles {
                let whole = handle.as_deref().unwrap_or_default();
                piece.add(&whole[from.min(whole.len())..end.min(whole.len())]);
            }
            filled.push(&piece.finish(), longest).map_err(|_| error::OUT_OF_MEMORY)?;
            if end < longest {
                filling = Some(filled);
            } else {
                value = Some(filled.finish());
            }
            return Ok(Progress::More(end));
        }
        call.enter(&COMMANDS[0])?;
        let (target, value) = (call.key_at(2), value.as_ref().expect("it has been filled"));
        let sources = (3..call.args.len()).map(call.keys());
        call.reserve(target, longest)?;
        let is_same = sources.zip(&handles).all(|(source, known)| call.is_unchanged(source, known));
        if is_same {
            call.store(target, NewValue::Shared(value.clone()), Expiry::Never)?;
            call.reply.integer(longest as i64);
        } else {
            let lengths = (3..call.args.len()).map(call.keys()).map(|key| call.length_of(key));
            let longest = lengths.max().unwrap_or(0);
            call.reserve(target, longest)?;
            at_once(call, operation, longest)?;
        }
        Ok(Progress::Done)
    }))
}

/// What has come of the values so far. A value that is shorter than the longest ends in zeros.
struct Combined {
    operation: Operation,
    bits: Vec<u8>,
    /// The first value, of the operations that treat it differently; of ONE, the bits that were in more than one.
    aside: Vec<u8>,
    count: usize,
}

impl Combined {
    fn new(operation: Operation, length: usize) -> Result<Combined, Stop> {
        use Operation::*;
        let zeros = |length| -> Result<Vec<u8>, Stop> {
            let mut bits = crate::command::memory_for(length)?;
            bits.resize(length, 0);
            Ok(bits)
        };
        let has_aside = matches!(operation, Diff | Diff1 | AndOr | One);
        let aside = zeros(if has_aside { length } else { 0 })?;
        Ok(Combined { operation, bits: zeros(length)?, aside, count: 0 })
    }

    fn add(&mut self, value: &[u8]) {
        use Operation::*;
        let Combined { operation, bits, aside, count } = self;
        match (*operation, *count) {
            (Diff | Diff1 | AndOr, 0) => {
                aside[..value.len()].copy_from_slice(value);
            }
            (One, 0) => each(bits, value, |bits, value| *bits = value),
            (One, _) => {
                for ((bits, twice), value) in bits.iter_mut().zip(aside).zip(value) {
                    *twice |= *bits & value;
                    *bits |= value;
                }
            }
            (And, 1..) => {
                each(bits, value, |bits, value| *bits &= value);
                let end = value.len().min(bits.len());
                bits[end..].fill(0);
            }
            (Xor, _) => each(bits, value, |bits, value| *bits ^= value),
            (Not, _) => {
                each(bits, value, |bits, value| *bits = !value);
            }
            (And, 0) | (Or | Diff | Diff1 | AndOr, _) => each(bits, value, |bits, value| *bits |= value),
        }
        *count += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        let combine: fn(&mut u8, u8) = match self.operation {
            Operation::Diff => |bits, first| *bits = first & !*bits,
            Operation::Diff1 => |bits, first| *bits &= !first,
            Operation::AndOr => |bits, first| *bits &= first,
            Operation::One => |bits, twice| *bits &= !twice,
            _ => return self.bits,
        };
        each(&mut self.bits, &self.aside, combine);
        self.bits
    }
}

fn each(bits: &mut [u8], value: &[u8], change: impl Fn(&mut u8, u8)) {
    bits.iter_mut().zip(value).for_each(|(bits, value)| change(bits, *value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_does_what_it_says_to_each_bit() {
        // Every combination of bits in three values, the last of which is shorter.
        let values: [&[u8]; 3] = [&[0b0000_1111, 0b0101_0000], &[0b0011_0011, 0b0011_0000], &[0b0101_0101]];
        for (operation, expect) in [
            (Operation::And, [0b0000_0001, 0]),
            (Operation::Or, [0b0111_1111, 0b0111_0000]),
            (Operation::Xor, [0b0110_1001, 0b0110_0000]),
            (Operation::Diff, [0b0000_1000, 0b0100_0000]),
            (Operation::Diff1, [0b0111_0000, 0b0010_0000]),
            (Operation::AndOr, [0b0000_0111, 0b0001_0000]),
            (Operation::One, [0b0110_1000, 0b0110_0000]),
        ] {
            let mut combined = Combined::new(operation, 2).unwrap();
            values.iter().for_each(|value| combined.add(value));
            assert_eq!(combined.finish(), expect, "{operation:?}");
        }
        let mut not = Combined::new(Operation::Not, 2).unwrap();
        not.add(values[0]);
        assert_eq!(not.finish(), [0b1111_0000, 0b1010_1111]);
    }
}
