//! The commands: a table of rows, each a name, its properties and one function. COMMAND, arity errors, statistics per
//! command and the README's table all come from the rows. Commands know the keyspace and the reply, never a socket.

mod absent;
mod bitmap;
pub mod connection;
mod context;
mod hot;
mod key;
mod locks;
pub mod permission;
pub mod room;
mod row;
pub mod scripting;
pub mod server;
pub mod steps;
mod string;
mod table;
pub mod timing;
pub mod transaction;

pub use context::{ConnectionState, ReplyMode};
pub use key::database::flush_if_due;
pub use row::{Command, Flags, Group, Keys, Run, reply_help};
pub use server::{settings, users};
pub use table::{Found, Table};

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::base::allocator;
use crate::base::clock::UnixMillis;
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::reply::Reply;
use crate::message::request::Arguments;
use crate::observe::stats::CoreStats;
use crate::script::runner::Runner;
use crate::shared::Shared;
use crate::store::guards::ShardGuards;
use crate::store::hot::Seen;
use crate::store::shard::{Entry, Expiry, Key, NewValue, Room, SetError, Value};

/// Every family's rows.
static FAMILIES: &[&[Command]] = &[
    string::basic::COMMANDS,
    string::several::COMMANDS,
    string::range::COMMANDS,
    string::counter::COMMANDS,
    string::increx::COMMANDS,
    string::compare::COMMANDS,
    bitmap::bits::COMMANDS,
    bitmap::bitop::COMMANDS,
    bitmap::bitfield::COMMANDS,
    string::lcs::COMMANDS,
    key::dump::COMMANDS,
    key::basic::COMMANDS,
    key::rename::COMMANDS,
    key::scan::COMMANDS,
    key::object::COMMANDS,
    server::memory::COMMANDS,
    key::database::COMMANDS,
    transaction::COMMANDS,
    key::expiry::COMMANDS,
    connection::basic::COMMANDS,
    connection::client::COMMANDS,
    connection::pubsub::COMMANDS,
    server::introspection::COMMANDS,
    server::slowlog::COMMANDS,
    server::latency::COMMANDS,
    server::acl::COMMANDS,
    server::debug::COMMANDS,
    server::basic::COMMANDS,
    server::cluster::COMMANDS,
    server::settings::COMMANDS,
    server::info::COMMANDS,
    server::monitor::COMMANDS,
    scripting::COMMANDS,
];

/// One request on its way through its command.
pub struct Call<'c, 'k> {
    pub args: Arguments<'c>,
    /// The hash of the first key, computed when the batch was parsed.
    pub hash: u64,
    /// How it stood with the core's copies then.
    pub seen: Seen,
    pub now: UnixMillis,
    pub guards: &'c mut ShardGuards<'k>,
    pub reply: &'c mut Reply,
    /// Who asks.
    pub state: &'c mut ConnectionState,
    pub shared: &'c Shared,
    pub stats: &'c CoreStats,
    /// What runs scripts; `None` within one.
    pub scripts: &'c mut Option<Runner>,
}

impl<'c, 'k> Call<'c, 'k> {
    /// Runs what `Table::lookup` has found after the checks that hold for every command, or queues it for EXEC.
    pub fn run(&mut self, found @ (_, row): Found) -> Result<(), Stop> {
        self.check(found)?;
        if self.state.client.is_subscribed() {
            connection::pubsub::check(self, found)?;
        }
        if self.state.transaction.is_some() && !row.flags.intersects(Flags::UNQUEUED) {
            return transaction::queue(self, found);
        }
        self.execute(found)
    }

    /// The checks that hold for every command: its arguments, and who may run it.
    #[inline]
    pub fn check(&mut self, (place, row): Found) -> Result<(), Stop> {
        if !row.accepts(self.args.len()) {
            self.stats.calls[place].rejected.add(1);
            return Err(match row.name {
                "exec" => transaction::abort(self),
                _ => self.refuse(wrong_arity(&Table::get().names()[place])),
            });
        }
        if self.args.len() > limits::KEYLESS_ARGUMENTS_MAX && row.is_short() {
            self.stats.calls[place].rejected.add(1);
            let (name, most) = (&Table::get().names()[place], limits::KEYLESS_ARGUMENTS_MAX);
            return Err(self.refuse(format!("ERR '{name}' may have {most} arguments").into()));
        }
        if !self.state.authenticated && !row.flags.intersects(Flags::NO_AUTH) {
            self.stats.calls[place].rejected.add(1);
            return Err(self.refuse(error::NO_AUTH.into()));
        }
        Ok(())
    }

    /// Runs a command whose checks were made, counts it, and shows it to the monitors.
    pub fn execute(&mut self, found: Found) -> Result<(), Stop> {
        // What a client tracks is remembered by the shard; who may not everything is asked by the ordinary way.
        let is_hot = self.seen != Seen::Cold && self.state.tracking.is_none();
        if is_hot && self.state.access.passes(&self.shared.settings.users) {
            return self.read_hot(found);
        }
        self.execute_by(found, |call, row| match call.state.tracking {
            Some(_) => connection::tracking::run(call, row),
            None => call.start_or_go_on(row),
        })
    }

    /// The same with `run` in place of the row's function: a protocol that answers in other terms than RESP's. It may be
    /// called again, and must not be the form of a command that works in steps.
    #[inline]
    pub fn execute_by(
        &mut self,
        found: Found,
        run: impl FnOnce(&mut Self, &Command) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let (place, row) = found;
        self.state.client.last_command.store(place as u16 + 1, Relaxed);
        if row.flags.intersects(Flags::DENYOOM) && allocator::is_short() {
            self.stats.calls[place].rejected.add(1);
            return Err(error::OUT_OF_MEMORY.into());
        }
        if self.state.unfinished.is_none() {
            self.permit(found)?;
            self.enter(row)?;
        }
        let outcome = run(self, row);
        self.guards.release_several();
        if matches!(outcome, Err(Stop::Retry | Stop::Busy | Stop::Full)) {
            // It will run again.
            return outcome;
        }
        self.ended(found, &outcome);
        outcome
    }

    /// Counts a command that has run, and shows it to the monitors.
    #[inline]
    fn ended(&mut self, (place, row): Found, outcome: &Result<(), Stop>) {
        let counts = &self.stats.calls[place];
        counts.calls.add(1);
        if outcome.is_err() {
            counts.failed.add(1);
        }
        // What shows itself and was refused has not come to that.
        let is_shown = row.flags.intersects(Flags::SKIP_MONITOR) && !matches!(outcome, Err(Stop::Error(_)));
        if self.shared.clients.monitors.any() && !is_shown {
            server::monitor::show(self, row);
        }
    }

    /// Runs the command, or goes on with what is left of it.
    #[inline]
    fn start_or_go_on(&mut self, row: &Command) -> Result<(), Stop> {
        match self.state.unfinished.take() {
            Some(work) => self.work(work),
            None => (row.run)(self),
        }
    }

    /// The error for a name that is in no table.
    pub fn refuse_unknown(&mut self) -> Stop {
        self.refuse(unknown(self.args))
    }

    /// A transaction in which a request is refused will not be run; outside of one, CLIENT CACHING was about this request.
    fn refuse(&mut self, stop: Stop) -> Stop {
        match (&mut self.state.transaction, &mut self.state.tracking) {
            (Some(transaction), _) => transaction.failed = true,
            (None, Some(tracking)) => tracking.end_caching(),
            (None, None) => {}
        }
        stop
    }

    pub fn arg(&self, index: usize) -> &'c [u8] {
        self.args.get(index)
    }

    /// The key at argument 1.
    pub fn key(&self) -> Key<'c> {
        Key { bytes: self.args.get(1), hash: self.hash, db: self.state.db() }
    }

    /// All arguments from the first on, as keys: made one by one, for there may be a million.
    pub fn all_keys(&self) -> impl ExactSizeIterator<Item = Key<'c>> + Clone + use<'c, 'k> {
        (1..self.args.len()).map(self.keys())
    }

    /// Makes keys of arguments.
    pub fn keys(&self) -> impl Fn(usize) -> Key<'c> + Copy + use<'c, 'k> {
        let (args, db, keyspace) = (self.args, self.state.db(), self.guards.keyspace());
        move |index| Key { bytes: args.get(index), hash: keyspace.hash(args.get(index)), db }
    }

    /// The key at any argument.
    pub fn key_at(&self, index: usize) -> Key<'c> {
        self.key_in(self.state.db(), index)
    }

    /// The key at any argument, in another database.
    pub fn key_in(&self, db: u8, index: usize) -> Key<'c> {
        let bytes = self.args.get(index);
        Key { bytes, hash: self.guards.keyspace().hash(bytes), db }
    }

    pub fn integer(&self, index: usize) -> Result<i64, Stop> {
        parse_integer(self.args.get(index)).ok_or(error::NOT_AN_INTEGER.into())
    }

    /// An argument on its way into the keyspace: by handle if it was streamed to its place.
    pub fn new_value(&self, index: usize) -> NewValue<'c> {
        new_value(self.args, index)
    }

    /// Looks a key up for reading: the hit counters move, and recency unless the client wants it otherwise.
    pub fn find(&mut self, key: Key) -> Option<Entry<'_>> {
        let found = read(self.guards, key, self.now, self.state.no_touch());
        count_lookup(self.stats, found.is_some());
        found
    }

    /// Looks a key up without a trace.
    pub fn peek(&mut self, key: Key) -> Option<Entry<'_>> {
        self.guards.shard(key.hash).peek(key, self.now)
    }

    /// How long its value is; 0 when it is not there.
    pub fn length_of(&mut self, key: Key) -> usize {
        self.peek(key).map_or(0, |entry| entry.value.as_slice().len())
    }

    /// Replies with the value of `key`, or null.
    pub fn reply_value(&mut self, key: Key) -> Result<(), Stop> {
        let found = read(self.guards, key, self.now, self.state.no_touch());
        if let Some(entry) = &found
            && entry.value.as_slice().len() > limits::UNASKED_REPLY_BYTES
        {
            return self.reply_large(key);
        }
        count_lookup(self.stats, found.is_some());
        match found {
            Some(entry) => write_value(self.reply, entry.value),
            None => self.reply.null(),
        }
        Ok(())
    }

    /// The same for a value that has to find its room before it is replied with.
    fn reply_large(&mut self, key: Key) -> Result<(), Stop> {
        let length = self.length_of(key);
        self.room(length)?;
        count_lookup(self.stats, true);
        if let Some(entry) = self.guards.shard(key.hash).peek(key, self.now) {
            write_value(self.reply, entry.value);
        }
        Ok(())
    }

    /// The value that a write is about to replace: it is only replied with once the write has been done.
    pub fn old_value(&mut self, key: Key) -> Result<Option<Bytes>, Stop> {
        let length = self.length_of(key);
        self.room(length)?;
        Ok(self.handle(key))
    }

    /// A value to work on while nothing is locked.
    pub fn read(&mut self, key: Key) -> Option<Bytes> {
        let value = self.find(key)?.value.to_bytes();
        self.guards.release();
        Some(value)
    }

    /// Replies with what `old_value` has found, or null.
    pub fn reply_old_value(&mut self, old: Option<Bytes>) {
        match old {
            Some(value) => self.reply.bulk_shared(&value),
            None => self.reply.null(),
        }
    }

    /// Makes sure that a write of this size finds room, before anything is changed.
    pub fn reserve(&mut self, key: Key, value_bytes: usize) -> Result<(), Stop> {
        check_key(key.bytes)?;
        let bytes = value_bytes.saturating_add(key.bytes.len());
        if bytes < limits::SMALL_WRITE_BYTES {
            return Ok(());
        }
        if value_bytes > self.shared.settings.largest_value_bytes.load(Relaxed) {
            return Err(error::VALUE_TOO_LARGE.into());
        }
        room(self.guards.shard(key.hash).make_room(bytes, self.now))
    }

    /// Replaces a value by one that was made of it, for which `reserve` has made room: its flags stay.
    pub fn store_changed(&mut self, key: Key, value: &[u8], expiry: Expiry) -> Result<(), Stop> {
        self.guards.shard(key.hash).replace_value(key, NewValue::Copied(value), expiry, self.now).map_err(set_error)
    }

    /// Writes a value whose room `reserve` has made.
    pub fn store(&mut self, key: Key, value: NewValue, expiry: Expiry) -> Result<(), Stop> {
        self.guards.shard(key.hash).set(key, value, expiry, self.now).map_err(set_error)
    }
}

fn new_value(args: Arguments, index: usize) -> NewValue {
    match args.value(index) {
        Some(value) => NewValue::Shared(value.clone()),
        None => NewValue::Copied(args.get(index)),
    }
}

#[inline]
fn read<'h>(guards: &'h mut ShardGuards, key: Key, now: UnixMillis, no_touch: bool) -> Option<Entry<'h>> {
    let shard = guards.shard(key.hash);
    if no_touch { shard.peek(key, now) } else { shard.get(key, now) }
}

/// Memory for a value that is put together here.
pub fn memory_for(bytes: usize) -> Result<Vec<u8>, Stop> {
    let mut value = Vec::new();
    value.try_reserve_exact(bytes).map_err(|_| error::OUT_OF_MEMORY)?;
    Ok(value)
}

pub fn count_lookup(stats: &CoreStats, hit: bool) {
    if hit { &stats.hits } else { &stats.misses }.add(1);
}

fn check_key(key: &[u8]) -> Result<(), Stop> {
    if key.len() > limits::KEY_MAX_BYTES {
        let (length, most) = (key.len(), limits::KEY_MAX_BYTES);
        return Err(format!("ERR the key has {length} bytes, the longest may have {most}").into());
    }
    Ok(())
}

fn room(room: Room) -> Result<(), Stop> {
    match room {
        Room::Ready => Ok(()),
        Room::Retry => Err(Stop::Retry),
        Room::Refused(error) => Err(set_error(error)),
    }
}

pub fn set_error(error: SetError) -> Stop {
    match error {
        SetError::OutOfMemory => error::OUT_OF_MEMORY.into(),
        SetError::TooLarge => error::VALUE_TOO_LARGE.into(),
    }
}

fn write_value(reply: &mut Reply, value: Value) {
    match value {
        Value::Inline(bytes) => reply.bulk(bytes),
        Value::Shared(blob) if blob.len() < limits::SHARED_REPLY_MIN_BYTES => reply.bulk(blob),
        Value::Shared(blob) => reply.bulk_shared(&blob.clone().into()),
    }
}

pub fn wrong_arity(name: &str) -> Stop {
    format!("ERR wrong number of arguments for '{name}' command").into()
}

/// A subcommand whose arguments have no form that it knows.
fn wrong_form(args: Arguments) -> Stop {
    let (container, name) = (error::echo(args.get(0)).to_ascii_uppercase(), error::echo(args.get(1)));
    format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP.").into()
}

/// The error for what `Table::lookup` does not find, as Redis words it: the name and the first arguments, cut and
/// cleaned.
fn unknown(args: Arguments) -> Stop {
    let name = error::echo(args.get(0));
    if Table::get().find(args.get(0)).is_some() {
        let container = name.to_ascii_uppercase();
        return format!("ERR unknown subcommand '{}'. Try {container} HELP.", error::echo(args.get(1))).into();
    }
    let mut shown = String::new();
    for arg in args.iter().skip(1) {
        // The bound is one for all of them.
        let left = limits::ERROR_ECHO_MAX_BYTES.saturating_sub(shown.len());
        if left == 0 {
            break;
        }
        shown.push_str(&format!("'{}' ", error::echo(&arg[..arg.len().min(left)])));
    }
    let reason = match absent::reason(args.get(0)) {
        None if Table::get().is_disabled(args.get(0)) => Some("--disable-command takes it away"),
        reason => reason,
    };
    let reason = reason.map_or(String::new(), |reason| format!("({reason})"));
    format!("ERR unknown command '{name}', with args beginning with: {shown}{reason}").into()
}

/// As strict as Redis's `string2ll`: no plus, no spaces, no leading zeros, no minus zero.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] if digits.len() == text.len() => Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

fn is_word(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::kept::Kept;

    #[test]
    fn keys_are_found_among_the_arguments() {
        let positions = |keys: Keys, request: &str| {
            let mut kept = Kept::default();
            request.split_whitespace().for_each(|word| kept.push_argument(word.as_bytes()));
            kept.end();
            keys.positions(kept.get(0)).collect::<Vec<_>>()
        };
        let last_of_all = Keys { first: 2, ..Keys::ALL };
        let counted = Keys::counted(1, 2);
        for (keys, request, expect) in [
            (Keys::NONE, "ping a b", vec![]),
            (Keys::ONE, "get a", vec![1]),
            (Keys::ONE, "get", vec![]),
            (Keys::ALL, "del a b c", vec![1, 2, 3]),
            (Keys::PAIRS, "mset a 1 b 2", vec![1, 3]),
            (last_of_all, "bitop and a b", vec![2, 3]),
            (last_of_all, "bitop and", vec![]),
            (counted, "msetex 2 a 1 b 2 ex 10", vec![2, 4]),
            (counted, "msetex 9223372036854775807 a 1", vec![]),
            (counted, "msetex -9223372036854775808 a 1", vec![]),
            (counted, "msetex x a 1", vec![]),
            (counted, "msetex 1", vec![]),
        ] {
            assert_eq!(positions(keys, request), expect, "{request}");
        }
    }

    #[test]
    fn integers_are_parsed_as_strictly_as_redis_does() {
        for (text, value) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse_integer(text.as_bytes()), Some(value));
        }
        for text in ["", "-", "+1", "01", "-0", "00", " 1", "1 ", "1.0", "9223372036854775808", "1\0", "0x1"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
