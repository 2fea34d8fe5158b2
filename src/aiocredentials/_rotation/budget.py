"""The time for which one call searches for a version that the server accepts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar, cast

from aiocredentials._loops import running_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable

R = TypeVar("R")


class Budget:
    """A number of seconds from the call of `start`; without that call there is no limit."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._deadline: float | None = None

    def start(self) -> None:
        """Start to count the time; a second call has no effect."""
        if self._deadline is None:
            self._deadline = running_loop().time() + self.seconds

    def remaining(self) -> float:
        """Return the seconds that are left. Only for a budget that was started."""
        now = running_loop().time()
        return cast("float", self._deadline) - now

    def is_spent(self) -> bool:
        """Return whether no time is left. Only for a budget that was started."""
        return self.remaining() <= 0

    async def wait_for(self, awaitable: Awaitable[R]) -> R | None:
        """Return the result; None if the budget is spent first."""
        limit = asyncio.timeout_at(self._deadline)
        try:
            async with limit:
                return await awaitable
        except TimeoutError:
            if not limit.expired():
                raise
            return None
