"""Django's own Redis cache and django-redis: the whole of the cache interface, sessions, and what django-redis adds."""

import django
import pytest
from django.conf import settings
from django.core.cache import caches

from conftest import URL

BACKENDS = {
    "core": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": URL},
    "django_redis": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL + "/1"},
}
settings.configure(
    CACHES={"default": BACKENDS["core"], **BACKENDS},
    INSTALLED_APPS=["django.contrib.sessions"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
)
django.setup()


@pytest.fixture(params=BACKENDS)
def cache(request):
    return caches[request.param]


def test_values(cache):
    cache.set("key", {"any": ["thing", 1.5, None]}, 300)
    assert cache.get("key") == {"any": ["thing", 1.5, None]}
    assert cache.get("none", "default") == "default"
    assert cache.get_or_set("made", lambda: "value", 100) == "value"
    assert cache.get("made") == "value"
    assert "key" in cache and "none" not in cache
    assert cache.delete("key") and not cache.delete("key")
    cache.set("gone", 1, 0)
    assert cache.get("gone") is None


def test_add_is_only_once(cache):
    assert cache.add("key", "first", 100)
    assert not cache.add("key", "second", 100)
    assert cache.get("key") == "first"


def test_many(cache):
    assert not cache.set_many({"a": 1, "b": "two", "c": None}, timeout=100)
    assert cache.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": "two", "c": None}
    cache.delete_many(["a", "b"])
    assert cache.get_many(["a", "b", "c"]) == {"c": None}


def test_counters(cache):
    cache.set("n", 10)
    assert [cache.incr("n"), cache.incr("n", 5), cache.decr("n", 2)] == [11, 16, 14]
    with pytest.raises(ValueError):
        cache.incr("none")


def test_lifetimes(cache):
    cache.set("key", "value", timeout=None)
    assert cache.touch("key", 100) and not cache.touch("none", 100)
    assert cache.touch("key", None)
    assert cache.get("key") == "value"


def test_versions_and_clear(cache):
    cache.set("key", "one", version=1)
    assert cache.get("key", version=2) is None
    assert cache.incr_version("key") == 2
    assert cache.get("key", version=2) == "one" and cache.get("key", version=1) is None
    cache.clear()
    assert cache.get("key", version=2) is None


def test_clear_spares_the_other_database():
    caches["core"].set("key", 1)
    caches["django_redis"].set("key", 2)
    caches["django_redis"].clear()
    assert caches["core"].get("key") == 1


def test_sessions():
    from django.contrib.sessions.backends.cache import SessionStore

    session = SessionStore()
    session["user"] = 42
    session.save()
    assert SessionStore(session.session_key)["user"] == 42
    session.flush()
    assert "user" not in SessionStore(session.session_key)


def test_what_django_redis_adds():
    cache = caches["django_redis"]
    assert cache.set("key", "value", timeout=100, nx=True) and not cache.set("key", "other", nx=True)
    assert 0 < cache.ttl("key") <= 100 and 0 < cache.pttl("key") <= 100_000
    assert cache.ttl("none") == 0
    assert cache.persist("key") and cache.ttl("key") is None
    assert cache.expire("key", 50) and cache.pexpire("key", 50_500)
    assert cache.expire_at("key", 32503680000) and cache.pexpire_at("key", 32503680000000)
    cache.set_many({f"item:{n}": n for n in range(300)})
    assert len(cache.keys("item:*")) == 300
    assert sorted(cache.iter_keys("item:29*")) == ["item:29"] + [f"item:29{n}" for n in range(10)]
    assert cache.delete_pattern("item:*", itersize=50) == 300
    with cache.lock("lock", timeout=10):
        assert not cache.lock("lock", timeout=10, blocking_timeout=0).acquire(blocking=False)
    cache.set("float", 1.5)
    assert cache.incr("float", 1) == 2.5
