//! DUMP and RESTORE: what one server has written, another one reads.

use crate::harness::{Engine, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(values_come_back, what_other_servers_write_is_read, what_restore_refuses);

fn values_come_back(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let large = crate::client::patterned(1 << 20, 5);
    for value in [b"".as_slice(), b"12", b"-300", b"70000", b"12345678901", b"text", &[0; 100], &large] {
        client.call(&[b"SET".as_slice(), b"k", value]);
        let Value::Bulk(payload) = client.call(&["DUMP", "k"]) else { panic!("a value is dumped") };
        assert_eq!(
            client.call(&[b"RESTORE".as_slice(), b"copy", b"0", &payload, b"REPLACE"]),
            Value::Simple("OK".into())
        );
        assert_eq!(client.call(&["GET", "copy"]), Value::bulk(value));
        client.check("TTL copy", ":-1\r\n");
    }
    client.check("DUMP none", "$-1\r\n");
    client.check("SET k 5", "+OK\r\n");
    let Value::Bulk(payload) = client.call(&["DUMP", "k"]) else { panic!("a value is dumped") };
    // As Redis 7.0 writes it.
    assert_eq!(payload, b"\x00\xc0\x05\n\x00c/_f\x83/\xb3Q");
    client.call(&[b"RESTORE".as_slice(), b"a", b"100000", &payload]);
    client.check("TTL a", ":100\r\n");
    client.call(&[b"RESTORE".as_slice(), b"b", b"32503680000123", &payload, b"ABSTTL", b"IDLETIME", b"10"]);
    client.check("PEXPIRETIME b", ":32503680000123\r\n");
    client.check("CONFIG SET maxmemory-policy allkeys-lfu lfu-decay-time 0", "+OK\r\n");
    client.call(&[b"RESTORE".as_slice(), b"often", b"0", &payload, b"FREQ", b"100"]);
    client.check("OBJECT FREQ often", ":100\r\n");
    client.check("CONFIG SET maxmemory-policy allkeys-lru", "+OK\r\n");
    client.call(&[b"RESTORE".as_slice(), b"b", b"1", &payload, b"ABSTTL", b"REPLACE", b"FREQ", b"10"]);
    client.check("EXISTS b", ":0\r\n");
}

fn what_other_servers_write_is_read(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    // Redis 7.0's payload of "hello " 50 times, compressed.
    let payload = b"\x00\xc3\x11A,\x06hello h\xe0\xff\x05\xe1\x12\x07\x01o \n\x00\xaa?y\x82\xd4\x99{\xc6";
    assert_eq!(client.call(&[b"RESTORE".as_slice(), b"k", b"0", payload]), Value::Simple("OK".into()));
    assert_eq!(client.call(&["GET", "k"]).text(), "hello ".repeat(50));
    // And that of a list.
    let payload = b"\x12\x01\x02\n\n\x00\x00\x00\x01\x00\x81a\x02\xff\n\x00\t\xb9\xed\xf5\x94\xde\xd9\x95";
    let reply = client.call(&[b"RESTORE".as_slice(), b"list", b"0", payload]);
    assert_eq!(reply, Value::Error("ERR Bad data format".into()));
}

fn what_restore_refuses(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    client.check("RESTORE k 0 x", "-BUSYKEY Target key name already exists.\r\n");
    client.check("RESTORE k 0 x REPLACE", "-ERR DUMP payload version or checksum are wrong\r\n");
    client.check("RESTORE new -1 x", "-ERR Invalid TTL value, must be >= 0\r\n");
    client.check("RESTORE new x x", "-ERR value is not an integer or out of range\r\n");
    client.check("RESTORE new 0 x IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0\r\n");
    client.check("RESTORE new 0 x FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255\r\n");
    for options in ["WHAT", "FREQ", "FREQ 1 IDLETIME 1"] {
        client.check(&format!("RESTORE new 0 x {options}"), "-ERR syntax error\r\n");
    }
    client.check("GET k", "$1\r\nv\r\n");
}
