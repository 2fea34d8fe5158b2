"""What is measured: one measurement (of one side, where sides are kept apart) in a process of its own.

run.py starts it as `measure.py NAME SIDE --port N`; the answer is one line of JSON on stdout. Only the standard library
is imported up here: what a side imports is part of what some rows measure.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import against
from against import NAME, REGION

Values = dict[str, list[float]]  # by side; seconds, bytes or calls
Loop = Callable[[int], Awaitable[None]]
BLOCK = 200  # hits timed at once: the two clock reads are then a few thousandths of it


class SkipError(Exception):
    """Something that the row needs isn't there."""


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
        """Choose a count by how much time there is."""
        return quick if self.quick else full

    def stub(self, method: str, path: str) -> dict[str, float]:
        """Ask the stub for its counts, or tell it how to behave. Never called while something is timed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path)
            answer: dict[str, float] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer


async def alternate(
    sides: dict[str, Loop], rounds: int, calls: int, *, collect: bool = False
) -> Values:
    """Time blocks of calls, side by side: A B, B A, A B ...; the median seconds a call of each side.

    A machine that slows down slows all sides, and no side always goes first. The collector runs as it does in a
    service, but what lives before the start is frozen; `collect=True` empties it before each block, untimed.
    """
    taken: Values = {side: [] for side in sides}
    for loop in sides.values():
        await loop(calls)
    gc.collect()
    gc.freeze()
    order = list(sides)
    for _ in range(rounds):
        for side in order:
            if collect:
                gc.collect()
            start = time.perf_counter()
            await sides[side](calls)
            taken[side].append((time.perf_counter() - start) / calls)
        order.reverse()
    return {side: [statistics.median(values)] for side, values in taken.items()}


class Heartbeat:
    """A timer of 0.5 ms that remembers by how much the event loop was late: its worst stall.

    A timer and not a spinner, since an idle loop is what a service mostly has, and since a spinner would fight a
    loading thread for the interpreter lock. The selector rounds up to whole ms: an idle loop shows up to 1 ms.
    """

    period = 0.0005

    def __init__(self) -> None:
        """Start beating on the running loop."""
        self.loop = asyncio.get_running_loop()
        self.worst = 0.0
        self.last = time.perf_counter()
        self.loop.call_later(self.period, self.beat)

    def beat(self) -> None:
        """Note how late this beat is, and order the next one."""
        now = time.perf_counter()
        self.worst = max(self.worst, now - self.last - self.period)
        self.last = now
        self.loop.call_later(self.period, self.beat)

    async def during(self, work: Awaitable[object]) -> float:
        """Await the work and give the worst stall meanwhile, the beat that was due at its end included."""
        await asyncio.sleep(0.005)
        self.worst = 0.0
        await work
        await asyncio.sleep(0.005)
        return self.worst


def ours_session_per_call(endpoint: str) -> Awaitable[object]:
    """Open, fetch, close, with our manager: no pool, no cache."""
    from aiocredentials import AsyncCredentialsManager

    return AsyncCredentialsManager(
        NAME, REGION, endpoint_url=endpoint, policy=None
    ).retrieve_secret_string()


def one_call(bench: Bench, side: str) -> Awaitable[object]:
    """One session per call of this side; for `idle` the same time with nothing to do."""
    if side == "idle":
        return asyncio.sleep(0.05)
    return (ours_session_per_call if side == "ours" else against.naive_session_per_call)(
        bench.endpoint
    )


def import_side(side: str) -> None:
    """Import before the clock starts what a module imports at its top, long before the loop runs."""
    modules = {"ours": "aiocredentials", "against": "aioboto3"}
    if side in modules:
        importlib.import_module(modules[side])


async def session_per_call(bench: Bench, _side: str) -> Values:
    """Time of a whole session per call, warm: imports and the first session are behind both sides.

    The naive side leaves megabytes of cycles. They are collected before each block, untimed, so that neither side pays
    for the other's; what the collector does on its own during a block counts.
    """

    def loop_of(side: str) -> Loop:
        async def loop(calls: int) -> None:
            for _ in range(calls):
                await one_call(bench, side)

        return loop

    sides = {side: loop_of(side) for side in ("ours", "against")}
    return await alternate(sides, rounds=bench.few(10, 3), calls=5, collect=True)


async def stall(bench: Bench, side: str) -> Values:
    """Worst stall of the event loop during each of five sessions per call, the first of the process among them.

    A service meets the first one while it serves others, so it isn't warmed away: one in five is a first one, which
    puts the 99th percentile among them. The collector is in its default state. `idle` is the noise of the machine.
    """
    import_side(side)
    heartbeat = Heartbeat()
    return {side: [await heartbeat.during(one_call(bench, side)) for _ in range(5)]}


async def herd(bench: Bench, side: str) -> Values:
    """Worst stall while twenty sessions per call start at once in a fresh process, the collector as usual."""
    import_side(side)
    heartbeat = Heartbeat()

    async def twenty() -> None:
        await asyncio.gather(*(one_call(bench, side) for _ in range(20)))

    return {side: [await heartbeat.during(twenty())]}


def resident_bytes() -> int:
    """Read the memory that this process holds now, not its peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        message = "resident memory is read from /proc, which this system lacks"
        raise SkipError(message)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


async def memory(bench: Bench, side: str) -> Values:
    """Growth of resident memory over 1,000 sessions per call with the collector off: what a burst costs until it runs.

    The first session counts in full; the rest is scaled from 999 of ours and 100 naive ones (1,000 would take 7 GiB).
    Both sides have aioboto3 imported before the first reading.
    """
    import_side("against")
    import_side(side)
    gc.collect()
    gc.disable()
    sessions = bench.few(999, 100) if side == "ours" else bench.few(100, 30)
    before = resident_bytes()
    await one_call(bench, side)
    first = resident_bytes()
    for _ in range(sessions):
        await one_call(bench, side)
    return {side: [first - before + (resident_bytes() - first) * 999 / sessions]}


async def import_time(bench: Bench, _side: str) -> Values:
    """Time of a first import, each in a fresh interpreter, in turn; bytecode and disk cache are warm."""
    modules = {
        "ours": "aiocredentials",
        "floor": "asyncio, botocore.exceptions",
        "against": "aioboto3",
    }
    taken: Values = {side: [] for side in modules}
    for number in range(1 + bench.few(15, 5)):
        for side, module in modules.items():
            code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
            seconds = float(subprocess.check_output([sys.executable, "-c", code]))
            if number:  # the first round warms the caches
                taken[side].append(seconds)
    return {side: [statistics.median(values)] for side, values in taken.items()}


async def fetch(bench: Bench, _side: str) -> Values:
    """Time a pooled fetch without cache against the bare client's call: same config, five calls each in turn.

    Ours builds, checks and maps a `Secret`. A second bare client is measured as a third side: how far it is from the
    first is the noise of this row.
    """
    from aiocredentials import CredentialsPool

    def bare_loop(client: Any) -> Loop:
        async def loop(calls: int) -> None:
            for _ in range(calls):
                await client.get_secret_value(SecretId=NAME, VersionStage="AWSCURRENT")

        return loop

    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            CredentialsPool(REGION, endpoint_url=bench.endpoint, config=against.config())
        )
        manager = pool.manager(NAME, policy=None)

        async def ours(calls: int) -> None:
            for _ in range(calls):
                await manager.secret()

        sides = {
            "against": bare_loop(
                await stack.enter_async_context(against.bare_client(bench.endpoint))
            ),
            "ours": ours,
            "control": bare_loop(
                await stack.enter_async_context(against.bare_client(bench.endpoint))
            ),
        }
        bench.stub("POST", "/reset")
        rounds = bench.few(300, 100)
        values = await alternate(sides, rounds, calls=5)
    if bench.stub("GET", "/stats")["GetSecretValue"] != 3 * 5 * (rounds + 1):
        message = "a pooled fetch without cache must be one call"
        raise AssertionError(message)
    return values


def read_in_turn(managers: list[Any]) -> Loop:
    """Read the managers one after another, over and over."""

    async def loop(calls: int) -> None:
        for manager in managers * (calls // len(managers)):
            await manager.get()

    return loop


async def hit(bench: Bench, _side: str) -> Values:
    """Time a hit against a bare coroutine, the floor, and against three caches that people use; no task switches.

    All sides read one secret that stays fresh. The synchronous caches are called without any `await`, to their favour.
    A cache that isn't installed is left out.
    """
    from aiocredentials import CredentialsPool

    sides: dict[str, Loop] = {"floor": against.bare_coroutine()}
    for side, build in against.OTHER_CACHES.items():
        try:
            sides[side] = build(bench.endpoint)
        except ModuleNotFoundError:
            continue
    async with CredentialsPool(REGION, endpoint_url=bench.endpoint) as pool:
        manager = pool.manager(NAME, decode=json.loads)

        async def ours(calls: int) -> None:
            for _ in range(calls):
                await manager.get()

        return await alternate({**sides, "ours": ours}, bench.few(500, 60), BLOCK)


async def size(bench: Bench, _side: str) -> Values:
    """Time a hit with 100,000 secrets cached against one with 10: what bookkeeping costs as the cache grows.

    Both read the same ten secrets in turn. `spread` reads a thousand of the 100,000 instead: that shows the processor's
    caches missing, which no bookkeeping avoids.
    """
    from aiocredentials import CredentialsPool

    many = bench.few(100_000, 10_000)
    names = [f"bench/{number:06}" for number in range(many)]
    async with AsyncExitStack() as stack:
        small, large = [
            await stack.enter_async_context(
                CredentialsPool(
                    REGION, endpoint_url=bench.endpoint, max_secrets=count + 1, timeout=600
                )
            )
            for count in (10, many)
        ]
        await small.prefetch(*names[:10])
        await large.prefetch(*names)
        managers = {
            "against": [small.manager(name, decode=json.loads) for name in names[:10]],
            "ours": [large.manager(name, decode=json.loads) for name in names[:10]],
            "spread": [large.manager(name, decode=json.loads) for name in names[:: many // 1000]],
        }
        bench.stub("POST", "/reset")
        for read in [manager.get for side in managers.values() for manager in side]:
            await read()
        sides = {side: read_in_turn(these) for side, these in managers.items()}
        values = await alternate(sides, bench.few(600, 60), calls=1000)
    if bench.stub("GET", "/stats"):
        message = "a hit must make no call"
        raise AssertionError(message)
    return values


async def prefetch(bench: Bench, _side: str) -> Values:
    """Time 500 secrets by prefetch against 500 gathered single gets on one client, the server answering in 20 ms.

    Both have made one call before, so that neither pays for opening. `wide` is single gets with 50 connections
    in place of botocore's 10. Each round has pools and clients of its own; its calls are counted by the server.
    """
    from aiocredentials import CredentialsPool

    names = [f"bench/{number:03}" for number in range(500)]

    async def ours() -> float:
        async with CredentialsPool(
            REGION, endpoint_url=bench.endpoint, config=against.config()
        ) as pool:
            await pool.manager(NAME).get()
            bench.stub("POST", "/reset")
            start = time.perf_counter()
            await pool.prefetch(*names)
            return time.perf_counter() - start

    async def single(connections: int) -> float:
        async with against.bare_client(bench.endpoint, connections) as client:
            await client.get_secret_value(SecretId=NAME)
            bench.stub("POST", "/reset")
            start = time.perf_counter()
            await asyncio.gather(*(client.get_secret_value(SecretId=name) for name in names))
            return time.perf_counter() - start

    bench.stub("POST", "/latency?ms=20")
    sides: dict[str, Callable[[], Awaitable[float]]]
    sides = {"ours": ours, "against": partial(single, 10), "wide": partial(single, 50)}
    taken: Values = {f"{side}{unit}": [] for side in sides for unit in ("", "_calls")}
    try:
        for _ in range(bench.few(5, 2)):
            for side, once in sides.items():
                gc.collect()
                taken[side].append(await once())
                taken[f"{side}_calls"].append(sum(bench.stub("GET", "/stats").values()))
    finally:
        bench.stub("POST", "/latency?ms=0")
    return {side: [statistics.median(values)] for side, values in taken.items()}


async def hang(bench: Bench, _side: str) -> Values:
    """Time a read past the TTL while its refresh hangs, once the first reader has waited, against a hit.

    The TTL is a real 0.2 s, and the server holds the refresh for a minute: longer than the row takes, and each read of
    that secret is checked at the end to have been a stale one.
    """
    from aiobotocore.config import AioConfig

    from aiocredentials import CachePolicy, CredentialsPool

    short = CachePolicy(ttl=0.2, jitter=0.0, refresh_ahead=None, patience=0.05, max_stale=3600.0)
    patient = AioConfig(read_timeout=60)
    async with CredentialsPool(
        REGION, endpoint_url=bench.endpoint, config=patient, timeout=60
    ) as pool:
        stale = pool.manager("bench/stale", decode=json.loads, policy=short)
        fresh = pool.manager("bench/fresh", decode=json.loads)
        await stale.get()
        await fresh.get()
        bench.stub("POST", "/latency?ms=60000")
        bench.stub("POST", "/reset")
        try:
            await asyncio.sleep(0.25)
            await stale.get()  # the first reader, who waits
            sides = {"against": read_in_turn([fresh]), "ours": read_in_turn([stale])}
            values = await alternate(sides, bench.few(500, 60), BLOCK)
            calls, secret = bench.stub("GET", "/stats"), await stale.secret()
        finally:
            bench.stub("POST", "/latency?ms=0")
    if calls != {"GetSecretValue": 1} or not secret.is_stale:
        message = "the refresh was to hang while stale values are served"
        raise AssertionError(message)
    return values


@dataclass(frozen=True)
class Measurement:
    """How a measurement is run. Without `sides` one process measures them all; else each has a process of its own."""

    run: Callable[[Bench, str], Coroutine[Any, Any, Values]]
    needs: tuple[str, ...]
    repeats: int
    quick: int = 1
    sides: tuple[str, ...] = ()


MANAGER = ("AsyncCredentialsManager.retrieve_secret_string",)
POOL = ("AsyncCredentialsManager.secret", "CredentialsPool.manager")
CACHE = ("AsyncCredentialsManager.get", "CachePolicy", *POOL)
MEASUREMENTS = {
    "session-per-call": Measurement(session_per_call, MANAGER, repeats=3),
    "stall": Measurement(stall, MANAGER, repeats=20, quick=4, sides=("ours", "against", "idle")),
    "herd": Measurement(herd, MANAGER, repeats=5, quick=2, sides=("ours", "against")),
    "fetch": Measurement(fetch, POOL, repeats=8),
    "import": Measurement(import_time, (), repeats=1),
    "memory": Measurement(memory, MANAGER, repeats=2, sides=("ours", "against")),
    "hit": Measurement(hit, CACHE, repeats=3),
    "size": Measurement(size, (*CACHE, "CredentialsPool.prefetch"), repeats=3),
    "prefetch": Measurement(prefetch, (*CACHE, "CredentialsPool.prefetch"), repeats=3),
    "hang": Measurement(hang, CACHE, repeats=3),
}


def check_needs(names: tuple[str, ...]) -> None:
    """Skip what the package doesn't have yet."""
    for name in names:
        found: Any = importlib.import_module("aiocredentials")
        for part in name.split("."):
            if not hasattr(found, part):
                message = f"aiocredentials has no {name} yet"
                raise SkipError(message)
            found = getattr(found, part)


def main() -> None:
    """Run one measurement and print what it found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MEASUREMENTS)
    parser.add_argument("side")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    measurement = MEASUREMENTS[arguments.name]
    try:
        if arguments.side in ("all", "ours"):
            check_needs(measurement.needs)
        values = asyncio.run(
            measurement.run(Bench(arguments.port, arguments.quick), arguments.side)
        )
    except SkipError as skip:
        print(json.dumps({"skip": str(skip)}))
    else:
        print(json.dumps({"values": values}))


if __name__ == "__main__":
    main()
