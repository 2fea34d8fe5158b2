"""How many requests are sent to the agent at once.

The agent counts a connection when it accepts it. One that is accepted over the limit answers each
request with status 429 as long as it lives. So we close such a connection, and open none beyond
those that were in use beside it: its request waits until one of these is free.
"""

from __future__ import annotations

import asyncio

GROW_SECONDS = 30.0
"""After this time without a refused connection, one more is tried."""


class Slots:
    """The right to send a request, for as many at once as there are slots. It is for one loop."""

    def __init__(self, size: int) -> None:
        self._most = size
        self.size = size
        """How many requests there may be at once now."""
        self._in_use = 0
        self._surplus = 0
        """How many slots there are beyond `size`, in use or free: no request gets them any more."""
        self._free = asyncio.Semaphore(size)
        self._refused_at = 0.0

    async def __aenter__(self) -> None:
        """Wait for a slot."""
        self._grow()
        await self._free.acquire()
        while self._surplus:
            self._surplus -= 1
            await self._free.acquire()
        self._in_use += 1

    async def __aexit__(self, *_: object) -> None:
        """Free the slot."""
        self._in_use -= 1
        if self._surplus:
            self._surplus -= 1
        else:
            self._free.release()

    def shrink(self) -> bool:
        """Note that a connection was refused, while its request has its slot.

        From then on there are as many slots as other requests have one, and at least one. An idle
        connection would have been used, so these requests have all connections that there are.

        Returns:
            Whether another request has a slot, for whose connection it is worth waiting.
        """
        self._refused_at = _now()
        others = self._in_use - 1
        size = min(self.size, max(1, others))
        self._surplus += self.size - size
        self.size = size
        return others > 0

    def _grow(self) -> None:
        if self.size < self._most and _now() - self._refused_at > GROW_SECONDS:
            self._refused_at = _now()
            self.size += 1
            self._free.release()


def _now() -> float:
    return asyncio.get_running_loop().time()
