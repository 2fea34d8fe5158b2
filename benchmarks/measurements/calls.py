"""Calls to AWS: with a session and a client for each, and with one client for all."""

from __future__ import annotations

from contextlib import AsyncExitStack
from importlib import import_module
from typing import TYPE_CHECKING

from timing import alternate, is_blocking, loop_over, settled

if TYPE_CHECKING:
    from timing import Bench, Loop, Values

NAME = "bench/database"


def sessions_of(bench: Bench, side: str) -> Loop:
    """Return a loop of reads that open all that they need, and close it."""
    peer = import_module(f"peers.{side}")

    async def loop(calls: int) -> None:
        for _ in range(calls):
            await settled(peer.first_value(bench.endpoint))

    return loop


async def session_per_call(bench: Bench, side: str) -> Values:
    """Time whole sessions per call, after all imports and a first session.

    aioboto3 runs in our process, in turn with us. It leaves megabytes of cycles. They are collected
    before each block, untimed, so nobody pays for another; collections that start during a block
    count.
    """
    sides = ["ours", "aioboto"] if side == "ours" else [side]
    loops = {name: sessions_of(bench, name) for name in sides}
    return await alternate(loops, bench.few(8, 2), calls=2, collect=True)


async def fetch(bench: Bench, side: str) -> Values:
    """Time calls by a client that is open, each answered at once and parsed.

    aioboto3's client and the raw POST run in our process, in turn with us.
    """
    openers = {side: import_module(f"peers.{side}").opened}
    if side == "ours":
        openers = {
            "ours": import_module("peers.ours").uncached,
            "aioboto": import_module("peers.aioboto").opened,
            "raw": import_module("peers.raw").opened,
        }

    rounds = bench.few(100, 3)
    async with AsyncExitStack() as stack:
        loops: dict[str, Loop] = {}
        for name, opened in openers.items():
            read = await stack.enter_async_context(opened(bench.endpoint))
            blocks = await is_blocking(read, NAME)
            loops[name] = loop_over(read, NAME, blocks=blocks)

        bench.reset_counts()
        values = await alternate(loops, rounds, calls=5)

    # Each side has a block of five calls per round, and one block before the first round.
    expected = len(loops) * 5 * (rounds + 1)
    assert bench.calls() == expected, "each read must be one call"
    return values
