#!/usr/bin/env python3
"""A client for kv-cache's Protobuf port, and a check of one that runs: client.py HOST PORT.

The module kv_cache_pb2 beside it is made from the schema (the package grpcio-tools brings the compiler):

    python3 -m grpc_tools.protoc -I proto --python_out=tools/protobuf proto/kv_cache.proto
"""

import socket
import sys

from google.protobuf import proto
import kv_cache_pb2 as pb


class Cache:
    """One connection. Requests may be sent ahead; their answers come in order."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rwb")
        self.next_id = 0

    def send(self, **command):
        """Queues a request, and returns its id."""
        self.next_id += 1
        proto.serialize_length_prefixed(pb.Request(id=self.next_id, **command), self.stream)
        return self.next_id

    def receive(self):
        self.stream.flush()
        response = proto.parse_length_prefixed(pb.Response, self.stream)
        if response is None:
            raise ConnectionError("the server has closed the connection")
        return response

    def ask(self, **command):
        """Asks and waits for the answer."""
        sent = self.send(**command)
        response = self.receive()
        if response.WhichOneof("result") == "error":
            raise RuntimeError(response.error)
        assert response.id == sent
        return response

    def get(self, key):
        """The value, or None."""
        value = self.ask(get=pb.Get(key=key)).value
        return value.data if value.HasField("data") else None

    def set(self, key, value, ttl_ms=0, condition=pb.ALWAYS, expected=b""):
        """False when the condition did not hold."""
        change = pb.Set(key=key, value=value, ttl_ms=ttl_ms, condition=condition, expected=expected)
        return self.ask(set=change).done


def check(cache):
    value = bytes(range(256)) * 1000
    assert cache.ask(ping=pb.Ping()).done
    assert cache.set(b"tools:python", value, ttl_ms=60_000)
    assert cache.get(b"tools:python") == value
    assert not cache.set(b"tools:python", b"", condition=pb.IF_ABSENT)
    assert cache.set(b"tools:python", b"", condition=pb.IF_EQUAL, expected=value)
    assert cache.get(b"tools:python") == b"" and cache.get(b"tools:none") is None
    assert cache.ask(touch=pb.Touch(key=b"tools:python", ttl_ms=1000)).done
    cache.ask(delete=pb.Delete(key=b"tools:count"))
    assert cache.ask(increment=pb.Increment(key=b"tools:count", by=-5)).number == -5
    assert cache.ask(increment=pb.Increment(key=b"tools:count")).number == -4
    several = cache.ask(multi_get=pb.MultiGet(keys=[b"tools:count", b"tools:none"])).values.values
    assert [value.data if value.HasField("data") else None for value in several] == [b"-4", None]
    # A pipeline, and a batch.
    sent = [cache.send(get=pb.Get(key=b"tools:count")) for _ in range(1000)]
    assert [cache.receive().id for _ in sent] == sent
    cache.send(batch=pb.Batch(requests=[pb.Request(id=id, ping=pb.Ping()) for id in range(100, 110)]))
    assert [cache.receive().id for _ in range(10)] == list(range(100, 110))
    try:
        cache.ask(increment=pb.Increment(key=b"tools:python"))
    except RuntimeError as error:
        assert str(error).startswith("ERR value is not an integer"), error
    else:
        raise AssertionError("that is no number")


if __name__ == "__main__":
    check(Cache(sys.argv[1], int(sys.argv[2])))
