//! Commands that read and write single bits of a value; the first is the highest of the first byte.

use std::ops::Range;

use crate::command::steps::{Progress, Work};
use crate::command::string::change::Tail;
use crate::command::string::range::{clamp, resolve};
use crate::command::{Call, Command, Flags, Group, Keys, is_word, parse_integer};
use crate::config::limits;
use crate::message::error::{self, Stop};

pub const COMMANDS: &[Command] = &[
    row("getbit", 3, Flags::READONLY.union(Flags::FAST), getbit).doc(
        "2.2.0",
        "key offset",
        "Returns a bit value by offset.",
    ),
    row("setbit", 4, Flags::WRITE.union(Flags::DENYOOM), setbit).doc(
        "2.2.0",
        "key offset value",
        "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.",
    ),
    row("bitcount", -2, Flags::READONLY, bitcount).doc(
        "2.6.0",
        "key [start end [BYTE | BIT]]",
        "Counts the number of set bits (population counting) in a string.",
    ),
    row("bitpos", -3, Flags::READONLY, bitpos).doc(
        "2.8.7",
        "key bit [start [end [BYTE | BIT]]]",
        "Finds the first set (1) or clear (0) bit in a string.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Bitmap, run).flags(flags).keys(Keys::ONE)
}

const OFFSET_OUT_OF_RANGE: &str = "ERR bit offset is not an integer or out of range";

/// The number of a bit, in a value of any length that Redis allows.
pub fn bit_offset(text: &[u8], factor: i64) -> Result<usize, Stop> {
    let offset = parse_integer(text).and_then(|offset| offset.checked_mul(factor));
    let offset = offset.and_then(|offset| usize::try_from(offset).ok());
    offset.filter(|offset| offset / 8 < limits::VALUE_MAX_BYTES).ok_or(OFFSET_OUT_OF_RANGE.into())
}

fn mask(offset: usize) -> u8 {
    0x80 >> (offset % 8)
}

fn bit_of(value: &[u8], offset: usize) -> bool {
    value.get(offset / 8).is_some_and(|byte| byte & mask(offset) != 0)
}

fn getbit(call: &mut Call) -> Result<(), Stop> {
    let offset = bit_offset(call.arg(2), 1)?;
    let is_set = call.find(call.key()).is_some_and(|entry| bit_of(entry.value.as_slice(), offset));
    call.reply.integer(is_set as i64);
    Ok(())
}

fn setbit(call: &mut Call) -> Result<(), Stop> {
    let offset = bit_offset(call.arg(2), 1)?;
    call.change(offset / 8 + 1, Tail::Zeros, |call, _| setbit_in_place(call))
}

fn setbit_in_place(call: &mut Call) -> Result<(), Stop> {
    let offset = bit_offset(call.arg(2), 1)?;
    let wanted = match call.arg(3) {
        b"0" => false,
        b"1" => true,
        _ => return Err("ERR bit is not an integer or out of range".into()),
    };
    let key = call.key();
    let old = call.peek(key).map(|entry| entry.value.as_slice()).filter(|value| offset / 8 < value.len());
    let is_there = old.is_some_and(|value| bit_of(value, offset) == wanted);
    let mut before = wanted;
    if !is_there {
        call.rewrite(key, offset / 8 + 1, |value| {
            before = bit_of(value, offset);
            let byte = &mut value[offset / 8];
            *byte = if wanted { *byte | mask(offset) } else { *byte & !mask(offset) };
        })?;
    }
    call.reply.integer(before as i64);
    Ok(())
}

/// The unit of a range, when one is said.
fn in_bits(call: &Call, index: usize) -> Result<bool, Stop> {
    match () {
        _ if index >= call.args.len() => Ok(false),
        _ if is_word(call.arg(index), "BIT") => Ok(true),
        _ if is_word(call.arg(index), "BYTE") => Ok(false),
        _ => Err(error::SYNTAX.into()),
    }
}

/// A part of a value by its bits.
struct Part<'v> {
    bytes: &'v [u8],
    /// The number of the first byte's first bit.
    base: usize,
    /// What of the first and the last byte belongs to it.
    first_mask: u8,
    last_mask: u8,
}

impl Part<'_> {
    /// A range in bits or bytes; none if it is empty.
    fn of(value: &[u8], in_bits: bool, range: impl Fn(usize) -> Range<usize>) -> Option<Part<'_>> {
        let unit = if in_bits { 1 } else { 8 };
        let range = range(value.len() * 8 / unit);
        if range.is_empty() {
            return None;
        }
        let (first, last) = (range.start * unit, range.end * unit - 1);
        Some(Part {
            bytes: &value[first / 8..=last / 8],
            base: first / 8 * 8,
            first_mask: 0xff >> (first % 8),
            last_mask: 0xff << (7 - last % 8),
        })
    }

    fn mask_of(&self, at: usize) -> u8 {
        let first = if at == 0 { self.first_mask } else { 0xff };
        let last = if at + 1 == self.bytes.len() { self.last_mask } else { 0xff };
        first & last
    }

    /// The bits that are set in a piece of it.
    fn count(&self, piece: Range<usize>) -> u64 {
        let (words, rest) = self.bytes[piece.clone()].as_chunks::<8>();
        let whole: u64 = words.iter().map(|word| u64::from_le_bytes(*word).count_ones() as u64).sum();
        let whole = whole + rest.iter().map(|byte| byte.count_ones() as u64).sum::<u64>();
        let outside = |at: usize, mask: u8| {
            if piece.contains(&at) { (self.bytes[at] & !mask).count_ones() as u64 } else { 0 }
        };
        whole - outside(0, self.first_mask) - outside(self.bytes.len() - 1, self.last_mask)
    }

    /// The number of the first bit in a piece of it that is so.
    fn position(&self, wanted: bool, piece: Range<usize>) -> Option<usize> {
        let flip = if wanted { 0 } else { 0xff };
        let found = |at: usize| (self.bytes[at] ^ flip) & self.mask_of(at);
        let place = |at: usize| (found(at) != 0).then(|| self.base + at * 8 + found(at).leading_zeros() as usize);
        // The first byte is looked at by itself, because of its mask; of the others whole words are passed over.
        let dull = if wanted { [0; 8] } else { [0xff; 8] };
        let (words, _) = self.bytes[piece.start + 1..piece.end].as_chunks::<8>();
        let passed = piece.start + 1 + 8 * words.iter().take_while(|word| **word == dull).count();
        place(piece.start).or_else(|| (passed..piece.end).find_map(place))
    }
}

/// The pieces that one step each goes through.
fn pieces(length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(STEP_BYTES).map(move |from| from..length.min(from + STEP_BYTES))
}

/// The range that a command asks for.
struct Asked {
    start: i64,
    end: i64,
    in_bits: bool,
    /// What becomes of a range beyond a value of a length.
    resolve: fn(i64, i64, usize) -> Range<usize>,
}

impl Asked {
    fn part<'v>(&self, value: &'v [u8]) -> Option<Part<'v>> {
        Part::of(value, self.in_bits, |length| (self.resolve)(self.start, self.end, length))
    }
}

/// Some ten microseconds.
const STEP_BYTES: usize = 1 << 16;

fn bitcount(call: &mut Call) -> Result<(), Stop> {
    let (start, end, in_bits) = match call.args.len() {
        2 => (0, -1, false),
        4 | 5 => (call.integer(2)?, call.integer(3)?, in_bits(call, 4)?),
        _ => return Err(error::SYNTAX.into()),
    };
    let value = call.read(call.key()).unwrap_or_default();
    let asked = Asked { start, end, in_bits, resolve };
    let mut pieces = pieces(asked.part(&value).map_or(0, |part| part.bytes.len()));
    let mut count = 0;
    call.work(Work::new(move |call| {
        let piece = pieces.next().and_then(|piece| asked.part(&value).map(|part| part.count(piece)));
        match piece {
            Some(more) => {
                count += more;
                Ok(Progress::More(0))
            }
            None => {
                call.reply.integer(count as i64);
                Ok(Progress::Done)
            }
        }
    }))
}

fn bitpos(call: &mut Call) -> Result<(), Stop> {
    let wanted = match call.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let given = call.args.len();
    if given > 6 {
        return Err(error::SYNTAX.into());
    }
    let start = if given > 3 { call.integer(3)? } else { 0 };
    let in_bits = in_bits(call, 5)?;
    let end = if given > 4 { call.integer(4)? } else { -1 };
    let Some(value) = call.read(call.key()) else {
        // As if zeros without end were there.
        call.reply.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let asked = Asked { start, end, in_bits, resolve: clamp };
    let mut pieces = pieces(asked.part(&value).map_or(0, |part| part.bytes.len()));
    let after = (asked.part(&value).is_some() && !wanted && given < 5).then_some(value.len() * 8);
    call.work(Work::new(move |call| {
        let position = match pieces.next() {
            Some(piece) => match asked.part(&value).and_then(|part| part.position(wanted, piece)) {
                None => return Ok(Progress::More(0)),
                found => found,
            },
            None => after,
        };
        call.reply.integer(position.map_or(-1, |position| position as i64));
        Ok(Progress::Done)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every range of a few values, against the same done bit by bit.
    #[test]
    fn ranges_of_bits() {
        let lengths = [0, 1, 2, 9, 20];
        for (length, fill) in lengths.into_iter().flat_map(|length| [(length, 0x00), (length, 0xff), (length, 0x5a)]) {
            let value: Vec<u8> = (0..length).map(|at| if at == 13 { !fill } else { fill }).collect();
            let bits = length as i64 * 8;
            for (start, end) in
                (-bits - 2..bits + 2).flat_map(|start| (-bits - 2..bits + 2).map(move |end| (start, end)))
            {
                let range = resolve(start, end, bits as usize);
                let part = Part::of(&value, true, |_| range.clone());
                let count = range.clone().filter(|&bit| bit_of(&value, bit)).count();
                let whole = |part: &Part| 0..part.bytes.len();
                let counted = part.as_ref().map_or(0, |part| part.count(whole(part)));
                assert_eq!(counted, count as u64, "{value:?} {start} {end}");
                let halves = part.as_ref().map_or(0, |part| {
                    let middle = part.bytes.len() / 2;
                    part.count(0..middle) + part.count(middle..part.bytes.len())
                });
                assert_eq!(halves, count as u64);
                for wanted in [false, true] {
                    let position = range.clone().find(|&bit| bit_of(&value, bit) == wanted);
                    assert_eq!(part.as_ref().and_then(|part| part.position(wanted, whole(part))), position);
                }
            }
        }
    }
}
