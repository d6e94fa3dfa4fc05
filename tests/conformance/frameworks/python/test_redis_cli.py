"""redis-cli's modes that look over a whole server, beside its plain calls."""

import re
import subprocess

import pytest
import redis


@pytest.fixture
def cli(url):
    port = url.rsplit(":", 1)[1]

    def run(*words, text=None):
        done = subprocess.run(
            ["redis-cli", "-p", port, *words], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
        )
        assert done.returncode == 0, done.stdout
        return done.stdout.decode()

    return run


@pytest.fixture
def filled(url):
    client = redis.Redis.from_url(url)
    client.mset({f"small:{n}": "v" for n in range(500)})
    client.set("large", "x" * 100_000)


def test_plain_calls(cli):
    assert cli("set", "k", "v") == "OK\n"
    assert cli("-3", "get", "k") == "v\n"
    assert cli("-n", "5", "get", "k") == "\n"
    assert cli("--no-raw", "incr", "n") == "(integer) 1\n"
    assert cli("-x", "set", "input", text=b"from a pipe") == "OK\n"
    assert cli("-r", "3", "incr", "n") == "2\n3\n4\n"
    assert "redis_version:7." in cli("info", "server")


def test_a_script_from_a_file(cli, tmp_path):
    script = tmp_path / "script.lua"
    script.write_text("return redis.call('set', KEYS[1], ARGV[1])")
    assert cli("--eval", str(script), "key", ",", "value") == "OK\n"
    assert cli("get", "key") == "value\n"


def test_pipe(cli):
    keys = [b"key:%d" % n for n in range(10000)]
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n" % (len(key), key) for key in keys)
    # The end of the conversation is redis-cli's own ECHO.
    assert "errors: 0, replies: 10000" in cli("--pipe", text=commands)
    assert cli("dbsize") == "10000\n"


def test_scan(cli, filled):
    assert len(cli("--scan").split()) == 501
    assert len(cli("--scan", "--pattern", "small:4*").split()) == 111


def test_bigkeys(cli, filled):
    told = cli("--bigkeys")
    assert 'Biggest string found \'"large"\' has 100000 bytes' in told
    assert "Sampled 501 keys in the keyspace!" in told


def test_memkeys(cli, filled):
    told = cli("--memkeys")
    assert re.search(r"Biggest string found '\"large\"' has 1\d{5} bytes", told), told


def test_latency(cli):
    # Without a terminal it measures for a second and prints least, most, mean and count.
    least, most, _, count = cli("--latency", "-i", "1").split()[:4]
    assert int(least) <= int(most) and int(count) > 0
