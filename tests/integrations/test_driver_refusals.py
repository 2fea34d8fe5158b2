"""What drivers raise when a server refuses user or password, or something else: real objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsPool, DatabaseCredentials
from aiocredentials.rotation import is_auth_error
from aiocredentials.testing import FakeSecretsManager
from integrations.postgres import CANARY, SUPERUSER
from integrations.refusing_postgres import HOST, refusing_postgres

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from integrations.postgres import Place

    Connect = Callable[..., Awaitable[Any]]

# Severity, SQLSTATE and words, and whether it is a refusal of the password.
REFUSALS = {
    "English": (("FATAL", "28P01", 'password authentication failed for user "app"'), True),
    "German": (("FATAL", "28P01", "Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen"), True),
    "Japanese": (("FATAL", "28P01", 'ユーザー"app"のパスワード認証に失敗しました'), True),
    "Russian": (("ВАЖНО", "28P01", "пользователь «app» не прошёл проверку подлинности"), True),
    "PAM": (("FATAL", "28000", 'PAM authentication failed for user "app"'), True),
    "LDAP": (("FATAL", "28000", 'LDAP authentication failed for user "app"'), True),
    "RDS Proxy": (("FATAL", "28000", "This RDS proxy has no credentials for the role app. Check them."), True),
    "no database": (("FATAL", "3D000", 'database "shop" does not exist'), False),
    "no database, in German": (("FATAL", "3D000", "Datenbank »shop« existiert nicht"), False),
    "too many": (("FATAL", "53300", 'too many connections for role "app"'), False),
}


async def _asyncpg(port: int, user: str, password: str, database: str) -> Any:  # noqa: ANN401
    asyncpg = pytest.importorskip("asyncpg")
    where = {"host": HOST, "port": port, "database": database}
    return await asyncpg.connect(**where, user=user, password=password, ssl=False)


async def _psycopg(port: int, user: str, password: str, database: str) -> Any:  # noqa: ANN401
    psycopg = pytest.importorskip("psycopg")
    where = {"host": HOST, "port": port, "dbname": database, "sslmode": "disable", "gssencmode": "disable"}
    return await psycopg.AsyncConnection.connect(**where, user=user, password=password)


async def _sqlalchemy(driver: str, port: int, user: str, password: str, database: str) -> Any:  # noqa: ANN401
    sqlalchemy_asyncio = pytest.importorskip("sqlalchemy.ext.asyncio")
    pytest.importorskip("greenlet")
    pytest.importorskip(driver)
    sqlalchemy = pytest.importorskip("sqlalchemy")
    url = sqlalchemy.URL.create(f"postgresql+{driver}", user, password, HOST, port, database)
    options: dict[str, Any] = {"ssl": False}
    if driver == "psycopg":
        options = {"sslmode": "disable", "gssencmode": "disable"}
    engine = sqlalchemy_asyncio.create_async_engine(url, connect_args=options)
    async with engine.connect():
        """Isn't reached."""


async def _sqlalchemy_asyncpg(*where: Any) -> Any:  # noqa: ANN401
    return await _sqlalchemy("asyncpg", *where)


async def _sqlalchemy_psycopg(*where: Any) -> Any:  # noqa: ANN401
    return await _sqlalchemy("psycopg", *where)


CLIENTS = [_asyncpg, _psycopg, _sqlalchemy_asyncpg, _sqlalchemy_psycopg]


@pytest.mark.parametrize(("refusal", "expected"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("connect", CLIENTS)
async def test_words(connect: Connect, refusal: tuple[str, str, str], expected: bool) -> None:  # noqa: FBT001 (of the table)
    """A refused password is recognized, whatever the words and the driver are."""
    async with refusing_postgres("right", refusal) as server:
        with pytest.raises(Exception, match=r".") as caught:
            await connect(server.port, "app", "wrong", "shop")
    assert is_auth_error(caught.value) is expected


@pytest.mark.parametrize("connect", CLIENTS)
async def test_what_postgres_refuses(place: Place, connect: Connect) -> None:
    """PostgreSQL's own refusals: of a password and a role, and what no password mends."""
    await place.role("app", CANARY)
    await place.role("idle", CANARY)
    await place.superuser.execute("ALTER ROLE idle NOLOGIN")
    await place.role("many", CANARY, "CONNECTION LIMIT 0")
    refused = {
        ("app", "wrong", "postgres"): True,
        ("nobody", CANARY, "postgres"): True,
        ("idle", CANARY, "postgres"): True,
        ("many", CANARY, "postgres"): False,
        ("app", CANARY, "nowhere"): False,
    }
    for (user, password, database), expected in refused.items():
        with pytest.raises(Exception, match=r".") as caught:
            await connect(place.server.port, user, password, database)
        assert is_auth_error(caught.value) is expected, (user, database)
    async with place.rejecting("app"):
        with pytest.raises(Exception, match=r"pg_hba\.conf") as caught:
            await connect(place.server.port, "app", CANARY, "postgres")
        assert not is_auth_error(caught.value)
    with pytest.raises(Exception, match=r"[Cc]onnect") as caught:
        await connect(1, "postgres", SUPERUSER, "postgres")
    assert not is_auth_error(caught.value)


@pytest.mark.parametrize("adapter", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("refusal", [refusal for refusal, expected in REFUSALS.values() if expected])
async def test_an_old_password_is_bridged(refusal: tuple[str, str, str], adapter: str) -> None:
    """An old password is refused, in whatever words, and the new one is fetched and accepted."""
    module: Any = pytest.importorskip(f"aiocredentials.integrations.{adapter}")
    options: dict[str, Any] = {"ssl": False}
    if adapter == "psycopg":
        options = {"sslmode": "disable", "gssencmode": "disable"}
    async with refusing_postgres("right", refusal) as server:
        where = {"username": "app", "host": HOST, "port": server.port, "dbname": "shop"}
        fake = FakeSecretsManager({"db": {**where, "password": "wrong"}})
        async with CredentialsPool(session=fake) as pool:
            manager = pool.manager("db", decode=DatabaseCredentials.from_json)
            await manager.get()
            fake.rotate("db", {**where, "password": "right"})
            connection = await module.connect(manager, budget=5, **options)
            if adapter == "asyncpg":
                connection.terminate()
            else:
                await connection.close()
        assert server.logins == 2


def test_redis() -> None:
    """redis-py's own errors: a refused password, also below a cluster's error, and others."""
    exceptions = pytest.importorskip("redis.exceptions")
    refused = exceptions.AuthenticationError("invalid username-password pair or user is disabled.")
    assert is_auth_error(refused)
    cluster = exceptions.RedisClusterException("can't be connected")
    cluster.__cause__ = refused
    assert is_auth_error(cluster)
    for other in ("ConnectionError", "NoPermissionError", "BusyLoadingError", "MaxConnectionsError", "ResponseError"):
        assert not is_auth_error(getattr(exceptions, other)("no")), other
