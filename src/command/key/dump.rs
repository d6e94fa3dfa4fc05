//! DUMP and RESTORE: a value as a text of bytes that other servers understand.

use crate::command::key::payload::{self, Encoded};
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

fn dump(call: &mut Call) -> Result<(), Stop> {
    let length = call.peek(call.key()).map_or(0, |entry| entry.value.as_slice().len());
    call.room(length)?;
    let Some(value) = call.read(call.key()) else {
        call.reply.null();
        return Ok(());
    };
    match payload::number(&value) {
        Some(head) => call.reply.bulk(&[&head[..], &payload::footer(&head, &[])].concat()),
        None => {
            let head = payload::head(value.len());
            call.reply.bulk_framed(&head, &value, &payload::footer(&head, &value));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
}

impl Options {
    /// IDLETIME and FREQ are understood and change nothing: a value that is restored counts as just used.
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
    let content = payload::open(call.arg(3)).ok_or("ERR DUMP payload version or checksum are wrong")?;
    let encoded = Encoded::read(content).ok_or(BAD_FORMAT)?;
    call.reserve(key, encoded.len())?;
    let value = encoded.decode().ok_or(BAD_FORMAT)?;
    call.store(key, NewValue::Copied(&value), expiry)?;
    call.reply.ok();
    Ok(())
}
