"""The cache: one value a key, a TTL, and one fetch in flight."""

from __future__ import annotations

import asyncio
import contextvars
from datetime import timedelta
from typing import Any

import pytest

from aiocredentials import CachePolicy, PoolClosedError, ThrottledError
from aiocredentials._cache import AsyncCache

TTL = 60.0


class Source:
    """Counts fetches, and holds each back until its gate opens."""

    def __init__(self) -> None:
        self.fetches = 0
        self.ended = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.done = asyncio.Event()
        self.error: Exception | None = None

    async def fetch(self) -> int:
        """Bring the number of this fetch."""
        self.fetches += 1
        number = self.fetches
        try:
            await self.gate.wait()
        finally:
            self.ended += 1
            self.done.set()
        if self.error is not None:
            raise self.error
        return number


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


async def turns(count: int = 5) -> None:
    """Let the loop turn, so that what can run has run."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def source() -> Source:
    """What is behind the cache."""
    return Source()


@pytest.fixture
def clock() -> Clock:
    """The cache's clock."""
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> AsyncCache[int]:
    """An empty cache."""
    return AsyncCache(clock)


async def test_hits(cache: AsyncCache[int], source: Source, clock: Clock) -> None:
    """A value is served from memory until its TTL is over, and each key has its own."""
    assert await cache.get("key", source.fetch, TTL) == 1
    clock.now += TTL - 0.1
    assert await cache.get("key", source.fetch, TTL) == 1
    assert await cache.get("other", source.fetch, TTL) == 2
    clock.now += 0.1
    assert await cache.get("key", source.fetch, TTL) == 3
    assert (cache.peek("key"), cache.peek("nobody's")) == (3, None)


async def test_age_counts_from_the_start(cache: AsyncCache[int], source: Source, clock: Clock) -> None:
    """A slow fetch doesn't make its value younger: it may be as old as the request."""
    source.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(cache.get("key", source.fetch, TTL))
        await turns()
        clock.now += TTL
        source.gate.set()
    assert await cache.get("key", source.fetch, TTL) == 2


async def test_single_flight(cache: AsyncCache[int], source: Source) -> None:
    """A hundred callers at once cost one fetch."""
    source.gate.clear()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(cache.get("key", source.fetch, TTL)) for _ in range(100)]
        await turns()
        source.gate.set()
    assert {call.result() for call in calls} == {1}
    assert source.fetches == 1


async def test_a_cancelled_caller(cache: AsyncCache[int], source: Source) -> None:
    """A caller that is cancelled, also the one that began the fetch, hurts nobody."""
    source.gate.clear()
    first, second, third = [asyncio.create_task(cache.get("key", source.fetch, TTL)) for _ in range(3)]
    await turns()
    first.cancel()
    third.cancel()
    await turns()
    assert (first.cancelled(), second.done(), third.cancelled()) == (True, False, True)
    source.gate.set()
    assert await second == 1


async def test_the_last_to_go(cache: AsyncCache[int], source: Source) -> None:
    """When all callers are gone the fetch is cancelled, and the next call begins its own."""
    source.gate.clear()
    calls = [asyncio.create_task(cache.get("key", source.fetch, TTL)) for _ in range(3)]
    await turns()
    for call in calls:
        call.cancel()
    await turns()
    assert (source.fetches, source.ended) == (1, 1)
    source.gate.set()
    assert await cache.get("key", source.fetch, TTL) == 2


async def test_each_caller_has_an_error_of_its_own(cache: AsyncCache[int], source: Source) -> None:
    """Callers that fail together get equal errors, not one: tracebacks don't pile up. A failure isn't kept."""
    source.error = ThrottledError("Too many.", secret_name="prod/db")
    calls = (cache.get("key", source.fetch, TTL) for _ in range(5))
    raised = [error for error in await asyncio.gather(*calls, return_exceptions=True) if isinstance(error, Exception)]
    assert len({id(error) for error in [*raised, source.error]}) == 6
    assert {(type(error), str(error)) for error in raised} == {(ThrottledError, "Too many.")}
    source.error = None
    assert await cache.get("key", source.fetch, TTL) == 2


async def test_foreign_errors_surface(cache: AsyncCache[int], source: Source) -> None:
    """A mistake in the fetch itself comes out as it is, and leaves nothing behind."""
    source.error = ZeroDivisionError("ours")
    with pytest.raises(ZeroDivisionError, match="ours"):
        await cache.get("key", source.fetch, TTL)
    assert cache.peek("key") is None


async def test_invalidate(cache: AsyncCache[int], source: Source) -> None:
    """An invalidated value isn't served again; what a fetch in flight brings goes to its callers and isn't kept."""
    await cache.get("key", source.fetch, TTL)
    cache.invalidate("key")
    source.gate.clear()
    waiting = asyncio.create_task(cache.get("key", source.fetch, TTL))
    await turns()
    cache.invalidate("key")
    cache.invalidate("nobody's")
    source.gate.set()
    assert await waiting == 2
    assert cache.peek("key") is None
    assert await cache.get("key", source.fetch, TTL) == 3


async def test_an_invalidated_fetch_that_nobody_wants(cache: AsyncCache[int], source: Source) -> None:
    """When its last caller goes it is cancelled as well, and the fetch that came after it is untouched."""
    source.gate.clear()
    old = asyncio.create_task(cache.get("key", source.fetch, TTL))
    await turns()
    cache.invalidate("key")
    new = asyncio.create_task(cache.get("key", source.fetch, TTL))
    await turns()
    old.cancel()
    await turns()
    assert (source.fetches, source.ended) == (2, 1)
    source.gate.set()
    assert await new == 2
    assert cache.peek("key") == 2


async def test_refresh(cache: AsyncCache[int], source: Source) -> None:
    """A refresh is a fetch begun after the call: fresh values and fetches in flight don't satisfy it."""
    assert await cache.get("key", source.fetch, TTL) == 1
    assert await cache.refresh("key", source.fetch) == 2
    source.gate.clear()
    cache.invalidate("key")
    before = asyncio.create_task(cache.get("key", source.fetch, TTL))
    await turns()
    forced = asyncio.create_task(cache.refresh("key", source.fetch))
    await turns()
    source.gate.set()
    assert (await before, await forced) == (3, 4)
    assert await cache.get("key", source.fetch, TTL) == 4


async def test_a_fetch_belongs_to_nobody(cache: AsyncCache[Any]) -> None:
    """A shared fetch runs in an empty context: not in the trace or the request of the caller that came first."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")
    variable.set("mine")

    async def fetch() -> str:
        return variable.get()

    assert await cache.get("key", fetch, TTL) == "nobody's"


async def test_closing(cache: AsyncCache[int], source: Source) -> None:
    """Closing ends what is in flight, also what was invalidated: its callers, and all later ones, are told."""
    await cache.get("kept", source.fetch, TTL)
    source.gate.clear()
    waiting = [asyncio.create_task(cache.get("key", source.fetch, TTL)) for _ in range(3)]
    await turns()
    cache.invalidate("key")
    waiting.append(asyncio.create_task(cache.get("key", source.fetch, TTL)))
    await turns()
    tasks = asyncio.all_tasks() - {asyncio.current_task(), *waiting}
    assert len(tasks) == 2
    await cache.aclose()
    assert all(task.done() for task in tasks)
    for call in waiting:
        with pytest.raises(PoolClosedError, match="closed during the call"):
            await call
    await cache.aclose()
    for later in (cache.get("kept", source.fetch, TTL), cache.refresh("kept", source.fetch)):
        with pytest.raises(PoolClosedError, match="The pool is closed: open a new one"):
            await later
    assert cache.peek("kept") is None
    assert source.fetches == source.ended == 3


async def test_cancelled_while_closing(cache: AsyncCache[int], source: Source) -> None:
    """A caller that is cancelled in the moment of closing stays cancelled: its cancellation isn't swallowed."""
    source.gate.clear()
    waiting = asyncio.create_task(cache.get("key", source.fetch, TTL))
    await turns()
    closing = asyncio.create_task(cache.aclose())
    await source.done.wait()
    waiting.cancel()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(("ttl", "expected"), [(5, 5.0), (0.5, 0.5), (timedelta(minutes=1), 60.0)])
def test_policy(ttl: float | timedelta, expected: float) -> None:
    """A policy takes seconds as a number or a timedelta, keeps seconds, and can't be changed."""
    policy = CachePolicy(ttl=ttl)
    assert (type(policy.ttl), policy.ttl) == (float, expected)
    with pytest.raises(AttributeError):
        policy.ttl = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("ttl", "kind", "sentence"),
    [
        (0, ValueError, "ttl is 0: give more than 0 seconds"),
        (-1.5, ValueError, "ttl is -1.5"),
        (timedelta(0), ValueError, "more than 0 seconds"),
        (float("inf"), ValueError, "not for ever"),
        (float("nan"), ValueError, "ttl is nan"),
        (True, TypeError, "ttl is a bool: give seconds as a number, or a timedelta"),
        ("60", TypeError, "ttl is a str"),
        (None, TypeError, "ttl is a NoneType"),
    ],
)
def test_policies_that_cannot_be(ttl: Any, kind: type[Exception], sentence: str) -> None:  # noqa: ANN401 (a table)
    """Nonsense is refused with a sentence that names the argument."""
    with pytest.raises(kind, match=sentence):
        CachePolicy(ttl=ttl)
