"""A forced refresh returns the value of a fetch that began after the call."""

from __future__ import annotations

import asyncio

import pytest

from aiocredentials import ThrottledError
from aiocredentials._cache import Reader
from unit.cache_kit import PLAIN, Source, make, outcomes, served, throttled
from unit.cache_model import virtual


@virtual
async def test_forced_refresh() -> None:
    """Any number of callers at once cost two fetches at most, each gets what one begun after its call brought."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    assert await outcomes(reader.refresh() for _ in range(50)) == [2] + [3] * 49
    first = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    assert await outcomes(reader.refresh() for _ in range(50)) == [5] * 50
    assert (await first, source.fetches) == (4, 5)
    assert await served(reader) == (0.0, 5)


@virtual
async def test_forced_past_back_off() -> None:
    """A forced refresh goes past the back-off, and raises a transient error; the value stays."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.error = throttled()
    await reader.get()
    for _ in range(3):
        with pytest.raises(ThrottledError):
            await reader.refresh()
    assert (source.fetches, await reader.get()) == (5, 1)
    source.error = None
    assert await reader.refresh() == 6


@virtual
async def test_forced_refreshes_that_are_given_up() -> None:
    """Those who wait for their turn go, and there is no second fetch; the one under way is cancelled with its last."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    first, second, third = (asyncio.create_task(reader.refresh()) for _ in range(3))
    await asyncio.sleep(1)
    second.cancel()
    first.cancel()
    assert await third == 2  # its turn came at once
    assert (source.fetches, source.cancelled) == (2, 1)


@virtual
async def test_forced_refresh_and_invalidation() -> None:
    """After an invalidation others fetch at once: who waits for its turn gets that, which began later than its call."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    first = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    second, third = (asyncio.create_task(reader.refresh()) for _ in range(2))
    await asyncio.sleep(1)
    cache.invalidate("key")
    other = asyncio.create_task(reader.get())
    await asyncio.sleep(3.5)
    third.cancel()
    other.cancel()
    assert (await first, await second, source.fetches, source.cancelled) == (1, 2, 2, 0)
    last = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    last.cancel()
    await asyncio.sleep(1)
    assert source.cancelled == 1


@virtual
async def test_forced_refresh_when_all_have_gone_over() -> None:
    """Those who went over to another fetch are its callers: with the last of them it is cancelled."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    first = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    second = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    cache.invalidate("key")
    other = asyncio.create_task(reader.get())
    await asyncio.sleep(3.5)
    other.cancel()
    await asyncio.sleep(0.1)
    assert source.cancelled == 0
    second.cancel()
    await asyncio.sleep(0.1)
    assert (await first, source.cancelled) == (1, 1)
