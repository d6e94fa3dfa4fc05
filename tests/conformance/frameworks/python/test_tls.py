"""redis-py, pymemcache and Django's caches over TLS: who is let in, what is large, and a certificate that is renewed."""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import time

import django
import pytest
import redis
import redis.asyncio
from django.conf import settings
from django.core.cache import caches
from pymemcache import MemcacheError
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from redis.cache import CacheConfig

from conftest import URL

TLS_URL = os.environ["CACHE_TLS_URL"]
FOLDER = os.environ["CERTIFICATES"]
MEMCACHED_ADDRESS = os.environ["MEMCACHED_ADDRESS"]
ADDRESS, MEMCACHED = (
    (host, int(port)) for host, port in (url.split("/")[-1].split(":") for url in (TLS_URL, MEMCACHED_ADDRESS))
)
DEADLINE_SECONDS = 30
if socket.socket().connect_ex(ADDRESS) != 0:
    pytest.skip("this server does not speak TLS", allow_module_level=True)

TRUST = {"ssl_ca_certs": f"{FOLDER}/ca.pem"}


def identity(name):
    return {"ssl_certfile": f"{FOLDER}/{name}.pem", "ssl_keyfile": f"{FOLDER}/{name}.key"}


def context(name=None):
    made = ssl.create_default_context(cafile=f"{FOLDER}/ca.pem")
    if name:
        made.load_cert_chain(f"{FOLDER}/{name}.pem", f"{FOLDER}/{name}.key")
    return made


settings.configure(
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": TLS_URL, "OPTIONS": TRUST,
        },
        "django_redis": {
            "BACKEND": "django_redis.cache.RedisCache", "LOCATION": TLS_URL + "/1",
            "OPTIONS": {"CONNECTION_POOL_KWARGS": TRUST | identity("client")},
        },
        "memcached": {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": MEMCACHED_ADDRESS,
            "OPTIONS": {"tls_context": context()},
        },
    },
)
django.setup()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def connect(request):
    clients = []

    def make(**options):
        clients.append(redis.Redis.from_url(TLS_URL, protocol=request.param, **options))
        return clients[-1]

    yield make
    [client.close() for client in clients]


@pytest.fixture
def auth_clients():
    """Says whether clients must show a certificate, for one test."""
    plain = redis.Redis.from_url(URL)
    yield lambda which: plain.config_set("tls-auth-clients", which)
    plain.config_set("tls-auth-clients", "optional")


@pytest.mark.parametrize("which", ["no", "optional", "yes"])
def test_who_is_let_in(connect, auth_clients, which):
    auth_clients(which)
    assert connect(**TRUST, **identity("client")).set("key", which) is True
    if which == "yes":
        with pytest.raises(redis.ConnectionError):
            connect(**TRUST).ping()
    else:
        assert connect(**TRUST).get("key") == which.encode()
    if which != "no":
        with pytest.raises(redis.ConnectionError):
            connect(**TRUST, **identity("stranger")).ping()
    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        connect(ssl_ca_certs=f"{FOLDER}/stranger.pem").ping()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_values(connect, version):
    client = connect(**TRUST, ssl_min_version=version)
    value = os.urandom(1 << 20) * 20
    assert client.set("large", value) is True
    assert client.get("large") == value
    assert client.getrange("large", 5_000_000, 5_000_009) == value[5_000_000:5_000_010]
    assert redis.Redis.from_url(URL).get("large") == value


def test_pipelines(connect):
    pipe = connect(**TRUST).pipeline(transaction=False)
    for n in range(10_000):
        pipe.set(f"key:{n}", n).get(f"key:{n}")
    assert pipe.execute() == [reply for n in range(10_000) for reply in (True, str(n).encode())]
    with connect(**TRUST).pipeline() as pipe:
        assert pipe.set("a", 1).incr("a").get("a").execute() == [True, 2, b"2"]


def test_client_side_cache():
    caching = redis.Redis.from_url(TLS_URL, protocol=3, cache_config=CacheConfig(), **TRUST)
    writing = redis.Redis.from_url(TLS_URL, **TRUST)
    writing.set("key", "old")
    assert caching.get("key") == b"old" and len(caching.get_cache().collection) == 1
    writing.set("key", "new")
    # The message about the key stands in the connection before the reply to whatever is asked next.
    caching.ping()
    assert caching.get("key") == b"new"


def test_asyncio():
    async def conversation():
        client = redis.asyncio.Redis.from_url(TLS_URL, **TRUST, **identity("client"))
        assert sorted(await asyncio.gather(*(client.incr("n") for _ in range(50)))) == list(range(1, 51))
        await client.aclose()

    asyncio.run(conversation())


def shown_by(address):
    """The certificate that a new connection is shown."""
    with context().wrap_socket(socket.create_connection(address), server_hostname="localhost") as secured:
        return secured.getpeercert(binary_form=True)


def test_a_renewed_certificate(connect):
    plain, client = redis.Redis.from_url(URL), connect(**TRUST)
    memcached = Client(MEMCACHED, tls_context=context(), default_noreply=False)
    assert client.set("key", "value") and memcached.get("key") == b"value"
    name, before = client.client_id(), shown_by(ADDRESS)
    for now, then in [("server", "kept"), ("renewed", "server")]:
        shutil.copy(f"{FOLDER}/{now}.pem", f"{FOLDER}/{then}.pem")
        shutil.copy(f"{FOLDER}/{now}.key", f"{FOLDER}/{then}.key")
    try:
        reload(plain, lambda: shown_by(ADDRESS) != before and shown_by(MEMCACHED) == shown_by(ADDRESS))
        # Who is in stays in, and who is thrown out comes back.
        assert client.get("key") == b"value" and client.client_id() == name and memcached.get("key") == b"value"
        assert plain.client_kill_filter(_id=name) == 1
        assert client.get("key") == b"value" and client.client_id() != name
        assert Client(MEMCACHED, tls_context=context()).get("key") == b"value"
    finally:
        for ending in ["pem", "key"]:
            shutil.copy(f"{FOLDER}/kept.{ending}", f"{FOLDER}/server.{ending}")
        reload(plain, lambda: shown_by(ADDRESS) == before)


def reload(plain, is_done):
    os.kill(plain.info("server")["process_id"], signal.SIGHUP)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_done():
        assert time.monotonic() < deadline, "the certificate is not shown"
        time.sleep(0.01)


@pytest.mark.parametrize("kind", [
    lambda made: Client(MEMCACHED, tls_context=made, default_noreply=False),
    lambda made: PooledClient(MEMCACHED, tls_context=made, max_pool_size=4, default_noreply=False),
    lambda made: HashClient([MEMCACHED], tls_context=made, default_noreply=False),
], ids=["plain", "pooled", "hash"])
def test_pymemcache(kind):
    for name in [None, "client"]:
        client = kind(context(name))
        assert client.set("key", b"value", expire=100) and client.get("key") == b"value"
        assert client.append("key", b"!") and client.prepend("key", b"?") and client.touch("key", 50)
        large = os.urandom(1 << 20)[:-100]
        assert client.set("large", large) and client.get("large") == large
        values = {f"key:{n}": str(n).encode() for n in range(1000)}
        assert client.set_many(values) == [] and client.get_many(list(values)) == values
        value, version = client.gets("key")
        assert client.cas("key", b"1", version) is True and client.incr("key", 5) == 6
        assert redis.Redis.from_url(TLS_URL, **TRUST).get("key") == b"6" and client.delete("key")


def test_pymemcache_without_a_certificate(auth_clients):
    auth_clients("yes")
    with pytest.raises((OSError, MemcacheError)):
        Client(MEMCACHED, tls_context=context()).get("key")
    assert Client(MEMCACHED, tls_context=context("client"), default_noreply=False).set("key", b"value")


@pytest.mark.parametrize("name", ["default", "django_redis", "memcached"])
def test_django(name):
    cache = caches[name]
    cache.set("key", {"any": ["thing", 1.5, None]}, 300)
    assert cache.get("key") == {"any": ["thing", 1.5, None]} and cache.get("none", "default") == "default"
    assert cache.add("n", 1) and not cache.add("n", 2) and cache.incr("n", 4) == 5
    values = {f"key:{n}": n for n in range(500)}
    assert not cache.set_many(values) and cache.get_many(values) == values
    cache.set("text", "x" * 500_000)
    assert cache.get("text") == "x" * 500_000
    assert cache.touch("key", 100) and cache.delete("key") and not cache.delete("key")
    cache.clear()
    assert cache.get_many(values) == {}
