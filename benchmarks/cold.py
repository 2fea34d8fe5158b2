"""Read one secret in a new process, and end: `cold.py PEER ENDPOINT`. cold_start.py times it.

It imports nothing that a peer might not import, so the process costs what the peer costs.
"""

from importlib import import_module
from sys import argv

if __name__ == "__main__":
    peer = import_module(f"peers.{argv[1]}")
    found = peer.first_value(argv[2])
    if hasattr(found, "__await__"):
        import asyncio

        found = asyncio.run(found)
    # The checks of the answers are the peers' own. This one says that there was an answer.
    assert found
