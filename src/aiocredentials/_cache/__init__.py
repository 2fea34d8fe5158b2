"""Values that stay current. The folder knows nothing of AWS.

`reader` is what a caller asks. `freshness` decides, without waiting for anything, whether it is served, waits or is
refused. `cache` keeps what is known of each key, in `entries`. `flights` lets callers share a fetch that is under way.
"""

from aiocredentials._cache.cache import AsyncCache, Watcher
from aiocredentials._cache.entries import Entry, Lease
from aiocredentials._cache.flights import Flight
from aiocredentials._cache.freshness import FIRST_BACKOFF, HIT, LONGEST_BACKOFF, STALE, is_fresh
from aiocredentials._cache.reader import Reader

__all__ = [
    "FIRST_BACKOFF",
    "HIT",
    "LONGEST_BACKOFF",
    "STALE",
    "AsyncCache",
    "Entry",
    "Flight",
    "Lease",
    "Reader",
    "Watcher",
    "is_fresh",
]
