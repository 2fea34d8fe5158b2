"""The rows about one session per call, and about importing."""

from __future__ import annotations

import asyncio
import gc
import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

import against
from against import NAME, REGION
from timing import Bench, Heartbeat, Loop, Values, alternate, medians, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable

# Prints the seconds that an import takes.
IMPORT = """
import time
start = time.perf_counter()
import {modules}
print(time.perf_counter() - start)
"""


def ours_session_per_call(endpoint: str) -> Awaitable[object]:
    """Open, fetch and close with our manager, without a pool or a cache."""
    from aiocredentials import AsyncCredentialsManager

    manager = AsyncCredentialsManager(NAME, REGION, endpoint_url=endpoint, policy=None)
    return manager.retrieve_secret_string()


def one_call(bench: Bench, side: str) -> Awaitable[object]:
    """Return one session per call of this side; for `idle`, as long a pause."""
    if side == "idle":
        return asyncio.sleep(0.05)
    if side == "ours":
        return ours_session_per_call(bench.endpoint)
    return against.naive_session_per_call(bench.endpoint)


def import_side(side: str) -> None:
    """Import the modules that a service imports at its start, long before its loop runs."""
    modules = {"ours": "aiocredentials", "against": "aioboto3"}
    if side in modules:
        importlib.import_module(modules[side])


async def session_per_call(bench: Bench, _side: str) -> Values:
    """Time whole sessions per call, after both sides have imported all and made a first session.

    The naive side leaves megabytes of cycles. They are collected before each block, untimed, so
    that neither side pays for the other. Collections that start during a block count.
    """

    def loop_of(side: str) -> Loop:
        async def loop(calls: int) -> None:
            for _ in range(calls):
                await one_call(bench, side)

        return loop

    sides = {side: loop_of(side) for side in ("ours", "against")}
    return await alternate(sides, rounds=bench.few(10, 3), calls=5, collect=True)


async def stall(bench: Bench, side: str) -> Values:
    """Measure the worst stall of the event loop in each of a process's first five sessions.

    A service makes its first session while it serves requests, so that one counts: one session in
    five is a first one, and the 99th percentile is one of them. The garbage collector is in its
    default state. The side `idle` shows the noise of the machine.
    """
    import_side(side)
    heartbeat = Heartbeat()
    stalls = [await heartbeat.during(one_call(bench, side)) for _ in range(5)]
    return {side: stalls}


async def herd(bench: Bench, side: str) -> Values:
    """Measure the worst stall while twenty sessions per call start at once in a new process."""
    import_side(side)
    heartbeat = Heartbeat()

    async def twenty() -> None:
        calls = [one_call(bench, side) for _ in range(20)]
        await asyncio.gather(*calls)

    return {side: [await heartbeat.during(twenty())]}


async def memory(bench: Bench, side: str) -> Values:
    """Measure by how much 1,000 sessions per call grow the memory if the collector doesn't run.

    The first session counts in full. The other 999 are scaled from 100 for the naive side, because
    1,000 of its sessions would take 7 GiB. Both sides import aioboto3 before the first reading.
    """
    import_side("against")
    import_side(side)
    gc.collect()
    gc.disable()

    sessions = bench.few(999, 100) if side == "ours" else bench.few(100, 30)
    before = resident_bytes()
    await one_call(bench, side)
    after_first = resident_bytes()
    for _ in range(sessions):
        await one_call(bench, side)
    after_all = resident_bytes()

    first = after_first - before
    per_session = (after_all - after_first) / sessions
    return {side: [first + 999 * per_session]}


async def import_time(bench: Bench, _side: str) -> Values:
    """Time first imports, each in a new interpreter, in turn, with bytecode and disk cache warm."""
    sides = {
        "ours": "aiocredentials",
        "floor": "asyncio, botocore.exceptions",
        "against": "aioboto3",
    }
    rounds = bench.few(15, 5)
    taken: Values = {side: [] for side in sides}

    # The first round only warms the caches.
    for number in range(1 + rounds):
        for side, modules in sides.items():
            command = [sys.executable, "-c", IMPORT.format(modules=modules)]
            seconds = float(subprocess.check_output(command))
            if number > 0:
                taken[side].append(seconds)
    return medians(taken)
