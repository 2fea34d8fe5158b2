"""The invalidations so far, as far as a fetch under way needs them.

A fetch may return a value that was invalidated meanwhile under another identifier, which is known
only when the value arrives. So each invalidation is noted with its marks, and when a fetch ends,
its value's marks are compared with those of the invalidations since its start. All methods are
called under the lock.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable


class Invalidations:
    """Counts invalidations, and remembers the last one of each mark."""

    def __init__(self) -> None:
        self.count = 0
        """How many invalidations there were. A fetch or a call notes this number at its start."""
        self._marks: OrderedDict[Hashable, int] = OrderedDict()
        """The number of the last invalidation of each mark, oldest first.

        Marks from before the oldest fetch under way are forgotten. To find the first key of a dict
        would take longer the more keys were deleted before it.
        """
        self.forgotten = 0
        """The number of the last invalidation that ended all fetches under way."""
        self._last_of_all = 0
        """The number of the last invalidation of everything."""

    def add(self, marks: Iterable[Hashable]) -> None:
        """Note an invalidation of the values with these marks."""
        self.count += 1
        for mark in marks:
            # The mark moves to the end, because the dict is in the order of the invalidations.
            self._marks.pop(mark, None)
            self._marks[mark] = self.count

    def add_of_all(self) -> None:
        """Note an invalidation of everything."""
        self.count += 1
        self._last_of_all = self.count

    def any_since(
        self,
        number: int,
        marks: Iterable[Hashable],
    ) -> bool:
        """Return whether an invalidation after this number has one of these marks."""
        last = self._last_of_all
        for mark in marks:
            of_mark = self._marks.get(mark, 0)
            last = max(last, of_mark)
        return last > number

    def forget(self, *, until: int | None = None) -> None:
        """Forget the marks of the invalidations up to this number, or all marks."""
        while self._marks:
            mark = next(iter(self._marks))
            number = self._marks[mark]
            is_needed = until is not None and number > until
            if is_needed:
                break
            del self._marks[mark]
