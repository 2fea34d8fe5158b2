"""The table: its rows, how they are evaluated, and how they are printed."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import Any

from measure import MEASUREMENTS

MEDIAN = 50


@dataclass(frozen=True)
class Row:
    """One line of the table: two sides of one measurement, and how far apart they should be.

    `reach` is the highest ratio that is good enough; None: there is no such ratio. `limit` is the
    highest value of our side alone, in the unit of the row.
    """

    measurement: str
    what: str
    against_what: str
    reach: float | None = None
    ours: str = "ours"
    against: str = "against"
    unit: str = "s"
    percentile: int = MEDIAN
    limit: float | None = None


ROWS = (
    Row(
        "session-per-call",
        "session per call: open, fetch, close",
        "naive session per call",
        reach=1 / 10,
    ),
    Row(
        "stall",
        "worst loop stall, p99, first included",
        "naive session per call",
        reach=1 / 10,
        percentile=99,
        limit=0.010,
    ),
    Row(
        "stall",
        "  (an idle loop: the noise)",
        "naive session per call",
        ours="idle",
        percentile=99,
    ),
    Row(
        "herd",
        "worst loop stall, 20 sessions at once",
        "20 naive sessions at once",
        reach=1 / 20,
    ),
    Row(
        "fetch",
        "pooled fetch, whole",
        "bare aiobotocore call",
        reach=1.05,
    ),
    Row(
        "fetch",
        "  (a second bare client: the noise)",
        "bare aiobotocore call",
        ours="control",
    ),
    Row(
        "import",
        "import aiocredentials",
        "import aioboto3",
        reach=1 / 4,
    ),
    Row(
        "import",
        "  (asyncio, botocore.exceptions alone)",
        "import aioboto3",
        ours="floor",
    ),
    Row(
        "memory",
        "memory of 1,000 sessions, collector off",
        "naive, scaled to 1,000",
        reach=1 / 20,
        unit="B",
    ),
    Row("hit", "hit", "bare coroutine", reach=2, against="floor"),
    Row("hit", "hit", "Powertools get_secret", reach=1 / 5, against="powertools"),
    Row("hit", "hit", "async-lru", reach=1 / 4, against="async_lru"),
    Row("hit", "hit", "aws-secretsmanager-caching", reach=1 / 25, against="aws_caching"),
    Row(
        "size",
        "hit, 100,000 secrets cached",
        "hit, 10 cached",
        reach=1.2,
    ),
    Row(
        "size",
        "  (spread over 1,000 of the 100,000)",
        "hit, 10 cached",
        ours="spread",
    ),
    Row(
        "prefetch",
        "prefetch of 500, server at 20 ms",
        "500 single gets, 10 connections",
        reach=1 / 4,
    ),
    Row(
        "prefetch",
        "  (the same)",
        "500 single gets, 50 connections",
        against="wide",
    ),
    Row(
        "prefetch",
        "  calls",
        "500 single gets",
        reach=25 / 500,
        ours="ours_calls",
        against="against_calls",
        unit="calls",
    ),
    Row(
        "hang",
        "read past the TTL, refresh hanging",
        "hit",
        reach=1.5,
    ),
)
COLUMNS = ("what", "ours", "against", "", "ratio", "spread", "reach", "met")

# For each unit of a row, the scales from the largest on, with their names.
SCALES = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((2**30, "GiB"), (2**20, "MiB"), (1, "B")),
}


def percentile(values: list[float], percent: int) -> float:
    """Return the median, or the nearest-rank percentile: one of the values."""
    if percent == MEDIAN:
        return statistics.median(values)

    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[rank - 1]


def evaluate(row: Row, gathered: dict[str, Any]) -> dict[str, Any]:
    """Turn the values of a measurement into one record of the JSON file.

    If the sides shared a process, they are compared within it, and the record has the median of
    those ratios; else their own figures are compared.
    """
    record: dict[str, Any] = {
        "name": row.measurement,
        "what": row.what.strip(" ()"),
        "against": row.against_what,
    }
    if "values" not in gathered:
        return record | gathered
    if row.against not in gathered["values"]:
        return record | {"skip": f"{row.against_what} is not installed"}

    our_rounds = gathered["values"][row.ours]
    their_rounds = gathered["values"][row.against]
    ours = summary(row, our_rounds)
    theirs = summary(row, their_rounds)

    ratios: list[float] = []
    for our_values, their_values in zip(our_rounds, their_rounds, strict=True):
        ours_of_round = percentile(our_values, row.percentile)
        theirs_of_round = percentile(their_values, row.percentile)
        ratios.append(ours_of_round / theirs_of_round)

    if MEASUREMENTS[row.measurement].sides:
        ratio = ours["figure"] / theirs["figure"]
    else:
        ratio = statistics.median(ratios)

    return record | {
        "unit": row.unit,
        "statistic": f"p{row.percentile}",
        "ratio": ratio,
        "ratio_of_each_round": ratios,
        "reach": row.reach,
        "limit": row.limit,
        "met": is_met(row, ratio, ours["figure"]),
        "ours": ours,
        "theirs": theirs,
    }


def summary(row: Row, rounds: list[list[float]]) -> dict[str, float]:
    """Return the figure of one side over all rounds, and the range of its values."""
    values = list(itertools.chain.from_iterable(rounds))
    return {
        "figure": percentile(values, row.percentile),
        "samples": len(values),
        "min": min(values),
        "max": max(values),
    }


def is_met(row: Row, ratio: float, ours: float) -> bool | None:
    """Return whether a row is as good as it should be; None if it has no such ratio."""
    if row.reach is None:
        return None
    if row.limit is not None and ours > row.limit:
        return False
    return ratio <= row.reach


def with_unit(value: float, unit: str) -> str:
    """Return a value as text with three digits, in the scale that suits it."""
    if unit == "calls":
        return f"{value:.0f}"

    scales = SCALES[unit]
    fitting = [pair for pair in scales if value >= pair[0]]
    scale, name = [*fitting, scales[-1]][0]

    scaled = value / scale
    digits = 2
    if scaled >= 1:
        digits = max(0, 2 - int(math.log10(scaled)))
    return f"{scaled:.{digits}f} {name}"


def as_ratio(ratio: float) -> str:
    """Return a ratio as text: 1/12 if it is small, 1.03 if it is near one."""
    small = 2 / 3
    if ratio < small:
        return f"1/{1 / ratio:.3g}"
    return f"{ratio:.3f}".rstrip("0").rstrip(".")


def table_line(row: Row, record: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of one record."""
    reach = ""
    if row.reach is not None:
        reach = f"≤ {as_ratio(row.reach)}"

    for reason in ("skip", "failed"):
        if reason in record:
            why = f"{reason}: {record[reason][:80]}"
            return (row.what, "", "", row.against_what, "", "", reach, why)

    if row.limit is not None:
        reach += f", ≤ {with_unit(row.limit, row.unit)}"

    ratios = record["ratio_of_each_round"]
    spread = ""
    if len(ratios) > 1:
        spread = f"{as_ratio(min(ratios))} .. {as_ratio(max(ratios))}"

    return (
        row.what,
        with_unit(record["ours"]["figure"], row.unit),
        with_unit(record["theirs"]["figure"], row.unit),
        row.against_what,
        as_ratio(record["ratio"]),
        spread,
        reach,
        {True: "yes", False: "NO", None: ""}[record["met"]],
    )


def print_table(lines: list[tuple[str, ...]]) -> None:
    """Print the lines below the names of the columns, all but the last column padded."""
    table = [COLUMNS, *lines]
    columns = zip(*table, strict=True)
    widths = [max(map(len, column)) for column in columns]
    widths[-1] = 0

    for cells in table:
        padded = map(str.ljust, cells, widths)
        print("  ".join(padded).rstrip())
