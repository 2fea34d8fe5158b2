"""The memory of cached secrets, and of a client that has made a call and does nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from measurements.many import FIRST, names
from measurements.stalls import MODULES
from timing import resident_bytes, settled

if TYPE_CHECKING:
    from timing import Bench, Values


async def memory_of_secrets(bench: Bench, side: str) -> Values:
    """Measure by how much each cached secret grows the memory, after it was read once.

    We cache 10,000 secrets. The peers fetch each by a call of its own, so they cache 1,000. Before
    the first reading, 100 others were cached.
    """
    if side == "ours":
        return await our_memory_of_secrets(bench)

    count = bench.few(1000, 100)
    peer = import_module(f"peers.{side}")
    async with peer.opened(bench.endpoint) as read:
        for name in names(100):
            await settled(read(name))
        before = resident_bytes()
        for name in names(100 + count)[100:]:
            await settled(read(name))
        grown = resident_bytes() - before
    return {side: [grown / count]}


async def our_memory_of_secrets(bench: Bench) -> Values:
    """Measure ours: prefetched, and each read once as JSON, by a manager that nobody keeps."""
    from aiocredentials import CredentialsPool

    count = bench.few(10_000, 200)
    wanted = names(100 + count)
    async with CredentialsPool(
        "us-east-1",
        endpoint_url=bench.endpoint,
        max_secrets=20_000,
    ) as pool:
        await pool.prefetch(*wanted[:100])
        for name in wanted[:100]:
            await pool.manager(name).retrieve_secret_string()
        before = resident_bytes()
        await pool.prefetch(*wanted[100:])
        for name in wanted[100:]:
            await pool.manager(name).retrieve_secret_string()
        grown = resident_bytes() - before
    return {"ours": [grown / count]}


async def memory_of_client(bench: Bench, side: str) -> Values:
    """Measure by how much an open client grows the memory after its first call, then a second one.

    What the first one imports and loads counts, whenever it does so. The second one shows what a
    client costs by itself.
    """
    before = resident_bytes()
    import_module(MODULES[side])
    peer = import_module(f"peers.{side}")
    async with peer.opened(bench.endpoint) as read:
        await settled(read(FIRST))
        first = resident_bytes()
        async with peer.opened(bench.endpoint) as second_read:
            await settled(second_read(FIRST))
            second = resident_bytes()
    return {side: [first - before], f"{side}_second": [second - first]}
