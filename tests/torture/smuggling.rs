//! Smuggling: requests that have to wait, for each reason there is and cut anywhere. What waits runs once and as it was, and
//! no byte of a value ever runs as a request.

use crate::client::{Client, request};
use crate::harness::{Engine, on_every_driver};
use crate::siege::{Siege, rounds};
use crate::wire::Value;

on_every_driver!(while_a_script_has_the_key, while_there_is_a_pause, while_room_is_made, while_replies_wait,);

/// What a value would do if its bytes ran as requests.
const SMUGGLED: &[u8] = b"\r\n*1\r\n$8\r\nFLUSHALL\r\n*2\r\n$3\r\nDEL\r\n$8\r\nsentinel\r\n";

/// Sizes about those at which arguments change where they lie.
const SIZES: [usize; 6] = [100, 16_383, 16_384, 32_768, 50_000, 400_000];

fn value(size: usize) -> Vec<u8> {
    SMUGGLED.iter().copied().cycle().take(size).collect()
}

/// Sends requests that write such values to `k`, in pieces cut at `cut` bytes and at its multiples, while `hold` is in their
/// way; then all of them are answered, and nothing else has changed.
fn attack(siege: &Siege, mut hold: impl FnMut(&mut Client)) {
    let (mut client, mut other) = (siege.server().client(), siege.server().client());
    client.check("SET sentinel here", "+OK\r\n");
    for _ in 0..rounds() {
        for size in SIZES {
            let value = value(size);
            let input = [
                request(&[b"SET".as_slice(), b"k", &value]),
                request(&[b"GETSET".as_slice(), b"k", &value]),
                request(&["STRLEN", "k"]),
                request(&[b"MSET".as_slice(), b"k", &value, b"l", &value]),
                request(&[b"EVAL".as_slice(), b"return redis.call('SET', KEYS[1], ARGV[1])", b"1", b"k", &value]),
            ]
            .concat();
            for cut in [input.len(), 1_000, 16_384, size / 2 + 13] {
                hold(&mut other);
                // A cut that TCP keeps: each piece is sent by itself.
                input.chunks(cut.max(size / 50)).for_each(|piece| client.send(piece));
                client.expect("+OK\r\n");
                client.expect([format!("${size}\r\n").as_bytes(), &value, b"\r\n"].concat());
                client.expect(format!(":{size}\r\n+OK\r\n+OK\r\n"));
                let name = format!("{size} bytes cut at {cut}");
                assert!(client.call(&["GET", "k"]) == Value::bulk(&value), "{name}");
                assert!(client.call(&["GET", "l"]) == Value::bulk(&value), "{name}");
                client.check("GET sentinel", "$4\r\nhere\r\n");
            }
        }
    }
}

/// Scripts on other connections, one of them on another core.
fn while_a_script_has_the_key(engine: Engine) {
    let siege = Siege::begin(engine, "requests behind scripts");
    let mut scripts = siege.clients(3);
    let busy = request(&["EVAL", "for i = 1, 300000 do end return 1", "2", "k", "l"]);
    attack(&siege, |_| scripts.iter_mut().for_each(|client| client.send(&busy)));
    siege.end();
}

fn while_there_is_a_pause(engine: Engine) {
    let siege = Siege::begin(engine, "requests in a pause");
    let mut kind = ["WRITE", "ALL"].into_iter().cycle();
    attack(&siege, |other| other.check(&format!("CLIENT PAUSE 10 {}", kind.next().unwrap()), "+OK\r\n"));
    siege.end();
}

/// The cache is full of small items: each large value waits until there is room.
fn while_room_is_made(engine: Engine) {
    let siege = Siege::begin(engine, "requests that wait for room");
    let (small, mut number) = ("s".repeat(400), 0);
    let mut fill = |client: &mut Client| {
        let input: Vec<u8> =
            (0..2_000).flat_map(|n| request(&["SET", &format!("small:{}", number + n), &small])).collect();
        number += 2_000;
        client.send(input);
        client.expect("+OK\r\n".repeat(2_000));
    };
    let mut filler = siege.server().client();
    while filler.info_number("evicted_keys") == 0 {
        fill(&mut filler);
    }
    attack(&siege, |other| {
        fill(other);
        other.check("GET sentinel", "$4\r\nhere\r\n");
    });
    siege.end();
}

/// The client does not read while it sends.
fn while_replies_wait(engine: Engine) {
    let siege = Siege::begin(engine, "requests behind replies that nobody reads");
    let mut client = siege.server().client();
    client.check("SET sentinel here", "+OK\r\n");
    for size in SIZES {
        let value = value(size);
        let count = (4 << 20) / size.max(1_000);
        let input = [request(&[b"SET".as_slice(), b"k", &value]), request(&["GET", "k"])].concat().repeat(count);
        let mut writer = Client::new(client.stream().try_clone().unwrap());
        let sent = std::thread::spawn(move || writer.send(&input));
        let reply = [format!("+OK\r\n${size}\r\n").as_bytes(), &value, b"\r\n"].concat();
        (0..count).for_each(|_| client.expect(&reply));
        sent.join().unwrap();
        client.check("GET sentinel", "$4\r\nhere\r\n");
    }
    siege.end();
}
