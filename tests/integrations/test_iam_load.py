"""Fifty workers query by IAM tokens while the AWS credentials roll five times: no query fails.

Each query needs a connection of its own, so that each roll is met. A front before each real server checks the tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from aiocredentials import CredentialsPool
from aiocredentials.iam import IamCacheCredentials, IamDatabaseCredentials
from integrations.iam_fronts import BACKEND_PASSWORD, HOST
from integrations.iam_mysql_front import MySQLFront

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from integrations.iam_fixtures import Trust
    from integrations.iam_fronts import Front, PostgresFront, ValkeyFront
    from integrations.iam_keys import RollingKeys
    from integrations.mariadb import MariaPlace
    from integrations.rotation_load import Record

    Query = Callable[[], Awaitable[object]]

pytestmark = pytest.mark.load

REGION = "eu-west-1"
WORKERS = 50
ROLLS = 5
MEETING = 20  # queries of each adapter after each roll: more than it has connections, so most of them log in anew
CONNECTIONS = 8


class Load:
    """Workers that query by one adapter until they are stopped."""

    def __init__(self, adapter: str, query: Query) -> None:
        self.queries = 0
        self.failures: list[str] = []
        self.is_over = False
        self._adapter = adapter
        self._query = query
        self._longest = 0.0

    async def work(self) -> None:
        """Query until the load is over, or a query fails."""
        while not self.is_over:
            began = time.monotonic()
            try:
                await self._query()
            except Exception as error:  # noqa: BLE001 (each is a failure)
                self.failures.append(f"{type(error).__name__}: {error}")
                return
            self._longest = max(self._longest, time.monotonic() - began)
            self.queries += 1
            await asyncio.sleep(0)

    async def meet(self) -> None:
        """Wait until the workers have queried often enough to meet a roll."""
        before = self.queries
        while self.queries < before + MEETING and not self.failures:  # noqa: ASYNC110 (the workers count)
            await asyncio.sleep(0.02)

    def check(self, keys: RollingKeys, front: Front, *, server: str, record: Record) -> None:
        """Hold the promises, and leave the line of the table."""
        loads = keys.loads
        record(
            {
                "server": server,
                "adapter": self._adapter,
                "control": False,
                "kind": "IAM token",
                "order": "AWS credentials roll",
                "queries": self.queries,
                "failures": len(self.failures),
                "longest": round(self._longest, 2),
                "window": 0.0,
                # Per roll, rounded up.
                "fetches": -(-(loads - 1) // ROLLS),
            }
        )
        assert not self.failures, self.failures[0]
        # One load at the start, and one per roll, however many connections are refused together.
        assert loads == 1 + ROLLS
        assert {text.partition(" ASIA")[0] for text in front.rule.refusals} == {"the access key"}
        assert not front.rule.in_clear
        assert self.queries >= WORKERS


async def run(keys: RollingKeys, queries: dict[str, Query]) -> list[Load]:
    """Roll while the workers query, by several adapters in the same seconds; each meets a roll before the next one."""
    loads = [Load(adapter, query) for adapter, query in queries.items()]
    for query in queries.values():
        await query()
    async with asyncio.TaskGroup() as group:
        for load in loads:
            for _ in range(WORKERS):
                group.create_task(load.work())
        for _ in range(ROLLS):
            keys.roll()
            await asyncio.gather(*(load.meet() for load in loads))
        for load in loads:
            load.is_over = True
    return loads


def database(pool: CredentialsPool, front: Front) -> IamDatabaseCredentials:
    """Return tokens for a front."""
    return IamDatabaseCredentials(pool, host=HOST, port=front.port, username="app", region_name=REGION)


@pytest.mark.timeout(90)
async def test_postgres(
    iam_postgres: PostgresFront, iam_keys: RollingKeys, iam_trust: Trust, record_rotation: Record
) -> None:
    """No query of a pool or an engine for PostgreSQL fails, whose connections serve one query each."""
    asyncpg = pytest.importorskip("aiocredentials.integrations.asyncpg")
    psycopg = pytest.importorskip("aiocredentials.integrations.psycopg")
    engines = pytest.importorskip("aiocredentials.integrations.sqlalchemy")
    text = pytest.importorskip("sqlalchemy").text
    context = ssl.create_default_context(cafile=str(iam_trust.bundle))
    conninfo = f"dbname=postgres sslmode=verify-full sslrootcert={iam_trust.bundle}"
    url = "postgresql+asyncpg:///postgres"
    sizes = {"min_size": 1, "max_size": CONNECTIONS}
    async with CredentialsPool() as secrets:
        tokens = database(secrets, iam_postgres)
        async with (
            asyncpg.create_pool(tokens, ssl=context, database="postgres", max_queries=1, **sizes) as pool,
            psycopg.create_pool(tokens, conninfo, **sizes) as psycopg_pool,
            engines.create_async_engine(
                tokens, url, connect_args={"ssl": context}, pool_size=CONNECTIONS, max_overflow=0
            ) as engine,
        ):

            async def by_psycopg() -> None:
                async with psycopg_pool.connection() as connection:
                    await connection.execute("SELECT 1")
                    await connection.close()

            async def by_sqlalchemy() -> None:
                async with engine.connect() as connection:
                    await connection.execute(text("SELECT 1"))
                    await connection.invalidate()

            queries: dict[str, Query] = {
                "asyncpg": lambda: pool.fetchval("SELECT 1"),
                "psycopg": by_psycopg,
                "sqlalchemy+asyncpg": by_sqlalchemy,
            }
            loads = await run(iam_keys, queries)
    for load in loads:
        load.check(iam_keys, iam_postgres, server="PostgreSQL", record=record_rotation)


@pytest.mark.parametrize("name", ["aiomysql", "asyncmy"])
async def test_mysql(
    name: str, maria: MariaPlace, iam_keys: RollingKeys, iam_trust: Trust, record_rotation: Record
) -> None:
    """No query of a pool of a driver for MySQL fails, whose connections serve one query each."""
    adapter = pytest.importorskip(f"aiocredentials.integrations.{name}")
    await maria.role("app", BACKEND_PASSWORD)
    context = ssl.create_default_context(cafile=str(iam_trust.bundle))
    async with (
        MySQLFront(iam_keys.rule, maria.server.port, iam_trust.context) as front,
        CredentialsPool() as secrets,
        adapter.create_pool(database(secrets, front), ssl=context, minsize=1, maxsize=CONNECTIONS) as pool,
    ):

        async def query() -> None:
            async with pool.acquire() as connection, connection.cursor() as cursor:
                await cursor.execute("SELECT 1")
                await connection.ensure_closed()

        (load,) = await run(iam_keys, {name: query})
    load.check(iam_keys, front, server="MariaDB", record=record_rotation)


async def test_redis(iam_valkey: ValkeyFront, iam_keys: RollingKeys, iam_trust: Trust, record_rotation: Record) -> None:
    """No command of redis-py fails, whose connections serve one command each."""
    redis = pytest.importorskip("redis.asyncio")
    adapter = pytest.importorskip("aiocredentials.integrations.redis")
    connections = redis.BlockingConnectionPool(
        host=HOST,
        port=iam_valkey.port,
        connection_class=redis.SSLConnection,
        ssl_ca_certs=str(iam_trust.bundle),
        max_connections=CONNECTIONS,
    )
    async with CredentialsPool(REGION) as secrets, contextlib.AsyncExitStack() as stack:
        cache = IamCacheCredentials(secrets, cache_name="sessions", username="app")
        client = adapter.use_credentials(redis.Redis.from_pool(connections), cache)
        stack.push_async_callback(client.aclose)

        async def query() -> None:
            connection = await connections.get_connection()
            try:
                await connection.send_command("PING")
                await connection.read_response()
            finally:
                await connection.disconnect()
                await connections.release(connection)

        (load,) = await run(iam_keys, {"redis": query})
    load.check(iam_keys, iam_valkey, server="Valkey", record=record_rotation)
