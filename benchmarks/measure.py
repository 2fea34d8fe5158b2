"""Run measurements in this process, and print the answer of each as one line of JSON.

run.py starts this script as `measure.py NAME:SIDE ... --endpoint URL`, with the Python of the
side's environment. At their top, the files that it imports import only the standard library.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import traceback
from typing import TYPE_CHECKING, Any

from measurements import calls, hits, many, memory, outage, sizes, stalls
from timing import Bench, SkipError, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# Each takes the stub and a side, and returns lists of values by side and quantity.
MEASUREMENTS: dict[str, Callable[[Bench, str], Coroutine[Any, Any, Values]]] = {
    "session-per-call": calls.session_per_call,
    "fetch": calls.fetch,
    "hit": hits.hit,
    "start": many.start,
    "prefetch": many.prefetch,
    "herd": many.herd,
    "hang": outage.hang,
    "stall": stalls.stall,
    "stall-of-twenty": stalls.stall_of_twenty,
    "memory-of-secrets": memory.memory_of_secrets,
    "memory-of-client": memory.memory_of_client,
    "sizes": sizes.sizes,
    "waiters": sizes.waiters,
}


def answer(bench: Bench, name: str, side: str) -> dict[str, Any]:
    """Run one measurement; return its values, or why there are none."""
    try:
        return {"values": asyncio.run(MEASUREMENTS[name](bench, side))}
    except SkipError as skip:
        return {"skip": str(skip)}
    except Exception as error:  # noqa: BLE001 (whatever a peer raises fails its row, and no other)
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Run the measurements that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="+", metavar="NAME:SIDE")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()

    bench = Bench(arguments.endpoint, arguments.quick)
    for job in arguments.jobs:
        name, _, side = job.partition(":")
        print(json.dumps({"answer": answer(bench, name, side)}), flush=True)


if __name__ == "__main__":
    main()
