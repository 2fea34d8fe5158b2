"""State that belongs to one running event loop of one process, and the lock for state that threads share."""

from __future__ import annotations

import asyncio
import os
import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from aiocredentials.errors import PoolClosedError, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

R = TypeVar("R")
S = TypeVar("S")

bookkeeping = threading.RLock()
"""Held while state that loops in several threads share is read and changed. Nobody waits, or calls out, under it.

It is one lock for the whole process, so a fork can hold it: then the child inherits no state that is half changed. It
can be taken twice by one thread, since the garbage collector may run a `__del__` of ours in the middle of a change.
"""

# What a forked child finds of its parent's loops. Kept for ever: to collect it would close sockets, and change the
# selector, that the parent still uses.
_inherited: list[object] = []


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running loop. Raises `RuntimeError`, with what to do, if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        message = "No asyncio event loop is running here: await this inside of asyncio.run(...), or in a coroutine."
    raise RuntimeError(message)


class PerLoop(Generic[S]):
    """A state for each running loop, made when it is first asked for; a forked child starts with none.

    `make` makes a state. `abandon` is called with the state of a loop that was closed without it, from whichever
    thread asks next: it must not wait, and it can't use the loop.
    """

    def __init__(self, make: Callable[[], S], abandon: Callable[[S], None] = lambda _: None) -> None:
        self._make = make
        self._abandon = abandon
        self._states: dict[asyncio.AbstractEventLoop, S] = {}
        starts_anew(self)

    def get(self) -> S:
        """Return the state of the running loop. Raises `RuntimeError` if there is no loop."""
        loop = running_loop()
        state = self._states.get(loop)
        if state is None:
            # Only this thread runs the loop, so no other thread makes a state for it.
            state = self._make()
            with bookkeeping:
                self._states[loop] = state
            self.abandon_dead()
        return state

    def living(self) -> list[tuple[asyncio.AbstractEventLoop, S]]:
        """Return each loop that isn't closed, with its state."""
        with bookkeeping:
            return [(loop, state) for loop, state in self._states.items() if not loop.is_closed()]

    def abandon_dead(self) -> None:
        """Drop the states of loops that were closed."""
        with bookkeeping:
            dead = [loop for loop in self._states if loop.is_closed()]
            states = [self._states.pop(loop) for loop in dead]
        for state in states:
            self._abandon(state)

    def forked(self) -> None:
        """Start anew in a forked child."""
        _inherited.append(self._states)
        self._states = {}


class Forkable(Protocol):
    """What holds something of its process's loops."""

    def forked(self) -> None:
        """Drop that, in a forked child."""
        ...


_registry: WeakSet[Any] = WeakSet()


def starts_anew(thing: Forkable) -> None:
    """Let a thing know when it finds itself in a forked child."""
    with bookkeeping:
        _registry.add(thing)


def _start_anew() -> None:
    for thing in list(_registry):
        thing.forked()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=bookkeeping.acquire, after_in_parent=bookkeeping.release)
    os.register_at_fork(after_in_child=_start_anew)
    # Registered last, and so run last: the lock is held until everything has started anew.
    os.register_at_fork(after_in_child=bookkeeping.release)


def detached_task(coroutine: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
    """Start a task that belongs to no caller: in an empty context, so in nobody's trace or request.

    The context isn't given as `context=`, since a task factory needn't know that argument. Raises what the running
    loop's task factory raises; the coroutine is closed then.
    """
    try:
        return Context().run(running_loop().create_task, coroutine)
    except BaseException:
        coroutine.close()
        raise


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
