"""The cache's knowledge of one value, the leases on it, and the order in which values are evicted.

An `Entry` holds a value and how its last fetch went. A `Lease` lets a reader serve the value
without another look at the entry. `shelf` bounds the number of entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from aiocredentials._cache.freshness import FIRST_BACKOFF, LONGEST_BACKOFF, NEVER
from aiocredentials._cache.signatures import Keys, V

if TYPE_CHECKING:
    from collections.abc import Hashable

    from aiocredentials._cache.shelf import Place
    from aiocredentials.errors import CredentialsError


class ReadCount:
    """How many reads of one kind the cache has served from memory.

    All leases of that kind share one, so the number is known without a visit to every entry. It
    counts without a lock, so two threads that read at the same moment may count as one.
    """

    __slots__ = ("reads",)

    def __init__(self) -> None:
        self.reads = 0


class Lease(Generic[V]):
    """The right of a reader to serve a value until a time, without another look at the cache.

    A hit costs one comparison: that of the time with `until`. The lease ends when its entry
    changes: it then has no value, so no reader holds an old one. Without leases a hit would cost
    18 % more. A lease also remembers that a reader has waited: on a clock that stands still, as in
    tests, the next reader would otherwise wait its patience again while a refresh hangs.

    Readers whose lease is of the same kind and ends at the same time share it.
    """

    __slots__ = ("count", "until", "used", "value")

    def __init__(
        self,
        value: V | None,
        until: float,
        count: ReadCount,
    ) -> None:
        self.value = value
        self.until = until
        self.count = count
        """Counts the reads under this lease."""
        self.used = NEVER
        """When the value was read last under this lease."""

    @property
    def is_used(self) -> bool:
        """Whether the value was read under this lease."""
        return self.used > NEVER

    def __repr__(self) -> str:
        """Leave the value out."""
        return f"<Lease until {self.until}>"

    def end(self) -> None:
        """End the right of all readers to serve the value."""
        # A reader takes the value first, and then checks the time. So the time changes first here.
        self.until = NEVER
        self.value = None


class Entry(Generic[V]):
    """The cache's knowledge of one value: the value itself, if any, and how its last fetch went."""

    __slots__ = (
        "aliases",
        "born",
        "failed_at",
        "failure",
        "failures",
        "invalidated",
        "keys",
        "leases",
        "name",
        "place",
        "retry_at",
        "share",
        "stale_ok",
        "used",
        "value",
        "version",
    )

    def __init__(self, keys: Keys, used: float) -> None:
        self.keys = keys
        """All keys under which the entry is found."""
        self.aliases = keys
        """All keys that an invalidation concerns as well.

        A key that was refused has its own entry from then on, but is still an alias here.
        """
        self.name = keys[0]
        """The key under which listeners know the entry."""
        self.used = used
        """When it was used last, except through current leases: these note it themselves."""
        self.place: Place[Entry[V]] | None = None
        """Where the entry is kept; None if the cache has dropped it."""
        self.leases: tuple[Lease[V], ...] = ()
        """The leases that readers may hold."""
        self.value: V | None = None
        self.version: Hashable = None
        """The version of the value. After an invalidation it is still that of the last value."""

        self.invalidated = False
        """Whether there was an invalidation since the last value was fetched."""

        # `freshness.Known` explains these.
        self.born = NEVER
        self.share = 0.0
        self.stale_ok = True
        self.failure: CredentialsError | None = None
        self.failed_at = NEVER
        self.retry_at = NEVER
        self.failures = 0
        """How many fetches have failed since the last success."""

    @property
    def has_value(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def lease(
        self,
        until: float,
        count: ReadCount,
        now: float,
    ) -> Lease[V]:
        """Return the lease that ends at this time, which readers under the same policy share.

        Leases whose time is over are ended, so a value that is read for a long time keeps few.
        """
        current: list[Lease[V]] = []
        for lease in self.leases:
            if lease.until == until and lease.count is count:
                return lease
            if lease.until > now:
                current.append(lease)
            else:
                self._end(lease)

        new = Lease(self.value, until, count)
        self.leases = (*current, new)
        return new

    def end_leases(self) -> None:
        """Let each reader look at the entry again."""
        for lease in self.leases:
            self._end(lease)
        self.leases = ()

    def _end(self, lease: Lease[V]) -> None:
        self.used = max(self.used, lease.used)
        lease.end()

    def last_used(self) -> float:
        """Return when the value was read last. A hit notes the time in its lease only."""
        used = self.used
        for lease in self.leases:
            used = max(used, lease.used)
        return used

    def fail(
        self,
        failure: CredentialsError | None,
        now: float,
        share: float,
    ) -> None:
        """Note a failed fetch, and until when no refresh begins.

        Args:
            failure: The error; None if it isn't a `CredentialsError`.
            now: The time.
            share: A random number from 0 to 1, which makes the pause up to 10 % longer.
        """
        self.failure = failure
        self.failures += 1
        self.failed_at = now

        doublings = min(self.failures - 1, 10)
        pause = FIRST_BACKOFF * 2**doublings
        pause = min(pause, LONGEST_BACKOFF)
        extra = 0.1 * share
        self.retry_at = now + pause * (1 + extra)

    def blank(self) -> None:
        """Forget the value and all failures.

        The version stays, so a rotation is noticed when the next value arrives.
        """
        self.value = None
        self.invalidated = True
        self.born = NEVER
        self.stale_ok = True
        self.failure = None
        self.failures = 0
        self.failed_at = NEVER
        self.retry_at = NEVER

    def __repr__(self) -> str:
        """Leave the value out, because debuggers and assertion messages show this."""
        return f"<Entry {self.name!r}>"
