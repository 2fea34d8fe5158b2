"""What grows with the number of cached secrets, or with the number of waiting callers."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from measurements.many import COLD, FIRST, LATENCY, names
from timing import BLOCK, alternate, is_blocking, least_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from timing import Bench, Values

    from aiocredentials import CredentialsPool

SIZES = (1, 10, 100, 1024, 10_000, 100_000)
WAITERS = (1, 10, 100, 1000, 10_000)

# How many callers report that a version was refused.
CALLERS = 500


@asynccontextmanager
async def pool_for(bench: Bench, size: int) -> AsyncIterator[CredentialsPool]:
    """Open a pool with room for this many secrets, which stay fresh."""
    from aiocredentials import CachePolicy, CredentialsPool

    policy = CachePolicy(ttl=7200, max_stale=7200, refresh_ahead=None)
    async with CredentialsPool(
        "us-east-1",
        endpoint_url=bench.endpoint,
        max_secrets=size,
        policy=policy,
    ) as pool:
        yield pool


async def sizes(bench: Bench, _side: str) -> Values:
    """Time the bookkeeping with more and more secrets cached, and evictions at both ends.

    The keys of the values end in the number of secrets.
    """
    steps = SIZES[: bench.few(len(SIZES), 4)]
    largest = steps[-1]
    wanted = names(largest)
    values: Values = {}
    async with pool_for(bench, largest) as pool:
        cached = 0
        for size in steps:
            await pool.prefetch(*wanted[cached:size])
            cached = size
            gc.collect()
            gc.freeze()
            found = await figures_of(bench, pool, wanted[:size])
            values |= {f"{key}_{size}": [seconds] for key, seconds in found.items()}
        values[f"eviction_{largest}"] = [await seconds_per_eviction(bench, pool)]

    async with pool_for(bench, 100) as small:
        await small.prefetch(*wanted[:100])
        values["eviction_100"] = [await seconds_per_eviction(bench, small)]
    return values


async def figures_of(bench: Bench, pool: CredentialsPool, cached: list[str]) -> dict[str, float]:
    """Return the times of a hit and of the bookkeeping, with these secrets cached."""
    manager = pool.manager(cached[0], decode=json.loads)

    async def hits(calls: int) -> None:
        for _ in range(calls):
            await manager.get()

    timed = await alternate({"hit": hits}, bench.few(60, 5), BLOCK)
    (hit,) = timed["hit"]

    fresh = cached[:100]
    prefetching: list[float] = []
    for _ in range(bench.few(7, 2)):
        start = time.process_time()
        await pool.prefetch(*fresh)
        prefetching.append(time.process_time() - start)

    return {
        "hit": hit,
        "stats": least_seconds(pool.stats, bench.few(7, 2)),
        "invalidate": await seconds_per_invalidation(bench, manager),
        "fresh": min(prefetching) / len(fresh),
    }


async def seconds_per_invalidation(bench: Bench, manager: Any) -> float:
    """Return the least CPU time of a caller, of 500 that report the same refused version."""
    taken: list[float] = []
    for _ in range(bench.few(5, 2)):
        refused = (await manager.secret()).version_id
        start = time.process_time()
        for _ in range(CALLERS):
            manager.invalidate(if_version=refused)
        taken.append((time.process_time() - start) / CALLERS)
    return min(taken)


async def seconds_per_eviction(bench: Bench, pool: CredentialsPool) -> float:
    """Return the least CPU time of a fetch that pushes a secret out of a full pool."""
    taken: list[float] = []
    for number in range(bench.few(200, 5)):
        manager = pool.manager(f"bench/new/{number}")
        start = time.process_time()
        await manager.secret()
        taken.append(time.process_time() - start)
    return min(taken)


async def waiters(bench: Bench, side: str) -> Values:
    """Time how much CPU each of the callers costs that wait for one cold key.

    The fetch that they share is part of it, so one waiter costs the most. The keys of the values
    end in the number of callers.
    """
    peer = import_module(f"peers.{side}")
    values: Values = {}
    async with peer.opened(bench.endpoint) as read:
        await is_blocking(read, FIRST)
        bench.set_latency(LATENCY)
        for count in WAITERS[: bench.few(len(WAITERS), 3)]:
            taken: list[float] = []
            for round_number in range(bench.few(5, 2)):
                name = f"{COLD}/{count}/{round_number}"
                gc.collect()
                start = time.process_time()
                reads = [asyncio.ensure_future(read(name)) for _ in range(count)]
                await asyncio.gather(*reads)
                taken.append((time.process_time() - start) / count)
            values[f"{side}_{count}"] = [min(taken)]
        bench.set_latency(0)
    return values
