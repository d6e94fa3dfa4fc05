"""Makes random commands: every command that both servers have, with arguments at the edges. Knows no server.

Small words stand for values of a kind, capitals for themselves; `[a]` may be left out, `(a|b)` is one of them, `a+`
comes once or more often.
"""

import hashlib
import re

COMMANDS = """
GET key
SET key value [(NX|XX)] [GET] [(EX seconds|PX millis|EXAT unix|PXAT unixms|KEEPTTL)]
SET key value
SETEX key seconds value
PSETEX key millis value
SETNX key value
GETSET key value
GETDEL key
GETEX key [(EX seconds|PX millis|EXAT unix|PXAT unixms|PERSIST)]
MGET key+
MSET pair+
MSETNX pair+
DEL key+
UNLINK key+
EXISTS key+
TOUCH key+
TYPE key
STRLEN key
APPEND key value
GETRANGE key index index
SUBSTR key index index
SETRANGE key offset value
INCR key
DECR key
INCRBY key integer
DECRBY key integer
INCRBYFLOAT key float
SET key integer
SET key float
EXPIRE key seconds [(NX|XX|GT|LT)]
PEXPIRE key millis [(NX|XX|GT|LT)]
EXPIREAT key unix [(NX|XX|GT|LT)]
PEXPIREAT key unixms [(NX|XX|GT|LT)]
TTL key
PTTL key
EXPIRETIME key
PEXPIRETIME key
PERSIST key
SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
KEYS pattern
RANDOMKEY
RENAME key key
RENAMENX key key
COPY key key [DB db] [REPLACE]
MOVE key db
SELECT db
SWAPDB db db
DBSIZE
FLUSHDB [(ASYNC|SYNC)]
FLUSHALL [(ASYNC|SYNC)]
OBJECT ENCODING key
OBJECT REFCOUNT key
OBJECT IDLETIME key
OBJECT FREQ key
GETBIT key bit
SETBIT key bit digit
BITCOUNT key [index index [(BYTE|BIT)]]
BITPOS key digit [index [index [(BYTE|BIT)]]]
BITOP (AND|OR|XOR) key key+
BITOP NOT key key
BITFIELD key field+
BITFIELD_RO key field+
LCS key key [LEN] [IDX] [MINMATCHLEN count] [WITHMATCHLEN]
DUMP key
RESTORE key (0|remaining) payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ count]
RESTORE key 0 payload REPLACE
MULTI
MULTI
EXEC
EXEC
EXEC
DISCARD
WATCH key+
UNWATCH
EVAL script 1 key value
EVAL script 2 key key value value
EVAL_RO script 1 key value
EVALSHA sha 1 key value
EVALSHA sha count key value
EVALSHA_RO sha 1 key value
SCRIPT EXISTS sha sha
SCRIPT LOAD script
SCRIPT FLUSH [(ASYNC|SYNC)]
FUNCTION FLUSH [(ASYNC|SYNC)]
ECHO value
PING [value]
HELLO [(2|3|4)]
RESET
CLIENT GETNAME
CLIENT SETNAME name
CLIENT NO-EVICT (ON|OFF)
CLIENT TRACKING (ON|OFF) [BCAST] [PREFIX value] [NOLOOP] [(OPTIN|OPTOUT)]
CLIENT CACHING (YES|NO)
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT UNBLOCK 1000000 [(TIMEOUT|ERROR)]
CLIENT UNPAUSE
CLIENT nothing value
CLIENT KILL TYPE (PUBSUB|nothing)
CLIENT KILL USER nothing
CLIENT KILL ID (0|1000000|nothing)
CLIENT LIST ID 1000000
CLIENT LIST TYPE (PUBSUB|nothing)
CLIENT REPLY nothing
AUTH value [value]
ACL WHOAMI
ACL CAT nothing
ACL DRYRUN user (GET key|SET key|nothing)
ACL nothing
ROLE
OBJECT nothing key
MEMORY nothing
SCRIPT KILL
SCRIPT nothing
FUNCTION nothing
CONFIG nothing value
CONFIG RESETSTAT
COMMAND COUNT value
COMMAND DOCS nothing
COMMAND INFO nothing
COMMAND LIST FILTERBY (MODULE|PATTERN|ACLCAT|nothing) nothing
COMMAND nothing
COMMAND GETKEYS GET key
COMMAND GETKEYS MSET pair+
COMMAND GETKEYS EVAL script count key key value
COMMAND GETKEYS BITOP AND key key key
COMMAND GETKEYS nothing key
CONFIG GET nothing
CONFIG SET nothing value
SLOWLOG LEN
SLOWLOG RESET
SLOWLOG GET 0
SLOWLOG nothing
LATENCY RESET nothing
LATENCY HISTORY nothing
LATENCY nothing
READONLY
READWRITE
NOSUCH value+
TIME
MEMORY USAGE key [SAMPLES count]
""".strip().splitlines()

BINARY = bytes(range(256))
INTEGERS = """
    0 1 -1 2 7 10 -10 100 255 256 4096 2147483647 -2147483648 4294967296 9223372036854775807 -9223372036854775808
    9223372036854775806 9223372036854775808 -9223372036854775809 007 +5 -0 0x10 1e3 1.0 99999999999999999999 abc
""".split() + ["", " 1", "1 ", "1\0"]
FLOATS = """
    0 1.5 -1.5 3.0 0.1 1e5 1e-5 5.0e3 10.50 -0.0 1e308 -1e308 1e400 inf -inf nan 0x1p3 1. .5 abc 17179869184
    3.141592653589793238 123456789.123456789 0.000000000000000000001
""".split() + ["", " 1.5", "1.5 "]
# Of KEYS and SCAN.
PATTERNS = [
    "*", "a", "a*", "?", "[a-c]", "[^a]", "*}*", "\\*",
    "e\\*", "{tag}*", "", "[", "k*k", "\xff",
]

# Of scripts: what they return, what they call, how they go wrong. Texts of errors that Lua makes are its own.
SCRIPTS = """
return redis.call('GET', KEYS[1])
return redis.call('SET', KEYS[1], ARGV[1])
return redis.pcall('INCRBY', KEYS[1], ARGV[1])
return redis.call('INCR', KEYS[1])
redis.call('APPEND', KEYS[1], ARGV[1]) return redis.call('STRLEN', KEYS[1])
return {1, 2, {3, 'four', {ok = 'FIVE'}}, 'six', 7.9, false, true, nil, 8}
return {err = 'MY own error'}
return redis.error_reply('MY own error')
return redis.status_reply('FINE')
return {KEYS, ARGV}
return tonumber(ARGV[1])
return #ARGV[1]
return redis.sha1hex(ARGV[1])
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end
return type(redis.call('GET', KEYS[1]))
return redis.call('PTTL', KEYS[1]) < 0
local r = redis.pcall('NOSUCH', 'x') return r.err
local r = redis.pcall('GET') return r.err
redis.call('SET', KEYS[1], 'first') redis.call('INCR', KEYS[1])
return redis.call('MGET', KEYS[1], KEYS[1])
return cjson.encode({1, 'two', {three = 3}})
return cjson.decode('[1,"two",null,true,{"x":1.5}]')
return {bit.band(255, 15), bit.bxor(5, 3), bit.lshift(1, 4), bit.tohex(255)}
return {struct.unpack('>I2i4', struct.pack('>I2i4', 513, -5))}
return cmsgpack.unpack(cmsgpack.pack({1, 2, 'three', {x = false}}))
redis.setresp(3) return redis.call('GET', KEYS[1])
redis.setresp(3) return {double = 3.5}
redis.setresp(3) return {map = {a = 1}}
redis.setresp(3) return true
return redis.call('MULTI')
return math.floor(3.7) + string.len('abc')
return redis.call('RENAME', KEYS[1], KEYS[1])
""".strip().splitlines()


def parsed(tokens):
    """The tree of a line of COMMANDS: words, ('maybe', sequence), ('one of', sequences)."""
    sequences = [[]]
    while tokens:
        token = tokens.pop(0)
        if token == "[":
            sequences[-1].append(("maybe", parsed(tokens)[0]))
        elif token == "(":
            sequences[-1].append(("one of", parsed(tokens)))
        elif token == "|":
            sequences.append([])
        elif token in ")]":
            break
        else:
            sequences[-1].append(token)
    return sequences


TREES = [parsed(re.findall(r"[][()|]|[^][()|\s]+", line))[0] for line in COMMANDS]


def as_bytes(made):
    return made if isinstance(made, bytes) else str(made).encode("latin-1")


# What DUMP of a Redis 7.0 has answered: short, compressed, and integers of each width; then spoiled ones.
PAYLOADS = [
    bytes.fromhex(text)
    for text in """
    000573686f72740a00c47ccd5215235c12
    00c3092d017878e020000178780a000d31e59dae771ef7
    00c310425802616261e0ff01e0ff01e03a010161620a003897a9748ed12c00
    00c0010a002678e7b6d10111fc
    00c0800a009966326d2f0c5bd9
    00c1e8030a0089d1478ebac4b764
    00c2a08601000a00f12403506f2fa674
    0013393232333337323033363835343737353830370a003a657e9481e85f22
    00000a005d9b5c400f7fa2da
    000573686f72740a00c47ccd5215235c00
    0000
    00c3092d0178e020000178780a000d31e59dae771ef7
    """.split()
]


class Maker:
    """Makes commands out of `random`, the same ones for the same state of it."""

    def __init__(self, random, unix_now):
        self.random = random
        # A round time, so that a sequence is the same for an hour.
        self.hour = unix_now // 3600 * 3600
        # Few keys, so that commands meet.
        self.keys = [b"a", b"b", b"c", b"{tag}d", b"e*", b"", b"bin\0\r\n\xff", b"k" * 100]

    def command(self):
        words = self.expanded(self.random.choice(TREES))
        if self.random.random() < 0.1:
            self.spoil(words)
        return words

    def expanded(self, tree):
        words = []
        for node in tree:
            if isinstance(node, str):
                words += self.words(node)
            elif node[0] == "one of":
                words += self.expanded(self.random.choice(node[1]))
            elif self.random.random() < 0.4:
                words += self.expanded(node[1])
        return words

    def words(self, word):
        if word.endswith("+"):
            count = self.random.choice([1, 1, 2, 3, 5])
            return [made for _ in range(count) for made in self.words(word[:-1])]
        if word == "pair":
            return [self.key(), as_bytes(self.value())]
        if word.isupper() or word.isdigit():
            return [word.encode() if self.random.random() < 0.9 else word.lower().encode()]
        made = getattr(self, word)()
        return [as_bytes(made) for made in (made if isinstance(made, list) else [made])]

    def spoil(self, words):
        """What clients get wrong: an argument too few, too many, in the wrong place, of the wrong kind."""
        at = self.random.randrange(len(words))
        wrong = self.random.choice(INTEGERS + ["NX", "EX", "KEEPTTL", "GET", "nonsense"]).encode()
        how = self.random.randrange(4)
        if how == 0 and len(words) > 1:
            words.pop()
        elif how == 1:
            words.insert(at + 1, wrong)
        elif how == 2:
            words.append(wrong)
        elif at > 0:
            words[at] = wrong

    def key(self):
        return self.random.choice(self.keys)

    def value(self):
        kind = self.random.randrange(6)
        if kind == 0:
            return self.random.choice(INTEGERS)
        if kind == 1:
            return self.random.choice(FLOATS)
        if kind == 2:
            return self.random.choice([BINARY, b"x" * 44, b"x" * 45, b"ab" * 1500, b"y" * 20000])
        return bytes(self.random.choices(b"abc\0\xff01", k=self.random.randrange(12)))

    def integer(self):
        return self.random.choice(INTEGERS)

    def float(self):
        return self.random.choice(FLOATS)

    def index(self):
        return self.random.choice([0, 1, 2, 5, -1, -2, -5, 100, -100, *INTEGERS])

    def offset(self):
        return self.random.choice([0, 1, 2, 5, 100, 5000, -1, 536870912, 9223372036854775807, "abc"])

    def bit(self):
        return self.random.choice([0, 1, 7, 8, 9, 100, 5000, -1, 4294967296, 9223372036854775808, "abc"])

    def field(self):
        """One operation of BITFIELD."""
        kind = self.random.choice(["u8", "i8", "u1", "i5", "u63", "i64", "u16", "u64", "i65", "i0", "x8", "u", ""])
        offset = self.random.choice([0, 1, 7, 8, 100, "#0", "#1", "#50", -1, "#-1", "abc", 9223372036854775807])
        value = self.integer() if self.random.random() < 0.5 else self.random.choice([0, 1, -1, 100, 200, 1000])
        return self.random.choice([
            ["GET", kind, offset],
            ["SET", kind, offset, value],
            ["INCRBY", kind, offset, value],
            ["OVERFLOW", self.random.choice(["WRAP", "SAT", "FAIL", "wrap", "NONE"])],
        ])

    def digit(self):
        return self.random.choice([0, 1, 0, 1, 0, 1, 2, -1, "a"])

    def count(self):
        return self.random.choice([1, 2, 10, 1000, 0, -1, "abc", 9223372036854775807])

    def cursor(self):
        return self.random.choice([0, 0, 0, 0, "abc", "-1", "18446744073709551616", ""])

    def pattern(self):
        return self.random.choice(PATTERNS)

    def type(self):
        return self.random.choice(["string", "list", "STRING", "zset"])

    def db(self):
        beyond = [16, -1, 2147483648, -2147483649, 4294967296, 99999999999999999999, "007", "+1", "abc", ""]
        return self.random.choice([0, 0, 0, 1, 2, 9, 15, self.random.choice(beyond)])

    def lifetime(self, unit):
        """Far off or long ago: nothing expires while a sequence runs. Hardly ever the same twice, for which of two such
        is the later one depends on the milliseconds between them."""
        far = self.random.randrange(10, 100_000) * 10 * unit
        return self.random.choice([far, far, far, -1, 0, 9223372036854775807, "abc", "1.5", ""])

    def remaining(self):
        # Nothing that overflows with the time added to it: Redis then has the key expired.
        return self.random.choice([100_000, 86_400_000, -1, "abc", "1.5", ""])

    def seconds(self):
        return self.lifetime(1)

    def millis(self):
        return self.lifetime(1000)

    def unix(self):
        return self.random.choice([self.hour + 7200, self.hour + 86400, 1, 0, -5, 9223372036854775807, "abc"])

    def unixms(self):
        return self.random.choice([(self.hour + 7200) * 1000, (self.hour + 86400) * 1000 + 1, 1, 0, -5, "abc"])

    def script(self):
        return self.random.choice(SCRIPTS)

    def sha(self):
        return hashlib.sha1(self.script().encode("latin-1")).hexdigest() if self.random.random() < 0.8 else "f" * 40

    def name(self):
        return self.random.choice(["worker", "", "with space", "new\nline"])

    def payload(self):
        return self.random.choice(PAYLOADS)

    def user(self):
        return self.random.choice(["default", "default", "nobody"])

    def nothing(self):
        return "no-such-parameter"
