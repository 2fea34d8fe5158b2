"""Renewing a value in the background because an event reports that there is a newer one.

A forced refresh (`Reader.refresh`) has a caller, so a permanent failure takes the value's place.
A renewal has no caller: whatever its outcome is, the value that is cached is served as long as it
would be served without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from aiocredentials._cache.flights import Flights
    from aiocredentials._cache.signatures import Fetch, V


async def renewed(
    flights: Flights[V],
    key: Hashable,
    fetch: Fetch[V],
) -> Exception | None:
    """Wait for a fetch of a key that begins after this call; return its error, if it fails.

    A caller that is cancelled leaves the fetch to continue. Raises `PoolClosedError` after close.
    """
    flight = flights.find(key)
    is_later = False
    while flight is not None and not (is_later and flight.past_caches):
        # It may have asked before there was a newer value, or a cache that doesn't have it yet.
        await flights.end_of(flight)
        flight = flights.find(key)
        is_later = True

    if flight is None:
        flight = flights.begin(key, fetch, past_caches=True)
    flight.background = True
    await flights.end_of(flight)
    outcome = flight.outcome
    if isinstance(outcome, Exception):
        return outcome
    return None
