//! The bounds: what happens at each, and that the connection or the server goes on as `limits.rs` says.

use std::process::Command;

use kv_cache::config::limits;

use crate::client::{patterned, request};
use crate::harness::{self, Engine, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    arguments,
    requests_of_very_many_arguments,
    many_watched_keys_and_prefixes,
    inline_length,
    query_limit,
    client_memory_bounds_requests_in_arrival,
    maxclients,
    maxclients_can_change,
    few_descriptors_lower_maxclients,
    who_comes_when_descriptors_run_out_waits,
    idle_connections_are_closed,
    busy_connections_are_not_idle,
);

fn arguments(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let most: Vec<&str> =
        std::iter::once("EXISTS").chain(std::iter::repeat_n("k", limits::ARGUMENTS_MAX - 1)).collect();
    assert_eq!(client.call(&most), Value::Integer(0));
    client.send(format!("*{}\r\n", limits::ARGUMENTS_MAX + 1));
    client.expect(
        "-ERR Protocol error: invalid multibulk length: a request may have 1048576 arguments (max-arguments)\r\n",
    );
    client.expect_closed();

    let server = Server::with(engine, &["--max-arguments=16"]);
    let mut client = server.client();
    client.check("EXISTS 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", ":0\r\n");
    client.send("*17\r\n");
    client.expect("-ERR Protocol error: invalid multibulk length: a request may have 16 arguments (max-arguments)\r\n");
    client.expect_closed();
}

/// As many keys as there may be, by each command that takes many: at once, queued, and after others in a pipeline.
fn requests_of_very_many_arguments(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=2gb"]);
    let mut client = server.client();
    let keys: Vec<String> = (0..limits::ARGUMENTS_MAX / 2 - 1).map(|n| format!("{n:x}")).collect();
    let count = keys.len() as i64;
    let with = |name: &'static str| std::iter::once(name).chain(keys.iter().map(String::as_str)).collect::<Vec<_>>();
    let pairs: Vec<&str> = std::iter::once("MSET").chain(keys.iter().flat_map(|key| [key.as_str(), "v"])).collect();
    client.send([request(&["SET", "k", "v"]), request(&pairs), request(&["GET", "k"])].concat());
    client.expect("+OK\r\n+OK\r\n$1\r\nv\r\n");
    assert_eq!(client.call(&with("EXISTS")), Value::Integer(count));
    client.send([request(&["MULTI"]), request(&with("TOUCH")), request(&["EXEC"])].concat());
    client.expect(format!("+OK\r\n+QUEUED\r\n*1\r\n:{count}\r\n"));
    client.send(request(&with("MGET")));
    client.expect(format!("*{count}\r\n"));
    client.expect("$1\r\nv\r\n".repeat(keys.len()));
    assert_eq!(client.call(&with("UNLINK")), Value::Integer(count));
    client.check("DBSIZE", ":1\r\n");
    // What is about no keys is bounded more tightly.
    for words in [&["CONFIG", "GET"][..], &["COMMAND", "INFO"], &["CLIENT", "LIST", "ID"], &["INFO"]] {
        let words: Vec<&str> = words.iter().copied().chain(std::iter::repeat_n("1", 100_000)).collect();
        let reply = client.call(&words);
        assert!(matches!(&reply, Value::Error(text) if text.ends_with("may have 4096 arguments")), "{reply:?}");
    }
    let arguments: Vec<&str> =
        ["EVAL", "return #ARGV", "0"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    assert!(matches!(client.call(&arguments), Value::Integer(_) | Value::Error(_)));
    client.check("GET k", "$1\r\nv\r\n");
}

fn many_watched_keys_and_prefixes(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut other) = (server.resp3_client(), server.client());
    let watch = |from: usize, to: usize| -> Vec<String> {
        std::iter::once("WATCH".to_owned()).chain((from..to).map(|n| format!("key:{n}"))).collect()
    };
    let ok = Value::Simple("OK".into());
    assert_eq!(client.call(&watch(0, limits::WATCHED_KEYS_MAX)), ok);
    assert_eq!(client.call(&watch(7, limits::WATCHED_KEYS_MAX)), ok, "those again");
    client.check_error("WATCH another", "ERR a connection can watch 4096 keys; UNWATCH, or watch fewer at a time");
    other.check("SET key:4000 v", "+OK\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("SET k v", "+QUEUED\r\n");
    client.check("EXEC", "_\r\n");
    client.check("WATCH another", "+OK\r\n");
    let prefixes = (0..limits::TRACKING_PREFIXES_MAX).flat_map(|n| ["PREFIX".to_owned(), format!("p{n}:")]);
    let words = ["CLIENT", "TRACKING", "ON", "BCAST"].map(str::to_owned).into_iter().chain(prefixes);
    assert_eq!(client.call(&words.collect::<Vec<_>>()), ok);
    client.check_error("CLIENT TRACKING ON BCAST PREFIX another", "ERR a connection can track 1024 prefixes");
    other.check("SET p1000:k v", "+OK\r\n");
    client.check("PING", ">2\r\n$10\r\ninvalidate\r\n*1\r\n$7\r\np1000:k\r\n");
}

fn inline_length(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let longest = "x".repeat(limits::INLINE_MAX_BYTES - "ECHO \r\n".len());
    client.send(format!("ECHO {longest}\r\n"));
    client.expect(format!("${}\r\n{longest}\r\n", longest.len()));
    let _ = client.try_send(&vec![b'x'; limits::INLINE_MAX_BYTES]);
    client.expect("-ERR Protocol error: too big inline request\r\n");
    client.expect_closed();
    assert_eq!(server.info_number("protocol_errors"), 1);
}

fn query_limit(engine: Engine) {
    let server = Server::with(engine, &["--client-query-limit=2mb"]);
    let mut client = server.client();
    let value = patterned(1 << 20, 1);
    assert_eq!(client.call(&[b"SET".as_slice(), b"k", &value]), Value::Simple("OK".into()));
    let _ = client.try_send(&request(&[b"MSET".as_slice(), b"a", &value, b"b", &value, b"c", &value]));
    client.expect("-ERR the request is larger than client-query-limit\r\n");
    client.rest();
    server.wait_for_info("client_query_buffer_limit_disconnections", |count| count == 1);
    server.client().check("EXISTS a b c", ":0\r\n");
}

/// All connections together may hold an eighth of the cap: the one that goes beyond is refused, not the server.
fn client_memory_bounds_requests_in_arrival(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=64mb", "--threads=1"]);
    let value = patterned(5 << 20, 1);
    let input = request(&[b"SET".as_slice(), b"k", &value]);
    let mut first = server.client();
    first.send(&input[..input.len() - 2]);
    server.wait_for_info("used_memory_clients", |bytes| bytes > 5 << 20);
    let mut second = server.client();
    let _ = second.try_send(&input);
    second.expect(
        "-OOM requests and replies in flight hold an eighth of maxmemory; send smaller ones or raise maxmemory\r\n",
    );
    second.rest();
    first.send(&input[input.len() - 2..]);
    first.expect("+OK\r\n");
    assert_eq!(server.client().call(&["GET", "k"]), Value::bulk(&value));
}

fn maxclients(engine: Engine) {
    let server = Server::with(engine, &["--maxclients=3"]);
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG\r\n"));
    for _ in 0..5 {
        let mut refused = server.client();
        refused.expect("-ERR max number of clients reached\r\n");
        refused.expect_closed();
    }
    assert_eq!(clients[0].info_number("rejected_connections"), 5);
    clients.pop();
    wait_until("a place", || clients[0].info_number("connected_clients") == 2);
    let mut next = server.client();
    next.check("PING", "+PONG\r\n");
}

fn maxclients_can_change(engine: Engine) {
    let server = Server::start(engine);
    let mut clients: Vec<_> = (0..5).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG\r\n"));
    clients[0].check("CONFIG SET maxclients 2", "+OK\r\n");
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG\r\n"));
    server.client().expect("-ERR max number of clients reached\r\n");
    clients[0].check("CONFIG SET maxclients 100", "+OK\r\n");
    server.client().check("PING", "+PONG\r\n");
}

/// Descriptors are counted before they run out: whoever comes too late is told so.
fn few_descriptors_lower_maxclients(engine: Engine) {
    let wrapper = ["prlimit", "--nofile=200:200"];
    let server = Server::spawn(harness::wrapped(&wrapper, env!("CARGO_BIN_EXE_kv-cache"), &[engine.flag()]));
    wait_until("the warning", || server.stderr().contains("--maxclients 10000 lowered to"));
    let mut first = server.client();
    let most = first.info_number("maxclients") as usize;
    assert!((50..200).contains(&most), "{most}");
    let mut clients: Vec<_> = (1..most).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG\r\n"));
    for _ in 0..10 {
        server.client().expect("-ERR max number of clients reached\r\n");
    }
    clients.clear();
    wait_until("the others to be gone", || first.info_number("connected_clients") == 1);
    server.client().check("PING", "+PONG\r\n");
    assert_eq!(first.info_number("accept_errors"), 0);
}

/// The limit falls below what is open: accepting fails, rests, and goes on when there is room again.
fn who_comes_when_descriptors_run_out_waits(engine: Engine) {
    let server = Server::with(engine, &["--threads=1"]);
    let mut observer = server.client();
    observer.check("PING", "+PONG\r\n");
    let pid = format!("--pid={}", server.pid());
    let limit_files = |soft: usize| {
        let done = Command::new("prlimit").args([&pid, &format!("--nofile={soft}:")]).status();
        assert!(done.is_ok_and(|status| status.success()));
    };
    let (most, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    limit_files(open + 2);
    let mut waiting: Vec<_> = (0..10).map(|_| server.client()).collect();
    waiting.iter_mut().for_each(|client| client.send("PING\r\n"));
    wait_until("accepting to fail more than once", || observer.info_number("accept_errors") >= 2);
    wait_until("the warning", || server.stderr().contains("raise the limit on open files"));
    observer.check("SET k v", "+OK\r\n");
    limit_files(most as usize);
    waiting.iter_mut().for_each(|client| client.expect("+PONG\r\n"));
}

fn idle_connections_are_closed(engine: Engine) {
    let server = Server::with(engine, &["--timeout=1"]);
    let mut idle: Vec<_> = (0..5).map(|_| server.client()).collect();
    idle[0].check("PING", "+PONG\r\n");
    idle[1].send("*1\r\n$4\r\nPI");
    idle.iter_mut().for_each(|client| client.expect_closed());
    server.wait_for_info("client_timeout_disconnections", |count| count >= 5);
}

/// It works for longer than `timeout` and is never silent for so long.
fn busy_connections_are_not_idle(engine: Engine) {
    let server = Server::with(engine, &["--timeout=2"]);
    let mut busy = server.client();
    let mut idle = server.client();
    let closed = std::thread::spawn(move || idle.expect_closed());
    while !closed.is_finished() {
        busy.check("PING", "+PONG\r\n");
    }
    closed.join().unwrap();
    busy.check("PING", "+PONG\r\n");
}
