"""Runs the tests of real clients and frameworks, file by file, each against a server of its own."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree

import certificates
import downloads
import servers
from outcome import Outcome

HERE = pathlib.Path(__file__).resolve().parent / "frameworks"
SECONDS_MAX = 240


class Python:
    NAME = "clients and frameworks of Python, redis-cli"
    pattern = "test_*.py"
    folder = HERE / "python"

    def prepare(self):
        downloads.python()
        downloads.run("redis-cli", "--version")

    def command(self, file, report, _):
        command = [downloads.python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb", "short"]
        return [*command, "--timeout", "60", "-p", "no:asyncio", f"--junitxml={report}", self.folder / file]


class Node:
    NAME = "clients and frameworks of Node"
    pattern = "*.test.js"
    folder = HERE / "node"

    def prepare(self):
        downloads.node()

    def command(self, file, report, work):
        # Modules are looked for beside the file that imports them.
        installed = downloads.node()
        for source in self.folder.glob("*.js*"):
            shutil.copy(source, work)
        os.symlink(installed / "node_modules", f"{work}/node_modules")
        node = installed / "node_modules/.bin/node"
        options = ["--test", "--test-timeout=60000", "--test-reporter=junit", f"--test-reporter-destination={report}"]
        return [node, *options, f"{work}/{file}"]


class Suite:
    def __init__(self, language):
        self.language = language
        self.NAME = language.NAME
        self.prepare = language.prepare

    def parts(self):
        return sorted(path.name for path in self.language.folder.glob(self.language.pattern))

    def run(self, part, engine, audit=False):
        with tempfile.TemporaryDirectory(prefix="conformance-") as work:
            options, settings = doors(part, work)
            with servers.start(engine, *options) as server:
                report = f"{work}/report.xml"
                settings["CACHE_URL"] = f"redis://127.0.0.1:{server.port}"
                done = subprocess.run(
                    [*servers.WITH_US, *self.language.command(part, report, work)], env=os.environ | settings,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                    timeout=SECONDS_MAX,
                )
                return read(part, done, report)


def doors(part, work):
    """What the server is started with beside its port for RESP, and what tells the tests of it: TLS for those about it."""
    memcached, tls = servers.free_port(), servers.free_port()
    options = ["--memcached-port", str(memcached)]
    settings = {"MEMCACHED_ADDRESS": f"127.0.0.1:{memcached}"}
    if "tls" in part:
        certificates.make(work)
        files = ["--tls-cert-file", f"{work}/server.pem", "--tls-key-file", f"{work}/server.key"]
        files += ["--tls-ca-cert-file", f"{work}/ca.pem", "--tls-auth-clients", "optional"]
        options += ["--tls-port", str(tls), "--tls-other-ports", "yes", *files]
        settings |= {"CACHE_TLS_URL": f"rediss://127.0.0.1:{tls}", "CERTIFICATES": work}
    return options, settings


def read(part, done, report):
    outcome = Outcome()
    try:
        cases = xml.etree.ElementTree.parse(report).getroot().iter("testcase")
    except (OSError, xml.etree.ElementTree.ParseError):
        outcome.fail(f"{part}: no report", done.stdout[-3000:])
        return outcome
    for case in cases:
        wrong = [child for child in case if child.tag in ("failure", "error")]
        left_out = [child for child in case if child.tag == "skipped"]
        if wrong:
            context = "\n".join(child.text or child.get("message") for child in wrong)
            outcome.fail(f"{part}: {case.get('name')}", context)
        elif left_out:
            outcome.skipped[left_out[0].get("message")] += 1
        else:
            outcome.passed.append(f"{part}: {case.get('name')}")
    if done.returncode != 0 and not outcome.failed:
        outcome.fail(f"{part}: it ended with {done.returncode}", done.stdout[-3000:])
    return outcome
