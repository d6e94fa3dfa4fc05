//! Input that is meant to hurt, or might as well be. For each: a clear error or a clean close, the others unharmed,
//! memory near flat, nothing stored lost.

use std::net::TcpStream;

use crate::client::{Client, bulk, patterned, request};
use crate::harness::{DEADLINE, Engine, Random, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    memory_promised_and_never_sent,
    odd_lengths,
    parser_states_after_nothing,
    wrong_types_as_arguments,
    every_byte_set_to_every_value,
    other_protocols,
    replies_cannot_be_forged,
    numbers_inside_commands,
    quotes_in_inline_commands,
    connections_that_end_at_once,
    resets_in_the_middle_of_pipelines,
    one_byte_at_a_time_beside_others,
    random_bytes,
    the_log_tells_no_keys_and_no_values,
);

/// The server is as it should be: it serves, and what was stored is there.
struct Witness {
    client: Client,
    value: Vec<u8>,
}

impl Witness {
    fn of(server: &Server) -> Witness {
        let mut witness = Witness { client: server.client(), value: patterned(50_000, 42) };
        let reply = witness.client.call(&[b"SET".as_slice(), b"witness", &witness.value]);
        assert_eq!(reply, Value::Simple("OK".into()));
        witness
    }

    #[track_caller]
    fn check(&mut self) {
        self.client.send("GET witness\r\n");
        self.client.expect(bulk(&self.value));
    }
}

/// Sends bytes, then nothing more, and returns everything that comes back until the server closes.
fn answer(server: &Server, bytes: &[u8]) -> String {
    let mut client = server.client();
    // The server may close before it has taken all of it.
    if client.try_send(bytes).is_ok() {
        let _ = client.stream().shutdown(std::net::Shutdown::Write);
    }
    String::from_utf8_lossy(&client.rest()).into_owned()
}

#[track_caller]
fn check(server: &Server, input: impl AsRef<[u8]>, reply: &str) {
    let input = input.as_ref();
    let got = answer(server, input);
    assert_eq!(got, reply, "after {}", input[..input.len().min(200)].escape_ascii());
}

const TOO_MANY_ARGUMENTS: &str =
    "-ERR Protocol error: invalid multibulk length: a request may have 1048576 arguments (max-arguments)\r\n";

/// A thousand connections announce what would be more than the host has.
fn memory_promised_and_never_sent(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=2gb"]);
    let mut witness = Witness::of(&server);
    let before = server.resident_bytes();
    let largest = witness.client.info_number("largest_value");
    let mut clients = Vec::new();
    for promise in [
        "*1048576\r\n".to_owned(),
        format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${largest}\r\n"),
        format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${largest}\r\nx"),
        "*1048576\r\n$4\r\nMSET\r\n$1".to_owned(),
    ] {
        for _ in 0..250 {
            let mut client = server.client();
            client.send(&promise);
            clients.push(client);
        }
    }
    wait_until("all of them", || witness.client.info_number("connected_clients") == 1001);
    witness.check();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes for promises");
    drop(clients);
    witness.check();
    let before = server.resident_bytes();
    for refused in ["*2147483647\r\n", "*1048577\r\n"] {
        check(&server, refused, TOO_MANY_ARGUMENTS);
    }
    for refused in ["536870913", "2147483647", "4294967296"] {
        check(&server, format!("*1\r\n${refused}\r\n"), "-ERR Protocol error: invalid bulk length\r\n");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for promises");
    witness.check();
}

fn odd_lengths(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    let odd = [
        "2147483648",
        "4294967295",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "123456789012345678901234567890",
        "+5",
        "05",
        "00",
        "-0",
        " 5",
        "5 ",
        "",
        "-",
        "\0",
        "5\0",
        "0x5",
        "1e1",
        "٣",
        "-9223372036854775809",
    ];
    for number in odd {
        // What is a number all the same is told from what is none.
        let is_number = number.parse::<i64>().is_ok_and(|value| value.to_string() == number && number.len() <= 18);
        let refused = "-ERR Protocol error: invalid multibulk length\r\n";
        check(&server, format!("*{number}\r\n"), if is_number { TOO_MANY_ARGUMENTS } else { refused });
        check(&server, format!("*1\r\n${number}\r\n"), "-ERR Protocol error: invalid bulk length\r\n");
    }
    for number in ["-1", "-2", "-1000000"] {
        check(&server, format!("*1\r\n${number}\r\n"), "-ERR Protocol error: invalid bulk length\r\n");
        // No arguments: nothing happens, as in Redis.
        check(&server, format!("*{number}\r\nPING\r\n"), "+PONG\r\n");
    }
    check(&server, "*1\n$4\r\nPING\r\n", "-ERR Protocol error: invalid multibulk length\r\n");
    check(&server, "*1\r$4\r\nPING\r\n", "-ERR Protocol error: invalid multibulk length\r\n");
    check(&server, "*1\r\n$4\nPING\r\n", "-ERR Protocol error: invalid bulk length\r\n");
    // A line that never ends is no number.
    let endless = answer(&server, &[b"*".as_slice(), &b"1".repeat(100_000)].concat());
    assert_eq!(endless, "-ERR Protocol error: invalid multibulk length\r\n");
    witness.check();
}

fn parser_states_after_nothing(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    for (input, reply) in [
        ("*0\r\nPING\r\n", "+PONG\r\n"),
        ("*-1\r\n*1\r\n$4\r\nPING\r\n", "+PONG\r\n"),
        ("\r\n\r\n\r\nPING\r\n", "+PONG\r\n"),
        ("\n\n   \r\n\t\nPING\n", "+PONG\r\n"),
        ("PING\r\n*1\r\n$4\r\nPING\r\nPING\n*0\r\nPING\r\n", "+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n"),
        ("*1\r\n$0\r\n\r\nPING\r\n", "-ERR unknown command '', with args beginning with: \r\n+PONG\r\n"),
        ("*2\r\n$4\r\nPING\r\n$0\r\n\r\nPING\r\n", "$0\r\n\r\n+PONG\r\n"),
        ("", ""),
        ("*", ""),
        ("*1\r\n", ""),
        ("PIN", ""),
        ("\r", ""),
    ] {
        check(&server, input, reply);
    }
    witness.check();
}

fn wrong_types_as_arguments(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    for (argument, got) in [
        (":1", ':'),
        ("+x", '+'),
        ("-x", '-'),
        ("*1", '*'),
        ("%1", '%'),
        ("~1", '~'),
        ("_", '_'),
        ("#t", '#'),
        ("4", '4'),
    ] {
        let reply = format!("-ERR Protocol error: expected '$', got '{got}'\r\n");
        check(&server, format!("*2\r\n{argument}\r\n"), &reply);
        check(&server, format!("*2\r\n$3\r\nGET\r\n{argument}\r\n"), &reply);
    }
    check(&server, "*2\r\n$3\r\nGET\r\n\r\n", "-ERR Protocol error: expected '$', got ' '\r\n");
    let reply = answer(&server, b"*1\r\n\xff");
    assert_eq!(reply, "-ERR Protocol error: expected '$', got '\\xff'\r\n");
    check(&server, "*2\r\n$3\r\nGET\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n");
    check(&server, "*1\r\n$4\r\nPINGxx", "-ERR Protocol error: expected CRLF after bulk\r\n");
    check(&server, "*1\r\n$4\r\nPING\n\r", "-ERR Protocol error: expected CRLF after bulk\r\n");
    // Replies are no requests.
    check(&server, ":1\r\n", "-ERR unknown command ':1', with args beginning with: \r\n");
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
    assert!(answer(&server, png).starts_with("-ERR unknown command"));
    witness.check();
}

/// Each byte of valid requests is set to each of 256 values. Whatever comes of it, it is well-formed replies and an
/// end, and nobody else notices.
fn every_byte_set_to_every_value(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    // None of the bytes can turn them into a command that ends the server or changes its settings.
    for input in
        [request(&["SET", "ab", "cde", "PX", "5000"]), request(&["MGET", "a", "b"]), b"GET 'a\\x41'\r\n".to_vec()]
    {
        for place in 0..input.len() {
            // All 256 at once; a value that leaves the request incomplete is ended by the end of the input.
            let clients: Vec<Client> = (0..=255)
                .map(|byte| {
                    let mut client = server.client();
                    let mut bytes = input.clone();
                    bytes[place] = byte;
                    if client.try_send(&bytes).is_ok() {
                        let _ = client.stream().shutdown(std::net::Shutdown::Write);
                    }
                    client
                })
                .collect();
            for (byte, mut client) in clients.into_iter().enumerate() {
                let reply = client.rest();
                let mut rest = reply.as_slice();
                while !rest.is_empty() {
                    let length = crate::wire::reply_length(rest);
                    let length = length.unwrap_or_else(|| panic!("byte {place} = {byte}: {}", reply.escape_ascii()));
                    rest = &rest[length..];
                }
            }
        }
        witness.check();
    }
}

fn other_protocols(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    for web in [
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET witness broken\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET witness broken\r\n",
        "HEAD / HTTP/1.0\r\n\r\nSET witness broken\r\n",
        "OPTIONS * HTTP/1.1\r\nSET witness broken\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nSET witness broken\r\n",
        "host: x\r\nSET witness broken\r\n",
    ] {
        let reply = answer(&server, web.as_bytes());
        let (head, help) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{web}: {reply}"));
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{web}: {head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", help.len())) && help.lines().count() == 1, "{reply}");
    }
    // Also before a password was given, and never in the middle of what a client of ours does.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\0\0\n";
    assert_eq!(answer(&server, hello), "");
    // One without a newline would otherwise wait for more.
    assert_eq!(answer(&server, &hello[..9]), "");
    wait_until("the lines", || {
        let log = server.stderr();
        log.contains("it speaks HTTP") && log.contains("this port does not speak TLS")
    });
    assert!(answer(&server, b"SSH-2.0-OpenSSH_9.2p1\r\n").starts_with("-ERR unknown command 'SSH-2.0"));
    check(&server, [0u8; 100], "");
    witness.check();
    assert!(witness.client.info_number("protocol_errors") >= 4);
}

/// A client's bytes in an error stay in it.
fn replies_cannot_be_forged(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    let mut client = server.client();
    let forged = "x\r\n+OK\r\n";
    for words in [
        vec![forged],
        vec!["NOPE", forged],
        vec!["CLIENT", forged],
        vec!["CONFIG", "SET", forged, "1"],
        vec!["CONFIG", "SET", "maxclients", forged],
        vec!["CONFIG", "SET", "maxmemory-policy", forged],
        vec!["COMMAND", forged],
        vec!["HELLO", "2", forged],
        vec!["CLIENT", "SETINFO", forged, "x"],
        vec!["CLIENT", "LIST", "TYPE", forged],
        vec!["EXPIRE", "witness", "1", forged],
        vec!["SET", "k", "v", forged],
        vec!["\r\n\r\n\r\n"],
        vec!["\n"],
    ] {
        client.send(request(&words));
        client.send("PING\r\n");
        let reply = client.raw_reply();
        assert!(reply.starts_with(b"-ERR ") && reply.ends_with(b"\r\n"), "{words:?}: {}", reply.escape_ascii());
        assert!(!reply[..reply.len() - 2].iter().any(|byte| b"\r\n".contains(byte)), "{}", reply.escape_ascii());
        client.expect("+PONG\r\n");
    }
    // A name in CLIENT LIST cannot add a line or a field.
    assert!(matches!(client.call(&["CLIENT", "SETNAME", "a\nid=7"]), Value::Error(_)));
    assert!(matches!(client.call(&["CLIENT", "SETINFO", "LIB-NAME", "a b=c"]), Value::Error(_)));
    // What is repeated of a megabyte is little.
    let long = "n".repeat(1 << 20);
    for words in [vec![long.as_str()], vec!["NOPE", &long], vec!["CLIENT", &long], vec!["SET", "k", "v", "EX", &long]] {
        client.send(request(&words));
        let reply = client.raw_reply();
        assert!(reply.starts_with(b"-ERR ") && reply.len() < 1000, "{} bytes", reply.len());
    }
    client.check("PING", "+PONG\r\n");
    witness.check();
}

fn numbers_inside_commands(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    let mut client = server.client();
    for number in ["9223372036854775808", "-9223372036854775809", "1e9", "nan", "inf", "", " 1", "0x7f", "٣"] {
        for words in [
            vec!["INCRBY", "n", number],
            vec!["DECRBY", "n", number],
            vec!["SET", "n", "1", "EX", number],
            vec!["EXPIRE", "witness", number],
            vec!["PEXPIREAT", "witness", number],
            vec!["GETEX", "witness", "PX", number],
            vec!["SELECT", number],
        ] {
            let reply = client.call(&words);
            assert_eq!(reply.text(), "ERR value is not an integer or out of range", "{words:?}");
        }
    }
    client.check("EXISTS n", ":0\r\n");
    client.check("TTL witness", ":-1\r\n");
    witness.check();
}

fn quotes_in_inline_commands(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    for (input, reply) in [
        ("ECHO \"a b\"\r\n", "$3\r\na b\r\n"),
        ("ECHO 'a b'\r\n", "$3\r\na b\r\n"),
        ("ECHO \"\\x41\\n\\\"\"\r\n", "$3\r\nA\n\"\r\n"),
        ("ECHO 'it\\'s'\r\n", "$4\r\nit's\r\n"),
        ("ECHO \"\"\r\n", "$0\r\n\r\n"),
        ("  ECHO \t x  \r\n", "$1\r\nx\r\n"),
        ("ECHO \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        ("ECHO \"a\"b\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        ("ECHO 'a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        check(&server, input, reply);
    }
    witness.check();
}

/// RST right after the connection, and right after a request.
fn connections_that_end_at_once(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut witness = Witness::of(&server);
    for round in 0..1000 {
        let mut client = server.client();
        match round % 5 {
            0 => client.reset(),
            1 => drop(client),
            2 => {
                client.send("GET witness\r\n");
                client.reset();
            }
            3 => {
                client.send("*3\r\n$3\r\nSET\r\n$7\r\nwitness\r\n$6\r\nbro");
                client.reset();
            }
            _ => {
                client.send("QUIT\r\nGET witness\r\n");
                drop(client);
            }
        }
        if round % 100 == 0 {
            witness.check();
        }
    }
    wait_until("all of them to be gone", || witness.client.info_number("connected_clients") == 1);
    witness.check();
}

/// The peer crashes while requests arrive and replies leave, again and again, in all orders.
fn resets_in_the_middle_of_pipelines(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    let input = request(&["GET", "witness"]).repeat(2000);
    for round in 0..60 {
        let mut client = server.client();
        client.send(&input[..input.len() * (round % 7 + 1) / 7]);
        if round % 2 == 0 {
            client.expect("$50000\r\n");
        }
        if round % 3 == 0 {
            client.reset()
        } else {
            drop(client)
        }
        witness.check();
    }
    wait_until("all of them to be gone", || witness.client.info_number("connected_clients") == 1);
    wait_until("their memory to be free", || witness.client.info_number("used_memory_clients") < 1 << 20);
}

fn one_byte_at_a_time_beside_others(engine: Engine) {
    let server = Server::with(engine, &["--threads=1"]);
    let mut witness = Witness::of(&server);
    let input = request(&["SET", "slow", "value"]);
    let mut slow: Vec<Client> = (0..100).map(|_| server.client()).collect();
    for byte in &input {
        slow.iter_mut().for_each(|client| client.send([*byte]));
        witness.check();
    }
    slow.iter_mut().for_each(|client| client.expect("+OK\r\n"));
}

/// Noise, from a generator with a fixed seed, in pieces: the server must neither crash nor hang.
fn random_bytes(engine: Engine) {
    let server = Server::start(engine);
    let mut witness = Witness::of(&server);
    let mut random = Random::new(0);
    // Pieces of which requests are made, so that noise gets past the first byte.
    let pieces: [&[u8]; 16] = [
        b"*",
        b"$",
        b"\r\n",
        b"\n",
        b"1",
        b"3",
        b"GET",
        b"SET",
        b"-1",
        b"PING\r\n",
        b"k",
        b"\"",
        b"'",
        b"\\x",
        b"\0",
        b" ",
    ];
    for _ in 0..500 {
        let mut bytes = Vec::new();
        for _ in 0..random.below(60) {
            match random.below(8) {
                0 => bytes.push(random.below(256) as u8),
                _ => bytes.extend_from_slice(pieces[random.below(pieces.len())]),
            }
        }
        let mut client = Client::new(TcpStream::connect_timeout(&server.address(), DEADLINE).unwrap());
        for piece in bytes.chunks(random.below(20) + 1) {
            if client.try_send(piece).is_err() {
                break;
            }
        }
        let _ = client.stream().shutdown(std::net::Shutdown::Write);
        client.rest();
    }
    witness.check();
}

fn the_log_tells_no_keys_and_no_values(engine: Engine) {
    let server =
        Server::with(engine, &["--log-level=debug", "--requirepass=hush-password", "--client-query-limit=1mb"]);
    let mut client = server.client();
    client.check_error("AUTH hush-guess", "WRONGPASS");
    client.check("AUTH hush-password", "+OK\r\n");
    client.check("SET hush-key hush-value EX 1000", "+OK\r\n");
    client.check("GET hush-key", "$10\r\nhush-value\r\n");
    client.check_error("hush-command hush-key", "ERR unknown command");
    client.check_error("INCR hush-key", "ERR value is not an integer");
    answer(&server, b"AUTH hush-password\r\n*2\r\n$3\r\nGET\r\n:hush-key\r\n");
    answer(&server, b"AUTH hush-password\r\nSET hush-key \"hush-value\r\n");
    let large =
        [b"AUTH hush-password\r\n".as_slice(), &request(&["SET", "hush-key", &"hush".repeat(500_000)])].concat();
    answer(&server, &large);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    wait_until("the last words", || server.stderr().contains("drained; bye"));
    assert!(!server.stderr().contains("hush"), "{}", server.stderr());
}
