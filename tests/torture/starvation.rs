//! Starvation: clients that keep a core or a shard busy. Neighbours on every core are served all the while.

use crate::client::{patterned, request};
use crate::harness::{Engine, on_every_driver};
use crate::siege::{Siege, rounds};
use crate::wire::Value;

on_every_driver!(
    subsequences_of_large_values,
    bits_of_large_values,
    thousands_of_prefixes,
    emptying_with_a_full_table_of_tracked_keys,
    swapping_with_a_full_table_of_tracked_keys,
    hundreds_of_thousands_that_expire_at_once,
);

fn subsequences_of_large_values(engine: Engine) {
    let siege = Siege::begin(engine, "LCS in a pipeline");
    let mut client = siege.server().client();
    client.call(&[b"SET".as_slice(), b"a", &patterned(4_000, 1)]);
    client.call(&[b"SET".as_slice(), b"b", &patterned(4_000, 2)]);
    for _ in 0..rounds() {
        client.send(request(&["LCS", "a", "b", "LEN"]).repeat(30));
        let length = client.value();
        (1..30).for_each(|_| assert_eq!(client.value(), length));
    }
    siege.end();
}

fn bits_of_large_values(engine: Engine) {
    let siege = Siege::begin(engine, "BITCOUNT and BITPOS in a pipeline");
    let mut client = siege.server().client();
    client.call(&[b"SET".as_slice(), b"k", &vec![0xff; 8 << 20]]);
    for _ in 0..rounds() {
        client.send([request(&["BITCOUNT", "k"]), request(&["BITPOS", "k", "0", "0", "-1"])].concat().repeat(50));
        client.expect(":67108864\r\n:-1\r\n".repeat(50));
    }
    siege.end();
}

fn thousands_of_prefixes(engine: Engine) {
    let siege = Siege::begin(engine, "thousands of prefixes");
    let mut clients = siege.clients(100);
    for (number, client) in clients.iter_mut().enumerate() {
        client.call(&["HELLO", "3"]);
        let words: Vec<String> = (0..64).flat_map(|prefix| ["PREFIX".into(), format!("p{number}:{prefix}:")]).collect();
        let all = ["CLIENT", "TRACKING", "ON", "BCAST"].map(str::to_owned).into_iter().chain(words);
        assert_eq!(client.call(&all.collect::<Vec<_>>()), Value::Simple("OK".into()));
    }
    let mut writer = siege.server().client();
    for _ in 0..rounds() {
        for n in 0..20 {
            let input: Vec<u8> = (0..500).flat_map(|key| request(&["SET", &format!("q{n}:{key}"), "v"])).collect();
            writer.send(&input);
            writer.expect("+OK\r\n".repeat(500));
        }
    }
    clients[7].check("PING", "+PONG\r\n");
    writer.check("SET p7:3:x v", "+OK\r\n");
    clients[7].expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$6\r\np7:3:x\r\n");
    siege.end();
}

/// As many keys as the table holds are tracked; then `command` comes again and again.
fn with_tracked_keys(engine: Engine, name: &'static str, command: &[&str]) {
    let siege = Siege::begin(engine, name);
    let (mut reader, mut other) = (siege.server().resp3_client(), siege.server().client());
    reader.check("CLIENT TRACKING ON", "+OK\r\n");
    for _ in 0..2 * rounds() {
        let keys: Vec<String> = (0..30_000).map(|key| format!("key:{key}")).collect();
        for some in keys.chunks(1_000) {
            let words: Vec<&str> = std::iter::once("MGET").chain(some.iter().map(String::as_str)).collect();
            reader.send(request(&words));
            while reader.raw_reply().starts_with(b">") {}
        }
        (0..5).for_each(|_| assert_eq!(other.call(command), Value::Simple("OK".into())));
    }
    // It is told, and stays.
    reader.send(request(&["PING"]));
    while reader.raw_reply() != b"+PONG\r\n" {}
    siege.end();
}

fn emptying_with_a_full_table_of_tracked_keys(engine: Engine) {
    with_tracked_keys(engine, "FLUSHALL with tracked keys", &["FLUSHALL"]);
}

fn swapping_with_a_full_table_of_tracked_keys(engine: Engine) {
    with_tracked_keys(engine, "SWAPDB with tracked keys", &["SWAPDB", "3", "5"]);
}

fn hundreds_of_thousands_that_expire_at_once(engine: Engine) {
    let siege = Siege::begin(engine, "keys that expire at once");
    let mut client = siege.server().client();
    let Value::Array(time) = client.call(&["TIME"]) else { panic!("no time") };
    let at = (time[0].text().parse::<u64>().unwrap() + 3).to_string();
    for from in (0..300_000 * rounds()).step_by(1000) {
        let input: Vec<u8> =
            (from..from + 1000).flat_map(|key| request(&["SET", &format!("key:{key}"), "v", "EXAT", &at])).collect();
        client.send(&input);
        client.expect("+OK\r\n".repeat(1000));
    }
    siege.server().wait_for_info("expired_keys", |expired| expired >= 300_000 * rounds() as u64);
    siege.end();
}
