//! The time when a key expires: how it is set, told, kept and lost, and that the key is gone then.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::request;
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    setting_and_telling,
    conditions,
    times_that_have_passed_delete,
    numbers_at_the_limits,
    an_expired_key_is_gone,
    expired_memory_comes_back_unasked,
);

fn setting_and_telling(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for command in ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"] {
        client.check(&format!("{command} none 100"), ":0\r\n");
    }
    for command in ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"] {
        client.check(&format!("{command} none"), ":-2\r\n");
        client.check("SET k v", "+OK\r\n");
        client.check(&format!("{command} k"), ":-1\r\n");
    }
    client.check("PERSIST k", ":0\r\n");
    client.check("PERSIST none", ":0\r\n");
    client.check("EXPIREAT k 32503680000", ":1\r\n");
    client.check("PEXPIRETIME k", ":32503680000000\r\n");
    client.check("PEXPIREAT k 32503680001234", ":1\r\n");
    client.check("PEXPIRETIME k", ":32503680001234\r\n");
    client.check("EXPIRETIME k", ":32503680001\r\n");
    client.check("EXPIRE k 1000", ":1\r\n");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let at = client.call(&["PEXPIRETIME", "k"]).integer();
    assert!((now + 900_000..=now + 1_000_000).contains(&at), "{at} seen from {now}");
    assert!((999..=1000).contains(&client.call(&["TTL", "k"]).integer()));
    client.check("PEXPIRE k 100000", ":1\r\n");
    assert!((90_000..=100_000).contains(&client.call(&["PTTL", "k"]).integer()));
    client.check("PERSIST k", ":1\r\n");
    client.check("TTL k", ":-1\r\n");
    client.check("GET k", "$1\r\nv\r\n");
}

fn conditions(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    // Each line: options, whether they let 100, 200 or 50 seconds pass one after another from "no expiry" on.
    for (line, reply) in [
        ("EXPIRE k 100 XX", ":0\r\n"),
        ("EXPIRE k 100 GT", ":0\r\n"),
        ("EXPIRE k 100 NX", ":1\r\n"),
        ("EXPIRE k 200 NX", ":0\r\n"),
        ("EXPIRE k 200 gt", ":1\r\n"),
        ("EXPIRE k 50 GT", ":0\r\n"),
        ("EXPIRE k 300 LT", ":0\r\n"),
        ("EXPIRE k 50 LT", ":1\r\n"),
        ("EXPIRE k 300 XX", ":1\r\n"),
        ("EXPIRE k 400 XX GT", ":1\r\n"),
        ("EXPIRE k 500 XX LT", ":0\r\n"),
        ("PEXPIRE k 1000 GT", ":0\r\n"),
        ("EXPIREAT k 32503680000 GT", ":1\r\n"),
        ("PEXPIREAT k 32503680000000 GT", ":0\r\n"),
        ("PERSIST k", ":1\r\n"),
        ("EXPIRE k 100 LT", ":1\r\n"),
        ("EXPIRE k 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n"),
        ("EXPIRE k 10 NX GT", "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n"),
        ("EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible\r\n"),
        ("EXPIRE k 10 WHAT", "-ERR Unsupported option WHAT\r\n"),
        ("EXPIRE k", "-ERR wrong number of arguments for 'expire' command\r\n"),
    ] {
        client.check(line, reply);
    }
    assert!((99..=100).contains(&client.call(&["TTL", "k"]).integer()), "what was refused has changed nothing");
}

fn times_that_have_passed_delete(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for command in ["EXPIRE k 0", "EXPIRE k -1", "PEXPIRE k -1", "EXPIREAT k 0", "EXPIREAT k 1", "PEXPIREAT k -5"] {
        client.check("SET k v", "+OK\r\n");
        client.check(command, ":1\r\n");
        client.check("EXISTS k", ":0\r\n");
    }
    client.check("SET k v EX 100", "+OK\r\n");
    client.check("EXPIRE k -1 GT", ":0\r\n");
    client.check("EXISTS k", ":1\r\n");
}

fn numbers_at_the_limits(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    for (command, number) in [
        ("EXPIRE", "9223372036854775807"),
        ("EXPIRE", "-9223372036854775808"),
        ("PEXPIRE", "9223372036854775807"),
        ("EXPIREAT", "9223372036854775807"),
    ] {
        let name = command.to_ascii_lowercase();
        client.check(&format!("{command} k {number}"), &format!("-ERR invalid expire time in '{name}' command\r\n"));
    }
    client.check("EXPIRE k 9223372036854775808", "-ERR value is not an integer or out of range\r\n");
    client.check("EXPIRE k ten", "-ERR value is not an integer or out of range\r\n");
    client.check("TTL k", ":-1\r\n");
    client.check("PEXPIREAT k 9223372036854775807", ":1\r\n");
    client.check("PEXPIRETIME k", ":9223372036854775807\r\n");
    assert!(client.call(&["TTL", "k"]).integer() > 9_000_000_000_000_000);
    assert!(client.call(&["EXPIRETIME", "k"]).integer() > 9_000_000_000_000_000);
    client.check("GET k", "$1\r\nv\r\n");
}

fn an_expired_key_is_gone(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k v PX 30", "+OK\r\n");
    wait_until("the key to expire", || client.call(&["GET", "k"]) == Value::Null);
    client.check("TTL k", ":-2\r\n");
    client.check("EXISTS k", ":0\r\n");
    client.check("DEL k", ":0\r\n");
    client.check("SET k w NX", "+OK\r\n");
    client.check("TTL k", ":-1\r\n");
    client.check("SET n 5 PX 30", "+OK\r\n");
    wait_until("the counter to expire", || client.call(&["TTL", "n"]).integer() == -2);
    client.check("INCR n", ":1\r\n");
    client.check("TTL n", ":-1\r\n");
}

/// Nobody touches the keys again, and still they go, and most of their memory with them.
fn expired_memory_comes_back_unasked(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let used_before = client.info_number("used_memory");
    let value = "v".repeat(1000);
    let sets: Vec<u8> = (0..20_000).flat_map(|n| request(&["SET", &format!("key:{n}"), &value, "PX", "500"])).collect();
    client.send(sets);
    client.expect("+OK\r\n".repeat(20_000));
    wait_until("DBSIZE 0", || client.call(&["DBSIZE"]).integer() == 0);
    assert_eq!(client.info_number("expired_keys"), 20_000);
    wait_until("the memory to come back", || client.info_number("used_memory") < used_before + (5 << 20));
}
