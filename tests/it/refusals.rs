//! The kernel refuses memory and addresses to a server that runs: what needs them is refused, the rest is served, and when
//! the kernel gives again all is as before. And nothing that clients do uses addresses up.

use std::process::Command;
use std::time::Instant;

use crate::client::{Client, patterned, request};
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::{self, Value};

on_every_driver!(
    flushing_without_end_uses_up_no_addresses,
    flushing_databases_without_end_uses_up_no_addresses,
    what_the_kernel_refuses_is_an_error_and_the_server_goes_on,
    a_server_that_may_have_nothing_at_all_goes_on,
);

/// What the kernel can be told to refuse: more addresses, or more memory that can be written to (a new mapping, or one
/// that is opened). The option of `prlimit`, and the place in `statm` of what the process has.
#[derive(Clone, Copy)]
struct Resource(&'static str, usize);

const ADDRESSES: Resource = Resource("--as", 0);
const WRITABLE: Resource = Resource("--data", 5);

impl Resource {
    fn used_by(self, server: &Server) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", server.pid())).expect("the server runs");
        text.split_whitespace().nth(self.1).unwrap().parse::<u64>().unwrap() * 4096
    }

    /// What the running server may have of it; none for all.
    fn limit(self, server: &Server, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let pid = server.pid().to_string();
        // The soft limit alone, so that it can be raised again.
        let status = Command::new("prlimit").args(["--pid", &pid, &format!("{}={limit}:", self.0)]).status();
        assert!(status.expect("prlimit is part of util-linux").success());
    }
}

/// Sends so many rounds on several connections at once, of which each ends with an OK, and reads all replies.
fn flood(server: &Server, round: &[Vec<u8>], rounds: usize) {
    const AT_ONCE: usize = 50;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..rounds / AT_ONCE {
                    client.send(round.concat().repeat(AT_ONCE));
                    client.expect("+OK\r\n".repeat(AT_ONCE * round.len()));
                }
            });
        }
    });
}

fn mset(prefix: &str) -> Vec<u8> {
    let words: Vec<String> = (0..8).flat_map(|n| [format!("{prefix}{n}"), "value".into()]).collect();
    request(&[vec!["MSET".to_owned()], words].concat())
}

fn flushing_without_end_uses_up_no_addresses(engine: Engine) {
    let server = Server::start(engine);
    let flush = [mset("key"), request(&["FLUSHALL", "SYNC"])];
    flood(&server, &flush, 100);
    let before = ADDRESSES.used_by(&server);
    flood(&server, &flush, 2000);
    // With sixteen databases, in a transaction, and by swapping.
    let mut round = Vec::new();
    for database in 0..16 {
        round.extend([request(&["SELECT", &database.to_string()]), mset("other")]);
    }
    round.push(request(&["SWAPDB", "3", "4"]));
    round.push(request(&["FLUSHALL", "ASYNC"]));
    flood(&server, &round, 200);
    let after = ADDRESSES.used_by(&server);
    // An index for each of 32 tables in each of two shards reserves 10 GiB.
    assert!(after - before < (64 * 11) << 30, "{before} and then {after} bytes of addresses");
    assert_eq!(server.info_number("used_memory_dataset"), 0);
}

fn flushing_databases_without_end_uses_up_no_addresses(engine: Engine) {
    let server = Server::start(engine);
    let mut round = Vec::new();
    for database in 0..16 {
        let databases = [database.to_string(), ((database + 5) % 16).to_string()];
        round.push(request(&["SELECT", &databases[0]]));
        round.push(mset("key"));
        round.push(request(&["SWAPDB", &databases[0], &databases[1]]));
        round.push(request(&["FLUSHDB"]));
    }
    round.push(request(&["FLUSHALL"]));
    flood(&server, &round, 100);
    let before = ADDRESSES.used_by(&server);
    flood(&server, &round, 500);
    let after = ADDRESSES.used_by(&server);
    assert!(after <= before + ((64 * 11) << 30), "{before} and then {after} bytes of addresses");
    assert_eq!(server.client().call(&["DBSIZE"]), Value::Integer(0));
}

/// Whether a write was taken; if not, by the error that clients expect.
fn is_taken(reply: Value) -> bool {
    match reply {
        Value::Error(text) => {
            assert!(text.starts_with("OOM "), "{text}");
            false
        }
        other => {
            assert!(!matches!(other, Value::Null), "{other:?}");
            true
        }
    }
}

/// Requests from here on come in pieces, for which memory is needed: a connection may end with the refusal.
const IN_PIECES: usize = 16 << 10;

/// The same, with a connection for it.
fn is_taken_alone(server: &Server, words: &[&[u8]]) -> bool {
    let mut client = server.client();
    let sent = client.try_send(&request(words));
    let _ = client.stream().shutdown(std::net::Shutdown::Write);
    let reply = client.rest();
    assert!(sent.is_err() || wire::reply_length(&reply).is_some(), "{}", reply.escape_ascii());
    sent.is_ok() && !reply.starts_with(b"-")
}

/// Each kind of write until one is refused, or so many have been taken.
fn write_all_kinds(server: &Server, client: &mut Client, round: usize) -> usize {
    let mut refused = 0;
    for (at, length) in [50, 3_000, 20_000, 60_000, 1_500_000].into_iter().enumerate() {
        let value = patterned(length, round);
        for number in 0..(96 << 20) / (length + 2000) / 8 {
            let key = format!("{round}:{length}:{number}");
            let words = match number % 4 {
                0 => [b"SET".as_slice(), key.as_bytes(), &value].to_vec(),
                1 => [b"APPEND".as_slice(), key.as_bytes(), &value].to_vec(),
                2 => [b"SETRANGE".as_slice(), key.as_bytes(), b"60000", b"x"].to_vec(),
                _ => [b"MSET".as_slice(), key.as_bytes(), &value].to_vec(),
            };
            if length < IN_PIECES && !is_taken(client.call(&words))
                || length >= IN_PIECES && !is_taken_alone(server, &words)
            {
                refused += 1;
                break;
            }
        }
        // What is there can be had, whatever is refused.
        assert_eq!(client.call(&["GET", "kept"]), Value::Bulk(patterned(5000, 1)), "{at}");
        client.check("DEL nothing", ":0\r\n");
        // Others come and are served, or told.
        is_taken_alone(server, &[b"PING"]);
    }
    refused
}

fn recovers(server: &Server, resource: Resource, client: &mut Client) {
    resource.limit(server, None);
    let large = patterned(2_000_000, 3);
    wait_until("writes to be taken again", || is_taken_alone(server, &[b"SET", b"large", &large]));
    assert_eq!(client.call(&["GET", "large"]), Value::Bulk(large));
    for database in 0..16 {
        client.check(&format!("SELECT {database}"), "+OK\r\n");
        client.check("SET recovered yes", "+OK\r\n");
    }
    client.check("SELECT 0", "+OK\r\n");
    client.check("FLUSHALL", "+OK\r\n");
    client.check("SET recovered yes", "+OK\r\n");
}

fn what_the_kernel_refuses_is_an_error_and_the_server_goes_on(engine: Engine) {
    let policies = ["--maxmemory-policy=noeviction", "--maxmemory-policy=allkeys-lru"];
    for (policy, resource) in policies.into_iter().flat_map(|policy| [(policy, ADDRESSES), (policy, WRITABLE)]) {
        let server = Server::with(engine, &[policy]);
        let mut client = server.client();
        client.send(request(&[b"SET".as_slice(), b"kept", &patterned(5000, 1)]));
        client.expect("+OK\r\n");
        for (round, spare) in [0, 1 << 20, 8 << 20, 40 << 20].into_iter().enumerate() {
            resource.limit(&server, Some(resource.used_by(&server) + spare));
            let refused = write_all_kinds(&server, &mut client, round);
            assert!(refused > 0 || round > 0, "nothing was refused");
            // A table of its own for a database that had none.
            client.check("SELECT 7", "+OK\r\n");
            let _ = is_taken(client.call(&["SET", "k", "v"]));
            client.check("SELECT 0", "+OK\r\n");
            recovers(&server, resource, &mut client);
            client.send(request(&[b"SET".as_slice(), b"kept", &patterned(5000, 1)]));
            client.expect("+OK\r\n");
        }
    }
}

/// Less than it has: every request to the kernel fails from then on.
fn a_server_that_may_have_nothing_at_all_goes_on(engine: Engine) {
    [ADDRESSES, WRITABLE].into_iter().for_each(|resource| goes_on_without(engine, resource));
}

fn goes_on_without(engine: Engine, resource: Resource) {
    let server = Server::start(engine);
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    clients[0].send(request(&[b"SET".as_slice(), b"kept", &patterned(5000, 1)]));
    clients[0].expect("+OK\r\n");
    resource.limit(&server, Some(1 << 20));
    let begun = Instant::now();
    for round in 0..40 {
        for (at, client) in clients.iter_mut().enumerate() {
            let value = patterned(100 << (at % 8), at);
            is_taken(client.call(&[b"SET".as_slice(), format!("{round}:{at}").as_bytes(), &value]));
            assert_eq!(client.call(&["GET", "kept"]), Value::Bulk(patterned(5000, 1)));
            client.check("MULTI", "+OK\r\n");
            client.check("STRLEN kept", "+QUEUED\r\n");
            client.check("EXEC", "*1\r\n:5000\r\n");
            let reply = client.call(&["EVAL", "return redis.call('STRLEN', KEYS[1])", "1", "kept"]);
            assert!(matches!(reply, Value::Integer(5000) | Value::Error(_)), "{reply:?}");
        }
        if begun.elapsed().as_secs() > 20 {
            break;
        }
    }
    // More at once than any reserve has.
    let reply = clients[0].call(&["EVAL", "return #string.rep('x', 3000000)", "0"]);
    assert!(matches!(reply, Value::Integer(3_000_000) | Value::Error(_)), "{reply:?}");
    clients[0].check("PING", "+PONG\r\n");
    recovers(&server, resource, &mut clients[0]);
}
