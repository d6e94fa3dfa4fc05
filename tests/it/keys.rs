//! Commands about keys whatever their values are, and about all of them at once.

use crate::harness::{Engine, Server, on_both_engines};
use crate::wire::Value;

on_both_engines!(
    presence,
    flushing_empties_every_core,
    what_one_writes_all_others_see,
    a_half_done_mset_is_never_seen,
    counts_of_several_keys_are_one_step,
);

fn presence(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("MSET a 1 b 2 c 3", "+OK\r\n");
    client.check("EXISTS a", ":1\r\n");
    client.check("EXISTS a b a none", ":3\r\n");
    client.check("TOUCH a none b", ":2\r\n");
    client.check("TYPE a", "+string\r\n");
    client.check("TYPE none", "+none\r\n");
    client.check("DBSIZE", ":3\r\n");
    client.check("DEL a a none", ":1\r\n");
    client.check("UNLINK b c a", ":2\r\n");
    client.check("DBSIZE", ":0\r\n");
    for command in ["DEL", "UNLINK", "EXISTS", "TOUCH", "TYPE"] {
        let name = command.to_ascii_lowercase();
        client.check(command, &format!("-ERR wrong number of arguments for '{name}' command\r\n"));
    }
}

fn flushing_empties_every_core(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    for flush in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "FLUSHDB SYNC"] {
        for n in 0..200 {
            client.call(&["SET", &format!("key:{n}"), "v"]);
        }
        client.check("DBSIZE", ":200\r\n");
        client.check(flush, "+OK\r\n");
        client.check("DBSIZE", ":0\r\n");
        client.check("GET key:7", "$-1\r\n");
    }
    client.check("FLUSHALL NOW", "-ERR syntax error\r\n");
    client.check("FLUSHALL ASYNC SYNC", "-ERR syntax error\r\n");
}

/// Every connection is on another core than its neighbour, and so are the keys.
fn what_one_writes_all_others_see(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    for round in 0..200 {
        let (key, value) = (format!("key:{}", round % 50), format!("value:{round}"));
        let writer = round % 8;
        clients[writer].call(&["SET", &key, &value]);
        for (reader, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.call(&["GET", &key]), Value::bulk(&value), "written by {writer}, read by {reader}");
        }
        if round % 7 == 0 {
            clients[(writer + 1) % 8].call(&["DEL", &key]);
            for client in &mut clients {
                assert_eq!(client.call(&["GET", &key]), Value::Null);
            }
        }
    }
}

/// Writers set 16 keys of several cores to one value; readers must always find all of them alike.
fn a_half_done_mset_is_never_seen(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let keys: Vec<String> = (0..16).map(|n| format!("key:{n}")).collect();
    let mset = |value: &str| {
        let pairs = keys.iter().flat_map(|key| [key.as_str(), value]);
        std::iter::once("MSET").chain(pairs).map(str::to_owned).collect::<Vec<_>>()
    };
    let mget: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    server.client().call(&mset("first"));
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (server, mset) = (&server, &mset);
            scope.spawn(move || {
                let mut client = server.client();
                (0..400).for_each(|n| drop(client.call(&mset(&format!("{writer}:{n}")))));
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..400 {
                    let reply = client.call(&mget);
                    let values = reply.elements();
                    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
                }
            });
        }
    });
}

/// MSET and DEL of the same keys alternate: EXISTS sees all of them or none.
fn counts_of_several_keys_are_one_step(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let keys = "a b c d e f g h";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.client();
            for _ in 0..400 {
                client.check("MSET a 1 b 1 c 1 d 1 e 1 f 1 g 1 h 1", "+OK\r\n");
                client.check(&format!("DEL {keys}"), ":8\r\n");
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = server.client();
                let words: Vec<&str> = ["EXISTS"].into_iter().chain(keys.split(' ')).collect();
                for _ in 0..400 {
                    let count = client.call(&words).integer();
                    assert!(count == 0 || count == 8, "{count} of 8 keys");
                }
            });
        }
    });
}
