"""An event loop for tests: it never sleeps, and a seed decides which of the legal schedules it runs.

What is legal? asyncio promises that callbacks run in the order of `call_soon`, and its own parts lean on that, so a
plain shuffle of the ready queue would show what no program can. It promises nothing about how soon a task goes on after
what it awaits is done. So callbacks stay in order, and only the step of a task is sometimes held back: it goes to the
end of the queue instead, once or a few times (its laps). That is just what `await asyncio.sleep(0)` does. Hence each
schedule here is the one that the ordinary loop shows for the same program with a few more `sleep(0)`, at the start of
coroutines and behind awaits: no step overtakes a callback that was queued before it, and whatever breaks is a bug.
Steps of different tasks can come in any order.

Timers run in the order of their times. For those of one instant asyncio leaves the order open: it is shuffled.

Everything runs in no time: the clock moves only when nothing is ready, and then straight to the next timer.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import threading
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    class _Timer(asyncio.TimerHandle):
        _scheduled: bool  # whether it is on the loop's heap; for the loop's count of those cancelled there


T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# How many laps a step is held back: a seed picks a row, each step a number out of it. The first row delays one step in
# sixteen, but that one for long, and so looks for the one straggler among steps in order; the last mixes all.
_TEMPERS = (
    (0,) * 15 + (12,),
    (0,) * 8 + (1,) * 8,
    (0,) * 8 + (1, 1, 1, 2, 2, 4, 8, 16),
)
_TOO_MANY_CANCELLED = 100  # timers; from here on they are swept out when they are the greater part
_SHOWN = 10  # tasks that a message lists


class _Future(asyncio.Future[Any]):
    """A future whose hash is a count, not an address: a set of them has the same order in each run of a seed."""

    __slots__ = ("_number",)

    def __init__(self, *, loop: VirtualTimeLoop, number: int) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[Any]):
    """A task, likewise. TaskGroup, for one, cancels its tasks in the order of a set."""

    __slots__ = ("_number",)

    def __init__(self, coro: Coroutine[Any, Any, Any], *, number: int, **settings: Any) -> None:  # noqa: ANN401 - for asyncio
        self._number = number
        super().__init__(coro, **settings)

    def __hash__(self) -> int:
        return self._number


class _Step(asyncio.Handle):
    """The next step of a task, and how often it is still held back."""

    __slots__ = ("laps",)

    laps: int


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An event loop without a selector. `time()` is virtual seconds, `steps` the count of callbacks run so far.

    Where nothing is ready and no timer is left, or after `max_steps`, it raises `AssertionError` out of `run_forever`,
    with what each task waits for. There are no threads and no sockets.
    """

    # Set up by BaseEventLoop, and nowhere declared.
    _check_closed: Callable[[], None]
    _ready: deque[asyncio.Handle]
    _scheduled: list[_Timer]
    _stopping: bool
    _thread_id: int | None
    _timer_cancelled_count: int

    def __init__(self, seed: int, *, start: float = 0.0, max_steps: int = 100_000) -> None:
        super().__init__()
        self.set_debug(False)  # whatever PYTHONASYNCIODEBUG says: a stack for each handle makes it twenty times slower
        self.seed = seed
        self.steps = 0
        self.max_steps = max_steps
        self._now = start
        self._random = Random(seed)  # noqa: S311 - it shuffles, it guards nothing
        self._laps = self._random.choice(_TEMPERS)
        # Held weakly, as asyncio does: a task that nobody else holds shall vanish here too.
        self._tasks: WeakValueDictionary[int, asyncio.Task[Any]] = WeakValueDictionary()
        self._futures: WeakValueDictionary[int, asyncio.Future[Any]] = WeakValueDictionary()
        self._task_numbers = itertools.count(1)
        self._future_numbers = itertools.count(1)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def pending_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that aren't done, oldest first; inside of a task, that one too."""
        return [task for task in self._tasks.values() if not task.done()]

    def pending_timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that are neither cancelled nor run, next one first."""
        return sorted(timer for timer in self._scheduled if not timer.cancelled())

    def unretrieved(self) -> list[asyncio.Future[Any]]:
        """Return those tasks and futures that still exist and failed without anyone having asked for the exception."""
        known: list[asyncio.Future[Any]] = [*self._tasks.values(), *self._futures.values()]
        # Asked of the mark behind asyncio's own message, since `exception()` would take it away.
        return [future for future in known if getattr(future, "_log_traceback", False)]

    def create_future(self) -> asyncio.Future[Any]:
        """Return a new future of this loop."""
        number = next(self._future_numbers)
        future = self._futures[number] = _Future(loop=self, number=number)
        return future

    def create_task(  # type: ignore[override] # what a newer Python adds goes on to its Task
        self,
        coro: Coroutine[Any, Any, T],
        **named: Any,  # noqa: ANN401
    ) -> asyncio.Task[T]:
        """Return a new task. Without a name it is counted from 1, whatever ran before."""
        number = next(self._task_numbers)
        if self.get_task_factory():
            # The name is set afterwards, because since Python 3.14 a factory gets all arguments.
            task = super().create_task(coro, **named)
        else:
            self._check_closed()
            task = _Task(coro, number=number, loop=self, **named)
        if named.get("name") is None:
            task.set_name(f"Task-{number}")
        self._tasks[number] = task
        return task

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback. This is where asyncio's tasks queue their steps too, so here the laps are drawn."""
        self._check_closed()
        if _is_step(callback):
            step = _Step(callback, args, self, context)
            step.laps = self._laps[self._random.getrandbits(4)]
            self._ready.append(step)
            return step
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Queue a callback, as `call_soon`. Raises `RuntimeError` in another thread than the loop's."""
        if self._thread_id not in {None, threading.get_ident()}:
            raise RuntimeError("Another thread can't call in: it lives by real time, and this loop's time is virtual.")
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: object, func: object, *args: object) -> NoReturn:  # noqa: ARG002 - asyncio's
        """Refuse: raises `RuntimeError`."""
        raise RuntimeError(
            "No threads here (to_thread, run_in_executor, getaddrinfo): they live by real time, and this loop's time "
            "is virtual. Put a coroutine that sleeps in the place of the call."
        )

    def _run_once(self) -> None:
        """Run what is ready now. It stands in for BaseEventLoop's, which asks a selector for sockets and for sleep."""
        self._sweep_timers()
        ready, timers = self._ready, self._scheduled
        if not ready and not self._stopping:
            if not timers or timers[0].when() == math.inf:
                raise AssertionError(f"nothing left to do: deadlock{self._where()}")
            self._now = max(self._now, timers[0].when())
        if timers and timers[0].when() <= self._now:
            self._queue_due_timers()
        for _ in range(len(ready)):
            if self.steps >= self.max_steps:  # asked before the pop, or a task would lose its step and couldn't end
                raise AssertionError(f"no end after {self.steps} steps; next is {ready[0]}{self._where()}")
            handle = ready.popleft()
            if type(handle) is _Step and handle.laps:
                handle.laps -= 1
                ready.append(handle)
            elif not handle._cancelled:
                self.steps += 1
                handle._run()

    def _queue_due_timers(self) -> None:
        due: list[_Timer] = []
        while self._scheduled and self._scheduled[0].when() <= self._now:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False
            due.append(timer)
        if len(due) > 1:
            due.sort(key=lambda timer: (timer.when(), self._random.random()))
        self._ready.extend(due)

    def _sweep_timers(self) -> None:
        """Take out cancelled timers: all when they are many, else those that come next."""
        timers = self._scheduled
        if self._timer_cancelled_count > max(_TOO_MANY_CANCELLED, len(timers) // 2):
            for timer in timers:
                timer._scheduled = not timer._cancelled
            timers[:] = [timer for timer in timers if timer._scheduled]
            heapq.heapify(timers)
            self._timer_cancelled_count = 0
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
            self._timer_cancelled_count -= 1

    def _where(self) -> str:
        tasks = self.pending_tasks()
        lines = ["", *map(_describe, tasks[:_SHOWN])]
        if len(tasks) > _SHOWN:
            lines.append(f"and {len(tasks) - _SHOWN} tasks more")
        return "\n  ".join(lines)


def run(
    main: Coroutine[Any, Any, T],
    *,
    seed: int,
    start: float = 0.0,
    max_steps: int = 100_000,
    leave_nothing: bool = False,
) -> T:
    """Run a coroutine in a new `VirtualTimeLoop` and return its result. What is left at its end is cancelled.

    Whatever fails carries a note with the seed, the time and the steps.

    Args:
        main: The coroutine.
        seed: Which schedule. The same seed runs the same one.
        start: What the loop's clock shows at first, in seconds.
        max_steps: How many callbacks may run; and as many again while what is left is cancelled.
        leave_nothing: Whether a task or a timer that is still pending when `main` ends is a failure.

    Raises:
        AssertionError: On a deadlock, or too many steps. Or `main` ended well, but the loop's exception handler was
            told of something, an exception was never retrieved, a task couldn't be cancelled, or something was left.
    """
    loop = VirtualTimeLoop(seed, start=start, max_steps=max_steps)
    faults: list[tuple[str, BaseException | None]] = []

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        faults.append((context["message"], context.get("exception")))

    def note() -> str:
        return f"seed {seed}, {steps} steps, {now} s" + "".join(f"\n  {text}: {error!r}" for text, error in faults)

    loop.set_exception_handler(report)
    steps, now = 0, start
    try:
        try:
            result = loop.run_until_complete(main)
            if leave_nothing:
                faults += [(f"left behind: {_describe(task)}", None) for task in loop.pending_tasks()]
                faults += [(f"left behind: {timer}", None) for timer in loop.pending_timers()]
        finally:
            steps, now = loop.steps, loop.time()
            _finish(loop, max_steps, faults)
    except BaseException as error:
        error.add_note(note())
        raise
    if faults:
        raise AssertionError(f"the run left faults; {note()}") from next((e for _, e in faults if e), None)
    return result


def _finish(loop: VirtualTimeLoop, max_steps: int, faults: list[tuple[str, BaseException | None]]) -> None:
    """Cancel all tasks, close all async generators, collect what nobody retrieved, close the loop."""
    loop.max_steps = loop.steps + max_steps
    try:
        while tasks := loop.pending_tasks():
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except AssertionError as error:
        faults.append(("not all tasks could be cancelled", error))
    finally:
        faults += [(f"exception was never retrieved: {_describe(one)}", one.exception()) for one in loop.unretrieved()]
        loop.close()


def _is_step(callback: object) -> bool:
    """Tell a task's own step or wakeup from any other callback, `task.cancel` for one."""
    if not isinstance(getattr(callback, "__self__", None), asyncio.Task):
        return False
    # The first step of a task in C is an object without a name.
    return getattr(callback, "__name__", "__step") in {"__step", "__wakeup", "task_wakeup"}


def _describe(future: asyncio.Future[Any]) -> str:
    if not isinstance(future, asyncio.Task):
        return repr(future)
    name = f"{future.get_name()} ({getattr(future.get_coro(), '__qualname__', future.get_coro())})"
    stack = future.get_stack(limit=1) if not future.done() else []
    return f"{name} at {stack[-1].f_code.co_filename}:{stack[-1].f_lineno}" if stack else name
