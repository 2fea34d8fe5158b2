"""After an invalidation, no value and no fetch from before it is served again."""

from __future__ import annotations

import asyncio

import pytest

from aiocredentials import AccessDeniedError, ThrottledError
from aiocredentials._cache import STALE, Reader
from unit.cache_kit import AHEAD, PLAIN, Source, Told, make, names, outcomes, served, throttled
from unit.cache_model import virtual


@virtual
async def test_invalidated_during_its_fetch() -> None:
    """Promise 4: those waiting get the result; it isn't stored, and the next one fetches."""
    told = Told()
    cache, source = make(notify=told), Source()
    reader = Reader(cache, "key", source, PLAIN)
    calls = [asyncio.create_task(reader.get()) for _ in range(3)]
    await asyncio.sleep(0.05)
    cache.invalidate("key")
    assert await outcomes(calls) == [1, 1, 1]
    assert (len(cache), told.news) == (0, [])
    assert await reader.get() == 2


@virtual
async def test_invalidated_refresh_ahead() -> None:
    """Promise 4: a background refresh that nobody waits for is cancelled by an invalidation."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, AHEAD)
    await reader.get()
    await asyncio.sleep(90)
    source.takes = 50
    assert await reader.get() == 1
    await asyncio.sleep(1)
    cache.invalidate("key")
    await asyncio.sleep(1)
    assert (source.fetches, source.cancelled) == (2, 1)


@virtual
async def test_invalidated_while_a_reader_is_patient() -> None:
    """Promise 4: who waits for a refresh that is invalidated gets its result, and not the old value."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.takes = 3
    call = asyncio.create_task(reader.get())
    await asyncio.sleep(0.2)
    cache.invalidate("key")
    assert await call == 2
    assert cache.entry("key") is not None
    assert await reader.get() == 3


@virtual
async def test_overtaken_while_a_reader_is_patient() -> None:
    """Promise 4: a value that came in meanwhile is served as what it is, fresh, and refreshed in its time."""
    told = Told()
    cache, source = make(notify=told), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.takes = 30
    call = asyncio.create_task(reader.get())
    await asyncio.sleep(0.2)
    cache.invalidate("key")
    source.takes = 0
    assert await reader.get() == 3
    assert await call == 3
    assert (told.count("stale"), cache.reads(STALE)) == (0, 0)
    await asyncio.sleep(100)
    assert await reader.get() == 4


@virtual
async def test_overtaken_by_a_success() -> None:
    """Promise 4: so it is when what was waited for fails."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.takes, source.error = 0.4, throttled()
    call = asyncio.create_task(reader.get())
    await asyncio.sleep(0.2)
    cache.invalidate("key")
    good = Reader(cache, "key", Source(takes=0), PLAIN)
    assert await good.get() == 1
    assert await call == 1
    assert cache.reads(STALE) == 0


@virtual
async def test_invalidated_values() -> None:
    """Promise 9: an invalidated value is never served again: not on a transient error, not on a hang."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    cache.invalidate("key")
    cache.invalidate("nobody's")
    source.error = throttled()
    with pytest.raises(ThrottledError):
        await reader.get()
    source.takes, source.error = 30, None
    assert await served(reader) == (30.0, 3)


@virtual
async def test_invalidated_while_it_is_refreshed() -> None:
    """Promise 9: so it is when the error comes to those who waited for a refresh when it was invalidated."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.takes, source.error = 0.4, throttled()
    call = asyncio.create_task(reader.get())
    await asyncio.sleep(0.2)
    cache.invalidate("key")
    with pytest.raises(ThrottledError):
        await call


@virtual
async def test_invalidated_by_a_listener() -> None:
    """Promise 9: so it is when a listener invalidates what it is told about."""
    told = Told()
    cache, source = make(notify=told), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.error = throttled()
    told.react = lambda _, key: cache.invalidate(key)
    with pytest.raises(ThrottledError):
        await reader.get()
    with pytest.raises(ThrottledError):
        await reader.get()
    assert source.fetches == 3


@virtual
async def test_rotations_are_told_across_an_invalidation() -> None:
    """Promise 9: the version that was invalidated is remembered, so that the next one is known to be another."""
    told = Told()
    cache, source = make(notify=told, version_of=lambda number: number), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    cache.invalidate("key")
    await reader.get()
    assert [what for what, _ in told.news] == ["fetched", "fetched", "rotated"]
    assert told.facts[-1] == {"value": 2, "before": 1}


@virtual
async def test_a_refused_name_that_was_evicted() -> None:
    """Promise 4: an invalidation by a name reaches the value, also if other failures have pushed out the refusal of it.

    What the cache remembers of evicted names goes with the value.
    """
    cache, refused, source = make(keys_of=names, max_entries=1), Source(), Source()
    name = Reader(cache, "name", source, PLAIN)
    assert await name.get() == 1
    refused.error = AccessDeniedError("No.")
    for key in ("arn", "other"):
        with pytest.raises(AccessDeniedError):
            await Reader(cache, key, refused, PLAIN).refresh()
    assert cache.entry("arn") is None
    cache.invalidate("arn")
    assert await name.get() == 2
    cache.invalidate("name")
    with pytest.raises(AccessDeniedError):
        await Reader(cache, "name", refused, PLAIN).refresh()
    with pytest.raises(AccessDeniedError):
        await Reader(cache, "other", refused, PLAIN).refresh()
    assert not cache._table._evicted
