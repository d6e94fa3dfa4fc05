"""The one table of what may differ from Redis 7.0.15, each with its reason. Knows no connection."""

import dataclasses
import re
import typing


@dataclasses.dataclass
class Known:
    command: str  # its name, with a subcommand's where that matters
    reason: str
    same: typing.Callable  # (our reply, theirs): whether they say the same all the same
    ends_it: bool = False  # the two hold different data from here on, so the sequence is at its end

    def applies(self, words):
        """One without a name applies to any command."""
        wanted = self.command.encode().split()
        return [word.upper() for word in words[: len(wanted)]] == wanted


def apart(most):
    """Both tell a time to live, and were asked at most so far from each other."""

    def same(our, their):
        return our[0] == their[0] == ":" and min(our[1], their[1]) >= 0 and abs(our[1] - their[1]) <= most

    return same


def as_sets(our, their):
    return our[0] == their[0] and our[0] in "*~" and sorted(our[1]) == sorted(their[1])


def alike(our, their):
    return our[0] == their[0]


def both_long(our, their):
    return our[0] == their[0] and our[0] in "*%" and min(len(our[1]), len(their[1])) > 50


def refused(*errors):
    """Only we refuse, with one of these errors."""
    return lambda our, their: our[0] == "-" and our[1].decode() in errors and their[0] != "-"


def both_dumped(our, their):
    """Redis compresses what has more than 20 bytes."""
    return our[0] == their[0] == "$" and len(our[1]) > 20 + 10 and their[1][:2] == b"\x00\xc3"


def no_more(our, their):
    return our[0] == their[0] == ":" and our[1] <= their[1]


def no_keys(our, their):
    return our == ("*", []) and their[0] == "*"


def echo_odd_bytes(our, their):
    """Both refuse, and their texts are the same as far as the client's bytes in them are plain."""
    if our[0] != "-" or their[0] != "-":
        return False
    plain = re.match(rb"[\x20-\x7e]*", our[1])[0]
    return len(plain) < len(our[1]) and their[1].startswith(plain)


def other_grammar(our, their):
    """What is no form of the command for one of the two."""
    return their[0] == "-" and ("-", b"ERR syntax error") in (our, their)


A_MOMENT = "a moment passes between asking one server and the other"
TOO_LARGE = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"

KNOWN = [
    Known("", "an error that echoes the client's bytes shows them as text; Redis ends it at a NUL", echo_odd_bytes),
    Known("TIME", A_MOMENT, alike),
    Known("TTL", A_MOMENT, apart(2)),
    Known("PTTL", A_MOMENT, apart(2000)),
    Known("EXPIRETIME", A_MOMENT, apart(2)),
    Known("PEXPIRETIME", A_MOMENT, apart(2000)),
    Known("OBJECT IDLETIME", "Redis shares the objects of small integers, and how long they are idle", alike),
    Known("CLIENT LIST", "several filters, as Valkey 9 takes them; Redis 7 takes one", other_grammar),
    Known("KEYS", "the order is nobody's promise", as_sets),
    Known("RANDOMKEY", "any key will do", alike),
    Known("SCAN", "within a transaction it tells one page, and cursors are each server's own", alike),
    Known("SCAN", "a negative cursor is refused since Redis 7.2", refused("ERR invalid cursor")),
    Known("BITCOUNT", "arguments are read before the key since Redis 7.2", refused("ERR syntax error", NOT_AN_INTEGER)),
    Known("BITPOS", "arguments are read before the key since Redis 7.2", refused("ERR syntax error", NOT_AN_INTEGER)),
    Known("OBJECT ENCODING", "told by the value: no item remembers that it was put together", alike),
    Known("OBJECT REFCOUNT", "Redis shares the objects of small integers", alike),
    Known("DUMP", "values are not compressed", both_dumped),
    Known("SETBIT", "a value may have an eighth of the cap", refused(TOO_LARGE), ends_it=True),
    Known("SETRANGE", "a value may have an eighth of the cap", refused(TOO_LARGE), ends_it=True),
    Known("MEMORY USAGE", "an item's cost is each server's own", alike),
    Known("HELLO", "the version and the connection's number are each server's own", alike),
    Known("COMMAND COUNT", "each server has its own commands", alike),
    Known("COMMAND GETKEYS", "a number of keys that is none counts as 0; Redis takes the digits before", no_keys),
    Known("DBSIZE", "what is to expire in the past is gone at once; Redis counts it until it comes upon it", no_more),
    Known("COMMAND INFO", "the order of a set's elements is nobody's promise", alike),
    Known("COMMAND DOCS", "each server has its own texts", alike),
    Known("COMMAND", "each server has its own commands", both_long),
]
