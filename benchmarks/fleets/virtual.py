"""An event loop whose time is virtual: hours pass in seconds."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, TypeVar

from aiocredentials import _random

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class _NoSockets:
    """Takes the place of a selector: instead of waiting for a socket, time jumps."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass until the next timer."""
        assert timeout is not None, "nothing is left to do, and the main coroutine hasn't ended"
        self.now += timeout
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own loop, except that no time passes while it works, and none is spent waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(enabled=False)
        # asyncio's loop asks its selector for sockets, and that is where it waits.
        self._selector = _NoSockets()
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._selector.now

    def _process_events(self, events: list[Any]) -> None:
        assert not events

    def _write_to_self(self) -> None:
        """Do nothing: no other thread calls in, so there is nobody to wake."""


def run(main: Coroutine[Any, Any, T], *, seed: int) -> T:
    """Run a coroutine in virtual time, with the library's own random numbers from this seed."""
    before = _random._system  # noqa: SLF001 (the system's numbers can't be repeated)
    _random._system = random.Random(seed)  # noqa: S311, SLF001 (they spread load)
    # Thousands of processes would warn about the same thing.
    logger = logging.getLogger("aiocredentials")
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main)
    finally:
        logger.disabled = was_disabled
        _random._system = before  # noqa: SLF001
