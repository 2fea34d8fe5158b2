"""An outcome reaches its waiters, whatever a listener, the bookkeeping or a task factory does."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import (
    CachePolicy,
    CredentialsPool,
    EndpointUnreachableError,
    PoolClosedError,
    SecretNotFoundError,
)
from aiocredentials._cache import AsyncCache, Reader
from aiocredentials._loops import bookkeeping
from aiocredentials.testing import FakeSecretsManager
from unit.cache_kit import AHEAD, PLAIN, Source, Told, make, outcomes
from unit.cache_model import virtual

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiocredentials.events import SecretEvent


class StopEverything(BaseException):
    """What a test framework raises to end a test: no `Exception`."""


def swallow(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take what a callback raised."""
    assert isinstance(context["exception"], StopEverything), (loop, context)


@virtual
async def test_a_listener_that_stops_everything() -> None:
    """Promise 13: those who wait get the value, or the error, also where the listener raises a BaseException."""
    asyncio.get_running_loop().set_exception_handler(swallow)

    def notify(*_: object, **__: object) -> None:
        raise StopEverything

    cache, source = make(notify=notify), Source()
    reader = Reader(cache, "key", source, PLAIN)
    assert await outcomes([reader.get(), reader.get(), reader.refresh()]) == [1, 1, 2]
    source.error = SecretNotFoundError("gone")
    calls = await outcomes([reader.refresh(), reader.refresh()])
    assert [type(one) for one in calls] == [SecretNotFoundError] * 2

    async def fetch(**_: bool) -> dict[Any, int | Exception]:
        return {"a": 1, "b": 2}

    flights = cache.flights.begin_batch(["a", "b"], fetch)
    assert [flight.outcome for flight in await outcomes(map(cache.flights.wait, flights))] == [1, 2]
    assert not cache.flights._under_way
    await cache.aclose()


@virtual
async def test_a_listener_has_no_lock() -> None:
    """A listener is called without the lock: it may wait for another thread that reads from the same cache."""
    told = Told()
    free: list[bool] = []

    def try_lock() -> None:
        free.append(bookkeeping.acquire(blocking=False))
        if free[-1]:
            bookkeeping.release()

    def wait_for_a_thread(*_: object) -> None:
        other = threading.Thread(target=try_lock)
        other.start()
        other.join()

    told.react = wait_for_a_thread
    cache = make(notify=told)
    assert await Reader(cache, "key", Source(), PLAIN).get() == 1
    assert free == [True]


@virtual
async def test_bookkeeping_that_fails() -> None:
    """Promise 13: so it is where the cache itself fails to keep the value."""
    asyncio.get_running_loop().set_exception_handler(swallow)

    def keys_of(key: object, value: int) -> tuple[object, ...]:
        if value == 1:
            raise StopEverything
        return (key,)

    cache, source = make(keys_of=keys_of), Source()
    reader = Reader(cache, "key", source, PLAIN)
    assert await outcomes([reader.get(), reader.get(), reader.refresh()]) == [1, 1, 2]
    assert (await reader.get(), source.fetches) == (2, 2)


@virtual
async def test_a_task_factory_of_two_arguments() -> None:
    """Promise 13: a task factory needn't know arguments that came after Python 3.10."""
    loop = asyncio.get_running_loop()

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.Task(coroutine, loop=loop)

    loop.set_task_factory(factory)
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    assert await reader.get() == 1
    assert await reader.refresh() == 2


async def test_a_task_factory_that_fails() -> None:
    """Promise 13: what it raises reaches the caller, nothing waits for ever, and the next call is a new one."""
    loop = asyncio.get_running_loop()
    cache, source = AsyncCache[int](loop.time, max_entries=10), Source(takes=0)
    reader = Reader(cache, "key", source, PLAIN)

    def factory(*_: object, **__: object) -> asyncio.Task[Any]:
        raise ZeroDivisionError

    loop.set_task_factory(factory)
    try:
        with pytest.raises(ZeroDivisionError):
            await reader.get()
    finally:
        loop.set_task_factory(None)
    assert not cache.flights._under_way
    assert await reader.get() == 1


@pytest.mark.parametrize("error", [ZeroDivisionError(), StopEverything()], ids=repr)
@virtual
async def test_a_task_factory_that_fails_for_those_in_line(error: BaseException) -> None:
    """Promise 13: so it is for a forced refresh that waits for its turn."""
    loop = asyncio.get_running_loop()
    cache, source = make(), Source(takes=5)
    reader = Reader(cache, "key", source, PLAIN)
    calls = [asyncio.create_task(reader.refresh()) for _ in range(2)]
    await asyncio.sleep(1)

    def factory(*_: object, **__: object) -> asyncio.Task[Any]:
        raise error

    loop.set_exception_handler(swallow)
    loop.set_task_factory(factory)
    try:
        got = await outcomes(calls)
        told = type(error) if isinstance(error, Exception) else EndpointUnreachableError
        assert {type(one) for one in got} == {int, told}
    finally:
        loop.set_task_factory(None)


@virtual
async def test_a_task_factory_that_fails_for_those_in_line_of_a_batch() -> None:
    """Promise 13: where one fetch brings several values, what is raised for one keeps none from the others."""
    loop = asyncio.get_running_loop()
    cache = make()

    async def fetch(**_: bool) -> dict[Any, int | Exception]:
        await asyncio.sleep(5)
        return {"a": 1, "b": 2}

    flights = cache.flights.begin_batch(["a", "b"], fetch)
    calls = [asyncio.ensure_future(cache.flights.wait(flight)) for flight in flights]
    forced = [asyncio.create_task(Reader(cache, key, Source(), PLAIN).refresh()) for key in ("a", "b")]
    await asyncio.sleep(1)

    def factory(*_: object, **__: object) -> asyncio.Task[Any]:
        raise StopEverything

    loop.set_exception_handler(swallow)
    loop.set_task_factory(factory)
    try:
        async with asyncio.timeout(60):
            assert await outcomes(calls) == flights
            assert {type(one) for one in await outcomes(forced)} == {EndpointUnreachableError}
    finally:
        loop.set_task_factory(None)


async def test_closed_while_the_task_is_made() -> None:
    """Promise 11: a pool that another thread closes in the moment in which a fetch begins ends that fetch."""
    loop = asyncio.get_running_loop()
    cache, source = AsyncCache[int](loop.time, max_entries=10), Source(takes=1000)

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **_: object) -> asyncio.Task[Any]:
        cache.flights.close()
        return asyncio.Task(coroutine, loop=loop)

    loop.set_task_factory(factory)
    try:
        with pytest.raises(PoolClosedError):
            await Reader(cache, "key", source, PLAIN).get()
    finally:
        loop.set_task_factory(None)
    assert not cache.flights._under_way


@virtual
async def test_all_tasks_are_cancelled() -> None:
    """Promise 13: cancelling all tasks of a loop doesn't close the pool: what is stale is served, fetching goes on."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)
    source.takes = 0.4
    call = asyncio.create_task(reader.get())
    await asyncio.sleep(0.2)
    (task,) = cache.flights._loops.get().tasks
    task.cancel()
    assert await call == 1
    assert cache.failures == 1
    await asyncio.sleep(3)
    assert await reader.get() == 3
    cold = asyncio.create_task(Reader(cache, "cold", source, PLAIN).get())
    await asyncio.sleep(0.2)
    (task,) = cache.flights._loops.get().tasks
    task.cancel()
    with pytest.raises(EndpointUnreachableError, match="cancelled by something other than this library"):
        await cold


@virtual
async def test_a_refresh_ahead_is_cancelled_with_its_loop() -> None:
    """Promise 8: a refresh that no caller waits for, and that is cancelled from outside, is no failure."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, AHEAD)
    await reader.get()
    await asyncio.sleep(90)
    assert await reader.get() == 1
    (task,) = cache.flights._loops.get().tasks
    task.cancel()
    await asyncio.sleep(1)
    assert cache.failures == 0
    assert await reader.get() == 1
    await asyncio.sleep(1)
    assert (await reader.get(), source.fetches) == (2, 2)


async def test_a_listener_that_stops_everything_through_a_pool() -> None:
    """Promise 13: a pool's callers get what they asked for: one by one, by prefetch, and past the ttl."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    def listener(event: SecretEvent) -> None:
        del event
        raise StopEverything

    fake = FakeSecretsManager({"a": {"number": 1}, "b": {"number": 2}})
    policy = CachePolicy(ttl=1e-9, max_stale=100, patience=5)
    async with CredentialsPool(session=fake, listener=listener, policy=policy) as pool:
        assert await pool.manager("a").get() == {"number": 1}
        await pool.prefetch("a", "b")
        assert await pool.manager("b").get() == {"number": 2}
