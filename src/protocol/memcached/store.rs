//! Writing a value, as the classic commands and the meta commands do it. It must not know how it is answered.

use crate::command::Call;
use crate::message::error::{self, Stop};
use crate::store::shard::{Expiry, Extra, Key, NewValue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Set,
    /// Only if there is none.
    Add,
    /// Only if there is one.
    Replace,
    Append,
    Prepend,
}

/// What is written, beside the value.
pub struct Storing {
    pub mode: Mode,
    pub flags: u32,
    pub expiry: Expiry,
    /// Only if the present value has this version.
    pub compare: Option<u64>,
    /// ... or a later one, where the new value is marked as stale.
    pub invalidates: bool,
    /// The version that it gets; 0 for none yet.
    pub version: u64,
    /// Append and prepend make a value where there is none, with this time.
    pub vivify: Option<Expiry>,
    /// Bytes of key and value together, when something is added.
    pub item_bytes: usize,
}

impl Default for Storing {
    fn default() -> Storing {
        Storing {
            mode: Mode::Set,
            flags: 0,
            expiry: Expiry::Never,
            compare: None,
            invalidates: false,
            version: 0,
            vivify: None,
            item_bytes: usize::MAX,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Done,
    /// A condition of the mode does not hold.
    Not,
    /// The value has another version.
    Exists,
    /// There is none to compare with.
    Missing,
}

/// Whether a present value may be replaced by one that was made for a version of it.
#[derive(PartialEq, Eq)]
enum Verdict {
    Matches,
    /// It may, as a stale one.
    Stale,
    Differs,
}

/// Writes the last word of the call as the value of its key. When a plain set finds no memory the old value goes, as in
/// memcached: it would be stale.
pub fn store(call: &mut Call, storing: &Storing) -> Result<Stored, Stop> {
    let stored = write(call, storing);
    if matches!(stored, Err(Stop::Error(_))) && storing.mode == Mode::Set && storing.compare.is_none() {
        let (key, now) = (call.key(), call.now);
        call.guards.shard(key.hash).delete(key, now);
    }
    stored
}

fn write(call: &mut Call, storing: &Storing) -> Result<Stored, Stop> {
    let (key, last) = (call.key(), call.args.len() - 1);
    call.reserve(key, call.arg(last).len())?;
    let mut extra = Extra { flags: storing.flags, version: storing.version, ..Extra::NONE };
    let mut expiry = storing.expiry;
    if storing.mode != Mode::Set || storing.compare.is_some() {
        let now = call.now;
        let shard = call.guards.shard(key.hash);
        let present = shard.peek_with_extra(key, now).map(|found| (found.extra, found.entry.expires_at));
        match (storing.mode, &present, storing.compare) {
            (Mode::Add, Some(_), _) => {
                // Who wanted to add it thinks that it is worth something.
                shard.get(key, now);
                return Ok(Stored::Not);
            }
            (Mode::Append | Mode::Prepend, None, _) if storing.vivify.is_some() => {
                expiry = storing.vivify.unwrap_or(expiry);
            }
            (Mode::Set | Mode::Replace, None, Some(_)) => return Ok(Stored::Missing),
            (Mode::Replace | Mode::Append | Mode::Prepend, None, _) => return Ok(Stored::Not),
            (mode, Some((present, expires_at)), compare) => {
                if let Some(compare) = compare {
                    let may_be_stale = storing.invalidates && matches!(mode, Mode::Set | Mode::Replace);
                    let is_older =
                        if present.version == 0 { shard.has_given(compare) } else { compare < present.version };
                    match verdict(compare, present.version, may_be_stale && is_older) {
                        Verdict::Matches => {}
                        Verdict::Differs => return Ok(Stored::Exists),
                        Verdict::Stale => {
                            (extra.is_stale, extra.is_claimed) = (true, present.is_claimed);
                            expiry = expires_at.map_or(Expiry::Never, Expiry::At);
                        }
                    }
                }
                if matches!(mode, Mode::Append | Mode::Prepend) {
                    return extend(call, key, storing);
                }
            }
            _ => {}
        }
    }
    put(call, key, call.new_value(last), expiry, extra)?;
    Ok(Stored::Done)
}

fn verdict(compare: u64, version: u64, may_be_stale: bool) -> Verdict {
    match () {
        _ if compare == version && compare != 0 => Verdict::Matches,
        _ if may_be_stale => Verdict::Stale,
        _ => Verdict::Differs,
    }
}

/// Writes a value whose room `Call::reserve` has made.
pub fn put(call: &mut Call, key: Key, value: NewValue, expiry: Expiry, extra: Extra) -> Result<(), Stop> {
    let now = call.now;
    let set = call.guards.shard(key.hash).set_with_extra(key, value, expiry, extra, now);
    set.map_err(crate::command::set_error)
}

/// Adds to a value that is there; its flags and its time stay.
fn extend(call: &mut Call, key: Key, storing: &Storing) -> Result<Stored, Stop> {
    let last = call.args.len() - 1;
    let added = call.arg(last);
    let old = call.length_of(key);
    let length = old + added.len();
    if length + key.bytes.len() > storing.item_bytes {
        return Err(error::VALUE_TOO_LARGE.into());
    }
    let is_appended = storing.mode == Mode::Append;
    let appended = match is_appended {
        true => call.edit(key, length, |value| value[old..].copy_from_slice(added))?,
        false => None,
    };
    if appended.is_none() {
        call.reserve(key, length)?;
        let mut value = crate::command::memory_for(length)?;
        if !is_appended {
            value.extend_from_slice(added);
        }
        if let Some(entry) = call.peek(key) {
            value.extend_from_slice(entry.value.as_slice());
        }
        if is_appended {
            value.extend_from_slice(added);
        }
        call.store_changed(key, &value, Expiry::Keep)?;
    }
    if storing.version != 0 {
        let (now, version) = (call.now, storing.version);
        call.guards.shard(key.hash).change_extra(key, now, |extra| extra.version = version);
    }
    Ok(Stored::Done)
}

/// Adds to the number that a value is, or takes away: up to 2^64, and down to 0.
///
/// # Errors
/// In the words of `answer`, where nothing is done.
pub fn count(call: &mut Call, key: Key, delta: u64, is_down: bool) -> Result<Option<u64>, Counted> {
    let (mut digits, mut new) = (itoa::Buffer::new(), 0);
    let now = call.now;
    let counted = call.guards.shard(key.hash).update(key, now, |old| {
        let old = number(old.ok_or(Counted::Missing)?).ok_or(Counted::NoNumber)?;
        new = if is_down { old.saturating_sub(delta) } else { old.wrapping_add(delta) };
        Ok(NewValue::Copied(digits.format(new).as_bytes()))
    });
    match counted {
        Ok(Ok(())) => Ok(Some(new)),
        Ok(Err(error)) => Err(Counted::Stopped(crate::command::set_error(error))),
        Err(Counted::Missing) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why nothing was counted.
pub enum Counted {
    Missing,
    NoNumber,
    Stopped(Stop),
}

/// A number as a value: digits, and what memcached left behind them as they grew fewer.
fn number(value: &[u8]) -> Option<u64> {
    super::line::unsigned(value.trim_ascii())
}
