"""Keep values for a time, and fetch each key once however many ask. It knows nothing of AWS."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import math
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from aiocredentials.errors import CredentialsError, PoolClosedError, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

V = TypeVar("V")


def seconds(value: float | timedelta, name: str) -> float:
    """Read a duration that must be positive and finite; the error names the argument."""
    number = cast("object", value.total_seconds() if isinstance(value, timedelta) else value)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        message = f"{name} is a {type(value).__name__}: give seconds as a number, or a timedelta."
        raise TypeError(message)
    if not (math.isfinite(number) and number > 0):
        message = f"{name} is {number}: give more than 0 seconds, and not for ever."
        raise ValueError(message)
    return float(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How long a value is served from memory. Durations are seconds, as a number or a `timedelta`."""

    ttl: float | timedelta = 300.0
    """Fresh this long, counted from the start of the fetch."""

    def __post_init__(self) -> None:
        """Refuse nonsense, and keep seconds."""
        object.__setattr__(self, "ttl", seconds(self.ttl, "ttl"))


DEFAULT_POLICY = CachePolicy()


@dataclass(slots=True)
class _Flight(Generic[V]):
    """One fetch in flight, and how many wait for it. The task ends in a value or an error, never by raising."""

    task: asyncio.Task[V | CredentialsError]
    waiters: int = 0


class AsyncCache(Generic[V]):
    """A value for each key, with a TTL, and at most one fetch in flight for each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[Hashable, tuple[float, V]] = {}
        self._flights: dict[Hashable, _Flight[V]] = {}
        self._tasks: set[asyncio.Task[V | CredentialsError]] = set()  # those of invalidated and overtaken flights, too
        self._closed = False

    async def get(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, V]], ttl: float) -> V:
        """Return the value if it is younger than `ttl` seconds, else what a fetch brings, shared by all who ask."""
        entry = self._entries.get(key)
        if entry is not None and self._clock() - entry[0] < ttl and not self._closed:
            return entry[1]
        return await self._join(key, self._flights.get(key) or self._start(key, fetch))

    async def refresh(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what a fetch begun after this call brings."""
        return await self._join(key, self._start(key, fetch))

    def invalidate(self, key: Hashable) -> None:
        """Forget the value, and don't keep what a fetch in flight will bring."""
        self._entries.pop(key, None)
        self._flights.pop(key, None)

    def peek(self, key: Hashable) -> V | None:
        """Return what is kept, fresh or not."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    async def aclose(self) -> None:
        """Cancel what is in flight and forget all values; calling it again does nothing."""
        self._closed = True
        self._entries.clear()
        self._flights.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, V]]) -> _Flight[V]:
        if self._closed:
            raise describe(PoolClosedError, "The pool is closed: open a new one for further calls.")
        born = self._clock()
        # In an empty context: a fetch that many wait for belongs to no caller's trace, request or timeout.
        task = asyncio.get_running_loop().create_task(self._outcome(fetch), context=contextvars.Context())
        flight = self._flights[key] = _Flight(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: self._land(key, flight, born, done))
        return flight

    @staticmethod
    async def _outcome(fetch: Callable[[], Coroutine[Any, Any, V]]) -> V | CredentialsError:
        try:
            return await fetch()
        except CredentialsError as error:
            return error

    def _land(self, key: Hashable, flight: _Flight[V], born: float, done: asyncio.Task[V | CredentialsError]) -> None:
        if self._flights.get(key) is not flight:
            return  # invalidated, or overtaken by a refresh: its callers get the result, nobody else does
        del self._flights[key]
        if not done.cancelled() and done.exception() is None:
            outcome = done.result()
            if not isinstance(outcome, CredentialsError):
                self._entries[key] = (born, outcome)

    async def _join(self, key: Hashable, flight: _Flight[V]) -> V:
        flight.waiters += 1
        try:
            # Not shield(): a caller that is cancelled in the turn of the loop in which the pool closes stays cancelled.
            await asyncio.wait([flight.task])
        except BaseException:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                flight.task.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]
            raise
        if flight.task.cancelled():
            raise describe(PoolClosedError, "The pool was closed during the call.")
        outcome = flight.task.result()
        if isinstance(outcome, CredentialsError):
            raise copy.copy(outcome)
        return outcome
