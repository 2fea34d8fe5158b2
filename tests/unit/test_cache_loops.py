"""One cache for several event loops: a value survives its loop, a fetch ends with it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aiocredentials import CachePolicy, PoolClosedError
from aiocredentials._cache import STALE, AsyncCache, Reader
from unit.cache_kit import AHEAD, PLAIN, Source
from unit.cache_model import Clock


def test_loops_of_their_own() -> None:
    """Promise 11: a value survives its loop; what another loop has under way is ended by close, and by invalidation."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=10, rng=lambda: 0.0)
    source = Source(takes=0)
    reader = Reader(cache, "key", source, AHEAD)
    assert asyncio.run(reader.get()) == 1
    assert asyncio.run(reader.get()) == 1

    async def leave() -> None:
        """End the loop while a refresh is under way."""
        source.takes = 1000
        await reader.get()
        await asyncio.sleep(0)

    clock.now += 90
    asyncio.run(leave())
    clock.now += 20
    source.takes = 0
    assert asyncio.run(reader.get()) == 3
    assert (cache.failures, cache.reads(STALE)) == (0, 0)

    def elsewhere() -> None:
        with pytest.raises(PoolClosedError):
            asyncio.run(Reader(cache, "other", source, PLAIN).get())

    source.takes = 1000
    thread = threading.Thread(target=elsewhere)
    thread.start()
    while source.fetches == source.ended:
        pass
    asyncio.run(cache.aclose())
    thread.join()


def test_a_loop_that_died_with_a_refresh_hanging() -> None:
    """Promise 11: a stale value that was served while a refresh hung is refreshed in the next loop."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=10, rng=lambda: 0.0)
    source = Source(takes=0)
    reader = Reader(cache, "key", source, CachePolicy(ttl=10, patience=0))
    asyncio.run(reader.get())

    async def leave() -> None:
        source.takes = 1000
        assert await reader.get() == 1
        await asyncio.sleep(0)

    clock.now += 20
    asyncio.run(leave())
    source.takes = 0

    async def again() -> int:
        await reader.get()
        for _ in range(10):
            await asyncio.sleep(0)
        return await reader.get()

    assert asyncio.run(again()) == 3


async def test_an_older_value_of_another_loop() -> None:
    """Promise 7: what a slow fetch brings in one loop doesn't replace what another loop has fetched since."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=10, rng=lambda: 0.0)
    gate = asyncio.Event()

    async def slow(**_: bool) -> int:
        await gate.wait()
        return 1

    async def quick(**_: bool) -> int:
        return 2

    call = asyncio.create_task(Reader(cache, "key", slow, PLAIN).get())
    await asyncio.sleep(0)
    clock.now += 1
    assert await asyncio.to_thread(asyncio.run, Reader(cache, "key", quick, PLAIN).get()) == 2
    gate.set()
    assert await call == 2
    assert await Reader(cache, "key", slow, PLAIN).get() == 2
