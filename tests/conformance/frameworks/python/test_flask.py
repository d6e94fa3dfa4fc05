"""Flask-Caching in an application, cachelib beneath it, and Flask-Limiter's rate limits by script."""

import cachelib
import flask
from flask_caching import Cache
from flask_limiter import Limiter


def application(url, **settings):
    app = flask.Flask(__name__)
    app.config.from_mapping(CACHE_TYPE="RedisCache", CACHE_REDIS_URL=url, CACHE_KEY_PREFIX="app:", **settings)
    return app


def test_views_and_functions_are_computed_once(url):
    app, calls = application(url), []
    cache = Cache(app)

    @app.route("/page")
    @cache.cached(timeout=100, query_string=True)
    def page():
        calls.append("page")
        return f"made {len(calls)} times"

    @cache.memoize(100)
    def square(n):
        calls.append(n)
        return n * n

    browser = app.test_client()
    assert browser.get("/page").text == browser.get("/page").text == "made 1 times"
    with app.app_context():
        assert square(3) == square(3) == 9
        cache.delete_memoized(square)
        assert square(3) == 9
        assert calls == ["page", 3, 3]
        cache.clear()
    assert browser.get("/page").text == "made 4 times"


def test_cachelib(url):
    host, port = url.removeprefix("redis://").split(":")
    cache = cachelib.RedisCache(host, int(port), key_prefix="lib:")
    assert cache.set("key", [1, 2], timeout=100) and cache.get("key") == [1, 2]
    assert cache.add("new", 1) and not cache.add("new", 2)
    assert all(cache.set_many({"a": 1, "b": 2}))
    assert cache.get_many("a", "none", "b") == [1, None, 2]
    assert cache.has("a") and not cache.has("none")
    assert cache.inc("n", 3) == 3 and cache.dec("n") == 2
    assert cache.delete("a") and set(cache.delete_many("b", "new")) == {"b", "new"}
    assert cache.clear() and cache.get("key") is None


def test_rate_limits(url):
    app = flask.Flask(__name__)
    # A window from the first request on, and one that slides: both count by scripts.
    Limiter(lambda: "somebody", app=app, storage_uri=url, strategy="sliding-window-counter", default_limits=["3/hour"])

    @app.route("/")
    def page():
        return "here"

    browser = app.test_client()
    assert [browser.get("/").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
