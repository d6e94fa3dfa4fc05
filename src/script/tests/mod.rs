//! Scripts against a server made of a closure: conversions, and what a script cannot do.

mod libraries;

use std::cell::Cell;

use super::*;
use crate::message::reply::RespVersion;

/// A server with one string that echoes, counts and answers in every type there is.
#[derive(Default)]
struct Fake {
    seen: Vec<Vec<String>>,
    counted: Vec<String>,
}

impl Host for Fake {
    fn call(&mut self, arguments: Arguments, reply: &mut Reply) {
        let words: Vec<String> = arguments.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        match words[0].as_str() {
            "nil" => reply.null(),
            "int" => reply.integer(-42),
            "ok" => reply.ok(),
            "echo" => reply.bulk(arguments.get(1)),
            "large" => reply.bulk_shared(&vec![b'l'; limits::SHARED_REPLY_MIN_BYTES].into()),
            "array" => {
                reply.array(3);
                reply.bulk(b"a");
                reply.null();
                reply.integer(3);
            }
            "map" => {
                reply.map(1);
                reply.bulk(b"k");
                reply.boolean(true);
            }
            "set" => {
                reply.set(1);
                reply.bulk(b"member");
            }
            "double" => reply.double("3.5"),
            "big" => reply.big_number(b"123456789012345678901234567890"),
            "text" => reply.text("hi"),
            _ => reply.error("WRONG no such command"),
        }
        self.seen.push(words);
    }

    fn allows(&self, arguments: Arguments) -> Option<bool> {
        (arguments.get(0) == b"echo").then_some(true)
    }

    fn replied_error(&mut self, text: &str, is_counted: bool) {
        if !is_counted {
            self.counted.push(text.to_owned());
        }
    }
}

pub struct Bench {
    pub interpreter: Interpreter,
    fake: Fake,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(16 << 20, Box::new(|| Ok(())))
    }

    pub fn with(memory: usize, pulse: Pulse) -> Bench {
        let mut interpreter = Interpreter::new(pulse).unwrap();
        interpreter.memory_limit_bytes = memory;
        Bench { interpreter, fake: Fake::default() }
    }

    fn reply_in(&mut self, version: RespVersion, source: &str, keys: &[&str], arguments: &[&str]) -> String {
        let compiled = match self.interpreter.compile(source.as_bytes()) {
            Ok(compiled) => compiled,
            Err(text) => return format!("compile: {text}"),
        };
        let mut reply = Reply::default();
        reply.version = version;
        self.interpreter.run(
            &compiled,
            "sha",
            keys.iter().map(|key| key.as_bytes()),
            arguments.iter().map(|argument| argument.as_bytes()),
            &mut self.fake,
            &mut reply,
        );
        let mut parts = VecDeque::new();
        reply.take(&mut parts);
        String::from_utf8_lossy(&parts.iter().flatten().copied().collect::<Vec<_>>()).replace("\r\n", "|")
    }

    pub fn reply(&mut self, source: &str) -> String {
        self.reply_in(RespVersion::Resp2, source, &[], &[])
    }

    /// The script's boolean.
    fn holds(&mut self, source: &str) {
        assert_eq!(self.reply(source), ":1|", "{source}");
    }
}

#[test]
fn errors_are_counted_once() {
    for (source, counted) in [
        ("return redis.call('nope')", vec![]),
        ("return redis.pcall('nope')", vec![]),
        ("return {1, redis.pcall('nope'), redis.error_reply('MY own')}", vec!["MY own"]),
        ("local _, caught = xpcall(function() redis.call('nope') end, function(e) return e end) error(caught)", vec![]),
        ("error(redis.pcall('nope'))", vec![]),
        ("error({err = 'MY own'})", vec!["MY own script: sha, on @user_script:1."]),
        ("redis.pcall('nope') return 1", vec![]),
        (
            "redis.call()",
            vec!["ERR Please specify at least one argument for this redis lib call script: sha, on @user_script:1."],
        ),
    ] {
        let mut bench = Bench::new();
        bench.reply(source);
        assert_eq!(bench.fake.counted, counted, "{source}");
    }
}

#[test]
fn values_become_replies() {
    let mut bench = Bench::new();
    for (source, expect) in [
        ("return 'x'", "$1|x|"),
        ("return 3.99", ":3|"),
        ("return -3.99", ":-3|"),
        ("return 1/0", ":-9223372036854775808|"),
        ("return true", ":1|"),
        ("return false", "$-1|"),
        ("return nil", "$-1|"),
        ("return", "$-1|"),
        ("return 1, 2", ":1|"),
        ("return {1, 'b', false, {2}}", "*4|:1|$1|b|$-1|*1|:2|"),
        ("return {1, nil, 3}", "*1|:1|"),
        ("return {a = 1}", "*0|"),
        ("return {ok = 'fine\\r\\nx'}", "+fine  x|"),
        ("return {err = 'ERR no\\r\\nx'}", "-ERR no  x|"),
        ("return redis.error_reply('boom')", "-ERR boom|"),
        ("return redis.error_reply('MY boom')", "-MY boom|"),
        ("return redis.error_reply('-MY boom')", "-MY boom|"),
        ("return redis.error_reply()", "-ERR wrong number or type of arguments|"),
        ("return redis.status_reply('fine')", "+fine|"),
        ("return {double = 3.5}", "$3|3.5|"),
        ("return {big_number = '12\\r3'}", "$4|12 3|"),
        ("return {verbatim_string = {format = 'txt', string = 'hi'}}", "$2|hi|"),
        ("return {map = {a = 1}}", "*2|$1|a|:1|"),
        ("return {set = {a = true}}", "*1|$1|a|"),
        ("return function() end", "$-1|"),
        ("return _G", "*0|"),
    ] {
        assert_eq!(bench.reply(source), expect, "{source}");
    }
    for (source, expect) in [
        ("return {double = 3.5}", ",3.5|"),
        ("return {big_number = '12\\r3'}", "(12 3|"),
        ("return {verbatim_string = {format = 'txt', string = 'hi'}}", "=6|txt:hi|"),
        ("return {map = {a = 1}}", "%1|$1|a|:1|"),
        ("return {set = {a = true}}", "~1|$1|a|"),
        ("return nil", "_|"),
        ("return {true, false}", "*2|:1|_|"),
        ("redis.setresp(3) return {true, false}", "*2|#t|#f|"),
        ("return true", ":1|"),
    ] {
        assert_eq!(bench.reply_in(RespVersion::Resp3, source, &[], &[]), expect, "{source}");
    }
}

#[test]
fn replies_become_values() {
    let mut bench = Bench::new();
    bench.holds("return redis.call('nil') == false");
    bench.holds("return redis.call('int') == -42");
    bench.holds("return redis.call('ok').ok == 'OK'");
    bench.holds("return redis.call('echo', 'a\\0b') == 'a\\0b'");
    bench.holds("return #redis.call('large') == 16384");
    bench.holds("local a = redis.call('array') return #a == 3 and a[1] == 'a' and a[2] == false and a[3] == 3");
    bench.holds("local e = redis.pcall('nope') return e.err == 'WRONG no such command'");
    bench.holds("local ok, e = pcall(redis.call, 'nope') return not ok and e == 'WRONG no such command'");
    bench.holds("redis.setresp(3) return redis.call('nil') == nil");
    bench.holds("redis.setresp(3) return redis.call('map').map.k == true");
    bench.holds("redis.setresp(3) return redis.call('set').set.member == true");
    bench.holds("redis.setresp(3) return redis.call('double').double == 3.5");
    bench.holds("redis.setresp(3) return redis.call('big').big_number == '123456789012345678901234567890'");
    bench.holds(
        "redis.setresp(3) local v = redis.call('text').verbatim_string return v.format == 'txt' and v.string == 'hi'",
    );
    // The next script starts with RESP2 again.
    bench.holds("return redis.call('double') == '3.5'");
}

#[test]
fn numbers_become_arguments() {
    let mut bench = Bench::new();
    bench.reply("redis.call('echo', 3, 3.5, 1e15, 9007199254740991, 0.1, 1e100, -0, 'x')");
    let seen = &bench.fake.seen[0][1..];
    assert_eq!(seen, ["3", "3.5", "1000000000000000", "9007199254740991", "0.1", "1e+100", "0", "x"]);
}

#[test]
fn errors_are_worded_as_redis_words_them() {
    let mut bench = Bench::new();
    for (source, expect) in [
        ("return redis.call('nope')", "-WRONG no such command script: sha, on @user_script:1.|"),
        ("\nlocal x = redis.call('nope')", "-WRONG no such command script: sha, on @user_script:2.|"),
        (
            "return redis.call()",
            "-ERR Please specify at least one argument for this redis lib call script: sha, on @user_script:1.|",
        ),
        (
            "return redis.call({})",
            "-ERR Lua redis lib command arguments must be strings or integers script: sha, on @user_script:1.|",
        ),
        (
            "return x",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'x' script: sha, on @user_script:1.|",
        ),
        ("x = 1", "-ERR user_script:1: Attempt to modify a readonly table script: sha, on @user_script:1.|"),
        ("error('boom')", "-ERR user_script:1: boom script: sha, on @user_script:1.|"),
        ("error({err = 'MY boom'})", "-MY boom script: sha, on @user_script:1.|"),
        ("error()", "-ERR nil script: sha, on @user_script:1.|"),
        (
            "local t = {} t.x.y = 1",
            "-ERR user_script:1: attempt to index field 'x' (a nil value) script: sha, on @user_script:1.|",
        ),
        (
            "return cjson.decode('nope')",
            "-ERR user_script:1: Expected value but found invalid token at character 1 script: sha, on @user_script:1.|",
        ),
        ("redis.setresp(4)", "-ERR RESP version must be 2 or 3. script: sha, on @user_script:1.|"),
        ("redis.log('x', 'y')", "-ERR First argument must be a number (log level). script: sha, on @user_script:1.|"),
        (
            "local ok, e = pcall(cjson.decode, 'nope') return e",
            "$53|Expected value but found invalid token at character 1|",
        ),
        (
            "local ok, e = pcall(redis.call, 'nope') error(e)",
            "-ERR user_script:1: WRONG no such command script: sha, on @user_script:1.|",
        ),
        ("local = 1", "compile: user_script:1: '<name>' expected near '='"),
        (
            "return coroutine.yield()",
            "-ERR attempt to yield across metamethod/C-call boundary script: sha, on @user_script:1.|",
        ),
        (
            "table.insert(nil, 1)",
            "-ERR user_script:1: bad argument #1 to 'insert' (table expected, got nil) script: sha, on @user_script:1.|",
        ),
        (
            "return loadstring('return zz')()",
            "-ERR [string \"return zz\"]:1: Script attempted to access nonexistent global variable 'zz' script: sha, on return zz:1.|",
        ),
    ] {
        assert_eq!(bench.reply(source), expect, "{source}");
    }
    bench.holds("local ok, e = xpcall(function() redis.call('nope') end, function(e) return e.err end) return e == 'WRONG no such command'");
    bench.holds("local c = coroutine.create(function() redis.call('nope') end) local ok, e = coroutine.resume(c) return type(e) == 'table'");
}

#[test]
fn a_script_leaves_nothing_behind() {
    let mut bench = Bench::new();
    for source in [
        "rawset(_G, 'x', 1)",
        "redis.call = nil",
        "redis[1] = 1",
        "rawset(redis, 'x', 1)",
        "table.insert(redis, 1)",
        "table.insert(string, 1)",
        "string.len = nil",
        "setmetatable(_G, {})",
        "setmetatable(redis, {})",
        "getmetatable(_G).__index = nil",
        "getmetatable('').__index = nil",
        "cjson.encode = nil",
        "os.clock = nil",
        "_G = {}",
        "KEYS = {}",
        "for name, value in pairs(redis) do rawset(redis, name, nil) end",
    ] {
        let reply = bench.reply(source);
        assert!(reply.contains("Attempt to modify a readonly table"), "{source}: {reply}");
    }
    // What sets itself back.
    bench.reply("cjson.encode_max_depth(1) cjson.encode_invalid_numbers(true) KEYS[1] = 'x' math.randomseed(1)");
    bench.reply("collectgarbage('stop')");
    bench.reply("local f, s = pairs(redis) s.x = 1");
    bench.holds("return cjson.encode({{{}}}) == '[[{}]]' and #KEYS == 0 and rawget(redis, 'x') == nil");
    bench.holds("return ('x'):rep(3) == 'xxx'");
}

#[test]
fn nothing_outside_is_reached() {
    let mut bench = Bench::new();
    for name in
        ["io", "package", "require", "dofile", "loadfile", "debug", "print", "module", "newproxy", "setfenv", "getfenv"]
    {
        let reply = bench.reply(&format!("return {name}"));
        assert!(reply.contains(&format!("nonexistent global variable '{name}'")), "{name}: {reply}");
    }
    bench.holds("local names = {} for name in pairs(os) do names[#names + 1] = name end return #names == 1 and names[1] == 'clock'");
    assert!(bench.reply("os.execute()").contains("attempt to call field 'execute'"));
    // Bytecode.
    bench.holds("return loadstring(string.dump(function() end)) == nil");
    bench.holds("local s = string.dump(function() end) local n = 0 return load(function() n = n + 1 if n <= #s then return s:sub(n, n) end end) == nil");
    assert!(bench.reply("\x1bLua").starts_with("compile: "));
    // Code as text is welcome.
    bench.holds("return loadstring('return 1')() == 1 and load(function() return nil end) ~= nil");
}

#[test]
fn memory_is_bounded_and_the_server_survives() {
    let mut bench = Bench::new();
    for source in [
        "return string.rep('x', 100000000)",
        "local t = {} for i = 1, 100000000 do t[i] = {i} end",
        "local s = 'x' while true do s = s .. s end",
        "return cjson.decode('[' .. string.rep('[],', 3000000) .. '0]')",
    ] {
        let mut bench = Bench::new();
        let reply = bench.reply(source);
        assert!(reply.starts_with("-OOM the script needs more than the 16777216 bytes"), "{source}: {reply}");
        assert!(bench.interpreter.is_poisoned());
    }
    // Written out, these would never end.
    let twice = "local t = {} for i = 1, 60 do t = {t, t} end ";
    assert!(Bench::new().reply(&format!("{twice} return cjson.encode(t)")).starts_with("-OOM"));
    assert!(bench.reply(&format!("{twice} return t")).contains("OOM the script's reply is larger"));
    let wide = "local t = {} for i = 1, 15 do local u = {} for j = 1, 100 do u[j] = t end t = u end ";
    assert!(Bench::new().reply(&format!("{wide} return cmsgpack.pack(t)")).starts_with("-OOM"));
    // Deep in C.
    assert!(bench.reply("return string.find(('a'):rep(100000), ('a?'):rep(100000))").contains("pattern too complex"));
    assert!(bench.reply("local function f() return f() + 1 end return f()").contains("stack overflow"));
    assert!(bench.reply("local t = {} t[1] = t return t").contains("ERR reached lua stack limit"));
    assert!(bench.reply("local t = {} t[1] = t return cjson.encode(t)").contains("excessive nesting (1001)"));
    assert!(bench.reply("return cjson.decode(('['):rep(5000))").contains("too many nested data structures (1001)"));
    assert!(bench.reply("return cmsgpack.unpack(('\\145'):rep(5000))").contains("Bad data format"));
    for range in ["1, 10000000", "0, 2147483647", "-2147483648, 2147483647", "-2147483648, 0", "1, 8001", "2^53, 2^60"]
    {
        let reply = bench.reply(&format!("return {{unpack({{1, 2, 3}}, {range})}}"));
        assert!(reply.contains("too many results to unpack") || range == "2^53, 2^60", "{range}: {reply}");
    }
    // The same text in many places.
    let many = "local s = ('x'):rep(1000000) local t = {} for i = 1, 5000 do t[i] = s end ";
    for use_of_it in
        ["return t", "return cjson.encode(t)", "return cmsgpack.pack(t)", "return redis.call('echo', unpack(t))"]
    {
        let reply = Bench::new().reply(&format!("{many} {use_of_it}"));
        assert!(reply.starts_with("-OOM"), "{use_of_it}: {reply}");
    }
}

/// 200 calls within each other in C, and then what goes deep itself.
#[test]
fn native_recursion_fits_the_stack_of_a_core() {
    let deepest = "local t = {} local deep = t for i = 1, 998 do t[1] = {} t = t[1] end local json = cjson.encode(deep)
        local calls = 0
        local function f(s)
            calls = calls + 1
            if calls < 194 then return (DOWN) end
            return LEAF
        end
        return #tostring(f('x'))";
    let leaves = [
        "cjson.encode(deep)",
        "tostring(cjson.decode(json))",
        "tostring(cmsgpack.unpack(('\\145'):rep(999) .. '\\1'))",
        "tostring(('a'):rep(3000):find(('a?'):rep(2900)))",
        "tostring(('a'):rep(3000):find(('(a?)'):rep(30) .. ('a-'):rep(2900)))",
        "tostring(loadstring(('('):rep(150) .. '1'))",
        "tostring(pcall(table.sort, {3, 2, 1, 5, 4, 7, 6}, function() return true end))",
        "cjson.encode(redis.call('array'))",
    ];
    let ways = [
        "s:gsub('.', f)",
        "select(2, pcall(f, s))",
        "coroutine.wrap(function() return f(s) end)()",
        "select(2, xpcall(function() return f(s) end, tostring))",
        "tostring(table.foreachi({1}, function() return f(s) end))",
        "setmetatable({}, {__index = function() return f(s) end}).x",
        "setmetatable({}, {__concat = function() return f(s) end}) .. ''",
    ];
    let run = move || {
        for leaf in leaves {
            for way in ways {
                let source = deepest.replace("DOWN", way).replace("LEAF", leaf);
                let reply = Bench::new().reply(&source);
                assert!(reply.starts_with(':') || reply.contains("stack overflow"), "{source}: {reply}");
            }
        }
        let forever = "local function f(s) return (s:gsub('.', f)) end return f('x')";
        assert!(Bench::new().reply(forever).contains("stack overflow"));
    };
    let thread = std::thread::Builder::new().stack_size(limits::CORE_STACK_BYTES);
    thread.spawn(run).unwrap().join().unwrap();
}

#[test]
fn replies_may_be_long() {
    let mut bench = Bench::new();
    for (table, element, bytes) in [("t[i] = 'x'", "$1|x|", 5), ("t[i] = {}", "*0|", 3), ("t[i] = i % 2 == 0", "", 0)] {
        let reply = bench.reply(&format!("local t = {{}} for i = 1, 100000 do {table} end return t"));
        assert!(reply.starts_with("*100000|") && reply.contains(element), "{table}");
        assert!(bytes == 0 || reply.len() == "*100000|".len() + 100_000 * bytes, "{table}");
    }
    let map = "local t = {} for i = 1, 20000 do t['k' .. i] = 'x' end return {map = t}";
    assert!(bench.reply(map).starts_with("*40000|"));
}

#[test]
fn a_stopped_script_ends_whatever_it_catches() {
    // Late enough for the preparations.
    let stop = || -> Pulse {
        let looks = Cell::new(0);
        Box::new(move || {
            looks.set(looks.get() + 1);
            if looks.get() < 200 { Ok(()) } else { Err("ERR Error running script: stopped".into()) }
        })
    };
    for source in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(redis.call, 'ok') end",
        "local function f() pcall(f) while true do end end f()",
        "local c = coroutine.wrap(function() while true do pcall(function() while true do end end) end end) while true do pcall(c) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        // In functions of the libraries, where no instruction of Lua is run.
        "local s, p = ('a'):rep(3000), ('a-'):rep(2040) .. 'b' while true do pcall(string.find, s, p) end",
        "local s = ('a'):rep(30000) .. 'b' while true do pcall(string.match, s, ('a*'):rep(20) .. 'c') end",
        "local s, p = ('a'):rep(1000000), ('a'):rep(500000) .. 'b' while true do pcall(string.find, s, p, 1, true) end",
        "local s = ('('):rep(1000000) while true do pcall(string.find, s, '%b()') end",
        "local s = ('a'):rep(1000000) while true do pcall(string.gsub, s, 'a*b', '') end",
        "while true do pcall(string.rep, '', 2147483647) end",
        "while true do pcall(table.insert, {}, -2147483648, 1) end",
        "local t = {} for i = 1, 100000 do t[i] = i end while true do pcall(table.remove, t, 1) end",
        "local t = {} for i = 1, 100000 do t[i] = '' end while true do pcall(table.concat, t) end",
        "local t = {} for i = 1, 100000 do t[i] = i % 7 end while true do pcall(table.sort, t) end",
        "local t = {} for i = 1, 100000 do t[i] = i end while true do pcall(table.foreach, t, type) pcall(table.maxn, t) end",
        "local t = {} for i = 1, 15 do t = {t, t, t, t} end while true do pcall(cmsgpack.pack, t) end",
        "local t = {} for i = 1, 15 do t = {t, t, t, t} end while true do pcall(cjson.encode, t) end",
        "local s = '[' .. ('[],'):rep(20000) .. '1]' while true do pcall(cjson.decode, s) end",
        r"local s = ('\145'):rep(900) .. '\1' while true do pcall(cmsgpack.unpack, s) end",
        "while true do pcall(collectgarbage) end",
        "local s = 'return ' .. ('1 + '):rep(100000) .. '1' while true do pcall(loadstring, s) end",
        "local s = ('1'):rep(1000000) while true do pcall(tonumber, s, 16) end",
        "local s = ('x'):rep(1000000) while true do pcall(struct.size, s) end",
        "while true do redis.pcall('ok') end",
        // Coroutines that make others, none of which runs for long.
        "local function f(n) if n > 150 then return end for i = 1, 20 do pcall(coroutine.wrap(f), n + 1) end end while true do f(1) end",
        "local function f() pcall(f) while true do pcall(coroutine.wrap(f)) end end f()",
    ] {
        let mut bench = Bench::with(16 << 20, stop());
        let reply = bench.reply(source);
        assert!(reply.starts_with("-ERR Error running script: stopped script: sha"), "{source}: {reply}");
        assert!(bench.interpreter.is_poisoned());
    }
}

#[test]
fn random_numbers_repeat_only_when_seeded() {
    let mut bench = Bench::new();
    let draw = "return tostring(math.random())";
    assert_ne!(bench.reply(draw), bench.reply(draw));
    let seeded =
        "math.randomseed(10) return tostring(math.random()) .. ' ' .. math.random(100) .. ' ' .. math.random(5, 10)";
    let first = bench.reply(seeded);
    assert_eq!(first, bench.reply(seeded));
    // The numbers of a real Redis for this seed.
    assert_eq!(first, "$21|0.87885112309775 80 7|");
}
