"""Brings the suites of others from the package registries into target/conformance. Knows nothing of running them."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from servers import ROOT

CACHE = ROOT / "target/conformance"
HERE = pathlib.Path(__file__).resolve().parent
REDIS_VERSION = "7.0.15"
MEMCACHED_VERSION = "1.6.18"
REDIS_PY_VERSION = "8.1.0"
# Of one download.
SECONDS_MAX = 600
DEBIAN_SOURCES = [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]


class Missing(Exception):
    """What a suite needs could not be had, with the reason."""


def run(*command, **options):
    """Runs a download; its output is shown when it goes wrong."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=SECONDS_MAX, **options,
        )
    except FileNotFoundError as missing:
        raise Missing(f"{command[0]} is not installed; tests/run installs it") from missing
    except subprocess.TimeoutExpired as stuck:
        raise Missing(f"no end of '{' '.join(command)}' within {SECONDS_MAX} s") from stuck
    if done.returncode != 0:
        raise Missing(f"'{' '.join(command)}' ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def once(name, make):
    """The folder `name` of the cache, made by `make(folder)` if it is not there yet: whole, or not at all."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / name
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            print(f"   brings {name}", flush=True)
            unfinished = CACHE / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


def unpack(archive, folder):
    run("tar", "-xaf", archive, "-C", folder)


def redis_suite():
    """The folder of Redis's sources, with its test suite: Debian's source package."""
    return debian_source("redis", REDIS_VERSION, ".orig.tar.gz")


def memcached_suite():
    """The folder of memcached's sources, with its test scripts: Debian's source package."""
    return debian_source("memcached", MEMCACHED_VERSION, ".orig.tar.xz")


def debian_source(package, version, ending):
    def make(folder):
        fetch_source(folder, package, version)
        unpack(folder / f"{package}_{version}{ending}", folder)

    return once(f"{package}-{version}", make) / f"{package}-{version}"


def fetch_source(folder, package, version):
    """By an apt set-up of our own."""
    apt = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial", "sources"):
        (apt / part).mkdir(parents=True)
    for path in DEBIAN_SOURCES:
        # The system's own package sources, read as sources of source packages.
        if path.suffix == ".sources":
            text = path.read_text().replace("Types: deb\n", "Types: deb-src\n")
        elif path.suffix == ".list" and path.is_file():
            lines = [line for line in path.read_text().splitlines() if line.startswith("deb ")]
            text = "".join(line.replace("deb ", "deb-src ", 1) + "\n" for line in lines)
        else:
            continue
        (apt / "sources" / path.name).write_text(text)
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": apt / "sources",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": os.environ.get("USER", "root"),
        "Acquire::Retries": "3",
    }
    options = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    run("apt-get", *options, "update", "-q")
    known = run("apt-cache", *options, "showsrc", package)
    versions = [line.split()[1] for line in known.splitlines() if line.startswith("Version:")]
    wanted = [known for known in versions if f"{version}-" in known.partition(":")[2] or known.startswith(f"{version}-")]
    if not wanted:
        raise Missing(f"apt's package sources have {package} {versions}, not {version}, Debian 12's")
    run("apt-get", *options, "source", "-q", "--download-only", f"{package}={wanted[0]}", cwd=folder)
    shutil.rmtree(apt)


def redis_py_suite():
    """The folder of redis-py's source distribution, which has its tests."""
    pip = [python(), "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "redis"]

    def make(folder):
        run(*pip, "-d", folder, f"redis=={REDIS_PY_VERSION}")
        unpack(folder / f"redis-{REDIS_PY_VERSION}.tar.gz", folder)

    return once(f"redis-py-{REDIS_PY_VERSION}", make) / f"redis-{REDIS_PY_VERSION}"


def python():
    """The interpreter that has what requirements.txt names; a changed file makes a new environment."""
    requirements = HERE / "requirements.txt"

    def make(folder):
        run(sys.executable, "-m", "venv", folder)
        run(folder / "bin/python", "-m", "pip", "install", "-q", "-r", requirements)

    return once(f"python-{stamp(requirements)}", make) / "bin/python"


def node():
    """The folder whose node_modules has what package.json names, Node itself included."""
    package = HERE / "frameworks/node/package.json"

    def make(folder):
        shutil.copy(package, folder)
        run("npm", "install", "--no-audit", "--no-fund", cwd=folder)

    return once(f"node-{stamp(package)}", make)


def redis_server():
    """Sees that the real one is there, of the version that the suites and the known differences are about."""
    told = run("redis-server", "--version")
    if f"v={REDIS_VERSION} " not in told:
        raise Missing(f"the random sequences are compared with redis-server {REDIS_VERSION}, Debian 12's; here is {told}")


def stamp(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]
