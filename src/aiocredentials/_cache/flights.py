"""Single flight: callers that ask for the same key share one fetch, in each running loop."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiocredentials._loops import PerLoop, bookkeeping, detached_task, running_loop
from aiocredentials.errors import (
    CredentialsError,
    EndpointUnreachableError,
    PoolClosedError,
    make_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence

V = TypeVar("V")

_NEVER = float("-inf")


class Flight(Generic[V]):
    """A fetch under way. Its task returns nothing, so no repr of a task or future shows a value."""

    __slots__ = (
        "background", "bridged", "followed_by", "given_up", "into", "key", "landed", "names", "outcome",
        "overtaken", "since", "started", "task", "waiters",
    )  # fmt: skip

    def __init__(self, key: Hashable) -> None:
        self.key = key
        """The key that was asked for."""
        self.names: tuple[Hashable, ...] = ()
        """All keys that were known to mean the same when it began; it is found by each of them."""
        self.started = _NEVER
        self.since = 0
        """How many invalidations there had been when it began."""
        self.overtaken = False
        """Whether an invalidation that came after it had begun concerns what it brought."""
        self.task: asyncio.Task[None] | None = None
        """What is cancelled when its last caller leaves; None before it begins, and where other keys share the task."""
        self.outcome: V | Exception | None = None
        self.landed = False
        self.given_up = False
        """Whether we cancelled it ourselves, because no caller waited for it any more."""
        self.waiters: set[asyncio.Future[Flight[V]]] = set()
        self.background = False
        """Whether it goes on when no caller waits for it."""
        self.bridged = False
        """Whether it was reported that a stale value is served while it hangs."""
        self.followed_by: tuple[Flight[V], Callable[[], Coroutine[Any, Any, V]]] | None = None
        """The forced refresh that begins when this one has ended."""
        self.into: Flight[V] | None = None
        """The flight whose outcome its waiters get instead."""


@dataclass(slots=True)
class LoopFlights(Generic[V]):
    """What one running loop has under way."""

    by_key: dict[Hashable, Flight[V]] = field(default_factory=dict["Hashable", Flight[V]])
    tasks: dict[asyncio.Task[None], Sequence[Flight[V]]] = field(
        default_factory=dict["asyncio.Task[None]", "Sequence[Flight[V]]"]
    )
    """The tasks, which the loop itself holds weakly only, and the flights of each."""

    def remove(self, flight: Flight[V]) -> None:
        """Make it no longer found; a younger one under the same name stays."""
        for name in flight.names:
            if self.by_key.get(name) is flight:
                del self.by_key[name]


class Flights(Generic[V]):
    """The fetches under way in all loops.

    `names_of` returns all keys that are known to mean the same as a key. `record` is called under the lock with the
    flights of a task that has ended, before their waiters continue; it returns what to call afterwards, without the
    lock. Whatever it or a later call raises, the waiters get the outcome.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        names_of: Callable[[Hashable], tuple[Hashable, ...]],
        record: Callable[[Sequence[Flight[V]]], Iterable[Callable[[], None]]],
    ) -> None:
        self._clock = clock
        self._names_of = names_of
        self._record = record
        self._loops: PerLoop[LoopFlights[V]] = PerLoop(LoopFlights, self._abandon)
        self.invalidations = 0
        """How many there have been."""
        self._marks: dict[Hashable, int] = {}
        """The number of the last invalidation by its mark, oldest first; only those that a flight may still need."""
        self._all_invalidated = 0
        """The number of the last invalidation of everything."""
        self._under_way: dict[Flight[V], None] = {}
        """The flights of all loops, oldest first."""
        self.begun = 0
        """How many flights have begun."""
        self.closed = False

    def check_open(self) -> None:
        """Raise `PoolClosedError` after close."""
        if self.closed:
            raise make_error(
                PoolClosedError, "The pool is closed: make a new one for further calls."
            )

    def find(self, key: Hashable) -> Flight[V] | None:
        """Return the fetch that is under way for a key, in the running loop."""
        return self._loops.get().by_key.get(key)

    def begin(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, V]]) -> Flight[V]:
        """Begin a fetch. Raises `PoolClosedError` after close."""
        return self._begin(Flight(key), fetch)

    def begin_many(
        self, flights: Sequence[Flight[V]], fetch: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Begin one fetch that sets the outcome of several flights. It goes on when no caller waits for them."""
        for flight in flights:
            flight.background = True
        self._launch(flights, fetch)

    def follow(
        self, flight: Flight[V], key: Hashable, fetch: Callable[[], Coroutine[Any, Any, V]]
    ) -> Flight[V]:
        """Return the fetch that begins when this one has ended: one for all callers that ask for it meanwhile."""
        if flight.followed_by is None:
            flight.followed_by = (Flight(key), fetch)
        return flight.followed_by[0]

    async def wait(self, flight: Flight[V], patience: float | None = None) -> Flight[V] | None:
        """Wait, and return the flight that has the outcome; None if it takes longer than `patience` seconds.

        Then the fetch goes on in the background. A caller that is cancelled disturbs no other one; the last caller to
        leave cancels the fetch.
        """
        if flight.landed:
            return flight
        waiter: asyncio.Future[Flight[V]] = running_loop().create_future()
        flight.waiters.add(waiter)
        try:
            if patience is None:
                return await waiter
            await asyncio.wait((waiter,), timeout=patience)
            if waiter.done():
                return waiter.result()
            flight.background = True
            return None
        finally:
            while flight.into is not None:
                flight = flight.into
            flight.waiters.discard(waiter)
            if waiter.cancelled() or not waiter.done():
                self._leave(flight)

    def invalidate(self, keys: Iterable[Hashable], marks: Iterable[Hashable]) -> None:
        """Let no later caller join the fetches for these keys, and remember the marks for what comes in.

        A fetch that is under way may bring a value whose names nobody knows yet. So its value is compared with the
        marks when it lands. Call it under the lock.
        """
        self.invalidations += 1
        if self._under_way:
            for mark in marks:
                self._marks.pop(mark, None)
                self._marks[mark] = self.invalidations
        found = list(keys)
        for loop, state in self._loops.living():
            for flight in [state.by_key[key] for key in found if key in state.by_key]:
                self._hide(loop, state, flight)

    def invalidate_all(self) -> None:
        """Let no later caller join any fetch that is under way. Call it under the lock."""
        self.invalidations += 1
        self._all_invalidated = self.invalidations
        for loop, state in self._loops.living():
            for flight in list(state.by_key.values()):
                self._hide(loop, state, flight)

    def _hide(
        self, loop: asyncio.AbstractEventLoop, state: LoopFlights[V], flight: Flight[V]
    ) -> None:
        state.remove(flight)
        # It may be called from any thread, and a caller may be about to wait for it in its own.
        with contextlib.suppress(RuntimeError):  # that loop has just been closed
            loop.call_soon_threadsafe(self._give_up, flight)

    def overtake(self, flight: Flight[V], marks: Iterable[Hashable]) -> bool:
        """Note, and return, whether an invalidation with one of these marks came after a flight had begun."""
        last = max((self._marks.get(mark, 0) for mark in marks), default=0)
        flight.overtaken = max(last, self._all_invalidated) > flight.since
        return flight.overtaken

    def close(self) -> list[asyncio.Task[None]]:
        """Refuse new fetches, cancel those under way in all loops, and return the tasks of the running one."""
        here = running_loop()
        with bookkeeping:
            self.closed = True
            self._marks.clear()
            living = [(loop, list(state.tasks)) for loop, state in self._loops.living()]
        waiting: list[asyncio.Task[None]] = []
        for loop, tasks in living:
            for task in tasks:
                if loop is here:
                    task.cancel()
                    waiting.append(task)
                else:
                    with contextlib.suppress(RuntimeError):  # that loop has just been closed
                        loop.call_soon_threadsafe(task.cancel)
        self._loops.abandon_dead()
        return waiting

    def forked(self) -> None:
        """Forget in a forked child what the parent has under way; the loops' own state goes by itself."""
        self._under_way = {}
        self._marks = {}

    def _begin(self, flight: Flight[V], fetch: Callable[[], Coroutine[Any, Any, V]]) -> Flight[V]:
        async def run() -> None:
            flight.outcome = await fetch()

        flight.task = self._launch([flight], run)
        return flight

    def _launch(
        self, flights: Sequence[Flight[V]], fetch: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[None]:
        state = self._loops.get()
        with bookkeeping:
            self.check_open()
            for flight in flights:
                self._register(state, flight)
        try:
            task = detached_task(_guarded(flights, fetch))
        except BaseException:
            with bookkeeping:
                self._unregister(state, flights)
            raise
        with bookkeeping:
            state.tasks[task] = flights
            was_closed = self.closed
        # In a callback, because a task that is cancelled before its first step never runs.
        task.add_done_callback(lambda _: self._land(state, task))
        if was_closed:
            task.cancel()
        return task

    def _register(self, state: LoopFlights[V], flight: Flight[V]) -> None:
        # Before the task is made: an eager one runs at once.
        flight.started = self._clock()
        flight.since = self.invalidations
        flight.names = self._names_of(flight.key)
        self._under_way[flight] = None
        self.begun += 1
        for name in flight.names:
            # A fetch may be under way already that began before it was known whose name that is.
            state.by_key.setdefault(name, flight)
        state.by_key[flight.key] = flight

    def _unregister(self, state: LoopFlights[V], flights: Iterable[Flight[V]]) -> None:
        for flight in flights:
            state.remove(flight)
            self._under_way.pop(flight, None)
        # What was invalidated before the oldest fetch began concerns no fetch any more.
        oldest = next(iter(self._under_way), None)
        while self._marks:
            mark = next(iter(self._marks))
            if oldest is not None and self._marks[mark] > oldest.since:
                break
            del self._marks[mark]

    def _land(self, state: LoopFlights[V], task: asyncio.Task[None]) -> None:
        flights = state.tasks[task]
        afterwards: Iterable[Callable[[], None]] = ()
        # Whatever is raised here, also by delivering one of them, each flight is delivered.
        with contextlib.ExitStack() as delivering:
            for flight in reversed(flights):
                delivering.callback(self._deliver, flight)
            with bookkeeping:
                del state.tasks[task]
                for flight in flights:
                    if flight.outcome is None:
                        # Where no caller waits, as at the end of its loop, that is no failure.
                        flight.given_up = flight.given_up or not flight.waiters
                        flight.outcome = self._cancelled()
                try:
                    afterwards = self._record(flights)
                finally:
                    self._unregister(state, flights)
        for each in afterwards:
            each()

    def _cancelled(self) -> CredentialsError:
        """Make the error of a fetch that was cancelled."""
        if self.closed:
            return make_error(PoolClosedError, "The pool was closed during the call.")
        what = "The fetch was cancelled by something other than this library."
        return make_error(EndpointUnreachableError, what)

    def _deliver(self, flight: Flight[V]) -> None:
        flight.landed = True
        for waiter in flight.waiters:
            if not waiter.done():
                waiter.set_result(flight)
        if flight.followed_by is not None and flight.followed_by[0].waiters:
            self._take_off(*flight.followed_by)

    def _take_off(self, flight: Flight[V], fetch: Callable[[], Coroutine[Any, Any, V]]) -> None:
        other = self.find(flight.key)
        if other is not None:
            # It began after an invalidation, and so later than all callers that wait here asked.
            flight.into = other
            other.waiters |= flight.waiters
            return
        try:
            self._begin(flight, fetch)
        except BaseException as error:
            # The pool was closed, or a task factory fails: the waiters get that, and the loop what ends the program.
            flight.outcome = error if isinstance(error, Exception) else self._cancelled()
            self._deliver(flight)
            if not isinstance(error, Exception):
                raise

    def _leave(self, flight: Flight[V]) -> None:
        if not flight.background:
            self._give_up(flight)

    def _give_up(self, flight: Flight[V]) -> None:
        """Cancel a fetch for which no caller waits."""
        if flight.waiters or flight.task is None or flight.task.done():
            return
        with bookkeeping:
            self._loops.get().remove(flight)
        flight.given_up = True
        flight.task.cancel()

    def _abandon(self, state: LoopFlights[V]) -> None:
        """Record that the fetches of a loop that was closed too early bring nothing."""
        flights = [flight for each in state.tasks.values() for flight in each]
        with bookkeeping:
            for flight in flights:
                flight.given_up = True
            self._record(flights)
            self._unregister(state, flights)


async def _guarded(
    flights: Sequence[Flight[V]], fetch: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run a fetch, and let what it raises be the outcome."""
    try:
        await fetch()
    except Exception as error:  # noqa: BLE001 (it belongs to the waiters, whatever it is)
        for flight in flights:
            # A copy has no traceback: nothing grows, and no frame is kept.
            flight.outcome = copy.copy(error) if isinstance(error, CredentialsError) else error
