"""Celery's tasks that run once at a time: celery-singleton's locks, which are plain keys. The queue is in memory."""

import celery
import pytest
import redis
from celery_singleton import DuplicateTaskError, Singleton
from celery_singleton.backends import get_backend
from celery_singleton.config import Config


def test_a_task_is_queued_once(url):
    app = celery.Celery("app", broker="memory://", backend="cache+memory://")
    app.conf.update(singleton_backend_url=url, singleton_raise_on_duplicate=True, singleton_lock_expiry=100)
    runs = []

    @app.task(base=Singleton, name="report")
    def report(number):
        runs.append(number)

    first = report.delay(1)
    report.delay(2)
    with pytest.raises(DuplicateTaskError):
        report.delay(1)
    locks = redis.Redis.from_url(url).keys("*")
    assert len(locks) == 2 and all(0 < redis.Redis.from_url(url).ttl(lock) <= 100 for lock in locks)
    report.on_success(None, first.id, [1], {})
    assert report.delay(1).id != first.id
    get_backend(Config(app)).clear("SINGLETONLOCK_")
    assert redis.Redis.from_url(url).dbsize() == 0
