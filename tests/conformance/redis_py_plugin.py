"""A plugin of pytest, in redis-py's run: skips what the plan names, and writes down what became of every test."""

import fnmatch
import json
import os

import pytest

with open(os.environ["CONFORMANCE_PLAN"]) as file:
    PLAN = json.load(file)

report = {"passed": [], "failed": {}, "skipped": {}, "not_applicable": [], "unseen": []}


def pytest_collection_modifyitems(config, items):
    unseen = dict(PLAN["reasons"])
    chosen = []
    for item in items:
        # The skip file may leave out the file, the class and the parameter; * stands for any text.
        whole = item.nodeid.removeprefix("tests/")
        names = [whole, whole.split("::", 1)[1], whole.split("::")[-1]]
        names += [name.split("[")[0] for name in names]
        patterns = [p for p in PLAN["reasons"] if any(n == p or fnmatch.fnmatchcase(n, p) for n in names)]
        for pattern in patterns:
            unseen.pop(pattern, None)
        if patterns and not PLAN["audit"]:
            report["skipped"][item.nodeid] = PLAN["reasons"][patterns[0]]
            item.add_marker(pytest.mark.skip(reason=PLAN["reasons"][patterns[0]]), append=False)
        if patterns or not PLAN["audit"]:
            chosen.append(item)
    items[:] = chosen
    report["unseen"] = sorted(unseen)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    result = (yield).get_result()
    name = item.nodeid
    if result.failed:
        report["failed"][name] = str(result.longrepr)[-3000:]
    elif result.skipped and name not in report["skipped"]:
        report["not_applicable"].append(name)
    elif result.passed and result.when == "call":
        report["passed"].append(name)


def pytest_sessionfinish():
    report["passed"] = [name for name in report["passed"] if name not in report["failed"]]
    with open(os.environ["CONFORMANCE_REPORT"], "w") as file:
        json.dump(report, file)
