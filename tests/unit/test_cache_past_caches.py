"""Which fetches must go past caches on the way to the source: after an invalidation, and when a refresh is forced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AccessDeniedError, CredentialsPool, ThrottledError
from aiocredentials._cache import Reader
from aiocredentials._cache.renewal import renewed
from aiocredentials._store import UncachedReader
from unit.cache_kit import AHEAD, PLAIN, Source, make, names, outcomes, throttled
from unit.cache_model import virtual
from unit.caching_client import CachingClient, CachingSession

if TYPE_CHECKING:
    from collections.abc import Hashable, Set as AbstractSet

    from aiocredentials import AsyncCredentialsManager


@virtual
async def test_ordinary_fetches() -> None:
    """A first fetch, one past the TTL and a refresh ahead may be answered by a cache."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, AHEAD)
    await reader.get()
    await asyncio.sleep(85)
    await reader.get()
    await asyncio.sleep(100)
    await reader.get()
    assert source.past_caches == [False] * 3


@virtual
async def test_forced() -> None:
    """A forced refresh may not, whether it begins at once or waits for its turn."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    assert await outcomes([reader.refresh(), reader.refresh()]) == [2, 3]
    assert source.past_caches == [False, True, True]


@virtual
async def test_renewed() -> None:
    """A renewal may not, and neither does it join an ordinary fetch that began meanwhile."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    first = asyncio.create_task(reader.get())
    await asyncio.sleep(0)
    renewals = [asyncio.create_task(renewed(cache.flights, "key", source)) for _ in range(2)]
    first.add_done_callback(lambda _: cache.flights.begin("key", source))
    assert await asyncio.gather(*renewals) == [None, None]
    assert source.past_caches == [False, False, True]


@virtual
async def test_the_first_after_an_invalidation() -> None:
    """After an invalidation it is the first fetch that succeeds, and no later one."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    cache.invalidate("key")
    source.error = throttled()
    with pytest.raises(ThrottledError):
        await reader.get()
    source.error = AccessDeniedError("No.")
    with pytest.raises(AccessDeniedError):
        await reader.get()
    await asyncio.sleep(10)
    source.error = None
    await reader.get()
    await asyncio.sleep(100)
    await reader.get()
    assert source.past_caches == [False, True, True, True, False]


@virtual
async def test_an_invalidation_before_the_first_fetch() -> None:
    """A key that isn't cached is invalidated, too: another process may have filled the cache on the way."""
    cache, source = make(), Source()
    cache.invalidate("key")
    await Reader(cache, "key", source, PLAIN).get()
    await Reader(cache, "other", source, PLAIN).get()
    assert source.past_caches == [True, False]


@virtual
async def test_an_invalidation_during_a_fetch() -> None:
    """The fetch that is under way has a value from before, so the next one asks past caches."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    first = asyncio.create_task(reader.get())
    await asyncio.sleep(1)
    cache.invalidate("key")
    assert await outcomes([first, reader.get()]) == [1, 2]
    assert source.past_caches == [False, True]


@virtual
async def test_an_invalidation_by_another_name_during_a_fetch() -> None:
    """The same by a name of which nobody knew yet that it means the same value."""
    cache, source = make(keys_of=names), Source(takes=5)
    name = Reader(cache, "name", source, PLAIN)
    first = asyncio.create_task(name.get())
    await asyncio.sleep(1)
    cache.invalidate("arn")
    assert await outcomes([first, name.get()]) == [1, 2]
    await asyncio.sleep(100)
    source.takes = 0.1
    assert await Reader(cache, "arn", source, PLAIN).get() == 3
    assert source.past_caches == [False, True, False]


@virtual
async def test_after_clear() -> None:
    """`clear` is an invalidation of everything; a fetch that was under way is concerned, too."""
    cache, source = make(), Source(takes=5)
    kept, late = (Reader(cache, key, source, PLAIN) for key in ("kept", "late"))
    await kept.get()
    first = asyncio.create_task(late.get())
    await asyncio.sleep(1)
    cache.clear()
    assert len(cache) == 0
    await outcomes([first, kept.get(), late.get()])
    await Reader(cache, "new", source, PLAIN).get()
    assert source.past_caches == [False, False, True, True, False]


@virtual
async def test_what_is_remembered_is_bounded() -> None:
    """Invalidations of keys that nobody reads don't fill the memory."""
    cache = make(max_entries=10)
    for number in range(1000):
        cache.invalidate(number)
    assert len(cache._table.by_key) == 10


@virtual
async def test_batches() -> None:
    """A batch learns which of its keys were invalidated."""
    cache, asked = make(), []

    async def fetch(*, past_caches: AbstractSet[Hashable]) -> dict[Any, int | Exception]:
        asked.append(past_caches)
        return {"a": 1, "b": 2}

    for key in ("other", "b"):
        for flight in cache.flights.begin_batch(["a", "b"], fetch):
            await cache.flights.wait(flight)
        cache.invalidate(key)
    for flight in cache.flights.begin_batch(["a", "b"], fetch):
        await cache.flights.wait(flight)
    assert asked == [set(), set(), {"b"}]


@virtual
async def test_a_fetch_of_ones_own() -> None:
    """A forced refresh that must ask again by its own key still asks past caches."""
    cache, refused, allowed = make(keys_of=names), Source(), Source()
    arn, name = Reader(cache, "arn", refused, PLAIN), Reader(cache, "name", allowed, PLAIN)
    assert await arn.get() == 1
    refused.error = AccessDeniedError("No.")
    current = asyncio.create_task(arn.refresh())
    await asyncio.sleep(0)
    flight = cache.flights.find("name")
    assert flight is not None
    assert await name.result_of(flight, asked=0) == 1
    await outcomes([current])
    assert allowed.past_caches == [True]


@virtual
async def test_without_a_cache() -> None:
    """With `policy=None`, each invalidation counts once for each reader, and a forced refresh always."""
    cache, source = make(), Source()
    reader: UncachedReader = UncachedReader(source, cache.flights.invalidations)  # type: ignore[arg-type]
    await reader.get()
    cache.invalidate("any")
    source.error = throttled()
    with pytest.raises(ThrottledError):
        await reader.get()
    source.error = None
    await reader.get()
    await reader.get()
    await reader.refresh()
    assert source.past_caches == [False, True, True, False, True]


async def test_managers_without_a_cache() -> None:
    """An invalidation counts for the managers that were made before it, once for each, and for no later ones."""
    client = CachingClient(dict.fromkeys(("a", "b"), "x"))
    async with CredentialsPool(session=CachingSession(client), policy=None) as pool:

        async def calls_of(*managers: AsyncCredentialsManager[Any], **selector: str) -> list[str]:
            client.calls.clear()
            for manager in managers:
                await manager.secret(**selector)
            return [call.split()[0] for call in client.calls]

        unread, known = pool.manager("a"), pool.manager("a")
        assert await calls_of(known) == ["get"]
        pool.manager("b").invalidate()
        later = [pool.manager("a") for _ in range(2)]
        assert await calls_of(unread, known, unread, known) == ["refresh", "refresh", "get", "get"]
        assert await calls_of(*later, *later) == ["get"] * 4
        assert await calls_of(pool.manager("a"), known, version_stage="AWSPREVIOUS") == ["get"] * 2

        pool.forget()
        assert await calls_of(known, known, pool.manager("a")) == ["refresh", "get", "get"]
