//! Bits of values: SETBIT, BITCOUNT, BITPOS, BITOP, BITFIELD and their kin.

use crate::client::{patterned, request};
use crate::harness::{Engine, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(
    single_bits,
    counting_and_finding,
    operations_on_several_values,
    large_values_are_combined_piece_by_piece,
    a_source_that_changes_meanwhile,
    integers_of_any_width,
);

fn single_bits(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SETBIT k 7 1", ":0\r\n");
    client.check("GET k", "$1\r\n\x01\r\n");
    client.check("EXPIRE k 100", ":1\r\n");
    client.check("SETBIT k 100 1", ":0\r\n");
    client.check("SETBIT k 100 1", ":1\r\n");
    client.check("STRLEN k", ":13\r\n");
    client.check("TTL k", ":100\r\n");
    client.check("GETBIT k 100", ":1\r\n");
    client.check("GETBIT k 4294967295", ":0\r\n");
    client.check("GETBIT none 0", ":0\r\n");
    for offset in ["-1", "x", "4294967296"] {
        client.check(&format!("SETBIT k {offset} 1"), "-ERR bit offset is not an integer or out of range\r\n");
        client.check(&format!("GETBIT k {offset}"), "-ERR bit offset is not an integer or out of range\r\n");
    }
    for bit in ["2", "-1", "x"] {
        client.check(&format!("SETBIT k 0 {bit}"), "-ERR bit is not an integer or out of range\r\n");
    }
}

fn counting_and_finding(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k foobar", "+OK\r\n");
    for (range, count) in
        [("", 26), ("0 0", 4), ("1 1 BYTE", 6), ("5 30 BIT", 17), ("-3 -1", 10), ("-1 -3", 0), ("9 10", 0)]
    {
        client.check(&format!("BITCOUNT k {range}"), &format!(":{count}\r\n"));
    }
    client.check("BITCOUNT none", ":0\r\n");
    client.check("BITCOUNT k 0", "-ERR syntax error\r\n");
    client.check("BITCOUNT k 0 1 WORD", "-ERR syntax error\r\n");
    client.send(request(&[b"SET".as_slice(), b"ones", &[0xff; 30]]));
    client.expect("+OK\r\n");
    for (arguments, position) in
        [("1", 0), ("0", 240), ("0 5", 240), ("0 0 -1", -1), ("1 3", 24), ("1 13 20 BIT", 13), ("1 40", -1)]
    {
        client.check(&format!("BITPOS ones {arguments}"), &format!(":{position}\r\n"));
    }
    client.check("SETBIT ones 200 0", ":1\r\n");
    client.check("BITPOS ones 0", ":200\r\n");
    client.check("BITPOS none 0", ":0\r\n");
    client.check("BITPOS none 1", ":-1\r\n");
    client.check("BITPOS ones 2", "-ERR The bit argument must be 1 or 0.\r\n");
}

fn operations_on_several_values(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    // 0110 0001, 0110 0010, 0110 0011
    client.check("MSET a a b bb c c", "+OK\r\n");
    for (operation, result) in [
        ("AND d a b", "`\0"),
        ("OR d a b", "cb"),
        ("XOR d a c none", "\x02"),
        ("DIFF d c a", "\x02"),
        ("DIFF1 d a b c", "\x02b"),
        ("ANDOR d c a b", "c\0"),
        ("ONE d a b c", "\0b"),
    ] {
        client.check(&format!("BITOP {operation}"), &format!(":{}\r\n", result.len()));
        assert_eq!(client.call(&["GET", "d"]), Value::bulk(result), "{operation}");
    }
    client.check("EXPIRE d 100", ":1\r\n");
    client.check("BITOP NOT d a", ":1\r\n");
    assert_eq!(client.call(&["GET", "d"]), Value::bulk([!b'a']));
    client.check("TTL d", ":-1\r\n");
    client.check("BITOP OR d none", ":0\r\n");
    client.check("EXISTS d", ":0\r\n");
    client.check("BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key.\r\n");
    client.check("BITOP DIFF d a", "-ERR BITOP DIFF must be called with at least two source keys.\r\n");
    client.check("BITOP NAND d a", "-ERR syntax error\r\n");
}

/// Lengths about the pieces in which they are combined, and small ones beside them.
fn large_values_are_combined_piece_by_piece(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=256mb"]);
    let mut client = server.client();
    for lengths in [[300_000, 1 << 20, 77], [1 << 18, 1 << 18, 1 << 18], [262_143, 10, 0], [262_145, 400_000, 131_072]]
    {
        let values: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(seed, length)| patterned(*length, seed)).collect();
        for (key, value) in ["a", "b", "c"].iter().zip(&values) {
            client.call(&[b"SET".as_slice(), key.as_bytes(), value]);
        }
        let at = |value: usize, at: usize| values[value].get(at).copied().unwrap_or(0);
        type Combine = fn(u8, u8, u8) -> u8;
        let operations: [(&str, Combine); 8] = [
            ("AND", |a, b, c| a & b & c),
            ("OR", |a, b, c| a | b | c),
            ("XOR", |a, b, c| a ^ b ^ c),
            ("DIFF", |a, b, c| a & !(b | c)),
            ("DIFF1", |a, b, c| !a & (b | c)),
            ("ANDOR", |a, b, c| a & (b | c)),
            ("ONE", |a, b, c| (a ^ b ^ c) & !(a & b & c)),
            ("NOT", |a, _, _| !a),
        ];
        for (name, combine) in operations {
            let sources: &[&str] = if name == "NOT" { &["a"] } else { &["a", "b", "c"] };
            let longest = lengths[..sources.len()].iter().copied().max().unwrap();
            let expected: Vec<u8> = (0..longest).map(|n| combine(at(0, n), at(1, n), at(2, n))).collect();
            for target in ["d", "e"] {
                let words = [&["BITOP", name, target], sources].concat();
                assert_eq!(client.call(&words), Value::Integer(longest as i64), "{name} {lengths:?}");
                assert!(client.call(&["GET", target]) == Value::bulk(&expected), "{name} {lengths:?}");
            }
        }
    }
    client.send([request(&["MULTI"]), request(&["BITOP", "NOT", "f", "b"]), request(&["STRLEN", "f"])].concat());
    client.send(request(&["EXEC"]));
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:400000\r\n:400000\r\n");
}

/// Whatever is written to a source while it is combined: the result is of one of its values, and not of an earlier one than
/// was there when the command came.
fn a_source_that_changes_meanwhile(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=512mb"]);
    let (mut one, mut other) = (server.client(), server.client());
    let value = |seed: u8| vec![seed; 4 << 20];
    one.call(&[b"SET".as_slice(), b"s", &value(0)]);
    for round in 1..40u8 {
        other.send(request(&[b"SET".as_slice(), b"s", &value(round)]));
        one.send(request(&["BITOP", "NOT", "d", "s"]));
        other.expect("+OK\r\n");
        one.expect(format!(":{}\r\n", 4 << 20));
        let Value::Bulk(result) = one.call(&["GET", "d"]) else { panic!("no result") };
        let seed = !result[0];
        assert!(seed == round || seed == round - 1, "{seed} in round {round}");
        assert!(result.iter().all(|byte| *byte == !seed));
    }
}

fn integers_of_any_width(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("BITFIELD k SET u8 0 255 GET i8 0 GET u4 6 INCRBY i5 100 1", "*4\r\n:0\r\n:-1\r\n:12\r\n:1\r\n");
    client.check("BITFIELD k INCRBY u8 0 1 OVERFLOW SAT INCRBY u8 #1 -1", "*2\r\n:0\r\n:0\r\n");
    client.check("BITFIELD k OVERFLOW SAT INCRBY u8 0 300 OVERFLOW FAIL INCRBY u8 0 1", "*2\r\n:255\r\n$-1\r\n");
    server.resp3_client().check("BITFIELD k OVERFLOW FAIL INCRBY u8 0 1", "*1\r\n_\r\n");
    client.check("BITFIELD_RO k GET u8 0 GET u63 1000", "*2\r\n:255\r\n:0\r\n");
    client.check("BITFIELD none GET u8 0", "*1\r\n:0\r\n");
    client.check("EXISTS none", ":0\r\n");
    client.check("BITFIELD_RO k SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand\r\n");
    for encoding in ["u64", "i65", "i0", "x8"] {
        client.check_error(&format!("BITFIELD k GET {encoding} 0"), "ERR Invalid bitfield type.");
    }
    client.check("BITFIELD k GET u8 #x", "-ERR bit offset is not an integer or out of range\r\n");
    client.check("BITFIELD k OVERFLOW WHAT", "-ERR Invalid OVERFLOW type specified\r\n");
    client.check("BITFIELD k SET u8 0", "-ERR syntax error\r\n");
}
