"""Random sequences of commands against the server and a real redis-server, reply for reply. differential/ has the parts."""

import pathlib
import random
import sys
import time

import downloads
import servers
from outcome import Outcome

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "differential"))

from comparison import CONNECTIONS, first_difference, shortened, told  # noqa: E402
from grammar import Maker  # noqa: E402

COMMANDS_EACH = 60
# After so many differences the rest is noise.
FAILURES_MAX = 5


class Suite:
    def __init__(self, seed, sequences):
        self.seed = seed
        self.sequences = sequences
        self.NAME = f"random sequences of commands beside redis-server {downloads.REDIS_VERSION}"

    def prepare(self):
        downloads.redis_server()

    def parts(self):
        return ["RESP2", "RESP3"]

    def run(self, part, engine, audit=False):
        outcome, protocol = Outcome(), part[-1]
        with servers.start(engine) as ours, servers.start("redis-server") as theirs:
            for index in range(self.sequences):
                seed = f"{self.seed}:{index}"
                steps = sequence(seed)
                difference = first_difference(ours.port, theirs.port, protocol, steps)
                if difference is None:
                    outcome.passed.append(f"{part}: sequence {index}")
                    continue
                steps, difference = shortened(ours.port, theirs.port, protocol, steps, difference)
                outcome.fail(f"seed {self.seed}, sequence {index}, {part}", told(steps, difference))
                if len(outcome.failed) == FAILURES_MAX:
                    break
        return outcome


def sequence(seed):
    """[(connection, words, whether it goes out together with the one before)]"""
    chance = random.Random(seed)
    maker = Maker(chance, int(time.time()))
    steps, connection = [], 0
    for _ in range(COMMANDS_EACH):
        if chance.random() < 0.2:
            connection = chance.randrange(CONNECTIONS)
        steps.append((connection, maker.command(), chance.random() < 0.4))
    return steps
