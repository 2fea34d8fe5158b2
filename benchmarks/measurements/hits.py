"""Reads from memory: ours beside the limits, and each cache beside them."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from timing import BLOCK, alternate, is_blocking, loop_over

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from timing import Bench, Loop, Values

    from aiocredentials import AsyncCredentialsManager, CredentialsPool

# The secrets of the stub whose JSON is parsed.
SHAPES = {
    "flat": "bench/database",
    "forty": "bench/forty",
    "nested": "bench/nested",
    "large": "bench/large",
}


def repeated(call: Callable[[], Awaitable[object]]) -> Loop:
    """Return a loop of awaited calls."""

    async def loop(calls: int) -> None:
        for _ in range(calls):
            await call()

    return loop


def parsing(text: str) -> Loop:
    """Return a loop that parses a text: the limit of each read that returns a new object."""
    loads = json.loads

    async def loop(calls: int) -> None:
        for _ in range(calls):
            loads(text)

    return loop


def coroutine() -> Loop:
    """Return a loop that reads a dict in a coroutine: nothing that is awaited can be faster."""
    values = {"bench/database": object()}

    async def read() -> object:
        return values["bench/database"]

    return repeated(read)


def plain_dict() -> Loop:
    """Return a loop that reads a dict, without any coroutine."""
    values = {"bench/database": object()}

    async def loop(calls: int) -> None:
        for _ in range(calls):
            values["bench/database"]

    return loop


def text_of(manager: AsyncCredentialsManager[Any]) -> Loop:
    """Return a loop that reads the text of a secret."""

    async def loop(calls: int) -> None:
        for _ in range(calls):
            (await manager.secret()).reveal()

    return loop


async def our_loops(pool: CredentialsPool) -> dict[str, Loop]:
    """Return our loops and the limits beside them, after each secret was fetched."""
    from aiocredentials import DatabaseCredentials

    loops: dict[str, Loop] = {}
    for shape, name in SHAPES.items():
        manager = pool.manager(name)
        text = (await manager.secret()).reveal()
        loops[f"parsed_{shape}"] = repeated(manager.retrieve_secret_string)
        loops[f"get_{shape}"] = repeated(manager.get)
        loops[f"loads_{shape}"] = parsing(text)

    manager = pool.manager("bench/database", decode=json.loads)
    loops["decoded"] = repeated(manager.get)
    loops["text"] = text_of(manager)
    typed = pool.manager("bench/database", decode=DatabaseCredentials.from_json)
    loops["typed"] = repeated(typed.get)
    loops["coroutine"] = coroutine()
    loops["dict"] = plain_dict()
    return loops


async def hit(bench: Bench, side: str) -> Values:
    """Time reads of a secret that is in memory and stays fresh."""
    rounds = bench.few(120, 5)
    if side == "ours":
        from aiocredentials import CredentialsPool

        async with CredentialsPool("us-east-1", endpoint_url=bench.endpoint) as pool:
            return await alternate(await our_loops(pool), rounds, BLOCK)

    peer = import_module(f"peers.{side}")
    async with peer.opened(bench.endpoint) as read:
        blocks = await is_blocking(read, "bench/database")
        loops = {side: loop_over(read, "bench/database", blocks=blocks)}
        return await alternate(loops, rounds, BLOCK)
