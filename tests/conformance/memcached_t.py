"""Runs memcached's own test scripts, and libmemcached's memcapable, each against a server of its own. Knows their output, not
their tests."""

import os
import re
import shutil
import subprocess
import tempfile

import downloads
import servers
import skips
from outcome import Outcome

NAME = f"memcached {downloads.MEMCACHED_VERSION}'s own scripts, and memcapable"

# The scripts that speak the text or the meta protocol to a server that runs already. The others start memcached with options
# of its own, speak its binary protocol, or look at its slabs, its proxy, its storage on disk.
SCRIPTS = """
    bogus-commands cas chunked-items expirations flags flush-all getandtouch getset incrdecr issue_104 issue_108 issue_14
    issue_140 issue_152 issue_163 issue_183 issue_22 issue_29 issue_3 issue_41 issue_42 issue_61 issue_68 issue_70
    item_size_max line-lengths malicious-commands metaget multiversioning noreply quit stats touch whitespace
""".split()
MEMCAPABLE = "memcapable"
SECONDS_MAX = 120


def prepare():
    downloads.run("perl", "-MTest::More", "-e", "1")
    downloads.run("memccapable", "--version")
    downloads.memcached_suite()


def parts():
    return [*SCRIPTS, MEMCAPABLE]


def run(part, engine, audit=False):
    """`audit` tells what of the skip file passes all the same."""
    reasons = skips.read("memcached.txt").get(part, {})
    port = servers.free_port()
    with servers.start(engine, "--memcached-port", str(port)):
        output = memcapable(port) if part == MEMCAPABLE else script(part, port)
    return read(part, output, {} if audit else reasons)


def script(part, port):
    """Skips what the script asks memcached's program for: the package's stands in for it."""
    work = tempfile.mkdtemp(prefix="conformance-memcached-")
    try:
        tree = f"{work}/memcached"
        shutil.copytree(downloads.memcached_suite(), tree)
        for name in ["memcached", "memcached-debug"]:
            os.symlink(shutil.which("memcached"), f"{tree}/{name}")
        environment = {**os.environ, "T_MEMD_USE_DAEMON": f"127.0.0.1:{port}"}
        return converse(["perl", "-Ilib", "-It/lib", f"t/{part}.t"], cwd=tree, env=environment)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def memcapable(port):
    """Its table as if it were a script's output."""
    table = converse(["memccapable", "-a", "-h", "127.0.0.1", "-p", str(port)])
    rows = re.findall(r"^(ascii .*?) +\[(pass|FAIL)\]", re.sub(r"\n\[", "[", table), re.M)
    lines = [f"{'ok' if verdict == 'pass' else 'not ok'} {number} - {name}" for number, (name, verdict) in enumerate(rows, 1)]
    return "\n".join([*lines, f"1..{len(rows)}", ""]) if rows else table


def converse(command, **options):
    process = subprocess.Popen(
        [*servers.WITH_US, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", **options,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        output += f"\nno end within {SECONDS_MAX} s"
    return output


def read(part, output, reasons):
    """A test is named by its number and what it says of itself: many say nothing."""
    outcome = Outcome()
    unseen = set(reasons)
    for failed, name, context in re.findall(r"^(not )?ok (\d+(?: - .*)?)\n((?:#.*\n)*)", output, re.M):
        number = name.split()[0]
        # The whole script, or this test of it.
        known = next((key for key in ("all", number) if key in reasons), None)
        if known:
            outcome.skipped[reasons[known]] += 1
            unseen.discard(known)
        elif failed:
            outcome.fail(f"{part}: {name}", context)
        else:
            outcome.passed.append(f"{part}: {name}")
    if not re.search(r"^1\.\.\d+", output, re.M) and "all" not in reasons:
        outcome.fail(f"{part}: the script did not come to its end", output[-2000:])
    for name in sorted(unseen):
        outcome.fail(f"{part}: the skip file names '{name}', which the script does not have")
    return outcome
