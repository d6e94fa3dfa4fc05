"""Starts the server under test, or a real redis-server in its place. Knows no suite."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 30
# Before each program that we start: it ends with us, whatever ends us.
WITH_US = ["setpriv", "--pdeathsig", "KILL"]
# The build under test; `run --binary` names another.
binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "debug/kv-cache"


class Broken(Exception):
    """The server did not start, died, or logged what it must not."""


class Server:
    """A server of its own for one job, on a free port of 127.0.0.1. Leaving the `with` stops it and reads its log."""

    def __init__(self, engine, *options):
        self.engine = engine
        self.options = options

    def __enter__(self):
        self.scratch = tempfile.mkdtemp(prefix="conformance-")
        self.out = open(f"{self.scratch}/out", "w+")
        self.log = open(f"{self.scratch}/log", "w+")
        self.port = None
        try:
            self.process = subprocess.Popen(
                [*WITH_US, *self.command()],
                cwd=self.scratch, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.log,
            )
            self.wait_until_it_listens()
        except BaseException:
            self.remove()
            raise
        return self

    def command(self):
        options = ["--maxmemory", "512mb", "--enable-debug-command", "local"]
        return [binary, "--port", "0", "--http-port", "0", "--engine", self.engine, *options, *self.options]

    def announced_port(self):
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.text(self.log))
        return int(found[1]) if found else None

    def wait_until_it_listens(self):
        deadline = time.monotonic() + START_SECONDS
        while self.port is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Broken(f"no start:\n{self.text(self.out)}{self.text(self.log)}")
            self.port = self.announced_port()
            time.sleep(0.02)

    def text(self, file):
        return pathlib.Path(file.name).read_text(errors="replace")

    def remove(self):
        process = getattr(self, "process", None)
        if process and process.poll() is None:
            process.kill()
            process.wait()
        self.out.close()
        self.log.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __exit__(self, kind, error, trace):
        try:
            died = self.process.poll()
            if died is None:
                self.process.terminate()
                try:
                    self.process.wait(START_SECONDS)
                except subprocess.TimeoutExpired:
                    raise Broken("it does not end on SIGTERM") from error
            if died is not None:
                raise Broken(f"it ended by itself with {died}:\n{self.text(self.log)[-4000:]}") from error
            complaints = self.complaints()
            if complaints:
                raise Broken("\n".join(complaints)) from error
        finally:
            self.remove()

    def complaints(self):
        return [line for line in self.text(self.log).splitlines() if re.search("ERROR|panicked", line)]


class RealRedis(Server):
    """What the suites and the harness are held against, and the other side of the differential test."""

    def command(self):
        self.wanted = free_port()
        options = ["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]
        return ["redis-server", "--port", str(self.wanted), *options, *self.options]

    def announced_port(self):
        with socket.socket() as probe:
            return self.wanted if probe.connect_ex(("127.0.0.1", self.wanted)) == 0 else None

    def complaints(self):
        return []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(engine, *options):
    """`engine` is multishot, uring, epoll, or redis-server for the real one."""
    return RealRedis(engine) if engine == "redis-server" else Server(engine, *options)
