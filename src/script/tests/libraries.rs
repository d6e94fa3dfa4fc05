//! What the libraries compute that scripts find.

use super::Bench;

#[test]
fn cjson() {
    let mut bench = Bench::new();
    for (source, expect) in [
        (
            r#"return cjson.encode({1, 'a', true, cjson.null, 0.1, 1e15, 1e300, 100, {}})"#,
            r#"[1,"a",true,null,0.1,1e+15,1e+300,100,{}]"#,
        ),
        (r#"return cjson.encode({a = 'x/y"\\\1\127\t'})"#, r#"{"a":"x\/y\"\\\u0001\u007f\t"}"#),
        (r#"return cjson.encode({[1] = 1, [3] = 3})"#, "[1,null,3]"),
        (r#"return cjson.encode({[1.5] = 1})"#, r#"{"1.5":1}"#),
        (r#"cjson.encode_sparse_array(true) return cjson.encode({[100] = 1})"#, r#"{"100":1}"#),
        (r#"cjson.encode_invalid_numbers('null') return cjson.encode({0/0})"#, "[null]"),
        (r#"cjson.encode_number_precision(3) return cjson.encode({3.14159})"#, "[3.14]"),
        (
            r#"return cjson.encode(cjson.decode('[1, 2.5, "\\u00e9\\ud83d\\ude00", {"a": null}, [], false]'))"#,
            "[1,2.5,\"\u{e9}\u{1f600}\",{\"a\":null},{},false]",
        ),
        (
            r#"return tostring(cjson.decode('0x1F')) .. tostring(cjson.decode('-inf')) .. cjson.decode('1e2')"#,
            "31-inf100",
        ),
        (r#"return cjson._NAME .. cjson._VERSION"#, "cjson2.1.0"),
        (r#"return tostring(cjson.new().encode_max_depth(5)) .. cjson.encode_max_depth()"#, "51000"),
        (r#"return tostring(cjson.decode('null') == cjson.null)"#, "true"),
    ] {
        assert_eq!(bench.reply(source), format!("${}|{expect}|", expect.len()), "{source}");
    }
    for (source, expect) in [
        ("return cjson.encode(0/0)", "Cannot serialise number: must not be NaN or Inf"),
        ("return cjson.encode({[1] = 1, [100] = 2})", "Cannot serialise table: excessively sparse array"),
        ("return cjson.encode(print == nil or function() end)", "nonexistent global variable 'print'"),
        ("return cjson.encode(function() end)", "Cannot serialise function: type not supported"),
        ("return cjson.encode({[{}] = 1})", "Cannot serialise table: table key must be a number or string"),
        ("return cjson.encode()", "bad argument #1 to 'encode' (expected 1 argument)"),
        ("return cjson.decode('')", "Expected value but found T_END at character 1"),
        ("return cjson.decode('{\"a\":}')", "Expected value but found T_OBJ_END at character 6"),
        ("return cjson.decode('[1,2')", "Expected comma or array end but found T_END at character 5"),
        ("return cjson.decode('{1:2}')", "Expected object key string but found T_NUMBER at character 2"),
        ("return cjson.decode('\"a')", "Expected value but found unexpected end of string at character 3"),
        ("return cjson.decode('\"\\\\x\"')", "Expected value but found invalid escape code at character 2"),
        ("return cjson.decode('1 x')", "Expected the end but found invalid token at character 3"),
        ("return cjson.decode('-')", "Expected value but found invalid number at character 1"),
        ("return cjson.decode({})", "bad argument #1 to 'decode' (string expected, got table)"),
        (
            "cjson.decode_invalid_numbers(false) return cjson.decode('0x1F')",
            "Expected value but found invalid number at character 1",
        ),
        (
            "return cjson.encode_max_depth(0)",
            "bad argument #1 to 'encode_max_depth' (expected integer between 1 and 2147483647)",
        ),
        (
            "cjson.encode_invalid_numbers('bogus')",
            "bad argument #1 to 'encode_invalid_numbers' (invalid option 'bogus')",
        ),
        ("cjson.encode_max_depth(1, 2)", "bad argument #2 to 'encode_max_depth' (found too many arguments)"),
    ] {
        let reply = bench.reply(source);
        assert!(reply.contains(expect), "{source}: {reply}");
    }
}

#[test]
fn cmsgpack() {
    let mut bench = Bench::new();
    let hex = "local function hex(s) return (s:gsub('.', function(c) return string.format('%02x', c:byte()) end)) end ";
    for (value, expect) in [
        ("0.1", "cb3fb999999999999a"),
        ("0.5", "ca3f000000"),
        ("-1099511627776", "d3ffffff0000000000"),
        ("127, 128, 256, 65536, 4294967296", "7fcc80cd0100ce00010000cf0000000100000000"),
        ("-1, -32, -33, -129, -32769", "ffe0d0dfd1ff7fd2ffff7fff"),
        ("nil, true, false, 'ab'", "c0c3c2a26162"),
        ("{1, 2}, {a = 1}, {}", "92010281a1610190"),
    ] {
        let got = bench.reply(&format!("{hex} return hex(cmsgpack.pack({value}))"));
        assert_eq!(got, format!("${}|{expect}|", expect.len()), "{value}");
    }
    bench.holds("local a, b, c = cmsgpack.unpack(cmsgpack.pack({1, 2}, {a = 'x'}, -5.5)) return #a == 2 and b.a == 'x' and c == -5.5");
    bench.holds("for _, n in ipairs {0, 127, 128, 255, 256, 65535, 65536, 2^32, 2^53, -1, -32, -33, -128, -129, -32768, -32769, -2^31, -2^31 - 1, -2^53} do assert(cmsgpack.unpack(cmsgpack.pack(n)) == n) end return true");
    bench.holds("for _, n in ipairs {0, 31, 32, 255, 256, 65535, 65536} do assert(#cmsgpack.unpack(cmsgpack.pack(('x'):rep(n))) == n) end return true");
    bench.holds("local t = {} for i = 1, 70000 do t[i] = i end return #cmsgpack.unpack(cmsgpack.pack(t)) == 70000");
    bench.holds("local p = cmsgpack.pack('a', 'b') local at, v = cmsgpack.unpack_one(p) local at2, v2 = cmsgpack.unpack_one(p, at) return v == 'a' and v2 == 'b' and at == 2 and at2 == -1");
    bench.holds("local p = cmsgpack.pack(1, 2, 3) local at, a, b, c = cmsgpack.unpack_limit(p, 2) return at == 2 and a == 1 and b == 2 and c == nil");
    // Nested deeper than 16: nil.
    bench.holds("local a = {y = 5} a.x = a local r = cmsgpack.unpack(cmsgpack.pack(a)) for i = 1, 15 do assert(r.y == 5) r = r.x end return r.x == nil");
    for (source, expect) in [
        ("return cmsgpack.pack()", "bad argument #0 to 'pack' (MessagePack pack needs input.)"),
        ("return cmsgpack.unpack('\\145')", "Missing bytes in input."),
        ("return cmsgpack.unpack('\\193')", "Bad data format in input."),
        ("return cmsgpack.unpack('\\221\\255\\255\\255\\255')", "Missing bytes in input."),
        ("return cmsgpack.unpack({})", "bad argument #1 to 'unpack' (string expected, got table)"),
        ("return cmsgpack.unpack_one('x', 5)", "Start offset 5 greater than input length 1."),
        ("return cmsgpack.unpack_limit('x', -1)", "Invalid request to unpack with offset of 0 and limit of 1."),
    ] {
        let reply = bench.reply(source);
        assert!(reply.contains(expect), "{source}: {reply}");
    }
}

#[test]
fn structs() {
    let mut bench = Bench::new();
    let hex = "local function hex(s) return (s:gsub('.', function(c) return string.format('%02x', c:byte()) end)) end ";
    for (call, expect) in [
        ("'>I2I4', 1, 2", "000100000002"),
        ("'<i2i8', -2, 3", "feff0300000000000000"),
        ("'>!4 bi4', 1, 2", "0100000000000002"),
        ("'s', 'ab'", "616200"),
        ("'c0', 'ab'", "6162"),
        ("'>f', 0.5", "3f000000"),
        ("'>d', 0.1", "3fb999999999999a"),
        ("'bxb', 1, 2", "010002"),
    ] {
        let got = bench.reply(&format!("{hex} return hex(struct.pack({call}))"));
        assert_eq!(got, format!("${}|{expect}|", expect.len()), "{call}");
    }
    bench.holds("local a, b, c, at = struct.unpack('>i2sc2', struct.pack('>i2sc2', -5, 'hey', 'xy')) return a == -5 and b == 'hey' and c == 'xy' and at == 9");
    bench.holds("local s, at = struct.unpack('>I1c0', '\\003abcdef') return s == 'abc' and at == 5");
    bench.holds("return struct.size('>!4 bi4d') == 16 and struct.unpack('B', '\\255') == 255 and struct.unpack('b', '\\255') == -1");
    for (source, expect) in [
        ("return struct.pack('z', 1)", "bad argument #1 to 'pack' (invalid format option 'z')"),
        ("return struct.pack('i99', 2)", "integral size 99 is larger than limit of 32"),
        ("return struct.pack('i9999999999', 2)", "integral size overflow"),
        ("return struct.pack('!3', 2)", "alignment 3 is not a power of 2"),
        ("return struct.pack('c5', 'abc')", "bad argument #3 to 'pack' (string too short)"),
        ("return struct.unpack('i', 'x')", "bad argument #2 to 'unpack' (data string too short)"),
        ("return struct.unpack('i', 'x', 2^60)", "bad argument #2 to 'unpack' (data string too short)"),
        ("return struct.unpack('c0', 'x')", "format 'c0' needs a previous size"),
        ("return struct.unpack('Bc0', '\\255x')", "bad argument #2 to 'unpack' (data string too short)"),
        ("return struct.unpack('s', 'x')", "unfinished string in data"),
        ("return struct.unpack('i', 'abcd', 0)", "bad argument #3 to 'unpack' (offset must be 1 or greater)"),
        ("return struct.size('s')", "option 's' has no fixed size"),
        ("return struct.size('c0')", "option 'c0' has no fixed size"),
    ] {
        let reply = bench.reply(source);
        assert!(reply.contains(expect), "{source}: {reply}");
    }
}

#[test]
fn bit() {
    let mut bench = Bench::new();
    bench.holds("return bit.tobit(0xffffffff) == -1 and bit.tobit(0xffffffff + 1) == 0 and bit.bnot(0) == -1");
    bench.holds("return bit.band(0x12345678, 0xff) == 0x78 and bit.bor(1, 2, 4, 8) == 15 and bit.bxor(1, 3) == 2 and bit.band(1) == 1");
    bench.holds(
        "return bit.lshift(1, 31) == -2147483648 and bit.rshift(-256, 8) == 16777215 and bit.arshift(-256, 8) == -1",
    );
    bench.holds("return bit.rol(0x12345678, 12) == 0x45678123 and bit.ror(0x12345678, 12) == 0x67812345 and bit.bswap(0x12345678) == 0x78563412");
    bench.holds("return bit.tohex(1) == '00000001' and bit.tohex(-1) == 'ffffffff' and bit.tohex(65535, -2147483648) == '0000FFFF' and bit.tohex(0x21, 4) == '0021'");
    assert!(bench.reply("bit.band('x')").contains("bad argument #1 to 'band' (number expected, got string)"));
}
