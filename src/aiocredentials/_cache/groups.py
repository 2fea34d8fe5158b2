"""Related keys, by what they have in common: the keys of one secret, by its identifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from aiocredentials._cache.signatures import GroupOf


class Groups:
    """The keys of each group. All methods are called under the lock.

    Most groups have one key: each staging label or version id that is asked makes another. So the
    first key of a group needs no set, which would be a tenth of the memory of a cached value.
    """

    def __init__(self, group_of: GroupOf) -> None:
        self._group_of = group_of
        self._first: dict[Hashable, Hashable] = {}
        self._more: dict[Hashable, set[Hashable]] = {}

    def add(self, key: Hashable) -> None:
        """Add a key to its group."""
        group = self._group_of(key)
        first = self._first.setdefault(group, key)
        if first != key:
            self._more.setdefault(group, set()).add(key)

    def remove(self, key: Hashable) -> None:
        """Remove a key from its group."""
        group = self._group_of(key)
        more = self._more.get(group, set())
        if self._first[group] != key:
            more.discard(key)
        elif more:
            self._first[group] = more.pop()
        else:
            del self._first[group]
        if not more:
            self._more.pop(group, None)

    def keys_in(self, group: Hashable) -> list[Hashable]:
        """Return the keys of a group."""
        if group not in self._first:
            return []
        more = self._more.get(group, ())
        return [self._first[group], *more]
