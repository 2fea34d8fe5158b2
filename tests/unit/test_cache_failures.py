"""A failure isn't a value: which failures are remembered, for which key, and whose exception object it is."""

from __future__ import annotations

import asyncio
import traceback
from functools import partial

import pytest

from aiocredentials import (
    CachePolicy,
    CredentialsError,
    EndpointUnreachableError,
    SecretExpiredError,
    SecretNotFoundError,
    ThrottledError,
)
from aiocredentials._cache import AsyncCache, Reader
from unit.cache_kit import PLAIN, Source, Told, make, outcomes, served, throttled
from unit.cache_model import Clock, virtual


@virtual
async def test_permanent_failures() -> None:
    """Promise 5: a permanent failure is remembered for `negative_ttl`, and no longer; a forced refresh goes past it."""
    cache, source = make(), Source()
    source.error = SecretNotFoundError("Not there.")
    reader = Reader(cache, "key", source, PLAIN)
    for _ in range(10):
        with pytest.raises(SecretNotFoundError, match="Not there"):
            await reader.get()
    assert source.fetches == 1
    await asyncio.sleep(5)
    with pytest.raises(SecretNotFoundError):
        await reader.get()
    assert (source.fetches, cache.failures, len(cache)) == (2, 2, 0)
    source.error = None
    assert await reader.refresh() == 3
    assert await served(reader) == (0.0, 3)


@virtual
async def test_no_memory_of_failures() -> None:
    """Promise 5: a `negative_ttl` of 0 remembers nothing."""
    cache, source = make(), Source()
    source.error = SecretNotFoundError("Not there.")
    reader = Reader(cache, "key", source, CachePolicy(negative_ttl=0))
    for _ in range(3):
        with pytest.raises(SecretNotFoundError):
            await reader.get()
    assert source.fetches == 3


@virtual
async def test_transient_failures_without_a_value() -> None:
    """Promise 5: a transient failure of a cold key isn't remembered at all."""
    cache, source = make(), Source()
    source.error = throttled()
    reader = Reader(cache, "key", source, PLAIN)
    for _ in range(3):
        with pytest.raises(ThrottledError):
            await reader.get()
    assert (source.fetches, len(cache)) == (3, 0)


@virtual
async def test_foreign_errors() -> None:
    """Promise 5: a mistake in the fetch itself comes out as it is, is told to nobody, and leaves nothing behind."""
    told = Told()
    cache, source = make(notify=told), Source()
    source.error = ZeroDivisionError("ours")
    reader = Reader(cache, "key", source, PLAIN)
    assert [type(one) for one in await outcomes(reader.get() for _ in range(3))] == [ZeroDivisionError] * 3
    assert (source.fetches, cache.failures, len(cache), told.news) == (1, 1, 0, [])
    source.error = None
    assert await reader.get() == 2


@virtual
async def test_a_fetch_that_cancels_itself() -> None:
    """Promise 5: a cancellation that nobody of ours caused is a transient error of its own; the pool isn't closed."""
    cache, source = make(), Source()

    async def gone(**_: bool) -> int:
        raise asyncio.CancelledError

    with pytest.raises(EndpointUnreachableError, match="cancelled by something other than this library"):
        await Reader(cache, "key", gone, PLAIN).get()
    assert (len(cache), cache.failures) == (0, 1)
    assert await Reader(cache, "key", source, PLAIN).get() == 1


async def test_a_permanent_answer_is_to_the_name_that_was_asked() -> None:
    """A deleted secret is refused by its ARN; its name, which means a new one by now, is asked by itself."""
    values, now = {"arn 1": "one", "name": "one"}, 0.0
    cache: AsyncCache[str] = AsyncCache(
        lambda: now, max_entries=9, keys_of=lambda _, value: ("arn 1" if value == "one" else "arn 2", "name")
    )

    def reader(key: str) -> Reader[str]:
        async def fetch(**_: bool) -> str:
            if key not in values:
                raise SecretNotFoundError("gone")
            return values[key]

        return Reader(cache, key, fetch, CachePolicy())

    by_name, by_arn = reader("name"), reader("arn 1")
    assert [await by_name.get(), await by_arn.get()] == ["one", "one"]
    del values["arn 1"]
    values["name"], now = "two", 1000.0
    with pytest.raises(SecretNotFoundError):
        await by_arn.get()
    assert await by_name.get() == "two"


@virtual
@pytest.mark.parametrize("error", [throttled(), SecretNotFoundError("No.")], ids=["transient", "permanent"])
async def test_errors_of_ones_own(error: CredentialsError) -> None:
    """Promise 10: callers that fail together, or later by what is remembered, get equal errors, not one."""
    cache, source = make(), Source()
    source.error = error
    reader = Reader(cache, "key", source, PLAIN)
    failures = await outcomes(reader.get() for _ in range(5))
    failures += await outcomes(reader.get() for _ in range(5))
    assert len({id(failure) for failure in failures}) == 10
    assert {str(failure) for failure in failures} == {str(error)}
    assert all(failure is not error and failure.__context__ is None for failure in failures)


@virtual
async def test_expired_errors_of_ones_own() -> None:
    """Promise 10: so it is with the error for a value that is too old."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(2000)
    source.error = throttled()
    failures = await outcomes(reader.get() for _ in range(5))
    failures += await outcomes(reader.get() for _ in range(5))
    assert {type(failure) for failure in failures} == {SecretExpiredError}
    assert len({id(failure) for failure in failures}) == len({id(failure.reason) for failure in failures}) == 10
    assert source.fetches == 3


async def test_tracebacks_do_not_grow() -> None:
    """Promise 10: after thousands of failing calls the traceback is as long as after one."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=1)
    source = Source(takes=0)
    source.error = SecretNotFoundError("No.")
    reader = Reader(cache, "key", source, PLAIN)
    lengths = set()
    for _ in range(3_000):
        try:
            await reader.get()
        except SecretNotFoundError as error:
            lengths.add(len(traceback.extract_tb(error.__traceback__)))
    assert max(lengths) <= 5
    entry = cache.entry("key")
    assert entry is not None
    assert entry.failure is not None
    assert entry.failure.__traceback__ is None


def test_partial_fetches_are_named() -> None:
    """Outside of a loop a read says what to do."""
    cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=1)
    coroutine = Reader(cache, "key", partial(Source()), PLAIN).get()
    with pytest.raises(RuntimeError, match=r"asyncio\.run"):
        coroutine.send(None)
