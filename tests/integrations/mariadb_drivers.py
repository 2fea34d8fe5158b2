"""Each driver for MariaDB, our adapter for it, and how to ask a connection something."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(params=["aiomysql", "asyncmy"])
def name(request: pytest.FixtureRequest) -> str:
    """Each driver."""
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def driver(name: str) -> ModuleType:
    """The driver itself."""
    return importlib.import_module(name)


@pytest.fixture
def adapter(name: str) -> ModuleType:
    """Our module for it."""
    return importlib.import_module(f"aiocredentials.integrations.{name}")


async def fetch(connection: Any, sql: str) -> tuple[Any, ...]:  # noqa: ANN401
    """Return the first row."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql)
        return await cursor.fetchone()


async def who(pool: Any) -> tuple[str, int]:  # noqa: ANN401
    """Return as whom a connection of the pool is signed in, and its number in the server."""
    async with pool.acquire() as connection:
        user, number = await fetch(connection, "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), CONNECTION_ID()")
    return user, number
