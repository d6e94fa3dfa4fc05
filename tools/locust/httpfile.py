"""Locust users that speak HTTP: reads and writes of random keys at HOST/kv/KEY, one connection for each user.

Knows nothing of the server's code. Run it on one core, or spread it as locustfile.py beside it says:

    locust -f httpfile.py --headless -u 50 -r 50 -t 30s --host http://127.0.0.1:7172
"""

import random

from locust import FastHttpUser, constant, events, task


@events.init_command_line_parser.add_listener
def declare_options(parser):
    group = parser.add_argument_group("kv-cache")
    group.add_argument("--kv-password", env_var="KV_PASSWORD", default="", help="password to send with each request")
    group.add_argument("--kv-reads", env_var="KV_READS", type=float, default=0.9, help="share of reads, 0 to 1")
    group.add_argument("--kv-keys", env_var="KV_KEYS", type=int, default=10_000, help="number of different keys")
    group.add_argument("--kv-value-size", env_var="KV_VALUE_SIZE", type=int, default=64, help="bytes per value")


class CacheUser(FastHttpUser):
    """Reads and writes without a pause."""

    wait_time = constant(0)

    def on_start(self):
        options = self.environment.parsed_options
        self.options = options
        self.value = random.randbytes(options.kv_value_size)
        self.headers = {"Authorization": f"Bearer {options.kv_password}"} if options.kv_password else {}

    @task
    def one(self):
        path = f"/kv/k{random.randrange(self.options.kv_keys)}"
        if random.random() >= self.options.kv_reads:
            self.client.put(path, data=self.value, headers=self.headers, name="PUT")
            return
        with self.client.get(path, headers=self.headers, name="GET", catch_response=True) as reply:
            # A miss is an answer.
            if reply.status_code == 404:
                reply.success()
