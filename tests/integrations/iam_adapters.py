"""The adapters for databases as one kind of pool, which lends connections: for tests that each of them must pass."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from typing import TypeAlias

    from aiocredentials.iam import IamDatabaseCredentials
    from integrations.iam_fixtures import Trust

    Query: TypeAlias = Callable[[str], Awaitable[Any]]
    Lend: TypeAlias = Callable[[], AbstractAsyncContextManager[Query]]
    OpenPool: TypeAlias = Callable[..., AbstractAsyncContextManager[Lend]]

MOST = 4
"""How many connections each pool may have."""
PATIENCE = 5.0
"""How long psycopg's pool waits for a server that doesn't answer, in seconds."""


def _context(trust: Trust | None) -> dict[str, Any]:
    if trust is None:
        return {}
    return {"ssl": ssl.create_default_context(cafile=trust.bundle)}


def _mode(trust: Trust | None) -> dict[str, Any]:
    if trust is None:
        return {}
    return {"sslmode": "verify-full", "sslrootcert": str(trust.bundle)}


@asynccontextmanager
async def asyncpg(database: IamDatabaseCredentials, trust: Trust | None, **options: Any) -> AsyncIterator[Lend]:  # noqa: ANN401
    """Open asyncpg's pool; without trust, it isn't told to encrypt."""
    module = pytest.importorskip("aiocredentials.integrations.asyncpg")
    async with module.create_pool(database, min_size=1, max_size=MOST, **_context(trust), **options) as pool:

        @asynccontextmanager
        async def lend() -> AsyncIterator[Query]:
            async with pool.acquire() as connection:
                yield connection.fetchval

        yield lend


@asynccontextmanager
async def psycopg(database: IamDatabaseCredentials, trust: Trust | None, **options: Any) -> AsyncIterator[Lend]:  # noqa: ANN401
    """Open psycopg's pool; without trust, it isn't told to encrypt."""
    module = pytest.importorskip("aiocredentials.integrations.psycopg")
    sizes = {"min_size": 1, "max_size": MOST, "timeout": PATIENCE}
    async with module.create_pool(database, kwargs=_mode(trust), **sizes, **options) as pool:

        @asynccontextmanager
        async def lend() -> AsyncIterator[Query]:
            async with pool.connection() as connection:

                async def query(sql: str) -> Any:  # noqa: ANN401
                    row = await (await connection.execute(sql)).fetchone()
                    return row[0]

                yield query

        yield lend


def _engine(driver: str, options_for: Callable[[Trust | None], dict[str, Any]]) -> OpenPool:
    @asynccontextmanager
    async def open_engine(
        database: IamDatabaseCredentials,
        trust: Trust | None,
        **options: Any,  # noqa: ANN401
    ) -> AsyncIterator[Lend]:
        pytest.importorskip(driver.partition("+")[2])
        sqlalchemy = pytest.importorskip("sqlalchemy")
        module = pytest.importorskip("aiocredentials.integrations.sqlalchemy")
        url = f"{driver}://"
        arguments = options_for(trust)
        sizes = {"pool_size": MOST, "max_overflow": 0}
        async with module.create_async_engine(database, url, connect_args=arguments, **sizes, **options) as engine:

            @asynccontextmanager
            async def lend() -> AsyncIterator[Query]:
                async with engine.connect() as connection:

                    async def query(sql: str) -> Any:  # noqa: ANN401
                        return (await connection.execute(sqlalchemy.text(sql))).scalar()

                    yield query

            yield lend

    return open_engine


def _mysql(name: str) -> OpenPool:
    @asynccontextmanager
    async def open_pool(
        database: IamDatabaseCredentials,
        trust: Trust | None,
        **options: Any,  # noqa: ANN401
    ) -> AsyncIterator[Lend]:
        pytest.importorskip(name)
        module = pytest.importorskip(f"aiocredentials.integrations.{name}")
        async with module.create_pool(database, maxsize=MOST, **_context(trust), **options) as pool:

            @asynccontextmanager
            async def lend() -> AsyncIterator[Query]:
                async with pool.acquire() as connection, connection.cursor() as cursor:

                    async def query(sql: str) -> Any:  # noqa: ANN401
                        await cursor.execute(sql)
                        return (await cursor.fetchone())[0]

                    yield query

            yield lend

    return open_pool


POSTGRES: dict[str, OpenPool] = {
    "asyncpg": asyncpg,
    "psycopg": psycopg,
    "SQLAlchemy with asyncpg": _engine("postgresql+asyncpg", _context),
    "SQLAlchemy with psycopg": _engine("postgresql+psycopg", _mode),
}
MYSQL: dict[str, OpenPool] = {
    "aiomysql": _mysql("aiomysql"),
    "asyncmy": _mysql("asyncmy"),
    "SQLAlchemy with aiomysql": _engine("mysql+aiomysql", _context),
    "SQLAlchemy with asyncmy": _engine("mysql+asyncmy", _context),
}


async def who(query: Query) -> str:
    """Return as whom a connection is signed in."""
    # MariaDB's answer has the host, too.
    user: str = await query("SELECT current_user")
    return user.partition("@")[0]


async def use_together(lend: Lend, count: int) -> list[Any]:
    """Use so many connections, which are all lent at the same time, and return as whom each is signed in."""
    all_lent = asyncio.Barrier(count)

    async def use() -> Any:  # noqa: ANN401
        async with lend() as query:
            await all_lent.wait()
            return await who(query)

    tasks = [asyncio.create_task(use()) for _ in range(count)]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
