"""What is cached, by key.

Four files make the cache. `entries` has what is known of one value, and the leases by which readers have it until a
time without another look. `flights` has the fetches under way. This file joins them, and `reader` is what callers ask.

Entries change under the lock of `_loops`, because loops in several threads share a cache; a hit takes no lock. Nothing
is called under it that isn't part of this folder. Time is a monotonic clock that is injected. Whether a value has
expired is decided when somebody reads.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from aiocredentials._cache.entries import NEVER, Entry, Shelf
from aiocredentials._cache.flights import Flight, Flights
from aiocredentials._loops import bookkeeping, finish, starts_anew
from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
    from typing import Any

V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)


class Watcher(Protocol[V_contra]):
    """What wants to know of a key. It is called under the lock, in any thread: it returns at once, and calls nobody."""

    def stored(self, value: V_contra, /) -> None:
        """Take note of a value that came in."""
        ...

    def invalidated(self) -> None:
        """Take note that the value was invalidated, so another read brings a newer one."""
        ...

    def failed(self) -> None:
        """Take note that a fetch failed, so another read finds out for how long nobody tries again."""
        ...

    def closed(self) -> None:
        """Take note that nothing will come any more."""
        ...


class AsyncCache(Generic[V]):
    """Entries by key, and the fetches under way.

    Args:
        clock: Returns the time in seconds; it never goes back.
        max_entries: How many values are kept at most. As many keys without a value are remembered besides.
        keys_of: Returns all keys of a value, the one that was asked among them; listeners know it by the first.
        marks_of: Returns under which marks an invalidation would concern a value.
        group_of: Returns what related keys have in common.
        version_of: Returns what tells versions apart.
        share_of: Returns by which share of the jitter the ttl of a value is shortened.
        notify: Is told what happens: a word, a key, and what belongs to it. It is called without the lock.
        rng: Returns a random number from 0 to 1.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_entries: int,
        keys_of: Callable[[Hashable, V], tuple[Hashable, ...]] = lambda key, _: (key,),
        marks_of: Callable[[Hashable, V], Iterable[Hashable]] | None = None,
        group_of: Callable[[Hashable], Hashable] = lambda key: key,
        version_of: Callable[[V], Hashable] = id,
        share_of: Callable[[V], float] | None = None,
        notify: Callable[..., None] = lambda *_, **__: None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        self.misses = 0
        self.failures = 0
        self.keys_of = keys_of
        self.notify = notify
        self._marks_of = marks_of or keys_of
        self._group_of = group_of
        self._version_of = version_of
        self._rng = rng

        def random_share(_: V) -> float:
            return rng()

        self._share_of: Callable[[V], float] = share_of or random_share
        # Hits and stale reads of the leases that have ended.
        self._counts = [0, 0]
        self._entries: dict[Hashable, Entry[V]] = {}
        self._groups: dict[Hashable, set[Hashable]] = {}
        self._values: Shelf[V] = Shelf(max_entries)
        # Keys without a value have room of their own, so failures never push out a value.
        self._blanks: Shelf[V] = Shelf(max_entries)
        self._watchers: dict[Hashable, set[Watcher[V]]] = {}
        self.flights: Flights[V] = Flights(clock, self._names_of, self._record)
        starts_anew(self)

    def __len__(self) -> int:
        """Count the values; one that has several keys is one."""
        return len(self._values)

    @property
    def closed(self) -> bool:
        """Whether the cache is closed."""
        return self.flights.closed

    @property
    def fetches(self) -> int:
        """How many fetches were begun; one for many keys counts for each."""
        return self.flights.begun

    def count_miss(self) -> None:
        """Count a read that waited for a fetch."""
        with bookkeeping:
            self.misses += 1

    def reads(self, kind: int) -> int:
        """Count the reads that were hits, or stale. Another thread may miss those of a lease that ends."""
        # Copies, in this order, because a thread that exports metrics reads here while loops go on. A lease that ends
        # meanwhile is counted once, or not at all.
        entries = {id(entry): entry for entry in self._entries.copy().values()}
        ended = self._counts[kind]
        leases = [lease for entry in entries.values() for lease in entry.leases.copy().items()]
        return ended + sum(lease.reads for (_, as_), lease in leases if as_ == kind)

    def entry(self, key: Hashable) -> Entry[V] | None:
        """Return what is known of a key."""
        return self._entries.get(key)

    def related(self, group: Hashable) -> list[Hashable]:
        """Return the keys that are known, and have this in common."""
        with bookkeeping:
            return list(self._groups.get(group, ()))

    def flight(self, key: Hashable) -> Flight[V] | None:
        """Return the fetch that is under way for a key, in the running loop."""
        return self.flights.find(key)

    def start(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, V]]) -> Flight[V]:
        """Begin a fetch. Raises `PoolClosedError` after close."""
        return self.flights.begin(key, fetch)

    def start_many(
        self,
        keys: Sequence[Hashable],
        fetch: Callable[[], Coroutine[Any, Any, Mapping[Hashable, V | Exception]]],
    ) -> list[Flight[V]]:
        """Begin one fetch for many keys, and return the flight of each; known aliases of one value share a flight."""
        by_name: dict[Hashable, Flight[V]] = {}
        for key in keys:
            flight = by_name.get(key) or Flight[V](key)
            by_name |= dict.fromkeys(self._names_of(key), flight)
        flights = [by_name[key] for key in keys]

        async def run() -> None:
            outcomes = await fetch()
            for flight in flights:
                flight.outcome = outcomes[flight.key]

        self.flights.begin_many(list(dict.fromkeys(flights)), run)
        return flights

    def watch(self, key: Hashable, watcher: Watcher[V]) -> Callable[[], None]:
        """Let a watcher know of a key; return how to stop that. Raises `PoolClosedError` after close."""
        with bookkeeping:
            self.flights.check_open()
            self._watchers.setdefault(key, set()).add(watcher)

        def stop() -> None:
            with bookkeeping:
                watchers = self._watchers.get(key, set())
                watchers.discard(watcher)
                if not watchers:
                    self._watchers.pop(key, None)

        return stop

    def invalidate(self, *keys: Hashable, marks: Iterable[Hashable] | None = None) -> None:
        """Forget the values of these keys, and serve none again that a fetch from before this call brings.

        `marks` say which values of fetches under way are meant; without them, those of the keys.
        """
        with bookkeeping:
            names = dict.fromkeys(name for key in keys for name in self._aliases_of(key))
            self.flights.invalidate(names, keys if marks is None else marks)
            for name in names:
                entry = self._entries.get(name)
                if entry is not None:
                    self._blank(entry)
            for watcher in self._watchers_of(names):
                watcher.invalidated()

    def clear(self) -> None:
        """Forget all values, versions and failures, and keep nothing that fetches under way will bring."""
        with bookkeeping:
            self.flights.invalidate_all()
            for entry in list(self._entries.values()):
                self._remove(entry)

    async def aclose(self) -> None:
        """Cancel what is under way in all loops and forget all values; calling it again does nothing."""
        waiting = self.flights.close()
        with bookkeeping:
            for entry in list(self._entries.values()):
                self._remove(entry)
            self._values.by_use.clear()
            self._blanks.by_use.clear()
            for watcher in self._watchers_of(list(self._watchers)):
                watcher.closed()
        await finish(waiting)

    def forked(self) -> None:
        """Keep the values in a forked child, and nothing that belongs to the parent's loops."""
        for entry in self._entries.values():
            # Some last until a fetch of the parent ends.
            self._end_leases(entry)
        self._watchers = {}
        self.flights.forked()

    # What follows changes entries: all of it is called under the lock.

    def _names_of(self, key: Hashable) -> tuple[Hashable, ...]:
        entry = self._entries.get(key)
        return (key,) if entry is None else entry.keys

    def _aliases_of(self, key: Hashable) -> tuple[Hashable, ...]:
        entry = self._entries.get(key)
        return (key,) if entry is None else entry.aliases

    def _watchers_of(self, keys: Iterable[Hashable]) -> list[Watcher[V]]:
        found = [watcher for key in keys for watcher in self._watchers.get(key, ())]
        return list(dict.fromkeys(found))

    def _record(self, flights: Sequence[Flight[V]]) -> list[Callable[[], None]]:
        """Keep what flights brought; return what listeners are to be told."""
        news: list[Callable[[], None]] = []
        for flight in flights:
            for known in map(self._entries.get, flight.names):
                if known is not None:
                    # There are leases that last until a flight ends, whatever it brings.
                    self._end_leases(known)
            entry = self._entries.get(flight.key)
            if flight.given_up or self.closed:
                continue
            if isinstance(flight.outcome, Exception):
                self._record_failure(flight, flight.outcome, entry, news)
            elif not self._is_overtaken(flight):
                self._store(flight, cast("V", flight.outcome), news)
        return news

    def _is_overtaken(self, flight: Flight[V]) -> bool:
        """Return whether an invalidation concerns what a flight brought, though it began before."""
        if flight.since == self.flights.invalidations:
            return False
        marks = self._marks_of(flight.key, cast("V", flight.outcome))
        return self.flights.overtake(flight, marks)

    def _store(self, flight: Flight[V], value: V, news: list[Callable[[], None]]) -> None:
        keys = self.keys_of(flight.key, value)
        known = [entry for key in (flight.key, *keys) if (entry := self._entries.get(key))]
        if any(entry.born > flight.started for entry in known):
            # Another loop, or a caller under an alias, has fetched it since.
            return
        now = self.clock()
        old = known[0] if known else None
        # A value that no caller waits for isn't used by being refreshed.
        used = now if old is None or flight.waiters else old.last_used()
        new: Entry[V] = Entry(keys, used)
        new.value = value
        new.born = flight.started
        new.share = self._share_of(value)
        new.version = self._version_of(value)
        before = None if old is None else old.version
        evicted = self._put(new, self._values)
        if evicted is not None:
            news.append(partial(self.notify, "evicted", evicted.name))
        what = "fetched" if old is None or old.value is None else "refreshed"
        duration = now - flight.started
        news.append(partial(self.notify, what, keys[0], value=value, duration=duration))
        if before is not None and before != new.version:
            news.append(partial(self.notify, "rotated", keys[0], value=value, before=before))
        for watcher in self._watchers_of(keys):
            watcher.stored(value)

    def _record_failure(
        self,
        flight: Flight[V],
        error: Exception,
        old: Entry[V] | None,
        news: list[Callable[[], None]],
    ) -> None:
        now = self.clock()
        self.failures += 1
        failure = error if isinstance(error, CredentialsError) else None
        had_value = old is not None and old.value is not None
        name = flight.key if old is None else old.name
        watchers = self._watchers_of(self._names_of(flight.key))
        if not self.flights.overtake(flight, [flight.key]):
            if failure is not None and not failure.transient:
                self._refuse(flight, failure, old, now)
            elif old is not None and had_value:
                old.fail(failure, now, self._rng())
        for watcher in watchers:
            watcher.failed()
        if failure is not None:
            duration = now - flight.started
            facts = {"error": failure, "refresh": had_value, "duration": duration}
            news.append(partial(self.notify, "failed", name, **facts))

    def _refuse(
        self, flight: Flight[V], failure: CredentialsError, old: Entry[V] | None, now: float
    ) -> None:
        """Note a permanent failure. It belongs to the key that was asked; under its other keys the value stays."""
        new: Entry[V] = Entry((flight.key,), now)
        if old is not None:
            new.name = old.name
            new.aliases = old.aliases
            new.version = old.version
            new.failures = old.failures
            new.used = old.last_used()
            if not flight.waiters:
                # No caller asked: the value is kept until its ttl, but isn't served past it.
                new.value = old.value
                new.born = old.born
                new.share = old.share
                new.stale_ok = False
        new.fail(failure, now, self._rng())
        self._detach(flight.key)
        self._put(new, self._blanks if new.value is None else self._values)

    def _put(self, new: Entry[V], shelf: Shelf[V]) -> Entry[V] | None:
        """Put an entry in the place of all that its keys had; return the entry that had to make room."""
        for key in new.keys:
            old = self._entries.get(key)
            if old is not None:
                self._remove(old)
        for key in new.keys:
            self._entries[key] = new
            self._groups.setdefault(self._group_of(key), set()).add(key)
        shelf.add(new)
        surplus = shelf.overflow()
        if surplus is not None:
            self._remove(surplus)
        return surplus

    def _remove(self, entry: Entry[V]) -> None:
        for key in entry.keys:
            self._detach(key)

    def _detach(self, key: Hashable) -> None:
        """Let a key mean nothing any more; its entry goes with its last key."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        group = self._group_of(key)
        self._groups[group].discard(key)
        if not self._groups[group]:
            del self._groups[group]
        self._end_leases(entry)
        entry.keys = tuple(each for each in entry.keys if each != key)
        if not entry.keys and entry.shelf is not None:
            entry.shelf.remove(entry)

    def _blank(self, entry: Entry[V]) -> None:
        """Take the value out of an entry. Its version stays, so the next one is known to be another."""
        self._end_leases(entry)
        entry.value = None
        entry.born = NEVER
        entry.stale_ok = True
        entry.failure = None
        entry.failures = 0
        entry.failed_at = entry.retry_at = NEVER
        self._blanks.add(entry)
        surplus = self._blanks.overflow()
        if surplus is not None:
            self._remove(surplus)

    def _end_leases(self, entry: Entry[V]) -> None:
        """End the leases of an entry: each reader that has one looks again."""
        entry.used = entry.last_used()
        leases = entry.leases
        # Before they are counted, so a thread that counts meanwhile counts no read twice.
        entry.leases = {}
        for (_, kind), lease in leases.items():
            # In this order: a reader takes the value first, and then asks whether it still holds.
            lease.until = NEVER
            lease.value = None
            self._counts[kind] += lease.reads
