"""While AWS doesn't answer: the stale value is served up to `max_stale`, and refreshes back off."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from aiocredentials import CachePolicy, SecretExpiredError, SecretNotFoundError, ThrottledError
from aiocredentials._cache import STALE, Reader
from unit.cache_kit import AHEAD, PLAIN, Source, Told, make, served, throttled
from unit.cache_model import virtual


@virtual
async def test_a_refresh_that_fails() -> None:
    """Promise 6: a transient error ends the wait at once, and the stale value is served."""
    told = Told()
    cache, source = make(notify=told), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.error = throttled()
    assert await served(reader) == (0.1, 1)
    assert await served(reader) == (0.0, 1)
    assert (source.fetches, told.count("failed"), cache.reads(STALE)) == (2, 1, 2)


@virtual
async def test_a_refresh_that_is_refused() -> None:
    """Promise 6: a permanent answer is raised, and the value is gone."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.error = SecretNotFoundError("Gone.")
    for _ in range(3):
        with pytest.raises(SecretNotFoundError):
            await reader.get()
    entry = cache.entry("key")
    assert entry is not None
    assert (entry.value, source.fetches) == (None, 2)


@virtual
async def test_an_outage() -> None:
    """Promise 6: in an outage of two hours readers get the stale value until `max_stale`, to the second."""
    cache, source, loop = make(), Source(takes=0), asyncio.get_running_loop()
    policy = CachePolicy(ttl=300, jitter=0, refresh_ahead=0.8, max_stale=3600)
    reader = Reader(cache, "key", source, policy)
    await reader.get()
    born = loop.time()
    source.error = throttled()
    while loop.time() < born + 7200:  # two hours
        if loop.time() - born <= 3600:
            assert await served(reader) == (0.0, 1)
        else:
            with pytest.raises(SecretExpiredError) as caught:
                await reader.get()
            assert isinstance(caught.value.reason, ThrottledError)
            assert (caught.value.secret_name, caught.value.region_name) == ("prod/db", "eu-west-1")
            assert caught.value.transient
        await asyncio.sleep(5)
    source.error, back = None, loop.time()
    while True:
        with contextlib.suppress(SecretExpiredError):
            if await reader.get() > 1:
                break
        await asyncio.sleep(1)
    assert loop.time() - back <= 67


@virtual
async def test_back_off() -> None:
    """Promise 6: a refresh that fails is tried at most 15 times in ten minutes, however many ask."""
    cache, source = make(rng=lambda: 0.5), Source(takes=0)
    readers = [Reader(cache, "key", source, AHEAD), Reader(cache, "key", source, PLAIN)]
    await readers[0].get()
    await asyncio.sleep(80)
    source.error = throttled()
    for _ in range(600):
        for reader in readers:
            assert await reader.get() == 1
        await asyncio.sleep(1)
    assert 10 <= source.fetches - 1 <= 15
    gaps = [after - before for before, after in zip(source.began[1:], source.began[2:], strict=False)]
    assert gaps == sorted(gaps)
    assert 60 <= max(gaps) <= 67


@virtual
async def test_foreign_errors_of_a_refresh() -> None:
    """Promise 5: it takes no value away, is tried again no sooner than other failures, and leaves no old lease."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.takes, source.error = 2, ZeroDivisionError("ours")
    assert await reader.get() == 1
    await asyncio.sleep(2)
    assert await served(reader) == (0.0, 1)
    assert source.fetches == 2
    source.takes, source.error = 0.1, None
    await asyncio.sleep(3)
    assert await reader.get() == 3
