"""The fronts themselves: what RDS, Aurora and ElastiCache refuse, they refuse, and drivers understand it.

One test says which drivers send a token in clear if they are let: that is what the adapters have to prevent.
"""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aiocredentials.rotation import is_auth_error
from integrations.iam_fronts import BACKEND_PASSWORD, HOST
from integrations.iam_mysql_front import MySQLFront
from integrations.iam_rule import AccessKey, RefusedTokenError, Target, TokenRule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from integrations.iam_fixtures import Trust
    from integrations.iam_fronts import Front, PostgresFront, ValkeyFront
    from integrations.iam_keys import RollingKeys
    from integrations.mariadb import MariaPlace

    Connect = Callable[..., Awaitable[Any]]

KEY = AccessKey("ASIAEXAMPLE", "not-a-real/key+", "not/a+real=token")
DATABASE = Target("rds-db", "db.example:5432", "eu-west-1")
CACHE = Target("elasticache", "sessions", "eu-west-1", {"ResourceType": "ServerlessCache"})
NOW = time.time()
"""The tokens of the table below are signed when this file is read, which may be long before its tests run."""


def sign(key: AccessKey, target: Target, user: str = "app", *, life: int = 900) -> str:
    """Make a token by botocore's signer, as AWS's SDKs do."""
    params = {"Action": "connect", target.user_parameter: user, **target.more}
    request = AWSRequest(method="GET", url=f"https://{target.host}/", params=params)
    SigV4QueryAuth(Credentials(*key[:3]), target.service, target.region, expires=life).add_auth(request)
    url: str = request.prepare().url
    return url.removeprefix("https://")


def sign_for(front: Front, user: str = "app") -> str:
    """Make a token for a front, with the key that is valid now."""
    (key,) = front.rule.keys.values()
    return sign(key, front.target(), user)


# The rule


@pytest.mark.exhaustive
@pytest.mark.parametrize("target", [DATABASE, CACHE])
@pytest.mark.parametrize("key", [KEY, KEY._replace(session_token=None)])
@pytest.mark.parametrize("user", ["app", "team/app user+ü"])
def test_what_botocore_signs_is_accepted(target: Target, key: AccessKey, user: str) -> None:
    """The rule's own signature is the one of botocore, for each service, kind of key and user."""
    rule = TokenRule(key)
    rule.users = {user}
    assert rule.accepts(sign(key, target, user), target, user)
    assert not rule.refusals


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (sign(KEY, DATABASE._replace(host="db.example:5433")), "for the host"),
        (sign(KEY, DATABASE._replace(region="eu-west-2")), "scope"),
        (sign(KEY, DATABASE._replace(service="rds")), "it is for"),
        (sign(KEY, DATABASE, "other"), "it is for"),
        (sign(KEY, DATABASE, life=901), "life"),
        (sign(KEY._replace(access_key_id="ASIAOLD"), DATABASE), "ASIAOLD isn't valid"),
        (sign(KEY._replace(secret_key="other"), DATABASE), "signature"),
        (sign(KEY._replace(session_token=None), DATABASE), "session token"),
        (sign(KEY, DATABASE) + "0", "signature"),
        (sign(KEY, DATABASE) + "&Action=connect", "twice"),
        ("https://" + sign(KEY, DATABASE), "for the host"),
        ("a password", "presigned"),
    ],
)
def test_what_is_refused(token: str, reason: str) -> None:
    """A token for anything else, by any other key, or changed by one character is refused, and the test learns why."""
    rule = TokenRule(KEY)
    rule.clock = lambda: NOW
    assert not rule.accepts(token, DATABASE, "app")
    assert reason in rule.refusals[0]


@pytest.mark.exhaustive
def test_the_clock() -> None:
    """A token is valid for 15 minutes, and 5 minutes before by a clock that is slow."""
    rule = TokenRule(KEY)
    token = sign(KEY, DATABASE)
    now = rule.clock()
    for ahead in (-200.0, 0.0, 890.0):
        rule.clock = lambda ahead=ahead: now + ahead  # type: ignore[misc]
        rule.check(token, DATABASE, "app")
    for ahead, reason in ((-310.0, "will be signed"), (910.0, "expired")):
        rule.clock = lambda ahead=ahead: now + ahead  # type: ignore[misc]
        with pytest.raises(RefusedTokenError, match=reason):
            rule.check(token, DATABASE, "app")


# PostgreSQL


async def _asyncpg(front: Front, password: str, bundle: Any, mode: str) -> Any:  # noqa: ANN401
    asyncpg = pytest.importorskip("asyncpg")
    context: Any = mode
    if mode == "verify-full":
        context = ssl.create_default_context(cafile=bundle)
    where = {"host": HOST, "port": front.port, "database": "postgres"}
    return await asyncpg.connect(**where, user="app", password=password, ssl=context)


async def _psycopg(front: Front, password: str, bundle: Any, mode: str) -> Any:  # noqa: ANN401
    psycopg = pytest.importorskip("psycopg")
    where = {"host": HOST, "port": front.port, "dbname": "postgres", "sslrootcert": str(bundle), "sslmode": mode}
    return await psycopg.AsyncConnection.connect(**where, user="app", password=password)


@pytest.mark.parametrize("connect", [_asyncpg, _psycopg])
async def test_postgres(iam_postgres: PostgresFront, iam_trust: Trust, connect: Connect) -> None:
    """A token is accepted, and another one refused in RDS's words, which is a refusal in each mode of encryption.

    In the modes prefer and allow, the driver tries again in clear, or has tried before.
    """
    connection = await connect(iam_postgres, sign_for(iam_postgres), iam_trust.bundle, "verify-full")
    await connection.close()
    for mode in ("verify-full", "require", "prefer", "allow"):
        with pytest.raises(Exception, match=r"PAM|pg_hba\.conf") as caught:
            await connect(iam_postgres, sign_for(iam_postgres) + "0", iam_trust.bundle, mode)
        assert is_auth_error(caught.value), mode
    with pytest.raises(Exception, match=r"pg_hba\.conf rejects .*, no encryption") as caught:
        await connect(iam_postgres, sign_for(iam_postgres), iam_trust.bundle, "disable")
    assert not is_auth_error(caught.value)
    assert iam_postgres.logins == 1
    assert set(iam_postgres.rule.refusals) == {"the signature is wrong"}
    await iam_postgres.until_open(0)


# MySQL


async def _sign_in(name: str, front: Front, password: str, context: ssl.SSLContext | None, **options: str) -> str:
    """Sign in by a driver for MySQL, and return as whom."""
    module = pytest.importorskip(name)
    where = {"host": HOST, "port": front.port, "db": "app"}
    connection = await module.connect(**where, user="app", password=password, ssl=context, **options)
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT CURRENT_USER()")
        (user,) = await cursor.fetchone()
    await connection.ensure_closed()
    return str(user)


@pytest.mark.parametrize("driver", ["aiomysql", "asyncmy"])
async def test_mysql(iam_mysql: MySQLFront, iam_trust: Trust, driver: str) -> None:
    """A token is accepted when the server asks for it; one that is wrong, or in clear, is refused as by MySQL."""
    context = ssl.create_default_context(cafile=iam_trust.bundle)
    assert await _sign_in(driver, iam_mysql, sign_for(iam_mysql), context) == "app@%"
    for password, encryption in ((sign_for(iam_mysql) + "0", context), (sign_for(iam_mysql), None)):
        with pytest.raises(Exception, match="Access denied for user 'app'@") as caught:
            await _sign_in(driver, iam_mysql, password, encryption)
        assert is_auth_error(caught.value)
    assert iam_mysql.rule.refusals == ["the signature is wrong"]
    assert iam_mysql.rule.in_clear == []
    if driver == "aiomysql":
        # It may send the token before it is asked.
        plugin = {"auth_plugin": "mysql_clear_password"}
        assert await _sign_in(driver, iam_mysql, sign_for(iam_mysql), context, **plugin) == "app@%"
    await iam_mysql.until_open(0)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("driver", "is_told_to_encrypt"), [("aiomysql", False), ("aiomysql", True), ("asyncmy", False)]
)
async def test_drivers_send_passwords_in_clear(
    maria: MariaPlace,
    iam_keys: RollingKeys,
    iam_trust: Trust,
    driver: str,
    is_told_to_encrypt: bool,  # noqa: FBT001 (of the table)
) -> None:
    """A server without encryption that asks for the password gets it, from aiomysql even if that is to encrypt.

    If this fails, a driver has become careful, and the adapter may need its own check no more.
    """
    await maria.role("app", BACKEND_PASSWORD)
    context = ssl.create_default_context(cafile=iam_trust.bundle) if is_told_to_encrypt else None
    async with MySQLFront(iam_keys.rule, maria.server.port, None) as front:
        token = sign_for(front)
        assert await _sign_in(driver, front, token, context) == "app@%"
        assert iam_keys.rule.in_clear == [token]


# Valkey


async def test_valkey(iam_valkey: ValkeyFront, iam_trust: Trust) -> None:
    """AUTH and HELLO take a token, also on an open connection, and any other is refused by the server itself."""
    redis = pytest.importorskip("redis.asyncio")
    retry = pytest.importorskip("redis.asyncio.retry").Retry(pytest.importorskip("redis.backoff").NoBackoff(), 0)
    exceptions = pytest.importorskip("redis.exceptions")
    where = {"host": HOST, "port": iam_valkey.port, "ssl": True, "ssl_ca_certs": str(iam_trust.bundle), "retry": retry}
    for protocol in (2, 3):
        async with redis.Redis(
            **where, username="app", password=sign_for(iam_valkey), protocol=protocol, decode_responses=True
        ) as client:
            assert await client.acl_whoami() == "app"
            assert await client.execute_command("AUTH", "app", sign_for(iam_valkey))
            with pytest.raises(exceptions.AuthenticationError) as caught:
                await client.execute_command("AUTH", "app", sign_for(iam_valkey) + "0")
            assert is_auth_error(caught.value)
    assert iam_valkey.logins == 4
    await iam_valkey.until_open(0)
