"""What the tests of Python's frameworks share: the server's address, and a clean server for each of them."""

import os
import warnings

import pytest
import redis

URL = os.environ["CACHE_URL"]


@pytest.fixture(scope="session")
def url():
    return URL


@pytest.fixture(autouse=True)
def clean_server():
    client = redis.Redis.from_url(URL)
    client.flushall()
    client.close()


@pytest.fixture(autouse=True)
def warnings_are_errors():
    """A client that warns about the server does not take it for what it knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        yield
