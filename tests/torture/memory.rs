//! Memory: clients that have the server make, keep or owe more than it may hold. Whatever they ask for, the process stays
//! under the cap and its own 32 MiB, and who asks for little is served.

use crate::client::{Client, patterned, request};
use crate::harness::{Engine, on_every_driver, wait_until};
use crate::siege::{Siege, rounds};
use crate::wire::Value;

on_every_driver!(
    a_transaction_that_makes_and_takes_large_values,
    prefixes_of_megabytes,
    lists_of_clients_with_long_names,
    many_small_values_in_one_reply,
    all_keys_in_one_reply,
    queues_of_short_words,
    values_that_are_replaced_while_they_are_unread,
    many_replies_of_fifteen_kilobytes,
    the_table_of_commands_again_and_again,
    a_list_of_millions_of_numbers,
    halves_of_requests_of_many_arguments,
    a_crowd_that_sends_one_byte,
);

const MIB: usize = 1 << 20;
/// Keeps a client from waiting for replies that it does not want.
const READERS: usize = 20;

/// Has each client send `input` from a thread of its own: a server that does not read on must not hold up the attack.
fn send_to_all(clients: Vec<Client>, input: &[u8]) -> Vec<Client> {
    let writers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let input = input.to_vec();
            client.stream().set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
            std::thread::spawn(move || {
                // It is closed, or what it sends is not taken any more: both are the server's right.
                let _ = client.try_send(&input);
                client
            })
        })
        .collect();
    writers.into_iter().map(|writer| writer.join().unwrap()).collect()
}

/// Waits until the server has done what it will for the attackers: what it holds no longer moves by a MiB. Neighbours keep
/// it busy, and who is served in turn may take long: so it is for seconds at most.
fn settle(siege: &Siege) {
    let (mut last, mut same) = (0, 0);
    for _ in 0..150 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let held = siege.server().resident_bytes() / MIB;
        same = if held == last { same + 1 } else { 0 };
        last = held;
        if same == 15 {
            return;
        }
    }
}

fn fill(siege: &Siege, keys: usize, value_bytes: usize) {
    let mut client = siege.server().client();
    let value = patterned(value_bytes, 1);
    for from in (0..keys).step_by(1000) {
        let count = (keys - from).min(1000);
        for key in from..from + count {
            client.send(request(&[b"SET".as_slice(), format!("key:{key:07}").as_bytes(), &value]));
        }
        client.expect("+OK\r\n".repeat(count));
    }
}

/// Each reply takes its value out of the keyspace, so nothing but the reply holds it.
fn a_transaction_that_makes_and_takes_large_values(engine: Engine) {
    let siege = Siege::begin(engine, "EXEC of BITOP and GETDEL");
    let mut client = siege.server().client();
    client.call(&[b"SET".as_slice(), b"s", &patterned(4 * MIB, 1)]);
    for _ in 0..rounds() {
        let mut input = request(&["MULTI"]);
        for _ in 0..60 {
            input.extend(request(&["BITOP", "NOT", "d", "s"]));
            input.extend(request(&["GETDEL", "d"]));
        }
        input.extend(request(&["EXEC"]));
        let clients = send_to_all(siege.clients(3), &input);
        settle(&siege);
        drop(clients);
    }
    siege.end();
}

fn prefixes_of_megabytes(engine: Engine) {
    let siege = Siege::begin(engine, "CLIENT TRACKING with long prefixes");
    let mut keeper = siege.server().client();
    keeper.call(&["SET", "kept", "value"]);
    for _ in 0..rounds() {
        let mut clients = Vec::new();
        for number in 0..20usize {
            let mut client = siege.server().client();
            client.call(&["HELLO", "3"]);
            for more in 0..2 {
                let prefix = [number.to_string().as_bytes(), b":", &vec![b'a' + more; 8 * MIB]].concat();
                let words: [&[u8]; 6] = [b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", &prefix];
                if client.try_send(&request(&words)).is_err() {
                    break;
                }
            }
            clients.push(client);
        }
        settle(&siege);
    }
    keeper.check("GET kept", "$5\r\nvalue\r\n");
    keeper.check("SET other value", "+OK\r\n");
    siege.end();
}

fn lists_of_clients_with_long_names(engine: Engine) {
    let siege = Siege::begin(engine, "CLIENT LIST, unread");
    let name = "n".repeat(1024);
    let mut named = siege.clients(2000);
    let words = [vec!["CLIENT", "SETNAME", &name], vec!["CLIENT", "SETINFO", "LIB-NAME", &name]];
    for client in &mut named {
        words.iter().for_each(|words| client.send(request(words)));
    }
    for client in &mut named {
        words.iter().for_each(|_| assert_eq!(client.value(), Value::Simple("OK".into())));
    }
    for _ in 0..rounds() {
        let clients = send_to_all(siege.clients(READERS), &request(&["CLIENT", "LIST"]).repeat(5));
        settle(&siege);
        drop(clients);
    }
    siege.end();
}

fn many_small_values_in_one_reply(engine: Engine) {
    let siege = Siege::begin(engine, "MGET of small values, unread");
    fill(&siege, 1500, 10_000);
    let keys: Vec<String> = (0..1500).map(|key| format!("key:{key:07}")).collect();
    let words: Vec<&str> = std::iter::once("MGET").chain(keys.iter().take(1000).map(String::as_str)).collect();
    for _ in 0..rounds() {
        let clients = send_to_all(siege.clients(READERS), &request(&words).repeat(2));
        settle(&siege);
        drop(clients);
    }
    // Whoever reads gets them.
    let mut reader = siege.server().client();
    let got = reader.call(&words);
    assert_eq!(got.elements().len(), 1000);
    siege.end();
}

fn all_keys_in_one_reply(engine: Engine) {
    let siege = Siege::begin(engine, "KEYS *, unread");
    fill(&siege, 300_000, 10);
    for _ in 0..rounds() {
        let clients = send_to_all(siege.clients(READERS), &request(&["KEYS", "*"]).repeat(2));
        settle(&siege);
        drop(clients);
    }
    siege.end();
}

/// Words of one byte on an inline command's line, queued by MULTI.
fn queues_of_short_words(engine: Engine) {
    let siege = Siege::begin(engine, "MULTI and inline words");
    let line = format!("EXISTS{}\r\n", " \"a\"".repeat(16_000));
    let input = [b"MULTI\r\n".as_slice(), line.repeat(30).as_bytes()].concat();
    for _ in 0..rounds() {
        let clients = send_to_all(siege.clients(READERS), &input);
        settle(&siege);
        drop(clients);
    }
    siege.end();
}

fn values_that_are_replaced_while_they_are_unread(engine: Engine) {
    let siege = Siege::begin(engine, "unread values, replaced");
    let mut writer = siege.server().client();
    // What replies leave to requests is a quarter of an eighth of the cap: 4 MiB.
    let value = patterned(2 * MIB, 1);
    let set = |writer: &mut Client, key: &str| writer.call(&[b"SET".as_slice(), key.as_bytes(), &value]);
    for _ in 0..rounds() {
        let mut readers = siege.clients(40);
        for reader in &mut readers {
            set(&mut writer, "k");
            // One that does not read may be closed for others.
            let _ = reader.try_send(&request(&["GET", "k"]));
            let _ = reader.try_send(&request(&["GETRANGE", "k", "0", "-1"]));
        }
        // One reply of many large values, each replaced.
        let keys: Vec<String> = (0..24).map(|key| format!("k{key}")).collect();
        keys.iter().for_each(|key| drop(set(&mut writer, key)));
        let _ = readers[0]
            .try_send(&request(&[&["MGET"], &keys.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat()));
        settle(&siege);
        keys.iter().for_each(|key| drop(set(&mut writer, key)));
        settle(&siege);
    }
    siege.end();
}

fn many_replies_of_fifteen_kilobytes(engine: Engine) {
    let siege = Siege::begin(engine, "15 KB unread, by thousands");
    siege.server().client().call(&[b"SET".as_slice(), b"k", &patterned(15_000, 1)]);
    for _ in 0..rounds() {
        let mut clients = siege.clients(3000);
        clients.iter().for_each(|client| {
            // As little as the kernel lets it take.
            socket2::SockRef::from(client.stream()).set_recv_buffer_size(4096).unwrap();
        });
        let input = request(&["GET", "k"]);
        // The kernel takes some megabytes off the server; what comes then waits in it.
        for _ in 0..3 {
            clients.iter_mut().for_each(|client| drop(client.try_send(&input.repeat(30))));
            settle(&siege);
        }
    }
    siege.end();
}

fn the_table_of_commands_again_and_again(engine: Engine) {
    let siege = Siege::begin(engine, "COMMAND DOCS, unread");
    for _ in 0..rounds() {
        let mut clients = siege.clients(1000);
        clients.iter_mut().for_each(|client| client.send(request(&["COMMAND", "DOCS"]).repeat(60)));
        settle(&siege);
    }
    siege.end();
}

fn a_list_of_millions_of_numbers(engine: Engine) {
    let siege = Siege::begin(engine, "percentiles by the million");
    let mut client = siege.server().client();
    for _ in 0..rounds() {
        let numbers = "1 ".repeat(4_000_000);
        let reply = client.call(&["CONFIG", "SET", "latency-tracking-info-percentiles", &numbers]);
        assert!(matches!(reply, Value::Error(_)), "{reply:?}");
    }
    siege.end();
}

fn halves_of_requests_of_many_arguments(engine: Engine) {
    let siege = Siege::begin(engine, "half requests of empty arguments");
    let input = [b"*1048576\r\n$3\r\nDEL\r\n".as_slice(), &b"$0\r\n\r\n".repeat(800_000)].concat();
    for _ in 0..rounds() {
        let clients = send_to_all(siege.clients(300), &input);
        settle(&siege);
        drop(clients);
    }
    siege.end();
}

/// What is charged is what is held: a crowd of beginners does not keep the others from sending.
fn a_crowd_that_sends_one_byte(engine: Engine) {
    let siege = Siege::with(engine, "a byte from each of thousands", &["--requirepass=pass"]);
    let mut crowd = siege.clients(2100);
    crowd.iter_mut().for_each(|client| client.send("*"));
    let mut client = siege.server().client();
    client.check("AUTH pass", "+OK\r\n");
    wait_until("all of them", || client.info_number("connected_clients") >= 2103);
    assert_eq!(client.call(&[b"SET".as_slice(), b"k", &patterned(40_000, 1)]), Value::Simple("OK".into()));
    siege.end();
}
