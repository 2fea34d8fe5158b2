"""One fetch for many keys: each key has its own flight and its own outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiocredentials import ThrottledError
from aiocredentials._cache import Reader
from unit.cache_kit import PLAIN, Source, make, names, served, throttled
from unit.cache_model import virtual


@virtual
async def test_one_fetch_for_many() -> None:
    """One fetch brings many keys; who asks for one of them meanwhile waits for it; each has its own outcome."""
    cache, source = make(), Source()

    async def fetch(**_: bool) -> dict[Any, int | Exception]:
        await asyncio.sleep(5)
        return {"a": 1, "b": throttled(), "c": 3}

    flights = cache.flights.begin_batch(["a", "b", "c"], fetch)
    a, b = Reader(cache, "a", source, PLAIN), Reader(cache, "b", source, PLAIN)
    call = asyncio.create_task(b.get())
    assert await served(a) == (5.0, 1)
    with pytest.raises(ThrottledError):
        await call
    assert [type((await cache.flights.wait(flight)).outcome) for flight in flights] == [int, ThrottledError, int]
    assert (source.fetches, cache.fetches, len(cache)) == (0, 3, 2)


@virtual
async def test_one_of_many_is_invalidated_or_given_up() -> None:
    """Then the others are fetched all the same."""
    cache, source = make(keys_of=lambda key, _: (key,)), Source()

    async def fetch(**_: bool) -> dict[Any, int | Exception]:
        await asyncio.sleep(5)
        return {"a": 1, "b": 2, "c": 3}

    flights = cache.flights.begin_batch(["a", "b", "c"], fetch)
    await asyncio.sleep(1)
    call = asyncio.create_task(Reader(cache, "c", source, PLAIN).get())
    await asyncio.sleep(1)
    cache.invalidate("a")
    call.cancel()
    await asyncio.sleep(1)
    assert [(await cache.flights.wait(flight)).outcome for flight in flights] == [1, 2, 3]
    assert [cache.entry(key).has_value for key in "abc"] == [False, True, True]  # type: ignore[union-attr]


@virtual
async def test_many_by_two_names() -> None:
    """Two names of one value, where that is known, are one of the many."""
    cache, source = make(keys_of=names), Source()
    await Reader(cache, "name", source, PLAIN).get()

    async def fetch(**_: bool) -> dict[Any, int | Exception]:
        return {"name": 2, "arn": 2}

    first, second = cache.flights.begin_batch(["name", "arn"], fetch)
    assert first is second
    assert (await cache.flights.wait(first)).outcome == 2
    assert cache.fetches == 2


@virtual
async def test_many_that_fail() -> None:
    """A fetch of many that fails as a whole fails for each."""
    cache = make()

    async def fetch(**_: bool) -> dict[Any, int | Exception]:
        raise throttled()

    flights = cache.flights.begin_batch(["a", "b"], fetch)
    assert [type((await cache.flights.wait(flight)).outcome) for flight in flights] == [ThrottledError] * 2
