"""A read past the TTL while the server doesn't answer."""

from __future__ import annotations

import asyncio
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from timing import BLOCK, alternate, is_blocking, loop_over, read_in_thread

if TYPE_CHECKING:
    from timing import Bench, Values

NAME = "bench/database"
HANGING = 60_000

# In seconds. A peer that waits longer than the cap is noted with the cap.
CAP = 2.0

# The longest that a TTL of one second lasts: one peer counts whole seconds, and rounds up.
PAST_TTL = 2.1


async def hang(bench: Bench, side: str) -> Values:
    """Time a read of a value past its TTL, while the server holds the answer of the refresh."""
    if side == "ours":
        return await our_hang(bench)

    peer = import_module(f"peers.{side}")
    async with peer.opened(bench.endpoint, ttl=1) as read:
        blocks = await is_blocking(read, NAME)
        await asyncio.sleep(PAST_TTL)
        bench.set_latency(HANGING)
        bench.reset_counts()
        before = time.perf_counter()
        reading = asyncio.create_task(read_in_thread(read, NAME, blocks=blocks))
        await asyncio.wait([reading], timeout=bench.few(20, 1) * CAP / 20)
        seconds = time.perf_counter() - before
        bench.release()
        await reading
        calls = bench.calls()

    assert calls, "the value must be past its TTL"
    return {side: [min(seconds, CAP)]}


async def our_hang(bench: Bench) -> Values:
    """Time our reads while a refresh hangs, beside reads of a fresh value.

    The first reader has waited for its patience, 0.05 s. The row checks that each read returned the
    old value.
    """
    from aiocredentials import CachePolicy, CredentialsPool

    policy = CachePolicy(ttl=0.2, jitter=0, refresh_ahead=None, patience=0.05)
    async with CredentialsPool("us-east-1", endpoint_url=bench.endpoint) as pool:
        stale: Any = pool.manager("bench/stale", policy=policy)
        fresh: Any = pool.manager("bench/fresh")
        await stale.get()
        await fresh.get()

        bench.set_latency(HANGING)
        bench.reset_counts()
        await asyncio.sleep(0.25)
        before = time.perf_counter()
        await stale.get()
        first = time.perf_counter() - before
        before = time.perf_counter()
        await stale.get()
        second = time.perf_counter() - before

        async def read_stale(_name: str) -> object:
            return await stale.get()

        async def read_fresh(_name: str) -> object:
            return await fresh.get()

        sides = {
            "ours": loop_over(read_stale, NAME, blocks=False),
            "hit": loop_over(read_fresh, NAME, blocks=False),
        }
        values = await alternate(sides, bench.few(200, 5), BLOCK)
        calls = bench.calls()
        secret = await stale.secret()
        bench.release()

    assert calls == 1, "the refresh must hang while stale values are served"
    assert secret.is_stale, "each read must return the stale value"
    return values | {"first": [first], "second": [second]}
