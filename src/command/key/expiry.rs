//! Commands about the time when a key expires, and how the words of SET and GETEX say it.

use crate::base::clock::UnixMillis;
use crate::command::{Call, Command, Flags, Group, Keys, is_word};
use crate::message::error::{self, Stop};
use crate::store::shard::{Expiry, Key};

const WRITE: Flags = Flags::WRITE.union(Flags::FAST);
const READ: Flags = Flags::READONLY.union(Flags::FAST);
const SYNTAX_SECONDS: &str = "key seconds [NX | XX | GT | LT]";
const SYNTAX_MILLISECONDS: &str = "key milliseconds [NX | XX | GT | LT]";
const SYNTAX_AT_SECONDS: &str = "key unix-time-seconds [NX | XX | GT | LT]";
const SYNTAX_AT_MILLISECONDS: &str = "key unix-time-milliseconds [NX | XX | GT | LT]";

pub const COMMANDS: &[Command] = &[
    row("expire", -3, WRITE, |call| expire(call, Unit::SECONDS, "expire")).doc(
        "1.0.0",
        SYNTAX_SECONDS,
        "Sets the expiration time of a key in seconds.",
    ),
    row("pexpire", -3, WRITE, |call| expire(call, Unit::MILLISECONDS, "pexpire")).doc(
        "2.6.0",
        SYNTAX_MILLISECONDS,
        "Sets the expiration time of a key in milliseconds.",
    ),
    row("expireat", -3, WRITE, |call| expire(call, Unit::AT_SECONDS, "expireat")).doc(
        "1.2.0",
        SYNTAX_AT_SECONDS,
        "Sets the expiration time of a key to a Unix timestamp.",
    ),
    row("pexpireat", -3, WRITE, |call| expire(call, Unit::AT_MILLISECONDS, "pexpireat")).doc(
        "2.6.0",
        SYNTAX_AT_MILLISECONDS,
        "Sets the expiration time of a key to a Unix milliseconds timestamp.",
    ),
    row("ttl", 2, READ, |call| remaining(call, |at, now| (at.saturating_sub(now) + 500) / 1000)).doc(
        "1.0.0",
        "key",
        "Returns the expiration time in seconds of a key.",
    ),
    row("pttl", 2, READ, |call| remaining(call, |at, now| at.saturating_sub(now))).doc(
        "2.6.0",
        "key",
        "Returns the expiration time in milliseconds of a key.",
    ),
    row("expiretime", 2, READ, |call| remaining(call, |at, _| (at + 500) / 1000)).doc(
        "7.0.0",
        "key",
        "Returns the expiration time of a key as a Unix timestamp.",
    ),
    row("pexpiretime", 2, READ, |call| remaining(call, |at, _| at)).doc(
        "7.0.0",
        "key",
        "Returns the expiration time of a key as a Unix milliseconds timestamp.",
    ),
    row("persist", 2, WRITE, persist).doc("2.2.0", "key", "Removes the expiration time of a key."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Generic, run).flags(flags).keys(Keys::ONE)
}

/// How a time is given: in which unit, and from when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    milliseconds: i64,
    relative: bool,
}

impl Unit {
    pub const SECONDS: Unit = Unit { milliseconds: 1000, relative: true };
    pub const MILLISECONDS: Unit = Unit { milliseconds: 1, relative: true };
    pub const AT_SECONDS: Unit = Unit { milliseconds: 1000, relative: false };
    pub const AT_MILLISECONDS: Unit = Unit { milliseconds: 1, relative: false };

    /// The words of SET and GETEX.
    fn of_word(word: &[u8]) -> Option<Unit> {
        let words = [
            ("EX", Unit::SECONDS),
            ("PX", Unit::MILLISECONDS),
            ("EXAT", Unit::AT_SECONDS),
            ("PXAT", Unit::AT_MILLISECONDS),
        ];
        words.into_iter().find(|(name, _)| is_word(word, name)).map(|(_, unit)| unit)
    }

    /// The time as Unix milliseconds; `None` when it does not fit.
    fn to_unix(self, value: i64, now: UnixMillis) -> Option<i64> {
        let milliseconds = value.checked_mul(self.milliseconds)?;
        if self.relative { milliseconds.checked_add(now as i64) } else { Some(milliseconds) }
    }
}

/// The time of expiry that argument `index` gives SET, GETEX and the like: it must be positive.
pub fn absolute(call: &Call, index: usize, unit: Unit, command: &str) -> Result<UnixMillis, Stop> {
    let value = call.integer(index)?;
    match unit.to_unix(value, call.now) {
        Some(at) if value > 0 => Ok(at as UnixMillis),
        _ => Err(invalid(command)),
    }
}

/// The time of expiry that a request asks for in words. Its number is read once all words have been: what is wrong with
/// them comes first, and of one word said twice the last counts.
#[derive(Clone, Copy, Default)]
pub enum TimeWord {
    #[default]
    Unsaid,
    /// KEEPTTL
    Keep,
    /// PERSIST
    Never,
    /// The number is at this argument.
    At(Unit, usize),
}

impl TimeWord {
    /// Takes the word at argument `index` if it is EX, PX, EXAT or PXAT, or one of `others`, and agrees with what has
    /// been said. How many arguments it takes.
    pub fn take(&mut self, call: &Call, index: usize, others: &[(&str, TimeWord)]) -> Result<usize, Stop> {
        let word = call.arg(index);
        let (said, taken) = match Unit::of_word(word) {
            Some(unit) if index + 1 < call.args.len() => (TimeWord::At(unit, index + 1), 2),
            Some(_) => return Err(error::SYNTAX.into()),
            None => match others.iter().find(|(name, _)| is_word(word, name)) {
                Some((_, other)) => (*other, 1),
                None => return Err(error::SYNTAX.into()),
            },
        };
        match (*self, said) {
            (TimeWord::Unsaid, _) | (TimeWord::Keep, TimeWord::Keep) | (TimeWord::Never, TimeWord::Never) => {}
            (TimeWord::At(unit, _), TimeWord::At(other, _)) if unit == other => {}
            _ => return Err(error::SYNTAX.into()),
        }
        *self = said;
        Ok(taken)
    }

    /// What it comes to; `unsaid` without a word.
    pub fn expiry(self, call: &Call, unsaid: Expiry, command: &str) -> Result<Expiry, Stop> {
        Ok(match self {
            TimeWord::Unsaid => unsaid,
            TimeWord::Keep => Expiry::Keep,
            TimeWord::Never => Expiry::Never,
            TimeWord::At(unit, index) => Expiry::At(absolute(call, index, unit, command)?),
        })
    }
}

fn invalid(command: &str) -> Stop {
    format!("ERR invalid expire time in '{command}' command").into()
}

/// Gives a key its time of expiry, or none; a time that has passed deletes it. True if the key was there.
pub fn apply(call: &mut Call, key: Key, expires_at: Option<UnixMillis>) -> bool {
    let now = call.now;
    let shard = call.guards.shard(key.hash);
    match expires_at {
        Some(at) if at <= now => shard.delete(key, now),
        _ => shard.set_expiry(key, expires_at, now),
    }
}

/// The conditions of EXPIRE and its kin.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(call: &Call) -> Result<Conditions, Stop> {
        let mut found = Conditions::default();
        for index in 3..call.args.len() {
            let word = call.arg(index);
            match () {
                _ if is_word(word, "NX") => found.nx = true,
                _ if is_word(word, "XX") => found.xx = true,
                _ if is_word(word, "GT") => found.gt = true,
                _ if is_word(word, "LT") => found.lt = true,
                _ => return Err(format!("ERR Unsupported option {}", crate::message::error::echo(word)).into()),
            }
        }
        if found.nx && (found.xx || found.gt || found.lt) {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
        }
        if found.gt && found.lt {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(found)
    }

    /// A key without a time of expiry counts as one that expires at the end of time.
    fn allow(&self, current: Option<UnixMillis>, wanted: i64) -> bool {
        let later = current.is_some_and(|at| wanted > at as i64);
        let earlier = current.is_none_or(|at| wanted < at as i64);
        !(self.nx && current.is_some() || self.xx && current.is_none() || self.gt && !later || self.lt && !earlier)
    }
}

fn expire(call: &mut Call, unit: Unit, command: &str) -> Result<(), Stop> {
    let conditions = Conditions::parse(call)?;
    let wanted = unit.to_unix(call.integer(2)?, call.now).ok_or_else(|| invalid(command))?;
    let key = call.key();
    let done = match call.peek(key) {
        Some(entry) if conditions.allow(entry.expires_at, wanted) => {
            apply(call, key, Some(wanted.max(0) as UnixMillis))
        }
        _ => false,
    };
    call.reply.integer(done as i64);
    Ok(())
}

fn remaining(call: &mut Call, measure: impl Fn(UnixMillis, UnixMillis) -> UnixMillis) -> Result<(), Stop> {
    let now = call.now;
    let reply = match call.peek(call.key()) {
        None => -2,
        Some(entry) => entry.expires_at.map_or(-1, |at| measure(at, now) as i64),
    };
    call.reply.integer(reply);
    Ok(())
}

fn persist(call: &mut Call) -> Result<(), Stop> {
    let key = call.key();
    let done = call.peek(key).is_some_and(|entry| entry.expires_at.is_some()) && apply(call, key, None);
    call.reply.integer(done as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_does_not_fit_is_refused() {
        assert_eq!(Unit::SECONDS.to_unix(1, 500), Some(1500));
        assert_eq!(Unit::AT_MILLISECONDS.to_unix(7, 500), Some(7));
        assert_eq!(Unit::SECONDS.to_unix(i64::MAX / 1000 + 1, 0), None);
        assert_eq!(Unit::MILLISECONDS.to_unix(i64::MAX, 1), None);
        assert_eq!(Unit::AT_SECONDS.to_unix(i64::MIN, 0), None);
    }

    #[test]
    fn conditions() {
        let only = |text: &str| Conditions {
            nx: text.contains("NX"),
            xx: text.contains("XX"),
            gt: text.contains("GT"),
            lt: text.contains("LT"),
        };
        for (text, current, wanted, expect) in [
            ("", None, 5, true),
            ("NX", None, 5, true),
            ("NX", Some(9), 5, false),
            ("XX", None, 5, false),
            ("XX", Some(9), 5, true),
            ("GT", None, 5, false),
            ("GT", Some(4), 5, true),
            ("GT", Some(5), 5, false),
            ("LT", None, 5, true),
            ("LT", Some(4), 5, false),
            ("LT", Some(6), 5, true),
            ("XX LT", None, 5, false),
        ] {
            assert_eq!(only(text).allow(current, wanted), expect, "{text} {current:?}");
        }
    }
}
