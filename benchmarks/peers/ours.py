"""This library: a session per call, and a pool with its cache."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NAME = "bench/database"


async def first_value(endpoint: str) -> Any:
    """Read one secret with a session per call."""
    from aiocredentials import AsyncCredentialsManager

    # Where instructions are counted, a process is fifty times as slow.
    manager = AsyncCredentialsManager(
        NAME,
        "us-east-1",
        endpoint_url=endpoint,
        policy=None,
        timeout=600,
    )
    return await manager.retrieve_secret_string()


@asynccontextmanager
async def opened(
    endpoint: str,
    *,
    ttl: float = 300,
) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """Open a pool; yield a function that reads a secret, decoded once, by a manager per name."""
    from aiocredentials import AsyncCredentialsManager, CachePolicy, CredentialsPool

    policy = CachePolicy(ttl=ttl, jitter=0, refresh_ahead=None, patience=0.05)
    managers: dict[str, AsyncCredentialsManager[Any]] = {}
    async with CredentialsPool(
        "us-east-1",
        endpoint_url=endpoint,
        policy=policy,
        max_secrets=20_000,
    ) as pool:

        async def read(name: str) -> Any:
            manager = managers.get(name)
            if manager is None:
                manager = pool.manager(name, decode=json.loads)
                managers[name] = manager
            return await manager.get()

        yield read


@asynccontextmanager
async def uncached(endpoint: str) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """Open a pool without a cache; yield a function that fetches a secret and parses it."""
    from aiocredentials import CredentialsPool

    async with CredentialsPool(
        "us-east-1",
        endpoint_url=endpoint,
        policy=None,
        timeout=600,
    ) as pool:
        manager = pool.manager(NAME)

        async def read(_name: str) -> Any:
            return await manager.retrieve_secret_string()

        yield read


async def start(endpoint: str, names: list[str]) -> None:
    """Open a pool that fetches all of these secrets."""
    from aiocredentials import CredentialsPool

    async with CredentialsPool("us-east-1", endpoint_url=endpoint, prefetch=names):
        pass
