"""Recording of outcomes: how the result of a fetch changes the entries of a cache.

A value replaces an older one. A transient failure starts the back-off. A permanent failure takes
the value's place for the key that was asked, and for no other key. All of it runs under the lock.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from aiocredentials._cache.entries import Entry
from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from aiocredentials._cache.flight import Flight
    from aiocredentials._cache.invalidations import Invalidations
    from aiocredentials._cache.table import Table

V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)


class Watcher(Protocol[V_contra]):
    """An object that watches a key.

    Its methods are called under the lock, in any thread: they return at once and call nobody.
    """

    def stored(self, value: V_contra, /) -> None:
        """Note a value that was fetched."""
        ...

    def invalidated(self) -> None:
        """Note that the value was invalidated, so another read fetches a newer one."""
        ...

    def failed(self) -> None:
        """Note that a fetch failed, so another read finds out how long the back-off lasts."""
        ...

    def closed(self) -> None:
        """Note that nothing more will come."""
        ...


class Outcomes(Generic[V]):
    """Records the outcomes of fetches in a table.

    Args:
        table: The entries.
        invalidations: The invalidations of the cache.
        clock: Returns the time in seconds.
        keys_of: Returns all keys of a value, as `AsyncCache` explains.
        marks_of: Returns the marks of the invalidations that concern a value.
        version_of: Returns the version of a value.
        share_of: Returns the share of the jitter that shortens the TTL of a value.
        rng: Returns a random number from 0 to 1.
        notify: Reports to the listener. It is called by the functions that `record` returns.
        watchers_of: Returns the watchers of some keys.
    """

    def __init__(
        self,
        table: Table[V],
        invalidations: Invalidations,
        *,
        clock: Callable[[], float],
        keys_of: Callable[[Hashable, V], tuple[Hashable, ...]],
        marks_of: Callable[[Hashable, V], Iterable[Hashable]],
        version_of: Callable[[V], Hashable],
        share_of: Callable[[V], float],
        rng: Callable[[], float],
        notify: Callable[..., None],
        watchers_of: Callable[[Iterable[Hashable]], list[Watcher[V]]],
    ) -> None:
        self._table = table
        self._invalidations = invalidations
        self._clock = clock
        self._keys_of = keys_of
        self._marks_of = marks_of
        self._version_of = version_of
        self._share_of = share_of
        self._rng = rng
        self._notify = notify
        self._watchers_of = watchers_of
        self.failures = 0
        """How many fetches have failed."""

    def record(self, flight: Flight[V]) -> list[Callable[[], None]]:
        """Record the outcome of a flight; return the reports to call without the lock."""
        outcome = flight.outcome
        if isinstance(outcome, Exception):
            return self._record_failure(flight, outcome)

        value = cast("V", outcome)
        if self._is_overtaken(flight, value):
            return []
        return self._record_value(flight, value)

    def _is_overtaken(self, flight: Flight[V], value: V) -> bool:
        """Return whether an invalidation since the start of a flight concerns its value."""
        if flight.since == self._invalidations.count:
            return False
        marks = self._marks_of(flight.key, value)
        flight.overtaken = self._invalidations.any_since(flight.since, marks)
        return flight.overtaken

    def _record_value(self, flight: Flight[V], value: V) -> list[Callable[[], None]]:
        keys = self._keys_of(flight.key, value)
        candidates = [self._table.by_key.get(key) for key in (flight.key, *keys)]
        known = [entry for entry in candidates if entry is not None]
        if any(entry.born > flight.started for entry in known):
            # Another loop, or a caller under an alias, has fetched a newer value.
            return []

        now = self._clock()
        old = known[0] if known else None
        new = self._new_entry(flight, value, keys, old, now)
        evicted = self._table.put(new)

        reports: list[Callable[[], None]] = []
        if evicted is not None:
            reports.append(partial(self._notify, "evicted", evicted.name))
        reports += self._reports_of(new, old, duration=now - flight.started)
        for watcher in self._watchers_of(keys):
            watcher.stored(value)
        return reports

    def _new_entry(
        self,
        flight: Flight[V],
        value: V,
        keys: tuple[Hashable, ...],
        old: Entry[V] | None,
        now: float,
    ) -> Entry[V]:
        used = now
        if old is not None and not flight.waiters:
            # A refresh that no caller waits for isn't a use of the value.
            used = old.last_used()

        new: Entry[V] = Entry(keys, used)
        new.value = value
        new.born = flight.started
        new.share = self._share_of(value)
        new.version = self._version_of(value)
        return new

    def _reports_of(
        self,
        new: Entry[V],
        old: Entry[V] | None,
        *,
        duration: float,
    ) -> Iterator[Callable[[], None]]:
        """Yield the reports of a value that took the place of another one, if there was one."""
        is_refresh = old is not None and old.has_value
        what = "refreshed" if is_refresh else "fetched"
        yield partial(self._notify, what, new.name, value=new.value, duration=duration)

        before = None if old is None else old.version
        if before is not None and before != new.version:
            yield partial(self._notify, "rotated", new.name, value=new.value, before=before)

    def _record_failure(self, flight: Flight[V], error: Exception) -> list[Callable[[], None]]:
        now = self._clock()
        self.failures += 1
        failure = error if isinstance(error, CredentialsError) else None
        old = self._table.by_key.get(flight.key)
        had_value = old is not None and old.has_value
        name = flight.key if old is None else old.name
        watchers = self._watchers_of(self._table.keys_of(flight.key))

        flight.overtaken = self._invalidations.any_since(flight.since, [flight.key])
        if not flight.overtaken:
            if failure is not None and not failure.transient:
                self._refuse(flight, failure, old, now)
            elif old is not None and had_value:
                old.fail(failure, now, self._rng())
        for watcher in watchers:
            watcher.failed()

        if failure is None:
            return []
        duration = now - flight.started
        facts = {"error": failure, "refresh": had_value, "duration": duration}
        return [partial(self._notify, "failed", name, **facts)]

    def _refuse(
        self,
        flight: Flight[V],
        failure: CredentialsError,
        old: Entry[V] | None,
        now: float,
    ) -> None:
        """Note a permanent failure for the key that was asked. Its aliases keep the value."""
        new: Entry[V] = Entry((flight.key,), now)
        if old is not None:
            new.name = old.name
            new.aliases = old.aliases
            new.version = old.version
            new.failures = old.failures
            new.used = old.last_used()
            if not flight.waiters:
                # No caller asked: the value is kept until its TTL, but isn't served past it.
                new.value = old.value
                new.born = old.born
                new.share = old.share
                new.stale_ok = False
        new.fail(failure, now, self._rng())

        self._table.detach(flight.key)
        self._table.put(new)
