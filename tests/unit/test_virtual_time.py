"""The event loop that the tests of the cache stand on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import math
import time
from typing import TYPE_CHECKING, Any

import pytest

from unit.virtual_time import VirtualTimeLoop, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SEEDS = range(200)
DAY = 86_400.0


def the_loop() -> VirtualTimeLoop:
    """Return the running loop under its own type."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


async def fail() -> None:
    """Fail."""
    raise ValueError("boom")


async def interleave(tasks: int = 3, turns: int = 3) -> str:
    """Return which task ran when, as letters."""
    seen: list[str] = []

    async def walk(name: str) -> None:
        for _ in range(turns):
            seen.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(*(walk(chr(ord("a") + number)) for number in range(tasks)))
    return "".join(seen)


# Time


def test_time_jumps() -> None:
    """A thousand days pass in well under a second, and the clock shows them to the digit."""

    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(DAY)
        return the_loop().time()

    began = time.perf_counter()
    assert run(main(), seed=0) == 1000 * DAY
    assert time.perf_counter() - began < 1


def test_clock_starts_where_asked() -> None:
    """The clock starts at zero, or at the number given, and stands still while anything is ready."""

    async def main() -> float:
        for _ in range(100):
            await asyncio.sleep(0)
        return the_loop().time()

    assert run(main(), seed=0) == 0.0
    assert run(main(), seed=0, start=1e6) == 1e6


@pytest.mark.parametrize("seed", range(20))
def test_timers_keep_their_order(seed: int) -> None:
    """Timers run in the order of their times, each at its own time, however they were set; one in the past runs now."""

    async def main() -> list[tuple[float, float]]:
        loop = the_loop()
        seen: list[tuple[float, float]] = []

        def see(when: float) -> None:
            seen.append((when, loop.time()))

        for when in (3.0, -4.0, 1.0, -5.0, 2.0, 0.5, 0.1 + 0.2, 0.3):
            loop.call_at(when, see, when)
        await asyncio.sleep(10)
        return seen

    times = (0.3, 0.1 + 0.2, 0.5, 1.0, 2.0, 3.0)
    assert run(main(), seed=seed) == [(-5.0, 0.0), (-4.0, 0.0), *((when, when) for when in times)]


def test_timers_of_one_instant_come_in_any_order() -> None:
    """Of timers with the same time each order occurs, since asyncio leaves it open."""

    async def main() -> str:
        seen: list[str] = []
        for name in "abc":
            the_loop().call_at(1.0, seen.append, name)
        await asyncio.sleep(2)
        return "".join(seen)

    assert {run(main(), seed=seed) for seed in SEEDS} == {"".join(order) for order in itertools.permutations("abc")}


def test_cancelled_timers() -> None:
    """A cancelled timer never runs, moves no clock, and many of them don't pile up."""

    async def main() -> tuple[float, int, int]:
        loop = the_loop()
        loop.call_later(10, loop.time)  # comes before them
        for _ in range(5000):
            loop.call_later(DAY, pytest.fail, "cancelled, and yet it ran").cancel()
            await asyncio.sleep(0.001)
        return round(loop.time(), 6), len(loop._scheduled), len(loop.pending_timers())

    now, kept, pending = run(main(), seed=1)
    assert (now, pending) == (5.0, 1)
    assert kept < 300


# Schedules


def test_seeds_give_different_schedules() -> None:
    """Other seeds, other interleavings: most of the many that there are."""
    assert len({run(interleave(), seed=seed) for seed in SEEDS}) > 100


def test_without_laps_it_is_the_ordinary_loop() -> None:
    """A schedule in which no step is held back is that of asyncio's own loop."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(0)) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop._laps = (0,) * 16
        assert runner.run(interleave(10, 10)) == asyncio.run(interleave(10, 10))


def test_every_order_of_steps_occurs() -> None:
    """Any order in which four tasks could start comes out for some seed."""
    orders = {run(interleave(4, 1), seed=seed) for seed in range(3000)}
    assert orders == {"".join(order) for order in itertools.permutations("abcd")}


def test_one_task_can_be_left_far_behind() -> None:
    """A task that is ready can wait until another one has taken ten steps."""
    assert any(run(interleave(2, 12), seed=seed).startswith("b" * 10) for seed in SEEDS)


@pytest.mark.parametrize("seed", range(10))
def test_same_seed_same_schedule(seed: int) -> None:
    """A seed gives the same interleaving, steps and names each time, also where asyncio keeps its tasks in a set."""

    async def main() -> list[str]:
        seen: list[str] = []

        async def wait_to_be_cancelled() -> None:
            task = asyncio.current_task()
            assert task
            try:
                await asyncio.sleep(DAY)
            finally:
                seen.append(task.get_name())

        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for _ in range(30):
                    group.create_task(wait_to_be_cancelled())
                await asyncio.sleep(1)
                group.create_task(fail())
        futures = {asyncio.get_running_loop().create_future(): number for number in range(50)}
        return [*seen, *(str(futures[future]) for future in set(futures)), str(the_loop().steps)]

    kept: list[object] = []
    first = run(main(), seed=seed)
    for size in range(5):
        kept += [bytearray(100) for _ in range(size * 97)]  # other addresses in each round
        assert run(main(), seed=seed) == first


def test_callbacks_stay_in_order() -> None:
    """Callbacks run in the order of `call_soon`, also between the steps of tasks, and no step overtakes one."""

    async def main() -> list[int]:
        loop = the_loop()
        seen: list[int] = []
        numbers = itertools.count()

        async def step(told: int) -> None:
            assert len(seen) >= told  # what was queued before this task has run

        async def queue() -> None:
            for _ in range(5):
                loop.call_soon(seen.append, next(numbers))
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(queue())
                loop.call_soon(seen.append, number := next(numbers))
                group.create_task(step(number + 1))
        return seen

    for seed in SEEDS:
        assert run(main(), seed=seed) == list(range(30))


def test_callbacks_of_a_future_stay_in_order() -> None:
    """The done callbacks of a future run in the order in which they were added, before a task that awaited it later."""

    async def main() -> list[int]:
        future = the_loop().create_future()
        seen: list[int] = []

        def add(number: int) -> None:
            future.add_done_callback(lambda _: seen.append(number))

        for number in range(5):
            add(number)
        the_loop().call_later(1, future.set_result, None)
        await future
        return seen.copy()

    for seed in SEEDS:
        assert run(main(), seed=seed) == list(range(5))


@pytest.mark.parametrize("seed", range(20))
def test_cancel_as_a_callback_is_no_step(seed: int) -> None:
    """`call_soon(task.cancel)` is a callback like any other: it keeps its place."""

    async def main() -> None:
        seen: list[str] = []
        task = asyncio.create_task(asyncio.sleep(DAY))
        the_loop().call_soon(task.cancel)
        the_loop().call_soon(lambda: seen.append("cancelled" if task.cancelling() else "not yet"))
        await asyncio.wait([task])
        assert seen == ["cancelled"]

    run(main(), seed=seed)


def test_finds_a_lost_update() -> None:
    """A counter that is read before an await and written after it loses counts for some seeds: the loop has teeth."""

    async def main() -> int:
        count = 0

        async def increase(after: float) -> None:
            nonlocal count
            await asyncio.sleep(after)
            before = count
            await asyncio.sleep(0)
            count = before + 1

        await asyncio.gather(increase(1), increase(1))
        return count

    assert {run(main(), seed=seed) for seed in SEEDS} == {1, 2}


# asyncio's own parts


def test_locks_and_queues() -> None:
    """A lock lets in one at a time, a semaphore two, a queue loses nothing and keeps its order, for each seed."""

    async def main() -> None:
        lock, semaphore, queue = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Queue[int](maxsize=2)
        inside = {"lock": 0, "semaphore": 0}
        got: list[int] = []

        async def enter(guard: asyncio.Lock | asyncio.Semaphore, name: str, most: int) -> None:
            async with guard:
                inside[name] += 1
                assert inside[name] <= most
                await asyncio.sleep(0.1)
                inside[name] -= 1

        async def consume() -> None:
            while True:
                got.append(await queue.get())
                queue.task_done()

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(enter(lock, "lock", 1))
                group.create_task(enter(semaphore, "semaphore", 2))
            consumer = group.create_task(consume())
            for number in range(10):
                await queue.put(number)
            await queue.join()
            consumer.cancel()
        assert got == list(range(10))
        assert the_loop().time() == pytest.approx(0.6)

    for seed in SEEDS:
        run(main(), seed=seed, leave_nothing=True)


def test_timeouts() -> None:
    """`timeout` and `wait_for` end what is late at their time, leave the rest alone, nest, and leave nothing behind."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(DAY)
        assert the_loop().time() == 5.0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(DAY), 2)
        assert the_loop().time() == 7.0
        assert await asyncio.wait_for(asyncio.sleep(1, "in time"), 2) == "in time"
        async with asyncio.timeout(10) as outer:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.Event().wait()
        assert not outer.expired()
        assert the_loop().time() == 9.0

    for seed in SEEDS:
        run(main(), seed=seed, leave_nothing=True)


def test_groups_of_tasks() -> None:
    """`TaskGroup`, `gather`, `wait`, `as_completed` and `shield` keep their promises for each seed."""

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the group is one statement
            async with asyncio.TaskGroup() as group:
                sleeper = group.create_task(asyncio.sleep(DAY))
                group.create_task(fail())
        assert [str(error) for error in caught.value.exceptions] == ["boom"]
        assert sleeper.cancelled()

        assert await asyncio.gather(*(asyncio.sleep(3 - number, number) for number in range(3))) == [0, 1, 2]
        tasks = [asyncio.create_task(asyncio.sleep(number, number)) for number in (1, 2, 3)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert (done, pending) == ({tasks[0]}, set(tasks[1:]))
        assert [await first for first in asyncio.as_completed(tasks[::-1])] == [1, 2, 3]

        kept = asyncio.create_task(asyncio.sleep(5, "kept"))

        async def wait_shielded() -> None:
            await asyncio.shield(kept)

        waiter = asyncio.create_task(wait_shielded())
        await asyncio.sleep(1)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert await kept == "kept"

    for seed in SEEDS:
        run(main(), seed=seed, leave_nothing=True)


def test_result_and_cancel_race() -> None:
    """A result and a cancel in one instant: for some seeds the waiter has its result, for some it is cancelled."""

    async def main() -> str:
        future = the_loop().create_future()

        async def wait() -> str:
            try:
                return str(await future)
            except asyncio.CancelledError:
                return "cancelled"

        async def answer() -> None:
            await asyncio.sleep(1)
            if not future.done():
                future.set_result("result")

        async def cancel() -> None:
            await asyncio.sleep(1)
            waiter.cancel()

        waiter = asyncio.create_task(wait())
        await asyncio.gather(answer(), cancel())
        return await waiter

    assert {run(main(), seed=seed) for seed in SEEDS} == {"result", "cancelled"}


def test_async_generators_are_closed() -> None:
    """An async generator that nobody finished is closed at the end of the run."""
    closed: list[bool] = []

    async def count() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1)
            closed.append(True)

    async def main() -> AsyncIterator[int]:
        numbers = count()
        assert await anext(numbers) == 1
        return numbers

    assert run(main(), seed=0) is not None
    assert closed == [True]


def test_context_and_names() -> None:
    """Tasks have the names they were given, else numbers from 1, and a task factory is respected."""

    async def main() -> list[str]:
        made: list[str] = []

        def factory(loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:  # noqa: ANN401 - asyncio's
            made.append("by the factory")
            return asyncio.Task(coro, loop=loop, **more)

        tasks = [asyncio.create_task(asyncio.sleep(0), name="mine"), asyncio.create_task(asyncio.sleep(0))]
        the_loop().set_task_factory(factory)
        tasks.append(asyncio.create_task(asyncio.sleep(0)))
        assert the_loop().pending_tasks()[1:] == tasks
        await asyncio.gather(*tasks)
        return [task.get_name() for task in tasks] + made

    for _ in range(2):
        assert run(main(), seed=0) == ["mine", "Task-3", "Task-4", "by the factory"]


# What is reported


@pytest.mark.parametrize(
    "never", [lambda: asyncio.Event().wait(), lambda: asyncio.sleep(math.inf)], ids=["event", "sleep"]
)
def test_deadlock(never: Callable[[], object]) -> None:
    """Where nothing can ever happen again the run fails at once, and says which task waits where and in which seed."""

    async def stuck() -> None:
        await never()  # type: ignore[misc]

    async def main() -> None:
        await asyncio.create_task(stuck(), name="the stuck one")

    with pytest.raises(AssertionError, match="nothing left to do: deadlock") as caught:
        run(main(), seed=17, start=3.0)
    assert "the stuck one (test_deadlock.<locals>.stuck) at " in str(caught.value)
    assert __file__ in str(caught.value)
    assert caught.value.__notes__[0].startswith("seed 17, ")
    assert caught.value.__notes__[0].endswith(" 3.0 s")


@pytest.mark.parametrize("pause", [0, 1])
def test_endless_loop(pause: float) -> None:
    """A run that would go on for ever, with or without the clock, fails after `max_steps`."""

    async def main() -> None:
        while True:  # noqa: ASYNC110 - endless it shall be
            await asyncio.sleep(pause)

    with pytest.raises(AssertionError, match="no end after 500 steps"):
        run(main(), seed=0, max_steps=500)


def test_endless_callbacks() -> None:
    """A callback that queues itself for ever is found as well, and a long list of tasks is cut short."""

    async def main() -> None:
        def again() -> None:
            the_loop().call_soon(again)

        again()
        await asyncio.gather(*(asyncio.sleep(1) for _ in range(20)))

    with pytest.raises(AssertionError, match="and 11 tasks more"):
        run(main(), seed=0, max_steps=500)


def test_a_task_that_cannot_be_cancelled() -> None:
    """A task that swallows its cancellation fails the run; it doesn't hang it."""

    async def stubborn() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(stubborn(), name="stubborn")
        await asyncio.sleep(1)
        return task

    with pytest.raises(AssertionError, match=r"not all tasks could be cancelled: .*deadlock") as caught:
        run(main(), seed=0)
    assert "stubborn" in str(caught.value)
    assert "left behind" not in str(caught.value)
    caught.value.__cause__ = None
    del caught
    gc.collect()  # and no message of asyncio's follows


@pytest.mark.parametrize("hold", [True, False], ids=["still held", "dropped"])
@pytest.mark.parametrize("kind", ["task", "future"])
def test_unretrieved_exception(kind: str, hold: bool) -> None:  # noqa: FBT001
    """An exception that nobody retrieved fails the run, whether its task or future still exists or not."""
    held: list[object] = []

    async def main() -> None:
        if kind == "task":
            future: asyncio.Future[None] = asyncio.create_task(fail())
        else:
            future = the_loop().create_future()
            future.set_exception(ValueError("boom"))
        if hold:
            held.append(future)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match=r"never retrieved[^\n]*ValueError\('boom'\)") as caught:
        run(main(), seed=0)
    assert isinstance(caught.value.__cause__, ValueError)


def test_retrieved_exception() -> None:
    """An exception that somebody retrieved is nobody's fault."""

    async def main() -> None:
        tasks = [asyncio.create_task(fail()) for _ in range(3)]
        assert [str(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == ["boom"] * 3

    run(main(), seed=0, leave_nothing=True)


def test_failing_callback() -> None:
    """A callback that raises fails the run, though `main` ends well."""

    async def main() -> None:
        the_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match=r"seed 4, .*\n.*ZeroDivisionError") as caught:
        run(main(), seed=4)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_failure_while_cancelled() -> None:
    """A task that fails when it is cancelled at the end of the run fails the run."""

    async def clumsy() -> None:
        try:
            await asyncio.sleep(DAY)
        finally:
            await fail()

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(clumsy())
        await asyncio.sleep(1)
        return task

    with pytest.raises(AssertionError, match="boom"):
        run(main(), seed=0)


def test_failure_of_main_comes_first() -> None:
    """What `main` raises is raised as it is, with the seed, and with the other faults, in a note."""

    async def main() -> None:
        the_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        run(main(), seed=9)
    assert "seed 9, " in caught.value.__notes__[0]
    assert "ZeroDivisionError" in caught.value.__notes__[0]


def test_leave_nothing() -> None:
    """Where asked, a task or a timer that is pending at the end fails the run; otherwise it is cancelled."""
    ended: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.sleep(DAY)
        finally:
            ended.append("task")

    async def leave_task() -> asyncio.Task[None]:
        task = asyncio.create_task(linger(), name="lingering")
        await asyncio.sleep(1)
        return task

    async def leave_timer() -> None:
        the_loop().call_later(DAY, pytest.fail, "the run is over")

    run(leave_task(), seed=0)
    run(leave_timer(), seed=0)
    assert ended == ["task"]
    with pytest.raises(AssertionError, match="left behind: lingering"):
        run(leave_task(), seed=0, leave_nothing=True)
    with pytest.raises(AssertionError, match="left behind: <TimerHandle"):
        run(leave_timer(), seed=0, leave_nothing=True)


def test_a_task_that_nobody_holds_vanishes() -> None:
    """The loop holds tasks weakly, as asyncio does, so that code which forgets to hold its own is found out."""

    async def main() -> None:
        async def wait_for_nobody() -> None:
            await the_loop().create_future()

        asyncio.create_task(wait_for_nobody())  # noqa: RUF006 - that is the mistake
        await asyncio.sleep(1)
        gc.collect()

    with pytest.raises(AssertionError, match="Task was destroyed but it is pending"):
        run(main(), seed=0)


def test_no_threads() -> None:
    """Threads are refused with a sentence, in both directions; `call_soon_threadsafe` works in the loop's own."""
    calls: list[int] = []

    async def main() -> None:
        with pytest.raises(RuntimeError, match="this loop's time is virtual"):
            await asyncio.to_thread(time.sleep, 1)
        the_loop().call_soon_threadsafe(calls.append, 1)
        the_loop()._thread_id = -1
        with pytest.raises(RuntimeError, match="Another thread can't call in"):
            the_loop().call_soon_threadsafe(calls.append, 2)
        await asyncio.sleep(1)

    run(main(), seed=0)
    assert calls == [1]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_interruption(interruption: type[BaseException]) -> None:
    """Ctrl-C gets through, and the loop is closed behind it."""
    loops: list[VirtualTimeLoop] = []

    async def main() -> None:
        loops.append(the_loop())
        await asyncio.sleep(1)
        raise interruption

    with pytest.raises(interruption):
        run(main(), seed=0)
    assert loops[0].is_closed()


def test_steps_are_counted() -> None:
    """`steps` counts the callbacks that ran, for any seed: a step that was held back counts once."""

    async def main() -> int:
        for _ in range(10):
            await asyncio.sleep(0)
        return the_loop().steps

    assert {run(main(), seed=seed) for seed in SEEDS} == {11}


def test_speed() -> None:
    """A thousand schedules with over 100,000 steps take a few seconds at most."""

    async def main() -> int:
        await interleave(10, 10)
        return the_loop().steps

    began = time.perf_counter()
    assert sum(run(main(), seed=seed) for seed in range(1000)) > 100_000
    assert time.perf_counter() - began < 10
