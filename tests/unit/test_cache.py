"""What the cache promises, promise by promise, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import gc
import sys
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from aiocredentials import (
    CachePolicy,
    CredentialsError,
    EndpointUnreachableError,
    PoolClosedError,
    SecretExpiredError,
    SecretNotFoundError,
    ThrottledError,
)
from aiocredentials._cache import HIT, STALE, AsyncCache, Entry, Lease, Reader
from unit.cache_model import Clock, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

PLAIN = CachePolicy(ttl=100, jitter=0, refresh_ahead=None, patience=0.5, max_stale=1000, negative_ttl=5)
AHEAD = CachePolicy(ttl=100, jitter=0, refresh_ahead=0.8, patience=0.5, max_stale=1000, negative_ttl=5)


class Source:
    """What is behind the cache: brings the number of each fetch, after `takes` seconds, or fails with `error`."""

    def __init__(self, *, takes: float = 0.1) -> None:
        self.takes = takes
        self.error: Exception | None = None
        self.began: list[float] = []
        self.ended = 0
        self.cancelled = 0
        self.end = asyncio.Event()

    async def __call__(self) -> int:
        """Fetch."""
        self.began.append(asyncio.get_running_loop().time())
        number = len(self.began)
        try:
            await asyncio.sleep(self.takes)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended += 1
            self.end.set()
        if self.error is not None:
            raise copy.copy(self.error)  # a new one each time, as real ones are
        return number

    @property
    def fetches(self) -> int:
        """How many there were."""
        return len(self.began)


class Told:
    """Keeps what the cache tells."""

    def __init__(self) -> None:
        self.news: list[tuple[str, Any]] = []
        self.facts: list[dict[str, Any]] = []
        self.react: Callable[[str, Any], None] = lambda *_: None

    def __call__(self, what: str, key: Hashable, **facts: Any) -> None:  # noqa: ANN401 (whatever belongs to it)
        """Hear something."""
        self.news.append((what, key))
        self.facts.append(facts)
        self.react(what, key)

    def count(self, what: str) -> int:
        """Count what was told."""
        return sum(heard == what for heard, _ in self.news)


def make(*, max_entries: int = 100, rng: Callable[[], float] = lambda: 0.0, **more: Any) -> AsyncCache[int]:  # noqa: ANN401 (AsyncCache's own)
    """Return a cache that runs by the loop's clock, and rolls no dice."""
    return AsyncCache(asyncio.get_running_loop().time, max_entries=max_entries, rng=rng, **more)


def throttled() -> ThrottledError:
    """Return a transient error."""
    return ThrottledError("Slow down.", secret_name="prod/db", region_name="eu-west-1", code="ThrottlingException")


async def outcomes(calls: Any) -> list[Any]:  # noqa: ANN401 (any awaitables)
    """Wait for all; return values and exceptions."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def served(reader: Reader[int]) -> tuple[float, int]:
    """Read; return how long that took, and what it brought."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    value = await reader.get()
    return round(loop.time() - before, 6), value


# 1. One fetch in flight a key, however many callers


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


class Interrupted(dict[Any, Any]):
    """A dict of the cache's: whoever copies it is interrupted right after, as another thread is by the loop's."""

    def __init__(self, content: dict[Any, Any], interrupt: Callable[[], None]) -> None:
        super().__init__(content)
        self._interrupt = interrupt

    def copy(self) -> dict[Any, Any]:
        """Copy it, and then let the others run."""
        content = dict(self)
        self._interrupt()
        return content


@virtual
async def test_counting_from_another_thread() -> None:
    """Whenever another thread counts the reads, it doesn't fail, and no read is counted twice."""
    cache = make()
    reader, other = Reader(cache, "key", Source(), PLAIN), Reader(cache, "other", Source(), PLAIN)
    for each in (reader, reader, other, other, other):
        await each.get()
    assert cache.reads(HIT) == 3
    cache._table.by_key = Interrupted(cache._table.by_key, lambda: cache.invalidate("key"))
    assert cache.reads(HIT) == 3
    entry = cache.entry("other")
    assert entry is not None
    entry.leases = Interrupted(entry.leases, lambda: cache.invalidate("other"))
    assert cache.reads(HIT) == 3
    cache._table.by_key.clear()
    assert cache.reads(HIT) == 3


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


# 2. A cancelled caller hurts nobody; the last one to go cancels the fetch


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


# 3. A finished fetch touches only the entry that started it


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


# 4. Invalidate during a fetch


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


# 5. Failures aren't values


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


@virtual
async def test_a_fetch_that_cancels_itself() -> None:
    """Promise 5: a cancellation that nobody of ours caused is a transient error of its own; the pool isn't closed."""
    cache, source = make(), Source()

    async def gone() -> int:
        raise asyncio.CancelledError

    with pytest.raises(EndpointUnreachableError, match="cancelled by something other than this library"):
        await Reader(cache, "key", gone, PLAIN).get()
    assert (len(cache), cache.failures) == (0, 1)
    assert await Reader(cache, "key", source, PLAIN).get() == 1


# 6. Past the ttl


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


# 7. Age counts from the fetch


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


# 8. A failed refresh-ahead


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
    assert "AWS refused to refresh the cached value" in str(caught.value)
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


# 9. A reader with a fresh value never waits


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


# 10. Each waiter gets an exception of its own


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


# 11. After close


@virtual
async def test_close() -> None:
    """Promise 11: closing ends what is under way, tells those who wait and each later call, and leaves no value."""
    cache, source = make(), Source()
    kept = Reader(cache, "kept", source, PLAIN)
    await kept.get()
    source.takes = 1000
    reader = Reader(cache, "key", source, PLAIN)
    calls = [asyncio.create_task(call) for call in (reader.get(), reader.get(), reader.refresh())]
    await asyncio.sleep(1)
    cache.invalidate("key")
    calls.append(asyncio.create_task(reader.get()))
    await asyncio.sleep(1)
    await asyncio.gather(cache.aclose(), cache.aclose())
    failures = await outcomes(calls)
    assert [type(failure) for failure in failures] == [PoolClosedError] * 4
    assert "closed during the call" in str(failures[0])
    for later in (kept.get(), kept.refresh(), reader.get(), reader.refresh()):
        with pytest.raises(PoolClosedError, match="The pool is closed: make a new one"):
            await later
    with pytest.raises(PoolClosedError):
        cache.flights.begin_batch(["key"], dict)  # type: ignore[arg-type]
    await cache.aclose()
    assert (len(cache), kept.lease.value, source.ended) == (0, None, source.fetches)


@virtual
async def test_close_while_a_reader_is_patient() -> None:
    """Promise 11: a reader that would soon be served a stale value is told too; what comes in late isn't kept."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)

    async def stubborn() -> int:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(10)
        return 7

    call = asyncio.create_task(Reader(cache, "key", stubborn, PLAIN).get())
    await asyncio.sleep(0.1)
    await cache.aclose()
    with pytest.raises(PoolClosedError):
        await call
    assert len(cache) == 0


@virtual
async def test_cancelled_while_closing() -> None:
    """Promise 11: a caller that is cancelled in the moment of closing stays cancelled."""
    cache, source = make(), Source(takes=1000)
    call = asyncio.create_task(Reader(cache, "key", source, PLAIN).get())
    await asyncio.sleep(1)
    closing = asyncio.create_task(cache.aclose())
    await source.end.wait()
    call.cancel()
    await closing
    await asyncio.wait([call])
    assert call.cancelled()


def test_loops_of_their_own() -> None:
    """Promise 11: a value survives its loop; what another loop has under way is ended by close, and by invalidation."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=10, rng=lambda: 0.0)
    source = Source(takes=0)
    reader = Reader(cache, "key", source, AHEAD)
    assert asyncio.run(reader.get()) == 1
    assert asyncio.run(reader.get()) == 1

    async def leave() -> None:
        """End the loop while a refresh is under way."""
        source.takes = 1000
        await reader.get()
        await asyncio.sleep(0)

    clock.now += 90
    asyncio.run(leave())
    clock.now += 20
    source.takes = 0
    assert asyncio.run(reader.get()) == 3
    assert (cache.failures, cache.reads(STALE)) == (0, 0)

    def elsewhere() -> None:
        with pytest.raises(PoolClosedError):
            asyncio.run(Reader(cache, "other", source, PLAIN).get())

    source.takes = 1000
    thread = threading.Thread(target=elsewhere)
    thread.start()
    while source.fetches == source.ended:
        pass
    asyncio.run(cache.aclose())
    thread.join()


def test_a_loop_that_died_with_a_refresh_hanging() -> None:
    """Promise 11: a stale value that was served while a refresh hung is refreshed in the next loop."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=10, rng=lambda: 0.0)
    source = Source(takes=0)
    reader = Reader(cache, "key", source, CachePolicy(ttl=10, patience=0))
    asyncio.run(reader.get())

    async def leave() -> None:
        source.takes = 1000
        assert await reader.get() == 1
        await asyncio.sleep(0)

    clock.now += 20
    asyncio.run(leave())
    source.takes = 0

    async def again() -> int:
        await reader.get()
        for _ in range(10):
            await asyncio.sleep(0)
        return await reader.get()

    assert asyncio.run(again()) == 3


async def test_an_older_value_of_another_loop() -> None:
    """Promise 7: what a slow fetch brings in one loop doesn't replace what another loop has fetched since."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=10, rng=lambda: 0.0)
    gate = asyncio.Event()

    async def slow() -> int:
        await gate.wait()
        return 1

    async def quick() -> int:
        return 2

    call = asyncio.create_task(Reader(cache, "key", slow, PLAIN).get())
    await asyncio.sleep(0)
    clock.now += 1
    assert await asyncio.to_thread(asyncio.run, Reader(cache, "key", quick, PLAIN).get()) == 2
    gate.set()
    assert await call == 2
    assert await Reader(cache, "key", slow, PLAIN).get() == 2


# 12. Keys


def names(_: Hashable, value: int) -> tuple[str, ...]:
    """Give all names of a value: up to 99 it is the one that was called so first, then another took over "name"."""
    return ("arn", "name") if value < 100 else ("arn2", "name")


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
    assert (await call, cache.entry("name")) == (2, None)


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


# 13. Bookkeeping has no await


@virtual
async def test_a_fetch_belongs_to_nobody() -> None:
    """A shared fetch runs in an empty context: not in the trace or the request of the caller that came first."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(7)

    async def fetch() -> int:
        return variable.get()

    assert await Reader(make(), "key", fetch, PLAIN).get() == 0


async def test_the_task_is_held() -> None:
    """Somebody holds the task of a fetch strongly: the loop doesn't, and a collection would take it away."""
    cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=10)

    async def fetch() -> int:
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

    async def quick() -> int:
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


# 14. Time


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


# 15. Bounded


class Model:
    """The least recently used goes first: the plainest way to say so."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: list[int] = []

    def use(self, key: int) -> bool:
        """Use a key; return whether it was there."""
        hit = key in self.kept
        if hit:
            self.kept.remove(key)
        self.kept = [*self.kept, key][-self.size :]
        return hit

    def forget(self, key: int) -> None:
        """Drop a key."""
        if key in self.kept:
            self.kept.remove(key)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 6),
    uses=st.lists(st.tuples(st.sampled_from(["get", "get", "refuse", "invalidate"]), st.integers(0, 9)), max_size=150),
)
def test_least_recently_used(size: int, uses: list[tuple[str, int]]) -> None:
    """Promise 15: the values that are kept are what a list of the last uses says; failures push none of them out."""

    async def main() -> None:
        clock, model, sources = Clock(), Model(size), [Source(takes=0) for _ in range(10)]
        cache: AsyncCache[int] = AsyncCache(clock, max_entries=size, rng=lambda: 0.0)
        policy = CachePolicy(ttl=1e6, max_stale=1e6, jitter=0, negative_ttl=1e6)
        readers = [Reader(cache, key, source, policy) for key, source in enumerate(sources)]
        for what, key in uses:
            clock.now += 1
            entry = cache.entry(key)
            if what == "invalidate":
                cache.invalidate(key)
                model.forget(key)
            elif what == "refuse":
                sources[key].error = SecretNotFoundError("No.")
                with contextlib.suppress(SecretNotFoundError):
                    await readers[key].refresh()
                model.forget(key)
            elif entry is None or entry.failure is None:
                sources[key].error = None
                await readers[key].get()
                model.use(key)
            valued = {key for key, entry in cache._table.by_key.items() if entry.value is not None}
            assert valued == set(model.kept)
            assert len(cache) == len(model.kept)
            assert len(cache._table.by_key) <= 2 * size
            assert max(len(cache._table.values.by_use), len(cache._table.blanks.by_use)) <= 2 * size + 66

    asyncio.run(main())


@virtual
async def test_evictions() -> None:
    """Promise 15: each eviction is told; an evicted value isn't served, by a lease neither."""
    told = Told()
    cache = make(notify=told, max_entries=2)
    readers = [Reader(cache, key, Source(takes=0), PLAIN) for key in range(3)]
    for reader in (readers[0], readers[1], readers[0], readers[2]):
        await reader.get()
        await asyncio.sleep(1)
    assert told.news[-2:] == [("evicted", 1), ("fetched", 2)]
    assert (readers[1].lease.value, readers[0].lease.value) == (None, 1)
    assert (len(cache), cache.reads(HIT)) == (2, 1)


@virtual
async def test_a_refresh_is_no_use() -> None:
    """Promise 15: a value that is refreshed in the background, and read by nobody since, keeps its place."""
    told = Told()
    cache, slow = make(notify=told, max_entries=2), Source()
    first = Reader(cache, "first", slow, AHEAD)
    await first.get()
    await asyncio.sleep(85)
    slow.takes = 5
    await first.get()
    await asyncio.sleep(1)
    await Reader(cache, "second", Source(), AHEAD).get()
    await asyncio.sleep(10)
    assert slow.fetches == 2
    await Reader(cache, "third", Source(), AHEAD).get()
    assert told.news[-2:] == [("evicted", "first"), ("fetched", "third")]


@virtual
async def test_evicted_while_a_listener_hears_of_it() -> None:
    """Promise 15: a listener may call in at any time, and nothing is lost by that."""
    told = Told()
    cache = make(notify=told, max_entries=2)

    def react(what: str, key: object) -> None:
        if what == "evicted":
            for other in range(40, 80):
                cache.invalidate(key, other)

    told.react = react
    for key in range(40):
        await Reader(cache, key, Source(takes=0), PLAIN).get()
        assert len(cache) <= 2
        kept = {id(entry) for _, _, entry in cache._table.values.by_use if entry.shelf is cache._table.values}
        assert len(kept) == len(cache)
    assert told.count("evicted") == 38


@virtual
async def test_many_changes_of_few_keys() -> None:
    """Promise 15: what is kept of uses doesn't grow with the number of changes."""
    cache = make(max_entries=100)
    reader = Reader(cache, "key", Source(takes=0), PLAIN)
    for _ in range(500):
        await reader.refresh()
        assert len(cache._table.values.by_use) <= 2 + 65


# Forced refresh


@virtual
async def test_forced_refresh() -> None:
    """Any number of callers at once cost two fetches at most, each gets what one begun after its call brought."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    assert await outcomes(reader.refresh() for _ in range(50)) == [2] + [3] * 49
    first = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    assert await outcomes(reader.refresh() for _ in range(50)) == [5] * 50
    assert (await first, source.fetches) == (4, 5)
    assert await served(reader) == (0.0, 5)


@virtual
async def test_forced_past_back_off() -> None:
    """A forced refresh goes past the back-off, and raises a transient error; the value stays."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.error = throttled()
    await reader.get()
    for _ in range(3):
        with pytest.raises(ThrottledError):
            await reader.refresh()
    assert (source.fetches, await reader.get()) == (5, 1)
    source.error = None
    assert await reader.refresh() == 6


@virtual
async def test_forced_refreshes_that_are_given_up() -> None:
    """Those who wait for their turn go, and there is no second fetch; the one under way is cancelled with its last."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    first, second, third = (asyncio.create_task(reader.refresh()) for _ in range(3))
    await asyncio.sleep(1)
    second.cancel()
    first.cancel()
    assert await third == 2  # its turn came at once
    assert (source.fetches, source.cancelled) == (2, 1)


@virtual
async def test_forced_refresh_and_invalidation() -> None:
    """After an invalidation others fetch at once: who waits for its turn gets that, which began later than its call."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    first = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    second, third = (asyncio.create_task(reader.refresh()) for _ in range(2))
    await asyncio.sleep(1)
    cache.invalidate("key")
    other = asyncio.create_task(reader.get())
    await asyncio.sleep(3.5)
    third.cancel()
    other.cancel()
    assert (await first, await second, source.fetches, source.cancelled) == (1, 2, 2, 0)
    last = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    last.cancel()
    await asyncio.sleep(1)
    assert source.cancelled == 1


@virtual
async def test_forced_refresh_when_all_have_gone_over() -> None:
    """Those who went over to another fetch are its callers: with the last of them it is cancelled."""
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    first = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    second = asyncio.create_task(reader.refresh())
    await asyncio.sleep(1)
    cache.invalidate("key")
    other = asyncio.create_task(reader.get())
    await asyncio.sleep(3.5)
    other.cancel()
    await asyncio.sleep(0.1)
    assert source.cancelled == 0
    second.cancel()
    await asyncio.sleep(0.1)
    assert (await first, source.cancelled) == (1, 1)


# Many keys by one fetch


@virtual
async def test_one_fetch_for_many() -> None:
    """One fetch brings many keys; who asks for one of them meanwhile waits for it; each has its own outcome."""
    cache, source = make(), Source()

    async def fetch() -> dict[Any, int | Exception]:
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

    async def fetch() -> dict[Any, int | Exception]:
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
    assert [cache.entry(key) is None for key in "abc"] == [True, False, False]


@virtual
async def test_many_by_two_names() -> None:
    """Two names of one value, where that is known, are one of the many."""
    cache, source = make(keys_of=names), Source()
    await Reader(cache, "name", source, PLAIN).get()

    async def fetch() -> dict[Any, int | Exception]:
        return {"name": 2, "arn": 2}

    first, second = cache.flights.begin_batch(["name", "arn"], fetch)
    assert first is second
    assert (await cache.flights.wait(first)).outcome == 2
    assert cache.fetches == 2


@virtual
async def test_many_that_fail() -> None:
    """A fetch of many that fails as a whole fails for each."""
    cache = make()

    async def fetch() -> dict[Any, int | Exception]:
        raise throttled()

    flights = cache.flights.begin_batch(["a", "b"], fetch)
    assert [type((await cache.flights.wait(flight)).outcome) for flight in flights] == [ThrottledError] * 2


# Watching, and what is shown


class Watch:
    """Keeps what a watcher is told."""

    def __init__(self) -> None:
        self.seen: list[int | str] = []

    def stored(self, value: int, /) -> None:
        """Keep a value."""
        self.seen.append(value)

    def invalidated(self) -> None:
        """Keep that."""
        self.seen.append("invalidated")

    def failed(self) -> None:
        """Keep that."""
        self.seen.append("failed")

    def closed(self) -> None:
        """Keep that."""
        self.seen.append("closed")


@virtual
async def test_watching() -> None:
    """A watcher knows of each value, failure and invalidation of its key, and of the end; not when it has stopped."""
    cache, source = make(), Source()
    reader, watch, more = Reader(cache, "key", source, PLAIN), Watch(), Watch()
    stop, stop_more = cache.watch("key", watch), cache.watch("key", more)
    await reader.get()
    await Reader(cache, "other", source, PLAIN).get()
    await reader.refresh()
    stop_more()
    stop_more()
    source.error = throttled()
    with pytest.raises(ThrottledError):
        await reader.refresh()
    cache.invalidate("other")
    cache.invalidate("key")
    await cache.aclose()
    assert (watch.seen, more.seen) == ([1, 3, "failed", "invalidated", "closed"], [1, 3])
    stop()
    stop()
    assert not cache._watchers
    with pytest.raises(PoolClosedError):
        cache.watch("key", watch)


@virtual
async def test_nothing_is_shown() -> None:
    """No repr of what the cache is made of, its tasks and futures included, has a value in it."""
    cache: AsyncCache[str] = AsyncCache(asyncio.get_running_loop().time, max_entries=10)

    async def fetch() -> str:
        await asyncio.sleep(1)
        return "hunter2"

    reader = Reader(cache, "key", fetch, PLAIN)
    flight = cache.flights.begin("key", fetch)
    call = asyncio.create_task(reader.get())
    await asyncio.sleep(0.5)
    waiters = list(flight.waiters)
    await call
    entry = cache.entry("key")
    shown = repr([entry, reader, reader.lease, flight, flight.task, waiters, cache, cache._table.by_key])
    assert "hunter2" not in shown
    assert "<Entry 'key'>" in shown
    assert isinstance(entry, Entry)
    assert isinstance(reader.lease, Lease)
    assert repr(reader.lease) == f"<Lease until {reader.lease.until}>"


def test_partial_fetches_are_named() -> None:
    """Outside of a loop a read says what to do."""
    cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=1)
    coroutine = Reader(cache, "key", partial(Source()), PLAIN).get()
    with pytest.raises(RuntimeError, match=r"asyncio\.run"):
        coroutine.send(None)


async def test_a_permanent_answer_is_to_the_name_that_was_asked() -> None:
    """A deleted secret is refused by its ARN; its name, which means a new one by now, is asked by itself."""
    values, now = {"arn 1": "one", "name": "one"}, 0.0
    cache: AsyncCache[str] = AsyncCache(
        lambda: now, max_entries=9, keys_of=lambda _, value: ("arn 1" if value == "one" else "arn 2", "name")
    )

    def reader(key: str) -> Reader[str]:
        async def fetch() -> str:
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
