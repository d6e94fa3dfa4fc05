"""Runs Redis's own test suite, unit by unit, each against a server of its own. Knows its output, not its tests."""

import os
import random
import re
import shutil
import signal
import subprocess
import tempfile

import downloads
import servers
import skips
from outcome import Outcome

NAME = f"Redis {downloads.REDIS_VERSION}'s own suite, RESP2"

# The units of which some test applies to a cache of strings. The others are about other data types, replication,
# persistence, cluster mode and modules.
UNITS = """
    unit/type/string unit/type/incr unit/expire unit/keyspace unit/scan unit/multi unit/scripting
    unit/protocol unit/quit unit/other unit/info-command unit/introspection unit/introspection-2 unit/slowlog
    unit/latency-monitor unit/pause unit/tracking unit/bitops unit/bitfield unit/dump unit/replybufsize unit/acl
""".split()

# Left out by the suite's own marks: what asks for replicas, files, a debugging command or gigabytes.
TAGS = "-needs:repl -needs:save -needs:debug -large-memory -slow"
SECONDS_MAX = 240

# What is changed in a unit before it runs, where no option of the suite reaches.
EDITS = {
    # It counts all keys, of which the tests before, of other data types, were to leave none.
    "unit/keyspace": [("test {MOVE basic usage} {", "test {MOVE basic usage} {\n        r flushdb")],
    # Between its tests it gives Redis's tracking table its usual size.
    "unit/tracking": [("            r config set tracking-table-max-keys 1000000\n", "")],
    # Its first server has nothing that ours has not.
    "unit/acl": [('start_server {tags {"acl external:skip"}} {', 'start_server {tags {"acl"}} {')],
    # The whole unit runs once with EVAL and once with functions, under the same names.
    "unit/scripting": [("foreach is_eval {0 1} {", "foreach is_eval {1} {")],
}

# The suite's own helper listens on the first free one of as many ports before what it takes for its first server's.
# All of them, and those 10,000 above, must be ports.
HELPER_PORTS = 32
HELPER_FIRST = range(20000, 30000)


def prepare():
    downloads.run("tclsh8.6", "/dev/null")
    downloads.redis_suite()


def parts():
    return UNITS


def run(unit, engine, audit=False):
    """`audit` runs what the skip file names, and nothing else, to see what of it passes all the same."""
    reasons = skips.read("redis-tcl.txt").get(unit, {})
    work = tempfile.mkdtemp(prefix="conformance-tcl-")
    try:
        shutil.copytree(downloads.redis_suite() / "tests", f"{work}/tests")
        edit(f"{work}/tests/{unit}.tcl", EDITS.get(unit, []))
        listed = os.path.join(work, "listed")
        with open(listed, "w") as file:
            file.write("\n".join(reasons))
        choice = [word for name in reasons for word in ("--only", name)] if audit else ["--skipfile", listed]
        with servers.start(engine) as server:
            output = converse(work, server.port, unit, choice)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return read(unit, output, {} if audit else reasons)


def edit(path, changes):
    with open(path, encoding="latin-1") as file:
        text = file.read()
    for old, new in changes:
        assert old in text, f"{path} has no '{old}'"
        text = text.replace(old, new)
    with open(path, "w", encoding="latin-1") as file:
        file.write(text)


def converse(work, port, unit, choice):
    command = [*servers.WITH_US, "tclsh8.6", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--single", unit, "--ignore-encoding", "--ignore-digest", "--durable", "--no-latency", "--tags", TAGS]
    command += ["--baseport", str(random.choice(HELPER_FIRST) + HELPER_PORTS), *choice]
    process = subprocess.Popen(
        command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        text=True, errors="replace", start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        # The suite is several processes; they are a session of their own.
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\n[stuck]: no end within {SECONDS_MAX} s"
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


def read(unit, output, reasons):
    outcome = Outcome()
    unseen = set(reasons)
    # An entry begins with its state in brackets and may go on over many lines.
    for state, text in re.findall(r"^\[(\w+)\]: (.*?)(?=^\[[\w/ ]+\]: |^\s+The End|\Z)", output, re.M | re.S):
        text = text.strip()
        if state == "ok":
            outcome.passed.append(f"{unit}: {text}")
        elif state == "skip" and text in reasons:
            outcome.skipped[reasons[text]] += 1
            unseen.discard(text)
        elif state == "ignore":
            outcome.not_applicable += 1
        elif state in ("err", "exception", "stuck"):
            name, _, context = text.partition("\n")
            outcome.fail(f"{unit}: {name.removesuffix(f' in tests/{unit}.tcl')}", context)
    if "All tests passed" not in output and not outcome.failed:
        outcome.fail(f"{unit}: the suite did not come to its end", output[-2000:])
    whole = not re.search(r"^\[(exception|stuck)\]", output, re.M)
    for name in sorted(unseen if whole else ()):
        outcome.fail(f"{unit}: the skip file names '{name}', which the suite does not have")
    return outcome
