//! The door for memcached's clients: the same keys as through the others, bounded and guarded alike. What a conversation answers
//! in detail is tested where it is written (`src/protocol/memcached/session/tests.rs`).

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

use nix::sys::signal::Signal;

use crate::client::{Client, patterned};
use crate::harness::{Engine, Server, on_every_driver, peak_resident_bytes};
use crate::long_scripts::{FOREVER, start_and_wait};
use crate::wire::Value;

on_every_driver!(
    one_keyspace_behind_all_doors,
    a_version_never_matches_after_a_change_from_any_door,
    flags_stay_or_go_as_commands_say,
    operators_and_watchers_see_it_as_any_other,
    a_long_script_keeps_only_its_own_key,
    a_conversation_cut_at_every_byte,
    large_values_come_and_go,
    who_does_not_read_is_bounded,
    uploads_share_a_bounded_memory,
    who_leaves_in_the_middle_leaves_nothing,
    passwords,
    commands_that_nobody_may_run,
    users_may_do_what_their_rules_say,
    one_too_many,
    a_full_cache_says_so,
    a_flush_that_is_put_off,
    a_drain_closes,
    what_is_counted,
    strangers_are_told,
);

/// A server with its door for memcached.
fn start(engine: Engine, flags: &[&str]) -> (Server, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = format!("--memcached-port={}", free.port());
    let server = Server::with(engine, &[flags, &[&port]].concat());
    assert!(server.stderr().contains("memcached on"), "{}", server.stderr());
    (server, free)
}

fn connect(address: SocketAddr) -> Client {
    Client::new(TcpStream::connect(address).expect("the server accepts"))
}

/// Sends a request and expects an answer.
fn ask(client: &mut Client, request: impl AsRef<[u8]>, expect: impl AsRef<[u8]>) {
    client.send(request);
    client.expect(expect);
}

fn commands_that_nobody_may_run(engine: Engine) {
    let flags = ["--disable-command=flushdb,del,config|resetstat,getex"];
    let (_server, address) = start(engine, &flags);
    let mut memcached = connect(address);
    let refused = "CLIENT_ERROR --disable-command takes away the command that does this\r\n";
    ask(&mut memcached, "set k 0 0 1\r\nv\r\n", "STORED\r\n");
    for request in ["flush_all\r\n", "delete k\r\n", "stats reset\r\n", "mg k T10 v\r\n"] {
        ask(&mut memcached, request, refused);
    }
    ask(&mut memcached, "get k\r\n", "VALUE k 0 1\r\nv\r\nEND\r\n");
}

fn one_keyspace_behind_all_doors(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let (mut resp, mut memcached) = (server.client(), connect(address));
    ask(&mut memcached, "set k 5 100 3\r\none\r\n", "STORED\r\n");
    resp.check("GET k", "$3\r\none\r\n");
    assert!(matches!(resp.call(&["TTL", "k"]), Value::Integer(99..=100)));
    resp.check("SET n 5", "+OK\r\n");
    ask(&mut memcached, "incr n 37\r\nget n\r\n", "42\r\nVALUE n 0 2\r\n42\r\nEND\r\n");
    resp.check("INCRBY n 1", ":43\r\n");
    ask(&mut memcached, "ma n MD D3 v\r\n", "VA 2\r\n40\r\n");
    // Keys that the classic commands cannot name.
    resp.call(&[b"SET".as_slice(), b"\0 \xff", b"v"]);
    ask(&mut memcached, "mg ACD/ b v k\r\n", "VA 1 kACD/ b\r\nv\r\n");
    resp.check("SELECT 1", "+OK\r\n");
    resp.check("SET n other", "+OK\r\n");
    ask(&mut memcached, "get n\r\ntouch n -1\r\nget n\r\n", "VALUE n 0 2\r\n40\r\nEND\r\nTOUCHED\r\nEND\r\n");
    ask(&mut memcached, "flush_all\r\n", "OK\r\n");
    resp.check("GET n", "$5\r\nother\r\n");
    resp.check("SELECT 0", "+OK\r\n");
    resp.check("DBSIZE", ":0\r\n");
    // A key that is watched is changed through the other door.
    resp.check("WATCH w", "+OK\r\n");
    ask(&mut memcached, "ms w 1\r\nv\r\n", "HD\r\n");
    resp.check("MULTI", "+OK\r\n");
    resp.check("EXEC", "*-1\r\n");
}

/// The version that `gets` tells.
fn version(memcached: &mut Client, key: &str) -> u64 {
    memcached.send(format!("mg {key} c\r\n"));
    memcached.line().trim_end().strip_prefix("HD c").unwrap().parse().unwrap()
}

fn a_version_never_matches_after_a_change_from_any_door(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let (mut resp, mut memcached) = (server.client(), connect(address));
    let large = "9".repeat(100_000);
    for value in ["41", &large] {
        for change in [
            "SET k 41",
            "SET k 41 KEEPTTL",
            "APPEND k x",
            "SETRANGE k 0 4",
            "SETBIT k 1 1",
            "BITFIELD k SET u8 0 50",
            "GETSET k 41",
            "MSET k 41",
            "COPY other k REPLACE",
            "RENAME other k",
            "INCR k",
            "INCRBYFLOAT k 1.5",
        ] {
            if change.starts_with("INCR") && value.len() > 2 {
                continue;
            }
            resp.call(&["SET", "other", "41"]);
            resp.call(&["SET", "k", value]);
            let before = version(&mut memcached, "k");
            assert_eq!(version(&mut memcached, "k"), before, "{change}");
            resp.check("EXPIRE k 1000", ":1\r\n");
            assert_eq!(version(&mut memcached, "k"), before, "{change}");
            let words: Vec<_> = change.split(' ').collect();
            assert!(!matches!(resp.call(&words), Value::Error(_)), "{change}");
            ask(&mut memcached, format!("cas k 0 0 1 {before}\r\nx\r\n"), "EXISTS\r\n");
            assert!(version(&mut memcached, "k") > before, "{change}");
        }
    }
    let before = version(&mut memcached, "k");
    resp.check("DEL k", ":1\r\n");
    ask(&mut memcached, format!("cas k 0 0 1 {before}\r\nx\r\n"), "NOT_FOUND\r\n");
    resp.check("SET k 41", "+OK\r\n");
    ask(&mut memcached, format!("cas k 0 0 1 {before}\r\nx\r\n"), "EXISTS\r\n");
}

fn flags_stay_or_go_as_commands_say(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let (mut resp, mut memcached) = (server.client(), connect(address));
    for (change, flags) in [
        ("APPEND k 1", 7),
        ("INCR k", 7),
        ("SETRANGE k 0 5", 7),
        ("EXPIRE k 100", 7),
        ("GETEX k PERSIST", 7),
        ("RENAME k k2", 7),
        ("COPY k k2", 7),
        ("SET k 5", 0),
        ("SET k 5 KEEPTTL", 0),
        ("GETSET k 5", 0),
        ("MSET k 5", 0),
    ] {
        ask(&mut memcached, "ms k 1 F7\r\n4\r\nms k2 1\r\n0\r\ndelete k2\r\n", "HD\r\nHD\r\nDELETED\r\n");
        resp.call(&change.split(' ').collect::<Vec<_>>());
        let key = if change.ends_with("k2") { "k2" } else { "k" };
        ask(&mut memcached, format!("mg {key} f\r\n"), format!("HD f{flags}\r\n"));
    }
}

fn operators_and_watchers_see_it_as_any_other(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let (mut resp, mut memcached) = (server.client(), connect(address));
    let mut caching = server.resp3_client();
    caching.check("CLIENT TRACKING ON", "+OK\r\n");
    caching.check("GET k", "_\r\n");
    let mut monitor = server.client();
    monitor.check("MONITOR", "+OK\r\n");
    ask(&mut memcached, "set k 5 100 1\r\nv\r\n", "STORED\r\n");
    caching.expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    let line = String::from_utf8(monitor.raw_reply()).unwrap();
    let peer = memcached.stream().local_addr().unwrap();
    assert!(line.ends_with(&format!("[0 {peer}] \"set\" \"k\" \"v\"\r\n")), "{line}");
    drop(monitor);
    let listed = resp.call(&["CLIENT", "LIST"]).text();
    assert!(
        listed.lines().any(|line| line.contains(&format!("addr={peer} ")) && line.contains(" cmd=set ")),
        "{listed}"
    );
    // Writes wait for the end of a pause, reads do not.
    resp.check("CLIENT PAUSE 1000000 WRITE", "+OK\r\n");
    memcached.send("get k\r\nset k 0 0 1\r\nw\r\nget k\r\n");
    memcached.expect("VALUE k 5 1\r\nv\r\nEND\r\n");
    server.wait_for_info("blocked_clients", |count| count == 1);
    resp.check("CLIENT UNPAUSE", "+OK\r\n");
    memcached.expect("STORED\r\nVALUE k 0 1\r\nw\r\nEND\r\n");
    assert_eq!(resp.call(&["CLIENT", "KILL", "ADDR", &peer.to_string()]), Value::Integer(1));
    memcached.expect_closed();
}

fn a_long_script_keeps_only_its_own_key(engine: Engine) {
    let (server, address) = start(engine, &["--busy-reply-threshold=50"]);
    let mut client = server.client();
    start_and_wait(&server, &mut client, FOREVER);
    // Whoever comes now is served by the other core.
    let mut memcached = connect(address);
    let busy = "SERVER_ERROR busy: a script keeps the core or the key\r\n";
    ask(&mut memcached, "get k\r\nset k 0 0 1\r\nv\r\nversion\r\n", format!("{busy}{busy}VERSION 1.6.18\r\n"));
    // Of several keys: the error stands where the end would.
    let free = (0..).map(|n| format!("key:{n}")).find(|key| {
        memcached.send(format!("set {key} 0 0 1\r\nv\r\n"));
        memcached.line() == "STORED\r\n"
    });
    let free = free.unwrap();
    let value = format!("VALUE {free} 0 1\r\nv\r\n");
    ask(&mut memcached, format!("get {free} k {free} k\r\nmn\r\n"), format!("{value}{busy}MN\r\n"));
    server.client().check("SCRIPT KILL", "+OK\r\n");
    client.raw_reply();
    ask(&mut memcached, "set k 0 0 1\r\nv\r\n", "STORED\r\n");
}

fn a_conversation_cut_at_every_byte(engine: Engine) {
    let (_server, address) = start(engine, &[]);
    let input = "set k 1 0 5\r\na\r\nbc\r\nget k none\r\nms k 3 F2 c E9\r\nxyz\r\nmg k v f c Oq\r\nincr k 1\r\nset k\r\nquit\r\n";
    let expect = "STORED\r\nVALUE k 1 5\r\na\r\nbc\r\nEND\r\nHD c9\r\nVA 3 f2 c9 Oq\r\nxyz\r\n\
                  CLIENT_ERROR cannot increment or decrement non-numeric value\r\nERROR\r\n";
    for cut in 1..input.len() {
        let mut client = connect(address);
        client.send(&input[..cut]);
        client.send(&input[cut..]);
        client.expect(expect);
        client.expect_closed();
    }
    let mut client = connect(address);
    input.bytes().for_each(|byte| client.send([byte]));
    client.expect(expect);
}

fn large_values_come_and_go(engine: Engine) {
    let (server, address) = start(engine, &["--memcached-max-item-size=30mb"]);
    let (mut resp, mut memcached) = (server.client(), connect(address));
    for (n, length) in [16_383, 16_384, 65_536, 1 << 20, 20 << 20].into_iter().enumerate() {
        let value = patterned(length, n);
        let storing = [format!("set v{n} 3 0 {length}\r\n").as_bytes(), &value, b"\r\n"].concat();
        ask(&mut memcached, storing, "STORED\r\n");
        let answer = [format!("VALUE v{n} 3 {length}\r\n").as_bytes(), &value, b"\r\nEND\r\n"].concat();
        ask(&mut memcached, format!("get v{n}\r\n"), answer);
        assert_eq!(resp.call(&["STRLEN", &format!("v{n}")]), Value::Integer(length as i64));
        let storing = [format!("ms m{n} {length} T0 F4\r\n").as_bytes(), &value, b"\r\nmn\r\n"].concat();
        ask(&mut memcached, storing, "HD\r\nMN\r\n");
        let answer = [format!("VA {length} f4\r\n").as_bytes(), &value, b"\r\n"].concat();
        ask(&mut memcached, format!("mg m{n} v f\r\n"), answer);
        // Without its line end, and what follows is read again.
        let storing = [format!("set v{n} 3 0 {length}\r\n").as_bytes(), &value, b"xxmn\r\n"].concat();
        ask(&mut memcached, storing, "CLIENT_ERROR bad data chunk\r\nMN\r\n");
    }
    if engine == Engine::Multishot {
        assert!(server.info_number("total_net_placed_bytes") > 20 << 20);
    }
    let length = 31 << 20;
    let storing = [format!("set v0 3 0 {length}\r\n").as_bytes(), &patterned(length, 1), b"\r\nget v0\r\n"].concat();
    ask(&mut memcached, storing, "SERVER_ERROR object too large for cache\r\nEND\r\n");
}

/// A gigabyte of replies is asked for and not taken; then it is.
fn who_does_not_read_is_bounded(engine: Engine) {
    const REQUESTS: usize = 20_000;
    let (server, address) = start(engine, &[]);
    let mut other = connect(address);
    let value = patterned(50_000, 1);
    ask(&mut other, [b"set k 0 0 50000\r\n".as_slice(), &value, b"\r\n"].concat(), "STORED\r\n");
    let before = server.resident_bytes();
    let mut client = connect(address);
    let mut writer = client.stream().try_clone().unwrap();
    let input = "mg k v\r\n".repeat(REQUESTS);
    let writing = std::thread::spawn(move || writer.write_all(input.as_bytes()).unwrap());
    server.wait_for_info("client_output_waits", |waits| waits > 0);
    for _ in 0..200 {
        ask(&mut other, "get none\r\n", "END\r\n");
    }
    let (held, limit) = (server.info_number("used_memory_clients"), server.info_number("client_memory_limit"));
    // How much depends on when it meets the first wait; who does not read gets no more after it.
    assert!((1..=limit).contains(&held), "{held} of {limit} bytes wait for clients");
    let answer = [b"VA 50000\r\n".as_slice(), &value, b"\r\n"].concat();
    for _ in 0..REQUESTS {
        client.expect(&answer);
    }
    writing.join().unwrap();
    let peak = peak_resident_bytes(&server);
    assert!(peak <= before + 2 * limit as usize, "{before} bytes before, {peak} at the peak");
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

/// All connections together may hold an eighth of the cap: the one that goes beyond is refused, not the server.
fn uploads_share_a_bounded_memory(engine: Engine) {
    let (server, address) = start(engine, &["--maxmemory=64mb", "--threads=1", "--memcached-max-item-size=8mb"]);
    let value = patterned(5 << 20, 1);
    let head = format!("set k 0 0 {}\r\n", value.len());
    let mut first = connect(address);
    first.send(&head);
    first.send(&value[..value.len() - 2]);
    server.wait_for_info("used_memory_clients", |bytes| bytes >= (5 << 20) - 2);
    let mut second = connect(address);
    let _ = second.try_send(head.as_bytes()).and_then(|()| second.try_send(&value));
    second.expect("SERVER_ERROR out of memory storing object\r\n");
    ask(&mut connect(address), "set small 0 0 1\r\nv\r\n", "STORED\r\n");
    first.send(&value[value.len() - 2..]);
    ask(&mut first, "\r\n", "STORED\r\n");
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

fn who_leaves_in_the_middle_leaves_nothing(engine: Engine) {
    let (server, address) = start(engine, &["--memcached-max-item-size=32mb"]);
    let before = server.info_number("connected_clients");
    for head in ["set k 0 0 30000000\r\n", "ms k 30000000 q\r\n"] {
        let mut client = connect(address);
        client.send(head);
        client.send(vec![b'x'; 8 << 20]);
        server.wait_for_info("used_memory_clients", |bytes| bytes >= 7 << 20);
        drop(client);
        server.wait_for_info("connected_clients", |count| count == before);
        server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
    }
    server.client().check("EXISTS k", ":0\r\n");
}

/// User and password come as the value of a first `set`, as memcached has it.
fn passwords(engine: Engine) {
    let (server, address) = start(engine, &["--requirepass=two words"]);
    let mut client = connect(address);
    let refused = "CLIENT_ERROR unauthenticated\r\n";
    ask(&mut client, "get k\r\nmg k\r\nversion\r\n", refused.repeat(3));
    for (value, expect) in [
        ("default", "CLIENT_ERROR bad authentication token format\r\n"),
        ("default wrong", "CLIENT_ERROR authentication failure\r\n"),
        ("root two words", "CLIENT_ERROR authentication failure\r\n"),
        ("default two words", "STORED\r\n"),
    ] {
        ask(&mut client, format!("set any 0 0 {}\r\n{value}\r\n", value.len()), expect);
    }
    // From now on it is a value.
    ask(&mut client, "set k 0 0 4\r\na b \r\nget k any\r\n", "STORED\r\nVALUE k 0 4\r\na b \r\nEND\r\n");
    let mut other = connect(address);
    other.send(format!("set k 0 0 100000\r\n{}\r\n", "x".repeat(100)));
    other.expect(refused);
    other.expect_closed();
    let mut resp = server.client();
    resp.call(&["AUTH", "two words"]);
    assert_eq!(resp.info("auth_failures"), "2");
}

fn users_may_do_what_their_rules_say(engine: Engine) {
    let (server, address) = start(engine, &["--requirepass=secret"]);
    let mut resp = server.client();
    resp.call(&["AUTH", "secret"]);
    resp.check("ACL SETUSER app on >pw ~app:* +get +set +info", "+OK\r\n");
    let mut client = connect(address);
    ask(&mut client, "set any 0 0 6\r\napp pw\r\n", "STORED\r\n");
    let refused = "CLIENT_ERROR the user may not do that\r\n";
    ask(&mut client, "set app:k 0 0 1\r\nv\r\nset k 0 0 1\r\nv\r\n", format!("STORED\r\n{refused}"));
    // Of several keys: the error stands where the end would.
    ask(&mut client, "get app:k k app:k\r\n", format!("VALUE app:k 0 1\r\nv\r\n{refused}"));
    for request in ["delete app:k", "incr app:k 1", "md app:k", "flush_all", "stats reset", "stats cachedump 1 1"] {
        ask(&mut client, format!("{request}\r\n"), refused);
    }
    ask(&mut client, "mg app:k v\r\nstats items\r\n", "VA 1\r\nv\r\nSTAT items:1:number 1\r\n");
}

fn one_too_many(engine: Engine) {
    let (_server, address) = start(engine, &["--maxclients=1"]);
    let mut client = connect(address);
    ask(&mut client, "mn\r\n", "MN\r\n");
    let mut other = connect(address);
    other.expect("ERROR Too many open connections\r\n");
    other.expect_closed();
    ask(&mut client, "mn\r\n", "MN\r\n");
}

fn a_full_cache_says_so(engine: Engine) {
    let (_server, address) = start(engine, &["--maxmemory=16mb", "--maxmemory-policy=noeviction"]);
    let mut client = connect(address);
    let value = patterned(100_000, 1);
    let mut stored = 0;
    loop {
        client.send([format!("set k{stored} 0 0 100000\r\n").as_bytes(), &value, b"\r\nmn\r\n"].concat());
        let answer = client.line();
        client.expect("MN\r\n");
        if answer != "STORED\r\n" {
            assert_eq!(answer, "SERVER_ERROR out of memory storing object\r\n");
            break;
        }
        stored += 1;
    }
    assert!(stored > 10);
    let answer = [b"VALUE k0 0 100000\r\n".as_slice(), &value, b"\r\nEND\r\n"].concat();
    ask(&mut client, "get k0\r\n", answer);
    // What was to be replaced by what finds no room is stale.
    let larger = patterned(900_000, 1);
    let lost = (0..stored).find(|n| {
        client.send([format!("set k{n} 0 0 900000\r\n").as_bytes(), &larger, b"\r\n"].concat());
        client.line() == "SERVER_ERROR out of memory storing object\r\n"
    });
    ask(&mut client, format!("get k{}\r\n", lost.expect("it is full")), "END\r\n");
}

fn a_flush_that_is_put_off(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let mut client = connect(address);
    ask(&mut client, "set k 0 0 1\r\nv\r\nflush_all 1000\r\nget k\r\n", "STORED\r\nOK\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
    // The last one holds.
    ask(&mut client, "flush_all 1\r\n", "OK\r\n");
    crate::harness::wait_until("the flush", || server.client().call(&["DBSIZE"]) == Value::Integer(0));
    ask(&mut client, "set k 0 0 1\r\nv\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
}

fn a_drain_closes(engine: Engine) {
    let (mut server, address) = start(engine, &[]);
    let mut idle = connect(address);
    ask(&mut idle, "mn\r\n", "MN\r\n");
    server.signal(Signal::SIGTERM);
    idle.expect_closed();
    assert_eq!(server.wait().code(), Some(0));
}

fn what_is_counted(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let mut client = connect(address);
    ask(&mut client, "set k 0 0 1\r\n5\r\nget k none\r\n", "STORED\r\nVALUE k 0 1\r\n5\r\nEND\r\n");
    ask(
        &mut client,
        "incr k 1\r\ndecr none 1\r\ntouch k 0\r\ndelete none\r\n",
        "6\r\nNOT_FOUND\r\nTOUCHED\r\nNOT_FOUND\r\n",
    );
    ask(&mut client, "cas k 0 0 1 1\r\nx\r\nGET / HTTP/1.1\r\n", "EXISTS\r\n");
    client.expect_closed();
    let mut resp = server.client();
    for (field, expect) in [
        ("memcached_port", address.port() as u64),
        ("memcached_connections_received", 1),
        ("memcached_requests_processed", 9),
        ("memcached_get_hits", 1),
        ("memcached_get_misses", 1),
        ("memcached_incr_hits", 1),
        ("memcached_decr_misses", 1),
        ("memcached_touch_hits", 1),
        ("memcached_delete_misses", 1),
        ("memcached_cas_badval", 1),
        ("protocol_errors", 1),
    ] {
        assert_eq!(resp.info_number(field), expect, "{field}");
    }
    let mut client = connect(address);
    client.send("stats\r\nstats settings\r\nstats items\r\nstats slabs\r\nstats sizes\r\nstats nothing\r\nquit\r\n");
    let text = String::from_utf8(client.rest()).unwrap();
    for line in [
        "STAT cmd_get 2",
        "STAT cmd_set 2",
        "STAT get_hits 1",
        "STAT curr_items 1",
        "STAT threads 2",
        "STAT version 1.6.18",
        "STAT maxbytes 536870912",
        "STAT item_size_max 1048576",
        &format!("STAT tcpport {}", address.port()),
        "STAT items:1:number 1",
        "STAT 1:used_chunks 1",
        "STAT active_slabs 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert_eq!(text.matches("\r\nEND\r\n").count(), 5);
    assert!(text.ends_with("END\r\nERROR\r\n"));
    let mut client = connect(address);
    ask(&mut client, "stats cachedump 1 5\r\n", "ITEM k [1 b; 0 s]\r\nEND\r\n");
    ask(&mut client, "stats cachedump 2 5\r\nstats cachedump\r\n", "END\r\nCLIENT_ERROR bad command line\r\n");
    ask(&mut client, "stats reset\r\nstats detail\r\n", "RESET\r\nCLIENT_ERROR stats detail not allowed\r\n");
    assert_eq!(resp.info("memcached_get_hits"), "0");
}

/// A `get` of the binary protocol and TLS, neither of which ends like a line: one is answered, with a password or without,
/// the other closed, and the log says what they were.
fn strangers_are_told(engine: Engine) {
    let (server, address) = start(engine, &["--requirepass=secret"]);
    let request = b"\x80\0\0\x01\0\0\0\0\0\0\0\x01\0\0\x01\x02\0\0\0\0\0\0\0\0k";
    let expect = b"\x81\0\0\0\0\0\0\x83\0\0\0\x38\0\0\x01\x02\0\0\0\0\0\0\0\0Only memcached's text \
        and meta protocols are spoken here";
    let mut binary = connect(address);
    ask(&mut binary, request, expect);
    ask(&mut binary, "set k 0 0 14\r\ndefault secret\r\n", "STORED\r\n");
    ask(&mut binary, request, expect);
    let mut tls = connect(address);
    tls.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc");
    tls.expect_closed();
    crate::harness::wait_until("the line in the log", || server.stderr().contains("memcached's binary protocol"));
    let mut resp = server.client();
    resp.check("AUTH secret", "+OK\r\n");
    assert_eq!(resp.info_number("protocol_errors"), 2);
}

#[test]
fn a_port_that_is_taken_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!("--memcached-port={}", taken.local_addr().unwrap().port());
    let (code, _, errors) = crate::harness::run_to_end(crate::harness::command(&[&flag]));
    assert_ne!(code, Some(0));
    assert!(errors.contains("choose another --memcached-port"), "{errors}");
}
