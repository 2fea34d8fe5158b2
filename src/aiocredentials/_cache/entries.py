"""What is known of one value, the leases on it, and the order in which values make room for others."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

from aiocredentials._cache.freshness import FIRST_BACKOFF, LONGEST_BACKOFF

if TYPE_CHECKING:
    from collections.abc import Hashable

    from aiocredentials.errors import CredentialsError

V = TypeVar("V")

NEVER = float("-inf")


class Lease(Generic[V]):
    """The right to be served a value until a time without another look at the cache.

    A hit costs one comparison with `until`. The lease ends when its entry changes: then `until` is the beginning of
    time, and the value is gone, so no reader holds an old one. Readers under the same policy share a lease. It counts
    its reads, without a lock: two threads that read at the same time may count as one.
    """

    __slots__ = ("reads", "until", "used", "value")

    def __init__(self, value: V | None, until: float) -> None:
        self.value = value
        self.until = until
        self.used = NEVER
        self.reads = 0

    def __repr__(self) -> str:
        """Leave the value out."""
        return f"<Lease until {self.until}>"


class Entry(Generic[V]):
    """What is known of one value: the value if there is one, and how fetching it went last."""

    __slots__ = (
        "aliases", "born", "failed_at", "failure", "failures", "keys", "leases", "name", "retry_at",
        "share", "shelf", "stale_ok", "used", "value", "version",
    )  # fmt: skip

    def __init__(self, keys: tuple[Hashable, ...], used: float) -> None:
        self.keys = keys
        """All keys by which it is asked for."""
        self.aliases = keys
        """All keys that an invalidation means as well: also one that has an entry of its own since it was refused."""
        self.name = keys[0]
        """The key by which listeners know it."""
        self.used = used
        self.shelf: Shelf[V] | None = None
        """Where it is kept; None when the cache doesn't have it any more."""
        self.leases: dict[tuple[float, int], Lease[V]] = {}
        """By until when, and as what, they serve: readers under one policy share one."""
        self.value: V | None = None
        self.version: Hashable = None
        """The version of the value; after an invalidation, that of the value that was here."""
        self.born = NEVER
        self.share = 0.0
        self.stale_ok = True
        self.failure: CredentialsError | None = None
        self.failures = 0
        self.failed_at = NEVER
        self.retry_at = NEVER

    @property
    def has_value(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def lease(self, until: float, kind: int) -> Lease[V]:
        """Return the lease that serves until then."""
        lease = self.leases.get((until, kind))
        if lease is None:
            lease = self.leases[until, kind] = Lease(self.value, until)
        return lease

    def last_used(self) -> float:
        """Return when it was read last. A hit notes the time in its lease alone."""
        return max([self.used, *(lease.used for lease in self.leases.values())])

    def fail(self, failure: CredentialsError | None, now: float, share: float) -> None:
        """Note a failed fetch, and for how long nobody tries again in the background.

        `failure` is None for an error that isn't ours.
        """
        self.failure = failure
        self.failures += 1
        self.failed_at = now
        pause = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self.failures - 1, 10))
        self.retry_at = now + pause * (1 + 0.1 * share)

    def __repr__(self) -> str:
        """Leave the value out: this is shown by debuggers and assertion messages."""
        return f"<Entry {self.name!r}>"


class Shelf(Generic[V]):
    """Entries in the order of their last use, with room for so many.

    A hit notes the time in its lease, and nowhere else. So the order is mended when room is needed.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._size = 0
        self.by_use: list[tuple[float, int, Entry[V]]] = []
        self._order = count()

    def __len__(self) -> int:
        return self._size

    def add(self, entry: Entry[V]) -> None:
        """Put an entry here, from wherever it was."""
        if entry.shelf is not None:
            entry.shelf.remove(entry)
        entry.shelf = self
        self._size += 1
        heapq.heappush(self.by_use, (entry.last_used(), next(self._order), entry))

    def remove(self, entry: Entry[V]) -> None:
        """Take an entry away; what is left of it in the heap is passed over later."""
        entry.shelf = None
        self._size -= 1

    def overflow(self) -> Entry[V] | None:
        """Return the entry that was used longest ago, if there is one too many."""
        heap = self.by_use
        if len(heap) > 2 * self._size + 64:
            # Most of it is left over from entries that were taken away.
            entries = dict.fromkeys(entry for _, _, entry in heap if entry.shelf is self)
            heap[:] = [(entry.last_used(), next(self._order), entry) for entry in entries]
            heapq.heapify(heap)
        while self._size > self._room:
            used, _, entry = heap[0]
            last = entry.last_used()
            if entry.shelf is not self:
                heapq.heappop(heap)
            elif last > used:
                heapq.heapreplace(heap, (last, next(self._order), entry))
            else:
                return entry
        return None
