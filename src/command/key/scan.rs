//! Commands that go through all keys: SCAN, KEYS, RANDOMKEY. No shard is held for more than a step of the way, except
//! in a transaction.
//!
//! SCAN's cursor is a place in a shard's order and the shard's number, and nothing is remembered between two calls.
//! Both SCAN and KEYS report each key that is there from start to end exactly once; of keys that come and go meanwhile
//! they report some. Redis's KEYS answers with the keys of one moment; ours does only inside MULTI, because one moment
//! means that nobody else is served.

use crate::base::glob;
use crate::command::steps::{Progress, Work};
use crate::command::{Call, Command, Flags, Group, is_word};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::reply::Reply;

pub const COMMANDS: &[Command] = &[
    row("scan", -2, Flags::READONLY, scan).doc(
        "2.8.0",
        "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        "Iterates over the key names in the database.",
    ),
    row("keys", 2, Flags::READONLY, keys).doc("1.0.0", "pattern", "Returns all key names that match a pattern."),
    row("randomkey", 1, Flags::READONLY, randomkey).doc("1.0.0", "", "Returns a random key name from the database."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Generic, run).flags(flags)
}

const COUNT_DEFAULT: usize = 10;
/// The cursor's lower digits, in base so many, are the shard's number.
const CURSOR_SHARDS: u64 = limits::THREADS_MAX as u64;

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    /// The type asked for is that of all values.
    is_string: bool,
}

impl<'a> Options<'a> {
    fn parse(call: &Call<'a, '_>) -> Result<Options<'a>, Stop> {
        let mut options = Options { pattern: None, count: COUNT_DEFAULT, is_string: true };
        for index in (2..call.args.len()).step_by(2) {
            let word = call.arg(index);
            if index + 1 == call.args.len() {
                return Err(error::SYNTAX.into());
            }
            if is_word(word, "COUNT") {
                options.count = match call.integer(index + 1)? {
                    count @ 1.. => (count as usize).min(limits::SCAN_KEYS_MAX),
                    _ => return Err(error::SYNTAX.into()),
                };
            } else if is_word(word, "MATCH") {
                options.pattern = pattern(call.arg(index + 1))?;
            } else if is_word(word, "TYPE") {
                options.is_string = is_word(call.arg(index + 1), "string");
            } else {
                return Err(error::SYNTAX.into());
            }
        }
        Ok(options)
    }
}

/// A pattern that leaves something out.
fn pattern(text: &[u8]) -> Result<Option<&[u8]>, Stop> {
    if text.len() > limits::PATTERN_MAX_BYTES {
        let (length, most) = (text.len(), limits::PATTERN_MAX_BYTES);
        return Err(format!("ERR the pattern has {length} bytes, the longest may have {most}").into());
    }
    Ok(Some(text).filter(|text| *text != b"*"))
}

fn scan(call: &mut Call) -> Result<(), Stop> {
    let cursor = std::str::from_utf8(call.arg(1)).ok().and_then(|text| text.parse::<u64>().ok());
    let cursor = cursor.ok_or("ERR invalid cursor")?;
    let options = Options::parse(call)?;
    let shards = call.shared.keyspace.shards();
    let (mut shard, mut place) = ((cursor % CURSOR_SHARDS) as usize, cursor / CURSOR_SHARDS);
    let is_wanted = |key: &[u8]| options.pattern.is_none_or(|pattern| glob::matches(pattern, key));
    let mut walk = Walk::new(options.is_string);
    let mut seen = 0;
    // A shard that none has is the end, as is a place that no scan has returned.
    while shard < shards && seen < options.count && walk.found.len() < limits::SCAN_REPLY_BYTES {
        let most = (options.count - seen).min(limits::SCAN_STEP_KEYS);
        let step = walk.step(call, &is_wanted, shard, place, most)?;
        seen += step.seen;
        place = step.next;
        shard += (place == 0) as usize;
    }
    let cursor = if shard < shards { place * CURSOR_SHARDS + shard as u64 } else { 0 };
    call.reply.array(2);
    call.reply.bulk(cursor.to_string().as_bytes());
    call.reply.array(walk.count);
    call.reply.append(walk.found.into_output());
    Ok(())
}

fn keys(call: &mut Call) -> Result<(), Stop> {
    let pattern = pattern(call.arg(1))?.map(<[u8]>::to_vec);
    let shards = call.shared.keyspace.shards();
    let mut round = Round::new(shards);
    call.work(Work::new(move |call| round.step(call, pattern.as_deref())))
}

/// KEYS on its way. The shards take turns, so that each is free most of the time.
struct Round {
    walk: Walk,
    /// Where to go on in each shard; none at its end.
    places: Vec<Option<u64>>,
}

impl Round {
    fn new(shards: usize) -> Round {
        Round { walk: Walk::new(true), places: vec![Some(0); shards] }
    }

    fn step(&mut self, call: &mut Call, pattern: Option<&[u8]>) -> Result<Progress, Stop> {
        let is_wanted = |key: &[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, key));
        self.walk.pass(call, &is_wanted, &mut self.places)?;
        let (found, limit) = (self.walk.found.len(), call.shared.copied_reply_bytes());
        if !call.has_room(found) {
            // What was found is let go while it waits; it begins anew once there is room for about twice as much.
            *self = Round::new(self.places.len());
            call.room((2 * found).min(limit))?;
            return Ok(Progress::More(0));
        }
        if self.places.iter().any(Option::is_some) {
            return Ok(Progress::More(found));
        }
        call.reply.array(self.walk.count);
        call.reply.append(std::mem::take(&mut self.walk.found).into_output());
        Ok(Progress::Done)
    }
}

/// Goes through all keys of the database, in steps, as KEYS does: how many a test lets through, and the first `most` of
/// them.
pub fn find_all(call: &mut Call, most: usize, is_wanted: &dyn Fn(&[u8]) -> bool) -> Result<(usize, Reply), Stop> {
    let mut walk = Walk { most, ..Walk::new(true) };
    let mut places = vec![Some(0); call.shared.keyspace.shards()];
    while places.iter().any(Option::is_some) {
        walk.pass(call, is_wanted, &mut places)?;
    }
    Ok((walk.count, walk.found))
}

/// A way through keys: what it is looking for, and what it has found.
struct Walk {
    matches_type: bool,
    /// The keys found, as far as they are kept: the first `most`.
    found: Reply,
    most: usize,
    count: usize,
    /// The keys of a step, one after the other, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
}

struct Step {
    /// Where to go on; 0 at the end.
    next: u64,
    seen: usize,
}

impl Walk {
    fn new(matches_type: bool) -> Walk {
        let (found, most) = (Reply::default(), usize::MAX);
        Walk { matches_type, found, most, count: 0, keys: Vec::new(), ends: Vec::new() }
    }

    /// A step in each shard that is not at its end: none in `places`. An error when more is found than a reply may copy.
    fn pass(
        &mut self,
        call: &mut Call,
        is_wanted: &dyn Fn(&[u8]) -> bool,
        places: &mut [Option<u64>],
    ) -> Result<(), Stop> {
        for (shard, place) in places.iter_mut().enumerate() {
            if let Some(from) = *place {
                let next = self.step(call, is_wanted, shard, from, limits::SCAN_STEP_KEYS)?.next;
                *place = (next != 0).then_some(next);
            }
        }
        let limit = call.shared.copied_reply_bytes();
        if self.found.len() > limit {
            return Err(format!("ERR the keys have more than the {limit} bytes that a reply may copy; use SCAN").into());
        }
        Ok(())
    }

    /// Goes through about `most` keys of a shard. They are copied while it is held, and matched afterwards.
    fn step(
        &mut self,
        call: &mut Call,
        is_wanted: &dyn Fn(&[u8]) -> bool,
        shard: usize,
        from: u64,
        most: usize,
    ) -> Result<Step, Stop> {
        let Walk { keys, ends, .. } = self;
        keys.clear();
        ends.clear();
        let (database, now) = (call.state.db(), call.now);
        let guards = call.shard_number(shard)?;
        let (mut next, mut steps) = (from, 0);
        // A step over places where nothing is counts as well: the work is bounded in a sparse table too.
        while steps.max(ends.len()) < most && keys.len() < limits::SCAN_STEP_BYTES {
            steps += 1;
            next = guards.scan(database, next, 1, now, |key, _| {
                keys.extend_from_slice(key);
                ends.push(keys.len());
            });
            if next == 0 {
                break;
            }
        }
        let seen = steps.max(ends.len());
        call.guards.release();
        self.sort_out(is_wanted);
        Ok(Step { next, seen })
    }

    fn sort_out(&mut self, is_wanted: &dyn Fn(&[u8]) -> bool) {
        if !self.matches_type {
            return;
        }
        let mut start = 0;
        for &end in &self.ends {
            let key = &self.keys[start..end];
            start = end;
            if is_wanted(key) {
                if self.count < self.most {
                    self.found.bulk(key);
                }
                self.count += 1;
            }
        }
        self.found.cut();
    }
}

fn randomkey(call: &mut Call) -> Result<(), Stop> {
    let (db, now) = (call.state.db(), call.now);
    let key = call.all()?.random_key(db, now);
    match key {
        Some(key) => call.reply.bulk(&key),
        None => call.reply.null(),
    }
    Ok(())
}
