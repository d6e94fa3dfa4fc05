//! A request that is put off, for whatever reason and wherever its arguments lie, runs once, later, as it was: random
//! conversations, cut and held up at random, beside the same ones undisturbed.

use std::collections::VecDeque;

use clap::Parser as _;
use proptest::prelude::*;

use super::*;
use crate::clients;
use crate::command::Table;
use crate::config::Options;
use crate::shared::Plan;
use crate::store::shard::{Expiry, Key, NewValue};

const CORES: usize = 2;
const CAP_BYTES: usize = 24 << 20;
/// What a value would do if its bytes ran as requests.
const SMUGGLED: &[u8] = b"\r\n*1\r\n$8\r\nFLUSHALL\r\n";

/// One connection to a server of two shards, without a socket.
struct Conversation {
    core: Core,
    session: Session,
    now: UnixMillis,
    replies: Vec<u8>,
}

impl Conversation {
    fn begin() -> Conversation {
        let plan = Plan {
            settings: Vec::new(),
            options: Options::try_parse_from(["kv-cache"]).unwrap(),
            password: None,
            cores: CORES,
            max_memory_bytes: CAP_BYTES,
            granted_bytes: 1 << 30,
            maxclients: 10,
            descriptors: 100,
            registered_buffers: 0,
            tcp_port: 0,
        };
        let shared = Arc::new(Shared::new(plan, Table::get().names().len()));
        let client = clients::testing::enter(&shared.clients);
        fill(&shared);
        let session = Session::new(client, &shared);
        let core = Core::new(shared, 0);
        Conversation { core, session, now: 1_000_000, replies: Vec::new() }
    }

    fn advance(&mut self, input: &[u8], queued: usize) -> Next {
        self.now += 1;
        let turn = clock::Turn { now: self.now, begun: clock::tick() };
        let mut reply = Output::default();
        let next = self.session.advance(input, &mut self.core, turn, queued, &mut reply);
        let mut pieces = VecDeque::new();
        reply.take(&mut pieces);
        pieces.iter().for_each(|piece| self.replies.extend_from_slice(piece));
        next
    }

    /// Sends all of it in pieces, each held up by what `plan` says, and returns the replies.
    fn run(mut self, input: &[u8], mut plan: impl FnMut() -> (usize, Obstacle)) -> Vec<u8> {
        let mut rest = input;
        while !rest.is_empty() {
            let (cut, obstacle) = plan();
            let (piece, after) = rest.split_at(cut.clamp(1, limits::IO_BUFFER_BYTES).min(rest.len()));
            rest = after;
            // Every other piece is received straight to where it will lie, as far as it belongs there.
            let placed = if cut % 2 == 0 { self.place(piece) } else { 0 };
            self.meet(&piece[placed..], obstacle);
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
    fn meet(&mut self, piece: &[u8], obstacle: Obstacle) {
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
        while next != Next::Receive {
            assert_ne!(next, Next::Close);
            next = self.advance(b"", 0);
        }
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

/// What a request meets.
#[derive(Clone, Copy, Debug)]
enum Obstacle {
    None,
    /// Replies that nobody has taken.
    Backlog,
    Pause(Paused),
    Script,
}

fn obstacle() -> impl Strategy<Value = Obstacle> {
    prop_oneof![
        Just(Obstacle::None),
        Just(Obstacle::Backlog),
        Just(Obstacle::Pause(Paused::All)),
        Just(Obstacle::Pause(Paused::Writes)),
        Just(Obstacle::Script),
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    (0..4).prop_map(|n| format!("key:{n}").into_bytes())
}

/// From nothing to 1 MiB, most often around the sizes where arguments change where they lie.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let around = |size: usize| size - 3..size + 3;
    let size = prop_oneof![
        4 => 0..200usize,
        2 => around(limits::IO_BUFFER_BYTES),
        4 => around(limits::STREAMED_ARGUMENT_MIN_BYTES),
        2 => 33_000..100_000usize,
        1 => 100_000..(1usize << 20),
    ];
    (size, any::<bool>()).prop_map(|(size, smuggles)| {
        if smuggles { SMUGGLED.iter().copied().cycle().take(size).collect() } else { vec![b'v'; size] }
    })
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = |text: &str| text.as_bytes().to_vec();
    prop_oneof![
        6 => (key(), value()).prop_map(move |(k, v)| vec![word("SET"), k, v]),
        1 => (key(), value()).prop_map(move |(k, v)| vec![word("GETSET"), k, v]),
        1 => (key(), value()).prop_map(move |(k, v)| vec![word("APPEND"), k, v]),
        1 => (key(), value(), key(), value()).prop_map(move |(a, v, b, w)| vec![word("MSET"), a, v, b, w]),
        1 => (key(), value()).prop_map(move |(k, mut v)| {
            // What a script may hold is what connections leave, which differs with what arrives.
            v.truncate(100_000);
            vec![word("EVAL"), word("return redis.call('SET', KEYS[1], ARGV[1])"), word("1"), k, v]
        }),
        1 => value().prop_map(move |v| vec![word("ECHO"), v]),
        2 => key().prop_map(move |k| vec![word("STRLEN"), k]),
        1 => key().prop_map(move |k| vec![word("DEL"), k]),
        1 => key().prop_map(move |k| vec![word("INCR"), k]),
        1 => Just(vec![word("MULTI")]),
        1 => Just(vec![word("EXEC")]),
        1 => value().prop_map(move |v| vec![v]),
    ]
}

/// The requests as bytes, and after them what shows the whole keyspace.
fn encode(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |arguments: &[&[u8]]| {
        bytes.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
        for argument in arguments {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
    };
    for request in requests {
        add(&request.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    add(&[b"DISCARD"]);
    add(&[b"DBSIZE"]);
    for n in 0..4 {
        add(&[b"GET", format!("key:{n}").as_bytes()]);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_put_off_runs_once_and_as_it_was(
        requests in prop::collection::vec(request(), 1..12),
        plan in prop::collection::vec((prop_oneof![1..40usize, 1..limits::IO_BUFFER_BYTES], obstacle()), 1..64),
    ) {
        let input = encode(&requests);
        let undisturbed = Conversation::begin().run(&input, || (usize::MAX, Obstacle::None));
        let mut steps = plan.iter().copied().cycle();
        let mut left = 2_000;
        let disturbed = Conversation::begin().run(&input, || {
            // Tiny pieces of a megabyte would take for ever.
            left = usize::saturating_sub(left, 1);
            let (cut, obstacle) = steps.next().unwrap();
            (if left == 0 { usize::MAX } else { cut }, obstacle)
        });
        prop_assert!(undisturbed == disturbed, "{} and {} bytes of replies", undisturbed.len(), disturbed.len());
    }
}

#[test]
fn a_value_that_waits_for_a_script_is_never_taken_for_requests() {
    for size in [32_767, 32_768, 50_000, 1 << 20] {
        let value: Vec<u8> = SMUGGLED.iter().copied().cycle().take(size).collect();
        let requests = vec![
            vec![b"SET".to_vec(), b"key:0".to_vec(), b"old".to_vec()],
            vec![b"SET".to_vec(), b"key:1".to_vec(), value.clone()],
        ];
        let replies = Conversation::begin().run(&encode(&requests), || (usize::MAX, Obstacle::Script));
        let start = b"+OK\r\n+OK\r\n-ERR DISCARD without MULTI\r\n:2\r\n$3\r\nold\r\n";
        assert!(replies.starts_with(start), "{size}: {}", replies[..start.len().min(replies.len())].escape_ascii());
    }
}
