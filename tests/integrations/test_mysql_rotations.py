"""aiomysql and asyncmy, as pools and under SQLAlchemy, through rotations under load."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from integrations.rotation_load import Adapter, check, measure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from aiocredentials import AsyncCredentialsManager, DatabaseCredentials
    from integrations.mariadb import MariaPlace
    from integrations.rotation_load import Query, Record

DRIVERS = ("aiomysql", "asyncmy")
POOL: dict[str, Any] = {"minsize": 2, "maxsize": 5}
QUERIES = 8  # so many connections are used until one is closed
ENGINE: dict[str, Any] = {"pool_size": 5, "max_overflow": 0, "pool_recycle": 1}


def pool_of(driver: ModuleType, adapter: ModuleType, sleep: str) -> Adapter:
    """Return how a driver's own pool is opened."""

    def querying(pool: Any) -> Query:  # noqa: ANN401
        numbers = count()

        async def query() -> None:
            async with pool.acquire() as connection:
                async with connection.cursor() as cursor:
                    await cursor.execute(sleep)
                # The pools themselves replace only connections that were idle, and under load none is.
                if next(numbers) % QUERIES == 0:
                    await connection.ensure_closed()

        return query

    @asynccontextmanager
    async def bridged(manager: AsyncCredentialsManager[DatabaseCredentials]) -> AsyncIterator[Query]:
        async with adapter.create_pool(manager, autocommit=True, **POOL) as pool:
            yield querying(pool)

    @asynccontextmanager
    async def control(credentials: DatabaseCredentials) -> AsyncIterator[Query]:
        where = {"host": credentials.host, "port": credentials.port, "autocommit": True}
        login = {"user": credentials.username, "password": credentials.password}
        async with driver.create_pool(**where, **login, **POOL) as pool:
            yield querying(pool)

    return Adapter(bridged, control)


def engine_of(driver: str, sleep: str) -> Adapter:
    """Return how SQLAlchemy's engine is made."""
    from sqlalchemy import text  # noqa: PLC0415 (it may be missing)
    from sqlalchemy.ext import asyncio as sqlalchemy_asyncio  # noqa: PLC0415

    from aiocredentials.integrations.sqlalchemy import create_async_engine  # noqa: PLC0415

    url = f"mysql+{driver}"

    def querying(engine: sqlalchemy_asyncio.AsyncEngine) -> Query:
        async def query() -> None:
            async with engine.connect() as connection:
                await connection.execute(text(sleep))

        return query

    @asynccontextmanager
    async def bridged(manager: AsyncCredentialsManager[DatabaseCredentials]) -> AsyncIterator[Query]:
        async with create_async_engine(manager, f"{url}://", **ENGINE) as engine:
            yield querying(engine)

    @asynccontextmanager
    async def control(credentials: DatabaseCredentials) -> AsyncIterator[Query]:
        engine = sqlalchemy_asyncio.create_async_engine(credentials.as_dsn(scheme=url), **ENGINE)
        try:
            yield querying(engine)
        finally:
            await engine.dispose()

    return Adapter(bridged, control)


@pytest.mark.load
@pytest.mark.timeout(90)
@pytest.mark.parametrize("kind", ["pools", "engines"])
async def test_rotations_under_load(maria: MariaPlace, kind: str, record_rotation: Record) -> None:
    """Through five rotations with open windows no query fails or waits longer, where a password read once fails."""
    adapters = {}
    for name in DRIVERS:
        driver = pytest.importorskip(name)
        if kind == "pools":
            adapter = pytest.importorskip(f"aiocredentials.integrations.{name}")
            adapters[name] = pool_of(driver, adapter, maria.sleep)
        else:
            pytest.importorskip("sqlalchemy")
            pytest.importorskip("greenlet")
            adapters[f"sqlalchemy+{name}"] = engine_of(name, maria.sleep)

    runs = await measure(maria, adapters)
    check(runs, await maria.logins(), record_rotation)
