//! Client-side caching: who has read a key is told when it changes.

use std::io::Read;

use crate::client::Client;
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    what_a_client_has_changed_itself_comes_with_the_reply,
    who_has_read_a_key_is_told_once,
    every_way_to_change_a_key_is_told,
    options_are_checked_and_shown,
    opt_in_and_opt_out,
    broadcast_tells_of_prefixes,
    own_changes_are_told_unless_noloop,
    emptying_tells_everything,
    reads_in_a_transaction_are_remembered,
    what_has_ended_is_not_told,
    the_table_is_bounded,
    an_idle_connection_on_another_core_is_told,
    who_is_told_of_too_much_forgets_everything,
    what_caching_has_said_is_about_one_command,
    nothing_is_pushed_after_the_end_of_resp3,
);

/// In one piece with it, as from Redis: clients with caches look for it before their next request.
fn what_a_client_has_changed_itself_comes_with_the_reply(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.resp3_client();
    client.check("CLIENT TRACKING ON", "+OK\r\n");
    let both = "+OK\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    for _ in 0..100 {
        client.call(&["GET", "k"]);
        client.send("SET k v\r\n");
        let mut piece = [0; 100];
        let length = client.stream().read(&mut piece).unwrap();
        assert_eq!(std::str::from_utf8(&piece[..length]).unwrap(), both);
    }
}

fn tracking(server: &Server, options: &str) -> Client {
    let mut client = server.client();
    client.call(&["HELLO", "3"]);
    client.check(&format!("CLIENT TRACKING ON {options}"), "+OK\r\n");
    client
}

fn told(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

const ALL: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

fn who_has_read_a_key_is_told_once(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let (mut reader, mut writer) = (tracking(&server, ""), server.client());
    reader.check("MGET a b", "*2\r\n_\r\n_\r\n");
    reader.check("GET c", "_\r\n");
    writer.check("MSET a 1 b 2 other 3", "+OK\r\n");
    let mut both = [reader.raw_reply(), reader.raw_reply()].map(|told| String::from_utf8(told).unwrap());
    both.sort();
    assert_eq!(both, [told("a"), told("b")]);
    writer.check("SET a 4", "+OK\r\n");
    writer.check("SET c 4", "+OK\r\n");
    reader.expect(told("c"));
    reader.check("GET a", "$1\r\n4\r\n");
    writer.check("SET a 5", "+OK\r\n");
    reader.expect(told("a"));
    reader.check("PING", "+PONG\r\n");
}

fn every_way_to_change_a_key_is_told(engine: Engine) {
    let server = Server::start(engine);
    let (mut reader, mut writer) = (tracking(&server, ""), server.client());
    for change in ["APPEND k x", "DEL k", "INCR k", "EXPIRE k 100", "PERSIST k", "GETDEL k", "MOVE k 3", "SET k 2 NX"] {
        let prepare: &[&str] = if change.contains("NX") { &["DEL", "k"] } else { &["SET", "k", "1", "EX", "1000"] };
        writer.call(prepare);
        reader.call(&["GET", "k"]);
        writer.call(&change.split(' ').collect::<Vec<_>>());
        reader.expect(told("k"));
    }
    // It goes by itself.
    writer.check("SET brief v PX 500", "+OK\r\n");
    reader.call(&["GET", "brief"]);
    reader.expect(told("brief"));
}

fn options_are_checked_and_shown(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.call(&["HELLO", "3"]);
    let off = "%3\r\n$5\r\nflags\r\n~1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n";
    client.check("CLIENT TRACKINGINFO", off);
    client.check("CLIENT GETREDIR", ":-1\r\n");
    client.check("CLIENT TRACKING", "-ERR wrong number of arguments for 'client|tracking' command\r\n");
    client.check("CLIENT TRACKING maybe", "-ERR syntax error\r\n");
    client.check("CLIENT TRACKING ON FOO", "-ERR syntax error\r\n");
    client.check("CLIENT TRACKING ON PREFIX a", "-ERR PREFIX option requires BCAST mode to be enabled\r\n");
    client.check("CLIENT TRACKING ON OPTIN OPTOUT", "-ERR You can't specify both OPTIN mode and OPTOUT mode\r\n");
    client.check("CLIENT TRACKING ON BCAST OPTIN", "-ERR OPTIN and OPTOUT are not compatible with BCAST\r\n");
    client.check_error("CLIENT CACHING YES", "ERR CLIENT CACHING can be called only when");
    client.check_error(
        "CLIENT TRACKING ON BCAST PREFIX foo PREFIX fo",
        "ERR Prefix 'foo' overlaps with another provided",
    );
    client.check("CLIENT TRACKING ON BCAST PREFIX foo PREFIX bar NOLOOP", "+OK\r\n");
    client.check_error(
        "CLIENT TRACKING ON BCAST PREFIX foob",
        "ERR Prefix 'foob' overlaps with an existing prefix 'foo'",
    );
    client.check_error("CLIENT TRACKING ON", "ERR You can't switch BCAST mode on/off");
    client.check(
        "CLIENT TRACKINGINFO",
        "%3\r\n$5\r\nflags\r\n~3\r\n$2\r\non\r\n$5\r\nbcast\r\n$6\r\nnoloop\r\n$8\r\nredirect\r\n:0\r\n$8\r\nprefixes\r\n*2\r\n\
         $3\r\nfoo\r\n$3\r\nbar\r\n",
    );
    client.check("RESET", "+RESET\r\n");
    client.call(&["HELLO", "3"]);
    client.check("CLIENT TRACKINGINFO", off);
    client.check("CLIENT TRACKING ON OPTOUT", "+OK\r\n");
    client.check_error("CLIENT CACHING YES", "ERR CLIENT CACHING YES is only valid");
    client.check_error("CLIENT TRACKING ON OPTIN", "ERR You can't switch OPTIN/OPTOUT mode");
    client.check("CLIENT CACHING maybe", "-ERR syntax error\r\n");
    client.check("CLIENT GETREDIR", ":0\r\n");
}

fn opt_in_and_opt_out(engine: Engine) {
    let server = Server::start(engine);
    let mut writer = server.client();
    let mut reader = tracking(&server, "OPTIN");
    reader.check("GET a", "_\r\n");
    reader.check("CLIENT CACHING YES", "+OK\r\n");
    reader.check("GET b", "_\r\n");
    reader.check("GET c", "_\r\n");
    writer.check("MSET a 1 b 2 c 3", "+OK\r\n");
    reader.expect(told("b"));
    reader.check("PING", "+PONG\r\n");
    let mut reader = tracking(&server, "OPTOUT");
    reader.check("CLIENT CACHING NO", "+OK\r\n");
    reader.check("GET a", "$1\r\n1\r\n");
    reader.check("GET b", "$1\r\n2\r\n");
    writer.check("MSET a 1 b 2 c 3", "+OK\r\n");
    reader.expect(told("b"));
    reader.check("PING", "+PONG\r\n");
}

fn broadcast_tells_of_prefixes(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut some = tracking(&server, "BCAST PREFIX user: PREFIX post:");
    let mut all = tracking(&server, "BCAST");
    let mut writer = server.client();
    for key in ["user:1", "other", "post:7", "user:1"] {
        writer.check(&format!("SET {key} v"), "+OK\r\n");
        all.expect(told(key));
    }
    for key in ["user:1", "post:7", "user:1"] {
        some.expect(told(key));
    }
    some.check("CLIENT TRACKING OFF", "+OK\r\n");
    writer.check("SET user:1 v", "+OK\r\n");
    some.check("PING", "+PONG\r\n");
    all.expect(told("user:1"));
}

fn own_changes_are_told_unless_noloop(engine: Engine) {
    let server = Server::start(engine);
    let mut client = tracking(&server, "");
    client.check("GET k", "_\r\n");
    client.check("SET k v", "+OK\r\n");
    client.expect(told("k"));
    let mut quiet = tracking(&server, "NOLOOP");
    quiet.check("GET k", "$1\r\nv\r\n");
    quiet.check("SET k w", "+OK\r\n");
    quiet.check("GET k", "$1\r\nw\r\n");
    client.check("SET k x", "+OK\r\n");
    quiet.expect(told("k"));
    // RESP2 has no way to say it.
    let mut old = server.client();
    old.check("CLIENT TRACKING ON", "+OK\r\n");
    old.check("GET k", "$1\r\nx\r\n");
    client.check("SET k y", "+OK\r\n");
    old.check("GET k", "$1\r\ny\r\n");
}

fn emptying_tells_everything(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let (mut default, mut broadcast) = (tracking(&server, ""), tracking(&server, "BCAST PREFIX x"));
    for flush in ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1"] {
        default.check("GET k", "_\r\n");
        default.check("SET other v", "+OK\r\n");
        server.client().check(flush, "+OK\r\n");
        default.expect(ALL);
        broadcast.expect(ALL);
    }
}

/// What the keys have in their names that are many.
pub const MANY: &str = "a-key-of-some-length";

/// Has one read tens of thousands of keys, and the other remove them in one step; how many they are.
pub fn read_and_remove_many(reader: &mut Client, writer: &mut Client) -> usize {
    let keys: Vec<String> = (0..20_000).map(|n| format!("{MANY}:{n}")).collect();
    let words =
        |command: &'static str| std::iter::once(command).chain(keys.iter().map(String::as_str)).collect::<Vec<_>>();
    let pairs: Vec<&str> = std::iter::once("MSET").chain(keys.iter().flat_map(|key| [key.as_str(), "v"])).collect();
    assert_eq!(writer.call(&pairs), Value::Simple("OK".into()));
    assert_eq!(reader.call(&words("MGET")).elements().len(), keys.len());
    assert_eq!(writer.call(&words("DEL")).integer(), keys.len() as i64);
    keys.len()
}

/// Tens of thousands of its keys change in one step: it stays, and knows that nothing of what it has is worth anything.
fn who_is_told_of_too_much_forgets_everything(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let (mut reader, mut writer) = (tracking(&server, ""), server.client());
    let count = read_and_remove_many(&mut reader, &mut writer);
    // Some come one by one, some together, and the rest as everything.
    let (mut told_of, mut everything) = (0, false);
    while !everything && told_of < count {
        let message = reader.raw_reply();
        everything = message == ALL.as_bytes();
        let text = String::from_utf8(message).unwrap();
        told_of += text.matches(MANY).count();
    }
    // The deletions that came after that are told of again.
    reader.send("PING\r\n");
    loop {
        let message = reader.raw_reply();
        if message == b"+PONG\r\n" {
            break;
        }
        assert!(message.starts_with(b">2\r\n$10\r\ninvalidate\r\n"), "{}", message.escape_ascii());
    }
    assert_eq!(server.info_number("client_output_buffer_limit_disconnections"), 0);
}

fn what_caching_has_said_is_about_one_command(engine: Engine) {
    let server = Server::start(engine);
    let (mut reader, mut writer) = (tracking(&server, "OPTIN"), server.client());
    reader.check("CLIENT CACHING YES", "+OK\r\n");
    reader.check_error("NOPE", "ERR unknown command");
    reader.check("GET k", "_\r\n");
    writer.check("SET k v", "+OK\r\n");
    reader.check("PING", "+PONG\r\n");
}

/// A push would be a reply to who has gone back to RESP2.
fn nothing_is_pushed_after_the_end_of_resp3(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let (mut reader, mut writer) = (tracking(&server, "BCAST"), server.client());
    for _ in 0..50 {
        writer.send("SET k v\r\n".repeat(200));
        reader.send("HELLO 2\r\nGET none\r\n");
        let mut reply = reader.raw_reply();
        while reply.starts_with(b">2\r\n$10\r\ninvalidate\r\n") {
            reply = reader.raw_reply();
        }
        assert!(reply.starts_with(b"*14\r\n"), "{}", reply.escape_ascii());
        reader.expect("$-1\r\n");
        (0..200).for_each(|_| writer.expect("+OK\r\n"));
        reader.check("GET none", "$-1\r\n");
        assert!(matches!(reader.call(&["HELLO", "3"]), Value::Map(_)));
    }
}

fn reads_in_a_transaction_are_remembered(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut reader = tracking(&server, "OPTIN");
    reader.check("CLIENT CACHING YES", "+OK\r\n");
    reader.check("MULTI", "+OK\r\n");
    reader.check("GET a", "+QUEUED\r\n");
    reader.check("GET b", "+QUEUED\r\n");
    reader.check("EXEC", "*2\r\n_\r\n_\r\n");
    reader.check("GET c", "_\r\n");
    let mut writer = server.client();
    for key in ["a", "b", "c"] {
        writer.check(&format!("SET {key} v"), "+OK\r\n");
    }
    reader.expect(told("a"));
    reader.expect(told("b"));
    reader.check("PING", "+PONG\r\n");
}

fn what_has_ended_is_not_told(engine: Engine) {
    let server = Server::start(engine);
    let mut observer = server.client();
    let mut reader = tracking(&server, "");
    reader.check("GET k", "_\r\n");
    reader.check("CLIENT TRACKING OFF", "+OK\r\n");
    observer.check("SET k v", "+OK\r\n");
    reader.check("PING", "+PONG\r\n");
    // Nor once it tracks in another way.
    reader.check("CLIENT TRACKING ON", "+OK\r\n");
    reader.check("GET k", "$1\r\nv\r\n");
    reader.check("CLIENT TRACKING OFF", "+OK\r\n");
    reader.check("CLIENT TRACKING ON BCAST PREFIX none", "+OK\r\n");
    observer.check("SET k v", "+OK\r\n");
    reader.check("PING", "+PONG\r\n");
    reader.check("CLIENT TRACKING OFF", "+OK\r\n");
    for options in ["", "BCAST"] {
        let mut gone = tracking(&server, options);
        gone.call(&["GET", "k"]);
        drop(gone);
    }
    wait_until("them to be gone", || observer.info_number("connected_clients") == 2);
    observer.check("SET k w", "+OK\r\n");
    observer.check("FLUSHALL", "+OK\r\n");
}

fn the_table_is_bounded(engine: Engine) {
    let server = Server::with(engine, &["--threads=1", "--maxmemory=64mb"]);
    let mut reader = tracking(&server, "");
    // Far more than a sixteenth of the memory holds: those read first are told of as if they had changed.
    for n in 0..40_000 {
        reader.send(format!("GET key:{n}\r\n"));
        loop {
            let reply = reader.raw_reply();
            if reply.starts_with(b"_") {
                break;
            }
            assert!(reply.starts_with(b">2\r\n$10\r\ninvalidate"));
        }
    }
    assert!(server.client().info_number("used_memory") < 64 << 20);
}

fn an_idle_connection_on_another_core_is_told(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut readers: Vec<_> = (0..8).map(|_| tracking(&server, "")).collect();
    for (n, reader) in readers.iter_mut().enumerate() {
        reader.check(&format!("GET key:{n}"), "_\r\n");
        reader.check("GET shared", "_\r\n");
    }
    let mut writer = server.client();
    for (n, reader) in readers.iter_mut().enumerate() {
        writer.check(&format!("SET key:{n} v"), "+OK\r\n");
        reader.expect(told(&format!("key:{n}")));
    }
    writer.check("SET shared v", "+OK\r\n");
    readers.iter_mut().for_each(|reader| reader.expect(told("shared")));
}
