//! What the server tells about itself: COMMAND, CONFIG, INFO, TIME.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::{Client, request};
use crate::harness::{Engine, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(
    command_info,
    command_docs,
    command_list,
    config_get,
    config_set,
    config_set_is_all_or_nothing,
    slow_log,
    slow_log_keeps_secrets,
    slow_log_of_a_transaction,
    command_getkeys,
    latency_events,
    latency_histogram,
    access_control,
    command_logs,
    what_is_not_there,
    debug_is_off,
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
        let set = client.call(&["COMMAND", "DOCS", "SET"]).field("set").field("arguments");
        let [key, value, condition, ..] = set.elements() else { panic!("{set:?}") };
        assert_eq!((key.field("name").text(), key.field("type").text()), ("key".into(), "key".into()));
        assert_eq!(value.field("type").text(), "string");
        assert_eq!(condition.field("type").text(), "oneof");
        assert_eq!(condition.field("flags").elements(), [Value::Simple("optional".into())]);
        assert_eq!(condition.field("arguments").elements()[0].field("token").text(), "NX");
        let config = client.call(&["COMMAND", "DOCS", "CONFIG"]).field("config").field("subcommands");
        assert!(config.pairs().iter().any(|(name, _)| name.text() == "config|get"));
    }
}

fn command_list(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let names = |value: Value| value.elements().iter().map(Value::text).collect::<Vec<_>>();
    let all = names(client.call(&["COMMAND", "LIST"]));
    let count = client.call(&["COMMAND", "COUNT"]).integer() as usize;
    assert_eq!(all.iter().filter(|name| !name.contains('|')).count(), count);
    assert!(all.contains(&"client|list".to_owned()));
    let pexpire = names(client.call(&["COMMAND", "LIST", "FILTERBY", "PATTERN", "pexpire*"]));
    assert_eq!(pexpire, ["pexpire", "pexpireat", "pexpiretime"]);
    let admin = names(client.call(&["COMMAND", "LIST", "FILTERBY", "ACLCAT", "admin"]));
    assert!(admin.contains(&"config|get".to_owned()) && !admin.contains(&"get".to_owned()));
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
    assert_eq!(found.pairs().len(), 4, "each once: {found:?}");
    assert_eq!(found.field("maxmemory").text(), (512u64 << 20).to_string());
    assert_eq!(found.field("maxmemory-policy").text(), "allkeys-s3fifo");
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
        ("hot-cache", "off", "off"),
        ("hot-cache", "2097152", "2mb"),
        ("lfu-log-factor", "0", "0"),
        ("lfu-decay-time", "2147483647", "2147483647"),
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
        ("lfu-log-factor", "-1"),
        ("lfu-decay-time", "2147483648"),
        ("maxclients", "0"),
        ("maxclients", "99999999"),
        ("port", "1"),
        ("bind", "0.0.0.0"),
    ] {
        let expect = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - ");
        client.check_error(&format!("CONFIG SET {name} {value}"), &expect);
    }
    // What is so already may be asked for.
    client.check("CONFIG SET appendonly no timeout 100", "+OK\r\n");
    assert_eq!(client.call(&["CONFIG", "SET", "save", ""]).text(), "OK");
    client.check_error("CONFIG SET none 1", "ERR Unknown option or number of arguments for CONFIG SET - 'none'");
    client.check("CONFIG SET timeout 1 databases", "-ERR syntax error\r\n");
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

fn slow_log(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 4", "+OK\r\n");
    client.check("SLOWLOG RESET", "+OK\r\n");
    client.check("CLIENT SETNAME app", "+OK\r\n");
    let long = "x".repeat(200);
    client.call(&["SET", "k", &long]);
    let many: Vec<String> = std::iter::once("EXISTS".to_owned()).chain((0..50).map(|n| n.to_string())).collect();
    client.call(&many);
    client.check("SLOWLOG LEN", ":4\r\n");
    client.check("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
    let entries = client.call(&["SLOWLOG", "GET", "-1"]);
    let entries = entries.elements();
    assert_eq!(entries.len(), 4);
    let args = |entry: &Value| entry.elements()[3].elements().iter().map(Value::text).collect::<Vec<_>>();
    assert_eq!(args(&entries[0]), ["SLOWLOG", "LEN"]);
    assert_eq!((args(&entries[1]).len(), args(&entries[1])[31].as_str()), (32, "... (20 more arguments)"));
    assert_eq!(args(&entries[2])[2], format!("{}... (72 more bytes)", "x".repeat(128)));
    assert_eq!(args(&entries[3]), ["CLIENT", "SETNAME", "app"]);
    let entry = entries[3].elements();
    assert_eq!(entry.len(), 6);
    assert_eq!(entry[0].integer() + 3, entries[0].elements()[0].integer());
    assert_eq!(entry[4].text(), client.stream().local_addr().unwrap().to_string());
    assert_eq!(entry[5].text(), "app");
    client.check("SLOWLOG LEN", ":4\r\n");
    assert_eq!(client.call(&["SLOWLOG", "GET", "2"]).elements().len(), 2);
    client.check("SLOWLOG RESET", "+OK\r\n");
    client.check("SLOWLOG GET", "*0\r\n");
    client.check("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1\r\n");
    assert_eq!(client.call(&["CONFIG", "GET", "slowlog-max-len"]).field("slowlog-max-len").text(), "4");
}

/// A password is in no log.
/// What is slow in a transaction is noted, and the quick commands beside it are not charged for it.
fn slow_log_of_a_transaction(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.call(&["SET", "a", &"a".repeat(5_000)]);
    client.call(&["SET", "b", &"b".repeat(5_000)]);
    client.check("CONFIG SET slowlog-log-slower-than 5000", "+OK\r\n");
    client.check("SLOWLOG RESET", "+OK\r\n");
    client.check("MULTI", "+OK\r\n");
    for command in ["SET k v", "LCS a b LEN", "SET k w"] {
        client.check(command, "+QUEUED\r\n");
    }
    client.check("EXEC", "*3\r\n+OK\r\n:0\r\n+OK\r\n");
    let entries = client.call(&["SLOWLOG", "GET"]);
    let names: Vec<_> = entries.elements().iter().map(|entry| entry.elements()[3].elements()[0].text()).collect();
    assert_eq!(names, ["LCS"]);
}

fn slow_log_keeps_secrets(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n");
    client.check("CONFIG SET requirepass hush", "+OK\r\n");
    client.check("AUTH default hush", "+OK\r\n");
    client.call(&["HELLO", "3", "AUTH", "default", "hush"]);
    // The command's row knows where, not a search for a word that may be anything else.
    client.call(&["HELLO", "2", "SETNAME", "auth", "AUTH", "default", "hush"]);
    client.call(&["CONFIG", "SET", "requirepass", "hush", "requirepass", "hush"]);
    client.call(&["CONFIG", "SET", "maxclients", "requirepass", "requirepass", "hush"]);
    client.call(&["CONFIG", "SET", "timeout", "1", "requirepass", "hush"]);
    client.call(&["ACL", "SETUSER", "default", ">hush"]);
    client.call(&["ACL", "DRYRUN", "default", "AUTH", "hush"]);
    client.call(&["ACL", "DRYRUN", "default", "HELLO", "3", "AUTH", "default", "hush"]);
    let entries = client.call(&["SLOWLOG", "GET", "100"]);
    let words: Vec<String> =
        entries.elements().iter().flat_map(|entry| entry.elements()[3].elements()).map(Value::text).collect();
    assert!(words.contains(&"HELLO".to_owned()) && words.contains(&"DRYRUN".to_owned()), "{words:?}");
    assert!(!words.iter().any(|word| word.contains("hush")), "{words:?}");
    assert_eq!(words.iter().filter(|word| *word == "maxclients").count(), 1, "{words:?}");
}

/// A slow command is noted under its event, in LATENCY and in the slow log.
fn latency_events(engine: Engine) {
    let server = Server::with(engine, &["--enable-debug-command=local"]);
    let mut client = server.client();
    client.check("LATENCY LATEST", "*0\r\n");
    client.check("DEBUG SLEEP 0.003", "+OK\r\n");
    client.check("LATENCY LATEST", "*0\r\n");
    assert!(client.call(&["LATENCY", "DOCTOR"]).text().contains("latency-monitor-threshold"));
    client.check("CONFIG SET latency-monitor-threshold 2", "+OK\r\n");
    // Between quick commands in a pipeline, it is the slow one that is noted.
    client.send("GET k\r\nDEBUG SLEEP 0.02\r\nGET k\r\n");
    client.expect("$-1\r\n+OK\r\n$-1\r\n");
    let latest = client.call(&["LATENCY", "LATEST"]);
    let event = latest.elements().iter().find(|event| event.elements()[0].text() == "command").expect("an event");
    assert!(event.elements()[2].integer() >= 20 && event.elements()[3].integer() >= 20, "{event:?}");
    let history = client.call(&["LATENCY", "HISTORY", "command"]);
    assert_eq!(history.elements()[0].elements().len(), 2);
    let graph = client.call(&["LATENCY", "GRAPH", "command"]).text();
    assert!(graph.starts_with("command - high ") && graph.contains('#'), "{graph}");
    assert!(client.call(&["LATENCY", "DOCTOR"]).text().contains("command: slow in 1 of"));
    let entries = client.call(&["SLOWLOG", "GET"]);
    let entry = entries.elements()[0].elements();
    assert_eq!(entry[3].elements()[0].text(), "DEBUG");
    assert!(entry[2].integer() >= 20_000);
    assert!(client.call(&["LATENCY", "RESET", "command", "nothing"]).integer() == 1);
    client.check("LATENCY GRAPH command", "-ERR No samples available for event 'command'\r\n");
}

fn latency_histogram(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.resp3_client();
    for _ in 0..10 {
        client.check("SET k v", "+OK\r\n");
    }
    client.call(&["CLIENT", "ID"]);
    let all = client.call(&["LATENCY", "HISTOGRAM", "set", "client", "nope", "get"]);
    let names: Vec<_> = all.pairs().iter().map(|(name, _)| name.text()).collect();
    assert_eq!(names, ["set", "client|id"]);
    let set = all.field("set");
    assert_eq!(set.field("calls"), Value::Integer(10));
    let Value::Map(buckets) = set.field("histogram_usec") else { panic!("{set:?}") };
    assert_eq!(buckets.last().unwrap().1, Value::Integer(10));
    client.check("CONFIG SET latency-tracking no", "+OK\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("LATENCY HISTOGRAM set", "%0\r\n");
    assert!(!client.call(&["INFO", "latencystats"]).text().contains("latency_percentiles"));
    client.check("CONFIG SET latency-tracking yes", "+OK\r\n");
    client.call(&["CONFIG", "SET", "latency-tracking-info-percentiles", "0.0 50 100"]);
    client.check("SET k v", "+OK\r\n");
    assert!(client.info("latency_percentiles_usec_set").starts_with("p0="));
}

fn command_logs(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut other) = (server.client(), server.client());
    other.check("CLIENT SETNAME other", "+OK\r\n");
    let set =
        |client: &mut Client, name: &str, value: &str| client.check(&format!("CONFIG SET {name} {value}"), "+OK\r\n");
    for log in ["slow", "LARGE-REQUEST", "large-reply"] {
        client.check(&format!("COMMANDLOG LEN {log}"), ":0\r\n");
    }
    set(&mut client, "commandlog-request-larger-than", "1000");
    set(&mut client, "commandlog-reply-larger-than", "2000");
    let value = "v".repeat(3000);
    // Among others in a pipeline, and each by itself.
    let mut pipeline = request(&["SET", "small", "x"]);
    pipeline.extend(request(&["SET", "large", &value]));
    pipeline.extend(request(&["GET", "small"]));
    pipeline.extend(request(&["GET", "large"]));
    pipeline.extend(request(&["MGET", "large", "small"]));
    other.send(pipeline);
    other.expect("+OK\r\n+OK\r\n$1\r\nx\r\n");
    (0..2).for_each(|_| drop(other.value()));
    let told = |client: &mut Client, log: &str| {
        let entries = client.call(&["COMMANDLOG", "GET", "-1", log]);
        let words =
            |entry: &Value| entry.elements()[3].elements().iter().map(Value::text).collect::<Vec<_>>().join(" ");
        let tell = |entry: &Value| (entry.elements()[2].integer(), words(entry), entry.elements()[5].text());
        entries.elements().iter().map(tell).collect::<Vec<_>>()
    };
    let cut = format!("SET large {}... (2872 more bytes)", "v".repeat(128));
    assert_eq!(told(&mut client, "large-request"), [(3008, cut, "other".to_owned())]);
    let reply = |bytes, words: &str| (bytes, words.to_owned(), "other".to_owned());
    assert_eq!(told(&mut client, "large-reply"), [reply(3020, "MGET large small"), reply(3009, "GET large")]);
    assert_eq!(client.call(&["COMMANDLOG", "GET", "1", "large-reply"]).elements().len(), 1);
    // A value that arrives in pieces, and one that is sent from where it lies.
    set(&mut client, "commandlog-request-larger-than", "1048576");
    set(&mut client, "commandlog-reply-larger-than", "1048576");
    let huge = "h".repeat(2 << 20);
    other.call(&["SET", "huge", &huge]);
    other.call(&["GET", "huge"]);
    assert_eq!(told(&mut client, "large-request")[0].0, (2 << 20) + 7);
    assert_eq!(told(&mut client, "large-reply")[0].1, "GET huge");
    // Longer excerpts, fewer arguments.
    set(&mut client, "slowlog-entry-max-argc", "2");
    set(&mut client, "slowlog-entry-max-string-len", "5");
    other.call(&["SET", "huger", &huge]);
    assert_eq!(told(&mut client, "large-request")[0].1, "SET ... (2 more arguments)");
    // Passwords are not shown, however long they are.
    set(&mut client, "commandlog-request-larger-than", "0");
    set(&mut client, "commandlog-execution-slower-than", "0");
    set(&mut client, "slowlog-entry-max-argc", "32");
    set(&mut client, "slowlog-entry-max-string-len", "1000");
    other.check_error("AUTH hush-hush", "ERR AUTH");
    other.check_error("HELLO 3 AUTH nobody hush-hush", "WRONGPASS");
    client.check(
        "CONFIG SET requirepass hush-hush requirepass hush-hush",
        "-ERR CONFIG SET failed (possibly related to argument 'requirepass') - duplicate parameter\r\n",
    );
    for log in ["slow", "large-request", "large-reply"] {
        let shown = format!("{:?}", client.call(&["COMMANDLOG", "GET", "-1", log]));
        assert!(!shown.contains("hush"), "{shown}");
    }
    assert_eq!(client.call(&["CONFIG", "GET", "slowlog-log-slower-than"]).pairs()[0].1.text(), "0");
    set(&mut client, "commandlog-request-larger-than", "-1");
    client.check("COMMANDLOG RESET large-request", "+OK\r\n");
    other.call(&["SET", "huge", &huge]);
    client.check("COMMANDLOG LEN large-request", ":0\r\n");
    client.check(
        "COMMANDLOG LEN nosuch",
        "-ERR type should be one of the following: slow, large-request, large-reply\r\n",
    );
    client.check_error("COMMANDLOG GET -2 slow", "ERR count should be greater than or equal to -1");
    client.check_error("COMMANDLOG GET", "ERR wrong number of arguments for 'commandlog|get' command");
    client.check_error("CONFIG SET slowlog-entry-max-argc 1", "ERR CONFIG SET failed");
}

fn access_control(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("ACL WHOAMI", "$7\r\ndefault\r\n");
    client.check("ACL USERS", "*1\r\n$7\r\ndefault\r\n");
    assert_eq!(
        client.call(&["ACL", "LIST"]).elements()[0].text(),
        "user default on nopass sanitize-payload ~* &* +@all"
    );
    let user = client.call(&["ACL", "GETUSER", "default"]);
    assert_eq!(user.field("commands").text(), "+@all");
    client.check("ACL GETUSER nobody", "$-1\r\n");
    let categories = client.call(&["ACL", "CAT"]);
    assert!(categories.elements().contains(&Value::bulk("string")));
    let strings = client.call(&["ACL", "CAT", "string"]);
    assert!(strings.elements().contains(&Value::bulk("get")) && !strings.elements().contains(&Value::bulk("del")));
    client.check("ACL CAT nope", "-ERR Unknown category 'nope'\r\n");
    client.check("ACL LOG", "*0\r\n");
    client.check("ACL DRYRUN default SET k v", "+OK\r\n");
    client.check("ACL DRYRUN default CONFIG GET x", "+OK\r\n");
    client.check("ACL DRYRUN nobody GET k", "-ERR User 'nobody' not found\r\n");
    client.check("ACL DRYRUN default NOSUCH k", "-ERR Command 'NOSUCH' not found\r\n");
    client.check("ACL DRYRUN default GET", "-ERR wrong number of arguments for 'get' command\r\n");
    for (command, length) in
        [(&["ACL", "GENPASS"][..], 64), (&["ACL", "GENPASS", "5"], 2), (&["ACL", "GENPASS", "4096"], 1024)]
    {
        let password = client.call(command).text();
        assert!(password.len() == length && password.bytes().all(|byte| byte.is_ascii_hexdigit()), "{password}");
    }
    assert_ne!(client.call(&["ACL", "GENPASS"]), client.call(&["ACL", "GENPASS"]));
    for bits in ["0", "-1", "4097"] {
        client.check_error(&format!("ACL GENPASS {bits}"), "ERR ACL GENPASS argument must be the number of bits");
    }
}

fn what_is_not_there(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    client.check("WAIT 1 10", ":0\r\n");
    client.check_error("WAIT 1 -1", "ERR timeout is negative");
    for command in ["CLUSTER INFO", "CLUSTER NODES", "READONLY", "READWRITE"] {
        client.check(command, "-ERR This instance has cluster support disabled\r\n");
    }
    client.check("MODULE LIST", "*0\r\n");
    client.check("CONFIG REWRITE", "-ERR The server is running without a config file\r\n");
    client.check_error("CONFIG SET notify-keyspace-events KEA", "ERR CONFIG SET failed");
    client.check_error(
        "CONFIG SET timeout 1 TIMEOUT 2",
        "ERR CONFIG SET failed (possibly related to argument 'TIMEOUT')",
    );
    assert!(client.call(&["LOLWUT"]).text().contains("Redis ver. 7.4."));
}

fn debug_is_off(engine: Engine) {
    Server::start(engine).client().check_error("DEBUG SLEEP 0", "ERR DEBUG command not allowed.");
    let server = Server::with(engine, &["--enable-debug-command=yes"]);
    let mut client = server.client();
    client.check("DEBUG SET-ACTIVE-EXPIRE 0", "+OK\r\n");
    client.send(request(&["DEBUG", "ERROR", "LOADING nothing\r\nat all"]));
    client.expect("-LOADING nothing  at all\r\n");
    client.check_error("DEBUG SLEEP x", "ERR value is not a valid float");
    client.check_error("DEBUG WHAT x", "ERR unknown subcommand or wrong number of arguments for 'WHAT'");
}

fn command_getkeys(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("COMMAND GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    client.check("COMMAND GETKEYS DEL a b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    client.check("COMMAND GETKEYSANDFLAGS SET a 1", "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n");
    client.check("COMMAND GETKEYSANDFLAGS SET a 1 GET", "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n");
    client.check("COMMAND GETKEYS NOPE a", "-ERR Invalid command specified\r\n");
    client.check("COMMAND GETKEYS PING a", "-ERR The command has no key arguments\r\n");
    client.check("COMMAND GETKEYS MSET a", "-ERR Invalid number of arguments specified for command\r\n");
    client.check("COMMAND GETKEYS GET", "-ERR wrong number of arguments for 'command|getkeys' command\r\n");
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
