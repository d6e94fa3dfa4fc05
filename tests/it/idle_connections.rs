//! Ten thousand connections that do nothing: they stay open, cost little, and hold nobody up.

use std::sync::Mutex;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{Engine, Server, on_every_driver, skip, wait_until};

on_every_driver!(ten_thousand);

const CONNECTIONS: usize = 10_000;
const BYTES_EACH: usize = 4096;

/// The descriptors of this process suffice for one such test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn ten_thousand(engine: Engine) {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if most < CONNECTIONS as u64 + 2000 || setrlimit(Resource::RLIMIT_NOFILE, most, most).is_err() {
        return skip("ten_thousand", "the limit on open files is too low");
    }
    let server = Server::with(engine, &["--maxclients=11000"]);
    let mut busy = server.client();
    let value = "v".repeat(100_000);
    busy.call(&["SET", "large", &value]);
    for _ in 0..100 {
        assert_eq!(busy.call(&["GET", "large"]).text(), value);
    }
    let before = server.resident_bytes();
    let mut idle: Vec<_> = (0..CONNECTIONS).map(|_| server.client()).collect();
    // None of them is new: each has been served.
    idle.iter_mut().for_each(|client| client.send("PING\r\n"));
    idle.iter_mut().for_each(|client| client.expect("+PONG\r\n"));
    assert_eq!(busy.info_number("connected_clients"), CONNECTIONS as u64 + 1);
    let mut each = 0;
    wait_until("the idle connections to cost little", || {
        each = server.resident_bytes().saturating_sub(before) / CONNECTIONS;
        each <= BYTES_EACH
    });
    eprintln!("{}: {each} bytes of memory for an idle connection", engine.name());
    for n in 0..200 {
        busy.check(&format!("SET n {n:03}"), "+OK\r\n");
        busy.check("GET n", &format!("$3\r\n{n:03}\r\n"));
    }
    // They wake up all at once, and each is still there.
    idle.iter_mut().for_each(|client| client.send("GET n\r\n"));
    idle.iter_mut().for_each(|client| client.expect("$3\r\n199\r\n"));
    wait_until("them to cost little again", || {
        server.resident_bytes().saturating_sub(before) / CONNECTIONS <= BYTES_EACH
    });
    drop(idle);
    wait_until("them to be gone", || busy.info_number("connected_clients") == 1);
    busy.check("GET n", "$3\r\n199\r\n");
}
