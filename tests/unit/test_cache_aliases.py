"""All keys of a value share one entry, and a key that comes to mean another value is noticed."""

from __future__ import annotations

import asyncio

from aiocredentials import AccessDeniedError
from aiocredentials._cache import Reader
from unit.cache_kit import PLAIN, Source, make, names, outcomes, served
from unit.cache_model import virtual


@virtual
async def test_names_share_one_entry() -> None:
    """Promise 12: all names of a value share one entry and one fetch, whichever is asked first."""
    cache, source = make(keys_of=names), Source()
    arn, name = Reader(cache, "arn", source, PLAIN), Reader(cache, "name", source, PLAIN)
    assert await name.get() == 1
    assert await served(arn) == (0.0, 1)
    await asyncio.sleep(100)
    assert await outcomes([arn.get(), name.get(), arn.get()]) == [2, 2, 2]
    assert (source.fetches, len(cache)) == (2, 1)
    cache.invalidate("arn")
    assert await name.get() == 3
    assert len(cache) == 1


@virtual
async def test_names_that_nobody_knew_were_one() -> None:
    """Promise 12: two names of a cold key cost two fetches, once; and what is invalidated by one name is so by both."""
    cache, quick, slow = make(keys_of=names), Source(takes=0.1), Source(takes=5)
    arn, name = Reader(cache, "arn", quick, PLAIN), Reader(cache, "name", slow, PLAIN)
    call = asyncio.create_task(name.get())
    await asyncio.sleep(1)
    assert await arn.get() == 1
    assert cache.flights.find("name") is not None
    cache.invalidate("arn")
    assert cache.flights.find("name") is None
    assert await call == 1
    entry = cache.entry("name")
    assert entry is not None
    assert entry.value is None


@virtual
async def test_names_of_an_entry_that_was_evicted() -> None:
    """Promise 12: a refresh under way is still found by each of its names when the entry has gone."""
    cache, source = make(keys_of=lambda key, _: (key,) if key == "other" else ("arn", "name"), max_entries=1), Source()
    name = Reader(cache, "name", source, PLAIN)
    await name.get()
    source.takes = 5
    call = asyncio.create_task(name.refresh())
    await asyncio.sleep(0.1)
    await Reader(cache, "other", Source(), PLAIN).get()
    assert cache.flights.find("name") is cache.flights.find("arn") is not None
    cache.invalidate("name")
    assert (await call, len(cache)) == (2, 1)


@virtual
async def test_a_name_that_changes_hands() -> None:
    """Promise 12: a value that comes to mean another key isn't given to who asked for the old one."""
    cache, by_name, by_arn = make(keys_of=names), Source(), Source()
    name, arn = Reader(cache, "name", by_name, PLAIN), Reader(cache, "arn", by_arn, PLAIN)
    await name.get()
    assert await arn.get() == 1
    await asyncio.sleep(100)
    by_name.began += [0.0] * 100
    calls = [asyncio.create_task(name.get())]
    await asyncio.sleep(0.05)
    calls += [asyncio.create_task(arn.get()) for _ in range(20)]
    assert await outcomes(calls) == [102] + [1] * 20
    assert by_arn.fetches == 1


@virtual
async def test_a_forced_refresh_in_line_under_another_name() -> None:
    """Promise 12: a forced refresh in line with one by another name doesn't get what that name came to mean."""
    cache, by_name, by_arn = make(keys_of=names), Source(), Source()
    name, arn = Reader(cache, "name", by_name, PLAIN), Reader(cache, "arn", by_arn, PLAIN)
    await name.get()
    by_name.began += [0.0] * 100
    first, second = asyncio.create_task(name.refresh()), asyncio.create_task(name.refresh())
    await asyncio.sleep(0.05)
    third = asyncio.create_task(arn.refresh())
    assert sorted(await outcomes([first, second])) == [102, 103]
    assert await third == 1
    assert by_arn.fetches == 1


@virtual
async def test_a_foreign_error_under_another_name() -> None:
    """Promise 5: a mistake in a fetch comes out as it is to each caller, by whichever name it joined."""
    cache, source = make(keys_of=names), Source()
    name, arn = Reader(cache, "name", source, PLAIN), Reader(cache, "arn", source, PLAIN)
    await name.get()
    await asyncio.sleep(100)
    source.error = ZeroDivisionError("ours")
    assert [type(one) for one in await outcomes([name.get(), arn.get()])] == [ZeroDivisionError] * 2
    assert source.fetches == 2


@virtual
async def test_a_key_that_its_own_value_does_not_have() -> None:
    """Promise 12: what a reader's own fetch brings is right for it, whatever it is called."""
    cache, source = make(keys_of=names), Source()
    reader = Reader(cache, "nickname", source, PLAIN)
    assert await outcomes(reader.get() for _ in range(3)) == [1, 1, 1]
    assert source.fetches == 1


@virtual
async def test_a_refusal_of_another_name() -> None:
    """A permanent failure is one for the name that was asked: callers that joined it by an alias fetch by their own."""
    cache, refused, allowed = make(keys_of=names), Source(), Source()
    arn, name = Reader(cache, "arn", refused, PLAIN), Reader(cache, "name", allowed, PLAIN)
    assert await arn.get() == 1
    await asyncio.sleep(100)
    refused.error = AccessDeniedError("No.")
    error, value = await outcomes([arn.get(), name.get()])
    assert isinstance(error, AccessDeniedError)
    assert (value, refused.fetches, allowed.fetches) == (1, 2, 1)
