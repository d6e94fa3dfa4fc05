"""Reads a skip file: which tests of a suite do not apply to a cache of strings, and why. Knows no suite.

    [part of the suite]
    the reason, as a user reads it
        a test's name, or several without spaces in them
"""

import pathlib

# What a reason must not be: it says that a test is red, not why that is right.
EMPTY_WORDS = {"fails", "failing", "broken", "flaky", "todo", "skip", "unsupported"}


def read(name, several_on_a_line=False):
    """{part: {test: reason}}"""
    path = pathlib.Path(__file__).parent / "skip" / name
    parts, tests, reason = {}, None, None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        place = f"{path.name}:{number}"
        if not text or text.startswith("#"):
            continue
        if line.startswith("["):
            tests, reason = parts.setdefault(text[1:-1], {}), None
        elif not line.startswith(" "):
            if set(text.lower().split()) & EMPTY_WORDS or len(text.split()) < 2:
                raise SystemExit(f"{place}: '{text}' is no reason")
            reason = text
        elif tests is None or reason is None:
            raise SystemExit(f"{place}: a test without a part or a reason")
        else:
            for test in text.split() if several_on_a_line else [text]:
                if test in tests:
                    raise SystemExit(f"{place}: '{test}' stands there twice")
                tests[test] = reason
    return parts
