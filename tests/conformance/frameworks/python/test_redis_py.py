"""redis-py as an application uses it: plain calls, pipelines, transactions, locks, its own cache, and asyncio."""

import asyncio
import threading
import time

import pytest
import redis
import redis.asyncio
from redis.cache import CacheConfig

PROTOCOLS = [{}, {"protocol": 2}, {"protocol": 3}]


@pytest.fixture(params=PROTOCOLS, ids=["default", "RESP2", "RESP3"])
def client(request, url):
    client = redis.Redis.from_url(url, **request.param)
    yield client
    client.close()


def test_strings(client):
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


def test_keys(client):
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


def test_iteration(client):
    names = {f"item:{n}".encode() for n in range(2500)}
    client.mset({name: 1 for name in names} | {"other": 1})
    assert set(client.scan_iter("item:*", count=100)) == names
    assert set(client.keys("item:*")) == names


def test_counters(client):
    assert [client.incr("n"), client.incr("n", 10), client.decr("n"), client.decrby("n", 5)] == [1, 11, 10, 5]
    assert client.incrbyfloat("x", 0.5) == 0.5
    client.set("text", "x")
    with pytest.raises(redis.ResponseError, match="value is not an integer"):
        client.incr("text")


def test_about_the_server(client):
    assert client.ping() is True
    assert client.echo("hi") == b"hi"
    assert client.info()["redis_version"].startswith("7.")
    assert client.config_get("maxmemory-policy").keys() == {"maxmemory-policy"}
    assert client.config_set("timeout", 0) is True
    assert client.client_setname("script") is True
    assert client.client_getname() in ("script", b"script")
    assert any(line["name"] == "script" for line in client.client_list())
    assert client.client_id() > 0
    assert client.command_count() == len(client.command())
    assert abs(client.time()[0] - time.time()) < 60


def test_pipelines(client):
    pipe = client.pipeline(transaction=False)
    for n in range(1000):
        pipe.set(f"key:{n}", n).get(f"key:{n}")
    assert pipe.execute() == [reply for n in range(1000) for reply in (True, str(n).encode())]


def test_transactions(client):
    with client.pipeline() as pipe:
        assert pipe.set("a", 1).incr("a").get("a").execute() == [True, 2, b"2"]
    with client.pipeline() as pipe:
        pipe.watch("a")
        client.set("a", "changed")
        pipe.multi()
        pipe.set("a", "lost")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert client.transaction(lambda pipe: (pipe.multi(), pipe.set("b", 1)), "a") == [True]


def test_a_lock_is_held_by_one(client):
    lock = client.lock("lock", timeout=10)
    other = client.lock("lock", timeout=10, blocking=False)
    assert lock.acquire()
    assert not other.acquire()
    assert lock.extend(10) and lock.reacquire() and lock.owned()
    lock.release()
    assert other.acquire()
    with pytest.raises(redis.exceptions.LockNotOwnedError):
        client.set("lock", "stolen")
        other.release()


def test_scripts(client):
    script = client.register_script("return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}")
    assert script(keys=["n"], args=[5]) == [b"n", 5]
    client.script_flush()
    assert script(keys=["n"], args=[5]) == [b"n", 10]


def test_threads(client):
    workers = [threading.Thread(target=lambda: [client.incr("together") for _ in range(200)]) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert client.get("together") == b"1600"


def test_databases(url):
    first, second = (redis.Redis.from_url(url, db=db) for db in (0, 7))
    first.set("key", "of 0")
    assert second.get("key") is None
    second.set("key", "of 7")
    second.flushdb()
    assert first.get("key") == b"of 0"


def test_decoded(url):
    decoding = redis.from_url(url, decode_responses=True)
    decoding.set("text", "grüße")
    assert decoding.get("text") == "grüße"


def test_client_side_cache(url):
    writing = redis.Redis.from_url(url)
    if not writing.info()["redis_version"].startswith("7.4."):
        pytest.skip("redis-py caches nothing of a server before 7.4")
    caching = redis.Redis.from_url(url, protocol=3, cache_config=CacheConfig())
    writing.set("key", "old")
    assert caching.get("key") == b"old"
    assert len(caching.get_cache().collection) == 1
    writing.set("key", "new")
    # The message about the key stands in the connection before the reply to whatever is asked next.
    caching.ping()
    assert caching.get("key") == b"new"


def test_asyncio(url):
    async def conversation():
        client = redis.asyncio.Redis.from_url(url)
        await client.set("key", "value", px=60_000)
        assert await client.get("key") == b"value"
        async with client.pipeline(transaction=True) as pipe:
            assert await pipe.incr("n").incr("n").execute() == [1, 2]
        async with client.lock("lock", timeout=10):
            assert not await client.lock("lock", blocking=False, timeout=10).acquire()
        assert await client.exists("lock") == 0
        assert sorted(await asyncio.gather(*(client.incr("together") for _ in range(50)))) == list(range(1, 51))
        assert {key async for key in client.scan_iter("n*")} == {b"n"}
        await client.aclose()

    asyncio.run(conversation())
