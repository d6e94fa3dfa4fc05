//! Input that comes in pieces: every command, cut at every byte, in RESP2, RESP3 and inline.

use kv_cache::command::{Command, Table};
use kv_cache::config::limits::STREAMED_ARGUMENT_MIN_BYTES;

use crate::client::{Client, bulk, patterned, request};
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::{self, Value};

on_every_driver!(
    resp2_cut_at_every_byte,
    resp3_cut_at_every_byte,
    inline_cut_at_every_byte,
    one_byte_at_a_time,
    large_values_cut_around_their_borders,
    many_arguments_in_small_pieces,
);

/// Requests, `@` standing for what makes a connection's keys its own, and their replies; an empty one stands for any
/// reply but an error. What would end the server or change what others see is asked for wrongly, and so is every command
/// that is not in this list: see `wrongly`.
const SCRIPT: &[(&str, &str)] = &[
    ("PING", "+PONG\r\n"),
    ("ECHO hello", "$5\r\nhello\r\n"),
    ("SELECT 0", "+OK\r\n"),
    ("AUTH a b c", "-ERR syntax error\r\n"),
    ("CLIENT ID", ""),
    ("CLIENT SETNAME n@", "+OK\r\n"),
    ("CLIENT GETNAME", "$5\r\nn@\r\n"),
    ("CLIENT SETINFO LIB-NAME l", "+OK\r\n"),
    ("CLIENT LIST ID 999999", ""),
    ("CLIENT INFO", ""),
    ("COMMAND COUNT", ""),
    ("COMMAND INFO get", ""),
    ("COMMAND DOCS get", ""),
    ("COMMAND LIST FILTERBY PATTERN g?t", "*1\r\n$3\r\nget\r\n"),
    ("CONFIG GET port", ""),
    ("CONFIG SET none 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'none'\r\n"),
    ("INFO cluster", ""),
    ("TIME", ""),
    ("DBSIZE", ""),
    ("FLUSHALL NOW", "-ERR syntax error\r\n"),
    ("FLUSHDB NOW", "-ERR syntax error\r\n"),
    ("UNSUBSCRIBE", ""),
    ("SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n"),
    ("LOLWUT", ""),
    ("MONITOR now", "-ERR wrong number of arguments for 'monitor' command\r\n"),
    ("SET k@ v", "+OK\r\n"),
    ("GET k@", "$1\r\nv\r\n"),
    ("SET k@ w EX 100 XX GET", "$1\r\nv\r\n"),
    ("TTL k@", ""),
    ("PTTL k@", ""),
    ("EXPIREAT k@ 32503680000", ":1\r\n"),
    ("EXPIRETIME k@", ":32503680000\r\n"),
    ("PEXPIREAT k@ 32503680000001", ":1\r\n"),
    ("PEXPIRETIME k@", ":32503680000001\r\n"),
    ("PERSIST k@", ":1\r\n"),
    ("EXPIRE k@ 100 NX", ":1\r\n"),
    ("PEXPIRE k@ 100000 NX", ":0\r\n"),
    ("GETEX k@ PERSIST", "$1\r\nw\r\n"),
    ("APPEND k@ xyz", ":4\r\n"),
    ("STRLEN k@", ":4\r\n"),
    ("MSET a@ 1 b@ 2", "+OK\r\n"),
    ("MGET a@ b@", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n"),
    ("INCR a@", ":2\r\n"),
    ("DECR a@", ":1\r\n"),
    ("INCRBY a@ 10", ":11\r\n"),
    ("DECRBY a@ 5", ":6\r\n"),
    ("EXISTS a@ b@ c@", ":2\r\n"),
    ("TOUCH a@ c@", ":1\r\n"),
    ("TYPE a@", "+string\r\n"),
    ("GETDEL a@", "$1\r\n6\r\n"),
    ("UNLINK a@ b@", ":1\r\n"),
    ("DEL k@ b@", ":1\r\n"),
    ("NOPE x", "-ERR unknown command 'NOPE', with args beginning with: 'x' \r\n"),
];

/// How a script is written and what its replies look like.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Resp2,
    Resp3,
    Inline,
}

/// A script for one connection: what is sent, and what is expected for each request.
fn script(form: Form, number: usize) -> (Vec<u8>, Vec<String>) {
    let hello = if form == Form::Resp3 { "HELLO 3" } else { "HELLO 2" };
    let end = [("RESET", "+RESET\r\n"), ("QUIT", "+OK\r\n")];
    let wrongly = wrongly();
    let wrongly = wrongly.iter().map(|(line, reply)| (line.as_str(), reply.as_str()));
    let lines = [(hello, "")].into_iter().chain(SCRIPT.iter().copied()).chain(wrongly).chain(end);
    let (mut input, mut replies) = (Vec::new(), Vec::new());
    for (line, reply) in lines {
        let (line, reply) = (line.replace('@', &format!("{number:04}")), reply.replace('@', &format!("{number:04}")));
        match form {
            Form::Inline => input.extend_from_slice(format!("{line}\r\n").as_bytes()),
            _ => input.extend_from_slice(&request(&line.split(' ').collect::<Vec<_>>())),
        }
        replies.push(reply);
    }
    (input, replies)
}

fn check_replies(client: &mut Client, expected: &[String], what: &str) {
    for (place, expect) in expected.iter().enumerate() {
        let got = client.raw_reply();
        if expect.is_empty() {
            assert!(!matches!(wire::parse(&got), Value::Error(_)), "{what}, request {place}: {}", got.escape_ascii());
        } else {
            assert_eq!(String::from_utf8_lossy(&got), *expect, "{what}, request {place}");
        }
    }
    client.expect_closed();
}

/// The other commands, asked for with a number of arguments that they do not take, and the error.
fn wrongly() -> Vec<(String, String)> {
    let in_script =
        |name: &str| SCRIPT.iter().any(|(line, _)| line.split(' ').next().unwrap().eq_ignore_ascii_case(name));
    let others = Table::get()
        .rows()
        .iter()
        .filter(|row| !in_script(row.name) && !["hello", "reset", "quit"].contains(&row.name));
    let request = |row: &Command| {
        let arguments = if row.arity == 1 { " a b c" } else { "" };
        assert!(row.arity != -1, "add a line with {} to SCRIPT", row.name);
        let error = format!("wrong number of arguments for '{}' command", row.name);
        let error = if row.name == "exec" {
            format!("-EXECABORT Transaction discarded because of: {error}\r\n")
        } else {
            format!("-ERR {error}\r\n")
        };
        (format!("{}{arguments}", row.name), error)
    };
    others.map(|row| request(row)).collect()
}

fn resp2_cut_at_every_byte(engine: Engine) {
    cut_at_every_byte(engine, Form::Resp2);
}

fn resp3_cut_at_every_byte(engine: Engine) {
    cut_at_every_byte(engine, Form::Resp3);
}

fn inline_cut_at_every_byte(engine: Engine) {
    cut_at_every_byte(engine, Form::Inline);
}

/// Many connections at once, each cut at another byte. The rest is sent when the server has taken in all beginnings.
fn cut_at_every_byte(engine: Engine, form: Form) {
    const AT_ONCE: usize = 300;
    let server = Server::start(engine);
    let length = script(form, 0).0.len();
    let cuts: Vec<usize> = (1..length).collect();
    let mut observer = Observer::new(&server);
    for cuts in cuts.chunks(AT_ONCE) {
        let before = observer.taken_in();
        let mut clients: Vec<_> = cuts.iter().map(|_| server.client()).collect();
        for (client, &cut) in clients.iter_mut().zip(cuts) {
            client.send(&script(form, cut).0[..cut]);
        }
        let sent: usize = cuts.iter().sum();
        observer.wait_for(before + sent as u64);
        for (client, &cut) in clients.iter_mut().zip(cuts) {
            let (input, replies) = script(form, cut);
            client.send(&input[cut..]);
            check_replies(client, &replies, &format!("cut at byte {cut}"));
        }
    }
    server.client().check("DBSIZE", ":0\r\n");
}

/// Tells how many bytes the sessions have taken in, but for those it sends itself.
struct Observer {
    client: Client,
    asked: u64,
}

impl Observer {
    fn new(server: &Server) -> Observer {
        Observer { client: server.client(), asked: 0 }
    }

    fn taken_in(&mut self) -> u64 {
        self.asked += request(&["INFO", "everything"]).len() as u64;
        self.client.info_number("total_net_input_bytes") - self.asked
    }

    fn wait_for(&mut self, bytes: u64) {
        wait_until("the beginnings to arrive", || self.taken_in() >= bytes);
    }
}

fn one_byte_at_a_time(engine: Engine) {
    let server = Server::start(engine);
    for form in [Form::Resp2, Form::Resp3, Form::Inline] {
        let (input, replies) = script(form, form as usize);
        let mut client = server.client();
        for byte in &input {
            client.send([*byte]);
        }
        check_replies(&mut client, &replies, "byte by byte");
    }
}

/// Values around the sizes where a value begins to be streamed or shared, in two pieces: in each of their headers, a
/// little after them, and around their ends.
fn large_values_cut_around_their_borders(engine: Engine) {
    const PIECE: usize = kv_cache::config::limits::IO_BUFFER_BYTES;
    let server = Server::start(engine);
    let mut observer = Observer::new(&server);
    let threshold = STREAMED_ARGUMENT_MIN_BYTES;
    for length in [PIECE - 1, PIECE, PIECE + 1, threshold - 1, threshold, threshold + 1, 2 * threshold + 1] {
        let value = patterned(length, length);
        let input = [
            request(&["PING"]),
            request(&[b"MSET".as_slice(), b"small", b"s", b"large", &value, b"other", &value]),
            request(&["MGET", "small", "large", "other"]),
            request(&["PING"]),
        ]
        .concat();
        let expect =
            [b"+PONG\r\n+OK\r\n*3\r\n".as_slice(), &bulk("s"), &bulk(&value), &bulk(&value), b"+PONG\r\n"].concat();
        // Where "large" and "other" begin and end, and the sizes of one and two receives.
        let first = input.windows(7).position(|bytes| bytes == b"large\r\n").unwrap();
        let second = first + input[first..].windows(7).position(|bytes| bytes == b"other\r\n").unwrap();
        let borders = [first, first + 20, second, second + 20, PIECE, 2 * PIECE, input.len() - 60];
        let cuts: std::collections::BTreeSet<usize> =
            borders.iter().flat_map(|border| border.saturating_sub(12)..border + 12).collect();
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| (1..input.len()).contains(cut)).collect();
        for cut in cuts {
            let mut client = server.client();
            let before = observer.taken_in();
            client.send(&input[..cut]);
            observer.wait_for(before + cut as u64);
            client.send(&input[cut..]);
            client.expect(&expect);
        }
    }
}

/// As many arguments as a request may have, in pieces of every awkward size.
fn many_arguments_in_small_pieces(engine: Engine) {
    let server = Server::start(engine);
    let pairs = 32_767;
    let words: Vec<String> = std::iter::once("MSET".to_owned())
        .chain((0..pairs).flat_map(|n| [format!("key:{n}"), format!("value:{n}")]))
        .collect();
    let input = [request(&words), request(&["DBSIZE"])].concat();
    for piece in [1000, 4099, 16_384, 65_536, input.len()] {
        let mut client = server.client();
        client.check("FLUSHALL", "+OK\r\n");
        input.chunks(piece).for_each(|piece| client.send(piece));
        client.expect(format!("+OK\r\n:{pairs}\r\n"));
        client.check("GET key:32766", "$11\r\nvalue:32766\r\n");
    }
    // A byte at a time, a smaller one.
    let words = &words[..2001];
    let mut client = server.client();
    client.check("FLUSHALL", "+OK\r\n");
    request(words).iter().for_each(|byte| client.send([*byte]));
    client.expect("+OK\r\n");
    client.check("DBSIZE", ":1000\r\n");
}
