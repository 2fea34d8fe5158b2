"""One pool for loops in several threads: right values, no hang, and hits without a lock."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CachePolicy, _loops
from aiocredentials._cache import AsyncCache, Lease, Reader
from aiocredentials._cache.entries import ReadCount
from unit.cache_kit import PLAIN, Source
from unit.cache_model import Clock
from unit.thread_storm import storm

if TYPE_CHECKING:
    from aiocredentials._cache.flights import Flight


@pytest.mark.timeout(120)
def test_a_storm() -> None:
    """Promise 16: short-lived loops in eight threads get the right values, each in time, and nothing is left."""
    seen = storm(loops=25)
    assert seen.problems == []
    assert seen.loops == 8 * 25
    assert seen.reads > 400


class Ending(Lease[str]):
    """A lease that another thread ends in the moment in which a reader asks whether it holds."""

    @property
    def until(self) -> float:  # type: ignore[override]
        """Hold, and end right afterwards."""
        self.value = None
        return float("inf")

    @until.setter
    def until(self, until: float) -> None:
        """Take note of nothing."""


async def test_a_lease_that_ends_meanwhile() -> None:
    """Promise 16: a hit in one thread, while another one ends its lease, is the old value or a new one, never None."""
    cache: AsyncCache[str] = AsyncCache(Clock(), max_entries=1)

    async def fetch(**_: bool) -> str:
        return "new"

    reader = Reader(cache, "key", fetch, PLAIN)
    reader.lease = Ending("old", float("inf"), ReadCount())
    assert await reader.get() == "old"


async def test_hits_take_no_lock() -> None:
    """Promise 16: a hit goes on while another thread holds the lock."""
    cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=1)
    reader = Reader(cache, "key", Source(takes=0), PLAIN)
    await reader.get()
    await reader.get()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with _loops.bookkeeping:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    try:
        assert await reader.get() == 1
        assert not done.is_set()
    finally:
        done.set()
        thread.join()


def test_a_loop_that_was_closed_while_it_fetched() -> None:
    """Promise 16: a fetch whose loop was closed under it is forgotten: it is no failure, and other loops go on."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=10, rng=lambda: 0.0)
    source = Source(takes=0)
    reader = Reader(cache, "key", source, CachePolicy(ttl=10, patience=0, max_stale=1e6))
    asyncio.run(reader.get())
    clock.now += 20
    source.takes = 1000
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(reader.get()) == 1
    tasks = list(cache.flights._loops.living()[-1][1].tasks)
    loop.close()
    assert len(cache.flights._under_way) == 1
    cache.invalidate("other")
    assert cache.flights.invalidations._marks
    source.takes = 0

    async def again() -> int:
        await reader.get()
        await asyncio.sleep(0.01)
        return await reader.get()

    # The lease of a stale value lasts until the fetch ends, which it never does: other readers ask for themselves.
    other = Reader(cache, "key", source, CachePolicy(ttl=10, patience=5, max_stale=1e6))
    assert asyncio.run(other.get()) == 3
    assert asyncio.run(again()) == 3
    assert (cache.failures, cache.flights._under_way, cache.flights.invalidations._marks) == (0, {}, {})
    for task in tasks:
        task.get_coro().close()  # type: ignore[union-attr] # nobody will run it
        task._log_destroy_pending = False  # type: ignore[attr-defined] # as the loop was closed on purpose


async def test_invalidating_in_a_loop_that_is_closing() -> None:
    """Promise 16: a loop that is closed in the moment of an invalidation, or of close, disturbs neither."""
    cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=10)
    source = Source(takes=0)
    flight = cache.flights.begin("key", source)

    class Closing:
        """A loop that was open when it was asked, and is closed when it is called."""

        def is_closed(self) -> bool:
            """Say no."""
            return False

        def call_soon_threadsafe(self, *_: object) -> None:
            """Be closed."""
            raise RuntimeError("Event loop is closed")

    closing: Any = Closing()
    states = cache.flights._loops._states
    states[closing] = states[asyncio.get_running_loop()]
    cache.invalidate("key")
    await asyncio.sleep(0)
    states[closing].tasks[flight.task] = [flight]  # type: ignore[index]
    await cache.aclose()
    del states[closing]


@pytest.mark.parametrize("forks", [False, True])
def test_a_refresh_that_hangs_elsewhere(forks: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    """Promise 16: a loop that hangs with its refresh holds up no other one, nor a child: these begin their own."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=10, rng=lambda: 0.0)
    source = Source(takes=0)
    reader = Reader(cache, "key", source, CachePolicy(ttl=10, patience=0, max_stale=1e6))
    asyncio.run(reader.get())
    clock.now += 20
    source.takes = 1000
    hanging = asyncio.new_event_loop()
    assert hanging.run_until_complete(reader.get()) == 1
    source.takes = 0

    async def elsewhere() -> int:
        while (value := await reader.get()) == 1:  # noqa: ASYNC110 (the other refresh tells nobody)
            await asyncio.sleep(0)
        return value

    if forks:
        cache.forked()
        cache.flights._loops.forked()
    else:
        clock.now += 1
    assert asyncio.run(elsewhere()) == 3
    hanging.run_until_complete(asyncio.gather(*_cancelled(hanging), return_exceptions=True))
    hanging.close()


def _cancelled(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    tasks = list(asyncio.all_tasks(loop))
    for task in tasks:
        task.cancel()
    return tasks


def test_a_forked_child_starts_anew() -> None:
    """Promise 16: the values stay in a forked child; what belongs to the parent's loops doesn't."""
    cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=10)
    reader = Reader(cache, "key", Source(takes=0), PLAIN)

    async def parent() -> Flight[int]:
        await reader.get()
        flight = cache.flights.begin("other", Source(takes=1000))
        cache.invalidate("nobody's")
        cache.forked()  # what the handler calls in a child
        cache.flights._loops.forked()
        assert cache.flights.find("other") is None
        flight.task.cancel()  # type: ignore[union-attr]
        return flight

    asyncio.run(parent())
    assert (cache.flights._under_way, cache.flights.invalidations._marks, cache._watchers) == ({}, {}, {})
    assert asyncio.run(reader.get()) == 1
