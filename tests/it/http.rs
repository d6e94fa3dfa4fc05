//! The door for HTTP: the same keys as through RESP's, bounded and guarded alike. What a conversation answers in detail is
//! tested where it is written (`src/protocol/http/session/tests.rs`).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use kv_cache::config::limits;
use nix::sys::signal::Signal;

use crate::client::{bulk, patterned, request};
use crate::harness::{DEADLINE, Engine, Server, on_every_driver, peak_resident_bytes};
use crate::long_scripts::{FOREVER, start_and_wait};
use crate::wire::Value;

on_every_driver!(
    one_keyspace_behind_both_doors,
    operators_and_watchers_see_it_as_any_other,
    a_long_script_keeps_only_its_own_key,
    a_conversation_cut_at_every_byte,
    large_values_come_and_go,
    who_does_not_read_is_bounded,
    uploads_share_a_bounded_memory,
    who_leaves_in_the_middle_leaves_nothing,
    passwords,
    one_too_many,
    a_full_cache_says_so,
    a_drain_answers_and_closes,
    what_is_counted,
);

/// A server with its door for HTTP.
pub fn start(engine: Engine, flags: &[&str]) -> (Server, SocketAddr) {
    loop {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = format!("--http-port={}", free.port());
        let server = Server::with(engine, &[flags, &[&port]].concat());
        // Unless somebody was quicker.
        if server.stderr().contains("HTTP on") {
            return (server, free);
        }
    }
}

/// A client of HTTP that hides nothing.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

pub struct Reply {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, received: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what it is sent");
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let length = if body.is_empty() && method != "PUT" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n"));
        self.send(body);
        self.reply(method == "HEAD")
    }

    fn fill(&mut self) -> usize {
        let mut buffer = [0; 65_536];
        let read = self.stream.read(&mut buffer).expect("a reply in time");
        self.received.extend_from_slice(&buffer[..read]);
        read
    }

    fn reply(&mut self, without_body: bool) -> Reply {
        let end = loop {
            match self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(end) => break end,
                None => assert!(self.fill() > 0, "closed within a head: {}", self.received.escape_ascii()),
            }
        };
        let head = String::from_utf8(self.received.drain(..end + 4).collect()).unwrap();
        let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        let length = reply.field("Content-Length").map_or(0, |length| length.parse().unwrap());
        if !without_body {
            while self.received.len() < length {
                assert!(self.fill() > 0, "closed within a body");
            }
            reply.body = self.received.drain(..length).collect();
        }
        reply
    }

    fn expect_closed(&mut self) {
        assert_eq!(self.fill(), 0, "{}", self.received.escape_ascii());
    }
}

fn one_keyspace_behind_both_doors(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let (mut resp, mut http) = (server.client(), Client::new(address));
    assert_eq!(http.ask("PUT", "/kv/%00%ffa%20b?ttl=100", "", b"v\r\n\0").status, 201);
    let key = b"\0\xffa b".as_slice();
    assert_eq!(resp.call(&[b"GET".as_slice(), key]), Value::Bulk(b"v\r\n\0".into()));
    assert!(matches!(resp.call(&[b"TTL".as_slice(), key]), Value::Integer(1..=100)));
    assert_eq!(http.ask("PUT", "/kv/aged", "Cache-Control: max-age=1000\r\n", b"v").status, 201);
    assert!(matches!(resp.call(&["TTL", "aged"]), Value::Integer(101..=1000)));
    resp.check("SET n 5", "+OK\r\n");
    let tag = http.ask("GET", "/kv/n", "", b"").field("ETag").unwrap().to_owned();
    let digest = format!("${}\r\n{}\r\n", tag.len() - 2, tag.trim_matches('"'));
    resp.check("DIGEST n", &digest);
    assert_eq!(http.ask("POST", "/kv/n?by=-7", "", b"").body, b"-2");
    resp.check("GET n", "$2\r\n-2\r\n");
    assert_eq!(http.ask("PUT", "/kv/n", &format!("If-Match: {tag}\r\n"), b"x").status, 412);
    assert_eq!(http.ask("DELETE", "/kv/n", "", b"").status, 204);
    resp.check("EXISTS n", ":0\r\n");
    assert_eq!(http.ask("GET", "/kv/n", "", b"").status, 404);
    // A key that is watched is changed through the other door.
    resp.check("WATCH w", "+OK\r\n");
    http.ask("PUT", "/kv/w", "", b"v");
    resp.check("MULTI", "+OK\r\n");
    resp.check("EXEC", "*-1\r\n");
}

fn operators_and_watchers_see_it_as_any_other(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let (mut resp, mut http) = (server.client(), Client::new(address));
    let mut caching = server.resp3_client();
    caching.check("CLIENT TRACKING ON", "+OK\r\n");
    caching.check("GET k", "_\r\n");
    let mut monitor = server.client();
    monitor.check("MONITOR", "+OK\r\n");
    assert_eq!(http.ask("PUT", "/kv/k?ttl=100", "", b"v").status, 201);
    caching.expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    let line = String::from_utf8(monitor.raw_reply()).unwrap();
    let peer = http.stream.local_addr().unwrap();
    assert!(line.ends_with(&format!("[0 {peer}] \"setex\" \"k\" \"100\" \"v\"\r\n")), "{line}");
    drop(monitor);
    let listed = resp.call(&["CLIENT", "LIST"]).text();
    assert!(
        listed.lines().any(|line| line.contains(&format!("addr={peer} ")) && line.contains(" cmd=setex ")),
        "{listed}"
    );
    // Writes wait for the end of a pause, reads do not.
    resp.check("CLIENT PAUSE 1000000 WRITE", "+OK\r\n");
    http.send("PUT /kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nwGET /kv/k HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(Client::new(address).ask("GET", "/kv/k", "", b"").body, b"v");
    server.wait_for_info("blocked_clients", |count| count == 1);
    resp.check("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!((http.reply(false).status, http.reply(false).body), (204, b"w".to_vec()));
    assert_eq!(resp.call(&["CLIENT", "KILL", "ADDR", &peer.to_string()]), Value::Integer(1));
    http.expect_closed();
}

fn a_long_script_keeps_only_its_own_key(engine: Engine) {
    let (server, address) = start(engine, &["--busy-reply-threshold=50"]);
    let mut client = server.client();
    start_and_wait(&server, &mut client, FOREVER);
    // Whoever comes now is served by the other core.
    let mut http = Client::new(address);
    let reply = http.ask("GET", "/kv/k", "", b"");
    assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("1")));
    assert!(reply.body.starts_with(b"BUSY "));
    assert_eq!(http.ask("PUT", "/kv/k", "", b"v").status, 503);
    assert_eq!(http.ask("GET", "/healthz", "", b"").status, 200);
    let free = (0..).map(|n| format!("/kv/key:{n}")).find(|path| http.ask("GET", path, "", b"").status == 404);
    assert_eq!(http.ask("PUT", &free.unwrap(), "", b"v").status, 201);
    assert_eq!(http.ask("GET", "/metrics", "", b"").status, 503);
    server.client().check("SCRIPT KILL", "+OK\r\n");
    client.raw_reply();
    assert_eq!(http.ask("PUT", "/kv/k", "", b"v").status, 201);
}

fn a_conversation_cut_at_every_byte(engine: Engine) {
    let (_server, address) = start(engine, &[]);
    let input = "PUT /kv/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n\
                 GET /kv/k HTTP/1.1\r\nHost: localhost\r\n\r\nPUT /kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nxyz\
                 GET /kv/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for cut in 1..input.len() {
        let mut client = Client::new(address);
        client.send(&input[..cut]);
        client.send(&input[cut..]);
        assert!([201, 204].contains(&client.reply(false).status), "{cut}");
        assert_eq!(client.reply(false).body, b"abcde", "{cut}");
        assert_eq!(client.reply(false).status, 204, "{cut}");
        assert_eq!(client.reply(false).body, b"xyz", "{cut}");
        client.expect_closed();
    }
    let mut client = Client::new(address);
    input.bytes().for_each(|byte| client.send([byte]));
    let bodies: Vec<_> = (0..4).map(|_| client.reply(false).body).collect();
    assert_eq!((&bodies[1][..], &bodies[3][..]), (&b"abcde"[..], &b"xyz"[..]));
}

fn large_values_come_and_go(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let (mut resp, mut http) = (server.client(), Client::new(address));
    for (n, length) in [16_383, 16_384, 65_536, 1 << 20, 20 << 20].into_iter().enumerate() {
        let value = patterned(length, n);
        assert_eq!(http.ask("PUT", &format!("/kv/v{n}"), "", &value).status, 201);
        let got = http.ask("GET", &format!("/kv/v{n}"), "", b"");
        assert!(got.status == 200 && got.body == value, "{length}");
        assert_eq!(got.field("ETag").is_some(), length <= limits::HTTP_TAGGED_VALUE_BYTES);
        assert_eq!(resp.call(&["STRLEN", &format!("v{n}")]), Value::Integer(length as i64));
        let part = http.ask("GET", &format!("/kv/v{n}"), "Range: bytes=10000-\r\n", b"");
        assert!(part.status == 206 && part.body == value[10_000..], "{length}");
        let end = http.ask("GET", &format!("/kv/v{n}"), "Range: bytes=-7\r\n", b"");
        assert!(end.status == 206 && end.body == value[length - 7..], "{length}");
        // In chunks of an awkward size.
        http.send(format!("PUT /kv/c{n} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"));
        for chunk in value.chunks(50_021) {
            http.send(format!("{:X}\r\n", chunk.len()));
            http.send(chunk);
            http.send("\r\n");
        }
        http.send("0\r\n\r\n");
        assert_eq!(http.reply(false).status, 201);
        let mut observer = server.client();
        observer.send(request(&["GET", &format!("c{n}")]));
        observer.expect(bulk(&value));
    }
    let most = server.info_number("largest_value");
    let headers = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", most + 1);
    http.send(format!("PUT /kv/k HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    assert_eq!(http.reply(false).status, 413);
    http.expect_closed();
}

/// A gigabyte of replies is asked for and not taken; then it is.
fn who_does_not_read_is_bounded(engine: Engine) {
    const REQUESTS: usize = 20_000;
    let (server, address) = start(engine, &[]);
    let mut other = Client::new(address);
    let value = patterned(50_000, 1);
    other.ask("PUT", "/kv/k", "", &value);
    let before = server.resident_bytes();
    let mut client = Client::new(address);
    let mut writer = client.stream.try_clone().unwrap();
    let input = "GET /kv/k HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(REQUESTS);
    let writing = std::thread::spawn(move || writer.write_all(input.as_bytes()).unwrap());
    server.wait_for_info("client_output_waits", |waits| waits > 0);
    for _ in 0..200 {
        assert_eq!(other.ask("GET", "/healthz", "", b"").status, 200);
        assert_eq!(other.ask("GET", "/kv/none", "", b"").status, 404);
    }
    let (held, limit) = (server.info_number("used_memory_clients"), server.info_number("client_memory_limit"));
    // How much depends on when it meets the first wait; who does not read gets no more after it.
    assert!((1..=limit).contains(&held), "{held} of {limit} bytes wait for clients");
    for n in 0..REQUESTS {
        assert!(client.reply(false).body == value, "{n}");
    }
    writing.join().unwrap();
    let peak = peak_resident_bytes(&server);
    assert!(peak <= before + 2 * limit as usize, "{before} bytes before, {peak} at the peak");
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

/// All connections together may hold an eighth of the cap: the one that goes beyond is refused, not the server.
fn uploads_share_a_bounded_memory(engine: Engine) {
    let (server, address) = start(engine, &["--maxmemory=64mb", "--threads=1"]);
    let value = patterned(5 << 20, 1);
    let head = format!("PUT /kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", value.len());
    let mut first = Client::new(address);
    first.send(&head);
    first.send(&value[..value.len() - 2]);
    server.wait_for_info("used_memory_clients", |bytes| bytes >= (5 << 20) - 2);
    let mut second = Client::new(address);
    let _ = second.stream.write_all(head.as_bytes()).and_then(|()| second.stream.write_all(&value));
    assert_eq!(second.reply(false).status, 507);
    assert_eq!(Client::new(address).ask("PUT", "/kv/small", "", b"v").status, 201);
    first.send(&value[value.len() - 2..]);
    assert_eq!(first.reply(false).status, 201);
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

fn who_leaves_in_the_middle_leaves_nothing(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let resp = server.info_number("connected_clients");
    for headers in ["Content-Length: 30000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1c9c380\r\n"] {
        let mut client = Client::new(address);
        client.send(format!("PUT /kv/k HTTP/1.1\r\nHost: localhost\r\n{headers}"));
        client.send(vec![b'x'; 8 << 20]);
        server.wait_for_info("used_memory_clients", |bytes| bytes >= 7 << 20);
        drop(client);
        server.wait_for_info("connected_clients", |count| count == resp);
        server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
    }
    server.client().check("EXISTS k", ":0\r\n");
}

fn passwords(engine: Engine) {
    let (server, address) = start(engine, &["--requirepass=secret"]);
    let mut http = Client::new(address);
    for path in ["/kv/k", "/metrics"] {
        let reply = http.ask("GET", path, "", b"");
        assert_eq!((reply.status, reply.field("WWW-Authenticate")), (401, Some("Bearer, Basic realm=\"kv-cache\"")));
    }
    // The name may be left out, or Redis's.
    for (given, status) in [
        ("Bearer secret", 201),
        ("Basic ZGVmYXVsdDpzZWNyZXQ=", 204),
        ("basic OnNlY3JldA==", 204),
        ("Bearer Secret", 401),
        ("Basic cm9vdDpzZWNyZXQ=", 401),
        ("Digest secret", 401),
    ] {
        assert_eq!(http.ask("PUT", "/kv/k", &format!("Authorization: {given}\r\n"), b"v").status, status, "{given}");
    }
    // What is known by a request is not known by the next.
    assert_eq!(http.ask("DELETE", "/kv/k", "", b"").status, 401);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http.ask("GET", path, "", b"").status, 200);
    }
    // Whoever has the password may come by any name.
    let input = "GET /kv/k HTTP/1.1\r\nHost: cache.example\r\nAuthorization: Bearer secret\r\n\r\n";
    http.send(input);
    assert_eq!(http.reply(false).body, b"v");
    let mut resp = server.client();
    resp.check("AUTH secret", "+OK\r\n");
    assert_eq!(resp.info("auth_failures"), "3");
    resp.check("CONFIG SET requirepass other", "+OK\r\n");
    http.send(input);
    assert_eq!(http.reply(false).status, 401);
}

fn one_too_many(engine: Engine) {
    let (_server, address) = start(engine, &["--maxclients=1"]);
    let mut http = Client::new(address);
    assert_eq!(http.ask("GET", "/healthz", "", b"").status, 200);
    let mut other = Client::new(address);
    assert_eq!(other.reply(false).status, 503);
    other.expect_closed();
    assert_eq!(http.ask("GET", "/healthz", "", b"").status, 200);
}

fn a_full_cache_says_so(engine: Engine) {
    let (_server, address) = start(engine, &["--maxmemory=16mb", "--maxmemory-policy=noeviction"]);
    let mut http = Client::new(address);
    let value = patterned(100_000, 1);
    let statuses: Vec<u16> = (0..200).map(|n| http.ask("PUT", &format!("/kv/k{n}"), "", &value).status).collect();
    let full = statuses.iter().position(|status| *status == 507).expect("it is full");
    assert!(statuses[..full].iter().all(|status| *status == 201) && full > 10, "{statuses:?}");
    assert!(http.ask("GET", "/kv/k0", "", b"").body == value);
}

fn a_drain_answers_and_closes(engine: Engine) {
    let (mut server, address) = start(engine, &[]);
    let mut idle = Client::new(address);
    assert_eq!(idle.ask("GET", "/readyz", "", b"").status, 200);
    server.signal(Signal::SIGTERM);
    idle.expect_closed();
    assert_eq!(server.wait().code(), Some(0));
}

fn what_is_counted(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let mut http = Client::new(address);
    http.ask("PUT", "/kv/k", "", b"v");
    http.ask("GET", "/kv/k", "", b"");
    http.ask("GET", "/kv/none", "", b"");
    http.ask("GET", "/healthz", "", b"");
    let mut resp = server.client();
    resp.check("GET k", "$1\r\nv\r\n");
    for (field, expect) in [
        ("http_port", address.port() as u64),
        ("http_connections_received", 1),
        ("http_requests_processed", 4),
        ("resp_connections_received", 1),
        ("keyspace_hits", 2),
        ("keyspace_misses", 1),
    ] {
        assert_eq!(resp.info_number(field), expect, "{field}");
    }
    let Value::Bulk(stats) = resp.call(&["INFO", "commandstats"]) else { panic!("INFO") };
    assert!(String::from_utf8(stats).unwrap().contains("cmdstat_get:calls=3,"));
    let page = String::from_utf8(http.ask("GET", "/metrics", "", b"").body).unwrap();
    for line in [
        "kv_cache_keys{db=\"0\"} 1",
        "kv_cache_ghost_hits_total{memory=\"1.5\"} 0",
        "kv_cache_command_calls_total{command=\"set\"} 1",
        "kv_cache_command_duration_seconds_count{command=\"get\"} 3",
        "kv_cache_command_duration_seconds_bucket{command=\"get\",le=\"+Inf\"} 3",
        "kv_cache_http_requests_processed_total 5",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
}

#[test]
fn a_port_that_is_taken_is_warned_of() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!("--http-port={}", taken.local_addr().unwrap().port());
    let server = Server::with(Engine::Epoll, &[&flag]);
    server.client().check("PING", "+PONG\r\n");
    assert_eq!(server.info("http_port"), "0");
    let log = server.stderr();
    assert!(log.contains("choose another --http-port; the server goes on without HTTP"), "{log}");
    assert!(!log.contains("HTTP on"), "{log}");
}

#[test]
fn other_hosts_and_names_are_refused_without_a_password() {
    let (_server, address) = start(Engine::Epoll, &[]);
    for (host, status) in
        [("rebound.example", 421), ("rebound.example:7172", 421), ("LOCALHOST:1", 200), ("[::1]", 200)]
    {
        let mut http = Client::new(address);
        http.send(format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(http.reply(false).status, status, "{host}");
    }
    let (_server, address) = start(Engine::Epoll, &["--protected-mode=no"]);
    let mut http = Client::new(address);
    http.send("GET /metrics HTTP/1.1\r\nHost: kv-cache\r\n\r\n");
    assert_eq!(http.reply(false).status, 200);
}
