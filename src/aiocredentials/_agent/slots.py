"""How many requests are sent to the agent at once.

The agent counts a connection when it accepts it. One that is accepted over the limit answers each
request with status 429 as long as it lives. So we close such a connection, and use one fewer from
then on: the requests that had it wait for a connection that is inside the limit.
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
        self._surplus = 0
        """How many of the slots in use won't be free again."""
        self._free = asyncio.Semaphore(size)
        self._refused_at = 0.0

    async def __aenter__(self) -> None:
        """Wait for a slot."""
        self._grow()
        await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        """Free the slot."""
        if self._surplus:
            self._surplus -= 1
        else:
            self._free.release()

    def shrink(self) -> bool:
        """Use one slot fewer from now on; return False if it is the only one."""
        self._refused_at = _now()
        if self.size == 1:
            return False
        self.size -= 1
        self._surplus += 1
        return True

    def _grow(self) -> None:
        if self.size < self._most and _now() - self._refused_at > GROW_SECONDS:
            self._refused_at = _now()
            self.size += 1
            self._free.release()


def _now() -> float:
    return asyncio.get_running_loop().time()
