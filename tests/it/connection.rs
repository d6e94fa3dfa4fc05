//! Commands about the connection itself: handshake, authentication, names, end.

use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(
    liveliness,
    hello,
    a_password_is_asked_for,
    hello_can_authenticate,
    before_authentication_little_is_accepted,
    the_password_can_change,
    names,
    client_list,
    reset,
    quit_answers_what_came_before,
    unknown_commands,
    what_clients_send_on_connect,
);

fn liveliness(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("PING", "+PONG\r\n");
    client.check("PING hi", "$2\r\nhi\r\n");
    client.check_error("PING a b", "ERR wrong number of arguments for 'ping' command");
    client.check("ECHO hi", "$2\r\nhi\r\n");
    client.check_error("ECHO", "ERR wrong number of arguments for 'echo' command");
    client.check("SELECT 0", "+OK\r\n");
    client.check("SELECT 16", "-ERR DB index is out of range\r\n");
    client.check_error("SELECT x", "ERR ");
    client.send("PING\r\n");
    client.expect("+PONG\r\n");
}

fn hello(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let reply = client.call(&["HELLO"]);
    assert!(matches!(&reply, Value::Array(flat) if flat.len() == 14), "{reply:?}");
    assert_eq!(reply.field("proto"), Value::Integer(2));
    let reply = client.call(&["HELLO", "3", "SETNAME", "me"]);
    assert!(matches!(&reply, Value::Map(pairs) if pairs.len() == 7), "{reply:?}");
    for (name, value) in [("server", "redis"), ("mode", "standalone"), ("role", "master")] {
        assert_eq!(reply.field(name).text(), value);
    }
    assert!(reply.field("version").text().starts_with("7.4."), "redis-py caches only with such a server");
    assert_eq!(reply.field("proto"), Value::Integer(3));
    assert_eq!(reply.field("modules"), Value::Array(vec![]));
    assert_eq!(reply.field("id"), client.call(&["CLIENT", "ID"]));
    client.check("CLIENT GETNAME", "$2\r\nme\r\n");
    client.check("GET none", "_\r\n");
    for version in ["1", "4", "-3", "99999999999"] {
        client.check(&format!("HELLO {version}"), "-NOPROTO unsupported protocol version\r\n");
    }
    client.check("HELLO three", "-ERR Protocol version is not an integer or out of range\r\n");
    client.check_error("HELLO 2 WHAT", "ERR Syntax error in HELLO option 'WHAT'");
    client.check_error("HELLO 2 AUTH default", "ERR Syntax error in HELLO option 'AUTH'");
    client.check("GET none", "_\r\n");
    assert!(matches!(client.call(&["HELLO", "2"]), Value::Array(_)));
    client.check("GET none", "$-1\r\n");
}

fn a_password_is_asked_for(engine: Engine) {
    let server = Server::with(engine, &["--requirepass=secret"]);
    let mut client = server.client();
    for command in ["GET k", "SET k v", "PING", "CLIENT ID", "CONFIG GET *", "FLUSHALL", "SHUTDOWN", "COMMAND"] {
        client.check(command, "-NOAUTH Authentication required.\r\n");
    }
    client.check_error("HELLO 3", "NOAUTH HELLO must be called with the client already authenticated");
    for attempt in ["AUTH wrong", "AUTH secre", "AUTH secrett", "AUTH other secret", "AUTH default wrong"] {
        client.check_error(attempt, "WRONGPASS ");
    }
    client.check_error("AUTH", "ERR wrong number of arguments for 'auth' command");
    client.check("AUTH a b c", "-ERR syntax error\r\n");
    client.check("GET k", "-NOAUTH Authentication required.\r\n");
    client.check("AUTH secret", "+OK\r\n");
    client.check("GET k", "$-1\r\n");
    client.check("AUTH default secret", "+OK\r\n");
    // A failed attempt does not take away what was given.
    client.check_error("AUTH wrong", "WRONGPASS ");
    client.check("GET k", "$-1\r\n");
    client.check("RESET", "+RESET\r\n");
    client.check("GET k", "-NOAUTH Authentication required.\r\n");
    client.check("QUIT", "+OK\r\n");
    client.expect_closed();

    let open = Server::start(engine);
    open.client().check_error("AUTH secret", "ERR AUTH <password> called without any password configured");
}

fn hello_can_authenticate(engine: Engine) {
    let server = Server::with(engine, &["--requirepass=secret"]);
    let mut client = server.client();
    client.check_error("HELLO 3 AUTH default wrong", "WRONGPASS ");
    client.check("GET k", "-NOAUTH Authentication required.\r\n");
    let reply = client.call(&["HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"]);
    assert_eq!(reply.field("proto"), Value::Integer(3));
    client.check("GET k", "_\r\n");
    client.check("CLIENT GETNAME", "$2\r\nme\r\n");
    // Pipelined behind AUTH, a request is already judged by the new bounds.
    let mut other = server.client();
    let long = "v".repeat(100_000);
    other.send([crate::client::request(&["AUTH", "secret"]), crate::client::request(&["SET", "k", &long])].concat());
    other.expect("+OK\r\n+OK\r\n");
}

/// Ten arguments of 16 KiB: what is beyond costs a stranger the connection, before it is even sent.
fn before_authentication_little_is_accepted(engine: Engine) {
    let server = Server::with(engine, &["--requirepass=secret"]);
    let mut client = server.client();
    client.send("*11\r\n");
    client.expect("-ERR Protocol error: unauthenticated multibulk length\r\n");
    client.expect_closed();
    let mut client = server.client();
    client.send("*1\r\n$16385\r\n");
    client.expect("-ERR Protocol error: unauthenticated bulk length\r\n");
    client.expect_closed();
    let mut client = server.client();
    let argument = "a".repeat(16_384);
    let ten: Vec<&str> = std::iter::once("GET").chain(std::iter::repeat_n(argument.as_str(), 9)).collect();
    assert_eq!(client.call(&ten), Value::Error("ERR wrong number of arguments for 'get' command".into()));
    client.check("AUTH secret", "+OK\r\n");
    let eleven: Vec<&str> = std::iter::once("EXISTS").chain(std::iter::repeat_n(argument.as_str(), 10)).collect();
    assert_eq!(client.call(&eleven), Value::Integer(0));
}

fn the_password_can_change(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("CONFIG SET requirepass secret", "+OK\r\n");
    client.check("PING", "+PONG\r\n");
    let mut other = server.client();
    other.check("PING", "-NOAUTH Authentication required.\r\n");
    other.check("AUTH secret", "+OK\r\n");
    client.send(crate::client::request(&["CONFIG", "SET", "requirepass", ""]));
    client.expect("+OK\r\n");
    server.client().check("PING", "+PONG\r\n");
}

fn names(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("CLIENT GETNAME", "$-1\r\n");
    client.check("CLIENT SETNAME worker-1", "+OK\r\n");
    client.check("CLIENT GETNAME", "$8\r\nworker-1\r\n");
    client.check("CLIENT SETINFO LIB-NAME redis-py", "+OK\r\n");
    client.check("CLIENT SETINFO lib-ver 8.0", "+OK\r\n");
    client.check_error("CLIENT SETINFO LIB-WHAT x", "ERR Unrecognized option 'LIB-WHAT'");
    for bad in ["two words", "a\nb", "\u{1}", "é"] {
        let reply = client.call(&["CLIENT", "SETNAME", bad]);
        assert!(matches!(&reply, Value::Error(text) if text.contains("cannot contain spaces")), "{bad:?}: {reply:?}");
    }
    let info = client.call(&["CLIENT", "INFO"]).text();
    for field in
        ["name=worker-1", "lib-name=redis-py", "lib-ver=8.0", "resp=2", "cmd=client|info", "user=default", "db=0"]
    {
        assert!(info.contains(field), "no {field} in {info}");
    }
    client.check("CLIENT SETNAME ", "-ERR wrong number of arguments for 'client|setname' command\r\n");
    client.send(crate::client::request(&["CLIENT", "SETNAME", ""]));
    client.expect("+OK\r\n");
    client.check("CLIENT GETNAME", "$-1\r\n");
    client.check_error("CLIENT WHAT", "ERR unknown subcommand 'WHAT'. Try CLIENT HELP.");
    assert!(client.call(&["CLIENT", "HELP"]).elements().len() > 4);
}

fn client_list(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    let ids: Vec<i64> = clients.iter_mut().map(|client| client.call(&["CLIENT", "ID"]).integer()).collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 8);
    let client = &mut clients[0];
    let list = client.call(&["CLIENT", "LIST"]).text();
    assert_eq!(list.lines().count(), 8, "{list}");
    for (line, id) in list.lines().zip(distinct) {
        assert!(line.starts_with(&format!("id={id} addr=127.0.0.1:")), "oldest first: {line}");
        assert!(line.contains(&format!("laddr=127.0.0.1:{}", server.port())), "{line}");
    }
    let (a, b) = (ids[3].to_string(), ids[5].to_string());
    let some = client.call(&["CLIENT", "LIST", "ID", &a, &b, "999999"]).text();
    assert_eq!(some.lines().count(), 2, "{some}");
    assert_eq!(client.call(&["CLIENT", "LIST", "TYPE", "normal"]).text().lines().count(), 8);
    assert_eq!(client.call(&["CLIENT", "LIST", "TYPE", "pubsub"]).text(), "");
    client.check_error("CLIENT LIST TYPE what", "ERR Unknown client type 'what'");
    client.check_error("CLIENT LIST ID x", "ERR Invalid client ID");
    client.check("CLIENT LIST WHAT", "-ERR syntax error\r\n");
    clients.truncate(1);
    wait_until("the others to be gone", || clients[0].call(&["CLIENT", "LIST"]).text().lines().count() == 1);
}

fn reset(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.resp3_client();
    client.check("CLIENT SETNAME me", "+OK\r\n");
    client.check("RESET", "+RESET\r\n");
    client.check("GET none", "$-1\r\n");
    client.check("CLIENT GETNAME", "$-1\r\n");
}

fn quit_answers_what_came_before(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.send("SET k v\r\nGET k\r\nQUIT\r\nSET k after\r\nPING\r\n");
    client.expect("+OK\r\n$1\r\nv\r\n+OK\r\n");
    client.expect_closed();
    server.client().check("GET k", "$1\r\nv\r\n");
}

fn unknown_commands(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("NOPE", "-ERR unknown command 'NOPE', with args beginning with: \r\n");
    client.check("nope a b", "-ERR unknown command 'nope', with args beginning with: 'a' 'b' \r\n");
    client.check(
        "LPUSH list a",
        "-ERR unknown command 'LPUSH', with args beginning with: 'list' 'a' (kv-cache serves strings only: no lists)\r\n",
    );
    client.check_error(
        "BGSAVE",
        "ERR unknown command 'BGSAVE', with args beginning with: (kv-cache keeps nothing on disk)",
    );
    client.check_error("REPLICAOF NO ONE", "ERR unknown command 'REPLICAOF', with args beginning with: 'NO' 'ONE' (");
    client.check("CLUSTER NODES", "-ERR This instance has cluster support disabled\r\n");
    client.check_error("CLIENT MAINT_NOTIFICATIONS ON", "ERR ");
    client.check("PING", "+PONG\r\n");
}

/// The first requests of the clients in the field, pipelined as they do it.
fn what_clients_send_on_connect(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let lines = [
        "HELLO 3",
        "SELECT 0",
        "CLIENT SETNAME app",
        "CLIENT SETINFO LIB-NAME ioredis",
        "CLIENT SETINFO LIB-VER 6",
        "INFO",
        "CONFIG GET timeout",
        "CONFIG GET databases",
        "COMMAND",
        "ECHO done",
    ];
    let requests: Vec<u8> =
        lines.iter().flat_map(|line| crate::client::request(&line.split(' ').collect::<Vec<_>>())).collect();
    client.send(requests);
    let replies: Vec<Value> = lines.iter().map(|_| client.value()).collect();
    for (line, reply) in lines.iter().zip(&replies) {
        assert!(!matches!(reply, Value::Error(_)), "{line}: {reply:?}");
    }
    assert!(replies[5].text().contains("\r\nloading:0\r\n"));
    assert_eq!(replies[9], Value::bulk("done"));
}
