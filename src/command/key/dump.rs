//! DUMP and RESTORE: a value as a text of bytes that other servers understand.

use std::ops::Range;

use crate::base::extents::{Blob, Filling};
use crate::command::key::payload::{self, Checksum, Encoded};
use crate::command::steps::{Progress, Work};
use crate::command::{Call, Command, Flags, Group, Keys, is_word};
use crate::message::error::{self, Stop};
use crate::store::shard::{Expiry, NewValue};

pub const COMMANDS: &[Command] = &[
    row("dump", 2, Flags::READONLY, dump).doc(
        "2.6.0",
        "key",
        "Returns a serialized representation of the value stored at a key.",
    ),
    row("restore", -4, Flags::WRITE.union(Flags::DENYOOM), restore).doc(
        "2.6.0",
        "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        "Creates a key from the serialized representation of a value.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Generic, run).flags(flags).keys(Keys::ONE)
}

const BAD_FORMAT: &str = "ERR Bad data format";
pub const WRONG_CHECKSUM: &str = "ERR DUMP payload version or checksum are wrong";

fn dump(call: &mut Call) -> Result<(), Stop> {
    let length = call.length_of(call.key());
    call.room(length)?;
    let Some(value) = call.read(call.key()) else {
        call.reply.null();
        return Ok(());
    };
    if let Some(head) = payload::number(&value) {
        call.reply.bulk(&[&head[..], &Checksum::of(&head).footer()].concat());
        return Ok(());
    }
    let head = payload::head(payload::STRING, value.len());
    let mut checksum = Some(Checksum::of(&head));
    let mut done = 0;
    call.work(Work::new(move |call| {
        let end = value.len().min(done + STEP_BYTES);
        checksum.iter_mut().for_each(|checksum| checksum.add(&value[done..end]));
        done = end;
        if done < value.len() {
            return Ok(Progress::More(value.len()));
        }
        let footer = checksum.take().expect("the last step comes once").footer();
        call.reply.bulk_framed(&head, &value, &footer);
        Ok(Progress::Done)
    }))
}

/// Some ten microseconds.
pub const STEP_BYTES: usize = 1 << 17;

#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
    frequency: Option<u8>,
}

impl Options {
    /// IDLETIME is understood and changes nothing: a value that is restored counts as just used.
    fn parse(call: &Call) -> Result<Options, Stop> {
        let mut options = Options::default();
        let mut usage = "";
        let mut index = 4;
        while index < call.args.len() {
            let word = call.arg(index);
            let known = ["IDLETIME", "FREQ"].into_iter().find(|name| is_word(word, name));
            match known {
                _ if is_word(word, "REPLACE") => options.replaces = true,
                _ if is_word(word, "ABSTTL") => options.is_absolute = true,
                Some(name) if index + 1 < call.args.len() && (usage.is_empty() || usage == name) => {
                    usage = name;
                    index += 1;
                    match (name, call.integer(index)?) {
                        ("IDLETIME", ..0) => return Err("ERR Invalid IDLETIME value, must be >= 0".into()),
                        ("FREQ", ..0 | 256..) => return Err("ERR Invalid FREQ value, must be >= 0 and <= 255".into()),
                        ("FREQ", count) => options.frequency = Some(count as u8),
                        _ => {}
                    }
                }
                _ => return Err(error::SYNTAX.into()),
            }
            index += 1;
        }
        Ok(options)
    }
}

fn restore(call: &mut Call) -> Result<(), Stop> {
    let options = Options::parse(call)?;
    let key = call.key();
    if !options.replaces && call.peek(key).is_some() {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let expiry = match call.integer(2)? {
        0 => Expiry::Never,
        time if time < 0 => return Err("ERR Invalid TTL value, must be >= 0".into()),
        time if options.is_absolute => Expiry::At(time as u64),
        time => Expiry::At(call.now.saturating_add(time as u64).min(i64::MAX as u64)),
    };
    let (content, checked, checksum) = payload::open(call.arg(3)).ok_or(WRONG_CHECKSUM)?;
    if let (Some(payload), Some(Encoded::Plain(value))) = (call.args.value(3), Encoded::read(content))
        && call.room_to_work(value.len())?
    {
        let from = value.as_ptr() as usize - payload.as_ptr() as usize;
        let restoring = Restoring {
            payload: payload.clone(),
            value: from..from + value.len(),
            checksum: Some((Checksum::of(b""), checksum)),
            checked: 0..checked.len(),
            filling: Some(call.shared.keyspace.extents(call.state.client.core).fill()),
            expiry,
            replaces: options.replaces,
        };
        return restore_in_steps(call, restoring);
    }
    if !Checksum::of(checked).is(checksum) {
        return Err(WRONG_CHECKSUM.into());
    }
    let encoded = Encoded::read(content).ok_or(BAD_FORMAT)?;
    call.reserve(key, encoded.len())?;
    let value = encoded.decode().ok_or(BAD_FORMAT)?;
    call.store(key, NewValue::Copied(&value), expiry)?;
    if let Some(count) = options.frequency {
        call.guards.shard(key.hash).set_frequency(key, count, call.now);
    }
    call.reply.ok();
    Ok(())
}

/// A large value on its way out of a payload, while nothing is locked.
struct Restoring {
    payload: Blob,
    /// Where the value lies in it.
    value: Range<usize>,
    /// What the checksum is still to be made of.
    checked: Range<usize>,
    /// The checksum so far, and as it is written.
    checksum: Option<(Checksum, [u8; 8])>,
    /// What of the value is copied.
    filling: Option<Filling>,
    expiry: Expiry,
    replaces: bool,
}

fn restore_in_steps(call: &mut Call, mut restoring: Restoring) -> Result<(), Stop> {
    call.guards.release();
    let mut value = None;
    call.work(Work::new(move |call| {
        let Restoring { payload, value: place, checked, checksum, filling, expiry, replaces } = &mut restoring;
        if let Some((sum, written)) = checksum.take() {
            let piece = checked.start..checked.end.min(checked.start + STEP_BYTES);
            checked.start = piece.end;
            let mut sum = sum;
            sum.add(&payload[piece]);
            if checked.start < checked.end {
                *checksum = Some((sum, written));
            } else if !sum.is(written) {
                return Err(WRONG_CHECKSUM.into());
            }
            return Ok(Progress::More(0));
        }
        if let Some(mut filled) = filling.take() {
            let whole = &payload[place.clone()];
            let end = whole.len().min(filled.len() + STEP_BYTES);
            filled.push(&whole[filled.len()..end], whole.len()).map_err(|_| error::OUT_OF_MEMORY)?;
            if end < whole.len() {
                *filling = Some(filled);
            } else {
                value = Some(filled.finish());
            }
            return Ok(Progress::More(end));
        }
        let (key, value) = (call.key(), value.as_ref().expect("it has been filled"));
        call.shard(key.hash)?;
        if !*replaces && call.peek(key).is_some() {
            return Err("BUSYKEY Target key name already exists.".into());
        }
        call.reserve(key, value.len())?;
        call.store(key, NewValue::Shared(value.clone()), *expiry)?;
        call.reply.ok();
        Ok(Progress::Done)
    }))
}
