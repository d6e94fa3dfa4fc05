//! Single-key operations are linearizable: for what several connections on several cores saw at the same time, there
//! is an order in which one simple map would have answered the same.

use std::time::Instant;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::client::Client;
use crate::harness::{Engine, Random, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(histories_of_concurrent_operations);

const CONNECTIONS: usize = 8;
const ROUNDS: usize = 400;
const KEYS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Get,
    Set(i64),
    SetIfAbsent(i64),
    SetAndGet(i64),
    GetAndDelete,
    Delete,
    Increment(i64),
    Exists,
}

/// An operation and its reply; `None` when it is called.
type Done = (Operation, Option<Value>);

/// One key of the cache, as a simple program would have it.
struct Register;

impl Specification for Register {
    type State = Option<i64>;
    type Operation = Done;

    fn init() -> Option<i64> {
        None
    }

    fn apply((operation, reply): &Done, state: &Option<i64>) -> (bool, Option<i64>) {
        let ok = || Value::Simple("OK".into());
        let value = |state: &Option<i64>| state.map_or(Value::Null, |number| Value::bulk(number.to_string()));
        let (expect, next) = match *operation {
            Operation::Get => (value(state), *state),
            Operation::Set(number) => (ok(), Some(number)),
            Operation::SetIfAbsent(number) if state.is_none() => (ok(), Some(number)),
            Operation::SetIfAbsent(_) => (Value::Null, *state),
            Operation::SetAndGet(number) => (value(state), Some(number)),
            Operation::GetAndDelete => (value(state), None),
            Operation::Delete => (Value::Integer(state.is_some() as i64), None),
            Operation::Increment(by) => {
                let next = state.unwrap_or(0) + by;
                (Value::Integer(next), Some(next))
            }
            Operation::Exists => (Value::Integer(state.is_some() as i64), *state),
        };
        (reply.as_ref() == Some(&expect), next)
    }
}

impl Operation {
    /// One of them, by a number below 12. Every number that is set is set once only.
    fn pick(random: usize, unique: i64) -> Operation {
        match random {
            0..4 => Operation::Get,
            4 => Operation::Set(unique),
            5 => Operation::SetIfAbsent(unique),
            6 => Operation::SetAndGet(unique),
            7 => Operation::GetAndDelete,
            8 => Operation::Delete,
            9 => Operation::Exists,
            _ => Operation::Increment(unique),
        }
    }

    fn run(self, client: &mut Client, key: &str) -> Value {
        match self {
            Operation::Get => client.call(&["GET", key]),
            Operation::Set(number) => client.call(&["SET", key, &number.to_string()]),
            Operation::SetIfAbsent(number) => client.call(&["SET", key, &number.to_string(), "NX"]),
            Operation::SetAndGet(number) => client.call(&["SET", key, &number.to_string(), "GET"]),
            Operation::GetAndDelete => client.call(&["GETDEL", key]),
            Operation::Delete => client.call(&["DEL", key]),
            Operation::Increment(by) => client.call(&["INCRBY", key, &by.to_string()]),
            Operation::Exists => client.call(&["EXISTS", key]),
        }
    }
}

/// A call or a response: when, by which connection, on which key.
type Event = (Instant, usize, usize, Action<Done>);

fn histories_of_concurrent_operations(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let record = |connection: usize| {
        let mut client = server.client();
        let mut events: Vec<Event> = Vec::new();
        let mut random = Random::new(connection as u64);
        for round in 0..ROUNDS {
            let key = random.below(KEYS);
            let operation = Operation::pick(random.below(12), (round * CONNECTIONS + connection + 1) as i64);
            let called = Instant::now();
            let reply = operation.run(&mut client, &format!("key:{key}"));
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
        assert!(is_linearizable(actions), "{operations} operations on key:{key} have no order");
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
