//! Many requests sent without waiting for replies: all are answered, in order, and nobody else is held up by them.

use crate::client::{bulk, patterned, request};
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    replies_come_in_order,
    large_and_small_replies_interleave,
    a_million_requests_hold_up_nobody,
    empty_requests_hold_up_nobody,
    what_was_asked_before_the_end_is_answered,
);

fn replies_come_in_order(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let (mut input, mut expect) = (Vec::new(), Vec::new());
    for n in 0..10_000 {
        input.extend(request(&["INCR", "n"]));
        expect.extend(format!(":{}\r\n", n + 1).bytes());
        match n % 5 {
            0 => {
                input.extend(request(&["SET", &format!("key:{n}"), &"x".repeat(n % 300)]));
                expect.extend(b"+OK\r\n");
            }
            1 => {
                input.extend(request(&["GET", &format!("key:{}", n - 1)]));
                expect.extend(bulk("x".repeat((n - 1) % 300)));
            }
            2 => {
                input.extend(b"PING hello\r\n");
                expect.extend(b"$5\r\nhello\r\n");
            }
            3 => {
                input.extend(request(&["NOPE"]));
                expect.extend(b"-ERR unknown command 'NOPE', with args beginning with: \r\n");
            }
            _ => {
                input.extend(b"*0\r\n\r\n*-1\r\n");
            }
        }
    }
    let mut writer = client.stream().try_clone().unwrap();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &input).unwrap());
    client.expect(&expect);
    writing.join().unwrap();
}

/// Small replies are copied together, large ones are sent from where they lie: their order must survive.
fn large_and_small_replies_interleave(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let sizes = [0, 1, 100, 16_383, 16_384, 16_385, 20_000, 32_767, 32_768, 32_769, 100_000, 1_000_000];
    let values: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, &size)| patterned(size, n)).collect();
    for (n, value) in values.iter().enumerate() {
        let reply = client.call(&[b"SET".as_slice(), format!("v{n}").as_bytes(), value]);
        assert_eq!(reply, Value::Simple("OK".into()));
    }
    let (mut input, mut expect) = (Vec::new(), Vec::new());
    for round in 0..200 {
        let n = round * 7 % sizes.len();
        input.extend(request(&["GET", &format!("v{n}")]));
        expect.extend(bulk(&values[n]));
        input.extend(request(&["INCR", "n"]));
        expect.extend(format!(":{}\r\n", round + 1).bytes());
        if round % 3 == 0 {
            let m = round * 5 % sizes.len();
            input.extend(request(&["MGET", &format!("v{m}"), "none", &format!("v{n}")]));
            expect.extend([b"*3\r\n".as_slice(), &bulk(&values[m]), b"$-1\r\n", &bulk(&values[n])].concat());
        }
        if round % 4 == 0 {
            input.extend(request(&[b"ECHO".as_slice(), &values[n]]));
            expect.extend(bulk(&values[n]));
        }
    }
    let mut writer = client.stream().try_clone().unwrap();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &input).unwrap());
    client.expect(&expect);
    writing.join().unwrap();
}

/// On one core: while a million requests of one client are run, another has its turn again and again.
fn a_million_requests_hold_up_nobody(engine: Engine) {
    const REQUESTS: usize = 1_000_000;
    let server = Server::with(engine, &["--threads=1"]);
    let mut greedy = server.client();
    let mut writer = greedy.stream().try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let thousand = request(&["INCR", "n"]).repeat(1000);
        (0..REQUESTS / 1000).for_each(|_| std::io::Write::write_all(&mut writer, &thousand).unwrap());
    });
    let reading = std::thread::spawn(move || {
        for from in (0..REQUESTS).step_by(1000) {
            let thousand: String = (from + 1..=from + 1000).map(|n| format!(":{n}\r\n")).collect();
            greedy.expect(thousand);
        }
    });
    let mut other = server.client();
    let mut turns = 0;
    wait_until("the million", || {
        let reply = other.call(&["GET", "n"]);
        let seen = if reply == Value::Null { 0 } else { reply.text().parse::<usize>().unwrap() };
        turns += (0 < seen && seen < REQUESTS) as usize;
        seen == REQUESTS
    });
    assert!(turns >= 20, "the other client had {turns} turns meanwhile");
    writing.join().unwrap();
    reading.join().unwrap();
}

/// Requests without a single word cost work too.
fn empty_requests_hold_up_nobody(engine: Engine) {
    let server = Server::with(engine, &["--threads=1"]);
    let mut greedy = server.client();
    let mut other = server.client();
    for empty in ["\r\n", "\n", "*0\r\n", "*-1\r\n", "  \r\n"] {
        greedy.send(empty.repeat(200_000));
        other.check("PING", "+PONG\r\n");
        greedy.check("PING", "+PONG\r\n");
    }
}

fn what_was_asked_before_the_end_is_answered(engine: Engine) {
    let server = Server::start(engine);
    let value = patterned(300_000, 1);
    server.client().call(&[b"SET".as_slice(), b"large", &value]);
    let mut client = server.client();
    client.send(request(&["GET", "large"]).repeat(30));
    client.send("PING");
    client.finish_sending();
    for _ in 0..30 {
        client.expect(bulk(&value));
    }
    // The last request never came to its end.
    client.expect_closed();
    server.client().check("PING", "+PONG\r\n");
}
