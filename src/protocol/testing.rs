//! Conversations for tests: a session of any protocol, without a socket, cut and held up as a test likes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use clap::Parser as _;
use proptest::prelude::*;

use super::core::Core;
use super::front::{Next, Protocol, Session};
use crate::base::clock::{self, Turn, UnixMillis};
use crate::base::testing::Random;
use crate::clients::Paused;
use crate::clients::testing::enter;
use crate::command::Table;
use crate::config::{Options, limits};
use crate::message::output::Output;
use crate::shared::{Plan, Shared};
use crate::store::shard::{Expiry, Key, NewValue};

const CORES: usize = 2;
const CAP_BYTES: usize = 24 << 20;

/// One connection to a server of two shards, without a socket.
pub struct Conversation {
    pub core: Core,
    session: Box<dyn Session>,
    now: UnixMillis,
    /// How much time passes from turn to turn.
    step: UnixMillis,
    pub replies: Vec<u8>,
}

/// A server of two shards, without sockets.
pub fn server() -> Arc<Shared> {
    let plan = Plan {
        settings: Vec::new(),
        options: Options::try_parse_from(["kv-cache"]).unwrap(),
        password: None,
        users: None,
        cores: CORES,
        max_memory_bytes: CAP_BYTES,
        granted_bytes: 1 << 30,
        maxclients: 10,
        descriptors: 100,
        registered_buffers: 0,
        tcp_port: 0,
        http_port: 0,
        memcached_port: 0,
        protobuf_port: 0,
        tls: None,
    };
    Arc::new(Shared::new(plan, Table::get().names().len()))
}

impl Conversation {
    /// With a full cache.
    pub fn begin(protocol: Protocol) -> Conversation {
        let conversation = Conversation::with_empty_cache(protocol);
        fill(&conversation.core.shared);
        conversation
    }

    pub fn with_empty_cache(protocol: Protocol) -> Conversation {
        Conversation::with(server(), protocol)
    }

    pub fn with(shared: Arc<Shared>, protocol: Protocol) -> Conversation {
        let client = enter(&shared.clients);
        let session = protocol.session(client, &shared);
        Conversation::over(session, shared)
    }

    pub fn over(session: Box<dyn Session>, shared: Arc<Shared>) -> Conversation {
        let core = Core::new(shared, 0);
        Conversation { core, session, now: 1_000_000, step: 1, replies: Vec::new() }
    }

    pub fn advance(&mut self, input: &[u8], queued: usize) -> Next {
        self.now += self.step;
        let turn = Turn { now: self.now, begun: clock::tick() };
        let mut reply = Output::default();
        let next = self.session.advance(input, &mut self.core, turn, queued, &mut reply);
        let mut pieces = VecDeque::new();
        reply.take(&mut pieces);
        pieces.iter().for_each(|piece| self.replies.extend_from_slice(piece));
        if next != Next::Close && queued == 0 {
            // They are taken at once: what they held comes back.
            self.session.sent(&self.core, 0);
        }
        next
    }

    /// Sends all of it in pieces, each held up by what `plan` says, until the connection is closed. Returns the replies.
    pub fn run(mut self, input: &[u8], mut plan: impl FnMut() -> (usize, Obstacle)) -> Vec<u8> {
        let mut rest = input;
        while !rest.is_empty() {
            let (cut, obstacle) = plan();
            let (piece, after) = rest.split_at(cut.clamp(1, limits::IO_BUFFER_BYTES).min(rest.len()));
            rest = after;
            // Every other piece is received straight to where it will lie, as far as it belongs there.
            let placed = if cut % 2 == 0 { self.place(piece) } else { 0 };
            if self.meet(&piece[placed..], obstacle) == Next::Close {
                break;
            }
        }
        self.replies
    }

    fn place(&mut self, piece: &[u8]) -> usize {
        let Some(place) = self.session.place(&self.core, piece.len()) else { return 0 };
        let placed = place.len();
        place.copy_from_slice(&piece[..placed]);
        self.session.placed(&self.core, placed);
        placed
    }

    /// Takes a piece in while something is in its way, and goes on without that until more input is wanted.
    fn meet(&mut self, piece: &[u8], obstacle: Obstacle) -> Next {
        let shared = self.core.shared.clone();
        let mut next = match obstacle {
            Obstacle::None => self.advance(piece, 0),
            Obstacle::Backlog => self.advance(piece, 2 * shared.settings.output_limit_bytes.load(Relaxed)),
            Obstacle::Pause(paused) => {
                shared.clients.pause.begin(self.now + 100, paused, self.now);
                let next = self.advance(piece, 0);
                shared.clients.pause.end();
                next
            }
            Obstacle::Script => {
                // A script of another connection holds both shards.
                let mut guards = shared.keyspace.guards_for(u64::MAX);
                guards.seal_all().unwrap();
                guards.begin_script();
                let next = self.advance(piece, 0);
                guards.end_script();
                next
            }
        };
        while !matches!(next, Next::Receive | Next::Close) {
            next = self.advance(b"", 0);
        }
        next
    }
}

/// Fills the cache with what is evicted first, from another database: a large value must wait for room.
fn fill(shared: &Shared) {
    let mut guards = shared.keyspace.guards();
    for n in 0.. {
        let bytes = format!("other:{n}").into_bytes();
        let key = Key { bytes: &bytes, hash: shared.keyspace.hash(&bytes), db: 1 };
        guards.lock(key.hash).unwrap().set(key, NewValue::Copied(&[b'o'; 4_000]), Expiry::Never, 1).unwrap();
        if n % 100 == 0 && guards.lock_all().unwrap().totals().evicted > 0 {
            return;
        }
    }
}

/// Random sequences of `words` and of bytes, each in pieces beside the same at once, while time stands still: what is
/// `comparable` of the replies must be the same. For `KV_CACHE_FUZZ_SECONDS`, from `KV_CACHE_FUZZ_SEED` on.
pub fn fuzz<T: PartialEq>(protocol: Protocol, words: &[&[u8]], comparable: impl Fn(&[u8]) -> T) {
    for_seeds(protocol.name(), |random| {
        let mut input = Vec::new();
        for _ in 0..random.index(200) {
            match random.index(32) {
                0 => input.push(random.next() as u8),
                _ => input.extend_from_slice(words[random.index(words.len())]),
            }
        }
        let run = |plan: &mut dyn FnMut() -> (usize, Obstacle)| {
            let conversation = Conversation { step: 0, ..Conversation::with_empty_cache(protocol) };
            comparable(&conversation.run(&input, plan))
        };
        let whole = run(&mut || (usize::MAX, Obstacle::None));
        let cut = run(&mut || (1 + random.index(20), Obstacle::None));
        assert!(whole == cut, "{}", input.escape_ascii());
    });
}

/// Has `part` done with one seed after the other, for as long as is asked for.
pub fn for_seeds(name: &str, mut part: impl FnMut(&mut Random)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let end = Instant::now() + Duration::from_secs(number("KV_CACHE_FUZZ_SECONDS").unwrap_or(0));
    let first = number("KV_CACHE_FUZZ_SEED").unwrap_or(1);
    let mut seed = first;
    while seed < first + 200 || Instant::now() < end {
        let outcome = catch_unwind(AssertUnwindSafe(|| part(&mut Random(seed))));
        assert!(outcome.is_ok(), "to see it again: KV_CACHE_FUZZ_SEED={seed}");
        seed += 1;
    }
    println!("{name}: {} conversations from seed {first} on", seed - first);
}

/// What a request meets.
#[derive(Clone, Copy, Debug)]
pub enum Obstacle {
    None,
    /// Replies that nobody has taken.
    Backlog,
    Pause(Paused),
    Script,
}

/// Cuts and obstacles as planned, again and again.
pub fn in_turn(plan: &[(usize, Obstacle)]) -> impl FnMut() -> (usize, Obstacle) {
    let mut steps = plan.iter().copied().cycle();
    let mut left = 2_000;
    move || {
        // Tiny pieces of a megabyte would take for ever.
        left = usize::saturating_sub(left, 1);
        let (cut, obstacle) = steps.next().unwrap();
        (if left == 0 { usize::MAX } else { cut }, obstacle)
    }
}

pub fn obstacle() -> impl Strategy<Value = Obstacle> {
    prop_oneof![
        Just(Obstacle::None),
        Just(Obstacle::Backlog),
        Just(Obstacle::Pause(Paused::All)),
        Just(Obstacle::Pause(Paused::Writes)),
        Just(Obstacle::Script),
    ]
}
