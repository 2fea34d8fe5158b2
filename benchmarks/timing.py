"""The tools that all measurements share: the stub, the clocks, the heartbeat, the memory."""

from __future__ import annotations

import asyncio
import gc
import http.client
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# By key: a side, or a side and a quantity. In seconds, bytes or calls.
Values = dict[str, list[float]]

# Makes a number of calls.
Loop = Callable[[int], Awaitable[None]]

# Reads a secret by its name; some peers block, and return the value itself.
Read = Callable[[str], Any]

# How many hits are timed at once: the two clock reads are then a few thousandths of the time.
BLOCK = 200


class SkipError(Exception):
    """The measurement needs something that isn't there."""


@dataclass(frozen=True)
class Bench:
    """Where the stub listens, and whether a rough answer is enough."""

    endpoint: str
    quick: bool

    def few(self, full: int, quick: int) -> int:
        """Return the first count, or the second if a rough answer is enough."""
        return quick if self.quick else full

    def counts(self) -> dict[str, int]:
        """Return the number of calls per operation that the stub has answered."""
        return self._request("GET", "/stats")

    def calls(self) -> int:
        """Return the number of all calls that the stub has answered."""
        return sum(self.counts().values())

    def reset_counts(self) -> None:
        """Set the counts of the stub to 0."""
        self._request("POST", "/reset")

    def set_latency(self, milliseconds: int) -> None:
        """Let the stub wait before each answer from now on."""
        self._request("POST", f"/latency?ms={milliseconds}")

    def release(self) -> None:
        """Let the stub send the answers that it still holds, and wait before none from now on."""
        self.set_latency(0)
        self._request("POST", "/release")

    def _request(self, method: str, path: str) -> dict[str, int]:
        """Send a request to the stub and block until the answer: never in timed code."""
        address = urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(address.netloc, timeout=10)
        try:
            connection.request(method, path)
            body = connection.getresponse().read()
        finally:
            connection.close()

        answer: dict[str, int] = json.loads(body)
        return answer


async def settled(found: Any) -> Any:
    """Return what a read returned, awaited if the peer is asynchronous."""
    if inspect.isawaitable(found):
        return await found
    return found


async def read_in_thread(read: Read, name: str, *, blocks: bool) -> Any:
    """Read as an asyncio service does: a read that blocks goes to a thread."""
    if blocks:
        return await asyncio.to_thread(read, name)
    return await read(name)


async def is_blocking(read: Read, name: str) -> bool:
    """Read a secret once, and return whether the peer blocks meanwhile."""
    found = read(name)
    blocks = not inspect.isawaitable(found)
    await settled(found)
    return blocks


def loop_over(read: Read, name: str, *, blocks: bool) -> Loop:
    """Return a loop of reads. A peer that blocks is called without any `await`, in its favour."""

    async def awaiting(calls: int) -> None:
        for _ in range(calls):
            await read(name)

    async def blocking(calls: int) -> None:
        for _ in range(calls):
            read(name)

    return blocking if blocks else awaiting


async def alternate(
    sides: dict[str, Loop],
    rounds: int,
    calls: int,
    *,
    collect: bool = False,
) -> Values:
    """Time blocks of calls in turn: A B, B A, A B ...; return each side's least seconds per call.

    It counts the CPU time of this process, so waiting and other programs don't count, and takes the
    minimum, because everything that disturbs a block makes it longer. The garbage collector runs as
    it does in a service, but all objects from before the start are frozen.

    Args:
        sides: The loops to time.
        rounds: How many blocks each side gets.
        calls: How many calls a block has.
        collect: Collect the garbage before each block, untimed.
    """
    for loop in sides.values():
        await loop(calls)
    gc.collect()
    gc.freeze()

    taken: Values = {side: [] for side in sides}
    order = list(sides)
    for _ in range(rounds):
        for side in order:
            if collect:
                gc.collect()
            start = time.process_time()
            await sides[side](calls)
            seconds = time.process_time() - start
            taken[side].append(seconds / calls)
        order.reverse()

    gc.unfreeze()
    return {side: [min(seconds)] for side, seconds in taken.items()}


def least_seconds(work: Callable[[], object], rounds: int, calls: int = 1) -> float:
    """Return the least CPU time of a call that doesn't await."""
    taken: list[float] = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            work()
        seconds = time.process_time() - start
        taken.append(seconds / calls)
    return min(taken)


class Heartbeat:
    """A timer of 0.5 ms that remembers its longest delay: the worst stall of the event loop.

    It is a timer and not a spinner for two reasons. Mostly, a service's loop is idle; and a spinner
    would compete with a thread that loads modules for the interpreter lock. The selector rounds up
    to whole milliseconds, so an idle loop shows up to 1 ms.
    """

    period = 0.0005

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.worst = 0.0
        self.last = time.perf_counter()
        self.timer = self.loop.call_later(self.period, self.beat)

    def beat(self) -> None:
        """Note how late this beat is, and schedule the next one."""
        now = time.perf_counter()
        late = now - self.last - self.period
        self.worst = max(self.worst, late)
        self.last = now
        self.timer = self.loop.call_later(self.period, self.beat)

    async def during(self, work: Awaitable[object]) -> float:
        """Await the work; return the worst stall, up to the first beat after its end."""
        await asyncio.sleep(0.005)
        self.worst = 0.0
        await work
        await asyncio.sleep(0.005)
        return self.worst

    def stop(self) -> None:
        """Beat no more."""
        self.timer.cancel()


def resident_bytes() -> int:
    """Return the memory that this process holds now, which is not its peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        raise SkipError("resident memory is read from /proc, which this system lacks")

    gc.collect()
    lines = status.read_text().splitlines()
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(kibibytes) * 1024
