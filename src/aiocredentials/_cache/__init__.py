"""Values that stay current. The folder imports nothing of the AWS half.

These are the steps of one read. A caller awaits `Reader.get`, in `reader`. As long as the
reader's lease holds, the value is served and nothing else happens. Otherwise the reader asks
`freshness`, which decides whether it is served, waits or gets an error. To wait, it joins or begins
a fetch in `flights`. When the fetch ends, `outcomes` records the value or the failure in the
`table`, and the reader returns the outcome. It decides again after a transient failure, at the end
of its patience, or if the outcome isn't one for it.
"""

from aiocredentials._cache.cache import AsyncCache
from aiocredentials._cache.entries import Entry, Lease
from aiocredentials._cache.flight import Flight
from aiocredentials._cache.freshness import (
    FIRST_BACKOFF,
    HIT,
    LONGEST_BACKOFF,
    STALE,
    Rules,
    is_fresh,
)
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
    "Rules",
    "is_fresh",
]
