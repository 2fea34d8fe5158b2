"""One fetch under way, and the fetches of one event loop.

`flights` begins, ends and cancels fetches; the classes here hold their state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeAlias

from aiocredentials._cache.freshness import NEVER
from aiocredentials._cache.signatures import Fetch, Keys, Outcome, V

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable, Sequence


Task: TypeAlias = "asyncio.Task[None]"
"""The task of a fetch. It returns nothing, so the repr of a task or future shows no value."""


class Flight(Generic[V]):
    """A fetch under way, which several callers share."""

    __slots__ = (
        "background",
        "followed_by",
        "given_up",
        "into",
        "key",
        "keys",
        "landed",
        "outcome",
        "overtaken",
        "past_caches",
        "since",
        "stale_reported",
        "started",
        "task",
        "waiters",
    )

    def __init__(self, key: Hashable) -> None:
        self.key = key
        """The key that was asked for."""
        self.keys: Keys = ()
        """All keys that were known to mean the same value at the start; each of them finds it."""
        self.started = NEVER
        self.since = 0
        """How many invalidations there had been at the start."""
        self.overtaken = False
        """Whether a later invalidation concerns the outcome."""
        self.past_caches = False
        """Whether the fetch may not be answered by a cache on the way to the source."""
        self.task: Task | None = None
        """The task that is cancelled when the last caller leaves.

        None before the start, and for a flight of a batch, because other flights share its task.
        """
        self.outcome: Outcome[V] | None = None
        self.landed = False
        """Whether the fetch has ended and its waiters have the outcome."""
        self.given_up = False
        """Whether the outcome isn't recorded: no caller waited for it, or its loop or the cache was
        closed.
        """
        self.waiters: set[asyncio.Future[Flight[V]]] = set()
        self.background = False
        """Whether the fetch continues when no caller waits for it."""
        self.stale_reported = False
        """Whether the listener knows that a stale value is served while this fetch hangs."""
        self.followed_by: Follower[V] | None = None
        """The forced refresh that begins when this fetch has ended."""
        self.into: Flight[V] | None = None
        """The flight that its waiters have joined instead."""

    def land(self) -> None:
        """Let the waiters continue with the outcome."""
        self.landed = True
        for waiter in self.waiters:
            is_waiting = not waiter.done()
            if is_waiting:
                waiter.set_result(self)

    def merge_into(self, other: Flight[V]) -> None:
        """Let the waiters get the outcome of another flight."""
        self.into = other
        other.waiters |= self.waiters

    def merged(self) -> Flight[V]:
        """Return the flight that the waiters of this one have joined, or this one."""
        flight = self
        while flight.into is not None:
            flight = flight.into
        return flight


class Follower(Generic[V]):
    """A flight that begins when another one has ended."""

    __slots__ = ("fetch", "flight")

    def __init__(
        self,
        flight: Flight[V],
        fetch: Fetch[V],
    ) -> None:
        self.flight = flight
        self.fetch = fetch


class LoopFlights(Generic[V]):
    """The fetches under way in one event loop."""

    def __init__(self) -> None:
        self.by_key: dict[Hashable, Flight[V]] = {}
        self.tasks: dict[Task, Sequence[Flight[V]]] = {}
        """The flights of each task. A loop itself holds its tasks weakly."""

    def add(self, flight: Flight[V]) -> None:
        """Let a flight be found by its keys."""
        for key in flight.keys:
            # A fetch may be under way that began before these keys were known to mean one value.
            self.by_key.setdefault(key, flight)
        self.by_key[flight.key] = flight

    def remove(self, flight: Flight[V]) -> None:
        """Let a flight no longer be found; a younger one with the same key stays."""
        for key in flight.keys:
            found = self.by_key.get(key)
            if found is flight:
                del self.by_key[key]

    def task_of(self, flight: Flight[V]) -> Task:
        """Return the task of a flight that is under way, also of one in a batch."""
        return next(task for task, flights in self.tasks.items() if flight in flights)
