//! How the server ends: what it has accepted is answered, then it exits with 0; a second signal ends it at once.

use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::client::{Client, bulk, patterned, request};
use crate::harness::{Engine, Server, on_every_driver, temporary, wait_until};

on_every_driver!(
    replies_in_flight_arrive,
    what_is_received_after_the_drain_began_is_answered,
    a_busy_pipeline_ends_between_two_replies,
    idle_connections_hold_nothing_up,
    a_second_signal_ends_at_once,
    who_does_not_read_is_cut_off,
    nobody_new_is_let_in,
    the_shutdown_command,
    two_shutdown_commands_are_one,
    a_pause_holds_no_shutdown_up,
    the_unix_socket_is_removed,
);

const ENDING: &str = "a second signal ends at once";

/// All requests are with the server when the signal comes, and none of the replies has been taken.
fn replies_in_flight_arrive(engine: Engine) {
    const REQUESTS: usize = 500;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start(engine);
        let value = patterned(20_000, 1);
        server.client().call(&[b"SET".as_slice(), b"k", &value]);
        let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send(request(&["GET", "k"]).repeat(REQUESTS));
            client.send(request(&["INCR", "n"]));
        }
        // Each has begun to be served: its replies are on their way.
        clients.iter_mut().for_each(|client| client.expect("$20000\r\n"));
        server.signal(signal);
        wait_until("the drain", || server.stderr().contains(ENDING));
        for client in &mut clients {
            client.expect(&bulk(&value)["$20000\r\n".len()..]);
            client.expect(bulk(&value).repeat(REQUESTS - 1));
            assert!((1..=4).contains(&client.value().integer()));
            client.expect_closed();
        }
        assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    }
}

/// The client goes on sending. What is answered is answered whole, one by one, up to some request.
fn a_busy_pipeline_ends_between_two_replies(engine: Engine) {
    let mut server = Server::start(engine);
    let mut client = server.client();
    let mut writer = client.stream().try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let thousand = request(&["INCR", "n"]).repeat(1000);
        while std::io::Write::write_all(&mut writer, &thousand).is_ok() {}
    });
    for n in 1..=50_000 {
        client.expect(format!(":{n}\r\n"));
    }
    server.signal(Signal::SIGTERM);
    let rest = client.rest();
    let lines: Vec<&str> = std::str::from_utf8(&rest).unwrap().split_inclusive("\r\n").collect();
    for (n, line) in lines.iter().enumerate() {
        let expect = format!(":{}\r\n", 50_001 + n);
        // What the client still sends resets the connection, and the last reply may be on its way then.
        let is_cut = n + 1 == lines.len() && expect.starts_with(line);
        assert!(*line == expect || is_cut, "reply {n} of {}: {line}", lines.len());
    }
    writing.join().unwrap();
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

fn idle_connections_hold_nothing_up(engine: Engine) {
    let mut server = Server::with(engine, &["--shutdown-timeout=600"]);
    let mut clients: Vec<_> = (0..50).map(|_| server.client()).collect();
    clients[0].check("PING", "+PONG\r\n");
    clients[1].send("*2\r\n$3\r\nGE");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    clients.iter_mut().for_each(|client| client.expect_closed());
}

/// A client that has asked for a hundred megabytes and takes nothing: its replies wait.
fn greedy_client(server: &Server) -> Client {
    let mut client = server.client();
    client.call(&["SET", "k", &"v".repeat(1 << 20)]);
    client.send(request(&["GET", "k"]).repeat(100));
    server.wait_for_info("used_memory_clients", |bytes| bytes > 1 << 20);
    client
}

/// A client that takes nothing would hold the drain up for ten minutes.
fn a_second_signal_ends_at_once(engine: Engine) {
    let mut server = Server::with(engine, &["--shutdown-timeout=600"]);
    let _client = greedy_client(&server);
    server.signal(Signal::SIGTERM);
    wait_until("the drain", || server.stderr().contains(ENDING));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(1), "{}", server.stderr());
    wait_until("the last words", || server.stderr().contains("SIGTERM again: ending at once"));
}

/// The request lies in the socket until the reply before it has left, and with it comes the end of input.
fn what_is_received_after_the_drain_began_is_answered(engine: Engine) {
    let mut server = Server::with(engine, &["--shutdown-timeout=600", "--client-output-limit=1mb"]);
    let value = "v".repeat(16 << 20);
    server.client().call(&["SET", "k", &value]);
    let mut client = server.client();
    client.send(request(&["GET", "k"]));
    client.expect("$16777216\r\n");
    client.send("INCR n\r\n");
    let mut other = server.client();
    wait_until("the reply beyond the limit", || other.call(&["EXISTS", "n"]).integer() == 1);
    client.send("INCR n\r\n");
    server.signal(Signal::SIGTERM);
    wait_until("the drain", || server.stderr().contains(ENDING));
    client.expect(&bulk(value)["$16777216\r\n".len()..]);
    client.expect(":1\r\n:2\r\n");
    client.expect_closed();
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

fn who_does_not_read_is_cut_off(engine: Engine) {
    let mut server = Server::with(engine, &["--shutdown-timeout=1"]);
    let _client = greedy_client(&server);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    wait_until("the last words", || server.stderr().contains("cut off: its replies were not taken"));
}

fn nobody_new_is_let_in(engine: Engine) {
    let mut server = Server::with(engine, &["--shutdown-timeout=600"]);
    let mut client = greedy_client(&server);
    server.signal(Signal::SIGTERM);
    wait_until("the listeners to be closed", || TcpStream::connect(server.address()).is_err());
    for _ in 0..100 {
        client.expect(bulk("v".repeat(1 << 20)));
    }
    client.expect_closed();
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

/// The second is no second signal: what was accepted is answered all the same.
fn two_shutdown_commands_are_one(engine: Engine) {
    let mut server = Server::with(engine, &["--shutdown-timeout=600"]);
    let mut reader = greedy_client(&server);
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    // The first may have ended the others before they are heard.
    clients.iter_mut().for_each(|client| drop(client.try_send(b"SHUTDOWN NOSAVE\r\n")));
    clients.iter_mut().for_each(Client::expect_closed);
    for _ in 0..100 {
        reader.expect(bulk("v".repeat(1 << 20)));
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

fn a_pause_holds_no_shutdown_up(engine: Engine) {
    let mut server = Server::start(engine);
    let mut client = server.client();
    for text in ["9223372036854775807", "9223372036854775000"] {
        client.check_error(&format!("CLIENT PAUSE {text}"), "ERR timeout is out of range");
    }
    client.check_error("CLIENT PAUSE 9223372036854775808", "ERR timeout is not an integer or out of range");
    client.check("CLIENT PAUSE 1000000000 ALL", "+OK\r\n");
    client.send("SHUTDOWN NOSAVE\r\n");
    client.expect_closed();
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

fn the_shutdown_command(engine: Engine) {
    for line in ["SHUTDOWN", "SHUTDOWN NOSAVE", "shutdown now force"] {
        let mut server = Server::start(engine);
        let mut client = server.client();
        let mut other = server.client();
        other.check("SET k v", "+OK\r\n");
        client.check("SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n");
        client.check("SHUTDOWN WHAT", "-ERR syntax error\r\n");
        client.send(format!("PING\r\n{line}\r\n"));
        client.expect("+PONG\r\n");
        client.expect_closed();
        other.expect_closed();
        assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    }
}

fn the_unix_socket_is_removed(engine: Engine) {
    let path = temporary("drain.sock");
    let mut server = Server::with(engine, &[&format!("--unixsocket={}", path.display())]);
    assert!(path.exists());
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    assert!(!path.exists());
}
