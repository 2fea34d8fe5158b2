"""Many secrets at once, and many callers at once."""

from __future__ import annotations

import asyncio
import gc
import time
from importlib import import_module
from typing import TYPE_CHECKING

from timing import Heartbeat, is_blocking, read_in_thread

if TYPE_CHECKING:
    from timing import Bench, Values

FIRST = "bench/first"
COLD = "bench/cold"
LATENCY = 20


def names(count: int) -> list[str]:
    """Return the names of many secrets."""
    return [f"bench/{number:06}" for number in range(count)]


async def read_all(bench: Bench, side: str, wanted: list[str]) -> None:
    """Open a peer's client and read all of these secrets at once."""
    peer = import_module(f"peers.{side}")
    if hasattr(peer, "start"):
        await peer.start(bench.endpoint, wanted)
        return

    async with peer.opened(bench.endpoint) as read:
        blocks = await is_blocking(read, wanted[0])
        reads = [read_in_thread(read, name, blocks=blocks) for name in wanted[1:]]
        await asyncio.gather(*reads)


async def start(bench: Bench, side: str) -> Values:
    """Time the start of a service that reads 500 secrets, if each answer takes 20 ms.

    The clock starts before the client is opened. All modules were loaded by one read before.
    """
    wanted = names(bench.few(500, 60))
    await read_all(bench, side, [FIRST])

    bench.set_latency(LATENCY)
    bench.reset_counts()
    gc.collect()
    before = time.perf_counter()
    await read_all(bench, side, wanted)
    seconds = time.perf_counter() - before
    calls = bench.calls()
    bench.set_latency(0)
    return {side: [seconds], f"{side}_calls": [calls]}


async def prefetch(bench: Bench, side: str) -> Values:
    """Measure the longest stall of the event loop while a pool fetches 10,000 secrets.

    Python's garbage collector makes most of it, so it is measured without the collector, too.
    """
    stall = await stall_of_prefetch(bench)
    gc.disable()
    try:
        without_collector = await stall_of_prefetch(bench)
    finally:
        gc.enable()
    heartbeat = Heartbeat()
    idle = await heartbeat.during(asyncio.sleep(0.2))
    heartbeat.stop()
    return {side: [stall], f"{side}_uncollected": [without_collector], "idle": [idle]}


async def stall_of_prefetch(bench: Bench) -> float:
    """Return the longest stall while a new pool fetches all secrets."""
    from aiocredentials import CredentialsPool

    wanted = names(bench.few(10_000, 500))
    heartbeat = Heartbeat()
    async with CredentialsPool(
        "us-east-1",
        endpoint_url=bench.endpoint,
        max_secrets=20_000,
    ) as pool:
        await pool.manager(FIRST).get()
        gc.collect()
        stall = await heartbeat.during(pool.prefetch(*wanted))
    heartbeat.stop()
    return stall


async def herd(bench: Bench, side: str) -> Values:
    """Let 10,000 tasks ask for a secret that nobody has read, if an answer takes 20 ms.

    Returns the CPU time, the calls that were made, and the longest stall of the event loop.
    """
    callers = bench.few(10_000, 200)
    peer = import_module(f"peers.{side}")
    heartbeat = Heartbeat()
    async with peer.opened(bench.endpoint) as read:
        blocks = await is_blocking(read, FIRST)
        bench.set_latency(LATENCY)
        bench.reset_counts()
        gc.collect()

        async def ask() -> None:
            tasks = []
            for _ in range(callers):
                reading = read_in_thread(read, COLD, blocks=blocks)
                tasks.append(asyncio.create_task(reading))
            await asyncio.gather(*tasks)

        before = time.process_time()
        stall = await heartbeat.during(ask())
        seconds = time.process_time() - before
        calls = bench.calls()
        bench.set_latency(0)
    heartbeat.stop()
    return {side: [seconds], f"{side}_calls": [calls], f"{side}_stall": [stall]}
