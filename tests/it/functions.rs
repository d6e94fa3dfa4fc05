//! FUNCTION and FCALL: libraries that every core knows.

use crate::client::Client;
use crate::harness::{Engine, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(
    a_library_on_every_core,
    what_a_library_must_be,
    what_functions_may_do,
    the_list,
    what_they_hold_is_told,
    they_are_bounded_and_charged,
    a_long_one_is_killed,
    a_library_that_never_ends,
    scripts_by_their_other_names,
);

const COUNTERS: &str = "#!lua name=counters
local function add(keys, args) return redis.call('incrby', keys[1], args[1]) end
redis.register_function('add', add)
redis.register_function{function_name='look', callback=function(keys) return redis.call('get', keys[1]) end,
                        flags={'no-writes'}, description='reads one'}";

fn load(client: &mut Client, source: &str) {
    let name = client.call(&["FUNCTION", "LOAD", "REPLACE", source]);
    assert!(matches!(name, Value::Bulk(_)), "{name:?}");
}

/// Redis's figures: the sources of scripts, those of functions, and the interpreters, apart.
fn what_they_hold_is_told(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let numbers = |client: &mut Client| {
        let stats = client.call(&["MEMORY", "STATS"]);
        let of = ["lua.caches", "functions.caches", "script.VMs"].map(|name| stats.field(name).integer() as u64);
        let told = ["used_memory_scripts_eval", "used_memory_functions", "used_memory_vm_total"];
        assert_eq!(of, told.map(|name| client.info_number(name)));
        assert_eq!(client.info_number("used_memory_scripts"), of[0] + of[1]);
        assert_eq!(client.info_number("used_memory_vm_eval") + client.info_number("used_memory_vm_functions"), of[2]);
        of
    };
    assert_eq!(numbers(&mut client)[..2], [0, 0]);
    let source = format!("{COUNTERS}\n--{}", "x".repeat(100_000));
    load(&mut client, &source);
    let [scripts, functions, interpreters] = numbers(&mut client);
    assert!(scripts == 0 && functions > source.len() as u64 && functions < source.len() as u64 + 2_000, "{functions}");
    assert!(interpreters > 0);
    client.call(&["EVAL", "return 1", "0"]);
    let both = numbers(&mut client);
    assert!(both[0] > 8 && both[1] == functions, "{both:?}");
    client.check("FUNCTION DELETE counters", "+OK\r\n");
    client.check("SCRIPT FLUSH", "+OK\r\n");
    assert_eq!(numbers(&mut client)[..2], [0, 0]);
}

fn a_library_on_every_core(engine: Engine) {
    let server = Server::start(engine);
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    clients[0].send(crate::client::request(&["FUNCTION", "LOAD", COUNTERS]));
    clients[0].expect("$8\r\ncounters\r\n");
    for (client, sum) in clients.iter_mut().zip(1..) {
        client.check("FCALL add 1 n 1", &format!(":{sum}\r\n"));
        client.check("FCALL_RO look 1 n", &format!("$1\r\n{sum}\r\n"));
        client.check("FCALL look 1 n", &format!("$1\r\n{sum}\r\n"));
    }
    let [one, other, ..] = &mut clients[..] else { unreachable!() };
    one.check("FCALL_RO add 1 n 1", "-ERR Can not execute a script with write flag using *_ro command.\r\n");
    one.check("FCALL nosuch 0", "-ERR Function not found\r\n");
    one.check("FCALL add x n 1", "-ERR Bad number of keys provided\r\n");
    one.check("FCALL add 3 n 1", "-ERR Number of keys can't be greater than number of args\r\n");
    one.check("FCALL add -1 n 1", "-ERR Number of keys can't be negative\r\n");
    let error = one.call(&["FUNCTION", "LOAD", COUNTERS]).text();
    assert_eq!(error, "ERR Library 'counters' already exists");
    let error = one.call(&["FUNCTION", "LOAD", &COUNTERS.replace("counters", "more")]).text();
    assert_eq!(error, "ERR Function add already exists");
    // Whoever replaces it replaces it for all, and what fails replaces nothing.
    let doubled = COUNTERS.replace("args[1])", "args[1] * 2)");
    one.check_error("FUNCTION LOAD REPLACE x", "ERR Missing library metadata");
    other.check("FCALL add 1 n 1", ":5\r\n");
    load(one, &doubled);
    one.check("FCALL add 1 n 1", ":7\r\n");
    other.check("FCALL add 1 n 1", ":9\r\n");
    // Within a transaction, and seen by monitors.
    one.check("MULTI", "+OK\r\n");
    one.check("FCALL add 1 n 1", "+QUEUED\r\n");
    one.check("EXEC", "*1\r\n:11\r\n");
    assert_eq!((one.info("number_of_functions"), one.info("number_of_libraries")), ("2".into(), "1".into()));
    other.check("FUNCTION DELETE counters", "+OK\r\n");
    one.check("FCALL add 1 n 1", "-ERR Function not found\r\n");
    one.check("FUNCTION DELETE counters", "-ERR Library not found\r\n");
    load(one, COUNTERS);
    one.check("FUNCTION FLUSH SYNC", "+OK\r\n");
    other.check("FCALL add 1 n 1", "-ERR Function not found\r\n");
    other.check("FUNCTION LIST", "*0\r\n");
    one.check("FUNCTION STATS", "*4\r\n$14\r\nrunning_script\r\n$-1\r\n$7\r\nengines\r\n*2\r\n$3\r\nLUA\r\n*4\r\n$15\r\nlibraries_count\r\n:0\r\n$15\r\nfunctions_count\r\n:0\r\n");
}

fn what_a_library_must_be(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let code = |code: &str| format!("#!lua name=lib\n{code}");
    for (source, reason) in [
        ("return 1".to_owned(), "ERR Missing library metadata"),
        ("#!js name=x\n".to_owned(), "ERR Engine 'js' not found"),
        (code("bad script"), "ERR Error compiling function: "),
        (code("return 1"), "ERR No functions registered"),
        (code("redis.call('ping')"), "ERR Error registering functions: "),
        (code("error('oops')"), "ERR Error registering functions: user_function:2: oops"),
        (code("redis.register_function('f')"), "calling redis.register_function with a single argument"),
        (code("redis.register_function()"), "wrong number of arguments to redis.register_function"),
        (code("redis.register_function('f', 'g')"), "second argument to redis.register_function must be a function"),
        (code("redis.register_function('f g', function() end)"), "Function names can only contain letters"),
        (code("redis.register_function{function_name='f'}"), "must get a callback argument"),
        (code("redis.register_function{callback=function() end}"), "must get a function name argument"),
        (code("redis.register_function{function_name='f', callback=function() end, x=1}"), "unknown argument given"),
        (
            code("redis.register_function{function_name='f', callback=function() end, flags={'x'}}"),
            "unknown flag given",
        ),
        (
            code("for i = 1, 2 do redis.register_function('f', function() end) end"),
            "Function already exists in the library",
        ),
        (code("x = 1"), "Attempt to modify a readonly table"),
        (code("local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end"), "not enough memory"),
    ] {
        let error = client.call(&["FUNCTION", "LOAD", &source]).text();
        assert!(error.starts_with("ERR ") && error.contains(reason), "{source}: {error}");
    }
    client.check("FUNCTION LIST", "*0\r\n");
    client.check_error("FUNCTION LOAD NOREPLACE x", "ERR Unknown option given: NOREPLACE");
    client.check_error("FUNCTION FLUSH LATER", "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    client.check_error(
        "EVAL redis.register_function('f',tostring) 0",
        "ERR redis.register_function can only be called on FUNCTION LOAD",
    );
}

fn what_functions_may_do(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    load(
        &mut client,
        "#!lua name=lib
local calls = 0
local f = redis.register_function
f('args', function(keys, args) return {#keys, #args, keys[1], args[1]} end)
f('globals', function() return KEYS end)
f('other', function(keys, args) return redis.call('get', args[1]) end)
f('write', function(keys) return redis.call('set', keys[1], 'x') end)
f('late', function() redis.register_function('g', function() end) end)
f('fail', function() error('oops') end)
f('status', function() return redis.status_reply('fine') end)
f('nested', function() return redis.call('fcall', 'args', 0) end)
redis.register_function{function_name='ro', callback=function(keys) return redis.call('set', keys[1], 'x') end, flags={'no-writes'}}
redis.register_function{function_name='wide', callback=function(keys, args) return redis.call('get', args[1]) end,
                        flags={'allow-cross-slot-keys'}}",
    );
    // A library that names a command on all keys runs with all of them locked.
    load(&mut client, "#!lua name=all\nredis.register_function('count', function() return redis.call('dbsize') end)");
    client.check("FCALL args 1 k a b", "*4\r\n:1\r\n:2\r\n$1\r\nk\r\n$1\r\na\r\n");
    client.check_error(
        "FCALL globals 0",
        "ERR user_function:5: Script attempted to access nonexistent global variable 'KEYS'",
    );
    client.check("FCALL write 1 k", "+OK\r\n");
    client.check_error("FCALL other 0 k", "ERR Script uses the key 'k' without declaring it");
    client.check("FCALL wide 0 k", "$1\r\nx\r\n");
    client.check_error("FCALL ro 1 k", "ERR Write commands are not allowed from read-only scripts.");
    client.check_error("FCALL late 0", "ERR redis.register_function can only be called on FUNCTION LOAD command");
    let error = client.call(&["FCALL", "fail", "0"]).text();
    assert_eq!(error, "ERR user_function:9: oops script: fail, on @user_function:9.");
    client.check("FCALL status 0", "+fine\r\n");
    client.check_error("FCALL nested 0", "ERR This Redis command is not allowed from script");
    client.check("FCALL count 0", ":1\r\n");
    // A script finds its own globals again.
    client.check("EVAL return{KEYS[1],ARGV[1]} 1 k a", "*2\r\n$1\r\nk\r\n$1\r\na\r\n");
    client.check("ACL SETUSER u on nopass +fcall ~k", "+OK\r\n");
    let mut user = server.client();
    user.check("AUTH u x", "+OK\r\n");
    user.check("FCALL args 1 k", "*3\r\n:1\r\n:0\r\n$1\r\nk\r\n");
    user.check("FCALL args 1 other", "-NOPERM No permissions to access a key\r\n");
    user.check_error(
        "FCALL write 1 k",
        "NOPERM ACL failure in script: User u has no permissions to run the 'set' command",
    );
    user.check_error("FUNCTION LIST", "NOPERM");
}

fn the_list(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.resp3_client();
    load(&mut client, COUNTERS);
    load(&mut client, "#!lua name=other\nredis.register_function('f', function() end)");
    let all = client.call(&["FUNCTION", "LIST"]);
    let names: Vec<_> = all.elements().iter().map(|library| library.field("library_name").text()).collect();
    assert_eq!(names, ["counters", "other"]);
    let found = client.call(&["FUNCTION", "LIST", "WITHCODE", "LIBRARYNAME", "count*"]);
    let [library] = found.elements() else { panic!("{found:?}") };
    assert_eq!((library.field("engine").text(), library.field("library_code").text()), ("LUA".into(), COUNTERS.into()));
    let functions = library.field("functions");
    let [add, look] = functions.elements() else { panic!("{functions:?}") };
    assert_eq!((add.field("name").text(), add.field("description")), ("add".into(), Value::Null));
    assert_eq!(
        (look.field("description").text(), look.field("flags")),
        ("reads one".into(), Value::Set(vec![Value::Simple("no-writes".into())]))
    );
    client.check_error("FUNCTION LIST NOSUCH", "ERR Unknown argument NOSUCH");
    client.check_error("FUNCTION LIST LIBRARYNAME", "ERR library name argument was not given");
}

fn they_are_bounded_and_charged(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=64mb"]);
    let mut client = server.client();
    let source = |number| {
        format!("#!lua name=l{number}\nredis.register_function('f{number}', function() end) --{}", "x".repeat(500_000))
    };
    let before = client.info_number("used_memory");
    let refused = (0..10).find_map(|number| match client.call(&["FUNCTION", "LOAD", &source(number)]) {
        Value::Error(text) => Some((number, text)),
        _ => None,
    });
    let (number, text) = refused.expect("there is a bound");
    assert!(number >= 2 && text.starts_with("OOM the scripts and functions"), "{text}");
    assert!(client.info_number("used_memory") > before + 900_000);
    client.check("FCALL f0 0", "$-1\r\n");
    client.check("FUNCTION FLUSH", "+OK\r\n");
    server.wait_for_info("used_memory", |used| used < before + 600_000);
    client.call(&["FUNCTION", "LOAD", &source(0)]);
    client.check("FCALL f0 0", "$-1\r\n");
}

fn a_long_one_is_killed(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut other) = (server.client(), server.client());
    load(&mut client, "#!lua name=lib\nredis.register_function('forever', function() while true do end end)");
    other.check("FUNCTION KILL", "-NOTBUSY No scripts in execution right now.\r\n");
    client.send(crate::client::request(&["FCALL", "forever", "0"]));
    crate::harness::wait_until("the function runs", || {
        matches!(other.call(&["FUNCTION", "STATS"]).field("running_script"), Value::Array(_))
    });
    let running = other.call(&["FUNCTION", "STATS"]).field("running_script");
    assert_eq!(running.field("name").text(), "forever");
    crate::harness::wait_until("it may be killed", || other.call(&["FUNCTION", "KILL"]) == Value::Simple("OK".into()));
    let error = client.value().text();
    assert!(error.starts_with("ERR Script killed by user"), "{error}");
    client.send(crate::client::request(&["FCALL", "forever", "0"]));
    crate::harness::wait_until("it may be killed", || other.call(&["FUNCTION", "KILL"]) == Value::Simple("OK".into()));
    drop(client.value());
}

fn a_library_that_never_ends(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut other) = (server.client(), server.client());
    client.send(crate::client::request(&["FUNCTION", "LOAD", "#!lua name=lib\nwhile true do end"]));
    crate::harness::wait_until("it may be killed", || other.call(&["FUNCTION", "KILL"]) == Value::Simple("OK".into()));
    let error = client.value().text();
    assert!(error.starts_with("ERR Script killed by user"), "{error}");
    load(&mut client, COUNTERS);
    client.check("FCALL add 1 n 1", ":1\r\n");
}

fn scripts_by_their_other_names(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let script = "return {server.call('incr', KEYS[1]), server.REDIS_VERSION_NUM == redis.SERVER_VERSION_NUM}";
    assert_eq!(client.call(&["EVAL", script, "1", "n"]), Value::Array(vec![Value::Integer(1), Value::Integer(1)]));
    client.check("EVAL return(server.pcall('incr',KEYS[1])) 1 n", ":2\r\n");
    client.check("EVAL return(redis.REDIS_VERSION) 0", "$5\r\n7.4.1\r\n");
    let sha = client.call(&["SCRIPT", "LOAD", script]).text();
    assert_eq!(client.call(&["SCRIPT", "SHOW", &sha]), Value::bulk(script));
    client.check(
        "SCRIPT SHOW ffffffffffffffffffffffffffffffffffffffff",
        "-NOSCRIPT No matching script. Please use EVAL.\r\n",
    );
    client.check_error("EVAL server.x=1 0", "ERR user_script:1: Attempt to modify a readonly table");
}
