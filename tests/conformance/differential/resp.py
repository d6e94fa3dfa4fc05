"""A connection that sends commands and reads replies as they are on the wire, type marks included. Knows no command."""

import socket

SECONDS_MAX = 20


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")

    def send(self, commands):
        self.socket.sendall(b"".join(map(encoded, commands)))

    def ask(self, *words):
        self.send([list(map(as_bytes, words))])
        return self.reply()

    def reply(self):
        """The next reply, without what is pushed before it."""
        try:
            while (answer := self.read())[0] == ">":
                pass
        except OSError as error:
            # Nothing came for so long, or the connection was reset.
            return ("silent", str(error))
        return answer

    def read(self):
        """What comes next as a tuple of its mark and what follows: (':', 1), ('$', b'value'), ('*', [...]), ('_', None)."""
        line = self.input.readline()
        if not line.endswith(b"\r\n"):
            return ("closed", line)
        mark, text = chr(line[0]), line[1:-2]
        if mark in "$=!" and text != b"-1":
            body = self.input.read(int(text) + 2)
            return (mark, body[:-2])
        if mark in "*~>" and text != b"-1":
            return (mark, [self.read() for _ in range(int(text))])
        if mark in "%|":
            return (mark, [(self.read(), self.read()) for _ in range(int(text))])
        return (mark, int(text) if mark == ":" else text)

    def close(self):
        self.input.close()
        self.socket.close()


def encoded(words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def as_bytes(word):
    return word if isinstance(word, bytes) else str(word).encode()


def shown(value):
    """A command or a reply for people, long values cut."""
    text = b" ".join(value).decode("latin-1") if isinstance(value, list) else repr(value)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) < 300 else f"{text[:280]}... ({len(text)} characters)"
