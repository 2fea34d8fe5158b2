"""Values that stay current: one fetch in flight a key, refresh ahead, bounded staleness. It knows nothing of AWS.

Four things make it. An `Entry` is what is known of one value at one time: every change makes a new one, and ends the
leases of the old one. A `Lease` lets readers have the value until a time without another look. A `_Flight` is a fetch
under way, in a task of its own, with a future for each caller who waits. A `Reader` asks for one key under one policy,
and decides when to serve, to wait or to refuse.

Nothing here awaits between reading and writing state, so nothing needs a lock. Time is a monotonic clock that is
injected; expiry is decided when somebody reads.
"""

from __future__ import annotations

import asyncio
import copy
import heapq
import random
from contextvars import Context
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from aiocredentials._loops import PerLoop, finish, running_loop
from aiocredentials.errors import CredentialsError, PoolClosedError, SecretExpiredError, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping

    from aiocredentials._policy import CachePolicy

V = TypeVar("V")

HIT, STALE = 0, 1
# A refresh that failed isn't tried again before 2 s, then 4, 8 ... 60 s, however many ask: 14 times in ten minutes.
FIRST_BACKOFF, LONGEST_BACKOFF = 2.0, 60.0
_NEVER = float("-inf")


class Lease(Generic[V]):
    """The right to be served a value until a time without another look at the cache. It ends when the entry does."""

    __slots__ = ("reads", "until", "used", "value")

    def __init__(self, value: V | None, until: float) -> None:
        self.value = value
        self.until = until
        self.used = _NEVER
        self.reads = 0

    def __repr__(self) -> str:
        """Leave the value out."""
        return f"<Lease until {self.until}>"


class Entry(Generic[V]):
    """What is known of one value at one time: the value if there is one, and how fetching it went last."""

    __slots__ = ("born", "failed_at", "failure", "failures", "keys", "leases", "live", "retry_at", "share", "stale_ok",
                 "used", "value", "version")  # fmt: skip

    def __init__(self, keys: tuple[Hashable, ...], used: float) -> None:
        self.keys = keys
        """All keys by which it is asked for; by the first one it is called in what is told."""
        self.used = used
        self.live = True
        """Whether it still is what the cache has."""
        self.leases: dict[tuple[float, int], Lease[V]] = {}
        """By until when, and as what, they serve: readers under one policy share one."""
        self.value: V | None = None
        self.version: Hashable = None
        """The version of the value, or of the last one, when that was invalidated."""
        self.born = _NEVER
        """When the fetch began that brought the value."""
        self.share = 0.0
        """A random number that spreads the ttl."""
        self.stale_ok = True
        """Whether it may be served past its ttl: not after a permanent failure."""
        self.failure: CredentialsError | None = None
        self.failures = 0
        self.failed_at = self.retry_at = _NEVER

    def lease(self, until: float, kind: int) -> Lease[V]:
        """Return the lease that serves until then."""
        lease = self.leases.get((until, kind))
        if lease is None:
            lease = self.leases[until, kind] = Lease(self.value, until)
        return lease

    def last_used(self) -> float:
        """Return when it was read last: a hit notes the time in its lease alone."""
        return max([self.used, *(lease.used for lease in self.leases.values())])

    def __repr__(self) -> str:
        """Leave the value out: this stands in debuggers and assertion messages."""
        return f"<Entry {self.keys[0]!r}>"


class _Flight(Generic[V]):
    """A fetch under way. Its task returns nothing, so that no repr of a task or future shows a value."""

    __slots__ = ("background", "following", "into", "keep", "key", "landed", "names", "outcome", "started", "task",
                 "waiters")  # fmt: skip

    def __init__(self, key: Hashable) -> None:
        self.key = key
        """The key that was asked for."""
        self.names: tuple[Hashable, ...] = ()
        """All keys that were known to mean the same when it began: by each of them it is found."""
        self.started = _NEVER
        self.task: asyncio.Task[None] | None = None
        """What is cancelled when nobody waits any more; None before it begins, and where other keys share the task."""
        self.outcome: V | Exception | None = None
        self.landed = False
        self.waiters: set[asyncio.Future[_Flight[V]]] = set()
        self.background = False
        """Whether it goes on when nobody waits for it."""
        self.keep = True
        """Whether its result is kept: not after an invalidation."""
        self.following: tuple[_Flight[V], Callable[[], Coroutine[Any, Any, V]]] | None = None
        """The forced refresh that begins when this one has ended."""
        self.into: _Flight[V] | None = None
        """The flight whose result its waiters get instead."""


@dataclass(slots=True)
class _Flights(Generic[V]):
    """What one running loop has under way."""

    by_key: dict[Hashable, _Flight[V]] = field(default_factory=dict["Hashable", _Flight[V]])
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def remove(self, flight: _Flight[V]) -> None:
        """Have it no longer found; a younger one, by the same name, stays."""
        for name in flight.names:
            if self.by_key.get(name) is flight:
                del self.by_key[name]


class AsyncCache(Generic[V]):
    """Entries by key, at most `max_entries` of them, and the flights of each running loop.

    `keys_of` gives all keys of a value, the one that was asked among them, and first the one that listeners are told;
    `version_of` tells versions apart; `notify` is told what happens: a name, a key, and what belongs to it.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_entries: int,
        keys_of: Callable[[Hashable, V], tuple[Hashable, ...]] = lambda key, _: (key,),
        version_of: Callable[[V], Hashable] = id,
        notify: Callable[..., None] = lambda *_, **__: None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        self._counts = [0, 0]  # hits and stale reads of the leases that have ended
        self.fetches = self.misses = self.failures = 0
        self.closed = False
        self.keys_of, self.notify = keys_of, notify
        self._version_of, self._rng = version_of, rng
        self._max_entries = max_entries
        self._entries: dict[Hashable, Entry[V]] = {}
        self._size = 0
        self._by_use: list[tuple[float, int, Entry[V]]] = []
        self._order = count()
        self._loops: PerLoop[_Flights[V]] = PerLoop(_Flights)
        self._watchers: dict[Hashable, set[Callable[[V | None], None]]] = {}

    def __len__(self) -> int:
        """Count the entries; a value that goes by several keys is one."""
        return self._size

    def reads(self, kind: int) -> int:
        """Count the reads that were hits, or stale. Another thread may miss those of a lease that ends."""
        # Copies, and those that have ended first: a thread that exports metrics reads here while the loop goes on.
        entries, ended = {id(entry): entry for entry in self._entries.copy().values()}, self._counts[kind]
        leases = [lease for entry in entries.values() for lease in entry.leases.copy().items()]
        return ended + sum(lease.reads for (_, as_), lease in leases if as_ == kind)

    def entry(self, key: Hashable) -> Entry[V] | None:
        """Return what is known of a key."""
        return self._entries.get(key)

    def keys(self) -> list[Hashable]:
        """Return all keys of all entries."""
        return list(self._entries)

    def check_open(self) -> None:
        """Raise `PoolClosedError` after close."""
        if self.closed:
            raise describe(PoolClosedError, "The pool is closed: make a new one for further calls.")

    def watch(self, key: Hashable, watcher: Callable[[V | None], None]) -> Callable[[], None]:
        """Have `watcher` called with each value stored for a key, and with None at close; return how to stop that."""
        watchers = self._watchers.setdefault(key, set())
        watchers.add(watcher)

        def stop() -> None:
            watchers.discard(watcher)
            if not watchers and self._watchers.get(key) is watchers:
                del self._watchers[key]

        return stop

    # Flights

    def flight(self, key: Hashable) -> _Flight[V] | None:
        """Return the fetch that is under way for a key, in the running loop."""
        return self._loops.get().by_key.get(key)

    def start(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, V]]) -> _Flight[V]:
        """Begin a fetch. Raises `PoolClosedError` after close."""
        self.check_open()
        return self._begin(_Flight(key), fetch)

    def follow(self, flight: _Flight[V], fetch: Callable[[], Coroutine[Any, Any, V]]) -> _Flight[V]:
        """Return the fetch that begins when this one has ended: one for all who ask for it meanwhile."""
        if flight.following is None:
            flight.following = (_Flight(flight.key), fetch)
        return flight.following[0]

    def start_many(
        self, keys: Iterable[Hashable], fetch: Callable[[], Coroutine[Any, Any, Mapping[Hashable, V | Exception]]]
    ) -> list[_Flight[V]]:
        """Begin one fetch for many keys; who asks for one of them meanwhile waits for it."""
        self.check_open()
        by_name: dict[Hashable, _Flight[V]] = {}
        for key in keys:
            flight = by_name.get(key) or _Flight(key)
            by_name |= dict.fromkeys(self._names(key), flight)
        flights = [by_name[key] for key in keys]

        async def run() -> None:
            outcomes = await fetch()
            for key, flight in zip(keys, flights, strict=True):
                flight.outcome = outcomes[key]

        for flight in flights:
            flight.background = True
        self._launch(list(dict.fromkeys(flights)), run())
        return flights

    def _names(self, key: Hashable) -> tuple[Hashable, ...]:
        entry = self._entries.get(key)
        return (key,) if entry is None else entry.keys

    def _begin(self, flight: _Flight[V], fetch: Callable[[], Coroutine[Any, Any, V]]) -> _Flight[V]:
        async def run() -> None:
            flight.outcome = await fetch()

        flight.task = self._launch([flight], run())
        return flight

    def _launch(self, flights: list[_Flight[V]], run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        state = self._loops.get()
        for flight in flights:  # before the task: an eager one runs at once
            flight.started = self.clock()
            flight.names = self._names(flight.key)
            for name in flight.names:  # where one is under way already, begun before it was known whose name that is
                state.by_key.setdefault(name, flight)
            self.fetches += 1

        async def guarded() -> None:
            try:
                await run
            except Exception as error:  # noqa: BLE001 (it belongs to the waiters, whatever it is)
                for flight in flights:
                    # A copy has no traceback: nothing grows, and no frame is kept.
                    flight.outcome = copy.copy(error) if isinstance(error, CredentialsError) else error

        # In an empty context: a fetch that many wait for belongs to no caller's trace or request.
        task = running_loop().create_task(guarded(), context=Context())
        state.tasks.add(task)  # the loop itself holds tasks weakly

        # In a callback, since a task that is cancelled before its first step never runs.
        def land(_: object) -> None:
            run.close()
            state.tasks.discard(task)
            for flight in flights:
                self._land(state, flight)

        task.add_done_callback(land)
        return task

    def _land(self, state: _Flights[V], flight: _Flight[V]) -> None:
        if flight.outcome is None:  # cancelled: by closing, by an invalidation, or since nobody waits any more
            flight.outcome = describe(PoolClosedError, "The pool was closed during the call.")
            flight.keep = False
        state.remove(flight)
        entry = self._entries.get(flight.key)
        if entry is not None:
            self._end(entry)  # there are leases that run until a flight ends, whatever it brings
        if flight.keep and not self.closed:
            self._record(flight)
        flight.landed = True
        for waiter in flight.waiters:
            if not waiter.done():
                waiter.set_result(flight)
        if flight.following is not None and flight.following[0].waiters:
            self._take_off(state, *flight.following)

    def _take_off(self, state: _Flights[V], flight: _Flight[V], fetch: Callable[[], Coroutine[Any, Any, V]]) -> None:
        other = state.by_key.get(flight.key)
        if other is not None:  # begun after an invalidation, and so later than all who wait here asked
            flight.into = other
            other.waiters |= flight.waiters
        elif self.closed:
            self._land(state, flight)
        else:
            self._begin(flight, fetch)

    async def wait(self, flight: _Flight[V], patience: float | None = None) -> V | Exception | None:
        """Return the outcome; or None if it takes longer than `patience`, and then the fetch goes on by itself.

        Who is cancelled hurts nobody else; the last one to go cancels the fetch.
        """
        if flight.landed:
            return flight.outcome
        waiter: asyncio.Future[_Flight[V]] = running_loop().create_future()
        flight.waiters.add(waiter)
        try:
            if patience is None:
                return (await waiter).outcome
            await asyncio.wait((waiter,), timeout=patience)
            if waiter.done():
                return waiter.result().outcome
            flight.background = True
            return None
        finally:
            while flight.into is not None:
                flight = flight.into
            flight.waiters.discard(waiter)
            if waiter.cancelled() or not waiter.done():
                self._leave(flight)

    def _leave(self, flight: _Flight[V]) -> None:
        if flight.waiters or flight.background or flight.task is None or flight.task.done():
            return
        self._loops.get().remove(flight)
        flight.keep = False
        flight.task.cancel()

    # Entries

    def _record(self, flight: _Flight[V]) -> None:
        """Keep what a flight brought."""
        old, outcome = self._entries.get(flight.key), flight.outcome
        # What nobody waits for isn't used by being refreshed.
        used = self.clock() if old is None or flight.waiters else old.last_used()
        if not isinstance(outcome, Exception):
            self._store(flight, cast("V", outcome), old, used)
            return
        self.failures += 1
        ours = outcome if isinstance(outcome, CredentialsError) else None
        had_value = old is not None and old.value is not None
        if had_value or (ours is not None and not ours.transient):
            self._put(self._failed(flight, ours, old, used))
        if ours is not None:  # at the end, since a listener may call in
            key = flight.key if old is None else old.keys[0]
            self.notify("failed", key, error=ours, refresh=had_value, duration=self.clock() - flight.started)

    def _failed(
        self, flight: _Flight[V], failure: CredentialsError | None, old: Entry[V] | None, used: float
    ) -> Entry[V]:
        """Return what is known after a failure; None stands for one that isn't ours."""
        now = self.clock()
        permanent = failure is not None and not failure.transient
        # Nobody asked: a permanent answer to a refresh ahead costs the value its bridge past the ttl, no more.
        keeps_value = old is not None and (not permanent or not flight.waiters)
        # A permanent answer is one to the name that was asked; by another, there may be a new secret.
        new: Entry[V] = Entry(old.keys if old is not None and keeps_value else (flight.key,), used)
        new.failure, new.failed_at = failure, now
        if old is not None:
            new.version, new.failures = old.version, old.failures + 1
            if keeps_value:
                new.value, new.born, new.share = old.value, old.born, old.share
                new.stale_ok = old.stale_ok and not permanent
            pause = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(new.failures - 1, 10))
            new.retry_at = now + pause * (1 + 0.1 * self._rng())
        return new

    def _store(self, flight: _Flight[V], value: V, old: Entry[V] | None, used: float) -> None:
        if old is not None and old.born > flight.started:
            return  # another loop has fetched it since
        keys = self.keys_of(flight.key, value)
        new: Entry[V] = Entry(keys, used)
        new.value, new.born, new.share = value, flight.started, self._rng()
        new.version = self._version_of(value)
        before = None if old is None else old.version
        self._put(new)
        what = "fetched" if old is None or old.value is None else "refreshed"
        self.notify(what, keys[0], value=value, duration=self.clock() - flight.started)
        if before is not None and before != new.version:
            self.notify("rotated", keys[0], value=value, before=before)
        for watcher in [watcher for key in keys for watcher in self._watchers.get(key, ())]:
            watcher(value)

    def _put(self, new: Entry[V]) -> None:
        for key in new.keys:
            self._remove(self._entries.get(key))
        for key in new.keys:
            self._entries[key] = new
        self._size += 1
        heapq.heappush(self._by_use, (new.used, next(self._order), new))
        self._make_room()

    def _remove(self, entry: Entry[V] | None) -> None:
        if entry is None or not entry.live:
            return
        entry.live = False
        self._end(entry)
        self._size -= 1
        for key in entry.keys:
            del self._entries[key]

    def _end(self, entry: Entry[V]) -> None:
        """End the leases of an entry: whoever has one looks again."""
        entry.used = entry.last_used()
        leases, entry.leases = entry.leases, {}  # before they are counted: no thread that reads counts them twice
        for (_, kind), lease in leases.items():
            lease.until, lease.value = _NEVER, None
            self._counts[kind] += lease.reads

    def _make_room(self) -> None:
        """Evict the least recently used. A hit only notes the time in its entry; the heap is put right here."""
        heap, evicted = self._by_use, list[Entry[V]]()
        while self._size > self._max_entries:
            used, _, entry = heapq.heappop(heap)
            if entry.live and (last := entry.last_used()) > used:
                heapq.heappush(heap, (last, next(self._order), entry))
            elif entry.live:
                self._remove(entry)
                evicted.append(entry)
        if len(heap) > 2 * self._size + 64:  # most of it is what entries were before they changed
            self._by_use = [(entry.last_used(), next(self._order), entry) for _, _, entry in heap if entry.live]
            heapq.heapify(self._by_use)
        for entry in evicted:
            self.notify("evicted", entry.keys[0])

    def invalidate(self, key: Hashable) -> None:
        """Forget the value, never serve it again, and don't keep what a fetch under way will bring."""
        old, names = self._entries.get(key), self._names(key)
        for loop, state in self._loops.living():
            for flight in [state.by_key[name] for name in names if name in state.by_key]:
                state.remove(flight)
                flight.keep = False
                if not flight.waiters and flight.task is not None:
                    loop.call_soon_threadsafe(flight.task.cancel)  # it may be called from anywhere
        if old is not None:
            new: Entry[V] = Entry(old.keys, old.last_used())
            new.version = old.version  # so that the next one is known to be another
            self._put(new)

    def clear(self) -> None:
        """Forget all values, versions and failures, and don't keep what fetches under way will bring."""
        keys = set(self._entries)
        for _, state in self._loops.living():
            keys |= state.by_key.keys()
        for key in keys:
            self.invalidate(key)
            self._remove(self._entries.get(key))

    async def aclose(self) -> None:
        """Cancel what is under way in all loops and forget all values; calling it again does nothing."""
        self.closed = True
        for entry in list(self._entries.values()):
            self._remove(entry)
        self._by_use.clear()
        for watcher in [watcher for watchers in self._watchers.values() for watcher in watchers]:
            watcher(None)
        here = running_loop()
        waiting: list[asyncio.Task[None]] = []
        for loop, state in self._loops.living():
            for task in list(state.tasks):
                if loop is here:
                    task.cancel()
                    waiting.append(task)
                else:
                    loop.call_soon_threadsafe(task.cancel)
        await finish(waiting)


class Reader(Generic[V]):
    """One key, read under one policy. `pooled` says whether a refresh may go on when nobody waits for it."""

    def __init__(
        self,
        cache: AsyncCache[V],
        key: Hashable,
        fetch: Callable[[], Coroutine[Any, Any, V]],
        policy: CachePolicy,
        *,
        pooled: bool = True,
    ) -> None:
        self.key = key
        self._cache, self._fetch = cache, fetch
        self._ttl = cast("float", policy.ttl)
        self._jitter = policy.jitter
        self._ahead = policy.refresh_ahead if pooled else None
        # Without a pool nothing may outlive its call: there a reader waits until the refresh has ended.
        self._patience = cast("float", policy.patience) if pooled else None
        self._max_stale = cast("float", policy.max_stale)
        self._negative_ttl = cast("float", policy.negative_ttl)
        self.lease: Lease[V] = Lease(None, _NEVER)

    async def get(self) -> V:
        """Return the value: at once, or after a fetch. Raises a `CredentialsError`."""
        lease = self.lease
        if (now := self._cache.clock()) < lease.until:
            lease.used = now
            lease.reads += 1
            return cast("V", lease.value)
        return await self._look()

    async def refresh(self) -> V:
        """Return what a fetch begun after this call brought. Raises a `CredentialsError`."""
        cache = self._cache
        cache.check_open()
        current = cache.flight(self.key)
        flight = cache.start(self.key, self._fetch) if current is None else cache.follow(current, self._fetch)
        return await self._mine(await cache.wait(flight))

    def pause(self) -> float:
        """Return for how many seconds another look can bring nothing new: at most the ttl."""
        left = self.lease.until - self._cache.clock()
        return min(self._ttl, left if left > 0 else FIRST_BACKOFF)

    async def _look(self) -> V:
        cache, now = self._cache, self._cache.clock()
        cache.check_open()
        entry = cache.entry(self.key)
        if entry is None or entry.value is None:
            if entry is not None and entry.failure is not None and now - entry.failed_at < self._negative_ttl:
                raise copy.copy(entry.failure)
            return await self._mine(await cache.wait(cache.flight(self.key) or cache.start(self.key, self._fetch)))
        ttl = self._ttl_of(entry)
        age = now - entry.born
        if age < ttl:
            return self._serve(entry, self._ahead_of(entry, ttl, now), HIT, now)
        if not entry.stale_ok or age > self._max_stale:
            return await self._replace(entry, now)
        return await self._bridge(entry, now)

    def _ttl_of(self, entry: Entry[V]) -> float:
        return self._ttl * (1 - self._jitter * entry.share)

    def _ahead_of(self, entry: Entry[V], ttl: float, now: float) -> float:
        """Refresh in the background where it is time for it; return until when the entry needs no other look."""
        cache, end = self._cache, entry.born + ttl
        if self._ahead is None:
            return end
        if now < (begin := entry.born + ttl * self._ahead):
            return begin
        if now < entry.retry_at:
            return min(end, entry.retry_at)
        flight = cache.flight(self.key) or cache.start(self.key, self._fetch)
        flight.background = True
        return end

    async def _bridge(self, entry: Entry[V], now: float) -> V:
        """Past the ttl: the refreshed value if it comes soon, else the stale one."""
        cache, end = self._cache, entry.born + self._max_stale
        flight = cache.flight(self.key)
        if flight is None:
            if now < entry.retry_at:
                return self._serve(entry, min(end, entry.retry_at), STALE, now)
            flight = cache.start(self.key, self._fetch)
        patience = None if self._patience is None else flight.started + self._patience - now
        if patience is not None and patience <= 0:
            flight.background = True
            return self._serve(entry, end, STALE, now)  # until the flight ends, which changes the entry
        outcome = await cache.wait(flight, patience)
        if outcome is not None and not (isinstance(outcome, CredentialsError) and outcome.transient):
            return await self._mine(outcome)
        return await self._make_do(entry, flight, outcome)

    async def _make_do(self, entry: Entry[V], flight: _Flight[V], outcome: V | Exception | None) -> V:
        """Serve what there is now: what was there may have been invalidated meanwhile, or have become too old."""
        cache, now = self._cache, self._cache.clock()
        left = cache.entry(self.key)
        if left is None or left.value is None:
            return await self._mine(await cache.wait(flight) if outcome is None else outcome)
        if left is not entry and (outcome is None or now - left.born < self._ttl_of(left)):
            return await self._look()  # what was waited for has been overtaken
        if left.stale_ok and now - left.born <= self._max_stale:
            end = left.born + self._max_stale
            return self._serve(left, end if outcome is None else min(end, left.retry_at), STALE, now)
        return await self._mine(self._expired(await cache.wait(flight) if outcome is None else outcome))

    async def _replace(self, entry: Entry[V], now: float) -> V:
        """Too old to be served, or not allowed any more: only a fetch helps."""
        cache = self._cache
        flight = cache.flight(self.key)
        if flight is None and entry.failure is not None:
            if entry.failure.transient and now < entry.retry_at:
                return await self._mine(self._expired(entry.failure))
            if not entry.failure.transient and now - entry.failed_at < self._negative_ttl:
                raise copy.copy(entry.failure)
        return await self._mine(self._expired(await cache.wait(flight or cache.start(self.key, self._fetch))))

    def _serve(self, entry: Entry[V], until: float, kind: int, now: float) -> V:
        self.lease = lease = entry.lease(until, kind)
        is_new, lease.used = not lease.reads, now
        lease.reads += 1
        if kind == STALE and is_new:
            self._cache.notify("stale", entry.keys[0], value=entry.value, age=now - entry.born)
        return cast("V", entry.value)

    async def _mine(self, outcome: V | Exception | None) -> V:
        """Return a value that was waited for, or raise an error that is this caller's own."""
        cache = self._cache
        cache.misses += 1
        # Somebody asked by another key, and that key has come to mean another value: not what this caller asked for.
        while not isinstance(outcome, Exception) and self.key not in cache.keys_of(self.key, cast("V", outcome)):
            flight = cache.flight(self.key)
            outcome = await cache.wait(flight or cache.start(self.key, self._fetch))
            if flight is None:
                break  # what its own fetch brings is right, whatever it is called
        if isinstance(outcome, CredentialsError):
            raise copy.copy(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return cast("V", outcome)

    def _expired(self, outcome: V | Exception | None) -> V | Exception | None:
        if not (isinstance(outcome, CredentialsError) and outcome.transient):
            return outcome
        what = f"The cached value is older than max_stale allows, and it can't be refreshed. {outcome}"
        facts = {"secret_name": outcome.secret_name, "region_name": outcome.region_name, "code": outcome.code}
        error = SecretExpiredError(what, **facts, region_source=outcome.region_source, request_id=outcome.request_id)
        error.reason = copy.copy(outcome)
        return error
