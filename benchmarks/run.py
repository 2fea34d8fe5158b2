"""Print the costs of aiocredentials, as ratios to those of the code that people use today.

    python benchmarks/run.py [--json FILE] [--only NAME] [--quick]

Both sides of a ratio are measured side by side on this machine. Nothing here is a test: the exit
code says whether everything ran, not whether a figure was reached.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import MEASUREMENTS, Measurement
from table import ROWS, evaluate, print_table, table_line

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent

# Seconds that one process may take: several times as long as the longest one takes.
PATIENCE = 600

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


@contextmanager
def stub_server() -> Iterator[int]:
    """Start the stub in another process, yield its port, and end it by closing its stdin."""
    command = [sys.executable, str(HERE / "stub_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["port"]
        finally:
            server.communicate()


def environment() -> dict[str, str]:
    """Return the environment of the measurements, in which no side looks for AWS credentials.

    It has none of the user's AWS settings, profiles and proxies.
    """
    variables: dict[str, str] = {}
    for name, value in os.environ.items():
        is_proxy = name.lower().endswith("_proxy")
        if not name.startswith("AWS_") and not is_proxy:
            variables[name] = value

    return variables | {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def run_side(name: str, side: str, port: int, *, quick: bool) -> dict[str, Any]:
    """Run one measurement in a new process; return its values, or why there are none.

    Args:
        name: The measurement.
        side: The side, or "all".
        port: Where the stub listens.
        quick: A rough answer is enough.
    """
    script = str(HERE / "measure.py")
    command = [sys.executable, script, name, side, "--port", str(port)]
    if quick:
        command.append("--quick")

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

    if child.returncode != 0:
        sys.stderr.write(child.stderr)
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        return {"failed": lines[-1]}

    last_line = child.stdout.splitlines()[-1]
    answer: dict[str, Any] = json.loads(last_line)
    return answer


def gather(name: str, measurement: Measurement, *, quick: bool) -> dict[str, Any]:
    """Repeat a measurement in new processes, the sides in turn; return a list per process and side.

    Each measurement has its own server, so none inherits the connections or the latency of another.
    """
    repeats = measurement.quick if quick else measurement.repeats
    sides = measurement.sides or ("all",)
    values: dict[str, list[list[float]]] = {}
    with stub_server() as port:
        for _ in range(repeats):
            for side in sides:
                answer = run_side(name, side, port, quick=quick)
                if "values" not in answer:
                    return answer
                for key, found in answer["values"].items():
                    values.setdefault(key, []).append(found)
    return {"values": values}


def versions() -> dict[str, str | None]:
    """Return the versions that were measured; None for a package that isn't installed."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    return parser.parse_args()


def main() -> int:
    """Measure, print the table, and write the JSON; return 1 if a measurement failed."""
    arguments = parse_arguments()

    gathered = {}
    for name in arguments.only or MEASUREMENTS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        gathered[name] = gather(name, MEASUREMENTS[name], quick=arguments.quick)

    records: list[dict[str, Any]] = []
    lines: list[tuple[str, ...]] = []
    for row in ROWS:
        if row.measurement in gathered:
            record = evaluate(row, gathered[row.measurement])
            records.append(record)
            lines.append(table_line(row, record))

    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    print(f"{python}, aiobotocore {version('aiobotocore')}, {system}\n")
    print_table(lines)

    if arguments.json:
        about = {
            "date": datetime.now(UTC).date().isoformat(),
            "quick": arguments.quick,
            "python": python,
            "system": system,
            "versions": versions(),
        }
        document = {"about": about, "rows": records}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")

    failed = any("failed" in record for record in records)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
