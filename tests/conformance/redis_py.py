"""Runs redis-py's own tests, file by file, each against a server of its own. Knows the report, not the tests."""

import json
import os
import subprocess
import tempfile

import downloads
import servers
import skips
from outcome import Outcome

# The files of which some test speaks to a server about strings, keys, connections, transactions or scripts, each with
# its twin for asyncio. The others test the client alone, or are about clusters, sentinels, modules and TLS.
FILES = """
    test_commands test_connection test_connection_pool test_pipeline test_encoding test_retry test_lock test_scripting
    test_monitor test_cache test_client test_multiprocessing
""".split()

MARKS = "not onlycluster and not redismod and not ssl and not replica"
SECONDS_MAX = 400


class Suite:
    def __init__(self, protocol):
        self.protocol = protocol
        self.NAME = f"redis-py {downloads.REDIS_PY_VERSION}'s own tests, RESP{protocol}"

    def prepare(self):
        downloads.redis_py_suite()
        downloads.python()

    def parts(self):
        return FILES

    def run(self, part, engine, audit=False):
        reasons = skips.read("redis-py.txt", several_on_a_line=True).get(part, {})
        with tempfile.TemporaryDirectory(prefix="conformance-py-") as work, servers.start(engine) as server:
            plan, report = f"{work}/plan", f"{work}/report"
            with open(plan, "w") as file:
                json.dump({"reasons": reasons, "audit": audit}, file)
            output = self.converse(part, server.port, plan, report)
            return read(part, output, report, reasons)

    def converse(self, part, port, plan, report):
        """A test that hangs ends by its own timeout, the whole file by ours."""
        folder = downloads.redis_py_suite()
        twins = [path for path in (f"tests/{part}.py", f"tests/test_asyncio/{part}.py") if (folder / path).exists()]
        command = [*servers.WITH_US, downloads.python(), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-p", "redis_py_plugin", "-W", "ignore", "-m", MARKS, "--timeout", "30", "--tb", "short", *twins]
        command += ["--redis-url", f"redis://127.0.0.1:{port}/0", "--protocol", str(self.protocol)]
        settings = {"CONFORMANCE_PLAN": plan, "CONFORMANCE_REPORT": report, "PYTHONPATH": str(downloads.HERE)}
        try:
            done = subprocess.run(
                command, cwd=folder, env=os.environ | settings, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS_MAX,
            )
        except subprocess.TimeoutExpired as stuck:
            return f"no end within {SECONDS_MAX} s\n{stuck.stdout}"
        return done.stdout


def read(part, output, report, reasons):
    outcome = Outcome()
    if not os.path.exists(report):
        outcome.fail(f"{part}: the suite did not come to its end", output[-3000:])
        return outcome
    with open(report) as file:
        found = json.load(file)
    outcome.passed = found["passed"]
    outcome.not_applicable = len(found["not_applicable"])
    for name, context in found["failed"].items():
        outcome.fail(name, context)
    for reason in found["skipped"].values():
        outcome.skipped[reason] += 1
    for pattern in found["unseen"]:
        outcome.fail(f"{part}: the skip file names '{pattern}', which the suite does not have")
    return outcome
