"""The lines about many secrets and many callers: time, memory, growth."""

from __future__ import annotations

from catalogue import CACHES, CLIENTS
from comparisons.row import Row, beside

MANY_SECTION = "Many secrets, many callers"
MEMORY_SECTION = "Memory"
SIZE_SECTION = "Bookkeeping at size"

MANY_ROWS = [
    *beside(
        Row(MANY_SECTION, "start", "500 secrets at start, 20 ms per answer"),
        (*CLIENTS, *CACHES),
    ),
    *beside(
        Row(
            MANY_SECTION,
            "start",
            "calls for these 500",
            ours="ours_calls",
            unit="calls",
            counts="calls that the server answered",
        ),
        ("aioboto", "powertools", "aws_caching"),
        quantity="_calls",
    ),
    Row(
        MANY_SECTION,
        "prefetch",
        "`prefetch` of 10,000 names, longest stall",
        "an idle loop",
        theirs="idle",
        limit=0.020,
    ),
    Row(
        MANY_SECTION,
        "prefetch",
        "the same without Python's garbage collector",
        "an idle loop",
        theirs="idle",
        ours="ours_uncollected",
        limit=0.020,
    ),
    *beside(Row(MANY_SECTION, "herd", "10,000 tasks ask for a cold key"), CACHES),
    *beside(
        Row(
            MANY_SECTION,
            "herd",
            "calls for these 10,000",
            ours="ours_calls",
            unit="calls",
            counts="calls that the server answered",
        ),
        CACHES,
        quantity="_calls",
    ),
    *beside(
        Row(
            MANY_SECTION,
            "herd",
            "longest stall of these 10,000",
            ours="ours_stall",
            counts="wall time, minimum of {n} processes",
        ),
        CACHES,
        quantity="_stall",
    ),
]

MEMORY_ROWS = [
    *beside(
        Row(MEMORY_SECTION, "memory-of-secrets", "a cached secret, of 10,000", unit="B"),
        CACHES,
    ),
    *beside(
        Row(MEMORY_SECTION, "memory-of-client", "an idle pool, its modules included", unit="B"),
        CLIENTS,
    ),
    *beside(
        Row(
            MEMORY_SECTION,
            "memory-of-client",
            "a second idle pool",
            ours="ours_second",
            unit="B",
        ),
        CLIENTS,
        quantity="_second",
    ),
]


def grown(
    what: str,
    key: str,
    *,
    sizes: tuple[int, int] = (100, 100_000),
    limit: float | None = None,
    measurement: str = "sizes",
) -> Row:
    """Return a row that compares one of our figures at two sizes; growth should be nil."""
    smallest, largest = sizes
    return Row(
        SIZE_SECTION,
        measurement,
        what.format(f"{largest:,}"),
        f"the same with {smallest:,}",
        theirs=f"{key}_{smallest}",
        ours=f"{key}_{largest}",
        reach=1.2,
        limit=limit,
    )


MILLISECOND = 0.001
INVALIDATE = "`invalidate(if_version=)` by each of 500 callers, {} secrets cached"

SIZE_ROWS = [
    grown("a hit, {} secrets cached", "hit", sizes=(1, 100_000)),
    grown("`pool.stats()`, {} secrets cached", "stats", limit=MILLISECOND),
    grown(INVALIDATE, "invalidate", sizes=(100, 1024), limit=MILLISECOND),
    grown(INVALIDATE, "invalidate", limit=MILLISECOND),
    grown("a fetch that pushes out a secret, {} cached", "eviction"),
    grown("`prefetch` of 100 fresh names, per name, {} secrets cached", "fresh"),
    grown(
        "a caller that waits for a cold key with others, {} in all",
        "ours",
        sizes=(100, 10_000),
        measurement="waiters",
    ),
]
