"""A bounded set of entries: the least recently used one is evicted first.

A hit notes the time in its lease only, so a shelf doesn't know the order of use. It keeps a heap of
places by the last use that it knows, and corrects the first ones when an entry must be evicted.
The heap has at most one place more than the shelf can have entries. All methods are called under
the lock, and none of them takes longer on a large shelf.
"""

from __future__ import annotations

import heapq
import random
from itertools import count
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

MOST_CORRECTIONS = 128
"""How many places one eviction corrects at most, which takes less than a millisecond."""


class Shelved(Protocol):
    """An entry, as far as a shelf needs it. Times are seconds of the cache's clock."""

    used: float
    """When it was used last, except through current leases."""
    place: Place[Any] | None
    """Where it is kept; None if it was dropped."""

    def last_used(self) -> float:
        """Return when it was used last."""
        ...


E = TypeVar("E", bound=Shelved)


class Place(Generic[E]):
    """A place on a shelf, which is free after its entry was dropped, until another one gets it."""

    __slots__ = ("entry", "noted_use", "shelf")

    def __init__(self, shelf: Shelf[E], noted_use: float) -> None:
        self.shelf = shelf
        self.noted_use = noted_use
        """By when the heap sorts the place. The entry may have been used since, but not before."""
        self.entry: E | None = None


class _Item(NamedTuple, Generic[E]):
    """An item in the heap of a shelf."""

    noted_use: float
    number: int
    """A number that makes the item unique, so places are never compared."""
    place: Place[E]


def _last_used(entry: Shelved) -> float:
    return entry.last_used()


class Shelf(Generic[E]):
    """A bounded set of entries in the order of their last use."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._numbers = count()
        self._heap: list[_Item[E]] = []
        self._free: list[Place[E]] = []
        """The places in the heap that have no entry."""

    def __len__(self) -> int:
        return self._size

    def add(self, entry: E) -> E | None:
        """Keep an entry here instead of on its former shelf.

        Return the least recently used entry if there is one too many, else None. It is the least
        recently used of all, unless more than `MOST_CORRECTIONS` others were used after the heap
        was last corrected: then it is the least recently used of so many random ones.
        """
        if entry.place is not None:
            entry.place.shelf.remove(entry)
        self._size += 1
        self._give_place(entry)
        if self._size > self._most:
            return self._least_recently_used()
        return None

    def remove(self, entry: E) -> None:
        """Drop an entry. Its place stays in the heap, for the next entry."""
        place = cast("Place[E]", entry.place)
        place.entry = None
        self._free.append(place)
        entry.place = None
        self._size -= 1

    def clear(self) -> None:
        """Forget all places, after all entries were dropped."""
        self._heap.clear()
        self._free.clear()

    def _give_place(self, entry: E) -> None:
        if self._free:
            # The last one first: an entry that replaces another one gets the place of that one.
            place = self._free.pop()
            entry.used = max(entry.used, place.noted_use)
        else:
            place = Place(self, entry.last_used())
            heapq.heappush(self._heap, self._item_of(place))
        place.entry = entry
        entry.place = place

    def _least_recently_used(self) -> E:
        """Find the entry to evict, and correct the places of others that come before it."""
        for _ in range(MOST_CORRECTIONS):
            place = self._heap[0].place
            # No place is free when there is an entry too many.
            entry = cast("E", place.entry)
            used = entry.last_used()
            if used <= place.noted_use:
                return entry

            place.noted_use = used
            item = self._item_of(place)
            heapq.heapreplace(self._heap, item)

        # A thousand others may follow. The least recently used one of many random entries is hardly
        # ever among the recently used ones of all.
        some = random.sample(self._heap, MOST_CORRECTIONS)
        entries = [cast("E", item.place.entry) for item in some]
        return min(entries, key=_last_used)

    def _item_of(self, place: Place[E]) -> _Item[E]:
        number = next(self._numbers)
        return _Item(place.noted_use, number, place)
