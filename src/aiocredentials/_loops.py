"""State that belongs to one running event loop of one process, so that nothing is shared where it can't be."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Generic, TypeVar

from aiocredentials.errors import PoolClosedError, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

R = TypeVar("R")
S = TypeVar("S")

# What a forked child finds of its parent's. Kept for ever: to collect it would close sockets and change the selector
# that the parent still uses.
_inherited: list[object] = []


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running loop. Raises `RuntimeError`, with what to do, if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        message = "No asyncio event loop is running here: await this inside of asyncio.run(...), or in a coroutine."
    raise RuntimeError(message)


class PerLoop(Generic[S]):
    """A state for each running loop, made when it is first asked for. A loop that died, and a fork, start anew."""

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._states: dict[asyncio.AbstractEventLoop, S] = {}
        self._process = os.getpid()

    def get(self) -> S:
        """Return the state of the running loop. Raises `RuntimeError` if there is no loop."""
        loop = running_loop()
        if self._process != os.getpid():
            _inherited.append(self._states)
            self._states, self._process = {}, os.getpid()
        state = self._states.get(loop)
        if state is None:
            for dead in [known for known in self._states if known.is_closed()]:
                del self._states[dead]
            state = self._states[loop] = self._make()
        return state

    def living(self) -> Iterator[tuple[asyncio.AbstractEventLoop, S]]:
        """Yield each loop that isn't closed, with its state; none that a fork brought along."""
        if self._process == os.getpid():
            yield from [(loop, state) for loop, state in self._states.items() if not loop.is_closed()]


async def join(task: asyncio.Task[R]) -> R:
    """Await a task that others await too: who is cancelled here doesn't cancel it.

    Raises `PoolClosedError` if the task was cancelled, which only closing does while somebody waits for it.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        me = asyncio.current_task()
        if not task.cancelled() or (me is not None and me.cancelling()):
            raise
    raise describe(PoolClosedError, "The pool was closed during the call.")


async def finish(closing: Iterable[asyncio.Future[None]]) -> None:
    """Wait until all is closed; a cancellation meanwhile is passed on when it is done, not before."""
    pending: set[asyncio.Future[None]] = set(closing)
    cancelled: asyncio.CancelledError | None = None
    while pending:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
        pending = {future for future in pending if not future.done()}
    if cancelled is not None:
        raise cancelled
