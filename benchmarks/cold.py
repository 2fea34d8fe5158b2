"""Read one secret in a new process, and end: `cold.py PEER ENDPOINT`. processes.py counts it.

`cold.py PEER ENDPOINT sessions N` then reads it N times more, with a session and a client for each
read, and `cold.py PEER ENDPOINT fetches N` by one client. It imports nothing that a peer might not
import, so the process costs what the peer costs.
"""

from importlib import import_module
from sys import argv
from types import ModuleType


async def repeated(peer: ModuleType, endpoint: str, kind: str, number: int) -> None:
    """Read a secret this many times."""
    if kind == "sessions":
        for _ in range(number):
            await peer.first_value(endpoint)
        return
    opened = getattr(peer, "uncached", peer.opened)
    async with opened(endpoint) as read:
        for _ in range(number):
            await read(peer.NAME)


if __name__ == "__main__":
    peer = import_module(f"peers.{argv[1]}")
    found = peer.first_value(argv[2])
    if hasattr(found, "__await__"):
        import asyncio

        found = asyncio.run(found)
    # The checks of the answers are the peers' own. This one says that there was an answer.
    assert found

    if argv[3:]:
        import asyncio

        asyncio.run(repeated(peer, argv[2], argv[3], int(argv[4])))
