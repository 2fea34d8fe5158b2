"""How the cache is observed: watchers, counted reads, and reprs without a value."""

from __future__ import annotations

import asyncio

import pytest

from aiocredentials import PoolClosedError, ThrottledError
from aiocredentials._cache import AsyncCache, Entry, Lease, Reader
from unit.cache_kit import PLAIN, Source, make, throttled
from unit.cache_model import virtual


class Watch:
    """Keeps what a watcher is told."""

    def __init__(self) -> None:
        self.seen: list[int | str] = []

    def stored(self, value: int, /) -> None:
        """Keep a value."""
        self.seen.append(value)

    def invalidated(self) -> None:
        """Keep that."""
        self.seen.append("invalidated")

    def forgotten(self) -> None:
        """Keep that."""
        self.seen.append("forgotten")

    def failed(self) -> None:
        """Keep that."""
        self.seen.append("failed")

    def closed(self) -> None:
        """Keep that."""
        self.seen.append("closed")


@virtual
async def test_watching() -> None:
    """A watcher knows of each value, failure and invalidation of its key, and of the end; not when it has stopped."""
    cache, source = make(), Source()
    reader, watch, more = Reader(cache, "key", source, PLAIN), Watch(), Watch()
    stop, stop_more = cache.watch("key", watch), cache.watch("key", more)
    await reader.get()
    await Reader(cache, "other", source, PLAIN).get()
    await reader.refresh()
    stop_more()
    stop_more()
    source.error = throttled()
    with pytest.raises(ThrottledError):
        await reader.refresh()
    cache.invalidate("other")
    cache.invalidate("key")
    cache.forget()
    await cache.aclose()
    assert (watch.seen, more.seen) == ([1, 3, "failed", "invalidated", "forgotten", "closed"], [1, 3])
    stop()
    stop()
    assert not cache._watchers
    with pytest.raises(PoolClosedError):
        cache.watch("key", watch)


@virtual
async def test_nothing_is_shown() -> None:
    """No repr of what the cache is made of, its tasks and futures included, has a value in it."""
    cache: AsyncCache[str] = AsyncCache(asyncio.get_running_loop().time, max_entries=10)

    async def fetch(**_: bool) -> str:
        await asyncio.sleep(1)
        return "hunter2"

    reader = Reader(cache, "key", fetch, PLAIN)
    flight = cache.flights.begin("key", fetch)
    call = asyncio.create_task(reader.get())
    await asyncio.sleep(0.5)
    waiters = list(flight.waiters)
    await call
    entry = cache.entry("key")
    shown = repr([entry, reader, reader.lease, flight, flight.task, waiters, cache, cache._table.by_key])
    assert "hunter2" not in shown
    assert "<Entry 'key'>" in shown
    assert isinstance(entry, Entry)
    assert isinstance(reader.lease, Lease)
    assert repr(reader.lease) == f"<Lease until {reader.lease.until}>"
