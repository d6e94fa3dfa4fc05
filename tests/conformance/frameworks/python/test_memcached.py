"""pymemcache, and Django's cache over it, at the door for memcached's clients."""

import os
import socket
import threading

import django
import pytest
from django.conf import settings
from django.core.cache import cache as django_cache
from pymemcache import MemcacheServerError, MemcacheUnknownError
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient

ADDRESS = os.environ["MEMCACHED_ADDRESS"]
HOST, PORT = ADDRESS.split(":")
SERVER = (HOST, int(PORT))
if socket.socket().connect_ex(SERVER) != 0:
    pytest.skip("this server does not speak memcached's protocol", allow_module_level=True)
CLIENTS = {
    "plain": lambda: Client(SERVER, default_noreply=False),
    "pooled": lambda: PooledClient(SERVER, max_pool_size=4, default_noreply=False),
    "hash": lambda: HashClient([SERVER], default_noreply=False),
    "prefix": lambda: Client(SERVER, key_prefix=b"prefix:", default_noreply=False),
}
settings.configure(
    CACHES={"default": {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": ADDRESS}},
    INSTALLED_APPS=["django.contrib.sessions"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
)
django.setup()


@pytest.fixture(params=CLIENTS)
def client(request):
    return CLIENTS[request.param]()


def test_values(client):
    assert client.set("key", b"value") and client.get("key") == b"value"
    assert client.get("none") is None and client.get("none", "default") == "default"
    assert client.add("key", b"other") is False and client.add("new", b"other") is True
    assert client.replace("key", b"second") is True and client.replace("none", b"x") is False
    assert client.append("key", b"!") and client.prepend("key", b"?") and client.get("key") == b"?second!"
    assert client.delete("key") is True and client.delete("key") is False
    assert client.get_many(["key", "new"]) == {"new": b"other"}


def test_many(client):
    values = {f"key:{n}": str(n).encode() for n in range(1000)}
    assert client.set_many(values) == []
    assert client.get_many(list(values)) == values
    assert client.delete_many(list(values)) and client.get_many(list(values)) == {}


def test_counters(client):
    assert client.incr("n", 1) is None
    client.set("n", b"10")
    assert client.incr("n", 5) == 15 and client.decr("n", 100) == 0


def test_versions(client):
    client.set("key", b"first")
    value, version = client.gets("key")
    assert value == b"first" and client.gets("key") == (value, version)
    assert client.cas("key", b"second", version) is True
    assert client.cas("key", b"third", version) is False
    assert client.cas("none", b"third", version) is None
    found = client.gets_many(["key", "none"])
    assert set(found) == {"key"} and found["key"][0] == b"second"


def test_times(client):
    client.set("gone", b"value", expire=-1)
    assert client.get("gone") is None
    client.set("key", b"value", expire=100)
    assert client.touch("key", 50) is True and client.touch("none", 50) is False
    assert client.get("key") == b"value"


def test_without_replies():
    client = Client(SERVER)
    for n in range(100):
        client.set("key", str(n).encode(), noreply=True)
        client.append("key", b"!", noreply=True)
    assert client.get("key") == b"99!"


def test_what_is_too_large():
    client = Client(SERVER, default_noreply=False)
    client.set("key", b"x" * (1 << 20 - 1))
    with pytest.raises((MemcacheServerError, MemcacheUnknownError)):
        client.set("key", b"x" * (1 << 21))
    assert client.get("key") is None


def test_raw_meta_commands():
    client = Client(SERVER, default_noreply=False)
    assert client.raw_command(b"ms key 2 T30 F5\r\nhi") == b"HD"
    assert client.raw_command(b"mg key t f s") == b"HD t30 f5 s2"


def test_stats_and_version():
    client = Client(SERVER, default_noreply=False)
    client.set("key", b"value")
    assert client.version().startswith(b"1.6.") and client.stats()[b"curr_items"] == 1
    assert int(client.stats("items")[b"items:1:number"]) == 1
    assert b"item_size_max" in client.stats("settings")


def test_many_threads():
    def count():
        client = Client(SERVER, default_noreply=False)
        for _ in range(200):
            client.incr("n", 1)

    Client(SERVER, default_noreply=False).set("n", b"0")
    threads = [threading.Thread(target=count) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert Client(SERVER).get("n") == b"1600"


def test_django_values():
    django_cache.set("key", {"any": ["thing", 1.5, None]}, 300)
    assert django_cache.get("key") == {"any": ["thing", 1.5, None]}
    assert django_cache.get_or_set("made", lambda: "value", 100) == "value"
    assert django_cache.add("key", 1) is False and django_cache.add("new", 1) is True
    assert django_cache.incr("new", 4) == 5 and django_cache.decr("new", 2) == 3
    with pytest.raises(ValueError):
        django_cache.incr("none")
    assert django_cache.touch("key", 100) and not django_cache.touch("none")
    assert django_cache.delete("key") and not django_cache.delete("key")
    django_cache.set("gone", 1, -1)
    assert django_cache.get("gone") is None
    # More than thirty days is a date in memcached's protocol; Django knows.
    django_cache.set("long", 1, 60 * 60 * 24 * 60)
    assert django_cache.get("long") == 1


def test_django_many():
    values = {f"key {n}".replace(" ", "_"): n for n in range(500)}
    assert django_cache.set_many(values) == []
    assert django_cache.get_many(values) == values
    django_cache.delete_many(values)
    assert django_cache.get_many(values) == {}
    django_cache.set("key", 1, version=2)
    assert django_cache.get("key") is None and django_cache.get("key", version=2) == 1
    django_cache.clear()
    assert django_cache.get("key", version=2) is None


def test_django_sessions():
    from django.contrib.sessions.backends.cache import SessionStore

    session = SessionStore()
    session["user"] = 7
    session.save()
    assert SessionStore(session.session_key)["user"] == 7
    session.flush()
    assert not SessionStore().exists(session.session_key or "none")
