//! What the server tells about itself: COMMAND, CONFIG, INFO, TIME.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::{Engine, Server, on_both_engines};
use crate::wire::Value;

on_both_engines!(
    command_info,
    command_docs,
    command_list,
    config_get,
    config_set,
    config_set_is_all_or_nothing,
    info_sections,
    info_counts,
    time,
);

fn command_info(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let all = client.call(&["COMMAND"]);
    assert_eq!(all.elements().len() as i64, client.call(&["COMMAND", "COUNT"]).integer());
    assert_eq!(client.call(&["COMMAND", "INFO"]), all);
    let reply = client.call(&["COMMAND", "INFO", "get", "nope", "MSET", "client|setname"]);
    let [get, nope, mset, setname] = reply.elements() else { panic!("{reply:?}") };
    assert_eq!(*nope, Value::Null);
    let get = get.elements();
    assert_eq!(get.len(), 10);
    assert_eq!(get[0], Value::bulk("get"));
    assert_eq!(get[1..6].iter().skip(2).map(Value::integer).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(get[1], Value::Integer(2));
    assert_eq!(get[2], Value::Array(vec![Value::Simple("readonly".into()), Value::Simple("fast".into())]));
    let mset = mset.elements();
    assert_eq!(mset[3..6].iter().map(Value::integer).collect::<Vec<_>>(), [1, -1, 2]);
    assert_eq!(setname.elements()[0], Value::bulk("client|setname"));
    let resp3 = server.resp3_client().call(&["COMMAND", "INFO", "get"]);
    assert!(matches!(resp3.elements()[0].elements()[2], Value::Set(_)), "flags are a set in RESP3");
    client.check_error("COMMAND WHAT", "ERR unknown subcommand 'WHAT'. Try COMMAND HELP.");
}

fn command_docs(engine: Engine) {
    let server = Server::start(engine);
    for mut client in [server.client(), server.resp3_client()] {
        let all = client.call(&["COMMAND", "DOCS"]);
        assert_eq!(all.pairs().len() as i64, client.call(&["COMMAND", "COUNT"]).integer());
        let get = client.call(&["COMMAND", "DOCS", "GET", "nope"]);
        assert_eq!(get.pairs().len(), 1);
        let get = get.field("get");
        assert_eq!(get.field("group").text(), "string");
        assert_eq!(get.field("since").text(), "1.0.0");
        assert!(get.field("summary").text().starts_with("Returns"));
        let config = client.call(&["COMMAND", "DOCS", "CONFIG"]).field("config").field("subcommands");
        assert!(config.pairs().iter().any(|(name, _)| name.text() == "config|get"));
    }
}

fn command_list(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let count = client.call(&["COMMAND", "COUNT"]).integer() as usize;
    assert_eq!(client.call(&["COMMAND", "LIST"]).elements().len(), count);
    let names = |value: Value| value.elements().iter().map(Value::text).collect::<Vec<_>>();
    let pexpire = names(client.call(&["COMMAND", "LIST", "FILTERBY", "PATTERN", "pexpire*"]));
    assert_eq!(pexpire, ["pexpire", "pexpireat", "pexpiretime"]);
    let admin = names(client.call(&["COMMAND", "LIST", "FILTERBY", "ACLCAT", "admin"]));
    assert!(admin.contains(&"config".to_owned()) && !admin.contains(&"get".to_owned()));
    client.check("COMMAND LIST FILTERBY MODULE x", "*0\r\n");
    client.check("COMMAND LIST FILTERBY WHAT x", "-ERR syntax error\r\n");
}

fn config_get(engine: Engine) {
    let server = Server::with(engine, &["--timeout=7", "--maxclients=123"]);
    let mut client = server.client();
    client.check("CONFIG GET timeout", "*2\r\n$7\r\ntimeout\r\n$1\r\n7\r\n");
    client.check("CONFIG GET none", "*0\r\n");
    client.check("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
    let found = client.call(&["CONFIG", "GET", "MAXMEMORY*", "maxclients", "maxmemory"]);
    assert_eq!(found.pairs().len(), 3, "each once: {found:?}");
    assert_eq!(found.field("maxmemory").text(), (512u64 << 20).to_string());
    assert_eq!(found.field("maxmemory-policy").text(), "allkeys-lru");
    assert_eq!(found.field("maxclients").text(), "123");
    let all = client.call(&["CONFIG", "GET", "*"]);
    for name in ["port", "bind", "databases", "appendonly", "slave-read-only", "tcp-keepalive", "proto-max-bulk-len"] {
        all.field(name);
    }
    assert_eq!(all.field("port").text(), server.port().to_string());
    assert!(matches!(server.resp3_client().call(&["CONFIG", "GET", "port"]), Value::Map(_)));
    client.check_error("CONFIG GET", "ERR wrong number of arguments for 'config|get' command");
}

fn config_set(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for (name, value, shown) in [
        ("timeout", "100", "100"),
        ("maxmemory", "300mb", "314572800"),
        ("maxmemory-policy", "noeviction", "noeviction"),
        ("maxclients", "50", "50"),
        ("tcp-keepalive", "60", "60"),
        ("proto-max-bulk-len", "2mb", "2097152"),
        ("client-query-buffer-limit", "64mb", "67108864"),
    ] {
        client.check(&format!("CONFIG SET {name} {value}"), "+OK\r\n");
        assert_eq!(client.call(&["CONFIG", "GET", name]).field(name).text(), shown);
    }
    for (name, value) in [
        ("timeout", "-1"),
        ("timeout", "soon"),
        ("maxmemory", "0"),
        ("maxmemory", "lots"),
        ("maxmemory", "900000gb"),
        ("maxmemory-policy", "allkeys-what"),
        ("maxclients", "0"),
        ("maxclients", "99999999"),
        ("port", "1"),
        ("bind", "0.0.0.0"),
    ] {
        let expect = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - ");
        client.check_error(&format!("CONFIG SET {name} {value}"), &expect);
    }
    client.check_error("CONFIG SET none 1", "ERR Unknown option or number of arguments for CONFIG SET - 'none'");
    client.check_error("CONFIG SET timeout", "ERR wrong number of arguments for 'config|set' command");
    client.check_error("CONFIG WHAT", "ERR unknown subcommand 'WHAT'. Try CONFIG HELP.");
    assert_eq!(client.call(&["CONFIG", "GET", "timeout"]).field("timeout").text(), "100");
}

fn config_set_is_all_or_nothing(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("CONFIG SET timeout 10 tcp-keepalive 20", "+OK\r\n");
    client.check_error("CONFIG SET timeout 30 tcp-keepalive 40 maxclients none", "ERR CONFIG SET failed");
    let got = client.call(&["CONFIG", "GET", "timeout", "tcp-keepalive"]);
    assert_eq!((got.field("timeout").text(), got.field("tcp-keepalive").text()), ("10".into(), "20".into()));
}

fn info_sections(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let text = client.call(&["INFO"]).text();
    for line in
        ["# Server", "# Clients", "# Memory", "# Stats", "# Replication", "# Keyspace", "loading:0", "role:master"]
    {
        assert!(text.contains(&format!("{line}\r\n")), "no {line} in {text}");
    }
    assert!(!text.contains("# Commandstats"));
    let server_section = client.call(&["INFO", "server"]).text();
    assert!(server_section.starts_with("# Server\r\nredis_version:7.4."), "{server_section}");
    assert!(!server_section.contains("# Clients"));
    assert!(client.call(&["INFO", "everything"]).text().contains("cmdstat_info:calls="));
    assert_eq!(client.call(&["INFO", "nope"]).text(), "");
    assert!(client.call(&["INFO", "memory", "cpu"]).text().contains("# CPU"));
    assert_eq!(client.info("engine"), engine.name());
    assert_eq!(client.info("process_id"), server.pid().to_string());
    assert_eq!(client.info("tcp_port"), server.port().to_string());
    assert_eq!(client.info("run_id").len(), 40);
    assert!(matches!(server.resp3_client().call(&["INFO"]), Value::Verbatim(_)));
}

fn info_counts(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    client.check("SET t v EX 100", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
    client.check("GET none", "$-1\r\n");
    client.check("MGET k none other", "*3\r\n$1\r\nv\r\n$-1\r\n$-1\r\n");
    client.check_error("NOPE", "ERR unknown command");
    for (field, value) in
        [("keyspace_hits", 2), ("keyspace_misses", 3), ("total_error_replies", 1), ("connected_clients", 1)]
    {
        assert_eq!(client.info_number(field), value, "{field}");
    }
    assert_eq!(client.info("db0"), "keys=2,expires=1,avg_ttl=0");
    assert_eq!(client.info("cmdstat_get"), "calls=2,failed_calls=0");
    assert!(client.info_number("used_memory") > 0 && client.info_number("used_memory_rss") > 0);
    client.check("CONFIG RESETSTAT", "+OK\r\n");
    assert_eq!(client.info_number("keyspace_hits"), 0);
}

fn time(engine: Engine) {
    let server = Server::start(engine);
    let reply = server.client().call(&["TIME"]);
    let [seconds, micros] = reply.elements() else { panic!("{reply:?}") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seconds: u64 = seconds.text().parse().unwrap();
    assert!(seconds <= now && seconds + 60 > now, "{seconds} seen at {now}");
    assert!(micros.text().parse::<u32>().unwrap() < 1_000_000);
}
