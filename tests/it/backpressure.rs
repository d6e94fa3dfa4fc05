//! Clients that do not take their replies: the server's memory stays bounded, the others are served, and whoever
//! reads after all gets every byte.

use std::io::{Read, Write};

use kv_cache::config::limits;

use crate::client::{bulk, patterned, request};
use crate::harness::{Engine, Server, on_every_driver, peak_resident_bytes};

on_every_driver!(
    a_client_that_never_reads,
    many_clients_that_never_read,
    a_slow_reader_gets_every_byte,
    the_output_limit_can_be_lower,
    a_client_that_never_reads_may_leave,
    one_request_for_a_gigabyte,
);

const VALUE_BYTES: usize = 10_000;

/// A gigabyte of replies is asked for and not taken.
fn a_client_that_never_reads(engine: Engine) {
    const REQUESTS: usize = 100_000;
    let server = Server::start(engine);
    let value = patterned(VALUE_BYTES, 1);
    let mut other = server.client();
    other.call(&[b"SET".as_slice(), b"k", &value]);
    let before = server.resident_bytes();
    let mut client = server.client();
    let mut writer = client.stream().try_clone().unwrap();
    let input = request(&["GET", "k"]).repeat(REQUESTS);
    let writing = std::thread::spawn(move || writer.write_all(&input).unwrap());
    server.wait_for_info("client_output_waits", |waits| waits > 0);
    for _ in 0..200 {
        other.check("PING", "+PONG\r\n");
    }
    let (held, limit) = (other.info_number("used_memory_clients"), other.info_number("client_memory_limit"));
    assert_eq!(limit, 64 << 20);
    // How much depends on when it meets the first wait; who does not read gets no more after it.
    assert!((1..=limit).contains(&held), "{held} of {limit} bytes wait for clients");
    let expect = bulk(&value);
    for _ in 0..REQUESTS {
        client.expect(&expect);
    }
    writing.join().unwrap();
    let peak = peak_resident_bytes(&server);
    // The allocator gives back late what it may take again at once.
    assert!(peak <= before + 2 * limit as usize, "{before} bytes before, {peak} at the peak");
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

/// Together they may hold an eighth of the cap, and others are served all the same.
fn many_clients_that_never_read(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=128mb"]);
    let value = patterned(VALUE_BYTES, 1);
    let mut other = server.client();
    other.call(&[b"SET".as_slice(), b"k", &value]);
    let before = server.resident_bytes();
    let limit = other.info_number("client_memory_limit");
    assert_eq!(limit, (128 << 20) / limits::CLIENT_MEMORY_SHARE as u64);
    // Each asks for 20 MB: more than the kernel takes off the server, and together 50 times what they may have.
    let input = request(&["GET", "k"]).repeat(2000);
    let mut clients: Vec<_> = (0..40).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&input));
    server.wait_for_info("client_output_waits", |waits| waits > 0);
    // Until the kernel's buffers are full it comes and goes.
    server.wait_for_info("used_memory_clients", |held| held >= limit / 2);
    for n in 0..200 {
        other.check(&format!("SET n {n:03}"), "+OK\r\n");
        other.check("GET n", &format!("$3\r\n{n:03}\r\n"));
    }
    let held = other.info_number("used_memory_clients");
    assert!(held <= limit, "{held} of {limit} bytes wait for clients");
    let expect = bulk(&value).repeat(2000);
    // At once: who takes nothing while others wait is closed.
    std::thread::scope(|scope| {
        clients.iter_mut().for_each(|client| drop(scope.spawn(|| client.expect(&expect))));
    });
    let peak = peak_resident_bytes(&server);
    assert!(peak <= before + 2 * limit as usize, "{before} bytes before, {peak} at the peak");
}

/// A small window and small steps: the server sends in pieces of every size.
fn a_slow_reader_gets_every_byte(engine: Engine) {
    let server = Server::start(engine);
    let values: Vec<Vec<u8>> = (0..30).map(|n| patterned(n * n * 1000, n)).collect();
    let mut writer = server.client();
    let (mut input, mut expect) = (Vec::new(), Vec::new());
    for (n, value) in values.iter().enumerate() {
        writer.call(&[b"SET".as_slice(), format!("v{n}").as_bytes(), value]);
        input.extend(request(&["GET", &format!("v{n}")]));
        input.extend(request(&["STRLEN", &format!("v{n}")]));
        expect.extend(bulk(value));
        expect.extend(format!(":{}\r\n", value.len()).bytes());
    }
    let mut client = server.client();
    socket2::SockRef::from(client.stream()).set_recv_buffer_size(128 << 10).unwrap();
    client.send(&input);
    let mut got = Vec::new();
    let mut piece = 1;
    while got.len() < expect.len() {
        let mut buffer = vec![0; piece];
        let read = client.stream().read(&mut buffer).expect("more");
        assert!(read > 0, "closed after {} of {} bytes", got.len(), expect.len());
        got.extend_from_slice(&buffer[..read]);
        piece = piece * 7 % 16_381 + 1;
    }
    assert!(got == expect);
}

fn the_output_limit_can_be_lower(engine: Engine) {
    let server = Server::with(engine, &["--client-output-limit=1mb"]);
    let value = patterned(VALUE_BYTES, 1);
    let mut other = server.client();
    other.call(&[b"SET".as_slice(), b"k", &value]);
    let mut client = server.client();
    client.send(request(&["GET", "k"]).repeat(2000));
    server.wait_for_info("client_output_waits", |waits| waits > 0);
    let held = other.info_number("used_memory_clients");
    assert!(held <= 2 << 20, "{held} bytes wait for a client that may have one megabyte");
    client.expect(bulk(&value).repeat(2000));
}

fn a_client_that_never_reads_may_leave(engine: Engine) {
    let server = Server::start(engine);
    let value = patterned(1 << 20, 1);
    let mut other = server.client();
    other.call(&[b"SET".as_slice(), b"k", &value]);
    for reset in [false, true] {
        let mut clients: Vec<_> = (0..5).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| client.send(request(&["GET", "k"]).repeat(100)));
        server.wait_for_info("used_memory_clients", |bytes| bytes > 1 << 20);
        for client in clients {
            if reset { client.reset() } else { drop(client) }
        }
        server.wait_for_info("connected_clients", |count| count == 2);
        server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
    }
}

/// 400 KB of request, a gigabyte of reply.
fn one_request_for_a_gigabyte(engine: Engine) {
    let server = Server::start(engine);
    let value = patterned(16_000, 1);
    let mut client = server.client();
    client.call(&[b"SET".as_slice(), b"k", &value]);
    let before = server.resident_bytes();
    let limit = client.info_number("client_memory_limit");
    let words: Vec<&str> = std::iter::once("MGET").chain(std::iter::repeat_n("k", 65_535)).collect();
    client.send(request(&words));
    server.client().check("PING", "+PONG\r\n");
    // Either all of it comes, or an error says why not.
    client.raw_reply();
    let peak = peak_resident_bytes(&server);
    assert!(peak <= before + 2 * limit as usize, "{before} bytes before, {peak} at the peak");
}
