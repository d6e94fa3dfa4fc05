//! The classic commands. It must not know the meta commands.

use super::answer;
use super::batch::Request;
use super::line::{self, Line, Verb};
use super::stats;
use super::store::{self, Counted, Mode, Stored, Storing};
use crate::command::{Call, Command, count_lookup};
use crate::config::limits;
use crate::message::error::Stop;
use crate::store::shard::{Expiry, Found};

/// What `Call::execute_by` runs for a classic command, in place of its row's function.
#[inline]
pub fn run(call: &mut Call, row: &Command, request: &Request) -> Result<(), Stop> {
    let line = &request.line;
    match line.verb {
        Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats => get(call, request),
        Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend | Verb::Cas => store(call, line),
        Verb::Increment | Verb::Decrement => count(call, line),
        Verb::Touch => touch(call, line),
        Verb::Delete => delete(call),
        Verb::RefusedValue => refuse(call, line),
        Verb::Flush => flush(call, row, line),
        Verb::Stats | Verb::StatsReset | Verb::StatsKeys => stats::answer(call, row),
        _ => Ok(()),
    }
}

fn get(call: &mut Call, request: &Request) -> Result<(), Stop> {
    let (key, now) = (call.key(), call.now);
    let line = &request.line;
    let touches = matches!(line.verb, Verb::Gat | Verb::Gats);
    let wants_version = matches!(line.verb, Verb::Gets | Verb::Gats);
    let shard = call.guards.shard(key.hash);
    if wants_version {
        shard.version(key, now);
    }
    let mut found = shard.get_with_extra(key, now);
    if let Some(Found { entry, .. }) = &found
        && entry.value.as_slice().len() > limits::UNASKED_REPLY_BYTES
    {
        let length = entry.value.as_slice().len();
        call.room(length)?;
        found = call.guards.shard(key.hash).peek_with_extra(key, now);
    }
    count_lookup(call.stats, found.is_some());
    let counts = match (touches, found.is_some()) {
        (false, true) => [&call.stats.memcached_cmd_get, &call.stats.memcached_get_hits],
        (false, false) => [&call.stats.memcached_cmd_get, &call.stats.memcached_get_misses],
        (true, true) => [&call.stats.memcached_cmd_touch, &call.stats.memcached_touch_hits],
        (true, false) => [&call.stats.memcached_cmd_touch, &call.stats.memcached_touch_misses],
    };
    counts.into_iter().for_each(|count| count.add(1));
    if let Some(Found { entry, extra, .. }) = found {
        let reply = &mut *call.reply;
        reply.write(b"VALUE ");
        reply.write(key.bytes);
        reply.write(b" ");
        answer::number(reply, extra.flags.into());
        reply.write(b" ");
        answer::number(reply, entry.value.as_slice().len() as u64);
        if wants_version {
            reply.write(b" ");
            answer::number(reply, extra.version);
        }
        reply.write(b"\r\n");
        answer::data(reply, entry.value);
        if touches {
            set_expiry(call, line);
        }
    }
    if request.ends_line {
        call.reply.write(b"END\r\n");
    }
    Ok(())
}

/// Gives the key the time that the line says; false if it is not there.
fn set_expiry(call: &mut Call, line: &Line) -> bool {
    let (key, now) = (call.key(), call.now);
    let at = match line::expiry(line.exptime, now) {
        Expiry::At(at) => Some(at),
        _ => None,
    };
    call.guards.shard(key.hash).set_expiry(key, at, now)
}

fn store(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let mode = match line.verb {
        Verb::Add => Mode::Add,
        Verb::Replace => Mode::Replace,
        Verb::Append => Mode::Append,
        Verb::Prepend => Mode::Prepend,
        _ => Mode::Set,
    };
    let expiry = line::expiry(line.exptime, call.now);
    let compare = (line.verb == Verb::Cas).then_some(line.number);
    let item_bytes = call.shared.settings.memcached_item_bytes;
    let storing = Storing { mode, flags: line.flags, expiry, compare, item_bytes, ..Storing::default() };
    let stored = store::store(call, &storing)?;
    let stats = call.stats;
    stats.memcached_cmd_set.add(1);
    match stored {
        Stored::Done if compare.is_some() => stats.memcached_cas_hits.add(1),
        Stored::Exists => stats.memcached_cas_badval.add(1),
        Stored::Missing => stats.memcached_cas_misses.add(1),
        _ => {}
    }
    call.reply.write(match stored {
        Stored::Done => b"STORED\r\n",
        Stored::Not => b"NOT_STORED\r\n",
        Stored::Exists => b"EXISTS\r\n",
        Stored::Missing => b"NOT_FOUND\r\n",
    });
    Ok(())
}

fn count(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let is_down = line.verb == Verb::Decrement;
    let counted = store::count(call, call.key(), line.number, is_down);
    let stats = call.stats;
    let (hits, misses) = match is_down {
        true => (&stats.memcached_decr_hits, &stats.memcached_decr_misses),
        false => (&stats.memcached_incr_hits, &stats.memcached_incr_misses),
    };
    match counted {
        Ok(Some(number)) => {
            hits.add(1);
            answer::number(call.reply, number);
            call.reply.write(b"\r\n");
        }
        Ok(None) | Err(Counted::Missing) => {
            misses.add(1);
            call.reply.write(b"NOT_FOUND\r\n");
        }
        Err(Counted::NoNumber) => answer::line(call.reply, answer::NOT_A_NUMBER),
        Err(Counted::Stopped(stop)) => return Err(stop),
    }
    Ok(())
}

fn touch(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let (key, now) = (call.key(), call.now);
    let is_there = call.guards.shard(key.hash).get(key, now).is_some() && set_expiry(call, line);
    call.stats.memcached_cmd_touch.add(1);
    if is_there { &call.stats.memcached_touch_hits } else { &call.stats.memcached_touch_misses }.add(1);
    call.reply.write(if is_there { b"TOUCHED\r\n" } else { b"NOT_FOUND\r\n" });
    Ok(())
}

fn delete(call: &mut Call) -> Result<(), Stop> {
    let (key, now) = (call.key(), call.now);
    let is_there = call.guards.shard(key.hash).delete(key, now);
    if is_there { &call.stats.memcached_delete_hits } else { &call.stats.memcached_delete_misses }.add(1);
    call.reply.write(if is_there { b"DELETED\r\n" } else { b"NOT_FOUND\r\n" });
    Ok(())
}

/// A value that cannot be had: what it meant to replace goes.
fn refuse(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let (key, now) = (call.key(), call.now);
    call.guards.shard(key.hash).delete(key, now);
    answer::note_refusal(call.stats, line.refusal);
    answer::line(call.reply, line.refusal);
    Ok(())
}

fn flush(call: &mut Call, row: &Command, line: &Line) -> Result<(), Stop> {
    let delay = match line::expiry(line.exptime, call.now) {
        Expiry::At(at) if at > call.now => at,
        _ => 0,
    };
    if delay == 0 {
        run_silently(call, row)?;
    }
    call.shared.flush_at.store(delay, std::sync::atomic::Ordering::Relaxed);
    call.stats.memcached_cmd_flush.add(1);
    call.reply.write(b"OK\r\n");
    Ok(())
}

/// Runs the command of RESP, whose reply is not sent.
pub fn run_silently(call: &mut Call, row: &Command) -> Result<(), Stop> {
    let before = call.reply.mark();
    (row.run)(call)?;
    call.reply.rewind(before);
    Ok(())
}
