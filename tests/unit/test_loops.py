"""State per running loop, and waiting for a task that others wait for: what dies, what survives, who is cancelled."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import weakref
from typing import NoReturn

import pytest

from aiocredentials import PoolClosedError, _loops
from aiocredentials._loops import PerLoop, finish, join, running_loop


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
    states.forked()  # what the handler calls in a child
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
            RuntimeError, match=r"No asyncio event loop is running here: await this inside of asyncio\.run"
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


async def test_a_cancelled_task_is_a_closed_pool() -> None:
    """Who joined a task that was cancelled wasn't cancelled, and is told why there is no outcome."""
    task = asyncio.create_task(asyncio.Event().wait())
    joined = asyncio.create_task(join(task))
    await turns(2)
    task.cancel()
    with pytest.raises(PoolClosedError, match="closed during the call"):
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
