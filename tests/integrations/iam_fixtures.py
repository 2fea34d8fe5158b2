"""Fixtures for IAM tokens: AWS credentials that roll, certificates, and a front before each real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from integrations.iam_fronts import BACKEND_PASSWORD, HOST, PostgresFront, ValkeyFront
from integrations.iam_keys import Clock, RollingKeys
from integrations.iam_mysql_front import MySQLFront
from integrations.iam_rule import Target
from server.certificates import Authority, server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from integrations.mariadb import MariaPlace
    from integrations.postgres import Place
    from integrations.redis_server import RedisServer

REGION = "eu-west-1"
CACHE = Target("elasticache", "sessions", REGION)


class Trust(NamedTuple):
    """What servers show, and the authority that clients trust."""

    context: ssl.SSLContext
    bundle: Path


@pytest.fixture(scope="session")
def iam_trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """A certificate for the loopback interface."""
    authority = Authority(tmp_path_factory.mktemp("iam"), "databases")
    return Trust(server_context(authority.leaf("localhost", HOST)), authority.bundle)


@pytest.fixture
def iam_keys(aws_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RollingKeys:
    """AWS credentials from a `credential_process`, and the rule that knows which are valid."""
    assert aws_environment is None  # first the clean environment, then these
    keys = RollingKeys(tmp_path, Clock(monkeypatch))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(keys.config))
    return keys


@pytest.fixture
async def iam_postgres(place: Place, iam_keys: RollingKeys, iam_trust: Trust) -> AsyncIterator[PostgresFront]:
    """A front before a real PostgreSQL, whose role `app` signs in by tokens."""
    await place.role("app", BACKEND_PASSWORD)
    async with PostgresFront(iam_keys.rule, place.server.port, iam_trust.context) as front:
        yield front


@pytest.fixture
async def iam_mysql(maria: MariaPlace, iam_keys: RollingKeys, iam_trust: Trust) -> AsyncIterator[MySQLFront]:
    """A front before a real MariaDB, whose user `app` signs in by tokens."""
    await maria.role("app", BACKEND_PASSWORD)
    async with MySQLFront(iam_keys.rule, maria.server.port, iam_trust.context) as front:
        yield front


@pytest.fixture
async def iam_valkey(
    redis_server: RedisServer, redis_admin: Redis, iam_keys: RollingKeys, iam_trust: Trust
) -> AsyncIterator[ValkeyFront]:
    """A front before a real Valkey, whose user `app` signs in by tokens."""
    await redis_admin.acl_setuser("app", enabled=True, passwords=[f"+{BACKEND_PASSWORD}"], keys="*", commands=["+@all"])
    async with ValkeyFront(iam_keys.rule, redis_server.port, iam_trust.context, CACHE) as front:
        yield front
