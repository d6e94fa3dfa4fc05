//! Hostile scripts on a bare interpreter, fresh and used: the collection, and random programs made of its ingredients.

use std::cell::Cell;
use std::fmt::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::tests::Bench;
use super::*;

#[path = "../../tests/hostile/mod.rs"]
mod collection;

use collection::{ENDLESS, MEMORY, ROOM, STACK, scripts};

const MEMORY_BYTES: usize = 8 << 20;

/// On a thread with the stack of a core.
fn on_a_core(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(limits::CORE_STACK_BYTES);
    thread.spawn(run).unwrap().join().unwrap();
}

/// Ends every script after so many looks.
fn patient(looks: usize) -> (Pulse, Rc<Cell<usize>>) {
    let left = Rc::new(Cell::new(looks));
    let shared = left.clone();
    let pulse = move || {
        shared.set(shared.get().saturating_sub(1));
        if shared.get() > 0 { Ok(()) } else { Err("ERR out of patience".into()) }
    };
    (Box::new(pulse), left)
}

/// One interpreter after the other: a new one when the last is worn, as a core has them.
struct Core {
    bench: Bench,
    left: Rc<Cell<usize>>,
    looks: usize,
}

impl Core {
    fn new(looks: usize) -> Core {
        let (pulse, left) = patient(looks);
        Core { bench: Bench::with(MEMORY_BYTES, pulse), left, looks }
    }

    /// Runs a script, and sees that the next one finds nothing of it.
    fn reply(&mut self, source: &str) -> String {
        // What has ended the process is the last line.
        if std::env::var_os("KV_FUZZ_SHOW").is_some() {
            eprintln!("{source}");
        }
        self.left.set(self.looks);
        let reply = self.bench.reply(source);
        if std::env::var_os("KV_FUZZ_SHOW").is_some() {
            eprintln!("-> {reply:.300}");
        }
        assert!(!reply.is_empty());
        let held = self.bench.interpreter.used_bytes();
        assert!(held < MEMORY_BYTES + (1 << 20), "{held} bytes held after: {source}");
        if self.bench.interpreter.is_poisoned() {
            *self = Core::new(self.looks);
        }
        self.left.set(self.looks);
        let next = self.bench.reply("return {1, redis.call('echo', 'x'), #cjson.encode({1}), string.len('abc')}");
        assert_eq!(next, "*4|:1|$1|x|:3|:3|", "after: {source}");
        reply
    }
}

/// Every script of a kind on a fresh and on a used interpreter; reports all that answer otherwise at once.
fn try_all(kind: &'static str, looks: usize, is_fine: fn(&collection::Hostile, &str) -> bool) {
    on_a_core(move || {
        let mut used = Core::new(looks);
        let mut offences = String::new();
        for hostile in scripts(kind) {
            for reply in [Core::new(looks).reply(hostile.source), used.reply(hostile.source)] {
                if !is_fine(&hostile, &reply) {
                    let _ = writeln!(offences, "{}: {reply:.300}", hostile.name);
                }
            }
        }
        assert!(offences.is_empty(), "{offences}");
    });
}

#[test]
fn memory_is_its_own() {
    try_all(MEMORY, 1_000, |hostile, reply| reply.contains(hostile.expect) || reply.contains("patience"));
}

#[test]
fn stacks_have_ends() {
    try_all(STACK, 1_000, |hostile, reply| reply.contains(hostile.expect));
}

#[test]
fn room_is_bounded() {
    try_all(ROOM, 1_000, |_, reply| reply.starts_with("-OOM") || reply.contains("patience"));
}

#[test]
fn nothing_keeps_a_core() {
    try_all(ENDLESS, 100, |_, reply| reply.starts_with("-ERR out of patience"));
}

/// Random programs. The seed and the seconds come from the environment, so that a failing one can be run again:
/// `KV_FUZZ_SEED=7 KV_FUZZ_PROGRAMS=1 cargo test --lib random_programs`.
#[test]
fn random_programs_leave_the_interpreter_whole() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (first, seconds) = (number("KV_FUZZ_SEED", 1), number("KV_FUZZ_SECONDS", 2));
    let programs = number("KV_FUZZ_PROGRAMS", u64::MAX);
    on_a_core(move || {
        let end = Instant::now() + Duration::from_secs(seconds);
        let (mut seed, mut core, mut counts) = (first, Core::new(50), [0u64; 4]);
        while Instant::now() < end && seed - first < programs {
            if seed % 64 == 0 {
                core = Core::new(50);
            }
            let source = Program::new(seed).write();
            let reply = core.reply(&source);
            let kind = match reply.as_bytes() {
                _ if reply.starts_with("-OOM") => 0,
                _ if reply.starts_with("-ERR out of patience") => 1,
                [b'-', ..] | [b'c', ..] => 2,
                _ => 3,
            };
            counts[kind] += 1;
            seed += 1;
        }
        let [memory, patience, errors, fine] = counts;
        println!(
            "{} programs: {fine} ended, {errors} by an error, {memory} for memory, {patience} ended",
            seed - first
        );
    });
}

/// A program that grows from a seed.
struct Program {
    state: u64,
    text: String,
    depth: usize,
}

const VALUES: [&str; 38] = [
    "nil",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "2",
    "7.5",
    "100",
    "2^31",
    "-2^31",
    "2^31 - 1",
    "2^32",
    "2^53",
    "-2^63",
    "1e308",
    "0/0",
    "1/0",
    "-1/0",
    "''",
    "'a'",
    "'\\0'",
    "'%'",
    "'abc'",
    "('a'):rep(100)",
    "('ab'):rep(5000)",
    "('('):rep(300)",
    "{}",
    "{1, 2, 3}",
    "{n = 1, 'x', {}}",
    "cjson.null",
    "function(...) return ... end",
    "a",
    "b",
    "c",
    "d",
    "KEYS",
    "...",
];

const PATTERNS: [&str; 16] = [
    "'a*'",
    "'(a-)b'",
    "'%b()'",
    "'[^a-z]+'",
    "'%f[%w]%a+'",
    "'(.)%1'",
    "'()'",
    "'^a?'",
    "'.-$'",
    "'[%z]'",
    "('a?'):rep(30)",
    "('(a'):rep(20)",
    "'%'",
    "'['",
    "('a*'):rep(8) .. 'c'",
    "('[ab]'):rep(50)",
];

const FUNCTIONS: [&str; 76] = [
    "string.rep",
    "string.sub",
    "string.byte",
    "string.char",
    "string.find",
    "string.match",
    "string.gsub",
    "string.gmatch",
    "string.format",
    "string.lower",
    "string.upper",
    "string.reverse",
    "string.len",
    "string.dump",
    "table.insert",
    "table.remove",
    "table.concat",
    "table.sort",
    "table.foreach",
    "table.foreachi",
    "table.maxn",
    "table.getn",
    "unpack",
    "select",
    "next",
    "pairs",
    "ipairs",
    "rawget",
    "rawset",
    "rawequal",
    "setmetatable",
    "getmetatable",
    "tostring",
    "tonumber",
    "type",
    "error",
    "assert",
    "pcall",
    "xpcall",
    "loadstring",
    "load",
    "collectgarbage",
    "coroutine.create",
    "coroutine.resume",
    "coroutine.wrap",
    "coroutine.yield",
    "coroutine.status",
    "coroutine.running",
    "cjson.encode",
    "cjson.decode",
    "cjson.encode_sparse_array",
    "cjson.encode_max_depth",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "cmsgpack.unpack_one",
    "cmsgpack.unpack_limit",
    "struct.pack",
    "struct.unpack",
    "struct.size",
    "bit.band",
    "bit.lshift",
    "bit.tohex",
    "bit.rol",
    "math.floor",
    "math.random",
    "math.max",
    "math.fmod",
    "redis.call",
    "redis.pcall",
    "redis.sha1hex",
    "redis.error_reply",
    "redis.status_reply",
    "redis.setresp",
    "redis.log",
    "os.clock",
    "math.randomseed",
];

const OPERATORS: [&str; 13] = ["+", "-", "*", "/", "%", "^", "..", "==", "~=", "<", "<=", "and", "or"];

impl Program {
    fn new(seed: u64) -> Program {
        Program { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, text: String::new(), depth: 0 }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % limit
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn write(mut self) -> String {
        self.push("local a, b, c, d = {}, 1, 'x', tostring\n");
        for _ in 0..3 {
            self.assignment();
        }
        for _ in 0..1 + self.below(10) {
            self.statement();
        }
        self.push("return select(2, pcall(function(...) return ");
        self.expression();
        self.push(" end))");
        self.text
    }

    fn variable(&mut self) -> &'static str {
        self.pick(&["a", "b", "c", "d"])
    }

    fn expression(&mut self) {
        self.depth += 1;
        match if self.depth > 4 { 0 } else { self.below(12) } {
            0..=3 => {
                let value = self.pick(&VALUES);
                self.push(value);
            }
            4..=6 => self.call(),
            7 => {
                self.push("(");
                self.expression();
                let operator = self.pick(&OPERATORS);
                let _ = write!(self.text, " {operator} ");
                self.expression();
                self.push(")");
            }
            8 => {
                self.push("{");
                for _ in 0..self.below(4) {
                    self.expression();
                    self.push(", ");
                }
                self.push("}");
            }
            9 => {
                self.push("(function(...) ");
                self.statement();
                self.push("return ");
                self.expression();
                self.push(" end)");
            }
            10 => {
                let pattern = self.pick(&PATTERNS);
                self.push(pattern);
            }
            _ => {
                let variable = self.variable();
                let _ = write!(self.text, "({variable} or {{}})[");
                self.expression();
                self.push("]");
            }
        }
        self.depth -= 1;
    }

    fn call(&mut self) {
        if self.below(3) > 0 {
            self.push("select(2, pcall(");
            let function = self.pick(&FUNCTIONS);
            self.push(function);
            for _ in 0..self.below(4) {
                self.push(", ");
                self.expression();
            }
            self.push("))");
        } else {
            let function = self.pick(&FUNCTIONS);
            let _ = write!(self.text, "{function}(");
            self.expression();
            for _ in 0..self.below(3) {
                self.push(", ");
                self.expression();
            }
            self.push(")");
        }
    }

    fn statement(&mut self) {
        self.depth += 1;
        match if self.depth > 4 { 0 } else { self.below(14) } {
            0..=4 => self.assignment(),
            5..=7 => self.guarded("pcall(function(...) ", " end)"),
            8 => {
                let times = self.pick(&["3", "20", "300", "1e9"]);
                self.guarded(&format!("for i = 1, {times} do "), " end");
            }
            9 => self.guarded("pcall(coroutine.wrap(function(...) ", " coroutine.yield(a) end))"),
            10 => {
                let variable = self.variable();
                let _ = write!(self.text, "pcall(function(...) {variable}[");
                self.expression();
                self.push("] = ");
                self.expression();
                self.push(" end)");
            }
            11 => {
                let [one, other] = [self.variable(), self.variable()];
                let event =
                    self.pick(&["__index", "__newindex", "__call", "__lt", "__eq", "__concat", "__mode", "__unm"]);
                let _ = write!(self.text, "pcall(setmetatable, {one}, {{{event} = {other}}})");
            }
            12 => self.guarded("if a then ", " else b = c end"),
            _ => {
                let variable = self.variable();
                self.guarded(&format!("{variable} = function(...) "), " end");
                let _ = write!(self.text, "\npcall({variable}, {variable})");
            }
        }
        self.push("\n");
        self.depth -= 1;
    }

    fn assignment(&mut self) {
        let variable = self.variable();
        let _ = write!(self.text, "pcall(function(...) {variable} = ");
        self.expression();
        self.push(" end)\n");
    }

    fn guarded(&mut self, before: &str, after: &str) {
        self.push(before);
        for _ in 0..1 + self.below(3) {
            self.statement();
        }
        self.push(after);
    }
}
