//! The door for HTTP: the same keys as through RESP's, bounded and guarded alike. What a conversation answers in detail is
//! tested where it is written (`src/protocol/http/session/tests.rs`).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use kv_cache::config::limits;
use nix::sys::signal::Signal;

use crate::client::{bulk, patterned, request};
use crate::harness::{self, DEADLINE, Engine, Server, on_every_driver, peak_resident_bytes, skip};
use crate::wire::Value;

on_every_driver!(
    one_keyspace_behind_both_doors,
    a_conversation_cut_at_every_byte,
    large_values_come_and_go,
    who_does_not_read_is_bounded,
    who_leaves_in_the_middle_leaves_nothing,
    passwords,
    one_too_many,
    a_full_cache_says_so,
    a_drain_answers_and_closes,
    what_is_counted,
);

/// A server with its door for HTTP.
fn start(engine: Engine, flags: &[&str]) -> (Server, SocketAddr) {
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
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, received: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what it is sent");
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
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
    assert!((limit / 2..=limit).contains(&held), "{held} of {limit} bytes wait for clients");
    for n in 0..REQUESTS {
        assert!(client.reply(false).body == value, "{n}");
    }
    writing.join().unwrap();
    let peak = peak_resident_bytes(&server);
    assert!(peak <= before + 2 * limit as usize, "{before} bytes before, {peak} at the peak");
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

/// Runs a program of others against the server, if it is there.
fn run(test: &str, program: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(_) => {
            skip(test, &format!("{program} is not there"));
            return None;
        }
    };
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{program} {args:?}: {stdout}{stderr}");
    Some(stdout)
}

#[test]
fn curl_puts_and_gets() {
    let (_server, address) = start(Engine::Epoll, &[]);
    let url = |path: &str| format!("http://{address}{path}");
    let path = harness::temporary("curl");
    // Large enough for curl to wait for 100.
    std::fs::write(&path, patterned(3 << 20, 1)).unwrap();
    let file = path.to_str().unwrap();
    let test = "http::curl_puts_and_gets";
    let code = ["-s", "-S", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}"];
    let curl = |args: &[&str]| run(test, "curl", args);
    let Some(created) = curl(&[&code[..], &["-T", file, &url("/kv/file")]].concat()) else { return };
    assert_eq!(created, "201");
    let back = harness::temporary("curl-back");
    curl(&["-s", "-S", "-m", "30", "-o", back.to_str().unwrap(), &url("/kv/file")]);
    assert!(std::fs::read(&back).unwrap() == std::fs::read(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(curl(&["-s", "-m", "30", "-X", "PUT", "-d", "hello", &url("/kv/k?ttl=60")]).unwrap(), "");
    assert_eq!(curl(&["-s", "-m", "30", &url("/kv/k"), "-r", "1-3", &url("/kv/k")]).unwrap(), "ellell");
    assert_eq!(curl(&["-s", "-m", "30", "-X", "POST", &url("/kv/n?by=5"), &url("/kv/n?by=5")]).unwrap(), "510");
    let chunked = ["-H", "Transfer-Encoding: chunked", "-X", "PUT", "-d", "chunks", &url("/kv/c")];
    assert_eq!(curl(&[&code[..], &chunked].concat()).unwrap(), "201");
    assert_eq!(curl(&["-s", "-m", "30", &url("/kv/c")]).unwrap(), "chunks");
    assert_eq!(curl(&[&code[..], &["-X", "DELETE", &url("/kv/c")]].concat()).unwrap(), "204");
}

#[test]
fn pythons_http_client_keeps_a_connection() {
    let (_server, address) = start(Engine::Epoll, &[]);
    let script = format!(
        "import http.client\n\
         c = http.client.HTTPConnection('127.0.0.1', {}, timeout=30)\n\
         def ask(*args, **more):\n\
         \x20   c.request(*args, **more); r = c.getresponse(); return r.status, r.read(), r.getheader('ETag')\n\
         value = bytes(range(256)) * 1000\n\
         status, _, tag = ask('PUT', '/kv/k', body=value); assert status == 201, status\n\
         sock = c.sock\n\
         assert ask('GET', '/kv/k') == (200, value, tag)\n\
         assert ask('GET', '/kv/k', headers={{'If-None-Match': tag}}) == (304, b'', tag)\n\
         assert ask('HEAD', '/kv/k') == (200, b'', tag)\n\
         assert ask('PUT', '/kv/c', body=iter([b'a', b'bc']), encode_chunked=True,\n\
         \x20          headers={{'Transfer-Encoding': 'chunked'}})[0] == 201\n\
         assert ask('GET', '/kv/c')[1] == b'abc'\n\
         assert ask('POST', '/kv/n')[1] == b'1'\n\
         assert ask('DELETE', '/kv/k')[0] == 204\n\
         assert ask('GET', '/kv/k')[0] == 404\n\
         assert c.sock is sock\n",
        address.port()
    );
    run("http::pythons_http_client_keeps_a_connection", "python3", &["-c", &script]);
}

#[test]
fn nodes_fetch_puts_and_gets() {
    let (_server, address) = start(Engine::Epoll, &[]);
    let script = format!(
        "const url = path => 'http://{address}/kv/' + path;\n\
         const check = (got, want) => {{ if (got !== want) throw new Error(got + ' instead of ' + want) }};\n\
         (async () => {{\n\
           const value = 'v'.repeat(100000);\n\
           check((await fetch(url('k'), {{ method: 'PUT', body: value }})).status, 201);\n\
           const got = await fetch(url('k'));\n\
           check(await got.text(), value);\n\
           check((await fetch(url('k'), {{ headers: {{ 'If-None-Match': got.headers.get('etag') }} }})).status, 304);\n\
           const stream = new Blob(['stream', 'ed']).stream();\n\
           check((await fetch(url('s'), {{ method: 'PUT', body: stream, duplex: 'half' }})).status, 201);\n\
           check(await (await fetch(url('s'))).text(), 'streamed');\n\
           check(await (await fetch(url('n'), {{ method: 'POST' }})).text(), '1');\n\
           const all = await Promise.all([...Array(50).keys()].map(() => fetch(url('n'), {{ method: 'POST' }})));\n\
           await Promise.all(all.map(reply => reply.text()));\n\
           check(await (await fetch(url('n'))).text(), '51');\n\
         }})().catch(error => {{ console.error(error); process.exit(1) }});"
    );
    run("http::nodes_fetch_puts_and_gets", "node", &["-e", &script]);
}

#[test]
fn promtool_finds_nothing_to_say_of_the_metrics() {
    let (server, address) = start(Engine::Epoll, &[]);
    server.client().check("SET k v", "+OK\r\n");
    server.client().check_error("NOPE", "ERR");
    let page = Client::new(address).ask("GET", "/metrics", "", b"").body;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut checking) = promtool.spawn() else {
        return skip("http::promtool_finds_nothing_to_say_of_the_metrics", "promtool is not there");
    };
    checking.stdin.take().unwrap().write_all(&page).unwrap();
    let output = checking.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
