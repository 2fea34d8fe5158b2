"""Single flight: callers that ask for the same key in one event loop share one fetch.

A fetch runs in a separate task, so a cancelled caller disturbs no other one. When the task ends,
the outcome is first recorded in the cache, and then delivered to the waiters.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Generic

from aiocredentials._cache.fetching import fetch_batch, fetch_one
from aiocredentials._cache.flight import Flight, Follower, LoopFlights
from aiocredentials._cache.signatures import (
    Clock,
    Fetch,
    FetchBatch,
    Fetching,
    Keys,
    Report,
    V,
)
from aiocredentials._loops import PerLoop, bookkeeping, call_in, detached_task, running_loop
from aiocredentials.errors import (
    CredentialsError,
    EndpointUnreachableError,
    PoolClosedError,
    make_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from aiocredentials._cache.flight import Task
    from aiocredentials._cache.invalidations import Invalidations


class Flights(Generic[V]):
    """The fetches under way in all event loops.

    Args:
        clock: Returns the time in seconds.
        invalidations: The invalidations of the cache.
        keys_of: Returns all keys that are known to mean the same value as a key.
        was_invalidated: Returns whether a key was invalidated after its last value was fetched.
        record: Is called under the lock with the flights of a task that has ended. It returns the
            functions to call afterwards, without the lock. The waiters get their outcomes even if
            it or one of these functions raises.
    """

    def __init__(
        self,
        clock: Clock,
        invalidations: Invalidations,
        keys_of: Callable[[Hashable], Keys],
        was_invalidated: Callable[[Hashable], bool],
        record: Callable[[Sequence[Flight[V]]], list[Report]],
    ) -> None:
        self._clock = clock
        self._keys_of = keys_of
        self._was_invalidated = was_invalidated
        self._record = record
        self._loops = PerLoop[LoopFlights[V]](LoopFlights, self._abandon)
        self._under_way: OrderedDict[Flight[V], None] = OrderedDict()
        """The flights of all loops, oldest first.

        To find the first key of a dict takes longer the more keys were deleted before it.
        """
        self.invalidations = invalidations
        self.begun = 0
        """How many flights have begun."""
        self.closed = False

    def check_open(self) -> None:
        """Raise `PoolClosedError` after close."""
        if self.closed:
            raise make_error(PoolClosedError, "The pool is closed: make a new one.")

    def find(self, key: Hashable) -> Flight[V] | None:
        """Return the fetch that is under way for a key in the running loop."""
        return self._loops.get().by_key.get(key)

    def under_way(self) -> list[Flight[V]]:
        """Return the fetches under way in all loops, oldest first."""
        with bookkeeping:
            return list(self._under_way)

    def begin(
        self,
        key: Hashable,
        fetch: Fetch[V],
        *,
        past_caches: bool = False,
    ) -> Flight[V]:
        """Begin the fetch of a key. Raises `PoolClosedError` after close."""
        flight: Flight[V] = Flight(key)
        flight.past_caches = past_caches
        flight.task = self._launch([flight], partial(fetch_one, flight, fetch))
        return flight

    def begin_batch(
        self,
        keys: Sequence[Hashable],
        fetch: FetchBatch[V],
    ) -> list[Flight[V]]:
        """Begin one fetch for many keys, and return the flight of each key.

        Keys that are known to mean the same value share a flight. The fetch continues when no
        caller waits for it. Raises `PoolClosedError` after close.
        """
        by_key: dict[Hashable, Flight[V]] = {}
        for key in keys:
            flight = by_key.get(key) or Flight[V](key)
            flight.background = True
            for alias in self._keys_of(key):
                by_key[alias] = flight
        flights = [by_key[key] for key in keys]

        distinct = list(dict.fromkeys(flights))
        self._launch(distinct, partial(fetch_batch, distinct, fetch))
        return flights

    def follow(
        self,
        flight: Flight[V],
        key: Hashable,
        fetch: Fetch[V],
    ) -> Flight[V]:
        """Return the flight that begins when this one has ended.

        All callers that ask for it meanwhile share it.
        """
        if flight.followed_by is None:
            follower: Flight[V] = Flight(key)
            follower.past_caches = True
            flight.followed_by = Follower(follower, fetch)
        return flight.followed_by.flight

    async def wait(
        self,
        flight: Flight[V],
        patience: float | None = None,
    ) -> Flight[V] | None:
        """Wait for a fetch, and return the flight that has the outcome.

        If it takes longer than `patience` seconds, return None: the fetch then continues in the
        background. A caller that is cancelled disturbs no other one. The last caller to leave
        cancels the fetch, except if it continues in the background.
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
            flight = flight.merged()
            flight.waiters.discard(waiter)
            has_left = waiter.cancelled() or not waiter.done()
            if has_left and not flight.background:
                self._give_up(flight)

    async def end_of(self, flight: Flight[V]) -> None:
        """Wait until a fetch of this loop has ended, without being one of its callers."""
        state = self._loops.get()
        while not flight.landed:
            task = state.task_of(flight)
            await asyncio.wait([task])
            # The outcome is recorded by a callback of the task.
            await asyncio.sleep(0)

    def invalidate(
        self,
        keys: Iterable[Hashable],
        marks: Iterable[Hashable],
    ) -> None:
        """Let no later caller join the fetches for these keys. Call it under the lock.

        The values of all fetches under way are compared with the marks when they arrive.
        """
        if not self._under_way:
            # There is no fetch whose value must be compared with them.
            marks = ()
        self.invalidations.add(marks)

        wanted = list(keys)
        for loop, state in self._loops.living():
            found = [state.by_key.get(key) for key in wanted]
            for flight in filter(None, found):
                self._hide(loop, state, flight)

    def invalidate_all(self) -> list[Hashable]:
        """Let no later caller join a fetch that is under way, and return the keys of those fetches.

        Call it under the lock.
        """
        self.invalidations.add_of_all()
        for loop, state in self._loops.living():
            found = list(state.by_key.values())
            for flight in found:
                self._hide(loop, state, flight)
        return [flight.key for flight in self._under_way]

    def close(self) -> list[Task]:
        """Refuse new fetches, and cancel those under way in all loops.

        Return the tasks of the running loop, which the caller waits for.
        """
        here = running_loop()
        with bookkeeping:
            self.closed = True
            self.invalidations.forget()
        return self._cancel_all(here)

    def forget(self) -> list[Hashable]:
        """Cancel the fetches of all loops, and return their keys. No outcome of them is kept.

        A loop that is stopped cancels its fetches when it runs again. Call it under the lock.
        """
        fetched = self.invalidate_all()
        self.invalidations.forgotten = self.invalidations.count
        self._cancel_all(None)
        return fetched

    def is_forgotten(self, flight: Flight[V]) -> bool:
        """Return whether everything was forgotten since a fetch began: it answers no caller."""
        return flight.since < self.invalidations.forgotten

    def _cancel_all(self, here: asyncio.AbstractEventLoop | None) -> list[Task]:
        """Cancel the tasks of all loops, and return those of the loop that is running here."""
        with bookkeeping:
            loops = {task: loop for loop, state in self._loops.living() for task in state.tasks}

        waiting: list[Task] = []
        for task, loop in loops.items():
            if loop is here:
                task.cancel()
                waiting.append(task)
            else:
                call_in(loop, task.cancel)
        self._loops.abandon_dead()
        return waiting

    def forked(self) -> None:
        """Forget the parent's fetches in a forked child. `PerLoop` forgets their loops."""
        self._under_way = OrderedDict()
        self.invalidations.forget()

    def _launch(
        self,
        flights: Sequence[Flight[V]],
        fetch: Callable[[], Fetching[None]],
    ) -> Task:
        """Start the task of a fetch that sets the outcome of these flights."""
        state = self._loops.get()
        with bookkeeping:
            self.check_open()
            # They are registered before the task exists, because an eager task runs at once.
            for flight in flights:
                self._register(state, flight)

        try:
            task = detached_task(fetch())
        except BaseException:
            with bookkeeping:
                self._unregister(state, flights)
            raise

        with bookkeeping:
            state.tasks[task] = flights
            was_closed = self.closed
        # This is a callback, because a task that is cancelled before its first step never runs.
        task.add_done_callback(lambda _: self._land(state, task))
        if was_closed:
            task.cancel()
        return task

    def _register(
        self,
        state: LoopFlights[V],
        flight: Flight[V],
    ) -> None:
        flight.started = self._clock()
        flight.since = self.invalidations.count
        flight.keys = self._keys_of(flight.key)
        flight.past_caches = flight.past_caches or self._was_invalidated(flight.key)
        self._under_way[flight] = None
        self.begun += 1
        state.add(flight)

    def _unregister(
        self,
        state: LoopFlights[V],
        flights: Iterable[Flight[V]],
    ) -> None:
        for flight in flights:
            state.remove(flight)
            self._under_way.pop(flight, None)

        # Invalidations from before the oldest fetch concern no fetch any more.
        oldest = next(iter(self._under_way), None)
        if oldest is None:
            self.invalidations.forget()
        else:
            self.invalidations.forget(until=oldest.since)

    def _land(
        self,
        state: LoopFlights[V],
        task: Task,
    ) -> None:
        """Record the outcomes of a task that has ended, and deliver them."""
        flights = state.tasks[task]
        reports: list[Report] = []
        # Each flight is delivered, even if recording or another delivery raises.
        with contextlib.ExitStack() as delivering:
            for flight in reversed(flights):
                delivering.callback(self._deliver, flight)

            with bookkeeping:
                del state.tasks[task]
                for flight in flights:
                    if flight.outcome is None:
                        # Where no caller waits, as at the end of a loop, this is no failure.
                        flight.given_up = flight.given_up or not flight.waiters
                        flight.outcome = self._cancelled()
                    # A closed cache records no outcome.
                    is_unwanted = self.closed or self.is_forgotten(flight)
                    flight.given_up = flight.given_up or is_unwanted
                try:
                    reports = self._record(flights)
                finally:
                    self._unregister(state, flights)

        for report in reports:
            report()

    def _deliver(self, flight: Flight[V]) -> None:
        flight.land()
        follower = flight.followed_by
        if follower is not None and follower.flight.waiters:
            self._begin_follower(follower)

    def _begin_follower(self, follower: Follower[V]) -> None:
        flight = follower.flight
        other = self.find(flight.key)
        if other is not None:
            # It began after an invalidation, and so after the calls of all waiters here.
            flight.merge_into(other)
            return

        try:
            fetch = partial(fetch_one, flight, follower.fetch)
            flight.task = self._launch([flight], fetch)
        except Exception as error:  # noqa: BLE001 (it belongs to the waiters, whatever it is)
            # The pool was closed, or a task factory fails.
            flight.outcome = error
            flight.land()
        except BaseException:
            # The waiters get another error. The loop gets the one that ends the program.
            flight.outcome = self._cancelled()
            flight.land()
            raise

    def _cancelled(self) -> CredentialsError:
        """Return the error of a fetch that was cancelled."""
        if self.closed:
            return make_error(PoolClosedError, "The pool was closed during the call.")
        what = "The fetch was cancelled by something other than this library."
        return make_error(EndpointUnreachableError, what)

    def _hide(
        self,
        loop: asyncio.AbstractEventLoop,
        state: LoopFlights[V],
        flight: Flight[V],
    ) -> None:
        """Let no later caller join a fetch, and cancel it if no caller waits for it."""
        state.remove(flight)
        # This may be another thread's loop, where a caller may be about to wait for the fetch.
        call_in(loop, self._give_up, flight)

    def _give_up(self, flight: Flight[V]) -> None:
        """Cancel a fetch if no caller waits for it."""
        task = flight.task
        if flight.waiters or task is None or task.done():
            return

        with bookkeeping:
            state = self._loops.get()
            state.remove(flight)
        flight.given_up = True
        task.cancel()

    def _abandon(self, state: LoopFlights[V]) -> None:
        """Note that the fetches of a loop that was closed too early have no outcome."""
        groups = state.tasks.values()
        flights = list(chain.from_iterable(groups))
        with bookkeeping:
            for flight in flights:
                flight.given_up = True
            self._record(flights)
            self._unregister(state, flights)
