"""The cache: what it holds, and how it is invalidated, watched, counted and closed.

`AsyncCache` joins the parts of this folder. `table` holds the entries, `flights` the fetches under
way, and `outcomes` records how the fetches end. Callers read through a `Reader`, in `reader`.

Entries change under the lock of `_loops`, because loops in several threads share a cache; a hit
takes no lock. Under the lock, only code of this folder is called. Time is an injected monotonic
clock, and a reader decides whether a value has expired.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Generic, TypeVar

from aiocredentials._cache.flights import Flights
from aiocredentials._cache.invalidations import Invalidations
from aiocredentials._cache.outcomes import Outcomes
from aiocredentials._cache.table import Table
from aiocredentials._loops import bookkeeping, finish, starts_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from aiocredentials._cache.entries import Entry
    from aiocredentials._cache.flight import Flight
    from aiocredentials._cache.outcomes import Watcher

V = TypeVar("V")


class AsyncCache(Generic[V]):
    """Values by key, and the fetches under way.

    Args:
        clock: Returns the time in seconds; it never goes back.
        max_entries: How many values are kept at most. As many keys without a value are remembered
            besides.
        keys_of: Returns all keys of a value. The key that was asked is one of them; listeners know
            the value by the first.
        marks_of: Returns the marks of a value: an invalidation with one of them concerns it.
        group_of: Returns what related keys have in common.
        version_of: Returns an object that differs between two versions of a value.
        share_of: Returns the share of the jitter that shortens the TTL of a value.
        notify: Reports to the listener: it gets a word, a key, and the facts of the event. It is
            called without the lock.
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
        self.keys_of = keys_of
        self.notify = notify
        self._watchers: dict[Hashable, set[Watcher[V]]] = {}
        self._table: Table[V] = Table(max_entries, group_of)

        def random_share(_: V) -> float:
            return rng()

        invalidations = Invalidations()
        self._outcomes: Outcomes[V] = Outcomes(
            self._table,
            invalidations,
            clock=clock,
            keys_of=keys_of,
            marks_of=marks_of or keys_of,
            version_of=version_of,
            share_of=share_of or random_share,
            rng=rng,
            notify=notify,
            watchers_of=self._watchers_of,
        )
        self.flights: Flights[V] = Flights(clock, invalidations, self._table.keys_of, self._record)
        starts_anew(self)

    def __len__(self) -> int:
        """Count the values; one that has several keys counts once."""
        return len(self._table.values)

    @property
    def closed(self) -> bool:
        """Whether the cache is closed."""
        return self.flights.closed

    @property
    def fetches(self) -> int:
        """How many fetches were begun; one fetch for many keys counts once per key."""
        return self.flights.begun

    @property
    def failures(self) -> int:
        """How many fetches have failed."""
        return self._outcomes.failures

    def reads(self, kind: int) -> int:
        """Count the reads of a kind: `HIT` or `STALE`.

        Another thread may miss those of a lease that ends at that moment.
        """
        return self._table.reads(kind)

    def count_miss(self) -> None:
        """Count a read that waited for a fetch."""
        with bookkeeping:
            self.misses += 1

    def entry(self, key: Hashable) -> Entry[V] | None:
        """Return the entry of a key."""
        return self._table.by_key.get(key)

    def related(self, group: Hashable) -> list[Hashable]:
        """Return the keys of all entries that belong to a group."""
        with bookkeeping:
            return self._table.keys_in(group)

    def watch(self, key: Hashable, watcher: Watcher[V]) -> Callable[[], None]:
        """Let an object watch a key, and return a function that ends it.

        Raises `PoolClosedError` after close.
        """
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
        """Forget the values of these keys, and serve no value of a fetch that has begun before.

        `marks` say which values of fetches under way are concerned; without them, those of the
        keys.
        """
        with bookkeeping:
            aliases = dict.fromkeys(alias for key in keys for alias in self._table.aliases_of(key))
            self.flights.invalidate(aliases, keys if marks is None else marks)
            for alias in aliases:
                self._table.blank(alias)
            for watcher in self._watchers_of(aliases):
                watcher.invalidated()

    def clear(self) -> None:
        """Forget all values, versions and failures, and keep no outcome of a fetch under way."""
        with bookkeeping:
            self.flights.invalidate_all()
            self._table.clear()

    async def aclose(self) -> None:
        """Cancel the fetches of all loops and forget all values. Calling it again does nothing."""
        waiting = self.flights.close()
        with bookkeeping:
            self._table.clear()
            for watcher in self._watchers_of(list(self._watchers)):
                watcher.closed()
        await finish(waiting)

    def forked(self) -> None:
        """Keep the values in a forked child, and nothing that belongs to the parent's loops."""
        # Some leases last until a fetch of the parent ends.
        self._table.end_leases(self._table.by_key)
        self._watchers = {}
        self.flights.forked()

    def _watchers_of(self, keys: Iterable[Hashable]) -> list[Watcher[V]]:
        found = [watcher for key in keys for watcher in self._watchers.get(key, ())]
        return list(dict.fromkeys(found))

    def _record(self, flights: Sequence[Flight[V]]) -> list[Callable[[], None]]:
        """Record the outcomes of flights; return the reports to call without the lock."""
        reports: list[Callable[[], None]] = []
        for flight in flights:
            # Some leases last until a flight ends, whatever its outcome is.
            self._table.end_leases(flight.keys)
            if not flight.given_up and not self.closed:
                reports += self._outcomes.record(flight)
        return reports
