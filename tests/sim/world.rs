//! The simulated server: cores, their connections, what is on its way to and from each, and the scheduler that decides what
//! happens next.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser as _;
use kv_cache::base::clock::Turn;
use kv_cache::clients::{Client, Paused, Peer};
use kv_cache::command::Table;
use kv_cache::config::{Options, limits};
use kv_cache::message::output::Output;
use kv_cache::protocol::core::Core;
use kv_cache::protocol::front::{Next, Session as _};
use kv_cache::protocol::resp::session::Session;
use kv_cache::shared::{Plan, Shared};

use crate::Random;
use crate::model::{Connection, Model, Request};
use crate::wire;

/// Small enough that replies in waiting meet their bounds.
const CAP_BYTES: usize = 12 << 20;
/// What a script may come to hold comes beside what is lent, for a moment.
const MOMENT_BYTES: u64 = 1 << 20;
const START: u64 = 1_000_000;
/// So often nothing may come of anything before that counts as a request that was lost.
const PATIENCE: usize = 2_000;
/// What a value would do if its bytes ran as requests.
const SMUGGLED: &[u8] = b"\r\n*1\r\n$8\r\nFLUSHALL\r\n";

#[derive(Debug, Default)]
pub struct Totals {
    pub replies: u64,
    pub turns: u64,
    /// Turns that ended with something put off.
    pub put_off: u64,
    pub waited_for_room: u64,
    pub killed: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Totals) {
        self.replies += other.replies;
        self.turns += other.turns;
        self.put_off += other.put_off;
        self.waited_for_room += other.waited_for_room;
        self.killed += other.killed;
    }
}

struct Conversation {
    client: Arc<Client>,
    session: Session,
    core: usize,
    next: Next,
    /// What it still has to send.
    input: VecDeque<u8>,
    /// The requests whose replies have not come, oldest first.
    asked: VecDeque<Request>,
    model: Connection,
    /// Replies that the server has made and the socket not taken.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// What came, and is not a whole reply yet.
    received: Vec<u8>,
    /// How much it reads at a time: a slow one little.
    appetite: usize,
    over: bool,
}

struct World {
    random: Random,
    shared: Arc<Shared>,
    cores: Vec<Core>,
    conversations: Vec<Conversation>,
    model: Model,
    now: u64,
    totals: Totals,
}

/// Plays one seed; panics when something is not as it should be.
pub fn run(random: Random) -> Totals {
    let mut world = World::begin(random);
    let mut idle = 0;
    while world.conversations.iter().any(|conversation| !conversation.over) {
        idle = if world.step() { 0 } else { idle + 1 };
        assert!(idle < PATIENCE, "{}", world.lost());
        world.check_accounts();
    }
    world.end()
}

impl World {
    fn begin(mut random: Random) -> World {
        let cores = 1 + random.below(3);
        let plan = Plan {
            settings: Vec::new(),
            options: Options::try_parse_from(["kv-cache"]).unwrap(),
            password: None,
            users: None,
            cores,
            max_memory_bytes: CAP_BYTES,
            granted_bytes: 1 << 30,
            maxclients: 100,
            descriptors: 100,
            registered_buffers: 0,
            tcp_port: 0,
            http_port: 0,
            memcached_port: 0,
            protobuf_port: 0,
            tls: None,
        };
        let shared = Arc::new(Shared::new(plan, Table::get().names().len()));
        let cores = (0..cores).map(|core| Core::new(shared.clone(), core)).collect();
        let (model, totals) = Default::default();
        let mut world = World { random, shared, cores, conversations: Vec::new(), model, now: START, totals };
        for _ in 0..1 + world.random.below(5) {
            world.connect();
        }
        world
    }

    fn connect(&mut self) {
        let core = self.shared.clients.place(0, |_| true).expect("fewer than maxclients");
        let socket = UnixStream::pair().expect("two descriptors").0.into();
        let client = self.shared.clients.enter(core, socket, Peer::Unix, self.now);
        let asked: VecDeque<Request> = (0..1 + self.random.below(12)).map(|_| self.request()).collect();
        let session = Session::new(client.clone(), &self.shared);
        let conversation = Conversation {
            client,
            session,
            core,
            next: Next::Receive,
            input: asked.iter().flat_map(encode).collect(),
            asked,
            model: Connection::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            received: Vec::new(),
            appetite: [100, 5_000, 1 << 20][self.random.below(3)],
            over: false,
        };
        self.conversations.push(conversation);
    }

    fn request(&mut self) -> Request {
        let random = &mut self.random;
        let mut key = || format!("key:{}", random.below(5)).into_bytes();
        let (one, other) = (key(), key());
        let value = value(random);
        let word = |text: &str| text.as_bytes().to_vec();
        let millis = random.below(500).to_string().into_bytes();
        match random.below(40) {
            0..8 => vec![word("SET"), one, value],
            8..10 => vec![word("SET"), one, value, word("PX"), (1 + random.below(300)).to_string().into_bytes()],
            // Large replies: somebody has to wait for room.
            10 => std::iter::once(word("MGET")).chain(std::iter::repeat_n(one, 4)).collect(),
            11..16 => vec![word("GET"), one],
            16 => vec![word("GETSET"), one, value],
            17 => vec![word("GETDEL"), one],
            18..20 => vec![word("APPEND"), one, value.into_iter().take(2_000).collect()],
            20..22 => vec![word("INCR"), word("counter")],
            22 => vec![word("DEL"), one, other],
            23 => vec![word("PEXPIRE"), one, [b"1".to_vec(), millis].concat()],
            24..26 => vec![word("MGET"), one, other, word("counter"), word("none")],
            26..28 => vec![word("MSET"), one, value, word("counter"), word("7")],
            28 => vec![word("STRLEN"), one],
            29 => vec![word("ECHO"), value],
            30 => vec![word("PING")],
            31..33 => vec![word("MULTI")],
            33..36 => vec![word("EXEC")],
            36 => vec![word("DISCARD")],
            37 => vec![word("WATCH"), one],
            38 => vec![word("EVAL"), word(SCRIPT), word("1"), one, value],
            _ if random.one_in(4) => vec![word("FLUSHALL")],
            _ => vec![word("GET"), one],
        }
    }

    /// Lets one thing happen; false when nothing came of it.
    fn step(&mut self) -> bool {
        match self.random.below(24) {
            0 => {
                self.now += self.random.below(100) as u64;
                false
            }
            1 => {
                let shard = self.random.below(self.cores.len());
                self.shared.tend_shard(shard, self.now);
                self.cores[shard].tend_scripts();
                self.shared.clients.relieve(limits::JANITOR_PERIOD_MS, self.now);
                false
            }
            2 if self.random.one_in(4) => {
                let paused = if self.random.one_in(2) { Paused::All } else { Paused::Writes };
                let until = self.now + self.random.below(200) as u64;
                self.shared.clients.pause.begin(until, paused, self.now);
                false
            }
            3 if self.random.one_in(60) => {
                let victim = self.random.below(self.conversations.len());
                self.kill(victim)
            }
            4..10 => self.read(),
            _ => self.go_on(),
        }
    }

    /// A connection receives a piece, or has its next turn.
    fn go_on(&mut self) -> bool {
        let at = self.random.below(self.conversations.len());
        let conversation = &mut self.conversations[at];
        if conversation.over {
            return false;
        }
        if conversation.client.is_killed() {
            return self.kill(at);
        }
        let waits = conversation.waiting_bytes > limits::IO_BUFFER_BYTES;
        let piece: Vec<u8> = match conversation.next {
            Next::Drain | Next::Close if waits => return false,
            Next::Close => return self.close(at),
            Next::Receive if conversation.input.is_empty() => return self.finish(at),
            Next::Receive => {
                let most = [1 + self.random.below(40), 1 + self.random.below(limits::IO_BUFFER_BYTES)];
                let cut = most[self.random.below(2)].min(conversation.input.len());
                conversation.input.drain(..cut).collect()
            }
            Next::Yield | Next::Rest | Next::Drain | Next::Pause => Vec::new(),
        };
        let has_script = self.random.one_in(40);
        self.turn(at, &piece, has_script) || !piece.is_empty()
    }

    /// One turn of a session, while a script on another core holds everything if so asked. True when a reply came.
    fn turn(&mut self, at: usize, piece: &[u8], has_script: bool) -> bool {
        let World { shared, cores, conversations, totals, now, .. } = self;
        let conversation = &mut conversations[at];
        let mut script = has_script.then(|| shared.keyspace.guards_for(u64::MAX));
        if let Some(guards) = &mut script {
            guards.seal_all().expect("nobody else is there");
            guards.begin_script();
        }
        // No turn ends because it took long: that would not be the same in each run.
        let turn = Turn { now: *now, begun: Instant::now() + Duration::from_secs(3600) };
        let mut output = Output::default();
        let (session, core) = (&mut conversation.session, &mut cores[conversation.core]);
        conversation.next = session.advance(piece, core, turn, conversation.waiting_bytes, &mut output);
        if let Some(guards) = &mut script {
            guards.end_script();
            guards.unseal();
        }
        drop(script);
        totals.turns += 1;
        totals.put_off += matches!(conversation.next, Next::Yield | Next::Rest | Next::Pause) as u64;
        totals.waited_for_room += shared.clients.memory.is_waited_for() as u64;
        conversation.waiting_bytes += output.len();
        let before = conversation.waiting.len();
        output.take(&mut conversation.waiting);
        let new: Vec<u8> = conversation.waiting.iter().skip(before).flatten().copied().collect();
        self.check_replies(at, &new)
    }

    /// What has been replied is what the model says; it was done in this turn.
    fn check_replies(&mut self, at: usize, new: &[u8]) -> bool {
        let conversation = &mut self.conversations[at];
        conversation.received.extend_from_slice(new);
        let mut start = 0;
        while let Some(length) = wire::reply_length(&conversation.received[start..]) {
            let reply = wire::parse(&conversation.received[start..start + length]);
            start += length;
            if matches!(&reply, wire::Value::Error(text) if text.starts_with("OOM requests and replies")) {
                // The server may close a connection that asks for too much; nothing more comes of it.
                assert_eq!(conversation.next, Next::Close);
                conversation.asked.clear();
                break;
            }
            let request = conversation.asked.pop_front().expect("no more replies than requests");
            self.model.check(&mut conversation.model, &request, &reply, self.now);
            self.totals.replies += 1;
        }
        conversation.received.drain(..start);
        start > 0
    }

    /// A client takes some of its replies.
    fn read(&mut self) -> bool {
        let at = self.random.below(self.conversations.len());
        let conversation = &mut self.conversations[at];
        if conversation.over || conversation.waiting_bytes == 0 {
            return false;
        }
        let taken = (1 + self.random.below(conversation.appetite)).min(conversation.waiting_bytes);
        let mut left = taken;
        while left > 0 {
            let front = conversation.waiting.front_mut().expect("as many bytes as it says");
            let step = left.min(front.len());
            drop(front.split_to(step));
            left -= step;
            if front.is_empty() {
                conversation.waiting.pop_front();
            }
        }
        conversation.waiting_bytes -= taken;
        conversation.session.sent(&self.cores[conversation.core], conversation.waiting_bytes);
        true
    }

    /// It has sent all: once everything is answered and read, it leaves.
    fn finish(&mut self, at: usize) -> bool {
        let conversation = &self.conversations[at];
        if conversation.waiting_bytes > 0 {
            return false;
        }
        assert!(conversation.asked.is_empty(), "{} requests have no reply", conversation.asked.len());
        self.close(at)
    }

    fn kill(&mut self, at: usize) -> bool {
        if self.conversations[at].over {
            return false;
        }
        self.totals.killed += 1;
        self.conversations[at].client.kill();
        self.close(at)
    }

    fn close(&mut self, at: usize) -> bool {
        let conversation = &mut self.conversations[at];
        conversation.over = true;
        (conversation.waiting, conversation.waiting_bytes) = (VecDeque::new(), 0);
        conversation.session.end(&self.cores[conversation.core]);
        self.shared.clients.leave(&conversation.client);
        true
    }

    /// What waits is charged, and all charges together keep to their bound.
    fn check_accounts(&self) {
        let memory = &self.shared.clients.memory;
        let charged: usize =
            self.conversations.iter().map(|conversation| conversation.client.held_bytes.load(Relaxed)).sum();
        let (used, limit) = (memory.used_bytes(), memory.limit_bytes() + limits::CLIENT_MEMORY_RESERVE_BYTES);
        assert!(charged <= used, "{charged} bytes are charged, {used} known");
        assert!(used <= limit + self.conversations.len() * limits::LITTLE_REQUEST_BYTES, "{used} of {limit} bytes");
        // What is lent to data has come back where connections use it, but for what they receive in one turn.
        let data = self.shared.keyspace.used_bytes().expect("no script has a shard between two steps");
        let (used, cap) = (self.shared.used_bytes(data), CAP_BYTES as u64);
        let turns = (self.conversations.len() * (limits::IO_BUFFER_BYTES + limits::LITTLE_REQUEST_BYTES)) as u64;
        assert!(used <= cap + turns + MOMENT_BYTES, "{used} bytes are held");
        for conversation in self.conversations.iter().filter(|conversation| !conversation.over) {
            let held = conversation.client.held_bytes.load(Relaxed);
            let free = limits::FREE_REPLY_BYTES + limits::UNASKED_REPLY_BYTES;
            assert!(conversation.waiting_bytes <= held + free, "{} wait, {held} charged", conversation.waiting_bytes);
        }
    }

    fn lost(&self) -> String {
        let open = self.conversations.iter().enumerate().filter(|(_, conversation)| !conversation.over);
        let each = open.map(|(at, conversation)| {
            let Conversation { next, asked, input, waiting_bytes, .. } = conversation;
            let (asked, input) = (asked.len(), input.len());
            format!("connection {at}: {next:?}, {asked} unanswered, {input} bytes unsent, {waiting_bytes} unread")
        });
        format!("nothing goes on: {}", each.collect::<Vec<_>>().join("; "))
    }

    fn end(self) -> Totals {
        // What interpreters and sources hold stays.
        let scripts: usize = self.shared.scripts.running.iter().map(|core| core.charged_bytes.load(Relaxed)).sum();
        let left = self.shared.clients.memory.used_bytes() - scripts;
        assert!(left <= 2 * SCRIPT.len() + 1_000, "{left} bytes are charged to nobody");
        assert_eq!(self.shared.clients.len(), 0);
        self.totals
    }
}

/// Sets a key and replies with what was there.
const SCRIPT: &str = "local old = redis.call('GET', KEYS[1]); redis.call('SET', KEYS[1], ARGV[1]); return old";

/// From nothing to 300 KB, most often around the sizes where arguments change where they lie.
fn value(random: &mut Random) -> Vec<u8> {
    let size = match random.below(12) {
        0..6 => random.below(100),
        6 => limits::IO_BUFFER_BYTES - 3 + random.below(6),
        7..9 => limits::STREAMED_ARGUMENT_MIN_BYTES - 3 + random.below(6),
        9..11 => random.below(60_000),
        _ => random.below(300_000),
    };
    if random.one_in(2) { SMUGGLED.iter().copied().cycle().take(size).collect() } else { vec![b'v'; size] }
}

fn encode(request: &Request) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
