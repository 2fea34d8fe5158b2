"""The entries of a cache by key.

A table keeps at most `max_entries` entries with a value, and as many without one. An entry may have
several keys. All methods are called under the lock, because loops in several threads share a cache;
a hit takes no lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from aiocredentials._cache.entries import Entry
from aiocredentials._cache.groups import Groups
from aiocredentials._cache.shelf import Shelf
from aiocredentials._cache.signatures import GroupOf, Keys, V

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable


class Table(Generic[V]):
    """Entries by key."""

    def __init__(
        self,
        max_entries: int,
        group_of: GroupOf,
    ) -> None:
        self.groups = Groups(group_of)
        self.by_key: dict[Hashable, Entry[V]] = {}
        self.values = Shelf[Entry[V]](max_entries)
        # Entries without a value have a separate shelf, so failures never evict a value.
        self.blanks = Shelf[Entry[V]](max_entries)
        self._evicted: dict[Hashable, Keys] = {}
        """The aliases of keys that were refused, and whose entries were evicted.

        An invalidation by such a key still concerns the entry that has it as an alias.
        """

    def keys_of(self, key: Hashable) -> Keys:
        """Return all keys of the entry with this key; this key alone if there is no entry."""
        entry = self.by_key.get(key)
        if entry is None:
            return (key,)
        return entry.keys

    def aliases_of(self, key: Hashable) -> Keys:
        """Return all keys that an invalidation by this key concerns."""
        entry = self.by_key.get(key)
        if entry is None:
            return self._evicted.get(key, (key,))
        return entry.aliases

    def was_invalidated(self, key: Hashable) -> bool:
        """Return whether a key was invalidated after its last value was fetched."""
        entry = self.by_key.get(key)
        return entry is not None and entry.invalidated

    def put(self, new: Entry[V]) -> Entry[V] | None:
        """Put an entry in the place of all that its keys had; return the evicted entry, if any."""
        for key in new.keys:
            old = self.by_key.get(key)
            if old is not None:
                self.remove(old)

        for key in new.keys:
            self.by_key[key] = new
            self.groups.add(key)

        shelf = self.values if new.has_value else self.blanks
        surplus = shelf.add(new)
        if surplus is not None:
            self._evict(surplus)
        return surplus

    def blank(self, key: Hashable, now: float) -> None:
        """Remove the value of a key, keep the version, and note the invalidation."""
        entry = self.by_key.get(key)
        if entry is None:
            # The next fetch of this key must know of the invalidation, too.
            unknown: Entry[V] = Entry((key,), now)
            unknown.blank()
            self.put(unknown)
            return

        self.end_leases([key])
        entry.blank()
        surplus = self.blanks.add(entry)
        if surplus is not None:
            self._evict(surplus)

    def remove(self, entry: Entry[V]) -> None:
        """Drop an entry with all its keys."""
        for key in entry.keys:
            self.detach(key)
        for alias in entry.aliases:
            aliases = self._evicted.get(alias, ())
            if aliases and not self._is_alias(alias, aliases):
                del self._evicted[alias]

    def _evict(self, entry: Entry[V]) -> None:
        """Drop an entry, and keep its aliases as long as another entry has its key as an alias."""
        keys = entry.keys
        self.remove(entry)
        for key in keys:
            if self._is_alias(key, entry.aliases):
                self._evicted[key] = entry.aliases

    def _is_alias(self, key: Hashable, aliases: Keys) -> bool:
        """Return whether the entry of one of these keys has another key as an alias."""
        entries = map(self.by_key.get, aliases)
        return any(entry is not None and key in entry.aliases for entry in entries)

    def detach(self, key: Hashable) -> None:
        """Remove a key from its entry. An entry is dropped with its last key."""
        entry = self.by_key.get(key)
        if entry is None:
            return

        self.end_leases([key])
        del self.by_key[key]
        self.groups.remove(key)
        others = [other for other in entry.keys if other != key]
        entry.keys = tuple(others)
        if not others and entry.place is not None:
            entry.place.shelf.remove(entry)

    def clear(self) -> None:
        """Drop all entries."""
        all_keys = list(self.by_key)
        for key in all_keys:
            self.detach(key)
        self._evicted.clear()
        self.values.clear()
        self.blanks.clear()

    def end_leases(self, keys: Iterable[Hashable]) -> None:
        """End the leases on the values of these keys, so each reader looks at the entry again."""
        for key in keys:
            entry = self.by_key.get(key)
            if entry is not None:
                entry.end_leases()
