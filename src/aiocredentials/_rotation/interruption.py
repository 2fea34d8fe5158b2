"""Waits that a pool ends before their time: for a search that can't succeed, or when it closes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class InterruptedWaitError(Exception):
    """A wait was ended before its time, because it can't succeed."""


class InterruptibleWaits:
    """The waits that `interrupt` ends."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def interruptible(self, *, at_once: bool = False) -> AsyncGenerator[None]:
        """End the block with `InterruptedWaitError` when `interrupt` is called, or at once."""
        seconds = 0 if at_once else None
        limit = asyncio.timeout(seconds)
        self._limits.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise InterruptedWaitError from None
        finally:
            self._limits.discard(limit)

    def interrupt(self) -> None:
        """Interrupt all waits that have begun."""
        # A limit is removed first, because asyncio allows no second change once it has expired.
        while self._limits:
            limit = self._limits.pop()
            now = asyncio.get_running_loop().time()
            limit.reschedule(now)
