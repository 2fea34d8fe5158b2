"""The fetch in the task of a flight: its value or its error becomes the outcome."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocredentials._cache.flight import Flight
    from aiocredentials._cache.signatures import Fetch, FetchBatch, V


async def fetch_one(flight: Flight[V], fetch: Fetch[V]) -> None:
    """Fetch the outcome of a flight: a value, or the exception that the fetch raises."""
    try:
        flight.outcome = await fetch(past_caches=flight.past_caches)
    except Exception as error:  # noqa: BLE001 (it belongs to the waiters, whatever it is)
        flight.outcome = without_traceback(error)


async def fetch_batch(flights: Sequence[Flight[V]], fetch: FetchBatch[V]) -> None:
    """Fetch the outcomes of several flights by one fetch."""
    try:
        past_caches = {flight.key for flight in flights if flight.past_caches}
        outcomes = await fetch(past_caches=past_caches)
        for flight in flights:
            flight.outcome = outcomes[flight.key]
    except Exception as error:  # noqa: BLE001 (it belongs to the waiters, whatever it is)
        for flight in flights:
            flight.outcome = without_traceback(error)


def without_traceback(error: Exception) -> Exception:
    """Return a copy of a `CredentialsError`: it keeps no frame, and its traceback doesn't grow."""
    if isinstance(error, CredentialsError):
        return copy.copy(error)
    return error
