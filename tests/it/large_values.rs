//! Values that are streamed in and sent from where they lie.

use kv_cache::config::limits;

use crate::client::{bulk, patterned, request};
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    every_size_around_every_threshold,
    sixty_four_megabytes_beside_small_ones,
    every_command_takes_large_values,
    a_value_is_sent_as_it_was_asked_for,
    what_is_read_is_changed_beside_it,
    what_grows_by_much,
    several_change_what_is_read,
    a_value_may_be_as_large_as_info_says,
    several_large_values_in_one_request,
    a_large_value_is_received_in_place,
    a_value_that_never_ends_leaves_nothing,
);

fn set(key: &str, value: &[u8]) -> Vec<u8> {
    request(&[b"SET", key.as_bytes(), value])
}

fn every_size_around_every_threshold(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let thresholds = [
        512,
        1024,
        4096,
        limits::IO_BUFFER_BYTES,
        limits::SHARED_REPLY_MIN_BYTES,
        limits::STREAMED_ARGUMENT_MIN_BYTES,
        65_536,
        1 << 20,
        3 << 20,
    ];
    for (seed, threshold) in thresholds.into_iter().enumerate() {
        for length in threshold - 40..threshold + 3 {
            if threshold > 1 << 19 && length < threshold - 2 {
                continue;
            }
            let value = patterned(length, seed);
            client.send([set("k", &value), request(&["STRLEN", "k"]), request(&["GET", "k"])].concat());
            client.expect([format!("+OK\r\n:{length}\r\n").as_bytes(), &bulk(&value)].concat());
        }
    }
}

/// On one core, with half of the value sent, and with its reply asked for and not taken, others are served.
fn sixty_four_megabytes_beside_small_ones(engine: Engine) {
    let server = Server::with(engine, &["--threads=1", "--maxmemory=1gb"]);
    let value = patterned(64 << 20, 64);
    let mut large = server.client();
    let mut small = server.client();
    let input = set("large", &value);
    let mut round = 0;
    let mut others_are_served = || {
        for n in 0..50 {
            round += 1;
            small.check(&format!("SET small:{n} {round:05}"), "+OK\r\n");
            small.check(&format!("GET small:{n}"), &format!("$5\r\n{round:05}\r\n"));
        }
    };
    let (first, second) = input.split_at(input.len() / 2);
    large.send(first);
    others_are_served();
    large.send(second);
    large.expect("+OK\r\n");
    large.send(request(&["GET", "large"]));
    others_are_served();
    large.expect(bulk(&value));
    others_are_served();
    large.check("STRLEN large", &format!(":{}\r\n", 64 << 20));
    large.check("DEL large", ":1\r\n");
}

fn every_command_takes_large_values(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let (one, two) = (patterned(100_000, 1), patterned(200_000, 2));
    client.send(set("k", &one));
    client.expect("+OK\r\n");
    client.send(request(&[b"SET".as_slice(), b"k", &two, b"GET", b"EX", b"100"]));
    client.expect(bulk(&one));
    assert_eq!(client.call(&["GETEX", "k", "PERSIST"]), Value::bulk(&two));
    client.send(request(&[b"APPEND".as_slice(), b"k", &one]));
    client.expect(":300000\r\n");
    assert_eq!(client.call(&["GETDEL", "k"]), Value::bulk([two.clone(), one.clone()].concat()));
    client.send(request(&[b"APPEND".as_slice(), b"new", &one]));
    client.expect(":100000\r\n");
    assert_eq!(client.call(&[b"ECHO".as_slice(), &one]), Value::bulk(&one));
    assert_eq!(client.call(&[b"PING".as_slice(), &two]), Value::bulk(&two));
    client.send(request(&[b"SET".as_slice(), b"new", &two, b"NX"]));
    client.expect("$-1\r\n");
    client.send(request(&[b"SET".as_slice(), b"other", &two, b"XX"]));
    client.expect("$-1\r\n");
    // Where no value belongs, a large argument is an error and the connection goes on.
    let key = Value::Error("ERR the key has 100000 bytes, the longest may have 65535".into());
    assert_eq!(client.call(&[b"SET".as_slice(), &one, b"v"]), key);
    assert_eq!(client.call(&[b"GET".as_slice(), &one]), Value::Null);
    assert_eq!(
        client.call(&[b"EXPIRE".as_slice(), b"new", &one]).text(),
        "ERR value is not an integer or out of range"
    );
    assert_eq!(client.call(&[b"SET".as_slice(), b"new", b"v", &one]).text(), "ERR syntax error");
    assert!(client.call(&[&one[..]]).text().starts_with("ERR unknown command"));
    assert!(client.call(&[b"CLIENT".as_slice(), b"SETNAME", &one]).text().starts_with("ERR Client names"));
    assert_eq!(client.call(&["GET", "new"]), Value::bulk(&one));
}

/// Between asking and receiving, the value is overwritten and deleted by others.
fn a_value_is_sent_as_it_was_asked_for(engine: Engine) {
    let server = Server::start(engine);
    let value = patterned(20 << 20, 3);
    let mut writer = server.client();
    writer.send(set("k", &value));
    writer.expect("+OK\r\n");
    let mut reader = server.client();
    reader.send(request(&["GET", "k"]));
    // The value is on its way when its first bytes are there.
    reader.expect(format!("${}\r\n", value.len()));
    writer.check("SET k small", "+OK\r\n");
    writer.check("DEL k", ":1\r\n");
    writer.check("FLUSHALL", "+OK\r\n");
    for n in 0..20 {
        writer.send(set("other", &patterned(1 << 20, n)));
        writer.expect("+OK\r\n");
    }
    reader.expect(&value);
    reader.expect("\r\n");
    reader.check("GET k", "$-1\r\n");
}

/// Such changes copy the value piece by piece.
fn what_is_read_is_changed_beside_it(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let mut value = patterned(9 << 20, 4);
    let end = value.len();
    client.call(&[b"SET".as_slice(), b"k", &value, b"EX", b"1000"]);
    type Change = fn(&mut Vec<u8>);
    let changes: [(&[&str], &str, Change); 4] = [
        (&["APPEND", "k", "end"], &format!(":{}\r\n", end + 3), |value| value.extend_from_slice(b"end")),
        (&["SETRANGE", "k", "5", "range"], &format!(":{}\r\n", end + 3), |value| {
            value[5..10].copy_from_slice(b"range")
        }),
        (&["SETBIT", "k", "8", "1"], ":0\r\n", |value| value[1] |= 0x80),
        (&["BITFIELD", "k", "SET", "u8", "#2", "255"], &format!("*1\r\n:{}\r\n", value[2]), |value| value[2] = 255),
    ];
    client.call(&["SETBIT", "k", "8", "0"]);
    value[1] &= 0x7f;
    for (words, reply, change) in changes {
        // It is not read to its end before the change is made.
        let mut reader = server.client();
        reader.send(request(&["GET", "k"]));
        reader.expect(format!("${}\r\n", value.len()));
        client.send(request(words));
        client.expect(reply);
        assert!(matches!(client.call(&["TTL", "k"]), Value::Integer(900..)));
        reader.expect(&value);
        reader.expect("\r\n");
        change(&mut value);
        client.send(request(&["GET", "k"]));
        client.expect(bulk(&value));
    }
}

fn what_grows_by_much(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SETRANGE new 5000000 x", ":5000001\r\n");
    client.check("SETRANGE new 9000000 y", ":9000001\r\n");
    client.check("SETBIT bit 40000000 1", ":0\r\n");
    client.check("BITFIELD field SET u8 40000000 255", "*1\r\n:0\r\n");
    client.check("SET small v EX 1000", "+OK\r\n");
    client.check("SETRANGE small 3000000 z", ":3000001\r\n");
    let mut expected = vec![0; 9_000_001];
    (expected[5_000_000], expected[9_000_000]) = (b'x', b'y');
    client.send(request(&["GET", "new"]));
    client.expect(bulk(&expected));
    client.check("BITCOUNT bit", ":1\r\n");
    client.check("STRLEN bit", ":5000001\r\n");
    client.check("BITCOUNT field", ":8\r\n");
    client.check("BITCOUNT small", ":10\r\n");
    client.check("TTL small", ":1000\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("SETRANGE all 3000000 z", "+QUEUED\r\n");
    client.check("EXEC", "*1\r\n:3000001\r\n");
    // By a little at a time it is not copied each time.
    client.send(request(&["APPEND", "all", &"a".repeat(1000)]).repeat(2000));
    (1..=2000).for_each(|times| client.expect(format!(":{}\r\n", 3_000_001 + 1000 * times)));
    client.check("FLUSHALL", "+OK\r\n");
    wait_until("all is given back", || client.info_number("used_memory_dataset") < 1 << 20);
}

fn several_change_what_is_read(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let (clients, times) = (3, 20);
    server.client().call(&[b"SET".as_slice(), b"k", &patterned(3 << 20, 4)]);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..times {
                    client.send([request(&["GET", "k"]), request(&["APPEND", "k", "x"])].concat());
                    client.value();
                    client.value();
                }
            });
        }
    });
    server.client().check("STRLEN k", &format!(":{}\r\n", (3 << 20) + clients * times));
}

fn a_value_may_be_as_large_as_info_says(engine: Engine) {
    let server = Server::with(engine, &["--max-value=5mb"]);
    let mut client = server.client();
    let largest = client.info_number("largest_value") as usize;
    assert_eq!(largest, 5 << 20);
    let value = patterned(largest, 5);
    client.send(set("k", &value));
    client.expect("+OK\r\n");
    client.check_error("APPEND k x", "ERR string exceeds maximum allowed size");
    assert_eq!(client.call(&["GET", "k"]), Value::bulk(&value));
    client.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", largest + 1));
    client.expect("-ERR Protocol error: invalid bulk length\r\n");
    client.expect_closed();
    assert_eq!(server.client().call(&["GET", "k"]), Value::bulk(&value));
}

fn several_large_values_in_one_request(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    let values: Vec<Vec<u8>> = (0..20).map(|n| patterned(n * 60_000, n)).collect();
    let keys: Vec<String> = (0..20).map(|n| format!("key:{n}")).collect();
    let mut words: Vec<&[u8]> = vec![b"MSET"];
    keys.iter().zip(&values).for_each(|(key, value)| words.extend([key.as_bytes(), value]));
    let mget: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    for _ in 0..3 {
        client.send([request(&words), request(&mget), request(&["PING"])].concat());
        client.expect("+OK\r\n*20\r\n");
        values.iter().for_each(|value| client.expect(bulk(value)));
        client.expect("+PONG\r\n");
    }
}

/// All but the beginning of a value is received straight to where it lies, on every driver.
fn a_large_value_is_received_in_place(engine: Engine) {
    let server = Server::with(engine, &["--threads=1"]);
    let value = patterned(8 << 20, 1);
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    let before = server.info_number("total_net_placed_bytes");
    for client in &mut clients {
        client.send(set("k", &value));
        client.expect("+OK\r\n");
        assert_eq!(client.call(&["GET", "k"]), Value::bulk(&value));
    }
    let placed = server.info_number("total_net_placed_bytes") - before;
    assert!(placed as usize > clients.len() * value.len() / 2, "{placed} bytes");
    // One that trickles is taken in as it comes, and nothing is promised to it.
    let mut slow = server.client();
    let input = set("slow", &value[..100_000]);
    for piece in input.chunks(9_973) {
        slow.send(piece);
        server.wait_for_info("connected_clients", |count| count == 6);
    }
    slow.expect("+OK\r\n");
    assert_eq!(slow.call(&["GET", "slow"]), Value::bulk(&value[..100_000]));
}

/// The client goes away in the middle of a value.
fn a_value_that_never_ends_leaves_nothing(engine: Engine) {
    let server = Server::start(engine);
    let value = patterned(10 << 20, 1);
    let input = set("k", &value);
    for reset in [false, true] {
        let mut client = server.client();
        client.send(&input[..8 << 20]);
        server.wait_for_info("used_memory_clients", |bytes| bytes >= 7 << 20);
        if reset {
            client.reset();
        }
        server.wait_for_info("connected_clients", |count| count == if reset { 1 } else { 2 });
    }
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
    server.client().check("GET k", "$-1\r\n");
}
