//! The meta commands: `mg`, `ms`, `md`, `ma`, `me`. It must not know the classic ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer;
use super::flags::Flags;
use super::line::{self, Line, Verb};
use super::store::{self, Counted, Mode, Stored, Storing};
use crate::base::clock::UnixMillis;
use crate::command::{Call, count_lookup};
use crate::config::limits;
use crate::message::error::Stop;
use crate::message::output::Output;
use crate::message::request::Arguments;
use crate::observe::stats::CoreStats;
use crate::store::shard::{Expiry, Extra, Found, NewValue};

/// What `Call::execute_by` runs for a meta command, in place of its row's function.
#[inline]
pub fn run(call: &mut Call, line: &Line) -> Result<(), Stop> {
    match line.verb {
        Verb::MetaGet => get(call, line),
        Verb::MetaSet => set(call, line),
        Verb::MetaDelete => delete(call, line),
        Verb::MetaArithmetic => count(call, line),
        _ => tell(call, line),
    }
}

/// What the line before a value has beside what is answered: more than any.
const HEAD_BYTES: usize = 1024;
/// The flags come behind verb and key.
const FIRST_FLAG: usize = 2;

fn expires_at(exptime: i64, now: UnixMillis) -> Option<UnixMillis> {
    match line::expiry(exptime, now) {
        Expiry::At(at) => Some(at),
        _ => None,
    }
}

/// Seconds until then, the last one counted whole; -1 for never.
fn write_ttl(reply: &mut Output, expires_at: Option<UnixMillis>, now: UnixMillis) {
    match expires_at {
        Some(at) => answer::number(reply, at.saturating_sub(now).div_ceil(1000)),
        None => reply.write(b"-1"),
    }
}

/// A flag that gives back what came with the request; false if it is another.
fn reflect(reply: &mut Output, args: Arguments, flags: &Flags, word: &[u8]) -> bool {
    match word[0] {
        b'O' => {
            reply.write(b" ");
            reply.write(word);
        }
        b'k' => {
            reply.write(b" k");
            write_key(reply, args.get(1), flags);
            if flags.has(b'b') {
                reply.write(b" b");
            }
        }
        _ => return false,
    }
    true
}

fn write_key(reply: &mut Output, key: &[u8], flags: &Flags) {
    match flags.has(b'b') {
        true => reply.write(STANDARD.encode(key).as_bytes()),
        false => reply.write(key),
    }
}

/// An answer that has nothing but what came with the request.
fn plain(call: &mut Call, line: &Line, code: &[u8]) {
    call.reply.write(code);
    for word in call.args.iter().skip(FIRST_FLAG) {
        reflect(call.reply, call.args, &line.meta, word);
    }
    call.reply.write(b"\r\n");
}

/// What a `mg` makes of a value beside answering with it.
struct Outcome {
    /// Who asks is told to fetch a new one, and nobody else.
    wins: bool,
    expires_at: Option<UnixMillis>,
}

/// In the order of the flags: `R` looks at the time that a `T` before it has set.
fn outcome(args: Arguments, now: UnixMillis, flags: &Flags, found: &Found) -> Outcome {
    let (mut wins, mut expires_at) = (found.extra.is_stale && !found.extra.is_claimed, found.entry.expires_at);
    if flags.has_any(b"RT") {
        for word in args.iter().skip(FIRST_FLAG) {
            match word[0] {
                b'T' => expires_at = self::expires_at(flags.ttl, now),
                b'R' => {
                    let soon = self::expires_at(flags.recache_ttl, now).unwrap_or(0);
                    wins |= !found.extra.is_claimed && expires_at.is_some_and(|at| at < soon);
                }
                _ => {}
            }
        }
    }
    Outcome { wins, expires_at }
}

fn get(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let (key, now, flags) = (call.key(), call.now, &line.meta);
    let shard = call.guards.shard(key.hash);
    let idle_millis = if flags.has(b'l') { shard.idle_millis(key, now).unwrap_or(0) } else { 0 };
    if flags.has(b'c') {
        shard.version(key, now);
    }
    let mut found = if flags.has(b'u') { shard.peek_with_extra(key, now) } else { shard.get_with_extra(key, now) };
    let was_read = found.as_ref().is_some_and(|found| found.was_read);
    let Some(first) = &found else {
        if flags.has(b'N') {
            return vivify(call, line);
        }
        note_read(call.stats, flags, false);
        if !line.quiet {
            plain(call, line, b"EN");
        }
        return Ok(());
    };
    let length = first.entry.value.as_slice().len();
    let may_claim = flags.has(b'R') || first.extra.is_stale;
    if may_claim || flags.has(b'v') && length > limits::UNASKED_REPLY_BYTES {
        // What is won is told, so it must not have to be told again.
        call.room(HEAD_BYTES + if flags.has(b'v') { length } else { 0 })?;
        found = call.guards.shard(key.hash).peek_with_extra(key, now);
    }
    note_read(call.stats, flags, true);
    let Some(found) = found else { return Ok(()) };
    let outcome = if may_claim || flags.has(b'T') { Some(self::outcome(call.args, now, flags, &found)) } else { None };
    let wins = outcome.as_ref().is_some_and(|outcome| outcome.wins);
    let reply = &mut *call.reply;
    begin(reply, flags, length);
    let mut expires_at = found.entry.expires_at;
    for word in call.args.iter().skip(FIRST_FLAG) {
        match word[0] {
            b'T' => expires_at = self::expires_at(flags.ttl, now),
            b'l' => write_number(reply, b" l", idle_millis / 1000),
            b'h' => write_number(reply, b" h", was_read.into()),
            _ => write_flag(reply, call.args, flags, word, (&found, expires_at, now)),
        }
    }
    if found.extra.is_claimed {
        reply.write(b" Z");
    }
    if found.extra.is_stale {
        reply.write(b" X");
    }
    if wins {
        reply.write(b" W");
    }
    reply.write(b"\r\n");
    if flags.has(b'v') {
        answer::data(reply, found.entry.value);
    }
    if let Some(outcome) = outcome {
        let shard = call.guards.shard(key.hash);
        if wins {
            shard.change_extra(key, now, |extra| extra.is_claimed = true);
        }
        if flags.has(b'T') {
            shard.set_expiry(key, outcome.expires_at, now);
        }
    }
    Ok(())
}

/// The first word of an answer with a value of this length.
fn begin(reply: &mut Output, flags: &Flags, length: usize) {
    if flags.has(b'v') {
        write_number(reply, b"VA ", length as u64);
    } else {
        reply.write(b"HD");
    }
}

fn write_number(reply: &mut Output, before: &[u8], number: u64) {
    reply.write(before);
    answer::number(reply, number);
}

/// A flag that is answered with something of the item, or gives back what came.
fn write_flag(
    reply: &mut Output,
    args: Arguments,
    flags: &Flags,
    word: &[u8],
    (found, expires_at, now): (&Found, Option<UnixMillis>, UnixMillis),
) {
    match word[0] {
        b's' => write_number(reply, b" s", found.entry.value.as_slice().len() as u64),
        b'f' => write_number(reply, b" f", found.extra.flags.into()),
        b'c' => write_number(reply, b" c", found.extra.version),
        b't' => {
            reply.write(b" t");
            write_ttl(reply, expires_at, now);
        }
        _ => {
            reflect(reply, args, flags, word);
        }
    }
}

fn note_read(stats: &CoreStats, flags: &Flags, is_hit: bool) {
    count_lookup(stats, is_hit);
    let counts = match (flags.has(b'T'), is_hit) {
        (false, true) => [&stats.memcached_cmd_get, &stats.memcached_get_hits],
        (false, false) => [&stats.memcached_cmd_get, &stats.memcached_get_misses],
        (true, true) => [&stats.memcached_cmd_touch, &stats.memcached_touch_hits],
        (true, false) => [&stats.memcached_cmd_touch, &stats.memcached_touch_misses],
    };
    counts.into_iter().for_each(|count| count.add(1));
}

/// Makes an empty value for who asks, to be filled by him alone: he has won.
fn vivify(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let (key, now, flags) = (call.key(), call.now, &line.meta);
    call.room(HEAD_BYTES)?;
    let version = if flags.has(b'c') { call.guards.shard(key.hash).next_version(now) } else { 0 };
    let extra = Extra { version, is_claimed: true, ..Extra::NONE };
    let expiry = line::expiry(flags.vivify_ttl, now);
    store::put(call, key, NewValue::Copied(b""), expiry, extra)?;
    note_read(call.stats, flags, false);
    let (args, reply) = (call.args, &mut *call.reply);
    begin(reply, flags, 0);
    for word in args.iter().skip(FIRST_FLAG) {
        match word[0] {
            b's' | b'f' | b'l' | b'h' => {
                reply.write(&[b' ', word[0], b'0']);
            }
            b'c' => write_number(reply, b" c", version),
            b't' => {
                reply.write(b" t");
                write_ttl(reply, expires_at(flags.vivify_ttl, now), now);
            }
            _ => {
                reflect(reply, args, flags, word);
            }
        }
    }
    reply.write(if flags.has(b'v') { b" W\r\n\r\n" } else { b" W\r\n" });
    Ok(())
}

fn set(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let (key, now, flags) = (call.key(), call.now, &line.meta);
    let mode = match flags.mode {
        0 | b'S' | b's' => Mode::Set,
        b'E' | b'e' => Mode::Add,
        b'A' | b'a' => Mode::Append,
        b'P' | b'p' => Mode::Prepend,
        b'R' | b'r' => Mode::Replace,
        _ => {
            answer::line(call.reply, "CLIENT_ERROR invalid mode for ms M token");
            return Ok(());
        }
    };
    let version = match flags.version {
        0 if flags.has(b'c') => call.guards.shard(key.hash).next_version(now),
        version => version,
    };
    let storing = Storing {
        mode,
        flags: flags.client_flags,
        expiry: if flags.has(b'T') { line::expiry(flags.ttl, now) } else { Expiry::Never },
        compare: flags.has(b'C').then_some(flags.compare),
        invalidates: flags.has(b'I'),
        version,
        vivify: flags.has(b'N').then(|| line::expiry(flags.vivify_ttl, now)),
        item_bytes: call.shared.settings.memcached_item_bytes,
    };
    let stored = store::store(call, &storing)?;
    let stats = call.stats;
    stats.memcached_cmd_set.add(1);
    match stored {
        Stored::Done if storing.compare.is_some() => stats.memcached_cas_hits.add(1),
        Stored::Exists => stats.memcached_cas_badval.add(1),
        Stored::Missing => stats.memcached_cas_misses.add(1),
        _ => {}
    }
    let code = match stored {
        Stored::Done if line.quiet => return Ok(()),
        Stored::Done => b"HD",
        Stored::Not => b"NS",
        Stored::Exists => b"EX",
        Stored::Missing => b"NF",
    };
    let (args, reply) = (call.args, &mut *call.reply);
    reply.write(code);
    let last = args.len() - 1;
    for word in args.iter().take(last).skip(FIRST_FLAG) {
        match word[0] {
            b'c' => write_number(reply, b" c", if stored == Stored::Done { version } else { 0 }),
            b's' => write_number(reply, b" s", args.get(last).len() as u64),
            _ => {
                reflect(reply, args, flags, word);
            }
        }
    }
    reply.write(b"\r\n");
    Ok(())
}

fn delete(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let (key, now, flags) = (call.key(), call.now, &line.meta);
    let shard = call.guards.shard(key.hash);
    let Some(found) = shard.peek_with_extra(key, now) else {
        call.stats.memcached_delete_misses.add(1);
        if !line.quiet {
            plain(call, line, b"NF");
        }
        return Ok(());
    };
    let present = found.extra;
    if flags.has(b'C') && (present.version != flags.compare || flags.compare == 0) {
        call.stats.memcached_delete_misses.add(1);
        plain(call, line, b"EX");
        return Ok(());
    }
    if flags.has_any(b"Ix") {
        let version = if flags.version != 0 { flags.version } else { shard.next_version(now) };
        let extra = match flags.has(b'I') {
            true => Extra { version, is_stale: true, is_claimed: false, ..present },
            false => Extra { version, ..present },
        };
        if flags.has(b'x') {
            let extra = Extra { flags: 0, ..extra };
            store::put(call, key, NewValue::Copied(b""), Expiry::Keep, extra)?;
        } else {
            shard.change_extra(key, now, |own| *own = extra);
        }
        if flags.has(b'T') {
            call.guards.shard(key.hash).set_expiry(key, expires_at(flags.ttl, now), now);
        }
    } else {
        shard.delete(key, now);
        call.stats.memcached_delete_hits.add(1);
    }
    if !line.quiet {
        plain(call, line, b"HD");
    }
    Ok(())
}

fn count(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let (key, now, flags) = (call.key(), call.now, &line.meta);
    let is_down = match flags.mode {
        0 | b'I' | b'i' | b'+' => false,
        b'D' | b'd' | b'-' => true,
        _ => {
            answer::line(call.reply, "CLIENT_ERROR invalid mode for ma M token");
            return Ok(());
        }
    };
    let shard = call.guards.shard(key.hash);
    if flags.has(b'C')
        && let Some(found) = shard.peek_with_extra(key, now)
        && (found.extra.version != flags.compare || flags.compare == 0)
    {
        plain(call, line, b"EX");
        return Ok(());
    }
    let stats = call.stats;
    let (hits, misses) = match is_down {
        true => (&stats.memcached_decr_hits, &stats.memcached_decr_misses),
        false => (&stats.memcached_incr_hits, &stats.memcached_incr_misses),
    };
    let number = match store::count(call, key, flags.delta, is_down) {
        Ok(Some(number)) => {
            hits.add(1);
            number
        }
        Ok(None) | Err(Counted::Missing) if flags.has(b'N') => {
            let digits = flags.initial.to_string();
            let expiry = line::expiry(flags.vivify_ttl, now);
            store::put(call, key, NewValue::Copied(digits.as_bytes()), expiry, Extra::NONE)?;
            flags.initial
        }
        Ok(None) | Err(Counted::Missing) => {
            misses.add(1);
            if !line.quiet {
                plain(call, line, b"NF");
            }
            return Ok(());
        }
        Err(Counted::NoNumber) => {
            answer::line(call.reply, answer::NOT_A_NUMBER);
            return Ok(());
        }
        Err(Counted::Stopped(stop)) => return Err(stop),
    };
    let shard = call.guards.shard(key.hash);
    if flags.version != 0 {
        shard.change_extra(key, now, |extra| extra.version = flags.version);
    } else if flags.has(b'c') {
        shard.version(key, now);
    }
    if flags.has(b'T') {
        shard.set_expiry(key, expires_at(flags.ttl, now), now);
    }
    if line.quiet {
        return Ok(());
    }
    let found = shard.peek_with_extra(key, now);
    let (args, reply) = (call.args, &mut *call.reply);
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    begin(reply, flags, digits.len());
    for word in args.iter().skip(FIRST_FLAG) {
        match &found {
            Some(found) => write_flag(reply, args, flags, word, (found, found.entry.expires_at, now)),
            None => {
                reflect(reply, args, flags, word);
            }
        }
    }
    reply.write(b"\r\n");
    if flags.has(b'v') {
        answer::line(reply, digits);
    }
    Ok(())
}

/// `me`: what is known of an item, for people.
fn tell(call: &mut Call, line: &Line) -> Result<(), Stop> {
    let (key, now) = (call.key(), call.now);
    let shard = call.guards.shard(key.hash);
    let (idle_millis, size) = (shard.idle_millis(key, now), shard.memory_usage(key, now));
    let Some(found) = shard.peek_with_extra(key, now) else {
        answer::line(call.reply, "EN");
        return Ok(());
    };
    let reply = &mut *call.reply;
    reply.write(b"ME ");
    write_key(reply, key.bytes, &line.meta);
    reply.write(b" exp=");
    write_ttl(reply, found.entry.expires_at, now);
    write_number(reply, b" la=", idle_millis.unwrap_or(0) / 1000);
    write_number(reply, b" cas=", found.extra.version);
    reply.write(if found.was_read { b" fetch=yes cls=1" } else { b" fetch=no cls=1" });
    write_number(reply, b" size=", size.unwrap_or(0));
    reply.write(b"\r\n");
    Ok(())
}
