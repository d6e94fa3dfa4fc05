//! Operations are linearizable: for what several connections on several cores saw at the same time, there is an order in which
//! one simple map would have answered the same. Once as the server is by itself, and once with every core keeping copies of
//! all that it reads.

use std::time::Instant;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::client::Client;
use crate::harness::{Engine, Random, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(histories_of_concurrent_operations, histories_with_copies_of_all_that_is_read);

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

/// One key of the cache and the name beside it, in both databases, as a simple program would have them.
struct Register;

/// A number, and whether it has a time of expiry, far away.
type Item = Option<(i64, bool)>;

impl Specification for Register {
    type State = [[Item; 2]; 2];
    type Operation = Done;

    fn init() -> Self::State {
        Self::State::default()
    }

    fn apply((operation, reply): &Done, before: &Self::State) -> (bool, Self::State) {
        let mut after = *before;
        let [[key, other], [away, _]] = &mut after;
        let was = *key;
        let ok = Value::Simple("OK".into());
        let value = |item: Item| item.map_or(Value::Null, |(number, _)| Value::bulk(number.to_string()));
        let flag = |is: bool| Value::Integer(is as i64);
        let expect = match *operation {
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
        (reply.as_ref() == Some(&expect), after)
    }
}

impl Operation {
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
    check_histories(&Server::with(engine, &["--threads=4"]), 0);
}

fn histories_with_copies_of_all_that_is_read(engine: Engine) {
    let server = Server::with(engine, &["--threads=4", "--enable-debug-command=yes"]);
    let mut client = server.client();
    client.check("DEBUG HOT-SAMPLES 0", "+OK\r\n");
    client.check("SET k v", "+OK\r\n");
    wait_until("copies are read", || {
        client.check("GET k", "$1\r\nv\r\n");
        client.info_number("hot_hits") > 0
    });
    let before = client.info_number("hot_hits");
    check_histories(&server, 70);
    assert!(client.info_number("hot_hits") > before + 100);
    assert!(client.info_number("hot_stale") > 10);
}

/// `more_reads`: so many operations in a hundred are reads, and of the others some.
fn check_histories(server: &Server, more_reads: usize) {
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
    for key in 0..KEYS {
        let of_key = events.iter().filter(|event| event.2 == key);
        let actions: Vec<_> = of_key.map(|(_, connection, _, action)| (*connection, action.clone())).collect();
        let operations = actions.len() / 2;
        assert!(is_linearizable(actions), "{operations} operations on key {key} have no order");
    }
}

fn is_linearizable(actions: Vec<(usize, Action<Done>)>) -> bool {
    WGLChecker::<Register>::is_linearizable(History::from_actions(actions))
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
    assert!(is_linearizable(history(Value::bulk("2"))));
    assert!(!is_linearizable(history(Value::bulk("1"))), "2 was seen before");
    assert!(!is_linearizable(history(Value::Null)));
}
