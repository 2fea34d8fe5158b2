"""The servers for the page on IAM tokens: fronts before real ones, in a thread, because the page runs its own loops."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from integrations.iam_fixtures import CACHE
from integrations.iam_fronts import BACKEND_PASSWORD, HOST, PostgresFront, ValkeyFront
from integrations.iam_mysql_front import MySQLFront
from integrations.mariadb_server import ADMIN, ADMIN_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_postgres import LocalPostgres

    from integrations.iam_fixtures import Trust
    from integrations.iam_keys import RollingKeys
    from integrations.mariadb_server import LocalMariaDB
    from integrations.redis_server import RedisServer


@pytest.fixture
def iam_servers(
    postgres_server: LocalPostgres,
    mariadb_server: LocalMariaDB,
    redis_server: RedisServer,
    iam_keys: RollingKeys,
    iam_trust: Trust,
) -> Iterator[dict[str, str]]:
    """Let PostgreSQL, MariaDB and Valkey accept IAM tokens, by fronts in a thread that stand for AWS's servers."""
    asyncpg = pytest.importorskip("asyncpg")
    asyncmy = pytest.importorskip("asyncmy")
    redis = pytest.importorskip("redis")
    where = {"host": postgres_server.host, "port": postgres_server.port}

    async def create_role() -> None:
        connection = await asyncpg.connect(**where, user="postgres", password=postgres_server.password)
        await connection.execute("DROP ROLE IF EXISTS app")  # another test's, on the same server
        await connection.execute(f"CREATE ROLE app LOGIN PASSWORD '{BACKEND_PASSWORD}'")
        await connection.close()

    async def create_user() -> None:
        login = {"user": ADMIN, "password": ADMIN_PASSWORD}
        connection = await asyncmy.connect(host=mariadb_server.host, port=mariadb_server.port, **login)
        async with connection.cursor() as cursor:
            await cursor.execute(f"CREATE OR REPLACE USER app@'%' IDENTIFIED BY '{BACKEND_PASSWORD}'")
            await cursor.execute("CREATE DATABASE IF NOT EXISTS shop")
            await cursor.execute("GRANT ALL ON shop.* TO app@'%'")
            await cursor.execute("GRANT INSERT ON observed.logins TO app@'%'")
        await connection.ensure_closed()

    asyncio.run(create_role())
    asyncio.run(create_user())
    with redis.Redis(port=redis_server.port, password=redis_server.admin_password) as admin:
        admin.acl_setuser("app", enabled=True, passwords=[f"+{BACKEND_PASSWORD}"], keys="*", commands=["+@all"])
    postgres = PostgresFront(iam_keys.rule, postgres_server.port, iam_trust.context)
    mysql = MySQLFront(iam_keys.rule, mariadb_server.port, iam_trust.context)
    valkey = ValkeyFront(iam_keys.rule, redis_server.port, iam_trust.context, CACHE)
    fronts = (postgres, mysql, valkey)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        for front in fronts:
            loop.run_until_complete(front.__aenter__())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        yield {
            "app.cluster-x.eu-west-1.rds.amazonaws.com": HOST,
            "master.sessions.x.euw1.cache.amazonaws.com": HOST,
            "5432": str(postgres.port),
            "3306": str(mysql.port),
            "6379": str(valkey.port),
            "global-bundle.pem": str(iam_trust.bundle),
            "ssl=True)": f"ssl=True, ssl_ca_certs={str(iam_trust.bundle)!r})",
        }
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for front in fronts:
            loop.run_until_complete(front.__aexit__(None, None, None))
