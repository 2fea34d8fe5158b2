"""The cache: what it holds, and how it is invalidated, watched, counted and closed.

`AsyncCache` joins the parts of this folder. `table` holds the entries, `flights` the fetches under
way, and `outcomes` records how the fetches end. Callers read through a `Reader`, in `reader`.

Entries change under the lock of `_loops`, because loops in several threads share a cache; a hit
takes no lock. Of the functions that the cache was given, only `notify` is called without the lock:
the others must return at once. Time is an injected monotonic clock, and a reader decides whether a
value has expired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from aiocredentials._cache.entries import ReadCount
from aiocredentials._cache.flights import Flights
from aiocredentials._cache.invalidations import Invalidations
from aiocredentials._cache.outcomes import Outcomes
from aiocredentials._cache.signatures import (
    Clock,
    GroupOf,
    Keys,
    KeysOf,
    MarksOf,
    Notify,
    Random,
    ShareOf,
    V,
    VersionOf,
)
from aiocredentials._cache.table import Table
from aiocredentials._loops import bookkeeping, finish, starts_anew
from aiocredentials._random import random_share

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from aiocredentials._cache.entries import Entry
    from aiocredentials._cache.outcomes import Watcher


def _only_key(key: Hashable, _: object) -> Keys:
    return (key,)


def _no_group(key: Hashable) -> Hashable:
    return key


def _no_listener(*_: object, **__: object) -> None:
    pass


class AsyncCache(Generic[V]):
    """Values by key, and the fetches under way.

    Args:
        clock: Returns the time in seconds; it never goes back.
        max_entries: How many values are kept at most. As many entries without a value are kept
            besides.
        keys_of: Returns all keys of a value. The key that was asked is one of them; listeners know
            the value by the first. By default that is the only key.
        marks_of: Returns the marks of a value: an invalidation with one of them concerns it. By
            default these are its keys.
        group_of: Returns what related keys have in common. By default no keys are related.
        version_of: Returns an object that differs between two versions of a value. By default each
            value is another version.
        share_of: Returns the share of the jitter that shortens the TTL of a value. By default it is
            random.
        notify: Reports to the listener: it gets a word, a key, and the facts of the event. It is
            called without the lock.
        rng: Returns a random number from 0 to 1.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_entries: int,
        keys_of: KeysOf[V] = _only_key,
        marks_of: MarksOf[V] | None = None,
        group_of: GroupOf = _no_group,
        version_of: VersionOf[V] = id,
        share_of: ShareOf[V] | None = None,
        notify: Notify = _no_listener,
        rng: Random = random_share,
    ) -> None:
        self.clock = clock
        self.misses = 0
        """How many reads were answered by a fetch, and forced refreshes."""
        self.read_counts = (ReadCount(), ReadCount())
        """Count the reads from memory, by kind (`HIT` or `STALE`)."""
        self.keys_of = keys_of
        self.notify = notify
        self._watchers: dict[Hashable, set[Watcher[V]]] = {}
        self._table = Table[V](max_entries, group_of)

        def any_share(_: V) -> float:
            return rng()

        invalidations = Invalidations()
        self._outcomes = Outcomes[V](
            self._table,
            invalidations,
            clock=clock,
            keys_of=keys_of,
            marks_of=marks_of or keys_of,
            version_of=version_of,
            share_of=share_of or any_share,
            rng=rng,
            notify=notify,
            watchers_of=self._watchers_of,
        )
        self.flights = Flights[V](
            clock,
            invalidations,
            self._table.keys_of,
            self._table.was_invalidated,
            self._outcomes.record,
        )
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
        """Return how many reads of a kind there were: `HIT` or `STALE`."""
        return self.read_counts[kind].reads

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
            return self._table.groups.keys_in(group)

    def watch(
        self,
        key: Hashable,
        watcher: Watcher[V],
    ) -> Callable[[], None]:
        """Let an object watch a key, and return a function that ends it.

        Raises `PoolClosedError` after close.
        """
        with bookkeeping:
            self.flights.check_open()
            watchers = self._watchers.setdefault(key, set())
            watchers.add(watcher)

        def stop() -> None:
            with bookkeeping:
                left = self._watchers.get(key, set())
                left.discard(watcher)
                if not left:
                    self._watchers.pop(key, None)

        return stop

    def invalidate(
        self,
        *keys: Hashable,
        marks: Iterable[Hashable] | None = None,
    ) -> None:
        """Forget the values of these keys. Later callers get no value of a fetch from before.

        `marks` define which values of fetches under way are concerned; by default, those of the
        keys.
        """
        if marks is None:
            marks = keys

        with bookkeeping:
            aliases: dict[Hashable, None] = {}
            for key in keys:
                more = self._table.aliases_of(key)
                aliases |= dict.fromkeys(more)

            self.flights.invalidate(aliases, marks)
            now = self.clock()
            for alias in aliases:
                self._table.blank(alias, now)
            for watcher in self._watchers_of(aliases):
                watcher.invalidated()

    def clear(self) -> None:
        """Forget all values, versions and failures, and keep no outcome of a fetch under way."""
        with bookkeeping:
            fetched = self.flights.invalidate_all()
            cached = list(self._table.by_key)
            self._table.clear()
            now = self.clock()
            for key in dict.fromkeys([*cached, *fetched]):
                # It leaves no value and no version: only the next fetch differs.
                self._table.blank(key, now)

    def forget(self) -> None:
        """Forget all values and failures, and cancel the fetches under way.

        The callers that wait for these get the outcome of a new fetch. Versions are kept, so a
        rotation is noticed when the next value arrives.
        """
        with bookkeeping:
            fetched = self.flights.forget()
            cached = list(self._table.by_key)
            now = self.clock()
            for key in dict.fromkeys([*cached, *fetched]):
                self._table.blank(key, now)
            for watcher in self._watchers_of(self._watchers):
                watcher.forgotten()

    async def aclose(self) -> None:
        """Cancel the fetches of all loops and forget all values. Calling it again does nothing."""
        waiting = self.flights.close()
        with bookkeeping:
            self._table.clear()
            for watcher in self._watchers_of(self._watchers):
                watcher.closed()
        await finish(waiting)

    def forked(self) -> None:
        """Keep the values in a forked child, and nothing that belongs to the parent's loops."""
        # Some leases last until a fetch of the parent ends.
        all_keys = self._table.by_key
        self._table.end_leases(all_keys)
        self._watchers = {}
        self.flights.forked()

    def _watchers_of(self, keys: Iterable[Hashable]) -> list[Watcher[V]]:
        found: dict[Watcher[V], None] = {}
        for key in keys:
            watchers = self._watchers.get(key, ())
            found |= dict.fromkeys(watchers)
        return list(found)
