//! Operations are linearizable: for what several connections on several cores saw at the same time, there is an order in which
//! one simple map would have answered the same. Once as the server is by itself, once with every core keeping copies of all
//! that it reads, and once with such copies while the keys are evicted at any time.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::client::{Client, patterned, request};
use crate::harness::{Engine, Random, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    histories_of_concurrent_operations,
    histories_with_copies_of_all_that_is_read,
    histories_with_copies_of_what_is_evicted,
);

const CONNECTIONS: usize = 8;
const ROUNDS: usize = 400;
/// Each is looked at by itself: it lies in two databases of its own, and has another name beside it there.
const KEYS: usize = 4;
const NAMES: [&str; 2] = ["key", "other"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Get,
    GetOther,
    Set(i64),
    SetIfAbsent(i64),
    SetAndGet(i64),
    SetBoth(i64),
    GetAndDelete,
    Delete,
    Increment(i64),
    Exists,
    ExpireAtOnce,
    ExpireLater,
    Persist,
    Rename,
    Move,
    Flush,
    Swap,
}

/// An operation and its reply; `None` when it is called.
type Done = (Operation, Option<Value>);

/// A number, and whether it has a time of expiry, far away.
type Item = Option<(i64, bool)>;

/// One key of the cache and the name beside it, in both databases.
type State = [[Item; 2]; 2];

/// As a simple program would have them.
struct Register;

impl Specification for Register {
    type State = State;
    type Operation = Done;

    fn init() -> State {
        State::default()
    }

    fn apply((operation, reply): &Done, before: &State) -> (bool, State) {
        let (expect, after) = operation.done(before);
        (reply.as_ref() == Some(&expect), after)
    }
}

/// The same, of which any may be gone at any time. That shows in a reply, and when it does not it may as well go later.
struct EvictingRegister;

impl Specification for EvictingRegister {
    type State = State;
    type Operation = Done;

    fn init() -> State {
        State::default()
    }

    fn apply((operation, reply): &Done, before: &State) -> (bool, State) {
        let mut evictions: Vec<u32> = (0..1 << before.as_flattened().len()).collect();
        evictions.sort_by_key(|evicted| evicted.count_ones());
        let tries = evictions.into_iter().map(|evicted| {
            let mut left = *before;
            for (number, item) in left.as_flattened_mut().iter_mut().enumerate() {
                *item = item.filter(|_| evicted & 1 << number == 0);
            }
            operation.done(&left)
        });
        let seen = tries.into_iter().find(|(expect, _)| reply.as_ref() == Some(expect));
        seen.map_or((false, *before), |(_, after)| (true, after))
    }
}

impl Operation {
    /// The reply, and what is there afterwards.
    fn done(self, before: &State) -> (Value, State) {
        let mut after = *before;
        let [[key, other], [away, _]] = &mut after;
        let was = *key;
        let ok = Value::Simple("OK".into());
        let value = |item: Item| item.map_or(Value::Null, |(number, _)| Value::bulk(number.to_string()));
        let flag = |is: bool| Value::Integer(is as i64);
        let expect = match self {
            Operation::Get => value(was),
            Operation::GetOther => value(*other),
            Operation::Set(number) => {
                *key = Some((number, false));
                ok
            }
            Operation::SetIfAbsent(number) if was.is_none() => {
                *key = Some((number, false));
                ok
            }
            Operation::SetIfAbsent(_) => Value::Null,
            Operation::SetAndGet(number) => {
                *key = Some((number, false));
                value(was)
            }
            Operation::SetBoth(number) => {
                (*key, *other) = (Some((number, false)), Some((number, false)));
                ok
            }
            Operation::GetAndDelete => value(key.take()),
            Operation::Delete | Operation::ExpireAtOnce => flag(key.take().is_some()),
            Operation::Increment(by) => {
                let (number, expires) = was.unwrap_or_default();
                *key = Some((number + by, expires));
                Value::Integer(number + by)
            }
            Operation::Exists => flag(was.is_some()),
            Operation::ExpireLater => {
                *key = was.map(|(number, _)| (number, true));
                flag(was.is_some())
            }
            Operation::Persist => {
                *key = was.map(|(number, _)| (number, false));
                flag(was.is_some_and(|(_, expires)| expires))
            }
            Operation::Rename => match key.take() {
                Some(item) => {
                    *other = Some(item);
                    ok
                }
                None => Value::Error("ERR no such key".into()),
            },
            Operation::Move if away.is_none() => {
                *away = key.take();
                flag(away.is_some())
            }
            Operation::Move => flag(false),
            Operation::Flush => {
                after[0] = Default::default();
                ok
            }
            Operation::Swap => {
                after.swap(0, 1);
                ok
            }
        };
        (expect, after)
    }

    /// One of them, by a number below 32. Every number that is set is set once only.
    fn pick(random: usize, unique: i64) -> Operation {
        match random {
            0..10 => Operation::Get,
            10..12 => Operation::GetOther,
            12..14 => Operation::Set(unique),
            14 => Operation::SetIfAbsent(unique),
            15 => Operation::SetAndGet(unique),
            16 => Operation::SetBoth(unique),
            17 => Operation::GetAndDelete,
            18 => Operation::Delete,
            19 => Operation::Exists,
            20 => Operation::ExpireAtOnce,
            21 => Operation::ExpireLater,
            22 => Operation::Persist,
            23 => Operation::Rename,
            24 => Operation::Move,
            25 => Operation::Flush,
            26 => Operation::Swap,
            _ => Operation::Increment(unique),
        }
    }

    fn run(self, client: &mut Client, number: usize) -> Value {
        let [key, other] = NAMES;
        let (db, away) = (number.to_string(), (number + KEYS).to_string());
        match self {
            Operation::Get => client.call(&["GET", key]),
            Operation::GetOther => client.call(&["GET", other]),
            Operation::Set(number) => client.call(&["SET", key, &number.to_string()]),
            Operation::SetIfAbsent(number) => client.call(&["SET", key, &number.to_string(), "NX"]),
            Operation::SetAndGet(number) => client.call(&["SET", key, &number.to_string(), "GET"]),
            Operation::SetBoth(number) => client.call(&["MSET", key, &number.to_string(), other, &number.to_string()]),
            Operation::GetAndDelete => client.call(&["GETDEL", key]),
            Operation::Delete => client.call(&["DEL", key]),
            Operation::Increment(by) => client.call(&["INCRBY", key, &by.to_string()]),
            Operation::Exists => client.call(&["EXISTS", key]),
            Operation::ExpireAtOnce => client.call(&["PEXPIRE", key, "0"]),
            Operation::ExpireLater => client.call(&["EXPIRE", key, "1000"]),
            Operation::Persist => client.call(&["PERSIST", key]),
            Operation::Rename => client.call(&["RENAME", key, other]),
            Operation::Move => client.call(&["MOVE", key, &away]),
            Operation::Flush => client.call(&["FLUSHDB"]),
            Operation::Swap => client.call(&["SWAPDB", &db, &away]),
        }
    }
}

/// A call or a response: when, by which connection, on which key.
type Event = (Instant, usize, usize, Action<Done>);

fn histories_of_concurrent_operations(engine: Engine) {
    let histories = record_histories(&Server::with(engine, &["--threads=4"]), 0);
    histories.iter().for_each(expect_order::<Register>);
}

fn histories_with_copies_of_all_that_is_read(engine: Engine) {
    let server = with_copies_of_all(engine, &[]);
    let before = server.client().info_number("hot_hits");
    let histories = record_histories(&server, 70);
    histories.iter().for_each(expect_order::<Register>);
    assert!(server.client().info_number("hot_hits") > before + 100);
    assert!(server.client().info_number("hot_stale") > 10);
}

fn histories_with_copies_of_what_is_evicted(engine: Engine) {
    let server =
        with_copies_of_all(engine, &["--maxmemory=32mb", "--maxmemory-policy=allkeys-random", "--hot-cache=1mb"]);
    let done = AtomicBool::new(false);
    let histories = std::thread::scope(|scope| {
        // So large that the keys are a good part of what there is to draw from.
        scope.spawn(|| {
            let mut client = server.client();
            let value = patterned(200_000, 1);
            for number in 0.. {
                client.send(request(&[b"SET".as_slice(), format!("large:{number}").as_bytes(), &value]));
                client.expect("+OK\r\n");
                if done.load(Relaxed) {
                    break;
                }
            }
        });
        let mut client = server.client();
        wait_until("items are evicted", || client.info_number("evicted_keys") > 100);
        let histories = record_histories(&server, 70);
        done.store(true, Relaxed);
        histories
    });
    histories.iter().for_each(expect_order::<EvictingRegister>);
    assert!(histories.iter().any(|history| !is_linearizable::<Register>(history)), "no key was evicted");
    assert!(server.client().info_number("hot_stale") > 10);
}

/// A server of which each core copies whatever it reads.
fn with_copies_of_all(engine: Engine, options: &[&str]) -> Server {
    let server = Server::with(engine, &[&["--threads=4", "--enable-debug-command=yes"], options].concat());
    let mut client = server.client();
    client.check("DEBUG HOT-SAMPLES 0", "+OK\r\n");
    client.check("SET k v", "+OK\r\n");
    wait_until("copies are read", || {
        client.check("GET k", "$1\r\nv\r\n");
        client.info_number("hot_hits") > 0
    });
    server
}

/// What each connection did to each key, and what it was replied.
type KeyHistory = Vec<(usize, Action<Done>)>;

/// A history of each key. `more_reads`: so many operations in a hundred are reads, and of the others some.
fn record_histories(server: &Server, more_reads: usize) -> Vec<KeyHistory> {
    let record = |connection: usize| {
        let mut client = server.client();
        let mut events: Vec<Event> = Vec::new();
        let mut random = Random::new(connection as u64);
        for round in 0..ROUNDS {
            let key = random.below(KEYS);
            let which = if random.below(100) < more_reads { 0 } else { random.below(32) };
            let operation = Operation::pick(which, (round * CONNECTIONS + connection + 1) as i64);
            client.call(&["SELECT", &key.to_string()]);
            let called = Instant::now();
            let reply = operation.run(&mut client, key);
            events.push((called, connection, key, Action::Call((operation, None))));
            events.push((Instant::now(), connection, key, Action::Response((operation, Some(reply)))));
        }
        events
    };
    let mut events: Vec<Event> = std::thread::scope(|scope| {
        let record = &record;
        let recording: Vec<_> = (0..CONNECTIONS).map(|connection| scope.spawn(move || record(connection))).collect();
        recording.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    // What has the same time counts as concurrent: calls come first.
    events.sort_by_key(|(at, .., action)| (*at, matches!(action, Action::Response(_))));
    let of_key = |key| {
        let events = events.iter().filter(move |event| event.2 == key);
        events.map(|(_, connection, _, action)| (*connection, action.clone())).collect()
    };
    (0..KEYS).map(of_key).collect()
}

fn expect_order<S: Specification<Operation = Done>>(history: &KeyHistory) {
    assert!(is_linearizable::<S>(history), "{} operations have no order", history.len() / 2);
}

fn is_linearizable<S: Specification<Operation = Done>>(history: &KeyHistory) -> bool {
    WGLChecker::<S>::is_linearizable(History::from_actions(history.clone()))
}

/// The checker finds what it is there to find.
#[test]
fn a_stale_read_has_no_order() {
    let call = |operation| Action::Call((operation, None));
    let response = |operation, reply| Action::Response((operation, Some(reply)));
    let history = |seen: Value| {
        vec![
            (0, call(Operation::Set(1))),
            (0, response(Operation::Set(1), Value::Simple("OK".into()))),
            (0, call(Operation::Set(2))),
            (1, call(Operation::Get)),
            (1, response(Operation::Get, Value::bulk("2"))),
            (2, call(Operation::Get)),
            (2, response(Operation::Get, seen)),
            (0, response(Operation::Set(2), Value::Simple("OK".into()))),
        ]
    };
    for is_ordered in [is_linearizable::<Register>, is_linearizable::<EvictingRegister>] {
        assert!(is_ordered(&history(Value::bulk("2"))));
        assert!(!is_ordered(&history(Value::bulk("1"))), "2 was seen before");
    }
    // Unless it may have been evicted.
    assert!(!is_linearizable::<Register>(&history(Value::Null)));
    assert!(is_linearizable::<EvictingRegister>(&history(Value::Null)));
}
