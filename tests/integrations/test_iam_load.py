"""Fifty workers query by IAM tokens while the AWS credentials roll five times: no query fails.

Each query needs a connection of its own, so that each roll is met. A front before each real server checks the tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import TYPE_CHECKING, Any

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
MEETING = 20  # logins after each roll
CONNECTIONS = 8


class Load:
    """Workers that query until they are stopped."""

    def __init__(self) -> None:
        self.queries = 0
        self.failures: list[str] = []
        self.longest = 0.0
        self._over = False

    async def run(self, query: Query, keys: RollingKeys, front: Front) -> None:
        """Roll while the workers query; each roll is met by several logins before the next one."""
        await query()
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work(query))
            for _ in range(ROLLS):
                keys.roll()
                logins = front.logins
                while front.logins < logins + MEETING and not self.failures:  # noqa: ASYNC110 (the front counts)
                    await asyncio.sleep(0.02)
            self._over = True

    async def _work(self, query: Query) -> None:
        while not self._over:
            began = time.monotonic()
            try:
                await query()
            except Exception as error:  # noqa: BLE001 (each is a failure)
                self.failures.append(f"{type(error).__name__}: {error}")
                return
            self.longest = max(self.longest, time.monotonic() - began)
            self.queries += 1
            await asyncio.sleep(0)

    def check(self, keys: RollingKeys, front: Front, *, server: str, adapter: str, record: Record) -> None:
        """Hold the promises, and leave the line of the table."""
        loads = keys.loads
        record(
            {
                "server": server,
                "adapter": adapter,
                "control": False,
                "kind": "IAM token",
                "order": "AWS credentials roll",
                "queries": self.queries,
                "failures": len(self.failures),
                "longest": round(self.longest, 2),
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


def database(pool: CredentialsPool, front: Front) -> IamDatabaseCredentials:
    """Return tokens for a front."""
    return IamDatabaseCredentials(pool, host=HOST, port=front.port, username="app", region_name=REGION)


async def test_asyncpg(
    iam_postgres: PostgresFront, iam_keys: RollingKeys, iam_trust: Trust, record_rotation: Record
) -> None:
    """No query of asyncpg's pool fails, whose connections serve one query each."""
    adapter = pytest.importorskip("aiocredentials.integrations.asyncpg")
    context = ssl.create_default_context(cafile=str(iam_trust.bundle))
    options: dict[str, Any] = {"min_size": 1, "max_size": CONNECTIONS, "max_queries": 1, "database": "postgres"}
    load = Load()
    async with (
        CredentialsPool() as secrets,
        adapter.create_pool(database(secrets, iam_postgres), ssl=context, **options) as pool,
    ):
        await load.run(lambda: pool.fetchval("SELECT 1"), iam_keys, iam_postgres)
    load.check(iam_keys, iam_postgres, server="PostgreSQL", adapter="asyncpg", record=record_rotation)


@pytest.mark.parametrize("name", ["aiomysql", "asyncmy"])
async def test_mysql(
    name: str, maria: MariaPlace, iam_keys: RollingKeys, iam_trust: Trust, record_rotation: Record
) -> None:
    """No query of a pool of a driver for MySQL fails, whose connections serve one query each."""
    adapter = pytest.importorskip(f"aiocredentials.integrations.{name}")
    await maria.role("app", BACKEND_PASSWORD)
    context = ssl.create_default_context(cafile=str(iam_trust.bundle))
    load = Load()
    async with (
        MySQLFront(iam_keys.rule, maria.server.port, iam_trust.context) as front,
        CredentialsPool() as secrets,
        adapter.create_pool(database(secrets, front), ssl=context, minsize=1, maxsize=CONNECTIONS) as pool,
    ):

        async def query() -> None:
            async with pool.acquire() as connection, connection.cursor() as cursor:
                await cursor.execute("SELECT 1")
                await connection.ensure_closed()

        await load.run(query, iam_keys, front)
    load.check(iam_keys, front, server="MariaDB", adapter=name, record=record_rotation)


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
    load = Load()
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

        await load.run(query, iam_keys, iam_valkey)
    load.check(iam_keys, iam_valkey, server="Valkey", adapter="redis", record=record_rotation)
