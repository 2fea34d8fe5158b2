"""The tools that all rows share: the stub, the clock, the heartbeat."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

# By side; in seconds, bytes or calls.
Values = dict[str, list[float]]

# Makes a number of calls.
Loop = Callable[[int], Awaitable[None]]

# How many hits are timed at once: the two clock reads are then a few thousandths of the time.
BLOCK = 200


class SkipError(Exception):
    """The row needs something that isn't there."""


@dataclass(frozen=True)
class Bench:
    """Where the stub listens, and whether a rough answer is enough."""

    port: int
    quick: bool

    @property
    def endpoint(self) -> str:
        """The stub, as an endpoint URL."""
        return f"http://127.0.0.1:{self.port}"

    def few(self, full: int, quick: int) -> int:
        """Return the first count, or the second if a rough answer is enough."""
        return quick if self.quick else full

    def counts(self) -> dict[str, int]:
        """Return the number of calls per operation that the stub has answered."""
        return self._request("GET", "/stats")

    def reset_counts(self) -> None:
        """Set the counts of the stub to 0."""
        self._request("POST", "/reset")

    def set_latency(self, milliseconds: int) -> None:
        """Let the stub wait before each answer from now on."""
        self._request("POST", f"/latency?ms={milliseconds}")

    def _request(self, method: str, path: str) -> dict[str, int]:
        """Send a request to the stub and block until the answer: never in timed code."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path)
            body = connection.getresponse().read()
        finally:
            connection.close()

        answer: dict[str, int] = json.loads(body)
        return answer


async def alternate(
    sides: dict[str, Loop],
    rounds: int,
    calls: int,
    *,
    collect: bool = False,
) -> Values:
    """Time blocks of calls in turn: A B, B A, A B ...; return each side's median seconds per call.

    A machine that slows down slows all sides, and no side always goes first. The garbage collector
    runs as it does in a service, but all objects from before the start are frozen.

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
            start = time.perf_counter()
            await sides[side](calls)
            seconds = time.perf_counter() - start
            taken[side].append(seconds / calls)
        order.reverse()
    return medians(taken)


def medians(values: Values) -> Values:
    """Return the median of each side, alone in a list."""
    return {side: [statistics.median(numbers)] for side, numbers in values.items()}


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
        self.loop.call_later(self.period, self.beat)

    def beat(self) -> None:
        """Note how late this beat is, and schedule the next one."""
        now = time.perf_counter()
        late = now - self.last - self.period
        self.worst = max(self.worst, late)
        self.last = now
        self.loop.call_later(self.period, self.beat)

    async def during(self, work: Awaitable[object]) -> float:
        """Await the work; return the worst stall, up to the first beat after its end."""
        await asyncio.sleep(0.005)
        self.worst = 0.0
        await work
        await asyncio.sleep(0.005)
        return self.worst


def resident_bytes() -> int:
    """Return the memory that this process holds now, which is not its peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        raise SkipError("resident memory is read from /proc, which this system lacks")

    lines = status.read_text().splitlines()
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(kibibytes) * 1024
