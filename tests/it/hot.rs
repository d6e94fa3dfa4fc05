//! Copies of hot values, which each core reads without a lock: nobody can tell, but by INFO.

use crate::client::Client;
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    what_is_read_often_is_read_from_copies_and_counted_as_ever,
    a_change_on_another_core_is_seen_by_the_next_read,
    a_copy_ends_with_its_time,
    uses_of_copies_are_uses,
    who_tracks_is_told_of_what_others_have_copies_of,
    a_copy_is_no_part_of_a_transaction,
    a_copy_is_for_those_who_may_read_the_key,
    the_option_is_changeable_and_bounded,
    one_core_keeps_no_copies,
);

/// Cores that copy whatever they read.
fn eager(engine: Engine, flags: &[&str]) -> Server {
    let flags: Vec<&str> = [&["--enable-debug-command=yes"], flags].concat();
    let server = Server::with(engine, &flags);
    server.client().check("DEBUG HOT-SAMPLES 0", "+OK\r\n");
    server
}

/// Reads a key by this connection until a copy answers.
fn heat(client: &mut Client, key: &str) {
    wait_until("a copy answers", || {
        let before = client.info_number("hot_hits");
        client.call(&["GET", key]);
        client.info_number("hot_hits") > before
    });
}

fn what_is_read_often_is_read_from_copies_and_counted_as_ever(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k value", "+OK\r\n");
    let mut reads = 0;
    wait_until("the key is found to be hot", || {
        client.send("GET k\r\n".repeat(500));
        (0..500).for_each(|_| client.expect("$5\r\nvalue\r\n"));
        reads += 500;
        client.info_number("hot_hits") > 1000
    });
    assert_eq!(client.info_number("keyspace_hits"), reads);
    assert!(client.call(&["INFO", "commandstats"]).text().contains(&format!("cmdstat_get:calls={reads},")));
    assert!(client.info_number("hot_hits") < reads);
    assert!(client.info_number("hot_bytes") > 0);
    client.check("CONFIG RESETSTAT", "+OK\r\n");
    assert_eq!((client.info_number("hot_hits"), client.info_number("shard_locks_contended")), (0, 0));
    let mut monitor = server.client();
    monitor.check("MONITOR", "+OK\r\n");
    client.check("GET k", "$5\r\nvalue\r\n");
    assert!(String::from_utf8(monitor.raw_reply()).unwrap().ends_with("\"GET\" \"k\"\r\n"));
}

fn a_change_on_another_core_is_seen_by_the_next_read(engine: Engine) {
    let server = eager(engine, &["--threads=4"]);
    let mut readers: Vec<Client> = (0..8).map(|_| server.client()).collect();
    let mut writer = server.client();
    writer.check("SET k 1", "+OK\r\n");
    readers.iter_mut().for_each(|reader| heat(reader, "k"));
    for (change, value) in [
        ("SET k 2", Some("2")),
        ("APPEND k 3", Some("23")),
        ("SETRANGE k 0 4", Some("43")),
        ("INCR k", Some("44")),
        ("SETBIT k 7 1", Some("54")),
        ("BITFIELD k SET u8 0 54", Some("64")),
        ("GETEX k PX 1000000", Some("64")),
        ("PERSIST k", Some("64")),
        ("EVAL return(redis.call('SET',KEYS[1],'7')) 1 k", Some("7")),
        ("COPY other k REPLACE", Some("other")),
        ("GETDEL k", None),
        ("MSET k 8 l 9", Some("8")),
        ("RENAME k away", None),
        ("RENAME away k", Some("8")),
        ("MOVE k 3", None),
        ("SWAPDB 0 3", Some("8")),
        ("PEXPIRE k 0", None),
        ("SET k 9", Some("9")),
        ("FLUSHDB", None),
        ("SET k 10", Some("10")),
        ("FLUSHALL", None),
    ] {
        writer.call(&["SET", "other", "other"]);
        // Copies of what is there before the change.
        readers.iter_mut().for_each(|reader| drop((reader.call(&["GET", "k"]), reader.call(&["GET", "k"]))));
        let words: Vec<&str> = change.split(' ').collect();
        writer.call(&words);
        let expect = value.map_or("$-1\r\n".to_owned(), |value| format!("${}\r\n{value}\r\n", value.len()));
        for reader in &mut readers {
            reader.check("GET k", &expect);
            reader.check("GET k", &expect);
        }
    }
    assert!(writer.info_number("hot_stale") > 50);
}

fn a_copy_ends_with_its_time(engine: Engine) {
    let server = eager(engine, &[]);
    let mut client = server.client();
    for _ in 0..5 {
        client.check("SET k v PX 300", "+OK\r\n");
        wait_until("its time has come", || {
            client.call(&["GET", "k"]);
            let left = client.call(&["PTTL", "k"]).integer();
            assert!(left >= 0 || client.call(&["GET", "k"]) == Value::Null, "read when its time had come");
            left < 0
        });
    }
}

fn uses_of_copies_are_uses(engine: Engine) {
    let server = eager(engine, &[]);
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    heat(&mut client, "k");
    // It was idle for longer before it was read again.
    wait_until("it has been idle", || client.call(&["OBJECT", "IDLETIME", "k"]).integer() >= 1);
    client.check("CLIENT NO-TOUCH ON", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
    assert!(client.call(&["OBJECT", "IDLETIME", "k"]).integer() >= 1);
    client.check("CLIENT NO-TOUCH OFF", "+OK\r\n");
    heat(&mut client, "k");
    wait_until("the shard knows", || client.call(&["OBJECT", "IDLETIME", "k"]).integer() == 0);
    client.check("CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor 0", "+OK\r\n");
    client.check("SET l v", "+OK\r\n");
    heat(&mut client, "l");
    (0..100).for_each(|_| drop(client.call(&["GET", "l"])));
    wait_until("the shard has counted", || client.call(&["OBJECT", "FREQ", "l"]).integer() > 100);
}

fn who_tracks_is_told_of_what_others_have_copies_of(engine: Engine) {
    let server = eager(engine, &[]);
    let (mut reader, mut tracking, mut writer) = (server.client(), server.resp3_client(), server.client());
    writer.check("SET k 1", "+OK\r\n");
    heat(&mut reader, "k");
    heat(&mut tracking, "k");
    tracking.check("CLIENT TRACKING ON", "+OK\r\n");
    for number in 2..5 {
        tracking.call(&["GET", "k"]);
        writer.call(&["SET", "k", &number.to_string()]);
        tracking.expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    }
}

fn a_copy_is_no_part_of_a_transaction(engine: Engine) {
    let server = eager(engine, &[]);
    let (mut client, mut writer) = (server.client(), server.client());
    client.check("SET k 1", "+OK\r\n");
    heat(&mut client, "k");
    client.check("WATCH k", "+OK\r\n");
    client.check("GET k", "$1\r\n1\r\n");
    writer.check("SET k 2", "+OK\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("GET k", "+QUEUED\r\n");
    client.check("EXEC", "*-1\r\n");
    client.send("MULTI\r\nSET k 3\r\nGET k\r\nEXEC\r\nGET k\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\n3\r\n$1\r\n3\r\n");
    // A pipeline sees what it has written itself.
    client.send("GET k\r\nSET k 4\r\nGET k\r\nGET k\r\nDEL k\r\nGET k\r\n");
    client.expect("$1\r\n3\r\n+OK\r\n$1\r\n4\r\n$1\r\n4\r\n:1\r\n$-1\r\n");
}

fn the_option_is_changeable_and_bounded(engine: Engine) {
    let server = eager(engine, &["--maxmemory=64mb", "--hot-cache=1mb"]);
    let mut client = server.client();
    client.check("CONFIG GET hot-cache", "*2\r\n$9\r\nhot-cache\r\n$3\r\n1mb\r\n");
    client.call(&["SET", "k", &"v".repeat(3000)]);
    heat(&mut client, "k");
    // More than there is room for.
    for number in 0..2000 {
        let key = format!("key:{number}");
        client.call(&["SET", &key, &"v".repeat(3000)]);
        client.call(&["GET", &key]);
        client.call(&["GET", &key]);
    }
    let held = client.info_number("hot_bytes");
    assert!(held > 100 << 10 && held <= 1 << 20, "{held}");
    client.check_error("CONFIG SET hot-cache much", "ERR CONFIG SET failed");
    client.check("CONFIG SET hot-cache off", "+OK\r\n");
    server.wait_for_info("hot_bytes", |bytes| bytes == 0);
    let before = client.info_number("hot_hits");
    (0..10).for_each(|_| drop(client.call(&["GET", "k"])));
    assert_eq!(client.info_number("hot_hits"), before);
    client.check("CONFIG SET hot-cache auto", "+OK\r\n");
    heat(&mut client, "k");
}

fn one_core_keeps_no_copies(engine: Engine) {
    let server = eager(engine, &["--threads=1"]);
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    client.send("GET k\r\n".repeat(10_000));
    (0..10_000).for_each(|_| client.expect("$1\r\nv\r\n"));
    assert_eq!((client.info_number("hot_hits"), client.info_number("hot_bytes")), (0, 0));
}

fn a_copy_is_for_those_who_may_read_the_key(engine: Engine) {
    let server = eager(engine, &[]);
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    heat(&mut client, "k");
    client.check("ACL SETUSER other on >pw ~other:* +@all", "+OK\r\n");
    let mut others: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for other in &mut others {
        other.check("AUTH other pw", "+OK\r\n");
        (0..3).for_each(|_| other.check_error("GET k", "NOPERM "));
    }
    client.check("ACL SETUSER other ~k", "+OK\r\n");
    others.iter_mut().for_each(|other| other.check("GET k", "$1\r\nv\r\n"));
    client.check("ACL SETUSER other resetkeys", "+OK\r\n");
    others.iter_mut().for_each(|other| other.check_error("GET k", "NOPERM "));
}
