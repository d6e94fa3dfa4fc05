//! Commands about keys whatever their values are, and about all of them at once.

use crate::harness::{Engine, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(
    presence,
    another_name,
    a_copy,
    what_is_told_of_a_value,
    what_is_told_of_memory,
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

fn another_name(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    // Names enough for every pair of cores.
    client.check("SET name:0 value EX 1000", "+OK\r\n");
    for n in 0..50 {
        client.check(&format!("RENAME name:{n} name:{}", n + 1), "+OK\r\n");
    }
    client.check("KEYS *", "*1\r\n$7\r\nname:50\r\n");
    client.check("GET name:50", "$5\r\nvalue\r\n");
    client.check("TTL name:50", ":1000\r\n");
    client.check("RENAME name:50 name:50", "+OK\r\n");
    client.check("RENAMENX name:50 name:50", ":0\r\n");
    client.check("SET taken x", "+OK\r\n");
    client.check("RENAMENX name:50 taken", ":0\r\n");
    client.check("RENAMENX name:50 free", ":1\r\n");
    client.check("RENAME taken free", "+OK\r\n");
    client.check("TTL free", ":-1\r\n");
    client.check("DBSIZE", ":1\r\n");
    for command in ["RENAME none x", "RENAME none none", "RENAMENX none free"] {
        client.check(command, "-ERR no such key\r\n");
    }
    let value = crate::client::patterned(1 << 20, 3);
    client.call(&[b"SET".as_slice(), b"large", &value]);
    for n in 0..20 {
        let (from, to) = (if n == 0 { "large".to_owned() } else { format!("large:{n}") }, format!("large:{}", n + 1));
        client.check(&format!("RENAME {from} {to}"), "+OK\r\n");
    }
    assert_eq!(client.call(&["GET", "large:20"]), Value::bulk(&value));
}

fn a_copy(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    client.check("SET k v EX 1000", "+OK\r\n");
    for n in 0..20 {
        client.check(&format!("COPY k copy:{n}"), ":1\r\n");
        client.check(&format!("GET copy:{n}"), "$1\r\nv\r\n");
        client.check(&format!("TTL copy:{n}"), ":1000\r\n");
    }
    client.check("SET k w", "+OK\r\n");
    client.check("COPY k copy:1", ":0\r\n");
    client.check("COPY k copy:1 REPLACE", ":1\r\n");
    client.check("TTL copy:1", ":-1\r\n");
    client.check("COPY none copy:1 REPLACE", ":0\r\n");
    client.check("COPY k k", "-ERR source and destination objects are the same\r\n");
    client.check("COPY k k DB 3", ":1\r\n");
    client.check("COPY k k DB 3", ":0\r\n");
    client.check("COPY k k REPLACE DB 3", ":1\r\n");
    client.check("COPY k k DB 16", "-ERR DB index is out of range\r\n");
    client.check("COPY k k DB x", "-ERR value is not an integer or out of range\r\n");
    for options in ["DB", "WHAT", "REPLACE 1"] {
        client.check(&format!("COPY k x {options}"), "-ERR syntax error\r\n");
    }
    client.check("SELECT 3", "+OK\r\n");
    client.check("GET k", "$1\r\nw\r\n");
}

fn what_is_told_of_a_value(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let (longest_embedded, too_long) = ("x".repeat(44), "x".repeat(45));
    for (value, encoding) in [
        ("0", "int"),
        ("-9223372036854775808", "int"),
        ("9223372036854775808", "embstr"),
        ("01", "embstr"),
        (&longest_embedded, "embstr"),
        (&too_long, "raw"),
    ] {
        client.check(&format!("SET k {value}"), "+OK\r\n");
        client.check("OBJECT ENCODING k", &format!("${}\r\n{encoding}\r\n", encoding.len()));
    }
    client.check("OBJECT REFCOUNT k", ":1\r\n");
    client.check("OBJECT IDLETIME k", ":0\r\n");
    client.check_error("OBJECT FREQ k", "ERR An LFU maxmemory policy is not selected");
    for policy in ["allkeys-lfu", "volatile-lfu"] {
        client.check(&format!("CONFIG SET maxmemory-policy {policy} lfu-decay-time 0"), "+OK\r\n");
        client.check("SET counted v", "+OK\r\n");
        client.check("OBJECT FREQ counted", ":5\r\n");
        client.check("GET counted", "$1\r\nv\r\n");
        client.check("OBJECT FREQ counted", ":6\r\n");
        client.check_error("OBJECT IDLETIME k", "ERR An LFU maxmemory policy is selected, idle time not tracked.");
        client.check("OBJECT IDLETIME none", "$-1\r\n");
        client.check("DEL counted", ":1\r\n");
    }
    for policy in ["allkeys-s3fifo", "volatile-s3fifo", "allkeys-lru", "volatile-random", "volatile-ttl", "noeviction"]
    {
        client.check(&format!("CONFIG SET maxmemory-policy {policy}"), "+OK\r\n");
        client.check("OBJECT IDLETIME k", ":0\r\n");
        client.check_error("OBJECT FREQ k", "ERR An LFU maxmemory policy is not selected");
    }
    for subcommand in ["ENCODING", "REFCOUNT", "IDLETIME", "FREQ"] {
        client.check(&format!("OBJECT {subcommand} none"), "$-1\r\n");
    }
    client.check_error("OBJECT ENCODING", "ERR wrong number of arguments for 'object|encoding' command");
    client.check_error("OBJECT WHAT k", "ERR unknown subcommand 'WHAT'. Try OBJECT HELP.");
    assert!(client.call(&["OBJECT", "HELP"]).elements().len() > 8);
}

fn what_is_told_of_memory(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.call(&["SET", "k", &"x".repeat(100_000)]);
    let bytes = client.call(&["MEMORY", "USAGE", "k"]).integer();
    assert!((100_000..120_000).contains(&bytes), "{bytes}");
    assert_eq!(client.call(&["MEMORY", "USAGE", "k", "SAMPLES", "0"]).integer(), bytes);
    client.check("MEMORY USAGE none", "$-1\r\n");
    client.check("MEMORY USAGE k SAMPLES -1", "-ERR syntax error\r\n");
    client.check("MEMORY USAGE k SAMPLES", "-ERR syntax error\r\n");
    client.check("MEMORY PURGE", "+OK\r\n");
    let mut resp3 = server.resp3_client();
    let stats = resp3.call(&["MEMORY", "STATS"]);
    assert_eq!(stats.field("keys.count"), Value::Integer(1));
    assert!(stats.field("dataset.bytes").integer() > 100_000);
    assert!(stats.field("total.allocated").integer() > stats.field("dataset.bytes").integer());
    for report in ["DOCTOR", "MALLOC-STATS"] {
        assert!(!resp3.call(&["MEMORY", report]).text().is_empty());
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
