"""When a value is fresh, stale or too old: TTL, patience, jitter, and age from the start of the fetch."""

from __future__ import annotations

import asyncio

import pytest

from aiocredentials import CachePolicy, SecretExpiredError
from aiocredentials._cache import STALE, Reader
from unit.cache_kit import AHEAD, PLAIN, Source, Told, make, served, throttled
from unit.cache_model import virtual


@virtual
async def test_past_the_ttl() -> None:
    """Promise 6: a reader waits for the refresh if that is quick."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(99.8)
    assert await served(reader) == (0.0, 1)
    await asyncio.sleep(0.2)
    assert await served(reader) == (0.1, 2)


@virtual
async def test_patience() -> None:
    """Promise 6: patience counts from the refresh's start; while it hangs all further readers are served at once."""
    told = Told()
    cache, source = make(notify=told), Source()
    reader, second = Reader(cache, "key", source, PLAIN), Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.takes = 50
    first = asyncio.create_task(served(reader))
    await asyncio.sleep(0.3)
    assert await served(second) == (0.2, 1)
    assert await first == (0.5, 1)
    third = Reader(cache, "key", source, PLAIN)
    for each in (reader, second, third, third, third):
        assert await served(each) == (0.0, 1)
    assert (source.fetches, cache.reads(STALE)) == (2, 7)
    assert told.count("stale") >= 1
    assert told.facts[-1]["age"] == pytest.approx(100.6)
    await asyncio.sleep(50)
    assert await served(reader) == (0.0, 2)


@virtual
async def test_no_patience() -> None:
    """Promise 6: with a patience of 0 nobody waits at all, and the refresh goes on by itself."""
    cache, source = make(), Source()
    policy = CachePolicy(ttl=100, jitter=0, refresh_ahead=None, patience=0, max_stale=1000)
    reader = Reader(cache, "key", source, policy)
    await reader.get()
    await asyncio.sleep(100)
    assert await served(reader) == (0.0, 1)
    await asyncio.sleep(1)
    assert await served(reader) == (0.0, 2)


@virtual
async def test_never_stale() -> None:
    """Promise 6: with a `max_stale` of 0 a value past its ttl isn't served, but for the error that says why."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, CachePolicy(ttl=100, jitter=0, refresh_ahead=None, max_stale=0))
    await reader.get()
    await asyncio.sleep(100)
    source.error = throttled()
    with pytest.raises(SecretExpiredError, match="Slow down"):
        await reader.get()
    source.error = None
    assert await reader.get() == 3  # nothing is left to serve, so it asks at once


@virtual
async def test_too_old_while_waiting() -> None:
    """Promise 6: a value that becomes too old while its reader waits isn't served: not on an error, not on a hang."""
    cache, source = make(), Source()
    policy = CachePolicy(ttl=100, jitter=0, refresh_ahead=None, patience=5, max_stale=100)
    reader = Reader(cache, "key", source, policy)
    await reader.get()
    await asyncio.sleep(99.9)
    source.takes, source.error = 2, throttled()
    with pytest.raises(SecretExpiredError):
        await reader.get()
    await asyncio.sleep(10)
    source.takes, source.error = 7, None
    await reader.get()
    await asyncio.sleep(93)
    source.takes = 20
    assert await served(reader) == (20.0, 4)


@virtual
async def test_age_counts_from_the_start() -> None:
    """Promise 7: a slow fetch doesn't make its value younger: it may be as old as the request."""
    cache, source = make(), Source(takes=60)
    reader = Reader(cache, "key", source, PLAIN)
    assert await served(reader) == (60.0, 1)
    source.takes = 0
    await asyncio.sleep(39)
    assert await served(reader) == (0.0, 1)
    await asyncio.sleep(1)
    assert await served(reader) == (0.0, 2)


@virtual
async def test_stale_stays_stale() -> None:
    """Promise 7: serving a stale value, and failing to refresh it, never makes it younger."""
    cache, source = make(), Source(takes=0)
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    entry = cache.entry("key")
    assert entry is not None
    born = entry.born
    source.error = throttled()
    for _ in range(20):
        await asyncio.sleep(50)
        assert await reader.get() == 1
        entry = cache.entry("key")
        assert entry is not None
        assert entry.born == born
    await asyncio.sleep(0.1)
    with pytest.raises(SecretExpiredError):
        await reader.get()


@virtual
async def test_jitter() -> None:
    """Promise 14: a ttl is shortened by a random share up to the jitter; each value has a share of its own."""
    shares = iter([0.0, 0.5, 1.0, 0.0, 0.0, 0.0])
    cache, policy = make(rng=lambda: next(shares)), CachePolicy(ttl=100, jitter=0.4, refresh_ahead=None, max_stale=0)
    sources = [Source(takes=0) for _ in range(3)]
    readers = [Reader(cache, key, source, policy) for key, source in enumerate(sources)]
    for reader in readers:
        await reader.get()
    fetched: dict[int, float] = {}
    for second in range(110):
        for reader, source in zip(readers, sources, strict=True):
            await reader.get()
            if source.fetches == 2:
                fetched.setdefault(id(source), second)
        await asyncio.sleep(1)
    assert list(fetched.values()) == [60, 80, 100]


@virtual
async def test_two_policies() -> None:
    """Promise 14: the entry knows its birth, and each reader applies its own policy to it."""
    cache, source = make(), Source(takes=0)
    long = Reader(cache, "key", source, PLAIN)
    short = Reader(cache, "key", source, CachePolicy(ttl=10, jitter=0, refresh_ahead=None, max_stale=0))
    assert (await long.get(), await short.get()) == (1, 1)
    await asyncio.sleep(10)
    assert (await long.get(), await short.get()) == (1, 2)
    assert await long.get() == 2
    source.error = throttled()
    await asyncio.sleep(10)
    with pytest.raises(SecretExpiredError):
        await short.get()
    assert await long.get() == 2


@virtual
async def test_without_a_pool() -> None:
    """Without a pool nothing outlives its call: no refresh ahead, and past the ttl a reader waits for the end."""
    cache, source = make(), Source(takes=0)
    reader = Reader(cache, "key", source, AHEAD, pooled=False)
    await reader.get()
    await asyncio.sleep(90)
    await reader.get()
    assert source.fetches == 1
    await asyncio.sleep(10)
    source.takes = 7
    assert await served(reader) == (7.0, 2)
    await asyncio.sleep(100)
    source.error = throttled()
    assert await served(reader) == (7.0, 2)


@virtual
async def test_pauses() -> None:
    """A reader knows for how long another look brings nothing: until its lease ends, or for the first back-off."""
    cache, source = make(), Source(takes=0)
    reader = Reader(cache, "key", source, AHEAD)
    assert reader.pause() == 2.0
    await reader.get()
    await reader.get()
    assert reader.pause() == 80.0
    await asyncio.sleep(30)
    assert reader.pause() == 50.0
