//! What only the multishot driver meets: a ring of buffers that runs dry, receives that end, full sockets, doing without buffers.

use std::net::Shutdown;

use nix::sys::signal::Signal;

use crate::client::{bulk, patterned, request};
use crate::harness::{Engine, Server};

/// All requests of `clients` are there before the server looks.
fn at_once(server: &Server, clients: &mut [crate::client::Client], input: &[u8]) {
    server.signal(Signal::SIGSTOP);
    clients.iter_mut().for_each(|client| client.send(input));
    server.signal(Signal::SIGCONT);
}

#[test]
fn buffers_that_run_dry_hold_up_nobody() {
    // A small cap leaves a core 32 buffers.
    let server = Server::with(Engine::Multishot, &["--threads=1", "--maxmemory=32mb"]);
    assert_eq!(server.info("registered_buffers_per_core"), "32");
    let mut clients: Vec<_> = (0..16).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG\r\n"));
    // Several buffers for each: however few connections the kernel looks after at once, they need more than there are.
    let pings = 3 * 16384 / "PING\r\n".len();
    at_once(&server, &mut clients, format!("INCR n\r\n{}", "PING\r\n".repeat(pings)).as_bytes());
    clients.iter_mut().for_each(|client| {
        client.raw_reply();
        client.expect("+PONG\r\n".repeat(pings));
    });
    assert_eq!(server.client().call(&["GET", "n"]).text(), "16");
    assert!(server.info_number("registered_buffers_ran_dry") > 0);
    // Each goes on as before.
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG\r\n"));
}

#[test]
fn many_buffers_of_one_connection_are_taken_in_turn() {
    let server = Server::with(Engine::Multishot, &["--threads=1"]);
    let mut greedy = server.client();
    let mut others: Vec<_> = (0..20).map(|_| server.client()).collect();
    others.iter_mut().for_each(|client| client.check("PING", "+PONG\r\n"));
    for round in 0..20 {
        server.signal(Signal::SIGSTOP);
        greedy.send(request(&["INCR", "n"]).repeat(10_000));
        others.iter_mut().for_each(|client| client.send("GET n\r\n"));
        server.signal(Signal::SIGCONT);
        let expect: String = (round * 10_000 + 1..=(round + 1) * 10_000).map(|n| format!(":{n}\r\n")).collect();
        greedy.expect(expect);
        others.iter_mut().for_each(|other| drop(other.raw_reply()));
    }
}

#[test]
fn without_registered_buffers_everything_is_received_by_polling() {
    let server = Server::with(Engine::Multishot, &["--registered-buffers=off"]);
    assert_eq!(server.info("registered_buffers_reason"), "switched off");
    let value = patterned(3_000_000, 1);
    let mut client = server.client();
    client.send([request(&[b"SET".as_slice(), b"k", &value]), request(&["GET", "k"])].concat());
    client.expect("+OK\r\n");
    client.expect(bulk(&value));
    let mut clients: Vec<_> = (0..100).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check("STRLEN k", ":3000000\r\n"));
    drop(clients);
    server.wait_for_info("connected_clients", |count| count == 2);
    assert_eq!(server.info_number("registered_receives"), 0);
}

/// More of them have something to say than the ring has places for.
#[test]
fn more_completions_than_the_queue_holds() {
    let server = Server::with(Engine::Multishot, &["--threads=1", "--maxclients=6000"]);
    let mut clients: Vec<_> = (0..600).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG\r\n"));
    for _ in 0..3 {
        at_once(&server, &mut clients, &b"PING\r\n".repeat(20));
        clients.iter_mut().for_each(|client| client.expect("+PONG\r\n".repeat(20)));
    }
    at_once(&server, &mut clients, b"PING\r\nQUIT\r\n");
    clients.iter_mut().for_each(|client| {
        client.expect("+PONG\r\n+OK\r\n");
        client.expect_closed();
    });
}

/// Whoever has said that he sends no more and takes no reply costs no thread of the kernel's.
#[test]
fn who_has_half_closed_and_does_not_read_holds_no_thread() {
    let server = Server::with(Engine::Multishot, &["--threads=1"]);
    server.client().call(&["SET", "k", &"v".repeat(1 << 20)]);
    let threads = || std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().count();
    let before = threads();
    let half_closed = |_| {
        let mut client = server.client();
        client.send(request(&["GET", "k"]).repeat(10));
        client.stream().shutdown(Shutdown::Write).unwrap();
        client.expect("$1048576\r\n");
        client
    };
    let mut clients: Vec<_> = (0..5).map(half_closed).collect();
    let value = bulk("v".repeat(1 << 20));
    for client in &mut clients {
        client.expect(&value["$1048576\r\n".len()..]);
        (1..10).for_each(|_| client.expect(&value));
        assert_eq!(threads(), before);
        client.expect_closed();
    }
}
