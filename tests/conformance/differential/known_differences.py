"""The one table of what may differ from Redis 7.0.15, each with its reason. Knows no connection."""

import dataclasses
import typing


@dataclasses.dataclass
class Known:
    command: str  # its name, and what its second word is where that matters
    reason: str
    same: typing.Callable  # (our reply, theirs): whether they say the same all the same

    def applies(self, words):
        wanted = self.command.encode().split()
        return [word.upper() for word in words[: len(wanted)]] == wanted


def apart(most):
    """Both tell a time to live, and were asked at most so far from each other."""
    return lambda our, their: our[0] == their[0] == ":" and min(our[1], their[1]) >= 0 and abs(our[1] - their[1]) <= most


def as_sets(our, their):
    return our[0] == their[0] and our[0] in "*~" and sorted(our[1]) == sorted(their[1])


def alike(our, their):
    return our[0] == their[0]


def refused(error):
    """Only we refuse, with this error."""
    return lambda our, their: our == ("-", error.encode()) and their[0] != "-"


A_MOMENT = "a moment passes between asking one server and the other"

KNOWN = [
    Known("TIME", A_MOMENT, alike),
    Known("HELLO", "the version and the connection's number are each server's own", alike),
    Known("TTL", A_MOMENT, apart(2)),
    Known("PTTL", A_MOMENT, apart(2000)),
    Known("EXPIRETIME", A_MOMENT, apart(2)),
    Known("PEXPIRETIME", A_MOMENT, apart(2000)),
    Known("KEYS", "the order is nobody's promise", as_sets),
    Known("RANDOMKEY", "any key will do", alike),
    Known("OBJECT IDLETIME", A_MOMENT, apart(2)),
    Known("MEMORY USAGE", "an item's cost is each server's own", alike),
    Known("SCAN", "a negative cursor is refused since Redis 7.2", refused("ERR invalid cursor")),
    Known("SCAN", "within a transaction it tells one page, and cursors are each server's own", alike),
]
