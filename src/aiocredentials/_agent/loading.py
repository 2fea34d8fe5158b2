"""The import of `http`, and with it of aiohttp: once per process, in a thread."""

from __future__ import annotations

import asyncio
import importlib

from aiocredentials._loops import PerLoop, loading

# One task of each loop waits for the thread; the others wait for that task.
_locks = PerLoop(asyncio.Lock)

_is_loaded = False


async def load_http() -> None:
    """Import aiohttp in a thread, which would block the event loop for a quarter of a second."""
    if not _is_loaded:
        async with _locks.get():
            await asyncio.to_thread(_load)


def _load() -> None:
    global _is_loaded  # noqa: PLW0603 (the process has loaded it, or it hasn't)
    with loading:
        importlib.import_module("aiocredentials._agent.http")
        _is_loaded = True
