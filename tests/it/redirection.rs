//! Client-side caching with two connections, as clients in RESP2 have it: one reads, the other is told.

use crate::client::{Client, request};
use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::tracking::{MANY, read_and_remove_many};
use crate::wire::Value;

on_every_driver!(
    a_subscriber_in_resp2_is_told,
    in_resp3_nobody_need_subscribe,
    many_may_redirect_to_one,
    one_may_redirect_to_itself,
    options_are_checked_and_shown,
    the_list_shows_it,
    a_broken_redirection_is_told,
    a_subscriber_in_resp2_may_ask_for_little,
    there_is_one_channel,
    it_begins_and_ends_in_a_transaction,
    in_resp3_a_transaction_has_it_among_its_replies,
    nothing_comes_after_the_end_of_a_subscription,
    who_wants_no_replies_hears_messages,
    too_much_becomes_everything,
    a_subscriber_is_not_idle,
    a_user_needs_the_channel,
);

const SUBSCRIBED: &str = "*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n";
const UNSUBSCRIBED: &str = "*3\r\n$11\r\nunsubscribe\r\n$20\r\n__redis__:invalidate\r\n:0\r\n";

fn told(key: &str) -> String {
    format!("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

const ALL: &str = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n";
const PUSHED_ALL: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

fn pushed(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

/// A connection that hears, and its number.
fn subscriber(server: &Server) -> (Client, i64) {
    let mut client = server.client();
    let id = client.call(&["CLIENT", "ID"]).integer();
    client.check("SUBSCRIBE __redis__:invalidate", SUBSCRIBED);
    (client, id)
}

fn redirecting(server: &Server, to: i64, options: &str) -> Client {
    let mut client = server.client();
    client.check(&format!("CLIENT TRACKING ON REDIRECT {to} {options}"), "+OK\r\n");
    client
}

fn a_subscriber_in_resp2_is_told(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let (mut target, id) = subscriber(&server);
    let (mut reader, mut writer) = (redirecting(&server, id, ""), server.client());
    reader.check("MGET a b", "*2\r\n$-1\r\n$-1\r\n");
    writer.check("SET other v", "+OK\r\n");
    writer.check("SET b v", "+OK\r\n");
    target.expect(told("b"));
    reader.check("SET a v", "+OK\r\n");
    target.expect(told("a"));
    for flush in ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1"] {
        writer.check(flush, "+OK\r\n");
        target.expect(ALL);
    }
    // A key that goes by itself.
    writer.check("SET brief v PX 300", "+OK\r\n");
    reader.call(&["GET", "brief"]);
    target.expect(told("brief"));
    let mut broadcast = redirecting(&server, id, "BCAST PREFIX user: NOLOOP");
    writer.check("MSET user:1 v post:1 v", "+OK\r\n");
    target.expect(told("user:1"));
    broadcast.check("SET user:2 v", "+OK\r\n");
    broadcast.check("CLIENT TRACKING OFF", "+OK\r\n");
    writer.check("SET user:1 v", "+OK\r\n");
    target.check("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
}

fn in_resp3_nobody_need_subscribe(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let mut target = server.client();
    let id = target.call(&["CLIENT", "ID"]).integer();
    let (mut reader, mut writer) = (redirecting(&server, id, ""), server.client());
    reader.check("GET k", "$-1\r\n");
    writer.check("SET k v", "+OK\r\n");
    target.check("PING", "+PONG\r\n");
    target.call(&["HELLO", "3"]);
    reader.check("GET k", "$1\r\nv\r\n");
    writer.check("SET k w", "+OK\r\n");
    target.expect(pushed("k"));
    writer.check("FLUSHALL", "+OK\r\n");
    target.expect(PUSHED_ALL);
    // What was read before is told to whoever is told now, and to nobody twice.
    reader.check("GET k", "$-1\r\n");
    reader.call(&["HELLO", "3"]);
    reader.check("CLIENT TRACKING ON", "+OK\r\n");
    writer.check("SET k v", "+OK\r\n");
    reader.expect(pushed("k"));
    target.check("PING", "+PONG\r\n");
    target.check("SUBSCRIBE __redis__:invalidate", ">3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n");
    target.check("GET k", "$1\r\nv\r\n");
    target.check("PING hi", "$2\r\nhi\r\n");
    target.check("UNSUBSCRIBE", ">3\r\n$11\r\nunsubscribe\r\n$20\r\n__redis__:invalidate\r\n:0\r\n");
    target.check("UNSUBSCRIBE", ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n");
}

fn many_may_redirect_to_one(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let (mut target, id) = subscriber(&server);
    let mut readers: Vec<_> = (0..16).map(|_| redirecting(&server, id, "")).collect();
    let mut writer = server.client();
    for (n, reader) in readers.iter_mut().enumerate() {
        reader.check(&format!("GET key:{n}"), "$-1\r\n");
    }
    for n in 0..readers.len() {
        writer.check(&format!("SET key:{n} v"), "+OK\r\n");
        target.expect(told(&format!("key:{n}")));
    }
}

fn one_may_redirect_to_itself(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut writer) = (server.client(), server.client());
    let id = client.call(&["CLIENT", "ID"]).integer();
    client.check(&format!("CLIENT TRACKING ON REDIRECT {id}"), "+OK\r\n");
    client.check("GET k", "$-1\r\n");
    client.check("SUBSCRIBE __redis__:invalidate", SUBSCRIBED);
    writer.check("SET k v", "+OK\r\n");
    client.expect(told("k"));
    client.check("RESET", "+RESET\r\n");
    client.call(&["HELLO", "3"]);
    client.check(&format!("CLIENT TRACKING ON REDIRECT {id}"), "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
    writer.check("SET k w", "+OK\r\n");
    client.expect(pushed("k"));
}

fn options_are_checked_and_shown(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut target) = (server.client(), server.client());
    let id = target.call(&["CLIENT", "ID"]).integer();
    for nobody in ["0", "-1", "99999"] {
        let gone = "-ERR The client ID you want redirect to does not exist\r\n";
        client.check(&format!("CLIENT TRACKING ON REDIRECT {nobody}"), gone);
        client.check(&format!("CLIENT TRACKING OFF REDIRECT {nobody}"), gone);
    }
    client.check("CLIENT TRACKING ON REDIRECT me", "-ERR value is not an integer or out of range\r\n");
    client.check("CLIENT TRACKING ON REDIRECT", "-ERR syntax error\r\n");
    client.check(
        &format!("CLIENT TRACKING ON REDIRECT {id} REDIRECT {id}"),
        "-ERR A client can only redirect to a single other client\r\n",
    );
    client.check("CLIENT GETREDIR", ":-1\r\n");
    client.check(&format!("CLIENT TRACKING ON REDIRECT {id} OPTIN"), "+OK\r\n");
    client.check_error(&format!("CLIENT TRACKING ON REDIRECT {id} BCAST"), "ERR You can't switch BCAST mode on/off");
    client.check("CLIENT GETREDIR", &format!(":{id}\r\n"));
    let info = client.call(&["CLIENT", "TRACKINGINFO"]);
    assert_eq!(info.field("redirect").integer(), id);
    client.check("CLIENT TRACKING ON OPTIN", "+OK\r\n");
    client.check("CLIENT GETREDIR", ":0\r\n");
    client.check("CLIENT TRACKING OFF", "+OK\r\n");
    client.check("CLIENT GETREDIR", ":-1\r\n");
}

fn the_list_shows_it(engine: Engine) {
    let server = Server::start(engine);
    let (_target, id) = subscriber(&server);
    let _reader = redirecting(&server, id, "BCAST");
    let mut observer = server.client();
    let line = observer.call(&["CLIENT", "LIST", "TYPE", "pubsub"]).text();
    assert!(line.starts_with(&format!("id={id} ")) && line.lines().count() == 1, "{line}");
    assert!(line.contains(" flags=P ") && line.contains(" sub=1 ") && line.contains(" redir=-1 "), "{line}");
    let line = observer.call(&["CLIENT", "LIST", "FLAGS", "tB"]).text();
    assert!(line.lines().count() == 1 && line.contains(&format!(" redir={id} ")) && line.contains(" sub=0 "), "{line}");
    assert_eq!((observer.info_number("pubsub_clients"), observer.info_number("pubsub_channels")), (1, 1));
    observer.check("CLIENT KILL TYPE pubsub", ":1\r\n");
    wait_until("it to be gone", || observer.info_number("pubsub_clients") == 0);
    assert_eq!(observer.info_number("pubsub_channels"), 0);
}

fn a_broken_redirection_is_told(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let mut writer = server.client();
    for end in ["QUIT", "kill", "close"] {
        let (mut target, id) = subscriber(&server);
        let mut new = redirecting(&server, id, "");
        new.call(&["HELLO", "3"]);
        let mut old = redirecting(&server, id, "");
        new.call(&["GET", "k"]);
        old.call(&["GET", "k"]);
        match end {
            "QUIT" => target.check("QUIT", "+OK\r\n"),
            "kill" => writer.check(&format!("CLIENT KILL ID {id}"), ":1\r\n"),
            _ => drop(target),
        }
        wait_until("it to be gone", || writer.info_number("pubsub_clients") == 0);
        writer.check("SET k v", "+OK\r\n");
        new.expect(format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n"));
        new.check(
            "CLIENT TRACKINGINFO",
            &format!(
                "%3\r\n$5\r\nflags\r\n~2\r\n$2\r\non\r\n$15\r\nbroken_redirect\r\n$8\r\nredirect\r\n:{id}\r\n$8\r\nprefixes\r\n\
                 *0\r\n"
            ),
        );
        assert!(new.call(&["CLIENT", "INFO"]).text().contains(" flags=tR "));
        // RESP2 has no way to say it, but shows it.
        old.check("PING", "+PONG\r\n");
        assert!(old.call(&["CLIENT", "INFO"]).text().contains(" flags=tR "));
        writer.check("FLUSHALL", "+OK\r\n");
        new.expect(format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n"));
        new.check("CLIENT TRACKING ON", "+OK\r\n");
        new.check("GET k", "_\r\n");
        writer.check("SET k v", "+OK\r\n");
        new.expect(pushed("k"));
        assert!(new.call(&["CLIENT", "INFO"]).text().contains(" flags=t "));
    }
}

fn a_subscriber_in_resp2_may_ask_for_little(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, _) = subscriber(&server);
    for (request, name) in [("GET k", "get"), ("CLIENT ID", "client|id"), ("HELLO 3", "hello"), ("MULTI", "multi")] {
        let only = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
        client.check(request, &format!("-ERR Can't execute '{name}': {only}\r\n"));
    }
    client.check_error("NOPE", "ERR unknown command");
    client.check("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    client.check("PING hi", "*2\r\n$4\r\npong\r\n$2\r\nhi\r\n");
    client.check_error("PING a b", "ERR wrong number of arguments for 'ping' command");
    client.check("SUBSCRIBE __redis__:invalidate", SUBSCRIBED);
    client.check("UNSUBSCRIBE __redis__:invalidate", UNSUBSCRIBED);
    client.check("PING", "+PONG\r\n");
    client.check("SUBSCRIBE __redis__:invalidate", SUBSCRIBED);
    client.check("RESET", "+RESET\r\n");
    client.check("GET k", "$-1\r\n");
    assert!(client.call(&["CLIENT", "INFO"]).text().contains(" sub=0 "));
    let script = "return redis.call('SUBSCRIBE', '__redis__:invalidate')";
    let refused = client.call(&["EVAL", script, "0"]);
    assert!(matches!(&refused, Value::Error(text) if text.contains("not allowed from script")), "{refused:?}");
    client.check("SUBSCRIBE __redis__:invalidate", SUBSCRIBED);
    client.check("QUIT", "+OK\r\n");
    client.expect_closed();
}

fn there_is_one_channel(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check_error("SUBSCRIBE", "ERR wrong number of arguments for 'subscribe' command");
    client.check_error("SUBSCRIBE news", "ERR kv-cache serves strings only: no pub/sub; the one channel is");
    client.check_error("SUBSCRIBE __redis__:invalidate news", "ERR kv-cache serves strings only");
    client.check("GET k", "$-1\r\n");
    client.check_error("PSUBSCRIBE *", "ERR unknown command 'PSUBSCRIBE'");
    client.check_error("PUBLISH __redis__:invalidate x", "ERR unknown command 'PUBLISH'");
    client.check("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    client.check("UNSUBSCRIBE news", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
    client.send(request(&["SUBSCRIBE", "__redis__:invalidate", "__redis__:invalidate"]));
    client.expect([SUBSCRIBED, SUBSCRIBED].concat());
    client.send(request(&["UNSUBSCRIBE", "a", "__redis__:invalidate", "__redis__:invalidate"]));
    client.expect(["*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n", UNSUBSCRIBED, UNSUBSCRIBED].concat());
    client.check("GET k", "$-1\r\n");
}

fn transaction(client: &mut Client, requests: &[&str], replies: &str) {
    client.check("MULTI", "+OK\r\n");
    requests.iter().for_each(|request| client.check(request, "+QUEUED\r\n"));
    client.send("EXEC\r\n");
    client.expect(format!("*{}\r\n{replies}", requests.len()));
}

fn it_begins_and_ends_in_a_transaction(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let (mut client, mut writer) = (server.client(), server.client());
    let id = client.call(&["CLIENT", "ID"]).integer();
    let mut reader = redirecting(&server, id, "");
    // What is queued was asked before the client became a subscriber, so it is not held to what subscribers may ask.
    let rest = "$-1\r\n$5\r\nhello\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n";
    transaction(
        &mut client,
        &["SUBSCRIBE __redis__:invalidate", "GET k", "EVAL return(redis.call('ECHO','hello')) 0", "PING"],
        &[SUBSCRIBED, rest].concat(),
    );
    assert!(writer.call(&["CLIENT", "LIST", "ID", &id.to_string()]).text().contains(" sub=1 "));
    client.check_error("MULTI", "ERR Can't execute 'multi'");
    reader.check("GET k", "$-1\r\n");
    writer.check("SET k v", "+OK\r\n");
    client.expect(told("k"));
    client.check("UNSUBSCRIBE", UNSUBSCRIBED);
    // It hears what it has changed itself, once the replies are there; but not if it has left.
    client.check(&format!("CLIENT TRACKING ON REDIRECT {id} BCAST"), "+OK\r\n");
    let many = ["SET a v", "SET b v", "SUBSCRIBE __redis__:invalidate", "SET c v"];
    transaction(&mut client, &many, &["+OK\r\n+OK\r\n", SUBSCRIBED, "+OK\r\n"].concat());
    client.expect(told("c"));
    client.check("UNSUBSCRIBE", UNSUBSCRIBED);
    for end in ["UNSUBSCRIBE", "UNSUBSCRIBE __redis__:invalidate"] {
        let both = ["SUBSCRIBE __redis__:invalidate", "SET k w", end, "GET k"];
        transaction(&mut client, &both, &[SUBSCRIBED, "+OK\r\n", UNSUBSCRIBED, "$1\r\nw\r\n"].concat());
        client.check("GET k", "$1\r\nw\r\n");
    }
    transaction(
        &mut client,
        &["UNSUBSCRIBE", "UNSUBSCRIBE news"],
        &["*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n"].concat(),
    );
    // What is discarded, not run because a key has changed, or wrong, changes nothing.
    client.send("MULTI\r\nSUBSCRIBE __redis__:invalidate\r\nDISCARD\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+OK\r\n");
    client.check("WATCH k", "+OK\r\n");
    writer.check("SET k x", "+OK\r\n");
    client.send("MULTI\r\nSUBSCRIBE __redis__:invalidate\r\nEXEC\r\n");
    client.expect("+OK\r\n+QUEUED\r\n*-1\r\n");
    client.send("MULTI\r\nSUBSCRIBE news\r\nEXEC\r\n");
    client.expect(
        "+OK\r\n+QUEUED\r\n*1\r\n-ERR kv-cache serves strings only: no pub/sub; the one channel is \
                   __redis__:invalidate, for what CLIENT TRACKING redirects\r\n",
    );
    for several in ["SUBSCRIBE __redis__:invalidate __redis__:invalidate", "UNSUBSCRIBE a b"] {
        client.check("MULTI", "+OK\r\n");
        client.check_error(several, "ERR one channel at a time inside a transaction");
        client.check_error("EXEC", "EXECABORT");
    }
    assert_eq!(writer.info_number("pubsub_clients"), 0);
    client.send("CLIENT REPLY OFF\r\nMULTI\r\nSUBSCRIBE __redis__:invalidate\r\nGET k\r\nEXEC\r\n");
    client.expect(SUBSCRIBED);
    writer.check("SET k y", "+OK\r\n");
    client.expect(told("k"));
}

fn in_resp3_a_transaction_has_it_among_its_replies(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut writer) = (server.client(), server.client());
    client.call(&["HELLO", "3"]);
    client.check("CLIENT TRACKING ON", "+OK\r\n");
    let (subscribed, unsubscribed) = (SUBSCRIBED.replace("*3", ">3"), UNSUBSCRIBED.replace("*3", ">3"));
    let subscribe = ["PING", "SUBSCRIBE __redis__:invalidate", "GET k"];
    transaction(&mut client, &subscribe, &["+PONG\r\n", &subscribed, "_\r\n"].concat());
    writer.check("SET k v", "+OK\r\n");
    client.expect(pushed("k"));
    // What is pushed meanwhile comes after the replies, not among them.
    let unsubscribe = ["GET k", "SET k w", "UNSUBSCRIBE", "PING"];
    transaction(&mut client, &unsubscribe, &["$1\r\nv\r\n+OK\r\n", &unsubscribed, "+PONG\r\n"].concat());
    client.expect(pushed("k"));
    client.check("PING", "+PONG\r\n");
}

/// In RESP2 a message cannot be told from a reply: once the subscription has ended there is none.
fn nothing_comes_after_the_end_of_a_subscription(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let mut target = server.client();
    let id = target.call(&["CLIENT", "ID"]).integer();
    let _reader = redirecting(&server, id, "BCAST");
    let mut writer = server.client();
    for round in 0..100 {
        let (end, last) = if round % 2 == 0 { ("UNSUBSCRIBE", UNSUBSCRIBED) } else { ("RESET", "+RESET\r\n") };
        target.check("SUBSCRIBE __redis__:invalidate", SUBSCRIBED);
        let writes: Vec<u8> = (0..200).flat_map(|n| request(&["SET", &format!("k{n}"), "v"])).collect();
        writer.send(writes);
        target.send(format!("{end}\r\nGET none\r\n"));
        loop {
            let reply = String::from_utf8(target.raw_reply()).unwrap();
            if reply == last {
                break;
            }
            assert!(reply.starts_with("*3\r\n$7\r\nmessage\r\n"), "{reply}");
        }
        target.expect("$-1\r\n");
        (0..200).for_each(|_| writer.expect("+OK\r\n"));
        target.check("GET none", "$-1\r\n");
    }
}

fn who_wants_no_replies_hears_messages(engine: Engine) {
    let server = Server::start(engine);
    let mut target = server.client();
    let id = target.call(&["CLIENT", "ID"]).integer();
    target.send("CLIENT REPLY OFF\r\nPING\r\nSUBSCRIBE news\r\nSUBSCRIBE __redis__:invalidate\r\nPING\r\n");
    target.expect(SUBSCRIBED);
    let (mut reader, mut writer) = (redirecting(&server, id, ""), server.client());
    reader.check("GET k", "$-1\r\n");
    writer.check("SET k v", "+OK\r\n");
    target.expect(told("k"));
    target.send("UNSUBSCRIBE\r\nCLIENT REPLY ON\r\n");
    target.expect(UNSUBSCRIBED);
    target.expect("+OK\r\n");
}

/// Tens of thousands of keys change in one step while the one that is told reads nothing: it stays.
fn too_much_becomes_everything(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let (mut target, id) = subscriber(&server);
    let (mut reader, mut writer) = (redirecting(&server, id, ""), server.client());
    let count = read_and_remove_many(&mut reader, &mut writer);
    let (mut told_of, mut everything) = (0, false);
    while !everything && told_of < count {
        let message = String::from_utf8(target.raw_reply()).unwrap();
        assert!(message.starts_with("*3\r\n$7\r\nmessage\r\n"), "{message}");
        everything = message == ALL;
        told_of += message.matches(MANY).count();
    }
    target.send("PING\r\n");
    while target.raw_reply() != b"*2\r\n$4\r\npong\r\n$0\r\n\r\n" {}
    assert_eq!(server.info_number("client_output_buffer_limit_disconnections"), 0);
}

fn a_subscriber_is_not_idle(engine: Engine) {
    let server = Server::with(engine, &["--timeout=1"]);
    let (mut target, _) = subscriber(&server);
    // One that is idle goes before.
    server.client().expect_closed();
    target.check("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
}

fn a_user_needs_the_channel(engine: Engine) {
    let server = Server::start(engine);
    let (mut admin, mut client) = (server.client(), server.client());
    admin.check("ACL SETUSER reader on >secret +@all -@pubsub ~*", "+OK\r\n");
    client.check("AUTH reader secret", "+OK\r\n");
    client
        .check_error("SUBSCRIBE __redis__:invalidate", "NOPERM User reader has no permissions to run the 'subscribe'");
    admin.check("ACL SETUSER reader +subscribe +unsubscribe", "+OK\r\n");
    client.check("SUBSCRIBE __redis__:invalidate", "-NOPERM No permissions to access a channel\r\n");
    assert_eq!(admin.info_number("acl_access_denied_channel"), 1);
    admin.check("ACL SETUSER reader &__redis__:*", "+OK\r\n");
    client.check("SUBSCRIBE __redis__:invalidate", SUBSCRIBED);
    admin.check("ACL SETUSER reader +get", "+OK\r\n");
    client.check("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    // What it hears is taken from it.
    admin.check("ACL SETUSER reader resetchannels", "+OK\r\n");
    client.expect_closed();
    admin.check("ACL CAT pubsub", "*2\r\n$9\r\nsubscribe\r\n$11\r\nunsubscribe\r\n");
}
