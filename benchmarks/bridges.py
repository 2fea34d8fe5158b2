"""Measure reads from code without asyncio, by each bridge, for the tables of sync-code.md.

    python benchmarks/bridges.py [--page] [--quick]

The bridge is the code of the page. Each side runs in new processes, and the sides take turns.
Times are wall-clock times and not CPU times, because a bridge waits for another thread. Each is the
smallest of several, because a disturbance can only make a measurement larger.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import machine
from page import written
from processes import environment, stub_server

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "how-to" / "sync-code.md"
REPEATS = 5

# The side whose modules are loaded before its first read.
LOADED = "forked"
# Longer first reads are rounded to seconds.
HALF_A_SECOND = 0.5

UNITS = [("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)]

# All others are the smallest of the repeats.
REDUCED = {"busy": statistics.median}

# Runs a coroutine that a function makes.
Run = Callable[[Callable[[], Any]], Any]
Values = dict[str, float]


class Side(NamedTuple):
    """One way to read: its name on the page, and the module that it needs."""

    label: str
    needs: str = "asyncio"


SIDES = {
    "awaited": Side("`await`, in a coroutine"),
    "bridge": Side("the bridge of this page"),
    "forked": Side("the bridge in a forked child, after `preload()`"),
    "gevent": Side("the bridge under gevent", "gevent"),
    "portal": Side("anyio's `start_blocking_portal`", "anyio"),
    "below_asgi": Side("asgiref's `async_to_sync`, in a sync view under ASGI", "asgiref"),
    "async_to_sync": Side("asgiref's `async_to_sync`, elsewhere", "asgiref"),
    "runner": Side("an `asyncio.Runner` that is kept open"),
    "per_call": Side("`asyncio.run` per call"),
}


# The first table of the page: a process, what to use there, and the side with the same costs.
PROCESSES = [
    (
        "a script, a management command",
        "one `asyncio.run(main())` around the whole program",
        "awaited",
    ),
    (
        "Flask, Django under WSGI: gunicorn's `sync` and `gthread`",
        "[the bridge](#the-bridge)",
        "bridge",
    ),
    (
        "Flask, Django under WSGI: gunicorn with `preload_app`",
        "[`preload()`](#processes-that-fork), then the bridge",
        "forked",
    ),
    ("gunicorn's `gevent`, `celery --pool gevent`", "the bridge", "gevent"),
    ("Django under ASGI, in an async view", "[`await`](#django)", "awaited"),
    ("Django under ASGI, in a sync view and for database connections", "the bridge", "bridge"),
    ("Celery, prefork", "[`preload()` at `worker_init`](#celery), then the bridge", "forked"),
    ("`celery --pool threads`", "the bridge", "bridge"),
]


def page_bridge() -> Any:
    """Return a module made of the first block of the page."""
    found = re.search(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    module = ModuleType("bridge")
    sys.modules["bridge"] = module
    exec(compile(found[1], str(PAGE), "exec"), vars(module))  # noqa: S102 (our own page)
    return module


def timed(call: Callable[[], object], calls: int = 1) -> float:
    """Return the seconds per call."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def beside_busy_threads(call: Callable[[], object], calls: int) -> float:
    """Return the mean seconds of a call while two other threads compute."""
    is_over = threading.Event()

    def compute() -> None:
        number = 0
        while not is_over.is_set():
            number += 1

    busy = [threading.Thread(target=compute) for _ in range(2)]
    for thread in busy:
        thread.start()
    seconds = timed(call, calls)
    is_over.set()
    for thread in busy:
        thread.join()
    return seconds


def measure(run: Run, bridge: Any, blocks: int, *, is_green: bool = False) -> Values:
    """Measure the first read, cached reads and fetches, by a function that runs coroutines."""
    get = bridge.database.get
    refresh = bridge.database.refresh
    values = {"first": timed(lambda: run(get))}
    hits = [timed(lambda: run(get), 50) for _ in range(blocks)]
    values["hit"] = min(hits)
    fetches = [timed(lambda: run(refresh)) for _ in range(blocks)]
    values["fetch"] = min(fetches)
    if not is_green:
        values["busy"] = beside_busy_threads(lambda: run(get), 2 * blocks)
    return values


async def measure_awaited(bridge: Any, blocks: int) -> Values:
    """Measure the same in a coroutine."""
    await bridge.pool.open()
    start = time.perf_counter()
    await bridge.database.get()
    values = {"first": time.perf_counter() - start}

    hits: list[float] = []
    fetches: list[float] = []
    for _ in range(blocks):
        start = time.perf_counter()
        for _ in range(200):
            await bridge.database.get()
        middle = time.perf_counter()
        await bridge.database.refresh()
        fetches.append(time.perf_counter() - middle)
        hits.append((middle - start) / 200)
    await bridge.pool.aclose()
    return values | {"hit": min(hits), "fetch": min(fetches)}


def measure_side(side: str, blocks: int) -> Values:
    """Measure one side in this process."""
    if side == "gevent":
        from gevent import monkey

        monkey.patch_all()
    bridge = page_bridge()
    if side == "awaited":
        return asyncio.run(measure_awaited(bridge, blocks))
    if side == "forked":
        return measure_forked(bridge, blocks)
    if side == "below_asgi":
        from asgiref.sync import sync_to_async

        with running(side, bridge) as run:
            return asyncio.run(sync_to_async(measure)(run, bridge, blocks))
    with running(side, bridge) as run:
        return measure(run, bridge, blocks, is_green=side == "gevent")


@contextmanager
def running(side: str, bridge: Any) -> Iterator[Run]:
    """Yield the function by which a side runs coroutines."""
    if side in {"bridge", "gevent"}:
        yield lambda make: bridge.run(make())
        return

    # Opening needs no network, and so no loop that stays.
    asyncio.run(bridge.pool.open())
    if side == "portal":
        from anyio.from_thread import start_blocking_portal

        with start_blocking_portal() as portal:
            yield portal.call
    elif side == "runner":
        with asyncio.Runner() as runner:
            yield lambda make: runner.run(make())
    elif side == "per_call":
        yield lambda make: asyncio.run(make())
    else:
        from asgiref.sync import async_to_sync

        yield lambda make: async_to_sync(make)()


def measure_forked(bridge: Any, blocks: int) -> Values:
    """Measure the bridge in a child that is forked after the parent has read the secret."""
    bridge.preload()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        values = measure(lambda make: bridge.run(make()), bridge, blocks)
        os.write(writing, json.dumps(values).encode())
        os._exit(0)
    os.waitpid(child, 0)
    found: Values = json.loads(os.read(reading, 10_000))
    return found


def gather(repeats: int, blocks: int) -> dict[str, Values]:
    """Measure each side in new processes, in turn; return one value per quantity."""
    found: dict[str, dict[str, list[float]]] = {}
    with stub_server() as stub:
        variables = environment() | {"AWS_ENDPOINT_URL_SECRETS_MANAGER": stub.endpoint}
        for _ in range(repeats):
            for side, (_, needed) in SIDES.items():
                if importlib.util.find_spec(needed) is None:
                    continue
                command = [sys.executable, __file__, "--side", side, "--blocks", str(blocks)]
                printed = subprocess.check_output(command, env=variables, text=True)
                values: Values = json.loads(printed)
                for name, value in values.items():
                    found.setdefault(side, {}).setdefault(name, []).append(value)
    return {
        side: {name: REDUCED.get(name, min)(values) for name, values in by_name.items()}
        for side, by_name in found.items()
    }


def duration(seconds: float | None) -> str:
    """Return a duration with two digits."""
    if seconds is None:
        return "-"
    unit, factor = next(pair for pair in UNITS if seconds >= pair[1])
    rounded = float(f"{seconds / factor:.2g}")
    return f"{rounded:g} {unit}"


def first_reads(gathered: dict[str, Values]) -> dict[str, str]:
    """Return the first read of each side; one rounded median for all sides that load the modules.

    Loading takes nearly all of the time, and differs from process to process more than the sides
    differ. So more digits would show chance.
    """
    loading = {side: values["first"] for side, values in gathered.items() if side != LOADED}
    median = statistics.median(loading.values())
    rounded = float(round(median)) if median > HALF_A_SECOND else float(f"{median:.1g}")
    shown = dict.fromkeys(loading, f"about {duration(rounded)}")
    if LOADED in gathered:
        shown[LOADED] = duration(gathered[LOADED]["first"])
    return shown


def process_table(gathered: dict[str, Values]) -> str:
    """Return the table with which the page begins."""
    firsts = first_reads(gathered)
    lines = ["| your process | use | cached read | first read |", "|---|---|---|---|"]
    for process, use, side in PROCESSES:
        hit = duration(gathered.get(side, {}).get("hit"))
        lines.append(f"| {process} | {use} | {hit} | {firsts.get(side, '-')} |")
    return "\n".join(lines)


def bridge_table(gathered: dict[str, Values]) -> str:
    """Return the table that compares the bridges."""
    lines = [
        "| bridge | cached read | times `await` | beside two busy threads | fetch | first read |",
        "|---|---|---|---|---|---|",
    ]
    bare = gathered["awaited"]["hit"]
    firsts = first_reads(gathered)
    for side, values in gathered.items():
        hit = values["hit"]
        ratio = float(f"{hit / bare:.2g}")
        times = [duration(values.get(name)) for name in ("busy", "fetch")]
        cells = [SIDES[side].label, duration(hit), f"{ratio:,.0f}", *times, firsts[side]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table that compares the bridges, and write both tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="write the tables into the page")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="measure once, to see that it runs: the figures are rough",
    )
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--blocks", type=int, default=20, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure_side(arguments.side, arguments.blocks)))
        return

    repeats = 1 if arguments.quick else REPEATS
    blocks = 2 if arguments.quick else arguments.blocks
    gathered = gather(repeats, blocks)
    measured = machine.summary(machine.about({}))
    bridges = f"{bridge_table(gathered)}\n\n{measured}"
    processes = f"{process_table(gathered)}\n\n{measured}"
    print(bridges)
    if arguments.page:
        text = PAGE.read_text("utf-8")
        text = written(text, "processes", processes, by="bridges.py")
        text = written(text, "bridges", bridges, by="bridges.py")
        PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
