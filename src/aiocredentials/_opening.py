"""`Opening`: one caller opens a pool, and the others wait until it is open."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future

from aiocredentials._loops import running_loop

# How often a caller that waits for an opening checks whether the other caller still carries it out.
_LOOK_SECONDS = 0.1


class Opening:
    """The opening of a pool, which one caller carries out while others wait for its end.

    It has no end if the loop of that caller is closed, or in a child that was forked meanwhile.
    """

    def __init__(self) -> None:
        self._loop = running_loop()
        self._process = os.getpid()
        self._ended: Future[None] = Future()
        # Callers in other loops may wait for it. A cancelled one must not cancel it for the others.
        self._ended.set_running_or_notify_cancel()

    @property
    def is_abandoned(self) -> bool:
        """Whether no caller will end it."""
        if self._ended.done():
            return False
        return self._loop.is_closed() or self._process != os.getpid()

    def end(self) -> None:
        """Let the other callers continue."""
        self._ended.set_result(None)

    async def wait(self) -> bool:
        """Wait for the end. Return False if there will be none."""
        ended = asyncio.wrap_future(self._ended)
        while not self.is_abandoned:
            # A loop that was closed reports nothing.
            await asyncio.wait([ended], timeout=_LOOK_SECONDS)
            if ended.done():
                return True
        return False
