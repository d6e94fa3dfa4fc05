"""redis-py with its defaults against a running server: python redis_py.py PORT. Any warning is an error."""

import sys
import threading
import time
import warnings

import redis

warnings.simplefilter("error")


def strings(client):
    client.flushall()
    assert client.set("key", "value") is True
    assert client.get("key") == b"value"
    assert client.get("none") is None
    assert client.set("key", "other", nx=True) is None
    assert client.set("key", "new", get=True) == b"value"
    assert client.set("key", "timed", ex=100) is True
    assert 0 < client.ttl("key") <= 100
    assert client.getex("key", persist=True) == b"timed"
    assert client.ttl("key") == -1
    assert client.mset({"a": 1, "b": 2}) is True
    assert client.mget("a", "none", "b") == [b"1", None, b"2"]
    assert client.append("key", "!") == 6
    assert client.strlen("key") == 6
    assert client.getdel("key") == b"timed!"
    binary = bytes(range(256)) * 5000
    assert client.set("binary", binary) is True
    assert client.get("binary") == binary


def keys(client):
    client.flushall()
    client.mset({"a": 1, "b": 2})
    assert client.exists("a", "b", "c") == 2
    assert client.touch("a", "c") == 1
    assert client.type("a") == b"string"
    assert client.expire("a", 100) is True
    assert client.expire("a", 10, gt=True) is False
    assert client.expireat("a", 32503680000) is True
    assert client.expiretime("a") == 32503680000
    assert client.pttl("b") == -1
    assert client.persist("a") is True
    assert client.dbsize() == 2
    assert client.delete("a") == 1
    assert client.unlink("b", "c") == 1


def counters(client):
    client.delete("n")
    assert [client.incr("n"), client.incr("n", 10), client.decr("n"), client.decrby("n", 5)] == [1, 11, 10, 5]
    client.set("text", "x")
    try:
        client.incr("text")
    except redis.ResponseError as error:
        assert "not an integer" in str(error)
    else:
        raise AssertionError("INCR of text")


def about_the_server(client):
    assert client.ping() is True
    assert client.echo("hi") == b"hi"
    assert client.info()["redis_version"].startswith("7.4.")
    assert client.info("server")["server_name"] == "kv-cache"
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    assert client.config_set("timeout", 0) is True
    assert client.client_setname("script") is True
    assert client.client_getname() in ("script", b"script")
    assert any(line["lib-name"].startswith("redis-py") for line in client.client_list())
    assert client.client_id() > 0
    assert client.command_count() == len(client.command())
    assert abs(client.time()[0] - time.time()) < 60


def pipelines(client):
    pipe = client.pipeline(transaction=False)
    for n in range(1000):
        pipe.set(f"key:{n}", n).get(f"key:{n}")
    assert pipe.execute() == [reply for n in range(1000) for reply in (True, str(n).encode())]


def threads(client):
    client.delete("together")
    workers = [threading.Thread(target=lambda: [client.incr("together") for _ in range(200)]) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert client.get("together") == b"1600"


def main():
    port = int(sys.argv[1])
    for protocol in ({}, {"protocol": 2}, {"protocol": 3}):
        client = redis.Redis(port=port, **protocol)
        for part in (strings, keys, counters, about_the_server, pipelines, threads):
            part(client)
        client.close()
    decoding = redis.from_url(f"redis://127.0.0.1:{port}/0", decode_responses=True)
    decoding.set("text", "grüße")
    assert decoding.get("text") == "grüße"
    print(f"redis-py {redis.__version__} is content")


main()
