//! BITFIELD: integers of any width at any bit of a value.

use crate::command::bitmap::bits::bit_offset;
use crate::command::string::change::Tail;
use crate::command::{Call, Command, Flags, Group, Keys, is_word, parse_integer};
use crate::message::error::{self, Stop};

pub const COMMANDS: &[Command] = &[
    row("bitfield", Flags::WRITE.union(Flags::DENYOOM), bitfield).doc(
        "3.2.0",
        "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment> [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment> ...]]",
        "Performs arbitrary bitfield integer operations on strings.",
    ),
    row("bitfield_ro", Flags::READONLY.union(Flags::FAST), |call| run(call, parse(call)?, true)).doc(
        "6.0.0",
        "key [GET encoding offset [GET encoding offset ...]]",
        "Performs arbitrary read-only bitfield integer operations on strings.",
    ),
];

const fn row(name: &'static str, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, -2, Group::Bitmap, run).flags(flags).keys(Keys::ONE)
}

#[derive(Clone, Copy)]
struct Step {
    field: Field,
    action: Action,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

/// What is done with a number that its field cannot hold.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// The longest reply of a step.
const REPLY_BYTES: usize = 23;

fn bitfield(call: &mut Call) -> Result<(), Stop> {
    let steps = parse(call)?;
    match written_end(&steps).map(|end| end.div_ceil(8)) {
        Some(least) if !call.is_quick(least)? => {
            call.copy_ahead(least, Tail::Zeros, |call, _| run(call, parse(call)?, false))
        }
        _ => run(call, steps, false),
    }
}

/// The bit behind the last that is written; none if none is.
fn written_end(steps: &[Step]) -> Option<usize> {
    steps.iter().filter(|step| !matches!(step.action, Action::Get)).map(|step| step.field.end()).max()
}

fn run(call: &mut Call, steps: Vec<Step>, read_only: bool) -> Result<(), Stop> {
    call.room(steps.len() * REPLY_BYTES)?;
    let mut replies = Vec::new();
    replies.try_reserve_exact(steps.len()).map_err(|_| error::OUT_OF_MEMORY)?;
    match written_end(&steps) {
        Some(_) if read_only => return Err("ERR BITFIELD_RO only supports the GET subcommand".into()),
        Some(end) => {
            call.rewrite(call.key(), end.div_ceil(8), |value| {
                replies.extend(steps.iter().map(|step| step.run(value)));
            })?;
        }
        None => {
            let entry = call.find(call.key());
            let value = entry.map_or(&[][..], |entry| entry.value.as_slice());
            replies.extend(steps.iter().map(|step| Some(step.field.reply(step.field.read(value)))));
        }
    }
    call.reply.array(replies.len());
    for reply in replies {
        match reply {
            Some(number) => call.reply.integer(number),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn parse(call: &Call) -> Result<Vec<Step>, Stop> {
    let mut steps = Vec::new();
    // None has less than three arguments.
    steps.try_reserve_exact(call.args.len() / 3).map_err(|_| error::OUT_OF_MEMORY)?;
    let mut overflow = Overflow::Wrap;
    let mut index = 2;
    while index < call.args.len() {
        let word = call.arg(index);
        let operands = call.args.len() - index - 1;
        if is_word(word, "OVERFLOW") && operands >= 1 {
            let kinds = [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)];
            let kind = kinds.into_iter().find(|(name, _)| is_word(call.arg(index + 1), name));
            overflow = kind.ok_or("ERR Invalid OVERFLOW type specified")?.1;
            index += 2;
            continue;
        }
        let is_get = is_word(word, "GET");
        let is_set = is_word(word, "SET");
        if !(is_get && operands >= 2 || (is_set || is_word(word, "INCRBY")) && operands >= 3) {
            return Err(error::SYNTAX.into());
        }
        let field = Field::parse(call.arg(index + 1), call.arg(index + 2))?;
        let action = match () {
            _ if is_get => Action::Get,
            _ if is_set => Action::Set(call.integer(index + 3)?, overflow),
            _ => Action::Add(call.integer(index + 3)?, overflow),
        };
        steps.push(Step { field, action });
        index += if is_get { 3 } else { 4 };
    }
    Ok(steps)
}

impl Step {
    /// Does it to a value that is long enough; none if it fails for want of width.
    fn run(self, value: &mut [u8]) -> Option<i64> {
        let field = self.field;
        let old = field.read(value);
        let (wanted, overflow) = match self.action {
            Action::Get => return Some(field.reply(old)),
            // The bits of a negative number make a large one without a sign.
            Action::Set(number, overflow) if !field.is_signed => (number as u64 as i128, overflow),
            Action::Set(number, overflow) => (number as i128, overflow),
            Action::Add(increment, overflow) => (old + increment as i128, overflow),
        };
        let (least, greatest) = field.limits();
        let new = match overflow {
            _ if (least..=greatest).contains(&wanted) => wanted,
            Overflow::Wrap => field.number_of(wanted as u64),
            Overflow::Saturate => wanted.clamp(least, greatest),
            Overflow::Fail => return None,
        };
        field.write(value, new as u64);
        let is_set = matches!(self.action, Action::Set(..));
        Some(field.reply(if is_set { old } else { new }))
    }
}

/// A place in a value that holds an integer.
#[derive(Clone, Copy)]
struct Field {
    is_signed: bool,
    /// 1 to 64; 1 to 63 without a sign.
    bits: u32,
    offset: usize,
}

impl Field {
    fn parse(encoding: &[u8], offset: &[u8]) -> Result<Field, Stop> {
        let (is_signed, bits) = match encoding {
            [b'i', bits @ ..] => (true, parse_integer(bits)),
            [b'u', bits @ ..] => (false, parse_integer(bits)),
            _ => (false, None),
        };
        let bits = bits.filter(|bits| (1..=if is_signed { 64 } else { 63 }).contains(bits)).ok_or(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        )?;
        let offset = match offset {
            // In units of the field's width.
            [b'#', number @ ..] => bit_offset(number, bits)?,
            number => bit_offset(number, 1)?,
        };
        Ok(Field { is_signed, bits: bits as u32, offset })
    }

    /// The first bit after it.
    fn end(self) -> usize {
        self.offset + self.bits as usize
    }

    fn limits(self) -> (i128, i128) {
        match self.is_signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        }
    }

    /// The number that the lowest bits stand for.
    fn number_of(self, bits: u64) -> i128 {
        let unused = 64 - self.bits;
        match self.is_signed {
            true => ((bits << unused) as i64 >> unused) as i128,
            false => (bits << unused >> unused) as i128,
        }
    }

    fn reply(self, number: i128) -> i64 {
        i64::try_from(number).expect("a field without a sign has at most 63 bits")
    }

    /// The bytes it touches, at most nine, and how far its last bit is from their end.
    fn span(self) -> (std::ops::Range<usize>, u32) {
        let bytes = self.offset / 8..self.end().div_ceil(8);
        let below = bytes.end * 8 - self.end();
        (bytes, below as u32)
    }

    /// What lies beyond the value's end is zero.
    fn read(self, value: &[u8]) -> i128 {
        let (bytes, below) = self.span();
        let window = bytes.fold(0u128, |window, at| window << 8 | value.get(at).copied().unwrap_or(0) as u128);
        self.number_of((window >> below) as u64)
    }

    fn write(self, value: &mut [u8], bits: u64) {
        let (bytes, below) = self.span();
        let mask = ((1u128 << self.bits) - 1) << below;
        let new = (bits as u128) << below & mask;
        for (place, byte) in value[bytes].iter_mut().rev().enumerate() {
            let kept = *byte & !(mask >> (8 * place)) as u8;
            *byte = kept | (new >> (8 * place)) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_changes() {
        for bits in 1..=64 {
            for offset in 0..20 {
                let field = Field { is_signed: true, bits, offset };
                for fill in [0x00, 0xff] {
                    let mut value = [fill; 12];
                    let number = field.number_of(0x5a5a_a5a5_1234_9876);
                    field.write(&mut value, number as u64);
                    assert_eq!(field.read(&value), number, "{bits} bits at {offset}");
                    field.write(&mut value, u64::from_le_bytes([fill; 8]));
                    assert_eq!(value, [fill; 12]);
                }
            }
        }
    }
}
