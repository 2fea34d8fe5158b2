"""Measure what this library costs, beside its limits and its peers; print a table.

    python benchmarks/run.py [--only ROW] [--quick] [--json FILE] [--instructions] [--here]

Each peer is installed in its pinned release in an environment of its own. All sides of a row are
measured on this machine, in turn. Nothing here is a test of speed: the exit code is 1 if a row
failed, and not if a figure is past its reach.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
from authority import make_certificates
from catalogue import COLD_STARTS, MEASUREMENTS, REPEATED
from comparisons.everything import ROWS
from environments import Environment, made, this_python
from evaluation import evaluate, growth, merged
from processes import (
    ChildError,
    Stub,
    cold_instructions,
    cold_seconds,
    environment,
    measured,
    stub_server,
)
from sides import SIDES
from table import as_text

if TYPE_CHECKING:
    from authority import Certificates
    from evaluation import Gathered

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = ROOT / ".nox" / "peers"


class Run:
    """One run: the environments, the certificates, and what the command line says."""

    def __init__(self, arguments: argparse.Namespace, certificates: Certificates) -> None:
        self.arguments = arguments
        self.certificates = certificates
        self.names = list(dict.fromkeys(arguments.only or []))
        if not self.names:
            slow = arguments.instructions
            self.names = [name for name, each in MEASUREMENTS.items() if slow or not each.is_slow]
        self.environments: dict[str, Environment] = {}

    def prepare(self) -> None:
        """Find or make the environment of each side that is measured."""
        for name in self.names:
            for side in MEASUREMENTS[name].sides:
                if side in self.environments:
                    continue
                if self.arguments.here:
                    found = this_python(side)
                else:
                    found = made(side, self.arguments.environments)
                self.environments[side] = found
                if found.reason:
                    tell(f"skipping {SIDES[side].label}: {found.reason}")

    def gather(self) -> Gathered:
        """Run all measurements; return their values by measurement and side."""
        if self.arguments.smoke:
            return self.gather_in_few_processes()

        gathered: Gathered = {}
        for name in self.names:
            start = time.monotonic()
            gathered[name] = self.gather_one(name)
            tell(f"{name}: {time.monotonic() - start:.0f} s")
        return gathered

    def gather_one(self, name: str) -> dict[str, dict[str, Any]]:
        """Run one measurement in new processes, the sides in turn.

        Each measurement has its own server, so none inherits the connections of another.
        """
        measurement = MEASUREMENTS[name]
        repeats = 1 if self.arguments.quick else measurement.repeats
        answers: dict[str, list[dict[str, Any]]] = {side: [] for side in measurement.sides}
        order = list(measurement.sides)
        with stub_server(self.certificates) as stub:
            if name in COLD_STARTS and not self.arguments.quick:
                # Modules are compiled and read into the system's cache.
                for side in order:
                    self.answer(name, side, stub)
            for _ in range(repeats):
                for side in order:
                    answers[side].append(self.answer(name, side, stub))
                order.reverse()
        return {side: merged(found) for side, found in answers.items()}

    def answer(self, name: str, side: str, stub: Stub) -> dict[str, Any]:
        """Run one measurement of one side once."""
        found = self.environments[side]
        if found.python is None:
            return {"skip": found.reason}
        if name in COLD_STARTS:
            return self.cold_start(name, side, stub)
        if name in REPEATED:
            return self.instructions_per_call(name, side, stub)
        quick = self.arguments.quick
        (answer,) = measured(found.python, [f"{name}:{side}"], stub.endpoint, quick=quick)
        return answer

    def cold_start(self, name: str, side: str, stub: Stub) -> dict[str, Any]:
        """Start a process that reads one secret; return its CPU time, or its instructions."""
        scheme, counted = COLD_STARTS[name]
        endpoint = stub.endpoint
        bundle = None
        if scheme == "https":
            assert stub.tls_endpoint is not None
            endpoint = stub.tls_endpoint
            bundle = self.certificates.bundle
        variables = environment(bundle, from_openssl=SIDES[side].reads_openssl)
        measure = cold_seconds if counted == "seconds" else cold_instructions
        python = self.environments[side].python
        assert python is not None
        try:
            return {"values": {side: [measure(python, side, endpoint, variables)]}}
        except ChildError as error:
            return {"failed": str(error)}

    def instructions_per_call(self, name: str, side: str, stub: Stub) -> dict[str, Any]:
        """Count the instructions of a process, and of one with twice as many calls."""
        kind, calls = REPEATED[name]
        python = self.environments[side].python
        assert python is not None
        counted: list[float] = []
        try:
            for number in (calls, 2 * calls):
                repeated = (kind, str(number))
                found = cold_instructions(python, side, stub.endpoint, environment(), *repeated)
                counted.append(found)
        except ChildError as error:
            return {"failed": str(error)}
        less, more = counted
        return {"values": {side: [(more - less) / calls]}}

    def gather_in_few_processes(self) -> Gathered:
        """Run each measurement of each side once, in one process per environment: for tests."""
        gathered: Gathered = {name: {} for name in self.names}
        jobs: dict[str, list[str]] = {}
        with stub_server(self.certificates) as stub:
            for name in self.names:
                for side in MEASUREMENTS[name].sides:
                    found = self.environments[side]
                    if found.python is None or name in COLD_STARTS:
                        gathered[name][side] = self.answer(name, side, stub)
                    else:
                        jobs.setdefault(found.python, []).append(f"{name}:{side}")
            for python, wanted in jobs.items():
                answers = measured(python, wanted, stub.endpoint, quick=True)
                for job, answer in zip(wanted, answers, strict=True):
                    name, _, side = job.partition(":")
                    gathered[name][side] = answer
        return gathered


def tell(line: str) -> None:
    """Say how far the run is, beside the table."""
    print(line, file=sys.stderr, flush=True)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    add(
        "--only",
        choices=MEASUREMENTS,
        action="append",
        metavar="ROW",
        help=f"only this measurement; may be repeated: {', '.join(MEASUREMENTS)}",
    )
    add("--quick", action="store_true", help="does everything run? The figures are rough")
    add("--smoke", action="store_true", help="as --quick, all of a side in one process: no figures")
    add("--here", action="store_true", help="use the peers that are installed beside this package")
    add("--instructions", action="store_true", help="count instructions, too: takes minutes more")
    add("--environments", type=Path, default=ENVIRONMENTS, help="where the peers are installed")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and write the JSON; return 1 if a row failed."""
    start = time.monotonic()
    parsed = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(parsed, make_certificates(Path(folder)))
        run.prepare()
        gathered = run.gather()

    records = [evaluate(row, gathered) for row in ROWS if row.measurement in gathered]
    about = machine.about(run.environments)
    about["seconds"] = round(time.monotonic() - start)
    about["is_rough"] = parsed.quick or parsed.smoke
    print(machine.summary(about))
    print(as_text(records))
    if parsed.json:
        document = {"about": about, "rows": records, "growth": growth(gathered)}
        text = json.dumps(document, indent=1, ensure_ascii=False)
        parsed.json.write_text(text + "\n", encoding="utf-8")

    failed = [record for record in records if "failed" in record]
    for record in failed:
        tell(f"FAILED: {record['what']} ({record['side']}): {record['failed']}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
