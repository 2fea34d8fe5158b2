"""After close nothing goes on, and every call raises `PoolClosedError`."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from aiocredentials import PoolClosedError
from aiocredentials._cache import Reader
from unit.cache_kit import PLAIN, Source, make, outcomes
from unit.cache_model import virtual


@virtual
async def test_close() -> None:
    """Promise 11: closing ends what is under way, tells those who wait and each later call, and leaves no value."""
    cache, source = make(), Source()
    kept = Reader(cache, "kept", source, PLAIN)
    await kept.get()
    source.takes = 1000
    reader = Reader(cache, "key", source, PLAIN)
    calls = [asyncio.create_task(call) for call in (reader.get(), reader.get(), reader.refresh())]
    await asyncio.sleep(1)
    cache.invalidate("key")
    calls.append(asyncio.create_task(reader.get()))
    await asyncio.sleep(1)
    await asyncio.gather(cache.aclose(), cache.aclose())
    failures = await outcomes(calls)
    assert [type(failure) for failure in failures] == [PoolClosedError] * 4
    assert "closed during the call" in str(failures[0])
    for later in (kept.get(), kept.refresh(), reader.get(), reader.refresh()):
        with pytest.raises(PoolClosedError, match="The pool is closed: make a new one"):
            await later
    with pytest.raises(PoolClosedError):
        cache.flights.begin_batch(["key"], dict)  # type: ignore[arg-type]
    await cache.aclose()
    assert (len(cache), kept.lease.value, source.ended) == (0, None, source.fetches)


@virtual
async def test_close_while_a_reader_is_patient() -> None:
    """Promise 11: a reader that would soon be served a stale value is told too; what comes in late isn't kept."""
    cache, source = make(), Source()
    reader = Reader(cache, "key", source, PLAIN)
    await reader.get()
    await asyncio.sleep(100)

    async def stubborn(**_: bool) -> int:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(10)
        return 7

    call = asyncio.create_task(Reader(cache, "key", stubborn, PLAIN).get())
    await asyncio.sleep(0.1)
    await cache.aclose()
    with pytest.raises(PoolClosedError):
        await call
    assert len(cache) == 0


@virtual
async def test_cancelled_while_closing() -> None:
    """Promise 11: a caller that is cancelled in the moment of closing stays cancelled."""
    cache, source = make(), Source(takes=1000)
    call = asyncio.create_task(Reader(cache, "key", source, PLAIN).get())
    await asyncio.sleep(1)
    closing = asyncio.create_task(cache.aclose())
    await source.end.wait()
    call.cancel()
    await closing
    await asyncio.wait([call])
    assert call.cancelled()
