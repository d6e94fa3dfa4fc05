//! MONITOR: what it shows and what it never shows, and messages that come to a connection while it does other things.

use crate::client::{Client, patterned, request};
use crate::harness::{Engine, Server, on_every_driver, temporary, wait_until};
use kv_cache::config::limits;

on_every_driver!(
    it_shows_what_runs,
    it_shows_what_scripts_call,
    it_hides_passwords_and_administration,
    long_commands_are_cut,
    reset_ends_it,
    no_transaction_begins_it,
    lines_and_replies_are_whole_and_in_order,
    many_monitors_hear_all_cores,
    one_that_does_not_read_is_cut_off,
    one_that_hears_nothing_is_not_idle,
    the_end_of_the_server_is_its_end,
    over_the_unix_socket,
);

fn monitor(server: &Server) -> Client {
    let mut client = server.client();
    client.check("MONITOR", "+OK\r\n");
    client
}

/// The next line without its time, which must look like one.
#[track_caller]
fn line(monitor: &mut Client) -> String {
    let line = String::from_utf8(monitor.raw_reply()).unwrap();
    let (time, rest) = line.split_once(' ').expect("a time and more");
    let (seconds, micros) = time.strip_prefix('+').and_then(|time| time.split_once('.')).expect("+seconds.micros");
    assert!(seconds.parse::<u64>().unwrap() > 1_600_000_000 && micros.len() == 6, "{line}");
    assert!(micros.parse::<u32>().is_ok(), "{line}");
    rest.strip_suffix("\r\n").unwrap().to_owned()
}

/// `[0 address]` of a client, as the lines show it.
fn origin(client: &Client) -> String {
    format!("[0 {}]", client.stream().local_addr().unwrap())
}

fn no_transaction_begins_it(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.send("MULTI\r\nMONITOR\r\nMONITOR\r\nPING\r\nEXEC\r\nPING\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n");
    client.expect("-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n".repeat(2));
    client.expect("+PONG\r\n+PONG\r\n");
}

fn it_shows_what_runs(engine: Engine) {
    let server = Server::start(engine);
    let mut monitor = monitor(&server);
    // On the other core.
    let mut other = server.client();
    let from = origin(&other);
    other.check("SET key value", "+OK\r\n");
    assert_eq!(line(&mut monitor), format!(r#"{from} "SET" "key" "value""#));
    other.send(request(&[b"get".as_slice(), b"a \"\\\n\r\t\x07\x08\x00\xffz"]));
    other.expect("$-1\r\n");
    assert_eq!(line(&mut monitor), format!(r#"{from} "get" "a \"\\\n\r\t\a\b\x00\xffz""#));
    // A command that fails has run; one that is none, or has too few arguments, has not.
    other.check_error("INCR key", "ERR value is not an integer");
    other.check_error("NOSUCH key", "ERR unknown command");
    other.check_error("GET", "ERR wrong number of arguments");
    other.check("CLIENT SETNAME me", "+OK\r\n");
    assert_eq!(line(&mut monitor), format!(r#"{from} "INCR" "key""#));
    assert_eq!(line(&mut monitor), format!(r#"{from} "CLIENT" "SETNAME" "me""#));
    other.check("SELECT 3", "+OK\r\n");
    other.check("DBSIZE", ":0\r\n");
    line(&mut monitor);
    assert_eq!(line(&mut monitor), format!(r#"{} "DBSIZE""#, from.replace("[0", "[3")));
    // Its own commands too, after their replies.
    monitor.check("PING", "+PONG\r\n");
    let own = origin(&monitor);
    assert_eq!(line(&mut monitor), format!(r#"{own} "PING""#));
    assert!(other.call(&["CLIENT", "LIST"]).text().contains(" flags=O "));
}

fn it_shows_what_scripts_call(engine: Engine) {
    let server = Server::start(engine);
    let mut monitor = monitor(&server);
    let mut other = server.client();
    let from = origin(&other);
    let source = "redis.call('SET', KEYS[1], 'v') return redis.pcall('INCR', KEYS[1])";
    for words in [&["EVAL", source, "1", "k"][..], &["EVALSHA", "nosuch", "0"], &["PING"]] {
        other.send(request(words));
        other.raw_reply();
    }
    assert_eq!(line(&mut monitor), format!(r#"{from} "EVAL" "{source}" "1" "k""#));
    assert_eq!(line(&mut monitor), r#"[0 lua] "SET" "k" "v""#);
    assert_eq!(line(&mut monitor), r#"[0 lua] "INCR" "k""#);
    assert_eq!(line(&mut monitor), format!(r#"{from} "EVALSHA" "nosuch" "0""#));
    assert_eq!(line(&mut monitor), format!(r#"{from} "PING""#));
}

fn it_hides_passwords_and_administration(engine: Engine) {
    let server = Server::with(engine, &["--requirepass=sesame"]);
    let mut monitor = server.client();
    monitor.check("AUTH sesame", "+OK\r\n");
    monitor.check("MONITOR", "+OK\r\n");
    let mut other = server.client();
    let from = origin(&other);
    other.check_error("GET before", "NOAUTH");
    other.check_error("AUTH sesam", "WRONGPASS");
    other.check_error("HELLO 3 AUTH default sesam SETNAME me", "WRONGPASS");
    other.check_error("HELLO 2 AUTH sesame", "ERR Syntax error");
    other.check("AUTH default sesame", "+OK\r\n");
    other.check("CONFIG SET requirepass simsim", "+OK\r\n");
    other.check("CONFIG GET timeout", "*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
    other.call(&["CLIENT", "LIST"]);
    other.check("ECHO end", "$3\r\nend\r\n");
    for shown in [
        r#""AUTH" "(redacted)""#,
        r#""HELLO" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "me""#,
        r#""HELLO" "2" "AUTH" "(redacted)""#,
        r#""AUTH" "(redacted)" "(redacted)""#,
        r#""ECHO" "end""#,
    ] {
        assert_eq!(line(&mut monitor), format!("{from} {shown}"));
    }
}

fn long_commands_are_cut(engine: Engine) {
    let server = Server::start(engine);
    let mut monitor = monitor(&server);
    let mut other = server.client();
    let value = vec![b'v'; 1 << 20];
    other.send(request(&[b"SET".as_slice(), b"key", &value]));
    other.expect("+OK\r\n");
    let shown = limits::MONITOR_ARGUMENT_MAX_BYTES;
    let cut = format!(r#""{}... ({} more bytes)""#, "v".repeat(shown), (1 << 20) - shown);
    assert!(line(&mut monitor).ends_with(&cut));
    let mut words = vec!["MSET".to_owned()];
    words.extend((0..40_000).map(|n| format!("w{n}")));
    other.send(request(&words));
    other.expect("+OK\r\n");
    let mset = line(&mut monitor);
    assert!(mset.ends_with(" more arguments)") && mset.len() < limits::MONITOR_LINE_MAX_BYTES + 100, "{}", mset.len());
}

fn reset_ends_it(engine: Engine) {
    let server = Server::start(engine);
    let mut monitor = monitor(&server);
    monitor.check("RESET", "+RESET\r\n");
    server.client().check("SET key value", "+OK\r\n");
    monitor.check("GET key", "$5\r\nvalue\r\n");
}

/// A monitor that is busy itself, with replies of all sizes, gets every line and every reply.
fn lines_and_replies_are_whole_and_in_order(engine: Engine) {
    const ROUNDS: usize = 300;
    let server = Server::start(engine);
    let mut monitor = monitor(&server);
    let large = patterned(100_000, 3);
    let mut other = server.client();
    other.send(request(&[b"SET".as_slice(), b"large", &large]));
    other.expect("+OK\r\n");
    line(&mut monitor);
    let writer = std::thread::spawn(move || {
        for n in 0..ROUNDS {
            other.check(&format!("SET n {n}"), "+OK\r\n");
        }
    });
    let mut sender = Client::new(monitor.stream().try_clone().unwrap());
    let sending = std::thread::spawn(move || {
        for n in 0..ROUNDS {
            sender.send([request(&["ECHO", &n.to_string()]), request(&["GET", "large"])].concat());
        }
    });
    let (mut echoed, mut got, mut set, mut shown) = (0, 0, 0, 0);
    while [echoed, got, set] != [ROUNDS; 3] || shown < 2 * ROUNDS {
        let reply = monitor.raw_reply();
        match reply[0] {
            b'+' if reply.ends_with(b"\"GET\" \"large\"\r\n") => shown += 1,
            b'+' if reply.windows(6).any(|word| word == b"\"ECHO\"") => shown += 1,
            b'+' => {
                assert!(reply.ends_with(format!("\"SET\" \"n\" \"{set}\"\r\n").as_bytes()), "{}", reply.escape_ascii());
                set += 1;
            }
            b'$' if reply.len() > large.len() => {
                assert!(reply[9..].starts_with(&large));
                got += 1;
            }
            _ => {
                let number = echoed.to_string();
                assert_eq!(reply, format!("${}\r\n{number}\r\n", number.len()).as_bytes());
                echoed += 1;
            }
        }
    }
    writer.join().unwrap();
    sending.join().unwrap();
}

fn many_monitors_hear_all_cores(engine: Engine) {
    let server = Server::start(engine);
    let mut monitors: Vec<_> = (0..20).map(|_| monitor(&server)).collect();
    // Of the later ones' MONITOR nothing is shown.
    let mut writers: Vec<_> = (0..4).map(|_| server.client()).collect();
    for (n, writer) in writers.iter_mut().enumerate() {
        writer.send((0..50).flat_map(|at| request(&["SET", &format!("w{n}"), &at.to_string()])).collect::<Vec<_>>());
    }
    writers.iter_mut().for_each(|writer| writer.expect("+OK\r\n".repeat(50)));
    for monitor in &mut monitors {
        let mut next = [0; 4];
        for _ in 0..200 {
            let line = line(monitor);
            let words: Vec<_> = line.split('"').collect();
            let writer: usize = words[3][1..].parse().unwrap();
            assert_eq!(words[5], next[writer].to_string(), "{line}");
            next[writer] += 1;
        }
    }
}

fn one_that_does_not_read_is_cut_off(engine: Engine) {
    let server = Server::start(engine);
    let mut deaf = monitor(&server);
    let mut writer = server.client();
    let echo = request(&["ECHO", &"e".repeat(4000)]);
    let batch = echo.repeat(16);
    let mut sent = 0;
    wait_until("the deaf monitor's end", || {
        writer.send(&batch);
        (0..16).for_each(|_| drop(writer.raw_reply()));
        sent += batch.len();
        server.info_number("client_output_buffer_limit_disconnections") == 1
    });
    assert!(sent > limits::INBOX_MAX_BYTES, "{sent}");
    let rest = deaf.rest();
    assert!(rest.len() < sent);
    server.wait_for_info("used_memory_clients", |bytes| bytes == 0);
    // The others never notice, and nobody monitors any more.
    writer.check("PING", "+PONG\r\n");
    assert!(!writer.call(&["CLIENT", "LIST"]).text().contains(" flags=O "));
}

fn one_that_hears_nothing_is_not_idle(engine: Engine) {
    let server = Server::with(engine, &["--timeout=1"]);
    let mut monitor = monitor(&server);
    server.client().expect_closed();
    server.client().check("PING", "+PONG\r\n");
    assert!(line(&mut monitor).ends_with(r#" "PING""#));
}

fn the_end_of_the_server_is_its_end(engine: Engine) {
    let mut server = Server::start(engine);
    let mut monitor = monitor(&server);
    server.client().send(request(&["SHUTDOWN"]));
    monitor.expect_closed();
    assert!(server.wait().success());
}

fn over_the_unix_socket(engine: Engine) {
    let path = temporary("monitor");
    let server = Server::with(engine, &[&format!("--unixsocket={}", path.display())]);
    let mut monitor = monitor(&server);
    let mut other = Client::new(std::os::unix::net::UnixStream::connect(&path).unwrap());
    other.check("PING", "+PONG\r\n");
    assert_eq!(line(&mut monitor), format!(r#"[0 unix:{}] "PING""#, path.display()));
}
