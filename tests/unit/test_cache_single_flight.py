"""One fetch in flight per key, however many callers ask, join, leave or are cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys

import pytest

from aiocredentials._cache import HIT, STALE, AsyncCache, Reader
from unit.cache_kit import PLAIN, Source, make, outcomes, served
from unit.cache_model import Clock, virtual


@virtual
async def test_single_flight() -> None:
    """Promise 1: a hundred callers of a key cost one fetch; another key has its own; later ones are hits."""
    cache, source, other = make(), Source(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    calls = [reader.get() for _ in range(100)] + [Reader(cache, "other", other, PLAIN).get()]
    assert await outcomes(calls) == [1] * 101
    assert (source.fetches, other.fetches) == (1, 1)
    assert await served(reader) == (0.0, 1)
    assert (cache.misses, cache.reads(HIT), cache.reads(STALE), cache.fetches, len(cache)) == (101, 1, 0, 2, 2)


async def test_a_herd() -> None:
    """Promise 1: 10,000 callers of a cold key cost one fetch; in the soak they are 100,000."""
    cache: AsyncCache[int] = AsyncCache(asyncio.get_running_loop().time, max_entries=1)
    source = Source(takes=0)
    reader = Reader(cache, "key", source, PLAIN)
    assert set(await asyncio.gather(*(reader.get() for _ in range(10_000)))) == {1}
    assert source.fetches == 1


@virtual
@pytest.mark.exhaustive
async def test_herds_of_many_keys() -> None:
    """Promise 1: 100 keys that expire at once, with 50 readers each, cost a fetch each."""
    cache = make()
    sources = [Source(takes=0) for _ in range(100)]
    readers = [Reader(cache, key, source, PLAIN) for key, source in enumerate(sources)]
    await asyncio.gather(*(reader.get() for reader in readers))
    await asyncio.sleep(100)
    assert set(await asyncio.gather(*(reader.get() for reader in readers for _ in range(50)))) == {2}
    assert {source.fetches for source in sources} == {2}


@virtual
async def test_a_cancelled_caller() -> None:
    """Promise 2: 999 of 1,000 are cancelled, the one who began the fetch first of all; the last one gets its value."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    calls = [asyncio.create_task(reader.get()) for _ in range(1000)]
    await asyncio.sleep(0.05)
    for call in calls[:-1]:
        call.cancel()
    assert await calls[-1] == 1
    assert (source.fetches, source.cancelled) == (1, 0)
    assert sum(call.cancelled() for call in calls) == 999


@virtual
async def test_the_last_to_go() -> None:
    """Promise 2: when all callers are gone the fetch is cancelled, and the next call begins its own."""
    cache, source = make(), Source(takes=10)
    reader = Reader(cache, "key", source, PLAIN)
    calls = [asyncio.create_task(reader.get()) for _ in range(3)]
    await asyncio.sleep(1)
    calls[0].cancel()
    calls[1].cancel()
    await asyncio.sleep(1)
    assert source.cancelled == 0
    calls[2].cancel()
    await asyncio.sleep(1)
    assert await served(reader) == (10.0, 2)
    assert (source.cancelled, cache.failures) == (1, 0)


@virtual
async def test_the_last_to_go_of_those_with_patience() -> None:
    """Promise 2: so it is past the ttl, where callers wait for a while only; what goes on without them goes on."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.takes = 10
    call = asyncio.create_task(reader.get())
    await asyncio.sleep(0.2)
    call.cancel()
    await asyncio.sleep(0.2)
    assert (source.fetches, source.cancelled) == (2, 1)
    assert await reader.get() == 1  # its patience is over, and the refresh goes on
    late = asyncio.create_task(reader.refresh())  # waits for its turn
    await asyncio.sleep(0.1)
    late.cancel()
    await asyncio.sleep(10)
    assert (source.fetches, source.cancelled) == (3, 1)
    assert await served(reader) == (0.0, 3)


@virtual
async def test_cancelled_when_it_is_done() -> None:
    """Promise 2: the last caller is cancelled in the moment the fetch ends: what it brought is kept."""
    cache, source = make(), Source(takes=0)
    reader = Reader(cache, "key", source, PLAIN)
    call = asyncio.create_task(reader.get())
    await source.end.wait()
    call.cancel()
    await asyncio.wait([call])
    await asyncio.sleep(1)
    assert await reader.get() == 1


@virtual
async def test_an_old_fetch_touches_no_newer_one() -> None:
    """Promise 3: a fetch that was invalidated ends, and the one that came after it is still the one to wait for."""
    cache, source = make(), Source(takes=1)
    reader = Reader(cache, "key", source, PLAIN)
    old = asyncio.create_task(reader.get())
    await asyncio.sleep(0.5)
    cache.invalidate("key")
    source.takes = 5
    new = asyncio.create_task(reader.get())
    await asyncio.sleep(1)
    assert old.done()
    assert await reader.get() == 2
    assert (await old, await new, source.fetches) == (1, 2, 2)


@virtual
async def test_an_old_fetch_that_nobody_wants() -> None:
    """Promise 3: its last caller goes, it is cancelled, and the newer one isn't."""
    cache, source = make(), Source(takes=1)
    reader = Reader(cache, "key", source, PLAIN)
    old = asyncio.create_task(reader.get())
    await asyncio.sleep(0.1)
    cache.invalidate("key")
    new = asyncio.create_task(reader.get())
    await asyncio.sleep(0.1)
    old.cancel()
    await asyncio.sleep(0.1)
    assert (source.cancelled, cache.flights.find("key") is not None) == (1, True)
    assert (await new, await reader.get(), source.fetches) == (2, 2, 2)


@virtual
async def test_a_fetch_belongs_to_nobody() -> None:
    """A shared fetch runs in an empty context: not in the trace or the request of the caller that came first."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(7)

    async def fetch(**_: bool) -> int:
        return variable.get()

    assert await Reader(make(), "key", fetch, PLAIN).get() == 0


async def test_the_task_is_held() -> None:
    """Somebody holds the task of a fetch strongly: the loop doesn't, and a collection would take it away."""
    cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=10)

    async def fetch(**_: bool) -> int:
        await asyncio.get_running_loop().create_future()  # nobody else has it
        return 1

    flight = cache.flights.begin("key", fetch)
    await asyncio.sleep(0)
    (state,) = [state for _, state in cache.flights._loops.living()]
    assert list(state.tasks) == [flight.task]
    cache.flights._loops.get().by_key.clear()
    del flight
    gc.collect()
    (task,) = state.tasks
    assert not task.done()
    await cache.aclose()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
@virtual
async def test_eager_tasks() -> None:
    """A fetch that runs at once, or even ends at once, is one fetch all the same, and its values are served."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    cache, slow = make(), Source()

    async def quick(**_: bool) -> int:
        assert cache.flights.find("quick") is not None
        return 7

    reader = Reader(cache, "quick", quick, PLAIN)
    assert await outcomes(reader.get() for _ in range(3)) == [7, 7, 7]
    assert await reader.refresh() == 7
    assert (cache.fetches, cache.flights.find("quick")) == (2, None)
    assert await outcomes(Reader(cache, "slow", slow, PLAIN).get() for _ in range(3)) == [1, 1, 1]
    call = asyncio.create_task(Reader(cache, "other", slow, PLAIN).get())
    call.cancel()
    await asyncio.wait([call])
    await asyncio.sleep(1)
    assert (slow.fetches, slow.cancelled) == (2, 1)
    await cache.aclose()
