//! Scripts that run for long, or for good: they keep nobody else, and can be ended.

use crate::client::{Client, request};
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::scripting::{eval, expect_error, words};
use crate::wire::Value;

on_every_driver!(
    a_long_script_leaves_others_alone,
    what_waits_for_a_script_runs_as_it_was,
    who_leaves_does_not_wait_for_a_script,
    a_core_that_is_alone_can_be_freed,
    a_script_that_has_written_is_not_killed,
    shutdown_ends_a_script,
);

pub const FOREVER: &str = "while true do end";

/// A connection on another core than `client`.
pub fn elsewhere(server: &Server, client: &mut Client) -> Client {
    let core = |client: &mut Client| {
        let line = client.call(&["CLIENT", "INFO"]).text();
        line.split(' ').find(|field| field.starts_with("core=")).expect("CLIENT INFO names the core").trim().to_owned()
    };
    let own = core(client);
    let mut here = Vec::new();
    loop {
        let mut other = server.client();
        if core(&mut other) != own {
            return other;
        }
        here.push(other);
    }
}

fn start(client: &mut Client, source: &str, key: &str) {
    client.send(request(&words("EVAL", source, &[key], &[])));
}

/// Starts a script that never ends and waits until it has the processor: a connection that comes before it would wait
/// with its core.
pub fn start_and_wait(server: &Server, client: &mut Client, source: &str) {
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("the server runs");
        stat.rsplit(')').next().unwrap().split_whitespace().nth(11).unwrap().parse().unwrap()
    };
    let before = ticks();
    start(client, source, "k");
    wait_until("the script runs", || ticks() > before + 5);
}

pub fn is_busy(value: &Value) -> bool {
    matches!(value, Value::Error(text) if text == "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")
}

fn a_long_script_leaves_others_alone(engine: Engine) {
    let server = Server::with(engine, &["--busy-reply-threshold=50"]);
    let mut client = server.client();
    let mut other = elsewhere(&server, &mut client);
    for source in [FOREVER, "while true do pcall(function() while true do redis.call('get', KEYS[1]) end end) end"] {
        start(&mut client, source, "k");
        wait_until("the key is busy", || is_busy(&other.call(&["GET", "k"])));
        // A batch that needs it in its middle, a transaction, another script: all are told.
        let keys: Vec<String> = (0..64).map(|n| format!("key:{n}")).collect();
        let outcomes: Vec<Value> = keys.iter().map(|key| other.call(&["SET", key, "v"])).collect();
        let (busy, fine): (Vec<_>, Vec<_>) = outcomes.iter().partition(|value| is_busy(value));
        assert!(!busy.is_empty() && !fine.is_empty(), "{} busy, {} fine", busy.len(), fine.len());
        assert!(fine.iter().all(|value| **value == Value::Simple("OK".into())));
        assert!(is_busy(&other.call(&["MGET", "k", "key:1", "key:2"])));
        assert!(is_busy(&other.call(&["DBSIZE"])));
        assert!(is_busy(&eval(&mut other, "return 1", &["k"], &[])));
        other.check("MULTI", "+OK\r\n");
        other.check("GET k", "+QUEUED\r\n");
        assert!(is_busy(&other.call(&["EXEC"])));
        other.check("DISCARD", "+OK\r\n");
        other.check("PING", "+PONG\r\n");
        // Whoever comes now comes to a core that is free.
        let mut newcomers: Vec<Client> = (0..8).map(|_| server.client()).collect();
        newcomers.iter_mut().for_each(|newcomer| newcomer.check("PING", "+PONG\r\n"));
        other.check("SCRIPT KILL", "+OK\r\n");
        expect_error(client.value(), "ERR Script killed by user with SCRIPT KILL... script: ");
        other.check("SET k v", "+OK\r\n");
        client.check("GET k", "$1\r\nv\r\n");
        other.check("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.\r\n");
    }
}

fn what_waits_for_a_script_runs_as_it_was(engine: Engine) {
    let server = Server::with(engine, &["--busy-reply-threshold=0"]);
    let mut client = server.client();
    let mut other = elsewhere(&server, &mut client);
    let mut watcher = elsewhere(&server, &mut client);
    other.check("SET survivor v", "+OK\r\n");
    let Value::Integer(id) = other.call(&["CLIENT", "ID"]) else { panic!("an id is a number") };
    // Around the size from which an argument is received apart, and far above what one receive brings.
    for size in [32_767, 32_768, 50_000, 1_000_000] {
        start_and_wait(&server, &mut client, FOREVER);
        let value = b"\r\n*1\r\n$8\r\nFLUSHALL\r\n".repeat(size / 20 + 1)[..size].to_vec();
        other.send([request(&[b"SET".as_slice(), b"k", &value]), request(&["ECHO", "after"])].concat());
        wait_until("the request has come in", || {
            let line = watcher.call(&["CLIENT", "LIST", "ID", &id.to_string()]).text();
            let held = line.split(' ').find_map(|field| field.strip_prefix("qbuf="));
            held.expect("CLIENT LIST tells it").parse::<usize>().unwrap() >= size
        });
        watcher.check("SCRIPT KILL", "+OK\r\n");
        expect_error(client.value(), "ERR Script killed by user with SCRIPT KILL... script: ");
        other.expect("+OK\r\n$5\r\nafter\r\n");
        assert!(other.call(&["GET", "k"]) == Value::Bulk(value), "{size}");
        other.check("GET survivor", "$1\r\nv\r\n");
    }
}

fn who_leaves_does_not_wait_for_a_script(engine: Engine) {
    let server = Server::with(engine, &["--busy-reply-threshold=0"]);
    let mut client = server.client();
    let [mut unwatches, mut resets, mut leaves, mut tracks] = [0; 4].map(|_| elsewhere(&server, &mut client));
    for watcher in [&mut unwatches, &mut resets, &mut leaves] {
        watcher.check("WATCH k", "+OK\r\n");
    }
    tracks.check("CLIENT TRACKING ON BCAST", "+OK\r\n");
    start_and_wait(&server, &mut client, FOREVER);
    unwatches.check("UNWATCH", "+OK\r\n");
    resets.check("RESET", "+RESET\r\n");
    tracks.check("CLIENT TRACKING OFF", "+OK\r\n");
    drop(leaves);
    // The core of those goes on, and what they had watched is forgotten when the shard is free.
    tracks.check("PING", "+PONG\r\n");
    unwatches.check("MULTI", "+OK\r\n");
    tracks.check("SCRIPT KILL", "+OK\r\n");
    expect_error(client.value(), "ERR Script killed by user with SCRIPT KILL... script: ");
    client.check("SET k v", "+OK\r\n");
    unwatches.check("GET k", "+QUEUED\r\n");
    unwatches.check("EXEC", "*1\r\n$1\r\nv\r\n");
}

fn a_core_that_is_alone_can_be_freed(engine: Engine) {
    let server = Server::with(engine, &["--threads=1"]);
    let mut client = server.client();
    client.check("CONFIG SET lua-time-limit 20", "+OK\r\n");
    client.check("CONFIG GET busy-reply-threshold", "*2\r\n$20\r\nbusy-reply-threshold\r\n$2\r\n20\r\n");
    start_and_wait(&server, &mut client, FOREVER);
    let mut other = server.client();
    assert!(is_busy(&other.call(&["PING"])));
    assert!(other.call(&["HELLO", "3"]).field("proto") == Value::Integer(3));
    assert!(is_busy(&other.call(&["SCRIPT", "LOAD", "return 1"])));
    let mut third = server.client();
    assert!(is_busy(&third.call(&["GET", "k"])));
    third.check("SCRIPT KILL", "+OK\r\n");
    expect_error(client.value(), "ERR Script killed by user with SCRIPT KILL... script: ");
    // They go on as they are.
    other.check("GET k", "_\r\n");
    third.check("GET k", "$-1\r\n");
    third.check("SET k v", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
}

fn a_script_that_has_written_is_not_killed(engine: Engine) {
    let server = Server::with(engine, &["--busy-reply-threshold=20"]);
    let mut client = server.client();
    let mut other = elsewhere(&server, &mut client);
    let write_and_wait = "redis.call('set', KEYS[1], 'v') \
                          local start = redis.call('time') \
                          while redis.call('time')[1] - start[1] < 3 do end return 'done'";
    start(&mut client, write_and_wait, "k");
    wait_until("the key is busy", || is_busy(&other.call(&["GET", "k"])));
    other
        .check_error("SCRIPT KILL", "UNKILLABLE Sorry the script already executed write commands against the dataset.");
    assert_eq!(client.value().text(), "done");
    other.check("GET k", "$1\r\nv\r\n");
}

fn shutdown_ends_a_script(engine: Engine) {
    let mut server = Server::with(engine, &["--threads=1", "--busy-reply-threshold=20"]);
    let mut client = server.client();
    start_and_wait(&server, &mut client, "redis.call('set', KEYS[1], 'v') while true do end");
    let mut other = server.client();
    assert!(is_busy(&other.call(&["PING"])));
    other.check_error("SCRIPT KILL", "UNKILLABLE");
    other.send(request(&["SHUTDOWN", "NOSAVE"]));
    assert!(server.wait().success());
}
