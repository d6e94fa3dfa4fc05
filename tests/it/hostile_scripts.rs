//! The collection of hostile scripts (`tests/hostile/`) at the wire: each on a fresh and on a used interpreter, beside a
//! neighbour that must be served.

use std::time::Duration;

use crate::client::{Client, request};
use crate::harness::{Engine, Server, on_every_driver, peak_resident_bytes, wait_until};
use crate::long_scripts::{elsewhere, is_busy};
use crate::wire::Value;

#[path = "../hostile/mod.rs"]
mod collection;

use collection::{ENDLESS, Hostile, MEMORY, ROOM, STACK, scripts};

on_every_driver!(nothing_ends_the_process, room_is_given_back, nothing_keeps_a_core, floods_of_scripts);

const MEMORY_CAP: &str = "--maxmemory=256mb";
const RESIDENT_MAX_BYTES: usize = (256 + 32) << 20;

/// What a script answers, in words, be it an error. One that takes long is ended: that is another test.
fn reply(client: &mut Client, killer: &mut Client, source: &str) -> String {
    client.send(request(&["EVAL", source, "1", "k"]));
    let mut looks = 0;
    wait_until("a reply, or the end of the script", || {
        looks += 1;
        if looks > 20 {
            killer.call(&["SCRIPT", "KILL"]);
        }
        has_reply(client)
    });
    match client.value() {
        Value::Bulk(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

fn has_reply(client: &Client) -> bool {
    let stream = client.stream();
    let patience = stream.read_timeout().expect("a socket");
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
    let has_some = stream.peek(&mut [0]).is_ok();
    stream.set_read_timeout(patience).expect("a socket");
    has_some
}

fn survives(clients: &mut [Client; 2], hostile: &Hostile, is_fine: impl Fn(&str) -> bool) {
    let [client, killer] = clients;
    let said = reply(client, killer, hostile.source);
    assert!(is_fine(&said) || said.contains("Script killed"), "{}: {said:.500}", hostile.name);
    assert_eq!(client.call(&["EVAL", "return 1", "0"]), Value::Integer(1), "after: {}", hostile.name);
    killer.check("PING", "+PONG\r\n");
}

/// Two on different cores.
fn two(server: &Server) -> [Client; 2] {
    let mut client = server.client();
    let other = elsewhere(server, &mut client);
    [client, other]
}

fn nothing_ends_the_process(engine: Engine) {
    let server = Server::with(engine, &[MEMORY_CAP, "--threads=2"]);
    let mut clients = two(&server);
    for is_fresh in [true, false] {
        for hostile in scripts(MEMORY).chain(scripts(STACK)) {
            if is_fresh {
                clients[0].check("SCRIPT FLUSH", "+OK\r\n");
            }
            survives(&mut clients, &hostile, |said| said.contains(hostile.expect.trim_start_matches(':')));
        }
    }
}

fn room_is_given_back(engine: Engine) {
    let server = Server::with(engine, &[MEMORY_CAP, "--threads=2"]);
    let mut clients = two(&server);
    for hostile in scripts(ROOM).chain(scripts(ROOM)) {
        survives(&mut clients, &hostile, |said| said.contains("OOM"));
    }
    // The cap, and what the process takes for itself; the peak counts.
    assert!(peak_resident_bytes(&server) < RESIDENT_MAX_BYTES, "{} bytes", peak_resident_bytes(&server));
    server.client().check("SCRIPT FLUSH", "+OK\r\n");
    server.wait_for_info("used_memory_lua", |bytes| bytes == 0);
    server.wait_for_info("used_memory_scripts", |bytes| bytes == 0);
}

/// SCRIPT KILL ends them, soon enough for the neighbours: those on the other core are served all the time, and those who
/// come find a core.
fn nothing_keeps_a_core(engine: Engine) {
    let server = Server::with(engine, &[MEMORY_CAP, "--threads=2", "--busy-reply-threshold=20"]);
    let [mut client, mut killer] = two(&server);
    for hostile in scripts(ENDLESS) {
        client.send(request(&["EVAL", hostile.source, "1", "k"]));
        // Whoever comes once it runs is served.
        // (Not by GET: a key that is read so often is hot, and a copy answers.)
        wait_until("the script to run", || is_busy(&killer.call(&["STRLEN", "k"])));
        let mut comer = server.client();
        comer.check("ECHO x", "$1\r\nx\r\n");
        wait_until("the script to be killed", || {
            killer.call(&["SCRIPT", "KILL"]);
            has_reply(&client)
        });
        match client.value() {
            Value::Error(text) if text.starts_with("ERR Script killed by user") => {}
            other => panic!("{}: {other:?}", hostile.name),
        }
        client.check("SET k v", "+OK\r\n");
    }
}

/// EVAL and SCRIPT LOAD of ever new sources: what is kept is bounded, charged, and gone at once.
fn floods_of_scripts(engine: Engine) {
    let server = Server::with(engine, &[MEMORY_CAP, "--threads=2"]);
    let mut clients = two(&server);
    for round in 0..2 {
        for client in &mut clients {
            let comment = "c".repeat(4 << 20);
            for n in 0..40 {
                let source = format!("return {n} --{round} {comment}");
                assert_eq!(client.call(&["EVAL", &source, "0"]), Value::Integer(n));
            }
            let body = "local x = KEYS[1] ".repeat(450);
            for n in 0..300 {
                let source = format!("{} return {n} --{round}", &body);
                let said = client.call(&["EVAL", &source, "0"]);
                assert!(
                    matches!(said, Value::Integer(_)) || format!("{said:?}").contains("200 local variables"),
                    "{said:?}"
                );
                let long: String =
                    (0..200).map(|i| format!("redis.call('set', KEYS[1], '{i}.{n}.{round}') ")).collect();
                assert_eq!(client.call(&["EVAL", &format!("{long} return {n}"), "1", "k"]), Value::Integer(n));
            }
            for n in 0..40 {
                client.call(&["SCRIPT", "LOAD", &format!("return {n} --{round} load {comment}")]);
            }
            assert_eq!(client.call(&["EVAL", &format!("return 7 -- {round}"), "0"]), Value::Integer(7));
        }
        assert!(server.info_number("used_memory_scripts") <= 8 << 20);
        clients[0].check("SCRIPT FLUSH", "+OK\r\n");
        server.wait_for_info("used_memory_lua", |bytes| bytes == 0);
        assert_eq!(server.info_number("used_memory_scripts"), 0);
    }
    assert!(peak_resident_bytes(&server) < RESIDENT_MAX_BYTES, "{} bytes", peak_resident_bytes(&server));
}
