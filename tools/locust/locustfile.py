"""Locust users that speak RESP: many simulated users over a pool of connections, in one process or many.

Knows nothing of the server's code: any server that speaks RESP2 will do. Run it on one core:

    locust -f locustfile.py --headless -u 50 -r 50 -t 30s --kv-server 127.0.0.1:7171

and with a master and two workers (start the workers' line twice, on other hosts if you like):

    locust -f locustfile.py --headless --master --expect-workers 2 -u 100 -r 100 -t 30s
    locust -f locustfile.py --worker

`locust --help` does not read a locustfile; this one tells its own options by

    python3 locustfile.py --help
"""

import logging
import random
import socket  # Locust has made it gevent's, and time: a read or a sleep lets other users run
import time
from collections import deque

from gevent.lock import BoundedSemaphore
from locust import User, constant, events, task
from locust.argument_parser import get_empty_argument_parser

TIMEOUT_SECONDS = 5
# What a user waits after a lost connection: twice as long each time that it is lost again, up to the last.
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5


@events.init_command_line_parser.add_listener
def declare_options(parser):
    group = parser.add_argument_group("kv-cache")
    group.add_argument("--kv-server", env_var="KV_SERVER", default="127.0.0.1:7171", help="HOST:PORT of the server")
    group.add_argument("--kv-password", env_var="KV_PASSWORD", default="", help="password to log in with")
    group.add_argument("--kv-pool", env_var="KV_POOL", type=int, default=50, help="connections per worker process")
    group.add_argument("--kv-pipeline", env_var="KV_PIPELINE", type=int, default=1, help="requests per round trip")
    group.add_argument("--kv-reads", env_var="KV_READS", type=float, default=0.9, help="share of reads, 0 to 1")
    group.add_argument("--kv-keys", env_var="KV_KEYS", type=int, default=100_000, help="number of different keys")
    group.add_argument("--kv-value-size", env_var="KV_VALUE_SIZE", type=int, default=64, help="bytes per value")


class ReplyError(Exception):
    """The server refused a request; the words are its own."""


class Connection:
    """One connection to the server. Requests are bytes, replies are bytes or None."""

    def __init__(self, server, password):
        host, port = server.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")
        if password:
            self.send(encode(b"AUTH", password.encode()))
            self.receive()

    def send(self, requests):
        self.socket.sendall(requests)

    def receive(self):
        """Reads one reply. Raises ReplyError, or OSError when the connection is gone."""
        line = self.replies.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.replies.read(length + 2)[:-2]
        if kind in (b"+", b":"):
            return rest
        if kind == b"-":
            raise ReplyError(rest.decode(errors="replace"))
        raise OSError("the server closed the connection" if not line else f"{line!r} is no RESP reply")

    def close(self):
        self.socket.close()


class Pool:
    """Connections that users borrow for one round trip; opened when first needed, at most `size` of them."""

    def __init__(self, server, password, size):
        self.server, self.password = server, password
        self.idle = deque()
        self.free = BoundedSemaphore(size)
        self.lost = False  # the last round trip failed, and the log says so

    def borrow(self):
        self.free.acquire()
        try:
            return self.idle.pop() if self.idle else Connection(self.server, self.password)
        except BaseException:
            self.free.release()
            raise

    def give_back(self, connection, usable):
        if usable:
            self.idle.append(connection)
        else:
            connection.close()
        self.free.release()


def encode(*words):
    """A request as RESP: an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


class CacheUser(User):
    """Reads and writes random keys without a pause; one task is one round trip of --kv-pipeline requests."""

    wait_time = constant(0)
    pool = None  # one for all users of this process

    def on_start(self):
        options = self.environment.parsed_options
        if CacheUser.pool is None:
            CacheUser.pool = Pool(options.kv_server, options.kv_password, options.kv_pool)
        self.options = options
        self.value = random.randbytes(options.kv_value_size)
        self.wait_seconds = FIRST_WAIT_SECONDS

    def draw(self):
        key = b"k%015d" % random.randrange(self.options.kv_keys)
        if random.random() < self.options.kv_reads:
            return "GET", encode(b"GET", key)
        return "SET", encode(b"SET", key, self.value)

    @task
    def round_trip(self):
        drawn = [self.draw() for _ in range(self.options.kv_pipeline)]
        start = time.perf_counter()
        try:
            connection = self.pool.borrow()
        except OSError as why:
            self.report("connect", start, 0, why)
            self.back_off(why)
            return
        answered, lost = 0, None
        try:
            connection.send(b"".join(request for _, request in drawn))
            for name, _ in drawn:
                try:
                    reply, why = connection.receive(), None
                except ReplyError as refusal:
                    reply, why = None, refusal
                answered += 1
                self.report(name, start, len(reply or b""), why)
        except OSError as why:
            self.report(drawn[answered][0], start, 0, why)
            lost = why
        finally:
            self.pool.give_back(connection, usable=answered == len(drawn))
        if lost is None:
            self.wait_seconds = FIRST_WAIT_SECONDS
            self.pool.lost = False
        else:
            self.back_off(lost)

    def back_off(self, why):
        """Waits for a server that is not there, or went away, instead of knocking without a pause."""
        if not self.pool.lost:
            self.pool.lost = True
            logging.warning("%s: %s; trying again, less and less often", self.options.kv_server, why)
        time.sleep(self.wait_seconds * random.uniform(0.5, 1))
        self.wait_seconds = min(self.wait_seconds * 2, LONGEST_WAIT_SECONDS)

    def report(self, name, start, length, why):
        milliseconds = (time.perf_counter() - start) * 1000
        self.environment.events.request.fire(
            request_type="RESP",
            name=name,
            response_time=milliseconds,
            response_length=length,
            exception=why,
            context={},
        )


if __name__ == "__main__":
    parser = get_empty_argument_parser()
    parser.prog = "locust -f " + __file__
    declare_options(parser)
    parser.parse_args()
    parser.error("run this file by locust -f")
