//! Transactions: MULTI queues what follows, EXEC runs the queue as one step under the locks of all its shards, WATCH has
//! EXEC do nothing if one of its keys has changed meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{Call, Command, Flags, Found, Group, Keys, scripting};
use crate::base::clock;
use crate::command::ConnectionState;
use crate::command::server::slowlog;
use crate::command::timing::Slow;
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::kept::Kept;
use crate::message::request::Arguments;
use crate::script::library::Library;
use crate::store::guards::ShardGuards;
use crate::store::hot::Seen;
use crate::store::shard::{Key, Room, Watcher};

pub const COMMANDS: &[Command] = &[
    row("multi", 1, multi).doc("1.2.0", "", "Starts a transaction."),
    row("exec", 1, exec).flags(Flags::UNQUEUED.union(Flags::NO_SCRIPT)).doc(
        "1.2.0",
        "",
        "Executes all commands in a transaction.",
    ),
    row("discard", 1, discard).doc("2.0.0", "", "Discards a transaction."),
    row("watch", -2, watch).keys(Keys::ALL).doc(
        "2.2.0",
        "key [key ...]",
        "Monitors changes to keys to determine the execution of a transaction.",
    ),
    Command::new("unwatch", 1, Group::Transactions, unwatch).flags(Flags::FAST.union(Flags::NO_SCRIPT)).doc(
        "2.2.0",
        "",
        "Forgets about watched keys of a transaction.",
    ),
];

const fn row(name: &'static str, arity: i32, run: super::Run) -> Command {
    Command::new(name, arity, Group::Transactions, run)
        .flags(Flags::FAST.union(Flags::UNQUEUED).union(Flags::NO_SCRIPT))
}

/// What MULTI has queued so far.
#[derive(Default)]
pub struct Transaction {
    requests: Kept,
    /// Each request's row and its place in the table.
    rows: Vec<Found>,
    /// A request was refused when it was to be queued: EXEC will run none.
    pub failed: bool,
}

impl Transaction {
    /// Memory held.
    pub fn held_bytes(&self) -> usize {
        self.requests.held_bytes() + self.rows.capacity() * size_of::<Found>()
    }
}

/// The keys that a connection watches.
#[derive(Default)]
pub struct Watching {
    keys: HashSet<WatchedKey, ahash::RandomState>,
    changed: Arc<Changed>,
    held_bytes: usize,
}

#[derive(PartialEq, Eq, Hash)]
struct WatchedKey {
    hash: u64,
    db: u8,
    bytes: Box<[u8]>,
}

impl WatchedKey {
    fn key(&self) -> Key<'_> {
        Key { bytes: &self.bytes, hash: self.hash, db: self.db }
    }
}

/// Set once one of the keys has changed.
#[derive(Default)]
struct Changed(AtomicBool);

impl Watcher for Changed {
    fn changed(&self, _: &[u8], _: u64) {
        self.0.store(true, Relaxed);
    }

    fn emptied(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Watching {
    /// Memory held.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Forgets all keys. No lock is taken when there are none, and no script is waited for.
    pub fn stop(&mut self, guards: &mut ShardGuards) {
        if self.keys.is_empty() {
            return;
        }
        let Watching { keys, changed, .. } = std::mem::take(self);
        let watcher: Arc<dyn Watcher> = changed;
        for watched in &keys {
            // Where a script has the shard nobody waits to be forgotten: the shard's table is bounded, and what it tells
            // us of falls on deaf ears.
            if let Ok(shard) = guards.lock(watched.hash) {
                shard.unwatch(watched.key(), &watcher);
            }
        }
    }
}

impl ConnectionState {
    /// Whether a command may change keys; EXEC does if what is queued may.
    pub fn may_write(&self, row: &Command, args: Arguments, scripts: &Library) -> bool {
        let may_write =
            |row: &Command, args| row.flags.intersects(Flags::WRITE) || scripting::may_write(row, args, scripts);
        match &self.transaction {
            Some(transaction) if row.name == "exec" => {
                let mut queued = transaction.rows.iter().enumerate();
                queued.any(|(index, (_, row))| may_write(row, transaction.requests.get(index)))
            }
            _ => may_write(row, args),
        }
    }

    /// Leaves the transaction and its watched keys, if there are any.
    pub fn leave_transaction(&mut self, guards: &mut ShardGuards) {
        self.transaction = None;
        self.client.queued.store(0, Relaxed);
        self.client.queued_bytes.store(0, Relaxed);
        self.unwatch(guards);
    }

    fn unwatch(&mut self, guards: &mut ShardGuards) {
        self.watching.stop(guards);
        self.client.watched.store(0, Relaxed);
    }
}

fn multi(call: &mut Call) -> Result<(), Stop> {
    if call.state.transaction.is_some() {
        return Err("ERR MULTI calls can not be nested".into());
    }
    call.state.transaction = Some(Box::default());
    call.state.client.queued.store(1, Relaxed);
    call.reply.ok();
    Ok(())
}

/// Keeps a request for EXEC.
pub fn queue(call: &mut Call, found: Found) -> Result<(), Stop> {
    if let Err(stop) = check(call, found.1) {
        call.stats.calls[found.0].rejected.add(1);
        return Err(call.refuse(stop));
    }
    call.permit(found)?;
    let transaction = call.state.transaction.as_mut().expect("a transaction has begun");
    if transaction.requests.push(call.args).is_err() {
        transaction.failed = true;
        return Err(crate::message::error::OUT_OF_MEMORY.into());
    }
    transaction.rows.push(found);
    call.state.client.queued_bytes.store(transaction.held_bytes(), Relaxed);
    call.state.client.queued.store(transaction.rows.len() + 1, Relaxed);
    call.reply.simple("QUEUED");
    Ok(())
}

/// Refuses what no transaction can have.
fn check(call: &Call, row: &Command) -> Result<(), Stop> {
    if row.flags.intersects(Flags::NO_MULTI) {
        return Err("ERR Command not allowed inside a transaction".into());
    }
    // Each channel is answered by a message of its own.
    if row.flags.intersects(Flags::PUBSUB) && call.args.len() > 2 {
        return Err("ERR one channel at a time inside a transaction: EXEC has one reply for each command".into());
    }
    Ok(())
}

fn discard(call: &mut Call) -> Result<(), Stop> {
    if call.state.transaction.is_none() {
        return Err("ERR DISCARD without MULTI".into());
    }
    call.state.leave_transaction(call.guards);
    call.reply.ok();
    Ok(())
}

fn watch(call: &mut Call) -> Result<(), Stop> {
    if call.state.transaction.is_some() {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    let watcher: Arc<dyn Watcher> = call.state.watching.changed.clone();
    call.room(call.all_keys().map(|key| watched_bytes(key)).sum())?;
    for key in call.all_keys() {
        super::check_key(key.bytes)?;
        let watching = &mut call.state.watching;
        let watched = WatchedKey { bytes: key.bytes.into(), hash: key.hash, db: key.db };
        if watching.keys.contains(&watched) {
            continue;
        }
        if watching.keys.len() >= limits::WATCHED_KEYS_MAX {
            let most = limits::WATCHED_KEYS_MAX;
            return Err(format!("ERR a connection can watch {most} keys; UNWATCH, or watch fewer at a time").into());
        }
        watching.keys.insert(watched);
        watching.held_bytes += watched_bytes(key);
        call.guards.shard(key.hash).watch(key, &watcher, call.now);
    }
    call.state.client.watched.store(call.state.watching.keys.len(), Relaxed);
    call.reply.ok();
    Ok(())
}

/// What a watched key takes, its place in the table included, of which a half may be empty.
fn watched_bytes(key: Key) -> usize {
    key.bytes.len() + 2 * size_of::<WatchedKey>()
}

fn unwatch(call: &mut Call) -> Result<(), Stop> {
    call.state.unwatch(call.guards);
    call.reply.ok();
    Ok(())
}

fn exec(call: &mut Call) -> Result<(), Stop> {
    let Some(transaction) = call.state.transaction.take() else { return Err("ERR EXEC without MULTI".into()) };
    if transaction.failed {
        call.state.leave_transaction(call.guards);
        return Err("EXECABORT Transaction discarded because of previous errors.".into());
    }
    if let Err(stop) = make_room(call, &transaction) {
        call.state.transaction = Some(transaction);
        return Err(stop);
    }
    if let Err(stop) = lock(call, &transaction).and_then(|()| find_room(call, &transaction)) {
        call.guards.unseal();
        call.state.transaction = Some(transaction);
        return Err(stop);
    }
    for watched in &call.state.watching.keys {
        call.guards.shard(watched.hash).expire_if_due(watched.key(), call.now);
    }
    let changed = call.state.watching.changed.0.load(Relaxed);
    call.state.unwatch(call.guards);
    if changed {
        call.reply.null_array();
    } else {
        run(call, &transaction);
    }
    call.state.client.queued.store(0, Relaxed);
    call.state.client.queued_bytes.store(0, Relaxed);
    call.guards.unseal();
    Ok(())
}

/// An EXEC that is not understood is the end of its transaction all the same.
pub fn abort(call: &mut Call) -> Stop {
    call.state.leave_transaction(call.guards);
    "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command".into()
}

/// Makes the room for large values before the shards are locked together, because it is made piece by piece.
fn make_room(call: &mut Call, transaction: &Transaction) -> Result<(), Stop> {
    let mut wanted: Vec<(u64, usize)> = Vec::new();
    for index in 0..transaction.requests.count() {
        let args = transaction.requests.get(index);
        let (_, row) = transaction.rows[index];
        if !row.flags.intersects(Flags::DENYOOM) {
            continue;
        }
        let bytes = args.iter().skip(1).map(<[u8]>::len).sum();
        for key in row.keys.positions(args).take(1) {
            let hash = call.guards.keyspace().hash(args.get(key));
            let shard = call.guards.keyspace().shard_of(hash);
            match wanted.iter_mut().find(|(known, _)| call.guards.keyspace().shard_of(*known) == shard) {
                Some((_, sum)) => *sum += bytes,
                None => wanted.push((hash, bytes)),
            }
        }
    }
    for (hash, bytes) in wanted {
        // What does not fit at all is refused by the command that brings it.
        if bytes < limits::SMALL_WRITE_BYTES {
            continue;
        }
        let now = call.now;
        if call.shard(hash)?.make_room(bytes, now) == Room::Retry {
            return Err(Stop::Retry);
        }
    }
    Ok(())
}

/// Asks for the room in which each command can at least be told that its reply is left out; and for that of the values that
/// the queue reads, while memory for replies is short: who has to wait can only do so before the queue is run.
fn find_room(call: &mut Call, transaction: &Transaction) -> Result<(), Stop> {
    call.room(transaction.rows.len() * LEFT_OUT_BYTES)?;
    if !call.shared.clients.memory.is_tight() {
        return Ok(());
    }
    let mut bytes = 0;
    for (index, (_, row)) in transaction.rows.iter().enumerate() {
        if row.flags.contains(Flags::READONLY) {
            let args = transaction.requests.get(index);
            for position in row.keys.positions(args) {
                let name = args.get(position);
                let key = Key { bytes: name, hash: call.guards.keyspace().hash(name), db: call.state.db() };
                bytes += call.length_of(key);
            }
        }
    }
    call.room(bytes)
}

/// Locks what the queued commands and the watched keys touch. A command that does not say by its row may touch anything.
fn lock(call: &mut Call, transaction: &Transaction) -> Result<(), Stop> {
    let keyspace = call.guards.keyspace();
    // One for each shard.
    let mut hashes: Vec<u64> = Vec::new();
    let mut add = |hash| {
        let shard = keyspace.shard_of(hash);
        if hashes.iter().all(|known| keyspace.shard_of(*known) != shard) {
            hashes.push(hash);
        }
    };
    call.state.watching.keys.iter().for_each(|watched| add(watched.hash));
    for (index, (_, row)) in transaction.rows.iter().enumerate() {
        if row.keys == Keys::NONE || row.group == Group::Scripting {
            return call.seal_all();
        }
        let args = transaction.requests.get(index);
        row.keys.positions(args).for_each(|key| add(keyspace.hash(args.get(key))));
    }
    call.seal(hashes.into_iter())
}

/// What is said of a reply that is left out, and its line's end.
const LEFT_OUT_BYTES: usize = error::REPLY_LEFT_OUT.len() + 3;

fn run(call: &mut Call, transaction: &Transaction) {
    let mut timing = Timing::of(call);
    let count = transaction.rows.len();
    call.reply.array(count);
    call.state.room.may_wait = false;
    for (index, found) in transaction.rows.iter().enumerate() {
        let (mark, args) = (call.reply.mark(), transaction.requests.get(index));
        timing.run(call, args, *found);
        // Nobody can take the reply before it is whole: what finds no room beside the rest is left out.
        let rest = (count - index - 1) * LEFT_OUT_BYTES;
        if !call.state.room.cover(&call.shared.clients, call.reply.len() + rest) {
            call.reply.rewind(mark);
            call.reply.error(error::REPLY_LEFT_OUT);
        }
        call.reply.cut();
    }
    call.state.room.may_wait = true;
    let each = timing.mean_of_quick();
    for (index, (place, row)) in transaction.rows.iter().enumerate() {
        if !timing.is_alone(row, transaction.requests.get(index)) {
            call.stats.calls[*place].took(each, 1, timing.spread);
        }
    }
}

/// How long the commands of a queue take: as in a pipeline, what may be slow is timed, and logged, by itself, and the quick
/// ones count with their mean.
struct Timing {
    begun: Instant,
    /// What those took that were timed by themselves.
    alone: Duration,
    quick: u32,
    slow_nanos: u64,
    spread: bool,
}

impl Timing {
    fn of(call: &Call) -> Timing {
        let slow_nanos = call.shared.command_logs.slow.threshold_nanos().min(call.shared.latency.threshold_nanos());
        let spread = call.shared.latency.is_tracking();
        Timing { begun: clock::tick(), alone: Duration::ZERO, quick: 0, slow_nanos, spread }
    }

    fn is_alone(&self, row: &Command, args: Arguments) -> bool {
        self.slow_nanos < limits::TIMED_TOGETHER_MIN_NANOS || !row.is_quick(args.len())
    }

    fn run(&mut self, call: &mut Call, args: Arguments, found: Found) {
        if !self.is_alone(found.1, args) {
            self.quick += 1;
            return call.run_nested(args, found);
        }
        let begun = clock::tick();
        call.run_nested(args, found);
        let took = begun.elapsed();
        self.alone += took;
        let nanos = took.as_nanos() as u64;
        call.stats.calls[found.0].took(nanos, 1, self.spread);
        if nanos >= self.slow_nanos {
            let slow = Slow { nanos, first: 0, count: 1 };
            slowlog::note(call.shared, call.now, call.state, Some(found), args, &slow);
        }
    }

    fn mean_of_quick(&self) -> u64 {
        (self.begun.elapsed().saturating_sub(self.alone) / self.quick.max(1)).as_nanos() as u64
    }
}

impl Call<'_, '_> {
    /// Runs another request within this one, under the locks that are held, and appends its reply.
    pub fn run_nested(&mut self, args: Arguments, found: Found) {
        let hash = found.1.keys.positions(args).next().map_or(0, |key| self.guards.keyspace().hash(args.get(key)));
        let mut nested = Call {
            args,
            hash,
            // What is sealed is read under its locks.
            seen: Seen::Cold,
            now: self.now,
            guards: self.guards,
            reply: self.reply,
            state: self.state,
            shared: self.shared,
            stats: self.stats,
            scripts: self.scripts,
        };
        let outcome = loop {
            match nested.check(found).and_then(|()| nested.execute(found)) {
                // The shard stays locked, so the room is made in one go; and no script has it.
                Err(Stop::Retry | Stop::Busy | Stop::Full) => {}
                outcome => break outcome,
            }
        };
        if let Err(Stop::Error(text)) = outcome {
            self.stats.note_error(&text);
            self.reply.error(&text);
        }
        self.stats.commands.add(1);
    }
}
