"""Run one measurement in this process, and print the values as one line of JSON.

run.py starts this script as `measure.py NAME SIDE --port N`. Sides that are kept apart have a
process each. At their top, all files import only the standard library, because the imports of a
side are part of what some rows measure.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pools
import sessions
from timing import Bench, SkipError, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


@dataclass(frozen=True)
class Measurement:
    """How a measurement is run.

    Without `sides`, one process measures all sides; else each side has its own process. `needs` are
    the names in our package without which the row is skipped; `repeats` and `quick` are how many
    times run.py starts the processes.
    """

    run: Callable[[Bench, str], Coroutine[Any, Any, Values]]
    needs: tuple[str, ...]
    repeats: int
    quick: int = 1
    sides: tuple[str, ...] = ()


MANAGER = ("AsyncCredentialsManager.retrieve_secret_string",)
POOL = ("AsyncCredentialsManager.secret", "CredentialsPool.manager")
CACHE = ("AsyncCredentialsManager.get", "CachePolicy", *POOL)
PREFETCH = (*CACHE, "CredentialsPool.prefetch")

MEASUREMENTS = {
    "session-per-call": Measurement(sessions.session_per_call, MANAGER, repeats=3),
    "stall": Measurement(
        sessions.stall,
        MANAGER,
        repeats=20,
        quick=4,
        sides=("ours", "against", "idle"),
    ),
    "herd": Measurement(
        sessions.herd,
        MANAGER,
        repeats=5,
        quick=2,
        sides=("ours", "against"),
    ),
    "fetch": Measurement(pools.fetch, POOL, repeats=8),
    "import": Measurement(sessions.import_time, (), repeats=1),
    "memory": Measurement(sessions.memory, MANAGER, repeats=2, sides=("ours", "against")),
    "hit": Measurement(pools.hit, CACHE, repeats=3),
    "size": Measurement(pools.size, PREFETCH, repeats=3),
    "prefetch": Measurement(pools.prefetch, PREFETCH, repeats=3),
    "hang": Measurement(pools.hang, CACHE, repeats=3),
}


def check_needs(names: tuple[str, ...]) -> None:
    """Raise `SkipError` if the package lacks one of the names."""
    for name in names:
        found: Any = importlib.import_module("aiocredentials")
        for part in name.split("."):
            if not hasattr(found, part):
                raise SkipError(f"aiocredentials has no {name} yet")
            found = getattr(found, part)


def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MEASUREMENTS)
    parser.add_argument("side")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()

    measurement = MEASUREMENTS[arguments.name]
    bench = Bench(arguments.port, arguments.quick)
    try:
        if arguments.side in ("all", "ours"):
            check_needs(measurement.needs)
        values = asyncio.run(measurement.run(bench, arguments.side))
    except SkipError as skip:
        print(json.dumps({"skip": str(skip)}))
    else:
        print(json.dumps({"values": values}))


if __name__ == "__main__":
    main()
