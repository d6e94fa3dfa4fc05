"""Checks a kv-bench report with another implementation of HdrHistogram.

Does the --hgrm file say what was recorded, and --json the same?

    python check_hgrm.py run.hgrm run.json

Exits with 1 and a line for each figure that differs by more than the histogram's own precision.
"""

import json
import re
import sys

from hdrh.histogram import HdrHistogram

# The histogram keeps three digits.
TOLERANCE = 0.001
QUANTILES = {"p50": 50, "p90": 90, "p99": 99, "p99_9": 99.9, "p99_99": 99.99}


def around(histogram, percentile):
    """The values just below and above a percentile: where it falls between two latencies, either is right."""
    one = 100 / histogram.get_total_count()
    values = [histogram.get_value_at_percentile(at) for at in (max(percentile - one, 0), min(percentile + one, 100))]
    return values[0] * (1 - TOLERANCE), values[1] * (1 + TOLERANCE)


def check(hgrm, report):
    """Yields a sentence for each difference."""
    histogram = HdrHistogram.decode(re.search(r"^#\[Encoded = (\S+)\]$", hgrm, re.MULTILINE).group(1))
    latency = report["latency"]
    if histogram.get_total_count() != latency["count"]:
        yield f"{histogram.get_total_count()} latencies in the file, {latency['count']} in the report"
    for name, percentile in QUANTILES.items():
        (least, most), reported = around(histogram, percentile), latency[f"{name}_nanoseconds"]
        if not least <= reported <= most:
            yield f"{name}: {least:.0f} to {most:.0f} ns read, {reported} ns reported"
    rows = re.findall(r"^ *([\d.]+) ([\d.]+) +(\d+)", hgrm, re.MULTILINE)
    for microseconds, quantile, total in rows:
        value = float(microseconds) * 1000
        counted = count_up_to(histogram, value)
        if counted != int(total):
            yield f"at {quantile}: {total} in the file, {counted} counted"
    if len(rows) < 10:
        yield f"only {len(rows)} rows"


def count_up_to(histogram, value):
    """Latencies at or below a value, as recorded."""
    lowest = histogram.get_lowest_equivalent_value
    items = histogram.get_recorded_iterator()
    return sum(item.count_at_value_iterated_to for item in items if lowest(item.value_iterated_to) <= value)


def main():
    with open(sys.argv[1]) as hgrm, open(sys.argv[2]) as report:
        differences = list(check(hgrm.read(), json.load(report)))
    for sentence in differences:
        print(sentence)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
