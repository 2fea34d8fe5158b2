"""Names for the types of the functions that the cache is given, and for its keys."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Coroutine,
    Hashable,
    Iterable,
    Mapping,
    Set as AbstractSet,
)
from typing import (
    Any,
    Protocol,
    TypeAlias,
    TypeVar,
)

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)

Keys: TypeAlias = tuple[Hashable, ...]

Outcome: TypeAlias = V | Exception
OutcomeByKey: TypeAlias = Mapping[Hashable, Outcome[V]]

Fetching: TypeAlias = Coroutine[Any, Any, V]


class Fetch(Protocol[V_co]):
    """Fetches the value of one key."""

    def __call__(self, *, past_caches: bool) -> Fetching[V_co]:
        """Fetch it; `past_caches` forbids an answer from a cache on the way to the source.

        It is true for a forced refresh, and for the first fetch after an invalidation.
        """
        ...


class FetchBatch(Protocol[V_co]):
    """Fetches the values of many keys, and returns the outcome of each."""

    def __call__(self, *, past_caches: AbstractSet[Hashable]) -> Fetching[OutcomeByKey[V_co]]:
        """Fetch them; no cache on the way to the source may answer for the keys in `past_caches`.

        They were invalidated.
        """
        ...


Clock: TypeAlias = Callable[[], float]
"""Returns the time in seconds; it never goes back."""
Random: TypeAlias = Callable[[], float]
"""Returns a random number from 0 to 1."""

KeysOf: TypeAlias = Callable[[Hashable, V], Keys]
"""Returns all keys of a value.

Its first argument is the key that was asked, which is one of them. Listeners know the value by the
first key.
"""
MarksOf: TypeAlias = Callable[[Hashable, V], Iterable[Hashable]]
"""Returns the marks of a value: an invalidation with one of them concerns it."""
GroupOf: TypeAlias = Callable[[Hashable], Hashable]
"""Returns what related keys have in common."""
VersionOf: TypeAlias = Callable[[V], Hashable]
"""Returns an object that differs between two versions of a value."""
ShareOf: TypeAlias = Callable[[V], float]
"""Returns the share of the jitter that shortens the TTL of a value."""

Notify: TypeAlias = Callable[..., None]
"""Reports an event to the listener: a word, a key, and the facts. It is called without the lock."""
Report: TypeAlias = Callable[[], None]
"""Makes one such report."""
