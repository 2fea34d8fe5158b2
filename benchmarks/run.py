"""Print what aiocredentials costs, as ratios against what people use today, measured side by side on one machine.

    python benchmarks/run.py [--json FILE] [--only NAME] [--quick]

Nothing here is a test: the exit code says whether everything ran, never whether a figure was reached.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import MEASUREMENTS, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
MEDIAN = 50
PATIENCE = 600  # seconds for one process, several times what the longest takes
PACKAGES = (
    "aiocredentials",
    "aioboto3",
    "aiobotocore",
    "botocore",
    "aiohttp",
    "async-lru",
    "aws-lambda-powertools",
    "aws-secretsmanager-caching",
)


@dataclass(frozen=True)
class Row:
    """One line of the table: two sides of one measurement, and how far apart they should be (`None`: only told)."""

    measurement: str
    what: str
    against_what: str
    reach: float | None = None
    ours: str = "ours"
    against: str = "against"
    unit: str = "s"
    percentile: int = MEDIAN
    limit: float | None = None  # on our side alone, in the row's unit


ROWS = (
    Row(
        "session-per-call", "session per call: open, fetch, close", "naive session per call", 1 / 10
    ),
    Row(
        "stall",
        "worst loop stall, p99, first included",
        "naive session per call",
        1 / 10,
        percentile=99,
        limit=0.010,
    ),
    Row(
        "stall", "  (an idle loop: the noise)", "naive session per call", ours="idle", percentile=99
    ),
    Row("herd", "worst loop stall, 20 sessions at once", "20 naive sessions at once", 1 / 20),
    Row("fetch", "pooled fetch, whole", "bare aiobotocore call", 1.05),
    Row("fetch", "  (a second bare client: the noise)", "bare aiobotocore call", ours="control"),
    Row("import", "import aiocredentials", "import aioboto3", 1 / 4),
    Row("import", "  (asyncio, botocore.exceptions alone)", "import aioboto3", ours="floor"),
    Row(
        "memory",
        "memory of 1,000 sessions, collector off",
        "naive, scaled to 1,000",
        1 / 20,
        unit="B",
    ),
    Row("hit", "hit", "bare coroutine", 2, against="floor"),
    Row("hit", "hit", "Powertools get_secret", 1 / 5, against="powertools"),
    Row("hit", "hit", "async-lru", 1 / 4, against="async_lru"),
    Row("hit", "hit", "aws-secretsmanager-caching", 1 / 25, against="aws_caching"),
    Row("size", "hit, 100,000 secrets cached", "hit, 10 cached", 1.2),
    Row("size", "  (spread over 1,000 of the 100,000)", "hit, 10 cached", ours="spread"),
    Row("prefetch", "prefetch of 500, server at 20 ms", "500 single gets, 10 connections", 1 / 4),
    Row("prefetch", "  (the same)", "500 single gets, 50 connections", against="wide"),
    Row(
        "prefetch",
        "  calls",
        "500 single gets",
        25 / 500,
        "ours_calls",
        "against_calls",
        unit="calls",
    ),
    Row("hang", "read past the TTL, refresh hanging", "hit", 1.5),
)
COLUMNS = ("what", "ours", "against", "", "ratio", "spread", "reach", "met")


@contextmanager
def stub_server() -> Iterator[int]:
    """Start the stub in another process, give its port, and end it by closing its stdin."""
    command = [sys.executable, str(HERE / "stub_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["port"]
        finally:
            server.communicate()


def environment() -> dict[str, str]:
    """Keep the user's AWS settings, profiles and proxies out of it, so that no side looks for credentials anywhere."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith("AWS_") and not k.lower().endswith("_proxy")
    }
    return kept | {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def run_side(name: str, side: str, port: int, *, quick: bool) -> dict[str, Any]:
    """Run one measurement in a fresh process. A failure is an answer too: the other rows go on."""
    command = [
        sys.executable,
        str(HERE / "measure.py"),
        name,
        side,
        "--port",
        str(port),
        *(["--quick"] if quick else []),
    ]
    try:
        child = subprocess.run(
            command,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"took more than {PATIENCE} s"}
    if child.returncode:
        sys.stderr.write(child.stderr)
        return {
            "failed": (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        }
    answer: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return answer


def gather(name: str, measurement: Measurement, *, quick: bool) -> dict[str, Any]:
    """Repeat a measurement in fresh processes, the sides in turn; one list a process, by side.

    Each measurement has a server of its own, so that none inherits another's connections or latency.
    """
    values: dict[str, list[list[float]]] = {}
    with stub_server() as port:
        for _ in range(measurement.quick if quick else measurement.repeats):
            for side in measurement.sides or ("all",):
                answer = run_side(name, side, port, quick=quick)
                if "values" not in answer:
                    return answer
                for key, found in answer["values"].items():
                    values.setdefault(key, []).append(found)
    return {"values": values}


def percentile(values: list[float], percent: int) -> float:
    """Give the median, or the nearest-rank percentile: a value that was really seen."""
    if percent == MEDIAN:
        return statistics.median(values)
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def evaluate(row: Row, gathered: dict[str, Any]) -> dict[str, Any]:
    """Turn what was gathered into one record of the JSON file, which the table is printed from.

    Sides that shared a process are compared within it (the median of those ratios); others by their own figures.
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
    ours, against = gathered["values"][row.ours], gathered["values"][row.against]
    ratios = [
        percentile(o, row.percentile) / percentile(a, row.percentile)
        for o, a in zip(ours, against, strict=True)
    ]
    sides = {
        label: [value for process in side for value in process]
        for label, side in (("ours", ours), ("theirs", against))
    }
    figures = {label: percentile(side, row.percentile) for label, side in sides.items()}
    apart = bool(MEASUREMENTS[row.measurement].sides)
    ratio = figures["ours"] / figures["theirs"] if apart else statistics.median(ratios)
    met = (
        ratio <= row.reach and (row.limit is None or figures["ours"] <= row.limit)
        if row.reach
        else None
    )
    return record | {
        "unit": row.unit,
        "statistic": f"p{row.percentile}",
        "ratio": ratio,
        "ratio_of_each_round": ratios,
        "reach": row.reach,
        "limit": row.limit,
        "met": met,
        **{
            label: {
                "figure": figures[label],
                "samples": len(side),
                "min": min(side),
                "max": max(side),
            }
            for label, side in sides.items()
        },
    }


def figure(value: float, unit: str) -> str:
    """Write a value with three digits in a unit that a person reads."""
    if unit == "calls":
        return f"{value:.0f}"
    scales = {
        "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
        "B": ((2**30, "GiB"), (2**20, "MiB"), (1, "B")),
    }
    scale, name = next((s for s in scales[unit] if value >= s[0]), scales[unit][-1])
    value /= scale
    return f"{value:.{max(0, 2 - int(math.log10(value)) if value >= 1 else 2)}f} {name}"


def part(ratio: float) -> str:
    """Write a ratio the way its target is written: 1/12 when it is small, 1.03 when it is near one."""
    small = 2 / 3
    return f"1/{1 / ratio:.3g}" if ratio < small else f"{ratio:.3f}".rstrip("0").rstrip(".")


def line(row: Row, record: dict[str, Any]) -> tuple[str, ...]:
    """Lay out one record as a line of the table."""
    reach = "" if row.reach is None else f"≤ {part(row.reach)}"
    for reason in ("skip", "failed"):
        if reason in record:
            return (
                row.what,
                "",
                "",
                row.against_what,
                "",
                "",
                reach,
                f"{reason}: {record[reason][:80]}",
            )
    if row.limit is not None:
        reach += f", ≤ {figure(row.limit, row.unit)}"
    ratios = record["ratio_of_each_round"]
    return (
        row.what,
        figure(record["ours"]["figure"], row.unit),
        figure(record["theirs"]["figure"], row.unit),
        row.against_what,
        part(record["ratio"]),
        f"{part(min(ratios))} .. {part(max(ratios))}" if len(ratios) > 1 else "",
        reach,
        {True: "yes", False: "NO", None: ""}[record["met"]],
    )


def versions() -> dict[str, str | None]:
    """Say which versions were measured; `None` for what isn't installed."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument(
        "--only",
        choices=MEASUREMENTS,
        action="append",
        help="only this measurement; may be repeated",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few repeats: does everything run? The figures are rough",
    )
    arguments = parser.parse_args()

    gathered = {}
    for name in arguments.only or MEASUREMENTS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        gathered[name] = gather(name, MEASUREMENTS[name], quick=arguments.quick)
    rows = [row for row in ROWS if row.measurement in gathered]
    records = [evaluate(row, gathered[row.measurement]) for row in rows]

    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "quick": arguments.quick,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": versions(),
    }
    table = [COLUMNS, *(line(row, record) for row, record in zip(rows, records, strict=True))]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(COLUMNS) - 1)]
    print(f"{about['python']}, aiobotocore {version('aiobotocore')}, {about['system']}\n")
    for cells in table:
        print(
            "  ".join(
                [
                    *(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)),
                    cells[-1],
                ]
            ).rstrip()
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, "rows": records}, indent=2) + "\n")
    return int(any("failed" in record for record in records))


if __name__ == "__main__":
    sys.exit(main())
