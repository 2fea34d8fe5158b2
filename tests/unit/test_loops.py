"""State per running loop, and waiting for a task that others wait for: what dies, what survives, who is cancelled."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import warnings
import weakref
from typing import NoReturn

import pytest

from aiocredentials import EndpointUnreachableError, _loops
from aiocredentials._loops import LoadingLock, PerLoop, close_in_each_loop, finish, is_cancelled, join, running_loop


class State:
    """Something that can be told apart, and be watched as it goes."""


async def turns(count: int) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_state_a_loop() -> None:
    """All who ask in one loop get the same state, another loop gets another, and each is listed with its loop."""
    states = PerLoop(State)
    mine = states.get()
    assert states.get() is mine
    there: list[State] = []

    async def elsewhere() -> None:
        there.extend([states.get(), states.get()])
        assert dict(states.living())[asyncio.get_running_loop()] is there[0]

    await asyncio.to_thread(asyncio.run, elsewhere())
    assert there[0] is there[1] is not mine
    assert [*states.living()] == [(asyncio.get_running_loop(), mine)]


def test_a_dead_loop_is_let_go() -> None:
    """The state of a loop that was closed isn't listed, and goes as soon as another loop asks for one."""
    states = PerLoop(State)

    async def watched() -> weakref.ref[State]:
        return weakref.ref(states.get())

    first = asyncio.run(watched())
    assert first() is not None
    assert [*states.living()] == []
    second = asyncio.run(watched())
    gc.collect()
    assert first() is None
    assert second() is not None


async def test_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process gets a state of its own; its parent's is kept, since collecting it would close live sockets."""
    monkeypatch.setattr(_loops, "_inherited", [])
    states = PerLoop(State)
    parents = weakref.ref(states.get())
    monkeypatch.setattr(_loops, "_registry", {states})
    _loops._start_anew()  # what the handler calls in a child
    assert [*states.living()] == []
    childs = states.get()
    gc.collect()
    assert parents() is not None
    assert parents() is not childs
    assert [state for _, state in states.living()] == [childs]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_real_fork_starts_anew() -> None:
    """A child that was forked has no state of its parent's loops, and the lock is free in both."""
    states = PerLoop(State)

    async def fork() -> int:
        states.get()
        with warnings.catch_warnings():
            # Python 3.12 and newer warn of a fork beside threads. This child only looks, and exits.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            os._exit(len(states.living()) + 2 * (not _loops.bookkeeping.acquire(timeout=1)))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])  # noqa: ASYNC222 (this loop has nothing else to do)

    assert asyncio.run(fork()) == 0
    assert _loops.bookkeeping.acquire(timeout=1)
    _loops.bookkeeping.release()


async def test_threads_with_loops_of_their_own() -> None:
    """Loops that come and go in several threads don't disturb each other."""
    states = PerLoop(State)

    async def ask() -> None:
        assert states.get() is states.get()
        assert states.living()

    def work() -> None:
        for _ in range(20):
            asyncio.run(ask())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        await asyncio.gather(*(asyncio.to_thread(work) for _ in range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert states.living() == []


def test_what_a_dead_loop_leaves_is_abandoned() -> None:
    """The state of a loop that was closed without it is handed to whoever can close it without that loop."""
    abandoned: list[State] = []
    states = PerLoop(State, abandoned.append)

    async def ask() -> State:
        return states.get()

    first = asyncio.run(ask())
    assert abandoned == []
    asyncio.run(ask())
    assert abandoned == [first]
    states.abandon_dead()
    assert len(abandoned) == 2


def test_without_a_loop() -> None:
    """Outside of a loop the error says what to do."""
    for ask in (running_loop, PerLoop(State).get):
        with pytest.raises(
            RuntimeError, match=r"No asyncio event loop is running here: await this in a coroutine that asyncio\.run"
        ):
            ask()


async def test_join_shares_the_outcome() -> None:
    """Those who join a task get what it returns or raises."""

    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    async def fail() -> NoReturn:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    task = asyncio.create_task(seven())
    assert await asyncio.gather(join(task), join(task)) == [7, 7]
    broken = asyncio.create_task(fail())
    with pytest.raises(ZeroDivisionError):
        await join(broken)


async def test_who_is_cancelled_leaves_the_task() -> None:
    """One who joined is cancelled: the task and the others go on."""
    gate = asyncio.Event()
    task = asyncio.create_task(gate.wait())
    one, other = asyncio.create_task(join(task)), asyncio.create_task(join(task))
    await turns(2)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    gate.set()
    assert await other is True


async def test_a_task_that_was_cancelled_from_inside() -> None:
    """A caller that joined a task which was cancelled gets a transient error: nobody cancelled the caller."""
    task = asyncio.create_task(asyncio.Event().wait())
    joined = asyncio.create_task(join(task))
    await turns(2)
    task.cancel()
    with pytest.raises(EndpointUnreachableError, match="cancelled from inside the client"):
        await joined


async def test_both_are_cancelled() -> None:
    """Who is cancelled in the same turn of the loop as the task stays cancelled."""
    task = asyncio.create_task(asyncio.Event().wait())
    joined = asyncio.create_task(join(task))
    await turns(2)
    task.cancel()
    joined.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joined


async def test_finish_waits_for_all() -> None:
    """A cancellation is passed on when everything is done, and not before; however often it comes."""
    await finish([])
    gates = [asyncio.Event(), asyncio.Event()]

    async def until(gate: asyncio.Event) -> None:
        await gate.wait()

    closing = [asyncio.create_task(until(gate)) for gate in gates]
    task = asyncio.create_task(finish(closing))
    await turns(2)
    for gate in gates:
        task.cancel()
        await turns(2)
        assert not task.done()
        gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(future.done() for future in closing)


class Closing:
    """A state that closes when it may, and says so."""

    def __init__(self) -> None:
        self.may_close = asyncio.Event()
        self.begun = asyncio.Event()
        self.is_closed = False

    async def aclose(self) -> None:
        """Wait until it may close."""
        self.begun.set()
        await self.may_close.wait()
        self.is_closed = True


class TestCloseInEachLoop:
    """States of several loops are closed, each in its own, and none is waited for too long."""

    async def test_here(self) -> None:
        """What closes in time is closed when the call returns, and nothing is late."""
        state = Closing()
        state.may_close.set()
        assert await close_in_each_loop([(asyncio.get_running_loop(), state)], Closing.aclose, 20) == 0
        assert state.is_closed

    async def test_nothing(self) -> None:
        """Without a state there is nothing to wait for."""
        assert await close_in_each_loop(list[tuple[asyncio.AbstractEventLoop, Closing]](), Closing.aclose, 20) == 0

    async def test_too_late(self) -> None:
        """What doesn't close in time is counted, and goes on closing."""
        state = Closing()
        assert await close_in_each_loop([(asyncio.get_running_loop(), state)], Closing.aclose, 0.01) == 1
        state.may_close.set()
        await turns(3)
        assert state.is_closed

    async def test_cancelled(self) -> None:
        """A caller that is cancelled meanwhile, however often, is cancelled at the end, and not before."""
        state = Closing()
        states = [(asyncio.get_running_loop(), state)]
        task = asyncio.create_task(close_in_each_loop(states, Closing.aclose, 20))
        await state.begun.wait()
        for _ in range(2):
            task.cancel()
            await turns(3)
            assert not task.done()
        state.may_close.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert state.is_closed

    async def test_in_a_thread(self) -> None:
        """A loop that runs in another thread closes its state in that thread."""
        ready, threads = threading.Event(), list[int]()
        states: list[tuple[asyncio.AbstractEventLoop, Closing]] = []
        ended = threading.Event()

        async def elsewhere() -> None:
            states.append((asyncio.get_running_loop(), Closing()))
            ready.set()
            await asyncio.to_thread(ended.wait)

        async def close(state: Closing) -> None:
            threads.append(threading.get_ident())
            state.is_closed = True

        other = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
        await asyncio.to_thread(ready.wait)
        assert await close_in_each_loop(states, close, 20) == 0
        assert states[0][1].is_closed
        assert threads[0] != threading.get_ident()
        ended.set()
        await other

    async def test_a_loop_that_never_runs_again(self) -> None:
        """A loop that is stopped is late; when it is closed then, nothing complains of work that never began."""
        loop = asyncio.new_event_loop()
        assert await close_in_each_loop([(loop, Closing())], Closing.aclose, 0.01) == 1
        loop.close()
        gc.collect()

    async def test_a_loop_that_is_closed(self) -> None:
        """A loop that was closed just then has nothing left to close, nor has one that is closed meanwhile."""
        closed, stopped = asyncio.new_event_loop(), asyncio.new_event_loop()
        closed.close()
        asyncio.get_running_loop().call_later(0.01, stopped.close)
        states = [(closed, Closing()), (stopped, Closing())]
        assert await close_in_each_loop(states, Closing.aclose, 20) == 0


class TestLoadingLock:
    """Loading and forks exclude each other; a child never inherits a lock that nobody releases."""

    @pytest.fixture(autouse=True)
    def _brief(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_loops, "FORK_SECONDS", 0.05)

    @staticmethod
    def is_free(lock: LoadingLock) -> bool:
        """Whether another thread could load."""
        acquired: list[bool] = []

        def look() -> None:
            acquired.append(lock._lock.acquire(blocking=False))
            if acquired[0]:
                lock._lock.release()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return acquired[0]

    def test_a_fork_waits(self) -> None:
        """A fork waits until the thread that loads is done."""
        lock = LoadingLock()
        order: list[str] = []
        begun = threading.Event()

        def load() -> None:
            with lock:
                begun.set()
                order.append("loaded")

        thread = threading.Thread(target=load)
        thread.start()
        begun.wait()
        lock.before_fork()
        order.append("forked")
        lock.after_in_parent()
        thread.join()
        assert order == ["loaded", "forked"]
        assert self.is_free(lock)

    @pytest.mark.parametrize("side", ["after_in_parent", "after_in_child"])
    def test_it_is_free_afterwards(self, side: str) -> None:
        """After a fork it is free on both sides."""
        lock = LoadingLock()
        lock.before_fork()
        assert not self.is_free(lock)
        getattr(lock, side)()
        assert self.is_free(lock)

    def test_not_for_ever(self) -> None:
        """A fork that has waited too long goes on: the parent's thread keeps the lock, the child has a free one."""
        lock = LoadingLock()
        release = threading.Event()
        held = threading.Event()

        def load() -> None:
            with lock:
                held.set()
                release.wait()

        thread = threading.Thread(target=load)
        thread.start()
        held.wait()
        lock.before_fork()
        lock.after_in_parent()
        assert not self.is_free(lock)
        parents = lock._lock
        lock.before_fork()
        lock.after_in_child()
        assert self.is_free(lock)
        lock._lock = parents  # this process is both
        release.set()
        thread.join()

    def test_the_loading_thread_forks(self) -> None:
        """A thread that forks while it loads goes on loading, in the parent and in the child."""
        lock = LoadingLock()
        for side in (lock.after_in_parent, lock.after_in_child):
            with lock:
                lock.before_fork()
                side()
                assert not self.is_free(lock)
            assert self.is_free(lock)


async def test_who_is_cancelled() -> None:
    """A task knows whether somebody has cancelled it; a CancelledError from elsewhere doesn't count."""
    assert not is_cancelled()
    seen: list[bool] = []

    async def look() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(is_cancelled())

    task = asyncio.create_task(look())
    await turns(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [True]
