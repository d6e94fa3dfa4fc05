//! INCREX: a counter with bounds and a time of expiry, for limits on how often something may happen.

use std::fmt::Display;

use crate::command::key::expiry::TimeWord;
use crate::command::string::long_double::LongDouble;
use crate::command::{Call, Command, Flags, Group, Keys, is_word, parse_integer};
use crate::message::error::{self, Stop};
use crate::message::reply::Reply;
use crate::store::shard::Expiry;

pub const COMMANDS: &[Command] = &[Command::new("increx", -2, Group::String, increx)
    .flags(Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST))
    .keys(Keys::ONE)
    .doc(
        "8.8.0",
        "key [BYFLOAT increment | BYINT increment] [LBOUND lowerbound] [UBOUND upperbound] [SATURATE] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] [ENX]",
        "Increments the numeric value of a key by a number and sets its expiration time. Uses 0 as initial value if the key doesn't exist.",
    )];

/// What INCREX counts in.
trait Number: Copy + PartialOrd + Display {
    const ZERO: Self;
    fn parse(text: &[u8]) -> Result<Self, Stop>;

    fn is_infinite(self) -> bool;
    fn least() -> Self;
    fn greatest() -> Self;
    /// The sum, or which way it leaves what the type can hold.
    fn sum(self, other: Self) -> Result<Self, Beyond>;
    fn difference(self, other: Self) -> Option<Self>;
    fn reply(self, reply: &mut Reply);
}

enum Beyond {
    Least,
    Greatest,
}

impl Number for i64 {
    const ZERO: i64 = 0;

    fn parse(text: &[u8]) -> Result<i64, Stop> {
        parse_integer(text).ok_or(error::NOT_AN_INTEGER.into())
    }

    fn is_infinite(self) -> bool {
        false
    }

    fn least() -> i64 {
        i64::MIN
    }

    fn greatest() -> i64 {
        i64::MAX
    }

    fn sum(self, other: i64) -> Result<i64, Beyond> {
        self.checked_add(other).ok_or(if other < 0 { Beyond::Least } else { Beyond::Greatest })
    }

    fn difference(self, other: i64) -> Option<i64> {
        self.checked_sub(other)
    }

    fn reply(self, reply: &mut Reply) {
        reply.integer(self);
    }
}

impl Number for LongDouble {
    const ZERO: LongDouble = LongDouble::ZERO;

    fn parse(text: &[u8]) -> Result<LongDouble, Stop> {
        LongDouble::parse(text).ok_or(error::NOT_A_FLOAT.into())
    }

    fn is_infinite(self) -> bool {
        !self.is_finite()
    }

    fn least() -> LongDouble {
        LongDouble::smallest()
    }

    fn greatest() -> LongDouble {
        LongDouble::largest()
    }

    fn sum(self, other: LongDouble) -> Result<LongDouble, Beyond> {
        let sum = self + other;
        if sum.is_finite() {
            return Ok(sum);
        }
        Err(if other < LongDouble::ZERO { Beyond::Least } else { Beyond::Greatest })
    }

    fn difference(self, other: LongDouble) -> Option<LongDouble> {
        Some(self - other).filter(|difference| difference.is_finite())
    }

    fn reply(self, reply: &mut Reply) {
        reply.double(&self.to_string());
    }
}

/// What the words ask for; numbers are places of arguments, because their type is known only at the end.
#[derive(Default)]
struct Options {
    by_float: bool,
    increment: Option<usize>,
    least: Option<usize>,
    greatest: Option<usize>,
    saturate: bool,
    time: TimeWord,
    only_without_time: bool,
}

impl Options {
    fn parse(call: &Call) -> Result<Options, Stop> {
        let mut options = Options::default();
        let mut index = 2;
        while index < call.args.len() {
            index += options.take(call, index)?;
        }
        match (options.time, options.only_without_time) {
            (TimeWord::Never, true) => Err(error::SYNTAX.into()),
            (TimeWord::Unsaid, true) => Err("ERR ENX flag requires an expiration".into()),
            _ => Ok(options),
        }
    }

    /// Takes the word at argument `index`; how many arguments it takes.
    fn take(&mut self, call: &Call, index: usize) -> Result<usize, Stop> {
        let word = call.arg(index);
        let by_float = is_word(word, "BYFLOAT");
        let number = match () {
            _ if by_float || is_word(word, "BYINT") => &mut self.increment,
            _ if is_word(word, "LBOUND") => &mut self.least,
            _ if is_word(word, "UBOUND") => &mut self.greatest,
            _ if is_word(word, "SATURATE") && !self.saturate => {
                self.saturate = true;
                return Ok(1);
            }
            _ if is_word(word, "ENX") && !self.only_without_time => {
                self.only_without_time = true;
                return Ok(1);
            }
            _ => return self.time.take(call, index, &[("PERSIST", TimeWord::Never)]),
        };
        if number.is_some() || index + 1 == call.args.len() {
            return Err(error::SYNTAX.into());
        }
        *number = Some(index + 1);
        self.by_float |= by_float;
        Ok(2)
    }
}

fn increx(call: &mut Call) -> Result<(), Stop> {
    let options = Options::parse(call)?;
    match options.increment {
        None => count(call, &options, 1),
        Some(index) if options.by_float => count(call, &options, number::<LongDouble>(call, index, "Increment")?),
        Some(index) => count(call, &options, number::<i64>(call, index, "Increment")?),
    }
}

/// A number among the words; the error names which it is.
fn number<N: Number>(call: &Call, index: usize, what: &str) -> Result<N, Stop> {
    N::parse(call.arg(index)).map_err(|stop| match stop {
        Stop::Error(text) if text == error::NOT_AN_INTEGER || text == error::NOT_A_FLOAT => {
            text.replacen("value", what, 1).into()
        }
        stop => stop,
    })
}

/// A bound that is infinite is the outermost number.
fn bound<N: Number>(call: &Call, index: Option<usize>, unsaid: N, what: &str) -> Result<N, Stop> {
    let bound = index.map_or(Ok(unsaid), |index| number(call, index, what))?;
    Ok(match bound.is_infinite() {
        true if bound < N::ZERO => N::least(),
        true => N::greatest(),
        false => bound,
    })
}

fn count<N: Number>(call: &mut Call, options: &Options, increment: N) -> Result<(), Stop> {
    if increment.is_infinite() {
        return Err("ERR BYFLOAT increment cannot be Infinity".into());
    }
    let least = bound(call, options.least, N::least(), "LBOUND")?;
    let greatest = bound(call, options.greatest, N::greatest(), "UBOUND")?;
    if least > greatest {
        return Err("ERR LBOUND can't be greater than UBOUND".into());
    }
    let mut expiry = options.time.expiry(call, Expiry::Keep, "increx")?;
    let key = call.key();
    call.reserve(key, 0)?;
    let (old, has_time) = match call.peek(key) {
        Some(entry) => (N::parse(entry.value.as_slice())?, entry.expires_at.is_some()),
        None => (N::ZERO, false),
    };
    if old.is_infinite() {
        return Err("ERR value cannot be Infinity".into());
    }
    let sum = old.sum(increment);
    let bounded = match sum {
        Err(Beyond::Greatest) => greatest,
        Err(Beyond::Least) => least,
        Ok(sum) if sum > greatest => greatest,
        Ok(sum) if sum < least => least,
        Ok(sum) => sum,
    };
    let is_within = matches!(sum, Ok(sum) if sum == bounded);
    if !is_within && !options.saturate {
        return reply(call, old, N::ZERO);
    }
    let applied = if is_within { increment } else { bounded.difference(old).ok_or(error::OVERFLOW)? };
    if options.only_without_time && has_time {
        expiry = Expiry::Keep;
    }
    call.store_changed(key, bounded.to_string().as_bytes(), expiry)?;
    reply(call, bounded, applied)
}

/// The value, and the increment that was applied.
fn reply<N: Number>(call: &mut Call, value: N, applied: N) -> Result<(), Stop> {
    call.reply.array(2);
    value.reply(call.reply);
    applied.reply(call.reply);
    Ok(())
}
