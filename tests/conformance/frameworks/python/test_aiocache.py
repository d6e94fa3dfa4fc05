"""aiocache: values, counters, compare-and-set and locks, all from one event loop."""

import asyncio

import pytest
from aiocache import Cache, cached
from aiocache.lock import OptimisticLock, RedLock


def conversation(url, part):
    async def run():
        host, port = url.removeprefix("redis://").split(":")
        async with Cache(Cache.REDIS, endpoint=host, port=int(port), namespace="app") as cache:
            await part(cache, {"endpoint": host, "port": int(port)})

    asyncio.run(run())


def test_values(url):
    async def part(cache, _):
        assert await cache.set("key", {"a": 1}, ttl=100) and await cache.get("key") == {"a": 1}
        assert await cache.set("key", "short", ttl=50.5) and await cache.exists("key")
        assert await cache.multi_set([("a", 1), ("b", 2)], ttl=100)
        assert await cache.multi_get(["a", "none", "b"]) == [1, None, 2]
        await cache.add("new", 1)
        with pytest.raises(ValueError):
            await cache.add("new", 2)
        assert await cache.increment("n", 5) == 5 and await cache.expire("n", 100) and await cache.delete("n") == 1
        assert await cache.clear(namespace="app") and not await cache.exists("a")

    conversation(url, part)


def test_decorated(url):
    async def part(_, place):
        calls = []

        @cached(ttl=100, cache=Cache.REDIS, **place)
        async def slow(n):
            calls.append(n)
            return n * 2

        assert [await slow(1), await slow(1), await slow(2)] == [2, 2, 4]
        assert calls == [1, 2]

    conversation(url, part)


def test_locks(url):
    async def part(cache, _):
        async with RedLock(cache, "key", lease=10):
            assert await cache.exists("key-lock")
            # What another one asks for the lock with.
            with pytest.raises(ValueError):
                await cache.add("key-lock", "another's")
        assert not await cache.exists("key-lock")

        await cache.set("key", "old")
        async with OptimisticLock(cache, "key") as lock:
            assert await lock.cas("new")
        assert await cache.get("key") == "new"

    conversation(url, part)
