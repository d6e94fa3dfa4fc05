//! The Unix socket: its permissions, its name, and that it serves like the port.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::client::{Client, patterned};
use crate::harness::{Engine, Server, command, on_every_driver, run_to_end, temporary};
use crate::wire::Value;

on_every_driver!(
    serves_like_the_port,
    permissions,
    a_stale_one_is_replaced,
    what_is_no_stale_socket_is_left_alone,
    the_end_of_input_is_never_missed,
);

fn with_socket(engine: Engine, path: &Path, flags: &[&str]) -> Server {
    let flag = format!("--unixsocket={}", path.display());
    let mut all = vec![flag.as_str()];
    all.extend_from_slice(flags);
    Server::with(engine, &all)
}

fn serves_like_the_port(engine: Engine) {
    let path = temporary("serves.sock");
    let server = with_socket(engine, &path, &["--threads=4"]);
    let mut clients: Vec<_> = (0..8).map(|_| Client::new(UnixStream::connect(&path).unwrap())).collect();
    let value = patterned(1_000_000, 1);
    for (n, client) in clients.iter_mut().enumerate() {
        let key = format!("k{n}");
        client.call(&[b"SET".as_slice(), key.as_bytes(), &value]);
        assert_eq!(client.call(&["GET", &key]), Value::bulk(&value));
        let info = client.call(&["CLIENT", "INFO"]).text();
        assert!(info.contains(&format!("addr={}:0", path.display())) && info.contains("flags=U"), "{info}");
    }
    server.client().check("EXISTS k0 k7", ":2\r\n");
    for core in 0..4 {
        // The client who asks is one more.
        let count = server.info_number(&format!("connected_clients_core{core}"));
        assert!((2..=3).contains(&count), "{count} on core {core}");
    }
}

fn permissions(engine: Engine) {
    for (flags, mode) in [(vec![], 0o700), (vec!["--unixsocketperm=770"], 0o770), (vec!["--unixsocketperm=600"], 0o600)]
    {
        let path = temporary("mode.sock");
        let _server = with_socket(engine, &path, &flags);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
    }
}

fn a_stale_one_is_replaced(engine: Engine) {
    let path = temporary("stale.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = with_socket(engine, &path, &[]);
    Client::new(UnixStream::connect(&path).unwrap()).check("PING", "+PONG\r\n");
}

fn what_is_no_stale_socket_is_left_alone(engine: Engine) {
    let path = temporary("taken.sock");
    let flag = format!("--unixsocket={}", path.display());
    let refused = |expected| {
        let (code, _, stderr) = run_to_end(command(&[engine.flag(), &flag]));
        assert_eq!(code, Some(expected), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    };
    std::fs::write(&path, "precious").unwrap();
    assert!(refused(2).contains("cannot listen on a file that is no socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();
    let _server = with_socket(engine, &path, &[]);
    assert!(refused(1).contains("another process does"));
    Client::new(UnixStream::connect(&path).unwrap()).check("PING", "+PONG\r\n");
}

/// It comes together with the request, and the kernel may tell of both at once.
fn the_end_of_input_is_never_missed(engine: Engine) {
    let path = temporary("end.sock");
    let server = with_socket(engine, &path, &["--threads=1"]);
    for round in 0..1000 {
        let stream = UnixStream::connect(&path).unwrap();
        let mut client = Client::new(stream.try_clone().unwrap());
        client.send("PING\r\n".repeat(round % 3 + 1));
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        client.expect("+PONG\r\n".repeat(round % 3 + 1));
        client.expect_closed();
    }
    server.wait_for_info("connected_clients", |count| count == 1);
}
