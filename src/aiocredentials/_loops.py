"""State per running event loop and process, and the lock for state that threads share.

`bookkeeping` is that lock. `PerLoop` keeps one state for each event loop. `starts_anew` registers
objects that drop their parent's loops in a forked child. `loading` lets a fork wait for imports.
The functions at the end start, await and close tasks.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar
from weakref import WeakSet

from aiocredentials.errors import CredentialsError, EndpointUnreachableError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

R = TypeVar("R")
S = TypeVar("S")

Loop: TypeAlias = asyncio.AbstractEventLoop
_Task: TypeAlias = "asyncio.Task[None]"
_Future: TypeAlias = "asyncio.Future[None]"

bookkeeping = threading.RLock()
"""Held while state that loops in several threads share is read and changed.

Under it, nothing waits, and functions that are called must return at once. It is one lock for the
whole process, so a fork can hold it, and the child inherits no state that is half changed. One
thread can take it twice, because the garbage collector may run one of our `__del__` methods in the
middle of a change.
"""

FORK_SECONDS = 10.0
"""How long a fork waits for a thread that loads modules: 20 times as long as loading takes."""

_LOOK_SECONDS = 0.1
"""How often closing checks whether a loop has ended, because an ended loop reports nothing."""

# The states of the parent's loops in a forked child. They are kept for ever, because collecting
# them would close sockets and change the selector, which the parent still uses.
_inherited: list[object] = []


def running_loop() -> Loop:
    """Return the running loop. Raises `RuntimeError`, with advice, if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        message = (
            "No asyncio event loop is running here: "
            "await this in a coroutine that asyncio.run(...) runs."
        )
    raise RuntimeError(message)


def _do_nothing(_: object) -> None:
    pass


class PerLoop(Generic[S]):
    """A state for each running loop, made at the first access. A forked child starts with none.

    Args:
        make: Makes a state.
        abandon: Is called with the state of a loop that was closed without it, in the thread that
            asks next. It must not wait, and it can't use the loop.
    """

    def __init__(
        self,
        make: Callable[[], S],
        abandon: Callable[[S], None] = _do_nothing,
    ) -> None:
        self._make = make
        self._abandon = abandon
        self._states: dict[Loop, S] = {}
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

    def living(self) -> list[tuple[Loop, S]]:
        """Return each loop that isn't closed, with its state."""
        with bookkeeping:
            pairs = list(self._states.items())
        return [pair for pair in pairs if not pair[0].is_closed()]

    def abandon_dead(self) -> None:
        """Drop the states of loops that were closed."""
        with bookkeeping:
            dead = [loop for loop in self._states if loop.is_closed()]
            states = [self._states.pop(loop) for loop in dead]
        for state in states:
            self._abandon(state)

    def forked(self) -> None:
        """Start without any state in a forked child."""
        _inherited.append(self._states)
        self._states = {}


class Forkable(Protocol):
    """An object that holds state of its process's loops."""

    def forked(self) -> None:
        """Drop that state in a forked child."""
        ...


_registry: WeakSet[Any] = WeakSet()


def starts_anew(thing: Forkable) -> None:
    """Call the object's `forked` in each forked child."""
    with bookkeeping:
        _registry.add(thing)


forgetting: list[Callable[[], object]] = []
"""The functions that a pool calls when it forgets everything.

Modules that keep secrets, and that a fetch doesn't need, add a function that drops these secrets.
"""


def _start_anew() -> None:
    for thing in list(_registry):
        thing.forked()


class LoadingLock:
    """Held by a thread that imports modules, reads models or builds a TLS context; a fork waits.

    In a child that is forked in the middle of an import, modules are locked by a thread that
    doesn't exist there. If the lock isn't free in time, the fork continues without it, because
    the forking thread may itself hold something that the loading thread waits for.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forking: int | None = None

    def __enter__(self) -> None:
        """Wait for the other threads that load, and keep them and forks waiting."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Let the next thread load or fork."""
        self._lock.release()

    def before_fork(self) -> None:
        """Wait for the thread that loads, for a limited time."""
        has_lock = self._lock.acquire(timeout=FORK_SECONDS)
        if has_lock:
            self._forking = threading.get_ident()

    def after_in_parent(self) -> None:
        """Let other threads load again."""
        if self._is_forking():
            self._forking = None
            self._lock.release()

    def after_in_child(self) -> None:
        """Be free, because a thread that still holds the lock doesn't exist in the child."""
        if not self._is_forking():
            self._lock = threading.RLock()
        self.after_in_parent()

    def _is_forking(self) -> bool:
        """Return whether this thread took the lock for a fork."""
        return self._forking == threading.get_ident()


loading = LoadingLock()


def _no_fork(**_: Callable[[], object]) -> None:
    """Do nothing, because Windows has no fork."""


at_fork = getattr(os, "register_at_fork", _no_fork)
at_fork(
    before=bookkeeping.acquire,
    after_in_parent=bookkeeping.release,
)
at_fork(after_in_child=_start_anew)
# This is registered later, so a fork acquires it first: loading takes long, and needs the other
# lock now and then.
at_fork(
    before=loading.before_fork,
    after_in_parent=loading.after_in_parent,
    after_in_child=loading.after_in_child,
)
# This is registered last, and so runs last: the lock is held until the parent's state is dropped.
at_fork(after_in_child=bookkeeping.release)


def is_cancelled() -> bool:
    """Return whether the running task itself was cancelled. A CancelledError doesn't prove it.

    A client may have its own tasks, and a task that awaits one of them gets its CancelledError.
    """
    me = asyncio.current_task()
    return me is None or me.cancelling() > 0


def cancelled_inside() -> CredentialsError:
    """Return the error for a client's own CancelledError, if the call itself wasn't cancelled."""
    what = "The call was cancelled from inside the client."
    return make_error(EndpointUnreachableError, what)


def detached_task(coroutine: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
    """Start a task in an empty context, so it belongs to no caller's trace or request.

    The context isn't passed as `context=`, because a task factory needn't know that argument.
    Raises the exception of the running loop's task factory, after the coroutine was closed.
    """
    try:
        loop = running_loop()
        context = Context()
        return context.run(loop.create_task, coroutine)
    except BaseException:
        coroutine.close()
        raise


async def join(task: asyncio.Task[R]) -> R:
    """Await a task that others await too. A caller that is cancelled here doesn't cancel it.

    Raises `EndpointUnreachableError` if the task was cancelled, and the caller wasn't.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if is_cancelled():
            raise
    raise cancelled_inside()


async def finish(closing: Iterable[asyncio.Future[Any]]) -> None:
    """Wait until all futures are done. A cancellation meanwhile is raised at the end."""
    pending = set(closing)
    cancelled: asyncio.CancelledError | None = None
    while pending:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
        done = {future for future in pending if future.done()}
        pending -= done
    if cancelled is not None:
        raise cancelled


def call_in(
    loop: Loop,
    function: Callable[..., object],
    *arguments: object,
) -> None:
    """Call a function in its loop when the loop runs next. Any thread may run that loop."""
    # A loop that has just been closed raises RuntimeError.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def call_for_each_loop(
    states: Iterable[tuple[Loop, S]],
    call: Callable[[Loop, S], object],
) -> None:
    """Call a function with each loop and its state.

    The call is made in the loop's own thread if another thread runs it, and otherwise at once: a
    loop that is stopped may never run again.
    """
    here = asyncio._get_running_loop()  # noqa: SLF001 (the public function raises without a loop)
    for loop, state in states:
        if loop is here or not loop.is_running():
            call(loop, state)
        else:
            call_in(loop, call, loop, state)


async def close_in_each_loop(
    states: Iterable[tuple[Loop, S]],
    close: Callable[[S], Coroutine[Any, Any, None]],
    seconds: float,
) -> int:
    """Close each state in its own loop, and wait for that.

    A loop of another thread may be blocked, ignore its cancellation, be stopped, or be about to
    end. A loop that ends meanwhile counts as closed. If the caller is cancelled, the cancellation
    is raised at the end.

    Args:
        states: The loops, each with its state.
        close: Closes a state.
        seconds: How long to wait.

    Returns:
        How many loops haven't closed their state in this time.
    """
    here = running_loop()
    closing: dict[_Future, Loop] = {}
    for loop, state in states:
        if loop is here:
            coroutine = close(state)
            future: _Future = here.create_task(coroutine)
        else:
            work = partial(close, state)
            begun = _begin_in(loop, work)
            future = asyncio.wrap_future(begun)
        closing[future] = loop

    end = here.time() + seconds
    cancelled: asyncio.CancelledError | None = None
    pending = set(closing)
    while pending and here.time() < end:
        try:
            await asyncio.wait(pending, timeout=_LOOK_SECONDS)
        except asyncio.CancelledError as error:
            cancelled = error
        done = {future for future in pending if future.done()}
        pending -= done
        ended = {future for future in pending if closing[future].is_closed()}
        pending -= ended

    for future in pending:
        loop = closing[future]
        if loop is not here:
            # Otherwise the other thread may complete it after this loop has been closed.
            future.cancel()
    if cancelled is not None:
        raise cancelled
    return len(pending)


# A loop itself holds its tasks weakly.
_tasks: set[_Task] = set()


def _begin_in(
    loop: Loop,
    work: Callable[[], Coroutine[Any, Any, None]],
) -> concurrent.futures.Future[None]:
    """Let a loop of another thread begin some work, and return a future of its end.

    The coroutine is made in that loop, so a loop that never runs again leaves none unawaited.
    """
    ended = concurrent.futures.Future[None]()
    # From here on the future can't be cancelled.
    ended.set_running_or_notify_cancel()

    def begin() -> None:
        coroutine = work()
        task = loop.create_task(coroutine)
        _tasks.add(task)
        task.add_done_callback(end)

    def end(task: _Task) -> None:
        _tasks.discard(task)
        ended.set_result(None)

    try:
        loop.call_soon_threadsafe(begin)
    except RuntimeError:
        # The loop has just been closed.
        ended.set_result(None)
    return ended


_turns = PerLoop(asyncio.Lock)


async def turn() -> None:
    """Wait for the caller's own turn of the loop, so many callers don't cause one long stall."""
    async with _turns.get():
        await asyncio.sleep(0)
