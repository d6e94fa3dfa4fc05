//! Arbitrary bytes against parser, session and every command: requests of random words, broken and cut at random, held up by
//! whatever can be in their way. Nothing panics, every reply is whole, and nothing is held when the connection is over.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::base::clock;
use crate::base::testing::Random;
use crate::clients::{Paused, testing::enter};
use crate::command::Table;
use crate::config::limits;
use crate::message::output::Output;
use crate::protocol::core::Core;
use crate::protocol::front::{Next, Protocol};
use crate::protocol::testing::server;
use crate::shared::Shared;

/// What commands look for, and what they had rather not find.
const WORDS: [&str; 44] = [
    "key:0",
    "key:1",
    "key:2",
    "",
    "0",
    "1",
    "-1",
    "2",
    "16",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "4294967296",
    "1.5",
    "inf",
    "nan",
    "NX",
    "XX",
    "GET",
    "EX",
    "PX",
    "EXAT",
    "KEEPTTL",
    "IFEQ",
    "BYINT",
    "UBOUND",
    "COUNT",
    "MATCH",
    "*",
    "a*[b-c]?",
    "LEN",
    "AND",
    "NOT",
    "u8",
    "i64",
    "OVERFLOW",
    "SAT",
    "ON",
    "OFF",
    "YES",
    "NO",
    "BCAST",
    "ID",
    "return redis.call('GET', KEYS[1])",
];

/// They end the process, write files, or stand for the operator.
const LEFT_OUT: [&str; 3] = ["shutdown", "debug", "config"];

fn words(random: &mut Random) -> Vec<Vec<u8>> {
    let rows = Table::get().rows();
    let row = rows[random.index(rows.len())];
    let mut words = vec![row.name.as_bytes().to_vec()];
    if LEFT_OUT.contains(&row.name) {
        words[0] = b"set".to_vec();
    } else if !row.subcommands.is_empty() && random.index(8) > 0 {
        words.push(row.subcommands[random.index(row.subcommands.len())].name.as_bytes().to_vec());
    }
    let wanted = (row.arity.unsigned_abs() as usize).saturating_sub(words.len());
    for _ in 0..wanted + random.index(4) * random.index(2) {
        words.push(match random.index(12) {
            0 => vec![b'v'; random.index(200)],
            1 => vec![random.next() as u8; limits::STREAMED_ARGUMENT_MIN_BYTES - 2 + random.index(40_000)],
            2 => (0..random.index(20)).map(|_| random.next() as u8).collect(),
            _ => WORDS[random.index(WORDS.len())].as_bytes().to_vec(),
        });
    }
    words
}

/// A request as it should be, or nearly so.
fn write(random: &mut Random, input: &mut Vec<u8>) {
    let words = words(random);
    let start = input.len();
    if random.index(10) == 0 {
        input.extend(words.join(&b' '));
        input.extend(b"\r\n");
    } else {
        input.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            input.extend(format!("${}\r\n", word.len()).bytes());
            input.extend(word);
            input.extend(b"\r\n");
        }
    }
    if random.index(40) == 0 {
        let at = start + random.index(input.len() - start);
        match random.index(3) {
            0 => input[at] = random.next() as u8,
            1 => drop(input.remove(at)),
            _ => input.insert(at, random.next() as u8),
        }
    }
}

/// How long the first reply is; none if it is not whole.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let line = memchr::memmem::find(bytes, b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    let elements = |count: i64| {
        (0..count.max(0))
            .try_fold(line, |at, _| Some(at + reply_length(&bytes[at..])?))
            .filter(|end| *end <= bytes.len())
    };
    match bytes[0] {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Some(line),
        b'$' | b'=' => match usize::try_from(number()?) {
            Ok(length) => Some(line + length + 2).filter(|end| *end <= bytes.len()),
            Err(_) => Some(line),
        },
        b'*' | b'~' | b'>' => elements(number()?),
        b'%' => elements(2 * number()?),
        other => panic!("{} begins no reply", other.escape_ascii()),
    }
}

/// One connection after the other to the same server, each until it closes or has sent enough.
fn converse(seed: u64, shared: &Arc<Shared>, core: &mut Core) {
    let mut random = Random(seed);
    let client = enter(&shared.clients);
    let mut session = Protocol::Resp.session(client.clone(), shared);
    let mut input = Vec::new();
    (0..1 + random.index(30)).for_each(|_| write(&mut random, &mut input));
    let mut now = 1_000_000 + seed % 1_000 * 1_000;
    let mut replies = Vec::new();
    let mut rest = &input[..];
    let mut next = Next::Receive;
    let mut turns = 0;
    while next != Next::Close && (next != Next::Receive || !rest.is_empty()) {
        turns += 1;
        assert!(turns < 100_000, "it does not get on: {next:?}");
        let cut = if next == Next::Receive { 1 + random.index(limits::IO_BUFFER_BYTES) } else { 0 };
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        let mut guards = shared.keyspace.guards_for(u64::MAX);
        let obstacle = random.index(12);
        match obstacle {
            0 => shared.clients.pause.begin(now + 5, Paused::All, now),
            1 => {
                guards.seal_all().unwrap();
                guards.begin_script();
            }
            _ => {}
        }
        let queued = if obstacle == 2 { 100 << 20 } else { 0 };
        now += 1;
        let mut output = Output::default();
        let turn = clock::Turn { now, begun: clock::tick() };
        // Every other piece is received straight to where it will lie, as far as it belongs there.
        let mut placed = 0;
        if cut % 2 == 0
            && let Some(place) = session.place(core, piece.len())
        {
            placed = place.len();
            place.copy_from_slice(&piece[..placed]);
            session.placed(core, placed);
        }
        next = session.advance(&piece[placed..], core, turn, queued, &mut output);
        let mut pieces = VecDeque::new();
        output.take(&mut pieces);
        pieces.iter().for_each(|piece| replies.extend_from_slice(piece));
        // Its own, too.
        shared.clients.pause.end();
        if obstacle == 1 {
            guards.end_script();
        }
        drop(guards);
        session.sent(core, 0);
    }
    let is_http = replies.starts_with(b"HTTP") || replies.windows(8).any(|window| window == b"HTTP/1.1");
    let mut at = 0;
    while at < replies.len() && !is_http {
        at += reply_length(&replies[at..]).unwrap_or_else(|| panic!("{}", replies[at..].escape_ascii()));
    }
    session.end(core);
    core.tend_scripts();
    assert_eq!(client.held_bytes.load(Relaxed), 0, "what it held is given back");
    assert!(shared.keyspace.guards().lock_all().is_ok());
    shared.clients.leave(&client);
}

/// `KV_CACHE_FUZZ_SECONDS` and `KV_CACHE_FUZZ_SEED`: for how long, and from which seed on.
#[test]
fn arbitrary_bytes_are_answered_or_refused() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let end = Instant::now() + Duration::from_secs(number("KV_CACHE_FUZZ_SECONDS").unwrap_or(15));
    let first = number("KV_CACHE_FUZZ_SEED").unwrap_or(1);
    let (mut seed, mut shared) = (first, server());
    let mut core = Core::new(shared.clone(), 0);
    while Instant::now() < end {
        if seed % 256 == 0 {
            shared = server();
            core = Core::new(shared.clone(), 0);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| converse(seed, &shared, &mut core)));
        assert!(outcome.is_ok(), "to see it again: KV_CACHE_FUZZ_SEED={} (its server begins there)", seed / 256 * 256);
        seed += 1;
    }
    println!("{} connections from seed {first} on", seed - first);
}
