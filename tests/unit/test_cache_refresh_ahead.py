"""A refresh ahead runs in the background: no reader of a fresh value waits for it or gets its error."""

from __future__ import annotations

import asyncio

import pytest

from aiocredentials import CachePolicy, SecretExpiredError, SecretNotFoundError
from aiocredentials._cache import STALE, Reader
from unit.cache_kit import AHEAD, Source, Told, make, served, throttled
from unit.cache_model import virtual


@virtual
async def test_refresh_ahead_that_fails() -> None:
    """Promise 8: it reaches no reader, but a listener, and it is tried again: in time, none has to wait."""
    told = Told()
    cache, source = make(notify=told), Source()
    reader = Reader(cache, "key", source, AHEAD)
    await reader.get()
    await asyncio.sleep(80)
    source.error = throttled()
    assert await served(reader) == (0.0, 1)
    await asyncio.sleep(1)
    assert await served(reader) == (0.0, 1)
    assert (source.fetches, told.news[-1]) == (2, ("failed", "key"))
    assert told.facts[-1]["refresh"] is True
    source.error = None
    await asyncio.sleep(3)
    assert await served(reader) == (0.0, 1)
    await asyncio.sleep(1)
    assert await served(reader) == (0.0, 3)
    assert cache.reads(STALE) == 0


@virtual
async def test_refresh_ahead_that_is_refused() -> None:
    """Promise 8: a permanent answer reaches no reader of a fresh value either; but past its ttl that isn't served."""
    told = Told()
    cache, source = make(notify=told), Source()
    reader = Reader(cache, "key", source, AHEAD)
    await reader.get()
    await asyncio.sleep(80)
    source.error = SecretNotFoundError("Gone.")
    for _ in range(19):
        assert await served(reader) == (0.0, 1)
        await asyncio.sleep(1)
    assert told.count("failed") == source.fetches - 1 > 1
    await asyncio.sleep(6)
    source.error = throttled()
    with pytest.raises(SecretExpiredError) as caught:
        await reader.get()
    assert "A refresh of the cached value failed permanently" in str(caught.value)
    source.error = None
    assert await reader.get() == source.fetches


@virtual
async def test_refresh_ahead_that_was_refused_just_now() -> None:
    """Promise 8: a permanent answer that came just before the end of the ttl is remembered at that end."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, AHEAD)
    await reader.get()
    await asyncio.sleep(99)
    source.error = SecretNotFoundError("Gone.")
    assert await reader.get() == 1
    await asyncio.sleep(2)
    for _ in range(3):
        with pytest.raises(SecretNotFoundError):
            await reader.get()
    assert source.fetches == 2


@virtual
async def test_refresh_ahead_goes_on() -> None:
    """Promise 8: it belongs to nobody: who waits for it by a stricter policy, and is cancelled, doesn't end it."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, AHEAD)
    strict = Reader(cache, "key", source, CachePolicy(ttl=10, max_stale=0))
    await reader.get()
    await asyncio.sleep(85)
    source.takes = 5
    assert await reader.get() == 1
    call = asyncio.create_task(strict.get())
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.sleep(5)
    assert (await reader.get(), source.cancelled) == (2, 0)


@virtual
async def test_busy_keys_never_expire() -> None:
    """Promise 9: a key that is read every second is refreshed ahead, and none of its readers ever waits."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, AHEAD)
    await reader.get()
    for _ in range(1000):
        took, _value = await served(reader)
        assert took == 0
        await asyncio.sleep(1)
    assert 12 <= source.fetches <= 14
