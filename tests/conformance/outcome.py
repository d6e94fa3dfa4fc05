"""What a job of a suite comes to. Knows neither suites nor servers."""

import collections
import dataclasses


@dataclasses.dataclass
class Outcome:
    passed: list = dataclasses.field(default_factory=list)  # names
    failed: list = dataclasses.field(default_factory=list)  # (name, context)
    skipped: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # reason: count
    not_applicable: int = 0  # what the suite itself leaves out for a server of this kind or version

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.not_applicable += other.not_applicable

    def fail(self, name, context=""):
        self.failed.append((name, context))

    def __str__(self):
        parts = [f"{len(self.passed)} passed", f"{len(self.failed)} failed", f"{self.skipped.total()} skipped"]
        return ", ".join(parts)
