//! SET, GET and the other commands that read and write values as a whole.

use crate::client::request;
use crate::harness::{Engine, Server, on_both_engines};
use crate::wire::Value;

on_both_engines!(
    set_and_get,
    set_options,
    set_get_returns_the_old_value,
    set_refuses_what_contradicts,
    getdel_and_getex,
    several_keys,
    append_and_strlen,
    any_bytes_are_a_value,
    long_keys,
);

fn set_and_get(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("GET k", "$-1\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
    client.check("set k other", "+OK\r\n");
    client.check("gEt k", "$5\r\nother\r\n");
    client.check_error("GET", "ERR wrong number of arguments for 'get' command");
    client.check_error("GET a b", "ERR wrong number of arguments for 'get' command");
    client.check_error("SET k", "ERR wrong number of arguments for 'set' command");
    let mut resp3 = server.resp3_client();
    resp3.check("GET k", "$5\r\nother\r\n");
    resp3.check("GET none", "_\r\n");
}

fn set_options(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k 1 XX", "$-1\r\n");
    client.check("EXISTS k", ":0\r\n");
    client.check("SET k 1 NX", "+OK\r\n");
    client.check("SET k 2 NX", "$-1\r\n");
    client.check("SET k 3 XX", "+OK\r\n");
    client.check("GET k", "$1\r\n3\r\n");
    for (option, field, low, high) in [
        ("EX 100", "TTL k", 99, 100),
        ("PX 100000", "PTTL k", 90_000, 100_000),
        ("EXAT 32503680000", "EXPIRETIME k", 32_503_680_000, 32_503_680_000),
        ("PXAT 32503680000123", "PEXPIRETIME k", 32_503_680_000_123, 32_503_680_000_123),
    ] {
        client.check(&format!("SET k v {option}"), "+OK\r\n");
        let words: Vec<&str> = field.split(' ').collect();
        let got = client.call(&words).integer();
        assert!((low..=high).contains(&got), "{option}: {got}");
        client.check("SET k w KEEPTTL", "+OK\r\n");
        assert!(client.call(&words).integer() > 0, "{option}: KEEPTTL keeps it");
        client.check("SET k v", "+OK\r\n");
        client.check("TTL k", ":-1\r\n");
    }
    client.check("SET new v KEEPTTL", "+OK\r\n");
    client.check("TTL new", ":-1\r\n");
    client.check("SET k v ex 100 xx", "+OK\r\n");
    client.check("SET k v XX Px 100000 GET", "$1\r\nv\r\n");
    // A time that has passed: set, and gone.
    client.check("SET k v EXAT 1", "+OK\r\n");
    client.check("GET k", "$-1\r\n");
}

fn set_get_returns_the_old_value(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k 1 GET", "$-1\r\n");
    client.check("SET k 2 GET", "$1\r\n1\r\n");
    client.check("SET k 3 NX GET", "$1\r\n2\r\n");
    client.check("GET k", "$1\r\n2\r\n");
    client.check("SET k 4 XX GET", "$1\r\n2\r\n");
    client.check("SET none 1 XX GET", "$-1\r\n");
    client.check("EXISTS none", ":0\r\n");
    client.check("SET other 1 NX GET", "$-1\r\n");
    client.check("GET other", "$1\r\n1\r\n");
    let mut resp3 = server.resp3_client();
    resp3.check("SET k 5 GET", "$1\r\n4\r\n");
    resp3.check("SET fresh 5 GET", "_\r\n");
    resp3.check("SET fresh 5 NX", "_\r\n");
}

fn set_refuses_what_contradicts(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for options in
        ["NX XX", "EX 1 PX 1", "EX 1 KEEPTTL", "KEEPTTL EX 1", "EX", "PXAT", "WHAT", "EX 1 EX 1", "NX XX GET", "GET EX"]
    {
        client.check(&format!("SET k v {options}"), "-ERR syntax error\r\n");
    }
    for number in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
        client.check(&format!("SET k v EX {number}"), "-ERR invalid expire time in 'set' command\r\n");
    }
    client.check("SET k v PX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n");
    for number in ["x", "1.5", "+1", "9223372036854775808", "0x10"] {
        client.check(&format!("SET k v EX {number}"), "-ERR value is not an integer or out of range\r\n");
    }
    client.check("EXISTS k", ":0\r\n");
}

fn getdel_and_getex(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("GETDEL k", "$-1\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("GETDEL k", "$1\r\nv\r\n");
    client.check("GETDEL k", "$-1\r\n");
    client.check("GETEX k EX 10", "$-1\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("GETEX k", "$1\r\nv\r\n");
    client.check("TTL k", ":-1\r\n");
    client.check("GETEX k EX 100", "$1\r\nv\r\n");
    assert!((99..=100).contains(&client.call(&["TTL", "k"]).integer()));
    client.check("GETEX k", "$1\r\nv\r\n");
    assert!((99..=100).contains(&client.call(&["TTL", "k"]).integer()));
    client.check("GETEX k PERSIST", "$1\r\nv\r\n");
    client.check("TTL k", ":-1\r\n");
    client.check("GETEX k PXAT 32503680000123", "$1\r\nv\r\n");
    client.check("PEXPIRETIME k", ":32503680000123\r\n");
    for options in ["EX", "KEEPTTL", "EX 1 PERSIST", "PERSIST EX 1", "WHAT 1"] {
        client.check(&format!("GETEX k {options}"), "-ERR syntax error\r\n");
    }
    client.check("GETEX k EX 0", "-ERR invalid expire time in 'getex' command\r\n");
    client.check("GETEX k EXAT 1", "$1\r\nv\r\n");
    client.check("EXISTS k", ":0\r\n");
}

fn several_keys(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("MSET a 1 b 2 c 3", "+OK\r\n");
    client.check("MGET a b none c a", "*5\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n$1\r\n3\r\n$1\r\n1\r\n");
    client.check("MSET a x a y", "+OK\r\n");
    client.check("GET a", "$1\r\ny\r\n");
    client.check("SET a v EX 100", "+OK\r\n");
    client.check("MSET a w", "+OK\r\n");
    client.check("TTL a", ":-1\r\n");
    client.check_error("MSET a", "ERR wrong number of arguments for 'mset' command");
    client.check_error("MSET a 1 b", "ERR wrong number of arguments for 'mset' command");
    client.check_error("MGET", "ERR wrong number of arguments for 'mget' command");
    server.resp3_client().check("MGET a none", "*2\r\n$1\r\nw\r\n_\r\n");
}

fn append_and_strlen(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("STRLEN k", ":0\r\n");
    client.check("APPEND k ab", ":2\r\n");
    client.check("APPEND k cde", ":5\r\n");
    client.check("GET k", "$5\r\nabcde\r\n");
    client.check("STRLEN k", ":5\r\n");
    client.check("EXPIRE k 100", ":1\r\n");
    client.check("APPEND k f", ":6\r\n");
    assert!(client.call(&["TTL", "k"]).integer() > 0, "APPEND keeps the time of expiry");
    client.send(request(&["APPEND", "k", ""]));
    client.expect(":6\r\n");
}

fn any_bytes_are_a_value(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let all: Vec<u8> = (0..=255).chain(*b"\r\n$5\r\n*1\r\n").collect();
    for value in [all.as_slice(), b"", b"\0", b"\r\n", b"-ERR\r\n"] {
        assert_eq!(client.call(&[b"SET".as_slice(), value, value]), Value::Simple("OK".into()));
        assert_eq!(client.call(&[b"GET".as_slice(), value]), Value::bulk(value));
        assert_eq!(client.call(&[b"STRLEN".as_slice(), value]), Value::Integer(value.len() as i64));
    }
    assert_eq!(client.call(&["DBSIZE"]), Value::Integer(5));
}

/// A key may have 65,535 bytes; a longer one is an error and the connection goes on.
fn long_keys(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for length in [1, 1000, 16_383, 16_384, 32_767, 32_768, 65_535] {
        let key = "k".repeat(length);
        assert_eq!(client.call(&["SET", &key, "v"]), Value::Simple("OK".into()), "{length}");
        assert_eq!(client.call(&["GET", &key]), Value::bulk("v"), "{length}");
        assert_eq!(client.call(&["MSET", &key, "w"]), Value::Simple("OK".into()), "{length}");
        assert_eq!(client.call(&["APPEND", &key, "w"]), Value::Integer(2), "{length}");
        assert_eq!(client.call(&["DEL", &key]), Value::Integer(1), "{length}");
    }
    let key = "k".repeat(65_536);
    for args in [["SET", &key, "v"], ["MSET", &key, "v"], ["APPEND", &key, "v"], ["INCRBY", &key, "1"]] {
        let reply = client.call(&args);
        assert!(matches!(&reply, Value::Error(text) if text.contains("65536 bytes")), "{}: {reply:?}", args[0]);
    }
    assert_eq!(client.call(&["GET", &key]), Value::Null);
    assert_eq!(client.call(&["DEL", &key]), Value::Integer(0));
    client.check("DBSIZE", ":0\r\n");
}
