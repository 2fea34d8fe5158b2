"""Connections for IAM tokens are encrypted, or refused before anything is sent; each driver has its own options."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

import pytest

from aiocredentials import CredentialsPool
from aiocredentials._rotation.encryption import check_encryption
from aiocredentials.iam import IamCacheCredentials, IamDatabaseCredentials

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# A server's first packet: MySQL 8, whose capabilities have no TLS, and which wants the password in clear.
_GREETING = (
    b"\x0a8.0.0\0" + bytes(4) + b"saltsalt\0" + b"\x01\xa2" + bytes(3) + b"\x0f\0\x15" + bytes(10) + b"saltsaltsalt\0"
)
_GREETING += b"mysql_clear_password\0"
HANDSHAKE = len(_GREETING).to_bytes(3, "little") + b"\0" + _GREETING
NO_ENCRYPTION = "An IAM token is a password that is sent as plain text, so the connection must be encrypted: "


class Needing:
    """A manager that needs encryption."""

    needs_encryption = True


@pytest.fixture(autouse=True)
def _no_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PG"):
            monkeypatch.delenv(name)


@pytest.fixture
def database() -> IamDatabaseCredentials:
    """IAM tokens of a pool that isn't open: nothing is connected here."""
    host = "app.cluster-x.eu-west-1.rds.amazonaws.com"
    return IamDatabaseCredentials(CredentialsPool(), host=host, port=5432, username="app")


def refusal_of(driver: str, options: dict[str, Any], manager: object = Needing) -> str:
    """Return the sentence after the reason; empty if the options are accepted."""
    try:
        check_encryption(manager, driver, options)
    except ValueError as error:
        reason, _, sentence = str(error).partition(NO_ENCRYPTION)
        return sentence or reason
    return ""


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "aiomysql"])
def test_other_managers(driver: str) -> None:
    """A manager of a secret may be used without encryption, as before."""
    assert not refusal_of(driver, {"host": "/run/postgresql"}, manager=object())


@pytest.mark.parametrize(
    "options",
    [
        {"ssl": CONTEXT},
        {"ssl": True},
        {"ssl": "require"},
        {"ssl": "verify-ca"},
        {"ssl": "verify_full"},
        {"dsn": "postgresql://db.example/shop?sslmode=verify-full"},
        {"dsn": "postgresql://db.example/?sslmode=disable", "ssl": CONTEXT},
        {"dsn": None, "ssl": "verify-full", "host": ["one", "two"]},
        {"dsn": "postgresql:///shop", "ssl": "verify-full"},
        {"dsn": "postgresql://[::1]:5432,db.example:5433/shop", "ssl": "verify-full", "host": "::1,::2"},
    ],
)
def test_asyncpg(options: dict[str, Any]) -> None:
    """These options of asyncpg never send a password in clear."""
    assert not refusal_of("asyncpg", options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ssl": None},
        {"ssl": False},
        {"ssl": "prefer"},
        {"ssl": "allow"},
        {"ssl": "disable"},
        {"ssl": 1},
        {"dsn": "postgresql://db.example/?sslmode=prefer"},
        {"dsn": "postgresql://db.example/?sslmode=require", "ssl": False},
        {"dsn": "postgresql://db.example/?sslmode=require&sslmode=disable"},
        {"server_settings": {"ssl": "on"}},
    ],
)
def test_asyncpg_in_clear(options: dict[str, Any]) -> None:
    """These may send it in clear; the sentence says what to give."""
    sentence = refusal_of("asyncpg", options)
    assert sentence.startswith("give ssl=ssl.create_default_context(cafile=...) with global-bundle.pem")
    assert "sslmode=verify-full in the URL" in sentence


def test_class_of_asyncpg() -> None:
    """The modes of asyncpg's own class count by their names."""
    modes = pytest.importorskip("asyncpg.connect_utils").SSLMode
    accepted = {mode.name for mode in modes if not refusal_of("asyncpg", {"ssl": mode})}
    assert accepted == {"require", "verify_ca", "verify_full"}


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_libpq(mode: str) -> None:
    """With one of these modes, psycopg never sends a password in clear."""
    assert not refusal_of("psycopg", {"sslmode": mode})


@pytest.mark.parametrize("options", [{}, {"sslmode": "prefer"}, {"sslmode": "disable"}, {"ssl": CONTEXT}])
def test_libpq_in_clear(options: dict[str, Any]) -> None:
    """With the others it may; the sentence says what to give."""
    assert refusal_of("psycopg", options).startswith("give sslmode='verify-full' and sslrootcert=")


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_environment(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGSSLMODE counts, but not over an option, and not if the file of a service may overrule it."""
    monkeypatch.setenv("PGSSLMODE", "require")
    assert not refusal_of(driver, {})
    assert refusal_of(driver, {"ssl": "prefer", "sslmode": "prefer"})
    assert refusal_of(driver, {"service": "mine"})
    if driver == "asyncpg":
        assert refusal_of(driver, {"dsn": "postgresql:///?service=mine"})
    monkeypatch.setenv("PGSERVICE", "mine")
    assert refusal_of(driver, {})
    monkeypatch.delenv("PGSERVICE")
    monkeypatch.setenv("PGSSLMODE", "prefer")
    assert refusal_of(driver, {})


@pytest.mark.parametrize("driver", ["aiomysql", "asyncmy"])
def test_mysql(driver: str) -> None:
    """Drivers for MySQL need a context, because they have no other option that encrypts for sure."""
    assert not refusal_of(driver, {"ssl": CONTEXT})
    for options in (
        {},
        {"ssl": None},
        {"ssl": True},
        {"ssl": {"ca": "x"}},
        {"ssl": CONTEXT, "read_default_file": "~/.my.cnf"},
    ):
        assert refusal_of(driver, options).startswith("give ssl=ssl.create_default_context(")


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("asyncpg", {"host": "/run/postgresql"}),
        ("asyncpg", {"host": ["db.example", "@abstract"]}),
        ("asyncpg", {"dsn": "postgresql://db.example/?host=/run/postgresql"}),
        ("asyncpg", {"dsn": "postgresql://%2Frun%2Fpostgresql/shop"}),
        ("psycopg", {"host": "db.example,/run/postgresql", "sslmode": "require"}),
        ("aiomysql", {"unix_socket": "/run/mysqld/mysqld.sock"}),
        # In a list, libpq takes an empty host for its folder of sockets.
        ("psycopg", {"host": "db.example,", "port": "5432,5433", "sslmode": "require"}),
        ("psycopg", {"host": ",db.example", "sslmode": "require"}),
        ("asyncpg", {"host": ["db.example", ""]}),
        ("asyncpg", {"host": [""]}),
        ("asyncpg", {"dsn": "postgresql://db.example,/shop"}),
        ("asyncpg", {"dsn": "postgresql://app@db.example:5432,:5433/shop"}),
        ("asyncpg", {"dsn": "postgresql:///shop?host=db.example,"}),
    ],
)
def test_sockets(driver: str, options: dict[str, Any]) -> None:
    """A Unix-domain socket is refused: drivers don't encrypt it, whatever the options say."""
    assert "leave the Unix-domain socket out" in refusal_of(driver, {"ssl": CONTEXT, **options})


class TestAdapters:
    """Each adapter refuses before it connects."""

    async def test_asyncpg(self, database: IamDatabaseCredentials) -> None:
        """asyncpg: by `connect` and by `create_pool`."""
        adapter = pytest.importorskip("aiocredentials.integrations.asyncpg")
        with pytest.raises(ValueError, match=NO_ENCRYPTION):
            await adapter.connect(database)
        with pytest.raises(ValueError, match=NO_ENCRYPTION):
            async with adapter.create_pool(database, "postgresql://db.example/?sslmode=prefer", min_size=0):
                pass

    async def test_psycopg(self, database: IamDatabaseCredentials) -> None:
        """psycopg: by `connect`, by `create_pool`, and by options that a callable returns later."""
        adapter = pytest.importorskip("aiocredentials.integrations.psycopg")
        with pytest.raises(ValueError, match=NO_ENCRYPTION):
            await adapter.connect(database, "host=db.example")
        with pytest.raises(ValueError, match=NO_ENCRYPTION):
            async with adapter.create_pool(database, kwargs={"sslmode": "prefer"}, min_size=0):
                pass
        with pytest.raises(ValueError, match=NO_ENCRYPTION):
            async with adapter.create_pool(database, lambda: "sslmode=prefer", min_size=1):
                pass

    async def test_psycopg_accepts(self, database: IamDatabaseCredentials) -> None:
        """psycopg: conninfo and kwargs count together, so a pool begins, and only then is closed."""
        adapter = pytest.importorskip("aiocredentials.integrations.psycopg")
        async with adapter.create_pool(
            database, "host=db.example", kwargs={"sslmode": "require"}, min_size=0, max_size=1
        ):
            pass

    @pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
    async def test_sqlalchemy(self, database: IamDatabaseCredentials, driver: str) -> None:
        """SQLAlchemy: by the URL and by `connect_args`."""
        adapter = pytest.importorskip("aiocredentials.integrations.sqlalchemy")
        pytest.importorskip(driver)
        with pytest.raises(ValueError, match=NO_ENCRYPTION):
            async with adapter.create_async_engine(database, f"postgresql+{driver}://"):
                pass
        option = "ssl" if driver == "asyncpg" else "sslmode"
        async with adapter.create_async_engine(database, f"postgresql+{driver}:///?{option}=verify-full"):
            pass
        connect_args = {option: "require"}
        async with adapter.create_async_engine(database, f"postgresql+{driver}://", connect_args=connect_args):
            pass

    @pytest.mark.parametrize("change", [("PGSSLMODE", "disable"), ("PGSERVICE", "x")])
    @pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
    async def test_changed_environment(
        self, database: IamDatabaseCredentials, driver: str, change: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SQLAlchemy: drivers read the environment for each connection, so each one is checked."""
        adapter = pytest.importorskip("aiocredentials.integrations.sqlalchemy")
        pytest.importorskip(driver)
        monkeypatch.setenv("PGSSLMODE", "require")
        async with adapter.create_async_engine(database, f"postgresql+{driver}://") as engine:
            monkeypatch.setenv(*change)
            with pytest.raises(ValueError, match=NO_ENCRYPTION):
                await engine.connect().start()

    @pytest.mark.parametrize("driver", ["aiomysql", "asyncmy"])
    async def test_mysql(self, database: IamDatabaseCredentials, driver: str) -> None:
        """Drivers for MySQL: by `connect`, by `create_pool`, and by SQLAlchemy."""
        adapter = pytest.importorskip(f"aiocredentials.integrations.{driver}")
        with pytest.raises(ValueError, match=NO_ENCRYPTION):
            await adapter.connect(database)
        with pytest.raises(ValueError, match=NO_ENCRYPTION):
            async with adapter.create_pool(database, minsize=0):
                pass
        sqlalchemy = pytest.importorskip("aiocredentials.integrations.sqlalchemy")
        with pytest.raises(ValueError, match=NO_ENCRYPTION):
            async with sqlalchemy.create_async_engine(database, f"mysql+{driver}://"):
                pass

    @pytest.mark.parametrize("by", ["connect", "sqlalchemy"])
    async def test_server_without_tls(self, by: str) -> None:
        """A server that says it has no TLS gets no byte from aiomysql, which by itself goes on in clear."""
        adapter = pytest.importorskip("aiocredentials.integrations.aiomysql")
        engines = pytest.importorskip("aiocredentials.integrations.sqlalchemy")
        got: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HANDSHAKE)
            got.append(await reader.read())
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, CredentialsPool() as pool:
            port = server.sockets[0].getsockname()[1]
            database = IamDatabaseCredentials(
                pool, host="127.0.0.1", port=port, username="app", region_name="eu-west-1"
            )
            with pytest.raises(Exception, match="The server has no TLS, but ssl= is given"):  # noqa: PT012
                if by == "connect":
                    await adapter.connect(database, ssl=CONTEXT)
                connect_args = {"ssl": CONTEXT}
                async with (
                    engines.create_async_engine(database, "mysql+aiomysql://", connect_args=connect_args) as engine,
                    engine.connect(),
                ):
                    pass
        assert got == [b""]

    def test_redis(self) -> None:
        """redis-py: a client with `ssl=True` is accepted, of any kind; a provider needs a statement."""
        redis = pytest.importorskip("redis.asyncio")
        from aiocredentials.integrations.redis import (  # noqa: PLC0415 - redis may be missing
            RotatingCredentialProvider,
            use_credentials,
        )

        cache = IamCacheCredentials(CredentialsPool(), cache_name="my-cache", username="app")
        in_clear = [
            redis.Redis(),
            redis.ConnectionPool(),
            redis.Redis(unix_socket_path="/run/redis"),
            redis.RedisCluster(host="db.example"),
        ]
        for client in in_clear:
            with pytest.raises(ValueError, match=f"{NO_ENCRYPTION}give the client ssl=True"):
                use_credentials(client, cache)
        encrypted = [
            redis.Redis(ssl=True),
            redis.Redis.from_url("rediss://db.example"),
            redis.RedisCluster(host="db.example", ssl=True),
        ]
        for client in encrypted:
            assert use_credentials(client, cache) is client
        with pytest.raises(ValueError, match="a provider can't see whether its client encrypts"):
            RotatingCredentialProvider(cache)
        RotatingCredentialProvider(cache, encrypted=True)
