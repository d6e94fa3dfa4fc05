//! MULTI, EXEC and WATCH: queued, then one step for everybody else, or nothing.

use std::thread;

use crate::client::{bulk, patterned, request};
use crate::harness::{Engine, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(
    a_transaction_is_queued_and_run,
    what_is_refused_in_the_queue_discards_all,
    what_fails_while_it_runs_leaves_the_rest,
    a_changed_key_ends_in_nothing,
    what_does_not_change_a_key,
    keys_that_expire_are_changed,
    every_kind_of_command_can_be_queued,
    the_connection_forgets_what_it_watched,
    transactions_of_several_connections_are_isolated,
    a_counter_by_watch_loses_nothing,
    large_values_in_a_transaction,
    a_pipeline_of_transactions,
    the_queue_is_bounded,
    replies_beyond_the_limit_are_left_out,
);

fn a_transaction_is_queued_and_run(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let (mut client, mut other) = (server.client(), server.client());
    client.check("MULTI", "+OK\r\n");
    client.check("SET a 1", "+QUEUED\r\n");
    client.check("INCR a", "+QUEUED\r\n");
    client.check("MGET a b", "+QUEUED\r\n");
    client.check("SELECT 3", "+QUEUED\r\n");
    client.check("SET a three", "+QUEUED\r\n");
    other.check("GET a", "$-1\r\n");
    client.check("EXEC", "*5\r\n+OK\r\n:2\r\n*2\r\n$1\r\n2\r\n$-1\r\n+OK\r\n+OK\r\n");
    client.check("GET a", "$5\r\nthree\r\n");
    other.check("GET a", "$1\r\n2\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("EXEC", "*0\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("SET a lost", "+QUEUED\r\n");
    client.check("DISCARD", "+OK\r\n");
    client.check("GET a", "$5\r\nthree\r\n");
    client.check("EXEC", "-ERR EXEC without MULTI\r\n");
    client.check("DISCARD", "-ERR DISCARD without MULTI\r\n");
}

fn what_is_refused_in_the_queue_discards_all(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for refused in ["NOSUCH x", "SET k", "GET", "SHUTDOWN NOSAVE", "MEMORY USAGE", "COMMAND COUNT x", "CLIENT NOSUCH"] {
        client.check("MULTI", "+OK\r\n");
        client.check("SET k v", "+QUEUED\r\n");
        client.check_error(refused, "ERR ");
        client.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
        client.check("GET k", "$-1\r\n");
    }
    client.check("MULTI", "+OK\r\n");
    client.check("SET k v", "+QUEUED\r\n");
    client.check_error("CLIENT SETNAME", "ERR wrong number of arguments for 'client|setname' command");
    client.check(
        "EXEC now",
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n",
    );
    client.check("EXEC", "-ERR EXEC without MULTI\r\n");
    client.check_error("EXEC now", "EXECABORT Transaction discarded because of: wrong number of arguments");
    // These are errors, but no reason to discard.
    client.check("MULTI", "+OK\r\n");
    client.check("MULTI", "-ERR MULTI calls can not be nested\r\n");
    client.check("WATCH k", "-ERR WATCH inside MULTI is not allowed\r\n");
    client.check("SET k v", "+QUEUED\r\n");
    client.check("EXEC", "*1\r\n+OK\r\n");
}

fn what_fails_while_it_runs_leaves_the_rest(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET text abc", "+OK\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("SET a 1", "+QUEUED\r\n");
    client.check("INCR text", "+QUEUED\r\n");
    client.check("SET b 2", "+QUEUED\r\n");
    client.check("EXEC", "*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n+OK\r\n");
    client.check("MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
}

fn a_changed_key_ends_in_nothing(engine: Engine) {
    let changes = [
        "SET k other",
        "APPEND k x",
        "DEL k",
        "EXPIRE k 100",
        "PERSIST k",
        "MOVE k 4",
        "FLUSHDB",
        "FLUSHALL",
        "SWAPDB 0 1",
        "GETDEL k",
        "SET k v XX",
    ];
    let server = Server::with(engine, &["--threads=2"]);
    let (mut client, mut other) = (server.client(), server.client());
    for change in changes {
        for protocol in ["2", "3"] {
            other.check("FLUSHALL", "+OK\r\n");
            other.check("SET k v EX 1000", "+OK\r\n");
            client.call(&["HELLO", protocol]);
            client.check("WATCH j k", "+OK\r\n");
            other.call(&change.split(' ').collect::<Vec<_>>());
            client.check("MULTI", "+OK\r\n");
            client.check("SET k mine", "+QUEUED\r\n");
            client.check("EXEC", if protocol == "2" { "*-1\r\n" } else { "_\r\n" });
            // Only once.
            client.check("MULTI", "+OK\r\n");
            client.check("SET k mine", "+QUEUED\r\n");
            client.check("EXEC", "*1\r\n+OK\r\n");
        }
    }
    // The connection's own change counts as well, and a key that comes into being.
    client.call(&["HELLO", "2"]);
    client.check("WATCH none", "+OK\r\n");
    client.check("SET none v", "+OK\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("EXEC", "*-1\r\n");
}

fn what_does_not_change_a_key(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let (mut client, mut other) = (server.client(), server.client());
    other.check("MSET k v other v", "+OK\r\n");
    client.check("WATCH k none", "+OK\r\n");
    for harmless in ["GET k", "TOUCH k", "SET k x NX", "DEL none", "GETEX k", "SET other x", "EXPIRE none 5", "TTL k"] {
        other.call(&harmless.split(' ').collect::<Vec<_>>());
    }
    other.check("SELECT 5", "+OK\r\n");
    other.check("SET k elsewhere", "+OK\r\n");
    other.check("FLUSHDB", "+OK\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("PING", "+QUEUED\r\n");
    client.check("EXEC", "*1\r\n+PONG\r\n");
    // UNWATCH, DISCARD and EXEC forget.
    for forget in [&["UNWATCH"][..], &["MULTI", "DISCARD"], &["MULTI", "EXEC"]] {
        client.check("WATCH k", "+OK\r\n");
        forget.iter().for_each(|command| drop(client.call(&[command])));
        other.check("SELECT 0", "+OK\r\n");
        other.check("SET k changed", "+OK\r\n");
        client.check("MULTI", "+OK\r\n");
        client.check("EXEC", "*0\r\n");
    }
}

fn keys_that_expire_are_changed(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k v PX 30", "+OK\r\n");
    client.check("WATCH k", "+OK\r\n");
    crate::harness::wait_until("the key to expire", || client.call(&["EXISTS", "k"]) == Value::Integer(0));
    client.check("MULTI", "+OK\r\n");
    client.check("EXEC", "*-1\r\n");
}

fn every_kind_of_command_can_be_queued(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    client.check("MSET a 1 b 2 c 3 d 4", "+OK\r\n");
    client.check("MULTI", "+OK\r\n");
    for command in [
        "DBSIZE",
        "CONFIG SET maxmemory-policy noeviction",
        "SWAPDB 0 1",
        "EXISTS a b c d",
        "FLUSHALL",
        "DBSIZE",
        "UNWATCH",
    ] {
        client.check(command, "+QUEUED\r\n");
    }
    client.check("INFO keyspace", "+QUEUED\r\n");
    client.check("EXEC", "*8\r\n:4\r\n+OK\r\n+OK\r\n:0\r\n+OK\r\n:0\r\n+OK\r\n$12\r\n# Keyspace\r\n\r\n");
    client.check("PING", "+PONG\r\n");
}

fn the_connection_forgets_what_it_watched(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("MULTI", "+OK\r\n");
    client.check("SET k v", "+QUEUED\r\n");
    client.check("RESET", "+RESET\r\n");
    client.check("EXEC", "-ERR EXEC without MULTI\r\n");
    client.check("GET k", "$-1\r\n");
    client.check("WATCH k", "+OK\r\n");
    client.check("RESET", "+RESET\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("EXEC", "*0\r\n");
    // Left in the middle: nobody notices.
    let mut gone = server.client();
    gone.check("WATCH k", "+OK\r\n");
    gone.check("MULTI", "+OK\r\n");
    gone.check("SET k gone", "+QUEUED\r\n");
    drop(gone);
    client.check("SET k v", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
}

/// Money moves between accounts on several shards; every snapshot by EXEC sees all of it.
fn transactions_of_several_connections_are_isolated(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let accounts: Vec<String> = (0..8).map(|n| format!("account:{n}")).collect();
    let mut client = server.client();
    accounts.iter().for_each(|account| drop(client.call(&["SET", account, "100"])));
    thread::scope(|scope| {
        for worker in 0..4 {
            let (mut client, accounts) = (server.client(), &accounts);
            scope.spawn(move || {
                for round in 0..200 {
                    let (from, to) = (&accounts[(worker + round) % 8], &accounts[(worker * 3 + round * 5 + 1) % 8]);
                    client.check("MULTI", "+OK\r\n");
                    client.call(&["DECRBY", from, "7"]);
                    client.call(&["INCRBY", to, "7"]);
                    assert!(matches!(client.call(&["EXEC"]), Value::Array(_)));
                }
            });
        }
        for _ in 0..200 {
            client.check("MULTI", "+OK\r\n");
            accounts.iter().for_each(|account| drop(client.call(&["GET", account])));
            let Value::Array(balances) = client.call(&["EXEC"]) else { panic!("no snapshot") };
            assert_eq!(balances.iter().map(|value| value.text().parse::<i64>().unwrap()).sum::<i64>(), 800);
        }
    });
}

fn a_counter_by_watch_loses_nothing(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    server.client().check("SET n 0", "+OK\r\n");
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut client = server.client();
            scope.spawn(move || {
                for _ in 0..100 {
                    loop {
                        client.check("WATCH n", "+OK\r\n");
                        let next = client.call(&["GET", "n"]).text().parse::<i64>().unwrap() + 1;
                        client.check("MULTI", "+OK\r\n");
                        client.call(&["SET", "n", &next.to_string()]);
                        if client.call(&["EXEC"]) != Value::Null {
                            break;
                        }
                    }
                }
            });
        }
    });
    server.client().check("GET n", "$3\r\n400\r\n");
}

fn large_values_in_a_transaction(engine: Engine) {
    let server = Server::with(engine, &["--threads=2", "--maxmemory=256mb"]);
    let mut client = server.client();
    for n in 0..50_000 {
        client.send(request(&["SET", &format!("filler:{n}"), &"f".repeat(3000)]));
        client.expect("+OK\r\n");
    }
    let values: Vec<Vec<u8>> = (0..3).map(|seed| patterned(4 << 20, seed)).collect();
    client.check("MULTI", "+OK\r\n");
    for (n, value) in values.iter().enumerate() {
        client.send(request(&[b"SET", format!("large:{n}").as_bytes(), value]));
        client.expect("+QUEUED\r\n");
    }
    client.check("APPEND large:0 tail", "+QUEUED\r\n");
    client.check("EXEC", &format!("*4\r\n+OK\r\n+OK\r\n+OK\r\n:{}\r\n", (4 << 20) + 4));
    client.check("MULTI", "+OK\r\n");
    client.check("GET large:1", "+QUEUED\r\n");
    client.check("GET large:2", "+QUEUED\r\n");
    client.send("EXEC\r\n");
    client.expect([&b"*2\r\n"[..], &bulk(&values[1]), &bulk(&values[2])].concat());
}

fn a_pipeline_of_transactions(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let mut client = server.client();
    client.send("MULTI\r\nINCR n\r\nINCR m\r\nEXEC\r\n".repeat(1000));
    for n in 1..=1000 {
        client.expect(format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:{n}\r\n:{n}\r\n"));
    }
}

fn the_queue_is_bounded(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=64mb", "--client-query-limit=1mb"]);
    let mut client = server.client();
    client.check("MULTI", "+OK\r\n");
    let value = "v".repeat(10_000);
    for _ in 0..300 {
        if client.try_send(&request(&["SET", "k", &value])).is_err() {
            break;
        }
    }
    // The connection is closed with a reason, which the reset for what it went on to send may overtake.
    client.rest();
    assert_eq!(server.info_number("client_query_buffer_limit_disconnections"), 1);
    assert_eq!(server.client().call(&["GET", "k"]), Value::Null);
}

fn replies_beyond_the_limit_are_left_out(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=64mb"]);
    let mut client = server.client();
    let value = "v".repeat(10_000);
    client.call(&["SET", "k", &value]);
    client.check("MULTI", "+OK\r\n");
    for _ in 0..2000 {
        client.check("GET k", "+QUEUED\r\n");
    }
    client.check("INCR n", "+QUEUED\r\n");
    let Value::Array(replies) = client.call(&["EXEC"]) else { panic!("no replies") };
    assert_eq!(replies[0].text(), value);
    assert!(matches!(&replies[1999], Value::Error(text) if text.starts_with("ERR done, but")));
    client.check("GET n", "$1\r\n1\r\n");
}
