//! What a request does: the command that Redis has for it, as words, and what that comes to, as a response.

use bytes::Bytes;

use super::answer;
use super::message::{self, Command, Condition, Malformed, Request};
use crate::command::{self, Call, count_lookup};
use crate::config::limits;
use crate::message::error::Stop;
use crate::message::kept::Kept;
use crate::message::output::Output;
use crate::store::shard::Shard;

/// A request whose words are kept.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub id: u64,
    pub outcome: Outcome,
}

/// How the response comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Value,
    Values,
    /// Whether the command's own reply says that something was done.
    Done,
    /// The number that the command replies with.
    Number,
    /// It is refused with this, and runs no command.
    Refused(&'static str),
}

const UNKNOWN: Outcome = Outcome::Refused("ERR this request has no command that is known here");
const UNKNOWN_CONDITION: Outcome = Outcome::Refused("ERR this condition is not known here");

impl Asked {
    /// Puts the words of the command that does what is asked into `words`.
    ///
    /// # Errors
    /// It is no message, or a batch, which has no words.
    pub fn of(request: Request, words: &mut Kept) -> Result<Asked, Malformed> {
        let outcome = match request.command {
            None | Some(Command::Batch(_)) => UNKNOWN,
            Some(Command::Get(get)) => push(words, b"get", [get.key], Outcome::Value),
            Some(Command::Set(set)) => push_set(words, set),
            Some(Command::Delete(delete)) => push(words, b"del", [delete.key], Outcome::Done),
            Some(Command::Increment(increment)) => {
                let by = decimal(increment.by.unwrap_or(1));
                push(words, b"incrby", [increment.key, by], Outcome::Number)
            }
            Some(Command::Touch(touch)) if touch.ttl_ms == 0 => push(words, b"persist", [touch.key], Outcome::Done),
            Some(Command::Touch(touch)) => push(words, b"pexpire", [touch.key, decimal(touch.ttl_ms)], Outcome::Done),
            Some(Command::MultiGet(mut keys)) => {
                words.push_argument(b"mget");
                while let Some(key) = message::next_part(&mut keys)? {
                    words.push_bytes(key);
                }
                Outcome::Values
            }
            Some(Command::Ping(_)) => push(words, b"ping", [], Outcome::Done),
            Some(Command::Auth(auth)) => {
                words.push_argument(b"auth");
                if !auth.user.is_empty() {
                    words.push_argument(auth.user.as_bytes());
                }
                words.push_argument(auth.password.as_bytes());
                Outcome::Done
            }
        };
        words.end();
        Ok(Asked { id: request.id, outcome })
    }

    /// Runs the command in place of its row's function, and answers.
    pub fn run(self, call: &mut Call, row: &command::Command) -> Result<(), Stop> {
        match self.outcome {
            Outcome::Value => self.get(call),
            Outcome::Values => self.get_several(call),
            Outcome::Done | Outcome::Number => self.translate(call, row),
            Outcome::Refused(text) => Err(text.into()),
        }
    }

    fn get(self, call: &mut Call) -> Result<(), Stop> {
        let key = call.key();
        let mut found = call.guards.shard(key.hash).get(key, call.now);
        if let Some(entry) = &found
            && entry.value.as_slice().len() > limits::UNASKED_REPLY_BYTES
        {
            let length = entry.value.as_slice().len();
            call.room(length)?;
            found = call.guards.shard(key.hash).peek(key, call.now);
        }
        count_lookup(call.stats, found.is_some());
        answer::value(call.reply, self.id, found.map(|entry| entry.value));
        Ok(())
    }

    /// As MGET: the length of all stands before the first, so they are written apart.
    fn get_several(self, call: &mut Call) -> Result<(), Stop> {
        let keys = call.all_keys();
        let length = |key| call.length_of(key);
        let bytes = keys.clone().map(length).sum::<usize>();
        if bytes > limits::UNASKED_REPLY_BYTES {
            call.room(bytes)?;
        }
        let mut elements = Output::unbuffered();
        let read = |shard: &mut Shard, key| {
            let found = shard.get(key, call.now);
            count_lookup(call.stats, found.is_some());
            answer::element(&mut elements, found.map(|entry| entry.value));
            elements.cut();
            Ok::<(), Stop>(())
        };
        call.guards.with_keys(keys, |key| *key, read)?;
        answer::values(call.reply, self.id, elements);
        Ok(())
    }

    /// Reads what the command replies with in RESP, a short line, and says it in a response.
    fn translate(self, call: &mut Call, row: &command::Command) -> Result<(), Stop> {
        let before = call.reply.mark();
        (row.run)(call)?;
        let line = call.reply.line_since(before);
        let (kind, text) = line.split_first().expect("a command replies");
        let number = (*kind == b':').then(|| command::parse_integer(text)).flatten();
        let is_null = text.starts_with(b"-1");
        call.reply.rewind(before);
        match (self.outcome, number) {
            (Outcome::Number, Some(number)) => answer::number(call.reply, self.id, number),
            (_, Some(count)) => answer::done(call.reply, self.id, count != 0),
            (_, None) => answer::done(call.reply, self.id, !is_null),
        }
        Ok(())
    }
}

fn push<const WORDS: usize>(words: &mut Kept, name: &[u8], others: [Bytes; WORDS], outcome: Outcome) -> Outcome {
    words.push_argument(name);
    others.into_iter().for_each(|word| words.push_bytes(word));
    outcome
}

fn push_set(words: &mut Kept, set: message::Set) -> Outcome {
    push(words, b"set", [set.key, set.value], Outcome::Done);
    if set.ttl_ms != 0 {
        push(words, b"px", [decimal(set.ttl_ms)], Outcome::Done);
    }
    if set.keep_ttl {
        words.push_argument(b"keepttl");
    }
    match Condition::try_from(set.condition) {
        Ok(Condition::Always) => Outcome::Done,
        Ok(Condition::IfAbsent) => push(words, b"nx", [], Outcome::Done),
        Ok(Condition::IfPresent) => push(words, b"xx", [], Outcome::Done),
        Ok(Condition::IfEqual) => push(words, b"ifeq", [set.expected], Outcome::Done),
        Err(_) => UNKNOWN_CONDITION,
    }
}

fn decimal(number: impl itoa::Integer) -> Bytes {
    Bytes::copy_from_slice(itoa::Buffer::new().format(number).as_bytes())
}
