//! FUNCTION DUMP and RESTORE: all libraries in Redis's form, and back.

use crate::client::{Client, request};
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    what_is_dumped_is_restored,
    what_redis_has_dumped_is_restored,
    policies,
    bad_payloads_change_nothing,
    large_ones_are_bounded_and_charged,
    a_library_that_never_ends,
);

fn library(name: &str, function: &str) -> String {
    format!("#!lua name={name}\nredis.register_function('{function}', function() return '{name}.{function}' end)")
}

fn load(client: &mut Client, source: &str) {
    let name = client.call(&["FUNCTION", "LOAD", "REPLACE", source]);
    assert!(matches!(name, Value::Bulk(_)), "{name:?}");
}

fn dump(client: &mut Client) -> Vec<u8> {
    match client.call(&["FUNCTION", "DUMP"]) {
        Value::Bulk(payload) => payload,
        other => panic!("{other:?} instead of a payload"),
    }
}

fn restore(client: &mut Client, payload: &[u8], words: &[&str]) -> String {
    let parts = [&b"FUNCTION"[..], b"RESTORE", payload].into_iter().chain(words.iter().map(|word| word.as_bytes()));
    match client.call(&parts.collect::<Vec<_>>()) {
        Value::Simple(text) | Value::Error(text) => text,
        other => panic!("{other:?}"),
    }
}

/// The names of the libraries.
fn names(client: &mut Client) -> Vec<String> {
    let list = client.call(&["FUNCTION", "LIST"]);
    list.elements().iter().map(|library| library.field("library_name").text()).collect()
}

fn what_is_dumped_is_restored(engine: Engine) {
    let (server, other) = (Server::with(engine, &["--threads=2"]), Server::with(engine, &["--threads=2"]));
    let (mut client, mut there) = (server.client(), other.client());
    assert_eq!(dump(&mut client), b"\x0a\x00\x5d\x9b\x5c\x40\x0f\x7f\xa2\xda", "nothing, as Redis has it");
    let nothing = dump(&mut client);
    assert_eq!(restore(&mut there, &nothing, &[]), "OK");
    // Lengths are written in three ways.
    let padded = |bytes: usize| format!("{}\n--{}", library("padded", "p"), "x".repeat(bytes));
    for bytes in [0, 1_000, 100_000] {
        load(&mut client, &library("one", "f"));
        load(&mut client, &padded(bytes));
        let payload = dump(&mut client);
        assert_eq!(restore(&mut there, &payload, &["FLUSH"]), "OK");
        assert_eq!(names(&mut there), ["one", "padded"]);
        assert_eq!(dump(&mut there), payload);
        there.check("FCALL f 0", "$5\r\none.f\r\n");
        there.check("FCALL p 0", "$8\r\npadded.p\r\n");
    }
    // In a transaction, and from other cores.
    there.check("FUNCTION FLUSH", "+OK\r\n");
    let payload = dump(&mut client);
    there.check("MULTI", "+OK\r\n");
    there.send(request(&[&b"FUNCTION"[..], b"RESTORE", &payload]));
    there.expect("+QUEUED\r\n");
    there.check("FUNCTION DUMP", "+QUEUED\r\n");
    there.send(request(&["EXEC"]));
    there.expect([format!("*2\r\n+OK\r\n${}\r\n", payload.len()).as_bytes(), &payload, b"\r\n"].concat());
    for _ in 0..4 {
        other.client().check("FCALL f 0", "$5\r\none.f\r\n");
    }
}

/// By Redis 7.0.15: two libraries, compressed.
const REDIS: &str = "f5c3407a41e21923216c7561206e616d653d6d6f72650a2d2d2070616464696e67e03707e0ff4ae11b4b190a72656469732e726567697374\
                     65725f66756e6374696f6e2827203f0332272c20e000100a6b2c61292072657475726e200640340b63616c6c2827696e637262792029\
                     066b5b315d2c20612005062920656e64290af5c3407d41e51d23216c7561206e616d653d636f756e746572730a2d2d2070616464696e\
                     67e03707e0ff4ae11b4b0b0a72656469732e726567697321860a5f66756e6374696f6e2827203f02272c20e0000f0a6b2c6129207265\
                     7475726e200640330b63616c6c2827696e637262792029066b5b315d2c20612005062920656e64290a0a0045f5d422da3522a2";

fn what_redis_has_dumped_is_restored(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let payload: Vec<u8> =
        (0..REDIS.len()).step_by(2).map(|at| u8::from_str_radix(&REDIS[at..at + 2], 16).unwrap()).collect();
    assert_eq!(restore(&mut client, &payload, &[]), "OK");
    assert_eq!(names(&mut client), ["counters", "more"]);
    client.check("FCALL add 1 n 2", ":2\r\n");
    client.check("FCALL add2 1 n 3", ":5\r\n");
}

fn policies(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    load(&mut client, &library("a", "f"));
    load(&mut client, &library("b", "g"));
    let payload = dump(&mut client);
    client.check("FUNCTION DELETE a", "+OK\r\n");
    load(&mut client, &library("c", "h"));
    for words in [&[][..], &["APPEND"]] {
        assert_eq!(restore(&mut client, &payload, words), "ERR Library 'b' already exists");
        assert_eq!(names(&mut client), ["b", "c"], "all or nothing");
    }
    load(&mut client, &library("b", "new"));
    assert_eq!(restore(&mut client, &payload, &["replace"]), "OK");
    assert_eq!(names(&mut client), ["a", "b", "c"]);
    client.check("FCALL new 0", "-ERR Function not found\r\n");
    client.check("FCALL g 0", "$3\r\nb.g\r\n");
    client.check("FUNCTION DELETE a", "+OK\r\n");
    load(&mut client, &library("c", "f"));
    assert_eq!(restore(&mut client, &payload, &["REPLACE"]), "ERR Function f already exists");
    client.check("FCALL f 0", "$3\r\nc.f\r\n");
    assert_eq!(restore(&mut client, &payload, &["FLUSH"]), "OK");
    assert_eq!(names(&mut client), ["a", "b"]);
    client.check("FCALL f 0", "$3\r\na.f\r\n");
    let wrong = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.";
    assert_eq!(restore(&mut client, &payload, &["MERGE"]), wrong);
    client.check_error(
        "FUNCTION RESTORE x REPLACE y",
        "ERR unknown subcommand or wrong number of arguments for 'RESTORE'",
    );
    client.check_error("FUNCTION RESTORE", "ERR wrong number of arguments for 'function|restore' command");
    client.check_error("FUNCTION DUMP now", "ERR wrong number of arguments for 'function|dump' command");
}

fn bad_payloads_change_nothing(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    load(&mut client, &library("a", "f"));
    let payload = dump(&mut client);
    let wrong = "ERR DUMP payload version or checksum are wrong";
    for at in 0..payload.len() {
        assert_eq!(restore(&mut client, &payload[..at], &["FLUSH"]), wrong);
        let mut changed = payload.clone();
        changed[at] ^= 1;
        assert_eq!(restore(&mut client, &changed, &["FLUSH"]), wrong);
    }
    client.check("SET k value", "+OK\r\n");
    let Value::Bulk(value) = client.call(&["DUMP", "k"]) else { panic!("a payload") };
    assert_eq!(restore(&mut client, &value, &["FLUSH"]), "ERR given type is not a function");
    for (content, error) in [
        (&b"\xf6\x00"[..], "ERR Pre-GA function format not supported"),
        (b"\xf5", "ERR Failed loading library data"),
        (b"\xf5\x05abc", "ERR Failed loading library data"),
        (b"\xf5\xc3\x02\x41\x00aa", "ERR Failed loading library data"),
        (b"\xf5\xc0\x07", "ERR Missing library metadata"),
        (b"\xf5\x0e#!lua name=x\n1", "ERR "),
        (b"\xf5\x0d#!lua name=x\n", "ERR No functions registered"),
    ] {
        let told = restore(&mut client, &with_footer(content), &["FLUSH"]);
        assert!(told.starts_with(error), "{}: {told}", content.escape_ascii());
    }
    // The second of two is wrong.
    let mut content = payload[..payload.len() - 10].to_vec();
    content.extend_from_slice(b"\xf5\x0d#!lua name=x\n");
    assert_eq!(restore(&mut client, &with_footer(&content), &["FLUSH"]), "ERR No functions registered");
    let twice = [&payload[..payload.len() - 10], &payload[..payload.len() - 10]].concat();
    assert_eq!(restore(&mut client, &with_footer(&twice), &["FLUSH"]), "ERR Library 'a' already exists");
    assert_eq!(dump(&mut client), payload);
}

/// A payload of version 10.
fn with_footer(content: &[u8]) -> Vec<u8> {
    let mut payload = [content, &[10, 0]].concat();
    let checksum = crc::Crc::<u64>::new(&crc::CRC_64_REDIS).checksum(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

fn large_ones_are_bounded_and_charged(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=64mb"]);
    let mut client = server.client();
    // More than half of what scripts may have: two of them are too much.
    let large = |name: &str| format!("{}\n--{}", library(name, name), "x".repeat(1 << 20));
    load(&mut client, &large("a"));
    let payload = dump(&mut client);
    assert!(payload.len() > 1 << 20);
    let of_b =
        with_footer(&[b"\xf5\x80", &(large("b").len() as u32).to_be_bytes()[..], large("b").as_bytes()].concat());
    let told = restore(&mut client, &of_b, &[]);
    assert!(told.starts_with("OOM the scripts and functions that are kept"), "{told}");
    assert_eq!(restore(&mut client, &of_b, &["FLUSH"]), "OK");
    let held = server.info_number("used_memory");
    client.check("FUNCTION FLUSH", "+OK\r\n");
    server.wait_for_info("used_memory", |used| used + (1 << 20) <= held);
    assert_eq!(restore(&mut client, &of_b, &[]), "OK");
    // Far more than all connections may hold, in few bytes: 264 from three, again and again.
    let head = b"#!lua name=x\n";
    let mut compressed = vec![head.len() as u8 - 1];
    compressed.extend_from_slice(head);
    let copies = 60_000;
    (0..copies).for_each(|_| compressed.extend_from_slice(&[0xe0, 0xff, 0x00]));
    let mut content = vec![0xf5, 0xc3, 0x80];
    content.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
    content.push(0x80);
    content.extend_from_slice(&((head.len() + copies * 264) as u32).to_be_bytes());
    content.extend_from_slice(&compressed);
    let told = restore(&mut client, &with_footer(&content), &["FLUSH"]);
    assert!(told.starts_with("OOM "), "{told}");
    assert_eq!(names(&mut client), ["b"]);
}

fn a_library_that_never_ends(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut other) = (server.client(), server.client());
    let source = "#!lua name=lib\nwhile true do end";
    let payload = with_footer(&[&[0xf5, source.len() as u8], source.as_bytes()].concat());
    client.send(request(&[&b"FUNCTION"[..], b"RESTORE", &payload]));
    wait_until("it may be killed", || other.call(&["FUNCTION", "KILL"]) == Value::Simple("OK".into()));
    let error = client.value().text();
    assert!(error.starts_with("ERR Script killed by user"), "{error}");
    client.check("FUNCTION LIST", "*0\r\n");
}
