"""Runs of the cache that are too long for every day: herds, memory that must stay flat, thousands of schedules.

`nox -s soak` runs them all. `python tests/soak.py --help` shows how to choose each figure, or a tenth of all.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import resource
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parent))

from aiocredentials import CachePolicy, SecretNotFoundError
from aiocredentials._cache import AsyncCache, Reader
from unit.cache_kit import Source
from unit.cache_model import Clock
from unit.identifier_walk import STEPS, walk
from unit.test_cache_schedules import explore
from unit.thread_storm import storm
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = CachePolicy(ttl=100, jitter=0, refresh_ahead=None, max_stale=1000, negative_ttl=5)

# In bytes: how much memory may grow between the first tenth of a run and its end.
FLAT = 2 << 20

FIGURES = {
    "hits": 20_000_000,
    "failures": 1_000_000,
    "names": 1_000_000,
    "waiters": 100_000,
    "keys": 1000,
    "schedules": 5000,
    "steps": 1_000_000,
    "walks": 1000,
    "seconds": 60,
}


def memory() -> int:
    """Return the resident memory of this process in bytes."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = statm.read_text().split()[1]
        return int(pages) * resource.getpagesize()

    # Without /proc there is only the peak: in bytes on macOS, in KiB elsewhere.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        return peak
    return peak * 1024


class Growth:
    """The growth of memory between the first tenth of a run and its end."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.first = 0

    def watch(self, number: int) -> None:
        """Measure memory once, if a tenth of the run is done."""
        if self.first == 0 and number >= self.count // 10:
            self.first = memory()

    def check(self) -> str:
        """Return by how much memory has grown. Raises `AssertionError` if that is too much."""
        grown = memory() - self.first
        assert grown <= FLAT, f"memory grew by {grown} bytes"
        return f"memory {grown / 1024:+.0f} KiB"


async def hits(count: int) -> str:
    """Many hits: memory stays flat."""
    cache: AsyncCache[int] = AsyncCache(time.monotonic, max_entries=10)
    reader = Reader(cache, "key", Source(takes=0), CachePolicy(ttl=1e6, max_stale=1e6))
    growth = Growth(count)
    await reader.get()

    start = time.perf_counter()
    for number in range(count):
        await reader.get()
        if number % 100 == 0:
            growth.watch(number)
    nanoseconds = (time.perf_counter() - start) / count * 1e9
    return f"{count:,} hits, {nanoseconds:.0f} ns each, {growth.check()}"


async def failures(count: int) -> str:
    """Many failing reads, from memory and from the source: memory stays flat, and no traceback grows."""
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=10)
    source = Source(takes=0)
    source.error = SecretNotFoundError("No.")
    reader = Reader(cache, "key", source, POLICY)
    growth = Growth(count)
    longest = 0

    for number in range(count):
        if number % 20 == 0:
            clock.now += 10
            source.began.clear()
        try:
            await reader.get()
        except SecretNotFoundError as error:
            frames = traceback.extract_tb(error.__traceback__)
            longest = max(longest, len(frames))
        if number % 100 == 0:
            growth.watch(number)

    assert longest <= 5, longest
    return f"{count:,} failing reads, no traceback longer than {longest} frames, {growth.check()}"


async def names(count: int) -> str:
    """Many names: entries are bounded, and so is memory."""
    cache: AsyncCache[int] = AsyncCache(time.monotonic, max_entries=1024)
    growth = Growth(count)
    source = Source(takes=0)
    for number in range(count):
        reader = Reader(cache, f"name {number}", source, POLICY)
        await reader.get()
        source.began.clear()
        if number % 100 == 0:
            growth.watch(number)

    assert len(cache) == 1024
    return f"{count:,} names, {len(cache)} entries, {growth.check()}"


async def herd(waiters: int) -> str:
    """Many waiters on one cold key share a fetch. All but one are cancelled, and that one gets the value."""
    cache: AsyncCache[int] = AsyncCache(asyncio.get_running_loop().time, max_entries=10)
    source = Source(takes=1)
    reader = Reader(cache, "key", source, POLICY)
    values = await asyncio.gather(*(reader.get() for _ in range(waiters)))
    assert set(values) == {1}

    cache.invalidate("key")
    calls = [asyncio.create_task(reader.get()) for _ in range(waiters)]
    await asyncio.sleep(0.5)
    *cancelled, last = calls
    for call in cancelled:
        call.cancel()
    assert await last == 2
    assert (source.fetches, source.cancelled) == (2, 0)
    return f"{waiters:,} waiters on a cold key, 1 fetch; all but one cancelled, that one served"


async def herds(keys: int) -> str:
    """Many keys that expire at once, with 100 waiters each."""
    cache: AsyncCache[int] = AsyncCache(asyncio.get_running_loop().time, max_entries=keys)
    sources = [Source() for _ in range(keys)]
    readers = [Reader(cache, key, source, POLICY) for key, source in enumerate(sources)]
    await asyncio.gather(*(reader.get() for reader in readers))

    await asyncio.sleep(100)
    reads = [reader.get() for reader in readers for _ in range(100)]
    values = await asyncio.gather(*reads)
    assert set(values) == {2}

    fetches = sum(source.fetches for source in sources) - keys
    assert fetches == keys
    return f"{keys:,} keys expired at once, 100 waiters each, {fetches:,} fetches"


def schedules(count: int, steps: int) -> str:
    """Many programs under random schedules: at least so many schedules, and at least so many steps."""
    done = 0
    taken = 0
    while done < count or taken < steps:
        taken += explore(100, first=1_000_000 + done)
        done += 100
    return f"{done:,} schedules, {taken:,} steps, no promise broken"


def walks(count: int) -> str:
    """Many random walks over secrets whose identifiers collide."""
    # Otherwise each refusal would be a line in the log.
    logging.disable(logging.CRITICAL)
    violations = walk(1_000_000, count)
    logging.disable(logging.NOTSET)

    assert violations == []
    return f"{count * STEPS:,} steps over identifiers that collide, 0 violations"


def threads(seconds: float) -> str:
    """Short-lived loops in eight threads, on one pool."""
    seen = storm(seconds=seconds)
    assert seen.problems == []
    return f"{seconds:g} s with 8 threads, {seen.loops:,} loops, {seen.reads:,} reads, 0 problems"


def parse_figures() -> dict[str, int]:
    """Return the figures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenth", action="store_true", help="a tenth of each figure")
    for name, figure in FIGURES.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"{figure} by default")
    chosen = vars(parser.parse_args())

    divisor = 10 if chosen["tenth"] else 1
    return {name: chosen[name] or figure // divisor for name, figure in FIGURES.items()}


def main() -> None:
    """Run everything; stop at the first failure."""
    figures = parse_figures()
    works: list[Callable[[], str]] = [
        lambda: asyncio.run(hits(figures["hits"])),
        lambda: asyncio.run(failures(figures["failures"])),
        lambda: asyncio.run(names(figures["names"])),
        lambda: run(herd(figures["waiters"]), seed=0, max_steps=10**9),
        lambda: run(herds(figures["keys"]), seed=0, max_steps=10**9),
        partial(schedules, figures["schedules"], figures["steps"]),
        partial(walks, figures["walks"]),
        partial(threads, figures["seconds"]),
    ]
    for work in works:
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        print(f"{result}  ({seconds:.1f} s)", flush=True)  # noqa: T201 (this script prints its results)


if __name__ == "__main__":
    main()
