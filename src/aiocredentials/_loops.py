"""State that belongs to one running event loop of one process, and the lock for state that threads share."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from aiocredentials.errors import CredentialsError, EndpointUnreachableError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

R = TypeVar("R")
S = TypeVar("S")

bookkeeping = threading.RLock()
"""Held while state that loops in several threads share is read and changed. Nobody waits, or calls out, under it.

It is one lock for the whole process, so a fork can hold it: then the child inherits no state that is half changed. It
can be taken twice by one thread, since the garbage collector may run a `__del__` of ours in the middle of a change.
"""

FORK_SECONDS = 10.0
"""How long a fork waits for a thread that loads modules: 20 times what that takes."""

_LOOK_SECONDS = 0.1
"""How often closing looks whether a loop has ended: a loop that has ended reports nothing."""

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

    def __init__(
        self, make: Callable[[], S], abandon: Callable[[S], None] = lambda _: None
    ) -> None:
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


class LoadingLock:
    """Held by a thread that imports modules, reads models or builds a TLS context; a fork waits.

    A child that is forked in the middle of an import finds modules that are locked by a thread
    which doesn't exist there. If the lock isn't free in time, the fork goes on all the same: the
    forking thread may itself hold something that the loading one waits for.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forking: int | None = None

    def __enter__(self) -> None:
        """Wait for the other threads that load, and keep them and forks waiting."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Let the next thread load, or fork."""
        self._lock.release()

    def before_fork(self) -> None:
        """Wait for the thread that loads, but not for ever."""
        if self._lock.acquire(timeout=FORK_SECONDS):
            self._forking = threading.get_ident()

    def after_in_parent(self) -> None:
        """Go on loading."""
        if self._forking == threading.get_ident():
            self._forking = None
            self._lock.release()

    def after_in_child(self) -> None:
        """Be free: a thread that still holds the lock doesn't exist in the child."""
        if self._forking != threading.get_ident():
            self._lock = threading.RLock()
        self.after_in_parent()


loading = LoadingLock()


def _no_fork(**_: Callable[[], object]) -> None:
    """Do nothing: Windows has no fork."""


at_fork = getattr(os, "register_at_fork", _no_fork)
at_fork(before=bookkeeping.acquire, after_in_parent=bookkeeping.release)
at_fork(after_in_child=_start_anew)
# Registered later, so a fork acquires it first: loading takes long, and needs the other lock now
# and then.
at_fork(
    before=loading.before_fork,
    after_in_parent=loading.after_in_parent,
    after_in_child=loading.after_in_child,
)
# Registered last, and so run last: the lock is held until everything has started anew.
at_fork(after_in_child=bookkeeping.release)


def is_cancelled() -> bool:
    """Return whether somebody cancelled the running task: a CancelledError alone doesn't say so.

    A client may have tasks of its own, and a task that awaits one of them gets its CancelledError.
    """
    me = asyncio.current_task()
    return me is None or me.cancelling() > 0


def cancelled_inside(**facts: str | None) -> CredentialsError:
    """Make the error for a CancelledError of a client's own, when nobody cancelled the call."""
    what = "The call was cancelled from inside the client."
    return make_error(EndpointUnreachableError, what, **facts)


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
    """Await a task that others await too: a caller that is cancelled here doesn't cancel it.

    Raises `EndpointUnreachableError` if the task was cancelled, and the caller wasn't.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if is_cancelled():
            raise
    raise cancelled_inside()


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


async def close_in_each_loop(
    states: Iterable[tuple[asyncio.AbstractEventLoop, S]],
    close: Callable[[S], Coroutine[Any, Any, None]],
    seconds: float,
) -> int:
    """Close each state in its own loop, and return how many loops haven't done so after `seconds`.

    A loop of another thread may be blocked, deaf to cancellation, stopped, or about to end. A loop
    that ends meanwhile counts as closed. If the caller is cancelled, it is cancelled at the end,
    not before.
    """
    here = running_loop()
    closing: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}
    for loop, state in states:
        if loop is here:
            closing[here.create_task(close(state))] = here
        else:
            closing[asyncio.wrap_future(_begin_in(loop, partial(close, state)))] = loop
    cancelled: asyncio.CancelledError | None = None
    end = here.time() + seconds
    pending: set[asyncio.Future[None]] = set(closing)
    while pending and here.time() < end:
        try:
            await asyncio.wait(pending, timeout=_LOOK_SECONDS)
        except asyncio.CancelledError as error:
            cancelled = error
        pending = {each for each in pending if not each.done() and not closing[each].is_closed()}
    for each in pending:
        if closing[each] is not here:
            # Another thread may complete it when this loop is closed already.
            each.cancel()
    if cancelled is not None:
        raise cancelled
    return len(pending)


_tasks: set[asyncio.Task[None]] = set()  # a loop itself holds its tasks weakly


def _begin_in(
    loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, None]]
) -> concurrent.futures.Future[None]:
    """Have a loop of another thread begin some work, and return the future of that.

    The coroutine is made over there: a loop that never runs again leaves none that nobody awaited.
    """
    ended: concurrent.futures.Future[None] = concurrent.futures.Future()
    ended.set_running_or_notify_cancel()  # from here on nobody can cancel it

    def begin() -> None:
        task = loop.create_task(work())
        _tasks.add(task)
        task.add_done_callback(end)

    def end(task: asyncio.Task[None]) -> None:
        _tasks.discard(task)
        ended.set_result(None)

    try:
        loop.call_soon_threadsafe(begin)
    except RuntimeError:  # it was closed just now
        ended.set_result(None)
    return ended


_turns = PerLoop(asyncio.Lock)


async def turn() -> None:
    """Wait for a turn of the loop that no other caller has, so that many at once don't add up to one long stall."""
    async with _turns.get():
        await asyncio.sleep(0)
