//! SET, GET and the other commands that read and write values as a whole.

use crate::client::{patterned, request};
use crate::harness::{Engine, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(
    set_and_get,
    set_options,
    set_get_returns_the_old_value,
    set_refuses_what_contradicts,
    older_forms_of_set,
    set_if_the_value_is_as_expected,
    conditions_on_large_values,
    delete_if_the_value_is_as_expected,
    getdel_and_getex,
    several_keys,
    several_keys_under_a_condition,
    parts_of_values,
    what_values_have_in_common,
    append_and_strlen,
    any_bytes_are_a_value,
    long_keys,
);

fn set_and_get(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("GET k", "$-1\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
    client.check("set k other", "+OK\r\n");
    client.check("gEt k", "$5\r\nother\r\n");
    client.check_error("GET", "ERR wrong number of arguments for 'get' command");
    client.check_error("GET a b", "ERR wrong number of arguments for 'get' command");
    client.check_error("SET k", "ERR wrong number of arguments for 'set' command");
    let mut resp3 = server.resp3_client();
    resp3.check("GET k", "$5\r\nother\r\n");
    resp3.check("GET none", "_\r\n");
}

fn set_options(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k 1 XX", "$-1\r\n");
    client.check("EXISTS k", ":0\r\n");
    client.check("SET k 1 NX", "+OK\r\n");
    client.check("SET k 2 NX", "$-1\r\n");
    client.check("SET k 3 XX", "+OK\r\n");
    client.check("GET k", "$1\r\n3\r\n");
    for (option, field, low, high) in [
        ("EX 100", "TTL k", 99, 100),
        ("PX 100000", "PTTL k", 90_000, 100_000),
        ("EXAT 32503680000", "EXPIRETIME k", 32_503_680_000, 32_503_680_000),
        ("PXAT 32503680000123", "PEXPIRETIME k", 32_503_680_000_123, 32_503_680_000_123),
    ] {
        client.check(&format!("SET k v {option}"), "+OK\r\n");
        let words: Vec<&str> = field.split(' ').collect();
        let got = client.call(&words).integer();
        assert!((low..=high).contains(&got), "{option}: {got}");
        client.check("SET k w KEEPTTL", "+OK\r\n");
        assert!(client.call(&words).integer() > 0, "{option}: KEEPTTL keeps it");
        client.check("SET k v", "+OK\r\n");
        client.check("TTL k", ":-1\r\n");
    }
    client.check("SET new v KEEPTTL", "+OK\r\n");
    client.check("TTL new", ":-1\r\n");
    client.check("SET k v ex 100 xx", "+OK\r\n");
    client.check("SET k v XX Px 100000 GET", "$1\r\nv\r\n");
    // A time that has passed: set, and gone.
    client.check("SET k v EXAT 1", "+OK\r\n");
    client.check("GET k", "$-1\r\n");
}

fn set_get_returns_the_old_value(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k 1 GET", "$-1\r\n");
    client.check("SET k 2 GET", "$1\r\n1\r\n");
    client.check("SET k 3 NX GET", "$1\r\n2\r\n");
    client.check("GET k", "$1\r\n2\r\n");
    client.check("SET k 4 XX GET", "$1\r\n2\r\n");
    client.check("SET none 1 XX GET", "$-1\r\n");
    client.check("EXISTS none", ":0\r\n");
    client.check("SET other 1 NX GET", "$-1\r\n");
    client.check("GET other", "$1\r\n1\r\n");
    let mut resp3 = server.resp3_client();
    resp3.check("SET k 5 GET", "$1\r\n4\r\n");
    resp3.check("SET fresh 5 GET", "_\r\n");
    resp3.check("SET fresh 5 NX", "_\r\n");
}

fn set_refuses_what_contradicts(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for options in
        ["NX XX", "EX 1 PX 1", "EX 1 KEEPTTL", "KEEPTTL EX 1", "EX", "PXAT", "WHAT", "EX 1 PX x", "NX XX GET", "GET EX"]
    {
        client.check(&format!("SET k v {options}"), "-ERR syntax error\r\n");
    }
    for number in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
        client.check(&format!("SET k v EX {number}"), "-ERR invalid expire time in 'set' command\r\n");
    }
    client.check("SET k v PX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n");
    for number in ["x", "1.5", "+1", "9223372036854775808", "0x10"] {
        client.check(&format!("SET k v EX {number}"), "-ERR value is not an integer or out of range\r\n");
    }
    client.check("EXISTS k", ":0\r\n");
}

fn older_forms_of_set(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SETEX k 100 v", "+OK\r\n");
    client.check("TTL k", ":100\r\n");
    client.check("PSETEX k 200000 w", "+OK\r\n");
    client.check("TTL k", ":200\r\n");
    client.check("SETEX k 0 v", "-ERR invalid expire time in 'setex' command\r\n");
    client.check("PSETEX k -1 v", "-ERR invalid expire time in 'psetex' command\r\n");
    client.check("SETEX k x v", "-ERR value is not an integer or out of range\r\n");
    client.check("SETNX k other", ":0\r\n");
    client.check("SETNX new v", ":1\r\n");
    client.check("GETSET k next", "$1\r\nw\r\n");
    client.check("TTL k", ":-1\r\n");
    client.check("GETSET fresh v", "$-1\r\n");
    client.check("MGET k new fresh", "*3\r\n$4\r\nnext\r\n$1\r\nv\r\n$1\r\nv\r\n");
    server.resp3_client().check("GETSET another v", "_\r\n");
}

fn set_if_the_value_is_as_expected(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k b IFEQ a", "$-1\r\n");
    client.check("SET k a IFNE a", "+OK\r\n");
    client.check("SET k b IFNE a", "$-1\r\n");
    client.check("SET k b IFEQ b GET", "$1\r\na\r\n");
    client.check("SET k b IFEQ a GET EX 100", "$1\r\na\r\n");
    client.check("GET k", "$1\r\nb\r\n");
    assert_eq!(client.call(&["SET", "d", "Hello world"]), Value::Simple("OK".into()));
    client.check("DIGEST d", "$16\r\nb6acb9d84a38ff74\r\n");
    client.check("DIGEST none", "$-1\r\n");
    client.check("SET d x IFDNE b6acb9d84a38ff74", "$-1\r\n");
    client.check("SET d x IFDEQ B6ACB9D84A38FF74", "+OK\r\n");
    client.check("GET d", "$1\r\nx\r\n");
    client.check_error("SET d x IFDEQ 12", "ERR the digest must be exactly 16 hexadecimal characters");
    // Where there is no value, not even a wrong digest is looked at.
    client.check("SET none x IFDEQ 12", "$-1\r\n");
    client.check("DELEX none IFDEQ 12", ":0\r\n");
    client.check_error("DELEX d IFDNE 12", "ERR the digest must be exactly 16 hexadecimal characters");
    for options in ["NX IFEQ a", "IFEQ a IFNE b", "IFEQ a IFEQ a", "IFEQ"] {
        client.check(&format!("SET k v {options}"), "-ERR syntax error\r\n");
    }
}

/// Such are compared piece by piece, and others change them meanwhile.
fn conditions_on_large_values(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let value = |number: usize| [format!("{number:<8}").as_bytes(), &patterned(1 << 20, 3)].concat();
    let set = |new: usize, word: &str, operand: &[u8]| {
        request(&[b"SET".as_slice(), b"k", &value(new), word.as_bytes(), operand])
    };
    client.call(&[b"SET".as_slice(), b"k", &value(0)]);
    let mut last_differs = value(0);
    *last_differs.last_mut().unwrap() ^= 1;
    let digest = client.call(&["DIGEST", "k"]).text();
    let wrong = digest.chars().rev().collect::<String>();
    let in_transaction = |set: Vec<u8>| [request(&["MULTI"]), set, request(&["EXEC"])].concat();
    for (word, operand, holds) in [
        ("IFEQ", value(0).as_slice(), true),
        ("IFEQ", &last_differs, false),
        ("IFNE", &value(0), false),
        ("IFNE", &last_differs, true),
        ("IFDEQ", digest.to_uppercase().as_bytes(), true),
        ("IFDEQ", wrong.as_bytes(), false),
        ("IFDNE", digest.as_bytes(), false),
        ("IFDNE", wrong.as_bytes(), true),
    ] {
        let reply = if holds { "+OK\r\n" } else { "$-1\r\n" };
        client.send([set(0, word, operand), request(&["STRLEN", "k"])].concat());
        client.expect(format!("{reply}:{}\r\n", value(0).len()));
        client.send(in_transaction(set(0, word, operand)));
        client.expect(format!("+OK\r\n+QUEUED\r\n*1\r\n{reply}"));
        let script = "return redis.call('SET', KEYS[1], ARGV[1], ARGV[2], ARGV[3])";
        client.send(request(&[b"EVAL".as_slice(), script.as_bytes(), b"1", b"k", &value(0), word.as_bytes(), operand]));
        client.expect(reply);
        client.send(request(&[b"DELEX".as_slice(), b"k", word.as_bytes(), operand]));
        client.expect(format!(":{}\r\n", holds as u8));
        client.call(&[b"SET".as_slice(), b"k", &value(0)]);
    }
    // Whoever finds the value as it was makes it the next: no step is taken twice, and none is left out.
    let (clients, steps) = (3, 10);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = server.client();
                let mut taken = 0;
                while taken < steps {
                    let now: usize = client.call(&["GETRANGE", "k", "0", "7"]).text().trim().parse().unwrap();
                    client.send(set(now + 1, "IFEQ", &value(now)));
                    taken += usize::from(client.value() == Value::Simple("OK".into()));
                }
            });
        }
    });
    assert_eq!(client.call(&["GETRANGE", "k", "0", "7"]).text().trim(), (clients * steps).to_string());
}

fn delete_if_the_value_is_as_expected(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("MSET a 1 b 2 c 3 d 4", "+OK\r\n");
    client.check("DELIFEQ a 2", ":0\r\n");
    client.check("DELIFEQ a 1", ":1\r\n");
    client.check("DELIFEQ a 1", ":0\r\n");
    client.check("DELEX b IFNE 2", ":0\r\n");
    client.check("DELEX b IFEQ 2", ":1\r\n");
    client.check("DELEX b IFNE 2", ":0\r\n");
    let digest = client.call(&["DIGEST", "c"]).text();
    client.check(&format!("DELEX c IFDNE {digest}"), ":0\r\n");
    client.check(&format!("DELEX c IFDEQ {digest}"), ":1\r\n");
    client.check("DELEX d", ":1\r\n");
    client.check("DELEX d", ":0\r\n");
    client.check("SET d Hello", "+OK\r\n");
    // What is no digest is not equal to one.
    client.check("DELEX d IFDEQ zzzzzzzzzzzzzzzz", ":0\r\n");
    for condition in ["NX v", "FOO v"] {
        let unknown = "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE\r\n";
        client.check(&format!("DELEX d {condition}"), unknown);
        client.check(&format!("DELEX none {condition}"), ":0\r\n");
    }
    for (key, options) in [("d", "IFEQ"), ("d", "NX"), ("d", "IFEQ a b"), ("none", "IFEQ"), ("none", "FOO a b")] {
        let refused = "-ERR wrong number of arguments for 'delex' command\r\n";
        client.check(&format!("DELEX {key} {options}"), refused);
    }
    client.check("DELEX d IFDNE zzzzzzzzzzzzzzzz", ":1\r\n");
}

fn parts_of_values(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k 0123456789", "+OK\r\n");
    for (start, end, part) in
        [(0, 3, "0123"), (-3, -1, "789"), (8, 100, "89"), (5, 4, ""), (10, 12, ""), (-100, 0, "0"), (-2, -3, "")]
    {
        for name in ["GETRANGE", "SUBSTR"] {
            let reply = format!("${}\r\n{part}\r\n", part.len());
            client.check(&format!("{name} k {start} {end}"), &reply);
        }
    }
    client.check("GETRANGE none 0 -1", "$0\r\n\r\n");
    client.check("GETRANGE k 0 x", "-ERR value is not an integer or out of range\r\n");
    client.check("EXPIRE k 100", ":1\r\n");
    client.check("SETRANGE k 8 xyz", ":11\r\n");
    client.check("GET k", "$11\r\n01234567xyz\r\n");
    client.check("TTL k", ":100\r\n");
    client.check("SETRANGE fresh 3 x", ":4\r\n");
    client.check("GET fresh", "$4\r\n\0\0\0x\r\n");
    client.send(request(&["SETRANGE", "none", "5", ""]));
    client.expect(":0\r\n");
    client.check("EXISTS none", ":0\r\n");
    client.check("SETRANGE k -1 x", "-ERR offset is out of range\r\n");
    for offset in ["536870912", "9223372036854775807"] {
        let error = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
        client.check_error(&format!("SETRANGE k {offset} x"), error);
    }
    // A large value is sent from where it lies.
    let value = crate::client::patterned(1 << 20, 1);
    client.call(&[b"SET".as_slice(), b"large", &value]);
    assert_eq!(client.call(&["GETRANGE", "large", "1000", "-1000"]), Value::bulk(&value[1000..value.len() - 999]));
    client.call(&[b"SETRANGE".as_slice(), b"large", b"500000", &value]);
    assert_eq!(client.call(&["GETRANGE", "large", "500000", "-1"]), Value::bulk(&value));
}

fn what_values_have_in_common(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    client.check("MSET a ohmytext b mynewtext", "+OK\r\n");
    client.check("LCS a b", "$6\r\nmytext\r\n");
    client.check("LCS a b LEN", ":6\r\n");
    let places =
        "*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n*2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n";
    client.check("LCS a b IDX", &format!("*4\r\n$7\r\nmatches\r\n{places}"));
    server.resp3_client().check("LCS a b IDX", &format!("%2\r\n$7\r\nmatches\r\n{places}"));
    client.check(
        "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
        "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$3\r\nlen\r\n:6\r\n",
    );
    client.check("LCS a none", "$0\r\n\r\n");
    client.check_error("LCS a b IDX LEN", "ERR If you want both the length and indexes, please just use IDX.");
    client.check("LCS a b WHAT", "-ERR syntax error\r\n");
    for key in ["a", "b"] {
        client.call(&["SET", key, &"x".repeat(10_000)]);
    }
    client.check_error("LCS a b LEN", "ERR Insufficient memory");
}

fn several_keys_under_a_condition(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    client.check("MSETNX a 1 b 2 a 3", ":1\r\n");
    client.check("MSETNX c 1 b 9", ":0\r\n");
    client.check("MGET a b c", "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$-1\r\n");
    client.check_error("MSETNX a", "ERR wrong number of arguments for 'msetnx' command");
    client.check_error("MSETNX a 1 b", "ERR wrong number of arguments for 'msetnx' command");
    client.check("MSETEX 2 a x b y XX EX 100", ":1\r\n");
    client.check("TTL b", ":100\r\n");
    client.check("MSETEX 2 a z c z XX", ":0\r\n");
    client.check("MSETEX 2 a z c z NX", ":0\r\n");
    client.check("MSETEX 2 c z d z PX 100000 NX", ":1\r\n");
    client.check("MSETEX 1 a w KEEPTTL", ":1\r\n");
    client.check("TTL a", ":100\r\n");
    client.check("MSETEX 1 a w", ":1\r\n");
    client.check("TTL a", ":-1\r\n");
    for count in ["0", "-1", "x", "2147483648"] {
        client.check(&format!("MSETEX {count} a 1"), "-ERR invalid numkeys value\r\n");
    }
    client.check("MSETEX 2 a 1 b", "-ERR wrong number of key-value pairs\r\n");
    for options in ["NX XX", "EX 1 PX 1", "WHAT", "a"] {
        client.check(&format!("MSETEX 1 a 1 {options}"), "-ERR syntax error\r\n");
    }
    client.check("MSETEX 1 a 1 EX 0", "-ERR invalid expire time in 'msetex' command\r\n");
    client.check(
        "COMMAND INFO none msetex",
        "*2\r\n$-1\r\n*10\r\n$6\r\nmsetex\r\n:-4\r\n*3\r\n+write\r\n+denyoom\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n\
         *3\r\n+@string\r\n+@write\r\n+@slow\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+OW\r\n+update\r\n$12\r\nbegin_search\r\n*4\r\n\
         $4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n\
         $6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:2\r\n*0\r\n",
    );
}

fn getdel_and_getex(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("GETDEL k", "$-1\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("GETDEL k", "$1\r\nv\r\n");
    client.check("GETDEL k", "$-1\r\n");
    client.check("GETEX k EX 10", "$-1\r\n");
    client.check("SET k v", "+OK\r\n");
    client.check("GETEX k", "$1\r\nv\r\n");
    client.check("TTL k", ":-1\r\n");
    client.check("GETEX k EX 100", "$1\r\nv\r\n");
    assert!((99..=100).contains(&client.call(&["TTL", "k"]).integer()));
    client.check("GETEX k", "$1\r\nv\r\n");
    assert!((99..=100).contains(&client.call(&["TTL", "k"]).integer()));
    client.check("GETEX k PERSIST", "$1\r\nv\r\n");
    client.check("TTL k", ":-1\r\n");
    client.check("GETEX k PXAT 32503680000123", "$1\r\nv\r\n");
    client.check("PEXPIRETIME k", ":32503680000123\r\n");
    client.check("GETEX none EX 0", "$-1\r\n");
    for options in ["EX", "KEEPTTL", "EX 1 PERSIST", "PERSIST EX 1", "WHAT 1"] {
        client.check(&format!("GETEX k {options}"), "-ERR syntax error\r\n");
    }
    client.check("GETEX k EX 0", "-ERR invalid expire time in 'getex' command\r\n");
    client.check("GETEX k EXAT 1", "$1\r\nv\r\n");
    client.check("EXISTS k", ":0\r\n");
}

fn several_keys(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("MSET a 1 b 2 c 3", "+OK\r\n");
    client.check("MGET a b none c a", "*5\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n$1\r\n3\r\n$1\r\n1\r\n");
    client.check("MSET a x a y", "+OK\r\n");
    client.check("GET a", "$1\r\ny\r\n");
    client.check("SET a v EX 100", "+OK\r\n");
    client.check("MSET a w", "+OK\r\n");
    client.check("TTL a", ":-1\r\n");
    client.check_error("MSET a", "ERR wrong number of arguments for 'mset' command");
    client.check_error("MSET a 1 b", "ERR wrong number of arguments for 'mset' command");
    client.check_error("MGET", "ERR wrong number of arguments for 'mget' command");
    server.resp3_client().check("MGET a none", "*2\r\n$1\r\nw\r\n_\r\n");
}

fn append_and_strlen(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("STRLEN k", ":0\r\n");
    client.check("APPEND k ab", ":2\r\n");
    client.check("APPEND k cde", ":5\r\n");
    client.check("GET k", "$5\r\nabcde\r\n");
    client.check("STRLEN k", ":5\r\n");
    client.check("EXPIRE k 100", ":1\r\n");
    client.check("APPEND k f", ":6\r\n");
    assert!(client.call(&["TTL", "k"]).integer() > 0, "APPEND keeps the time of expiry");
    client.send(request(&["APPEND", "k", ""]));
    client.expect(":6\r\n");
}

fn any_bytes_are_a_value(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let all: Vec<u8> = (0..=255).chain(*b"\r\n$5\r\n*1\r\n").collect();
    for value in [all.as_slice(), b"", b"\0", b"\r\n", b"-ERR\r\n"] {
        assert_eq!(client.call(&[b"SET".as_slice(), value, value]), Value::Simple("OK".into()));
        assert_eq!(client.call(&[b"GET".as_slice(), value]), Value::bulk(value));
        assert_eq!(client.call(&[b"STRLEN".as_slice(), value]), Value::Integer(value.len() as i64));
    }
    assert_eq!(client.call(&["DBSIZE"]), Value::Integer(5));
}

/// A key may have 65,535 bytes; a longer one is an error and the connection goes on.
fn long_keys(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for length in [1, 1000, 16_383, 16_384, 32_767, 32_768, 65_535] {
        let key = "k".repeat(length);
        assert_eq!(client.call(&["SET", &key, "v"]), Value::Simple("OK".into()), "{length}");
        assert_eq!(client.call(&["GET", &key]), Value::bulk("v"), "{length}");
        assert_eq!(client.call(&["MSET", &key, "w"]), Value::Simple("OK".into()), "{length}");
        assert_eq!(client.call(&["APPEND", &key, "w"]), Value::Integer(2), "{length}");
        assert_eq!(client.call(&["DEL", &key]), Value::Integer(1), "{length}");
    }
    let key = "k".repeat(65_536);
    for args in [["SET", &key, "v"], ["MSET", &key, "v"], ["APPEND", &key, "v"], ["INCRBY", &key, "1"]] {
        let reply = client.call(&args);
        assert!(matches!(&reply, Value::Error(text) if text.contains("65536 bytes")), "{}: {reply:?}", args[0]);
    }
    assert_eq!(client.call(&["GET", &key]), Value::Null);
    assert_eq!(client.call(&["DEL", &key]), Value::Integer(0));
    client.check("DBSIZE", ":0\r\n");
}
