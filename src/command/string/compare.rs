//! Commands that act if a value is what the client thinks it is: conditions of SET and DELEX, and digests of values.

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::command::steps::{Progress, Work};
use crate::command::{Call, Command, Flags, Group, Keys, is_word, wrong_arity};
use crate::message::error::{self, Stop};
use crate::store::shard::Entry;

pub const COMMANDS: &[Command] = &[
    row("delex", -2, Flags::WRITE.union(Flags::FAST), delex).doc(
        "8.4.0",
        "key [IFEQ value | IFNE value | IFDEQ digest | IFDNE digest]",
        "Conditionally removes the specified key based on value or digest comparison.",
    ),
    row("delifeq", 3, Flags::WRITE.union(Flags::FAST), delifeq).doc(
        "9.0.0",
        "key value",
        "Deletes a key if its value is equal to the one given (from Valkey).",
    ),
    row("digest", 2, Flags::READONLY.union(Flags::FAST), digest).doc(
        "8.4.0",
        "key",
        "Returns the XXH3 hash of a string value.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::String, run).flags(flags).keys(Keys::ONE)
}

/// Hexadecimal digits of a digest.
const DIGEST_LEN: usize = 16;
/// From this length on a value is compared piece by piece, while nothing is locked, ...
const STEPPED_MIN_BYTES: usize = 1 << 18;
/// ... in pieces of this size: some ten microseconds.
const STEP_BYTES: usize = 1 << 18;

/// What must hold of a key before it is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    Absent,
    Present,
    Equal(&'a [u8]),
    NotEqual(&'a [u8]),
    DigestEqual(&'a [u8]),
    DigestNotEqual(&'a [u8]),
}

impl<'a> Condition<'a> {
    /// The condition that begins at argument `index`, and how many arguments it takes; none if the word is another.
    pub fn parse(call: &Call<'a, '_>, index: usize) -> Result<Option<(Condition<'a>, usize)>, Stop> {
        let word = call.arg(index);
        for (name, condition) in [("NX", Condition::Absent), ("XX", Condition::Present)] {
            if is_word(word, name) {
                return Ok(Some((condition, 1)));
            }
        }
        let Some(name) = ["IFEQ", "IFNE", "IFDEQ", "IFDNE"].into_iter().find(|name| is_word(word, name)) else {
            return Ok(None);
        };
        if index + 1 == call.args.len() {
            return Err(error::SYNTAX.into());
        }
        let operand = call.arg(index + 1);
        let condition = match name {
            "IFEQ" => Condition::Equal(operand),
            "IFNE" => Condition::NotEqual(operand),
            "IFDEQ" => Condition::DigestEqual(operand),
            _ => Condition::DigestNotEqual(operand),
        };
        Ok(Some((condition, 2)))
    }

    /// Compares with a value, other than NX and XX.
    pub fn is_comparison(self) -> bool {
        !matches!(self, Condition::Absent | Condition::Present)
    }

    /// Whether it takes long to find out: that is then done first, by `compare_first`.
    pub fn takes_long(self, call: &mut Call) -> bool {
        match self {
            Condition::Absent | Condition::Present => false,
            _ if call.is_within_script() => false,
            // Values of other lengths are not equal.
            Condition::Equal(operand) | Condition::NotEqual(operand) => {
                operand.len() >= STEPPED_MIN_BYTES && operand.len() == call.length_of(call.key())
            }
            Condition::DigestEqual(digest) | Condition::DigestNotEqual(digest) => {
                digest.len() == DIGEST_LEN && call.length_of(call.key()) >= STEPPED_MIN_BYTES
            }
        }
    }

    /// A key that is not there has no value: it is equal to nothing, and not even a wrong digest is looked at.
    pub fn holds(self, current: Option<Entry>) -> Result<bool, Stop> {
        let Some(value) = current.map(|entry| entry.value.as_slice()) else {
            return Ok(matches!(self, Condition::Absent | Condition::NotEqual(_) | Condition::DigestNotEqual(_)));
        };
        Ok(match self {
            Condition::Absent => false,
            Condition::Present => true,
            Condition::Equal(wanted) => value == wanted,
            Condition::NotEqual(other) => value != other,
            Condition::DigestEqual(wanted) => has_digest(value, wanted)?,
            Condition::DigestNotEqual(other) => !has_digest(value, other)?,
        })
    }
}

/// Whether a command may act: by what is known of its condition, or else by what the value is now.
#[inline]
pub fn is_allowed(call: &mut Call, known: Option<bool>, condition: Option<Condition>) -> Result<bool, Stop> {
    match (known, condition) {
        (Some(holds), _) => Ok(holds),
        (None, Some(condition)) => condition.holds(call.peek(call.key())),
        (None, None) => Ok(true),
    }
}

/// As in Redis, of what is no digest nothing but its length is an error.
fn has_digest(value: &[u8], digest: &[u8]) -> Result<bool, Stop> {
    if digest.len() != DIGEST_LEN {
        return Err("ERR the digest must be exactly 16 hexadecimal characters".into());
    }
    Ok(show(xxh3_64(value)).eq_ignore_ascii_case(digest))
}

fn show(digest: u64) -> Vec<u8> {
    format!("{digest:016x}").into_bytes()
}

/// Where a command's condition stands among its arguments.
pub type ConditionOf = for<'a> fn(&Call<'a, '_>) -> Result<Option<Condition<'a>>, Stop>;

/// Finds out whether a condition holds of a large value, piece by piece, while nothing is locked; then `act` does what depends
/// on it. If somebody has changed the value meanwhile it is not known, and `act` has to find out at once.
pub fn compare_first(
    call: &mut Call,
    condition_of: ConditionOf,
    act: impl Fn(&mut Call, Option<bool>) -> Result<(), Stop> + 'static,
) -> Result<(), Stop> {
    let value = call.handle(call.key());
    call.guards.release();
    let mut comparison = Comparison { done: 0, hash: Xxh3Default::new() };
    let mut holds = None;
    call.work(Work::new(move |call| {
        if let (None, Some(whole), Some(condition)) = (holds, &value, condition_of(call)?) {
            holds = comparison.step(whole, condition);
            return Ok(Progress::More(0));
        }
        let key = call.key();
        call.shard(key.hash)?;
        let known = holds.filter(|_| call.is_unchanged(key, &value));
        act(call, known)?;
        Ok(Progress::Done)
    }))
}

/// How far a value has been compared.
struct Comparison {
    done: usize,
    hash: Xxh3Default,
}

impl Comparison {
    /// Compares one piece; whether the condition holds, once that is known.
    fn step(&mut self, value: &[u8], condition: Condition) -> Option<bool> {
        let (from, end) = (self.done, value.len().min(self.done + STEP_BYTES));
        self.done = end;
        let is_last = end == value.len();
        let differs = |other: &[u8]| value[from..end] != other[from..end];
        match condition {
            Condition::Absent => Some(false),
            Condition::Present => Some(true),
            Condition::Equal(wanted) if differs(wanted) => Some(false),
            Condition::NotEqual(other) if differs(other) => Some(true),
            Condition::Equal(_) => is_last.then_some(true),
            Condition::NotEqual(_) => is_last.then_some(false),
            Condition::DigestEqual(digest) | Condition::DigestNotEqual(digest) => {
                self.hash.update(&value[from..end]);
                let is_equal = is_last.then(|| show(self.hash.digest()).eq_ignore_ascii_case(digest))?;
                Some(is_equal == matches!(condition, Condition::DigestEqual(_)))
            }
        }
    }
}

fn delex(call: &mut Call) -> Result<(), Stop> {
    match call.args.len() {
        2 => delete_if(call, |_| Ok(Some(Condition::Present))),
        4 if call.peek(call.key()).is_none() => {
            // Not even a wrong condition is looked at.
            call.reply.integer(0);
            Ok(())
        }
        4 => delete_if(call, |call| match Condition::parse(call, 2)? {
            Some((condition, 2)) => Ok(Some(condition)),
            _ => Err("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE".into()),
        }),
        _ => Err(wrong_arity("delex")),
    }
}

fn delifeq(call: &mut Call) -> Result<(), Stop> {
    delete_if(call, |call| Ok(Some(Condition::Equal(call.arg(2)))))
}

fn delete_if(call: &mut Call, condition_of: ConditionOf) -> Result<(), Stop> {
    if condition_of(call)?.is_some_and(|condition| condition.takes_long(call)) {
        return compare_first(call, condition_of, move |call, holds| delete_where(call, condition_of, holds));
    }
    delete_where(call, condition_of, None)
}

/// What is not there is not deleted, whatever the condition says of it.
fn delete_where(call: &mut Call, condition_of: ConditionOf, holds: Option<bool>) -> Result<(), Stop> {
    let key = call.key();
    let condition = condition_of(call)?;
    let allowed = is_allowed(call, holds, condition)?;
    let deleted = allowed && call.guards.shard(key.hash).delete(key, call.now);
    call.reply.integer(deleted as i64);
    Ok(())
}

fn digest(call: &mut Call) -> Result<(), Stop> {
    let Some(value) = call.read(call.key()) else {
        call.reply.null();
        return Ok(());
    };
    let (mut hash, mut done) = (Xxh3Default::new(), 0);
    call.work(Work::new(move |call| {
        let end = value.len().min(done + STEP_BYTES);
        hash.update(&value[done..end]);
        done = end;
        if done < value.len() {
            return Ok(Progress::More(0));
        }
        call.reply.bulk(&show(hash.digest()));
        Ok(Progress::Done)
    }))
}
