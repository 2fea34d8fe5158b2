"""Recording of outcomes: how the result of a fetch changes the entries of a cache.

A value replaces an older one. A transient failure of a refresh starts the back-off. A permanent
failure is noted for the key that was asked, and for no other key; if a caller waited for it, it
takes the value's place. All of it runs under the lock.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from aiocredentials._cache.entries import Entry
from aiocredentials._cache.signatures import (
    Clock,
    Keys,
    KeysOf,
    MarksOf,
    Notify,
    Random,
    Report,
    ShareOf,
    V,
    VersionOf,
)
from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from aiocredentials._cache.flight import Flight
    from aiocredentials._cache.invalidations import Invalidations
    from aiocredentials._cache.table import Table

V_contra = TypeVar("V_contra", contravariant=True)


class Watcher(Protocol[V_contra]):
    """An object that watches a key.

    Its methods are called under the lock, in any thread: they return at once and call nothing else.
    """

    def stored(self, value: V_contra, /) -> None:
        """Note a value that was fetched."""
        ...

    def invalidated(self) -> None:
        """Note that the value was invalidated, so another read fetches a newer one."""
        ...

    def forgotten(self) -> None:
        """Drop all values, and read again."""
        ...

    def failed(self) -> None:
        """Note that a fetch failed, so another read finds out how long the back-off lasts."""
        ...

    def closed(self) -> None:
        """Note that nothing more will come."""
        ...


class Outcomes(Generic[V]):
    """Records the outcomes of fetches in a table.

    `signatures` explains the functions that it needs. `watchers_of` returns the watchers of some
    keys.
    """

    def __init__(
        self,
        table: Table[V],
        invalidations: Invalidations,
        *,
        clock: Clock,
        keys_of: KeysOf[V],
        marks_of: MarksOf[V],
        version_of: VersionOf[V],
        share_of: ShareOf[V],
        rng: Random,
        notify: Notify,
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

    def record(self, flights: Sequence[Flight[V]]) -> list[Report]:
        """Record the outcomes of flights; return the reports to make without the lock."""
        reports: list[Report] = []
        for flight in flights:
            # Some leases last until a flight ends, whatever its outcome is.
            self._table.end_leases(flight.keys)
            outcome = flight.outcome
            if flight.given_up:
                continue

            if isinstance(outcome, Exception):
                reports += self._record_failure(flight, outcome)
            elif not self._is_overtaken(flight, cast("V", outcome)):
                reports += self._record_value(flight, cast("V", outcome))
        return reports

    def _is_overtaken(
        self,
        flight: Flight[V],
        value: V,
    ) -> bool:
        """Return whether an invalidation since the start of a flight concerns its value."""
        if flight.since == self._invalidations.count:
            return False
        marks = self._marks_of(flight.key, value)
        if not self._note_overtaken(flight, marks):
            return False

        now = self._clock()
        for key in self._keys_of(flight.key, value):
            if key not in self._table.by_key:
                # The invalidation named another key, so the next fetch of this one must know of it.
                self._table.blank(key, now)
        return True

    def _record_value(
        self,
        flight: Flight[V],
        value: V,
    ) -> list[Report]:
        keys = self._keys_of(flight.key, value)
        known = self._known_entries([flight.key, *keys])
        if any(entry.born > flight.started for entry in known):
            # Another loop, or a caller under an alias, has fetched a newer value.
            return []

        now = self._clock()
        old = next(iter(known), None)
        new = self._new_entry(flight, value, keys, old, now)
        evicted = self._table.put(new)

        reports: list[Report] = []
        if evicted is not None:
            report = partial(self._notify, "evicted", evicted.name)
            reports.append(report)
        duration = now - flight.started
        reports += self._reports_of(new, old, duration)
        for watcher in self._watchers_of(keys):
            watcher.stored(value)
        return reports

    def _known_entries(self, keys: Sequence[Hashable]) -> list[Entry[V]]:
        by_key = self._table.by_key
        return [by_key[key] for key in keys if key in by_key]

    def _new_entry(
        self,
        flight: Flight[V],
        value: V,
        keys: Keys,
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
        duration: float,
    ) -> Iterator[Report]:
        """Yield the reports of a value that took the place of another one, if there was one."""
        report = partial(self._notify, value=new.value)
        name = new.name
        if old is None or not old.has_value:
            yield partial(report, "fetched", name, duration=duration)
        else:
            yield partial(report, "refreshed", name, duration=duration)

        if old is None:
            return
        before = old.version
        is_rotation = before is not None and before != new.version
        if is_rotation:
            yield partial(report, "rotated", name, before=before)

    def _record_failure(
        self,
        flight: Flight[V],
        error: Exception,
    ) -> list[Report]:
        now = self._clock()
        self.failures += 1
        key = flight.key
        name = key
        had_value = False
        old = self._table.by_key.get(key)
        if old is not None:
            name = old.name
            had_value = old.has_value

        # The keys are read first, because a permanent failure detaches the key from its aliases.
        keys = self._table.keys_of(key)
        failure = error if isinstance(error, CredentialsError) else None

        if not self._note_overtaken(flight, [key]):
            self._note_failure(flight, failure, old, now)
        for watcher in self._watchers_of(keys):
            watcher.failed()

        if failure is None:
            return []
        report = partial(
            self._notify,
            "failed",
            name,
            error=failure,
            refresh=had_value,
            duration=now - flight.started,
        )
        return [report]

    def _note_overtaken(
        self,
        flight: Flight[V],
        marks: Iterable[Hashable],
    ) -> bool:
        """Note, and return, whether an invalidation since the start of a flight has these marks."""
        flight.overtaken = self._invalidations.any_since(flight.since, marks)
        return flight.overtaken

    def _note_failure(
        self,
        flight: Flight[V],
        failure: CredentialsError | None,
        old: Entry[V] | None,
        now: float,
    ) -> None:
        if failure is not None and not failure.transient:
            self._refuse(flight, failure, old, now)
        elif old is not None and old.has_value:
            share = self._rng()
            old.fail(failure, now, share)

    def _refuse(
        self,
        flight: Flight[V],
        failure: CredentialsError,
        old: Entry[V] | None,
        now: float,
    ) -> None:
        """Note a permanent failure for the key that was asked. Its aliases keep the value."""
        key = flight.key
        new: Entry[V] = Entry((key,), now)
        if old is not None:
            new.name = old.name
            new.aliases = old.aliases
            new.version = old.version
            new.invalidated = old.invalidated
            new.failures = old.failures
            new.used = old.last_used()
            if not flight.waiters:
                # No caller asked: the value is kept until its TTL, but isn't served past it.
                new.value = old.value
                new.born = old.born
                new.share = old.share
                new.stale_ok = False
        share = self._rng()
        new.fail(failure, now, share)

        self._table.detach(key)
        self._table.put(new)
