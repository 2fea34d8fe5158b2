"""The worst stall of the event loop in the first session of a process, and in twenty at once."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from timing import Heartbeat, settled

if TYPE_CHECKING:
    from timing import Bench, Values

# What a service imports at its start, long before its loop runs.
MODULES = {
    "ours": "aiocredentials",
    "aioboto": "aioboto3",
    "boto": "boto3",
    "aiobotocore_newest": "aiobotocore.session",
    "capo": "capo_secrets_manager",
    "aws_sdk": "aws_sdk_secrets_manager.client",
    "toolkit": "fastapi_toolkit",
}


async def one_session(bench: Bench, side: str) -> None:
    """Read a secret with a new session; for `idle`, pause about as long."""
    if side == "idle":
        await asyncio.sleep(0.05)
        return
    peer = import_module(f"peers.{side}")
    # A peer may have a way that stalls less, and costs more.
    read = getattr(peer, "smooth_first_value", peer.first_value)
    await settled(read(bench.endpoint))


async def stall(bench: Bench, side: str) -> Values:
    """Measure the worst stall in the first session, which a service makes while it serves.

    The garbage collector is in its default state. The side `idle` shows the noise of the machine.
    """
    if side in MODULES:
        import_module(MODULES[side])
    heartbeat = Heartbeat()
    worst = await heartbeat.during(one_session(bench, side))
    heartbeat.stop()
    return {side: [worst]}


async def stall_of_twenty(bench: Bench, side: str) -> Values:
    """Measure the worst stall while the first twenty sessions start at once."""
    if side in MODULES:
        import_module(MODULES[side])
    heartbeat = Heartbeat()

    async def twenty() -> None:
        sessions = [one_session(bench, side) for _ in range(bench.few(20, 3))]
        await asyncio.gather(*sessions)

    worst = await heartbeat.during(twenty())
    heartbeat.stop()
    return {side: [worst]}
