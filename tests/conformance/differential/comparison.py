"""Runs one sequence of commands against two servers and tells the first reply in which they differ."""

from known_differences import KNOWN
from resp import Connection, shown

CONNECTIONS = 3


class Side:
    """One of the two servers, as the sequence sees it."""

    def __init__(self, port, protocol):
        self.port = port
        cleaner = Connection(port)
        # A busy machine makes any command slow, and the slow log would say so on one side alone.
        quiet = ["CONFIG", "SET", "slowlog-log-slower-than", "-1"]
        for words in (["FLUSHALL"], ["SCRIPT", "FLUSH"], quiet, ["SLOWLOG", "RESET"]):
            cleaner.ask(*words)
        cleaner.close()
        self.connections = [Connection(port) for _ in range(CONNECTIONS)]
        for connection in self.connections:
            connection.ask("HELLO", protocol)

    def close(self):
        for connection in self.connections:
            connection.close()

    def scan_to_the_end(self, connection, words, reply):
        """What a whole iteration finds, when `reply` is the first of one."""
        found = set()
        while is_page(reply):
            found |= set(reply[1][1][1])
            cursor = reply[1][0][1]
            if cursor == b"0":
                return ("found", found)
            reply = connection.ask(words[0], cursor, *words[2:])
        return reply


def is_page(reply):
    return reply[0] == "*" and len(reply[1]) == 2 and reply[1][1][0] == "*"


def replies(side, steps):
    """For each batch of steps on one connection, yields (words, reply)."""
    for connection, batch in batches(steps):
        connection = side.connections[connection]
        connection.send(batch)
        answers = [connection.reply() for _ in batch]
        for words, answer in zip(batch, answers, strict=True):
            if words[0].upper() == b"SCAN" and is_page(answer):
                answer = side.scan_to_the_end(connection, words, answer)
            yield words, answer


def batches(steps):
    """[(connection, [words, ...])]: steps on one connection that are sent at once."""
    grouped = []
    for connection, words, at_once in steps:
        if grouped and at_once and grouped[-1][0] == connection:
            grouped[-1][1].append(words)
        else:
            grouped.append((connection, [words]))
    return grouped


def first_difference(ours, theirs, protocol, steps):
    """None, or (number of the command, words, our reply, theirs)."""
    sides = [Side(ours, protocol), Side(theirs, protocol)]
    queues = [[] for _ in range(CONNECTIONS)]
    order = [connection for connection, batch in batches(steps) for _ in batch]
    try:
        pairs = zip(replies(sides[0], steps), replies(sides[1], steps), strict=True)
        for number, ((words, our), (_, their)) in enumerate(pairs):
            queue = queues[order[number]]
            if not same(words, our, their, queue):
                return number, words, our, their
            if our != their and any(known.ends_it for known in applying(words, our, their)):
                return None
            if their == ("+", b"QUEUED"):
                queue.append(words)
            elif words[0].upper() in (b"EXEC", b"DISCARD", b"RESET"):
                # An EXEC with an argument too many is no EXEC, but spoils the transaction all the same.
                queue.clear()
    finally:
        for side in sides:
            side.close()
    return None


def same(words, our, their, queue=()):
    if our == their:
        return True
    name = words[0].upper().decode("latin-1")
    if name == "EXEC" and our[0] == their[0] == "*" and len(our[1]) == len(their[1]) == len(queue):
        return all(same(*pair) for pair in zip(queue, our[1], their[1]))
    return bool(applying(words, our, their))


def applying(words, our, their):
    """The known differences that explain these replies."""
    return [known for known in KNOWN if known.applies(words) and known.same(our, their)]


def shortened(ours, theirs, protocol, steps, difference):
    """The sequence without what the difference does not need, and the difference that is then left."""
    steps = steps[: difference[0] + 1]
    if "silent" in (difference[2][0], difference[3][0]):
        # Each trial would wait as long.
        return steps, difference
    at = len(steps) - 1
    while at > 0:
        at -= 1
        fewer = steps[:at] + steps[at + 1 :]
        found = first_difference(ours, theirs, protocol, fewer)
        if found is not None:
            steps, difference = fewer[: found[0] + 1], found
            at = min(at, len(steps) - 1)
    return steps, difference


def told(steps, difference):
    _, _, our, their = difference
    lines = [f"{connection}> {shown(words)}" for connection, words, _ in steps]
    return "\n".join([*lines, f"   kv-cache: {shown(our)}", f"   redis:    {shown(their)}"])
