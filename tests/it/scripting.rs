//! EVAL, EVALSHA and SCRIPT: what scripts may touch, and that they are one step.

use std::thread;

use crate::client::{Client, request};
use crate::harness::{Engine, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(
    scripts_are_run_loaded_and_forgotten,
    errors_name_the_script_and_the_line,
    errors_are_counted_once,
    keys_are_declared,
    keys_that_are_not_declared,
    what_scripts_may_not_call,
    every_command_from_a_script,
    first_lines_declare_flags,
    both_protocols,
    a_script_has_its_own_database,
    scripts_in_transactions,
    scripts_are_one_step,
    large_values_in_scripts,
    memory_is_bounded,
    scripts_are_counted_and_bounded,
);

/// EVAL with keys and arguments.
pub fn eval(client: &mut Client, source: &str, keys: &[&str], arguments: &[&str]) -> Value {
    client.call(&words("EVAL", source, keys, arguments))
}

pub fn words(command: &str, script: &str, keys: &[&str], arguments: &[&str]) -> Vec<String> {
    let head = [command.to_owned(), script.to_owned(), keys.len().to_string()];
    head.into_iter().chain(keys.iter().chain(arguments).map(|word| word.to_string())).collect()
}

pub fn load(client: &mut Client, source: &str) -> String {
    client.call(&["SCRIPT", "LOAD", source]).text()
}

pub fn evalsha(client: &mut Client, sha: &str, keys: &[&str], arguments: &[&str]) -> Value {
    client.call(&words("EVALSHA", sha, keys, arguments))
}

#[track_caller]
pub fn expect_error(value: Value, beginning: &str) {
    match value {
        Value::Error(text) if text.starts_with(beginning) => {}
        other => panic!("{other:?} instead of the error {beginning:?}"),
    }
}

const ONE: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

fn scripts_are_run_loaded_and_forgotten(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let (mut here, mut there) = (server.client(), server.client());
    assert_eq!(eval(&mut client, "return {KEYS[1], KEYS[2], ARGV[1]}", &["a", "b"], &["c"]).elements().len(), 3);
    client.check(&format!("EVALSHA {ONE} 0"), "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    client.check("EVALSHA short 0", "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    // What cannot be a name is said before all else.
    client.check("EVALSHA short x", "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    client.check_error(&format!("EVALSHA {ONE} x"), "ERR value is not an integer");
    assert_eq!(load(&mut client, "return 1"), ONE);
    // Known on every core, in either case.
    for client in [&mut here, &mut there] {
        client.check(&format!("EVALSHA {ONE} 0"), ":1\r\n");
        client.check(&format!("EVALSHA_RO {} 0", ONE.to_uppercase()), ":1\r\n");
    }
    client.check(&format!("SCRIPT EXISTS {ONE} {} x", ONE.replace('e', "f")), "*3\r\n:1\r\n:0\r\n:0\r\n");
    for flush in ["SCRIPT FLUSH", "SCRIPT FLUSH ASYNC", "script flush sync"] {
        client.check(flush, "+OK\r\n");
        for client in [&mut here, &mut there] {
            client.check_error(&format!("EVALSHA {ONE} 0"), "NOSCRIPT ");
        }
        assert_eq!(eval(&mut client, "return 1", &[], &[]), Value::Integer(1));
        client.check(&format!("EVALSHA {ONE} 0"), ":1\r\n");
    }
    client.check("SCRIPT FLUSH LATER", "-ERR SCRIPT FLUSH only support SYNC|ASYNC option\r\n");
    client.check("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.\r\n");
    client.check_error("SCRIPT NOSUCH", "ERR unknown subcommand 'NOSUCH'. Try SCRIPT HELP.");
    client.check_error("SCRIPT LOAD", "ERR wrong number of arguments for 'script|load' command");
    client.check("FUNCTION FLUSH", "+OK\r\n");
    client.check("FUNCTION FLUSH SYNC", "+OK\r\n");
    client.check_error("FUNCTION FLUSH now", "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    client.check_error("FUNCTION FLUSH SYNC now", "ERR unknown subcommand or wrong number of arguments for 'FLUSH'");
    client.check_error("EVAL x 2 a", "ERR Number of keys can't be greater than number of args");
    client.check_error("EVAL x -1 a", "ERR Number of keys can't be negative");
    client.check_error("EVAL x y", "ERR value is not an integer or out of range");
    client.check("COMMAND GETKEYS EVAL x 2 a b c", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
}

fn errors_name_the_script_and_the_line(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k text", "+OK\r\n");
    let mut reply = |source| eval(&mut client, source, &["k"], &[]).text();
    let sha = "6f5ade10a69975e903c6d07b10ea44c6382381a5";
    assert_eq!(
        reply("return redis.call('incr',KEYS[1])"),
        format!("ERR value is not an integer or out of range script: {sha}, on @user_script:1.")
    );
    assert!(reply("\n\nerror('boom')").starts_with("ERR user_script:3: boom script: "));
    assert!(
        reply("return x").starts_with("ERR user_script:1: Script attempted to access nonexistent global variable 'x'")
    );
    assert!(reply("x = 1").starts_with("ERR user_script:1: Attempt to modify a readonly table script: "));
    let compiling = "ERR Error compiling script (new function): user_script:1: unexpected symbol near '='";
    assert_eq!(reply("return = 1"), compiling);
    assert!(
        reply("redis.call('incr', KEYS[1], 'x')")
            .starts_with("ERR Wrong number of args calling Redis command from script")
    );
    expect_error(client.call(&["SCRIPT", "LOAD", "return = 1"]), compiling);
    // What `redis.pcall` returns is a value like any other.
    let caught = "local e = redis.pcall('incr', KEYS[1]) return {type(e), e.err}";
    let caught = eval(&mut client, caught, &["k"], &[]);
    assert_eq!(caught.elements()[1].text(), "ERR value is not an integer or out of range");
    expect_error(eval(&mut client, "return redis.pcall('incr', KEYS[1])", &["k"], &[]), "ERR value is not an integer");
}

fn errors_are_counted_once(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for source in [
        "return redis.error_reply('MY own')",
        "return {1, {err = 'MY own'}}",
        "return redis.pcall('GET')",
        "return redis.call('NOSUCH')",
        "return redis.call('INCRBY', KEYS[1], 'x')",
        "redis.pcall('GET') return 1",
    ] {
        eval(&mut client, source, &["k"], &[]);
    }
    assert_eq!(client.info("errorstat_MY"), "count=2");
    assert_eq!(client.info("errorstat_ERR"), "count=4");
    assert_eq!(client.info_number("total_error_replies"), 6);
    assert!(client.info("cmdstat_eval").ends_with(",rejected_calls=0,failed_calls=5"));
    assert!(client.info("cmdstat_get").ends_with(",rejected_calls=2,failed_calls=0"));
    assert!(client.info("cmdstat_incrby").ends_with(",rejected_calls=0,failed_calls=1"));
}

fn keys_are_declared(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    let undeclared = "return redis.call('mget', KEYS[1], 'other')";
    expect_error(
        eval(&mut client, undeclared, &["k"], &[]),
        "ERR Script uses the key 'other' without declaring it; pass it in KEYS",
    );
    // A script reads what it was given, on whatever shards that lies.
    let keys: Vec<String> = (0..20).map(|n| format!("key:{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let source = "for i, key in ipairs(KEYS) do redis.call('set', key, i) end return redis.call('mget', unpack(KEYS))";
    assert_eq!(eval(&mut client, source, &keys, &[]).elements().len(), 20);
    // Commands on the keyspace as a whole are locked for by their name in the source.
    assert_eq!(eval(&mut client, "return redis.call('dbsize')", &[], &[]), Value::Integer(20));
    assert_eq!(eval(&mut client, "return #redis.call(\"KEYS\", '*')", &[], &[]), Value::Integer(20));
    let delete_all = "for _, key in ipairs(redis.call('keys', ARGV[1])) do redis.call('del', key) end";
    eval(&mut client, delete_all, &[], &["key:1*"]);
    client.check("DBSIZE", ":9\r\n");
    expect_error(
        eval(&mut client, "return redis.call('DB' .. 'SIZE')", &[], &[]),
        "ERR Script calls dbsize by a name that is put together; write 'dbsize'",
    );
    assert_eq!(eval(&mut client, "return redis.call('flushall')", &[], &[]), Value::Simple("OK".into()));
    client.check("DBSIZE", ":0\r\n");
}

/// All shards are locked for a script that says so, or for every one that says nothing when the option says so.
fn keys_that_are_not_declared(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    let source = "for i = 1, 20 do redis.call('set', 'key:' .. i, i) end return redis.call('mget', 'key:1', 'key:20')";
    let refused = eval(&mut client, source, &[], &[]);
    expect_error(refused.clone(), "ERR Script uses the key 'key:1' without declaring it; pass it in KEYS");
    for remedy in ["'#!lua flags=allow-cross-slot-keys'", "CONFIG SET script-undeclared-keys lock-all"] {
        assert!(format!("{refused:?}").contains(remedy), "{refused:?}");
    }
    let values = |value: Value| value.elements().iter().map(|value| value.clone().text()).collect::<Vec<_>>();
    let declared = format!("#!lua flags=allow-cross-slot-keys\n{source}");
    assert_eq!(values(eval(&mut client, &declared, &[], &[])), ["1", "20"]);
    let reading = "#!lua flags=no-writes,allow-cross-slot-keys\nreturn redis.call('get', 'key:' .. ARGV[1])";
    assert_eq!(eval(&mut client, reading, &[], &["7"]).text(), "7");
    assert_eq!(client.call(&["EVAL_RO", reading, "0", "8"]).text(), "8");
    client.check("CONFIG GET script-undeclared-keys", "*2\r\n$22\r\nscript-undeclared-keys\r\n$6\r\nrefuse\r\n");
    client.check("CONFIG SET script-undeclared-keys lock-all", "+OK\r\n");
    assert_eq!(values(eval(&mut client, source, &[], &[])), ["1", "20"]);
    assert_eq!(eval(&mut client, "return redis.call('DB' .. 'SIZE')", &[], &[]), Value::Integer(20));
    // One that says what it does is taken at its word.
    expect_error(eval(&mut client, &format!("#!lua\n{source}"), &[], &[]), "ERR Script uses the key 'key:1'");
    client.check_error("CONFIG SET script-undeclared-keys perhaps", "ERR CONFIG SET failed");
    client.check("CONFIG SET script-undeclared-keys refuse", "+OK\r\n");
    expect_error(eval(&mut client, source, &[], &[]), "ERR Script uses the key 'key:1'");
}

fn what_scripts_may_not_call(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let refused = "ERR This Redis command is not allowed from script";
    for call in [
        "'eval', 'return 1', '0'",
        "'script', 'flush'",
        "'multi'",
        "'exec'",
        "'watch', 'k'",
        "'auth', 'x'",
        "'hello'",
        "'quit'",
        "'reset'",
        "'client', 'id'",
        "'config', 'get', '*'",
        "'monitor'",
        "'shutdown'",
    ] {
        expect_error(eval(&mut client, &format!("return redis.call({call})"), &["k"], &[]), refused);
    }
    expect_error(
        eval(&mut client, "return redis.call('nosuch')", &[], &[]),
        "ERR Unknown Redis command called from script",
    );
    expect_error(
        eval(&mut client, "return redis.call('hget', KEYS[1], 'f')", &["k"], &[]),
        "ERR Unknown Redis command called from script (kv-cache serves strings only: no hashes)",
    );
    let writes = client.call(&["EVAL_RO", "return redis.call('set', KEYS[1], 'x')", "1", "k"]);
    expect_error(writes, "ERR Write commands are not allowed from read-only scripts.");
    assert_eq!(client.call(&["EVAL_RO", "return redis.call('get', KEYS[1])", "1", "k"]), Value::Null);
    for gone in ["io", "require", "dofile", "loadfile", "debug", "print"] {
        expect_error(eval(&mut client, &format!("return {gone}"), &[], &[]), "ERR user_script:1: Script attempted");
    }
    client.check("PING", "+PONG\r\n");
}

/// Whatever a script calls, and however it spells it, the server goes on.
fn every_command_from_a_script(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    let mut names: Vec<Vec<String>> = Vec::new();
    for name in client.call(&["COMMAND", "LIST"]).elements() {
        names.push(name.text().split('|').map(str::to_owned).collect());
    }
    for row in client.call(&["COMMAND", "INFO"]).elements() {
        let subcommands = row.elements().get(9).map_or(&[][..], |subcommands| subcommands.elements());
        names.extend(subcommands.iter().map(|sub| sub.elements()[0].text().split('|').map(str::to_owned).collect()));
    }
    let call = load(&mut client, "return redis.pcall(unpack(ARGV))");
    for name in &names {
        for more in [&[][..], &["k"], &["k", "1"], &["1", "k", "k"], &["k", "1", "1"], &["k", "x", "EX", "5"]] {
            let words: Vec<&str> = name.iter().map(String::as_str).chain(more.iter().copied()).collect();
            evalsha(&mut client, &call, &["k"], &words);
        }
    }
    client.check("PING", "+PONG\r\n");
}

fn first_lines_declare_flags(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let mut reply = |source: &str| eval(&mut client, source, &["k"], &[]);
    assert_eq!(
        reply("#!lua flags=allow-oom,allow-stale,no-cluster,allow-cross-slot-keys\nreturn 1"),
        Value::Integer(1)
    );
    expect_error(
        reply("#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 'x')"),
        "ERR Write commands are not allowed from read-only scripts.",
    );
    expect_error(reply("#!lua\nreturn zz"), "ERR user_script:2: Script attempted");
    expect_error(reply("#!lua flags=bogus\nreturn 1"), "ERR Unexpected flag in script shebang: bogus");
    expect_error(reply("#!lua name=x\nreturn 1"), "ERR Unknown lua shebang option: name=x");
    expect_error(reply("#!js\nreturn 1"), "ERR Unexpected engine in script shebang: #!js");
    expect_error(reply("#!lua"), "ERR Invalid script shebang");
    expect_error(
        client.call(&["EVAL_RO", "#!lua\nreturn 1", "0"]),
        "ERR Can not execute a script with write flag using *_ro command.",
    );
}

fn both_protocols(engine: Engine) {
    let server = Server::start(engine);
    let (mut two, mut three) = (server.client(), server.resp3_client());
    let mut check = |source: &str, resp2: &str, resp3: &str| {
        for (client, expect) in [(&mut two, resp2), (&mut three, resp3)] {
            client.send(request(&words("EVAL", source, &["k"], &[])));
            assert_eq!(String::from_utf8_lossy(&client.raw_reply()), expect, "{source}");
        }
    };
    check("return redis.call('get', KEYS[1])", "$-1\r\n", "_\r\n");
    check("redis.setresp(3) return redis.call('get', KEYS[1])", "$-1\r\n", "_\r\n");
    check("redis.setresp(3) return redis.call('get', KEYS[1]) == nil and 1 or 0", ":1\r\n", ":1\r\n");
    check("return redis.call('get', KEYS[1]) == false", ":1\r\n", ":1\r\n");
    check("return {double = 3.5}", "$3\r\n3.5\r\n", ",3.5\r\n");
    check("return {map = {a = 1}}", "*2\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:1\r\n");
    check(
        "return {1, 2.9, 'x', {ok = 'fine'}, false}",
        "*5\r\n:1\r\n:2\r\n$1\r\nx\r\n+fine\r\n$-1\r\n",
        "*5\r\n:1\r\n:2\r\n$1\r\nx\r\n+fine\r\n_\r\n",
    );
    check("return {err = 'MY words\\r\\n+OK'}", "-MY words  +OK\r\n", "-MY words  +OK\r\n");
    check("return redis.call('set', KEYS[1], 'v')", "+OK\r\n", "+OK\r\n");
}

fn a_script_has_its_own_database(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let source = "redis.call('set', KEYS[1], 'here') redis.call('select', 5) redis.call('set', KEYS[1], 'there') \
                  return redis.call('get', KEYS[1])";
    assert_eq!(eval(&mut client, source, &["k"], &[]).text(), "there");
    client.check("GET k", "$4\r\nhere\r\n");
    client.check("SELECT 5", "+OK\r\n");
    assert_eq!(eval(&mut client, "return redis.call('get', KEYS[1])", &["k"], &[]).text(), "there");
}

fn scripts_in_transactions(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    client.check("MULTI", "+OK\r\n");
    client.check("SET a 1", "+QUEUED\r\n");
    for _ in 0..2 {
        client.send(request(&words("EVAL", "return redis.call('incrby', KEYS[1], ARGV[1])", &["a"], &["5"])));
        client.expect("+QUEUED\r\n");
    }
    client.send(request(&words("EVAL", "return redis.call('dbsize')", &[], &[])));
    client.expect("+QUEUED\r\n");
    client.check("EXEC", "*4\r\n+OK\r\n:6\r\n:11\r\n:1\r\n");
    // What a script writes is seen by those who watch.
    let mut other = server.client();
    client.check("WATCH a", "+OK\r\n");
    eval(&mut other, "redis.call('incr', KEYS[1])", &["a"], &[]);
    client.check("MULTI", "+OK\r\n");
    client.check("GET a", "+QUEUED\r\n");
    client.check("EXEC", "*-1\r\n");
}

fn scripts_are_one_step(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let transfer = "redis.call('decrby', KEYS[1], 3) local sum = 0 for i = 1, 200 do sum = sum + i end \
                    redis.call('incrby', KEYS[2], 3)";
    thread::scope(|scope| {
        for writer in 0..3 {
            let mut client = server.client();
            scope.spawn(move || {
                for turn in 0..200 {
                    let (from, to) = if (turn + writer) % 2 == 0 { ("one", "two") } else { ("two", "one") };
                    assert_eq!(eval(&mut client, transfer, &[from, to], &[]), Value::Null);
                }
            });
        }
        let mut reader = server.client();
        scope.spawn(move || {
            for _ in 0..200 {
                let sums = reader.call(&["MGET", "one", "two"]);
                let sum: i64 = sums
                    .elements()
                    .iter()
                    .map(|value| match value {
                        Value::Null => 0,
                        value => value.text().parse().unwrap(),
                    })
                    .sum();
                assert_eq!(sum, 0);
            }
        });
    });
}

fn large_values_in_scripts(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let value = "v".repeat(1 << 20);
    let source = "redis.call('set', KEYS[1], ARGV[1] .. 'x') return redis.call('get', KEYS[1])";
    assert_eq!(eval(&mut client, source, &["k"], &[&value]).text().len(), value.len() + 1);
    client.check("STRLEN k", ":1048577\r\n");
    let copies = "local t = {} for i = 1, 4 do t[i] = redis.call('get', KEYS[1]) end return t";
    assert_eq!(eval(&mut client, copies, &["k"], &[]).elements().len(), 4);
}

fn memory_is_bounded(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=64mb"]);
    let mut client = server.client();
    for source in [
        "return string.rep('x', 1000000000)",
        "local t = {} for i = 1, 1e9 do t[i] = {i} end",
        "local s = 'x' while true do s = s .. s end",
    ] {
        expect_error(eval(&mut client, source, &["k"], &[]), "OOM the script needs more than");
        assert_eq!(eval(&mut client, "return redis.call('set', KEYS[1], 'v')", &["k"], &[]).text(), "OK");
    }
    assert!(server.resident_bytes() < 128 << 20);
}

fn scripts_are_counted_and_bounded(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=256mb"]);
    let mut client = server.client();
    load(&mut client, "return 'kept'");
    for n in 0..600 {
        assert_eq!(eval(&mut client, &format!("return {n}"), &[], &[]), Value::Integer(n));
    }
    assert_eq!(server.info_number("number_of_cached_scripts"), 501);
    assert_eq!(server.info_number("evicted_scripts"), 100);
    assert!(server.info_number("used_memory_scripts") > 0);
    assert!(server.info_number("used_memory_lua") > 0);
    let large = format!("return 1 --{}", "x".repeat(3 << 20));
    for n in 0..5 {
        let _ = client.call(&["SCRIPT", "LOAD", &format!("{large}{n}")]);
    }
    expect_error(client.call(&["SCRIPT", "LOAD", &format!("{large}!")]), "OOM the scripts that are kept have");
    assert!(server.info_number("used_memory_scripts") < 9 << 20);
    client.check("SCRIPT FLUSH", "+OK\r\n");
    assert_eq!(server.info_number("number_of_cached_scripts"), 0);
}
