"""Importing aioboto3 and reading botocore's models: once per process, in a thread."""

from __future__ import annotations

import asyncio

from aiocredentials._loops import PerLoop, loading

_loading = PerLoop(asyncio.Lock)


_is_loaded = False


async def load_transport() -> None:
    """Import aioboto3 and load botocore's models in a thread, once a process: 0.5 s that would stall the loop."""
    if not _is_loaded:
        # One thread of each loop waits for it, however many tasks do.
        async with _loading.get():
            await asyncio.to_thread(_load)


def _load() -> None:
    global _is_loaded  # noqa: PLW0603 (it is the process that has loaded them or hasn't)
    with loading:
        if not _is_loaded:
            from aiocredentials._aws import aiosession  # noqa: PLC0415 (300 ms and 500 modules)

            aiosession.load()
            _is_loaded = True
