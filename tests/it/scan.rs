//! SCAN, KEYS and RANDOMKEY: all keys are found, on all cores, while others work.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::client::Client;
use crate::harness::{Engine, Server, on_every_driver};

on_every_driver!(
    a_scan_finds_each_key_once,
    a_scan_finds_what_stays_while_others_come_and_go,
    filters,
    what_a_scan_refuses,
    keys_match_patterns,
    more_keys_than_a_reply_may_hold,
    a_random_key_is_any_key,
);

/// How often each key was reported, and in how many calls.
fn scan_all(client: &mut Client, options: &[&str]) -> (HashMap<String, u32>, usize) {
    let (mut found, mut cursor, mut calls) = (HashMap::new(), "0".to_owned(), 0);
    loop {
        let words: Vec<&str> = ["SCAN", &cursor].into_iter().chain(options.iter().copied()).collect();
        let reply = client.call(&words);
        for key in reply.elements()[1].elements() {
            *found.entry(key.text()).or_default() += 1;
        }
        cursor = reply.elements()[0].text();
        calls += 1;
        if cursor == "0" {
            return (found, calls);
        }
    }
}

fn fill(client: &mut Client, keys: usize) {
    for n in 0..keys {
        client.call(&["SET", &format!("key:{n}"), "v"]);
    }
}

fn a_scan_finds_each_key_once(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    client.check("SCAN 0", "*2\r\n$1\r\n0\r\n*0\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("SCAN 0", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n");
    client.check("DEL k", ":1\r\n");
    fill(&mut client, 3000);
    client.check("SELECT 1", "+OK\r\n");
    client.check("SET elsewhere v", "+OK\r\n");
    client.check("SELECT 0", "+OK\r\n");
    for count in ["1", "10", "1000", "1000000000"] {
        let (found, calls) = scan_all(&mut client, &["COUNT", count]);
        assert!(found.len() == 3000 && found.values().all(|&times| times == 1), "COUNT {count}: {}", found.len());
        assert!(calls <= 3010 / count.parse::<usize>().unwrap().min(4096) + 4, "COUNT {count}: {calls} calls");
    }
}

/// What one core's index does while another one writes must not move a cursor.
fn a_scan_finds_what_stays_while_others_come_and_go(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    fill(&mut client, 1000);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.client();
            for round in (0..).take_while(|_| !is_over.load(Relaxed)) {
                client.call(&["SET", &format!("other:{round}"), "v"]);
                client.call(&["DEL", &format!("other:{}", round - 500)]);
            }
        });
        for _ in 0..5 {
            let (found, _) = scan_all(&mut client, &["COUNT", "7"]);
            assert!((0..1000).all(|n| found.get(&format!("key:{n}")) == Some(&1)));
        }
        is_over.store(true, Relaxed);
    });
}

fn filters(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    fill(&mut client, 200);
    assert_eq!(scan_all(&mut client, &["MATCH", "key:1?"]).0.len(), 10);
    assert_eq!(scan_all(&mut client, &["MATCH", "key:1?", "TYPE", "String", "COUNT", "50"]).0.len(), 10);
    assert_eq!(scan_all(&mut client, &["MATCH", "*"]).0.len(), 200);
    assert_eq!(scan_all(&mut client, &["TYPE", "hash"]).0.len(), 0);
}

fn what_a_scan_refuses(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for cursor in ["x", "1x", "-1", "18446744073709551616"] {
        client.check(&format!("SCAN {cursor}"), "-ERR invalid cursor\r\n");
    }
    for options in ["COUNT", "COUNT 0", "COUNT -1", "MATCH", "WHAT x", "MATCH x COUNT"] {
        client.check(&format!("SCAN 0 {options}"), "-ERR syntax error\r\n");
    }
    client.check("SCAN 0 COUNT x", "-ERR value is not an integer or out of range\r\n");
    client.check_error(
        &format!("SCAN 0 MATCH {}", "x".repeat(2000)),
        "ERR the pattern has 2000 bytes, the longest may have 1024",
    );
    client.check_error(
        &format!("KEYS {}", "x".repeat(2000)),
        "ERR the pattern has 2000 bytes, the longest may have 1024",
    );
    // Cursors that no scan has returned are places like any other, and lead to the end.
    for cursor in [u64::MAX, 255, 1 << 62] {
        client.check(&format!("SCAN {cursor}"), "*2\r\n$1\r\n0\r\n*0\r\n");
    }
}

fn keys_match_patterns(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    client.check("KEYS *", "*0\r\n");
    fill(&mut client, 1000);
    for (pattern, count) in [("*", 1000), ("key:?", 10), ("key:[0-4]?", 40), ("key:7", 1), ("none*", 0), ("KEY:*", 0)] {
        assert_eq!(client.call(&["KEYS", pattern]).elements().len(), count, "{pattern}");
    }
    client.check("KEYS key:77", "*1\r\n$6\r\nkey:77\r\n");
}

fn more_keys_than_a_reply_may_hold(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=64mb", "--client-output-limit=1mb"]);
    let mut client = server.client();
    for n in 0..40 {
        client.call(&["SET", &format!("{n:030000}"), "v"]);
    }
    client.check_error("KEYS *", "ERR the keys have more than the 1048576 bytes that a reply may copy; use SCAN");
    assert_eq!(scan_all(&mut client, &["COUNT", "1000"]).0.len(), 40);
    client.check("KEYS none", "*0\r\n");
}

fn a_random_key_is_any_key(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    client.check("RANDOMKEY", "$-1\r\n");
    server.resp3_client().check("RANDOMKEY", "_\r\n");
    fill(&mut client, 20);
    let mut seen = HashMap::new();
    while seen.len() < 20 {
        let key = client.call(&["RANDOMKEY"]).text();
        *seen.entry(key).or_insert(0) += 1;
    }
    client.check("SELECT 1", "+OK\r\n");
    client.check("RANDOMKEY", "$-1\r\n");
}
