"""The recipes for the time after a failover, as the page has them, against a PostgreSQL that becomes read-only."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.rotation import is_auth_error
from blocks import blocks_of

asyncpg = pytest.importorskip("asyncpg")
sqlalchemy = pytest.importorskip("sqlalchemy")
pytest.importorskip("greenlet")

from aiocredentials.integrations import asyncpg as rotating_asyncpg  # noqa: E402 (after importorskip)
from aiocredentials.integrations.sqlalchemy import create_async_engine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from integrations.postgres import Place

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "aurora-and-proxies.md"
CREATE = "CREATE TEMPORARY TABLE orders (number integer)"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="only a checkout has all pages")


def recipe(name: str) -> Any:  # noqa: ANN401 (a function of the page)
    """Return a function that the page defines."""
    (block,) = [block for block in blocks_of(PAGE, "python") if f"def {name}(" in block.text]
    namespace: dict[str, Any] = {}
    exec(compile(block.text, str(PAGE), "exec"), namespace)  # noqa: S102 (our own page)
    return namespace[name]


@asynccontextmanager
async def read_only(place: Place) -> AsyncIterator[None]:
    """Let new connections of the role `app` be read-only while the block lasts; they stay so afterwards."""
    await place.superuser.execute("ALTER ROLE app SET default_transaction_read_only = on")
    try:
        yield
    finally:
        await place.superuser.execute("ALTER ROLE app RESET default_transaction_read_only")


async def ended(place: Place, processes: set[int]) -> bool:
    """Wait until the server has noticed that these connections have ended; the test's time limit ends it."""
    while processes & await place.sessions("app"):
        """It hasn't."""
    return True


async def test_asyncpg(place: Place) -> None:
    """The page's `write` replaces connections to a server that is read-only now, and the statement succeeds."""
    await place.app()
    write = recipe("write")
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(place.manager())
        async with read_only(place):
            pools = rotating_asyncpg.create_pool(manager, min_size=3, max_size=3)
            pool = await stack.enter_async_context(pools)
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as raised:
                await pool.execute(CREATE)
        before = await place.sessions("app")
        await write(pool, CREATE)
        assert await pool.fetchval("SHOW transaction_read_only") == "off"
        async with pool.acquire(), pool.acquire(), pool.acquire():
            assert await ended(place, before)
    assert not is_auth_error(raised.value)


async def test_sqlalchemy(place: Place) -> None:
    """With the page's listener, one failed statement replaces all connections of the engine."""
    await place.app()
    async with place.manager() as manager, create_async_engine(manager, "postgresql+asyncpg://") as engine:
        recipe("replace_read_only_connections")(engine)
        async with read_only(place), engine.connect() as one, engine.connect() as other:
            for connection in (one, other):
                await connection.exec_driver_sql("SELECT 1")
        before = await place.sessions("app")
        with pytest.raises(sqlalchemy.exc.DBAPIError, match="read-only transaction") as raised:
            async with engine.begin() as connection:
                await connection.exec_driver_sql(CREATE)
        async with engine.begin() as one, engine.begin() as other:
            await one.exec_driver_sql(CREATE)
            await other.exec_driver_sql("SELECT 1")
            assert await ended(place, before)
    assert not is_auth_error(raised.value)
