"""What the tests of `max_wait` share: servers that don't answer, a secret without AWS, and each adapter's pool."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocredentials import DatabaseCredentials, Secret
from integrations.iam_mysql_front import denied, greeting, packet
from integrations.refusing_postgres import message, refusing_postgres

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

HOST = "127.0.0.1"
SHORT = 0.1  # seconds that a caller waits where nothing would ever answer
PASSWORD = "hunter2-canary"


class SilentServer:
    """Accepts connections, says what it was given, and then nothing more."""

    def __init__(self, *answers: bytes, first: bytes = b"") -> None:
        self.first = first
        self.answers = answers
        self.open = 0
        self.accepted = 0
        self.port = 0
        self._closed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.accepted += 1
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(self.first)
                for answer in self.answers:
                    await reader.read(1024)
                    writer.write(answer)
                await reader.read()
        finally:
            self.open -= 1
            self._closed.set()
            writer.close()

    async def all_closed(self) -> None:
        """Wait until the client has closed each connection; the test's time limit ends it."""
        while self.open:
            self._closed.clear()
            await self._closed.wait()


@asynccontextmanager
async def silent_server(*answers: bytes, first: bytes = b"") -> AsyncIterator[SilentServer]:
    """Run such a server on a free port of the loopback interface; see that no client leaves a connection open."""
    silent = SilentServer(*answers, first=first)
    server = await asyncio.start_server(silent._serve, HOST, 0)
    silent.port = server.sockets[0].getsockname()[1]
    async with server:
        yield silent
        await silent.all_closed()


class FreezingProxy:
    """Passes on what a client and the server say, until the network between them is dead."""

    def __init__(self, target: int) -> None:
        self.frozen = False
        self.port = 0
        self.listener: asyncio.Server
        self._target = target
        self._clients: list[asyncio.StreamWriter] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.append(writer)
        upstream, downstream = await asyncio.open_connection(HOST, self._target)
        pumps = [
            asyncio.create_task(self._pump(reader, downstream)),
            asyncio.create_task(self._pump(upstream, writer)),
        ]
        with contextlib.closing(writer), contextlib.closing(downstream):
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(pumps)

    def go_away(self) -> None:
        """Close each connection, and refuse new ones."""
        self.listener.close()
        for client in self._clients:
            client.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.frozen:
                    writer.write(data)


@asynccontextmanager
async def freezing_proxy(target: int) -> AsyncIterator[FreezingProxy]:
    """Run such a proxy on a free port of the loopback interface."""
    proxy = FreezingProxy(target)
    proxy.listener = await asyncio.start_server(proxy._serve, HOST, 0)
    proxy.port = proxy.listener.sockets[0].getsockname()[1]
    async with proxy.listener:
        yield proxy


class Source:
    """A manager of a secret that isn't at AWS; it may hang."""

    def __init__(self, password: str = PASSWORD, username: str = "app") -> None:
        self.text = json.dumps({"username": username, "password": password})
        self.hangs = False
        self.error: Exception | None = None
        self.fetches = 0

    async def secret(self, *, version_stage: str | None = None) -> Secret:
        """Return the one version."""
        self.fetches += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return Secret(
            self.text,
            name="db",
            arn="arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf",
            region="us-east-1",
            version_id="v1",
            version_stages=(version_stage or "AWSCURRENT",),
            created_at=None,
            fetched_at=None,
            born=0.0,
        )

    def decoded(self, secret: Secret) -> DatabaseCredentials:
        """Decode it."""
        return DatabaseCredentials.from_json(secret.reveal())

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget nothing."""

    async def changes(self) -> AsyncGenerator[Secret]:
        """Never change."""
        await asyncio.Event().wait()
        yield await self.secret()


class Kind(NamedTuple):
    """A kind of database: its real server's fixture, one that falls silent in the login, and one that refuses."""

    fixture: str
    hung_login: Callable[[], Any]
    refusing: Callable[[], Any]
    words: str
    """What the refusal says."""


POSTGRES_REFUSAL = ("FATAL", "28P01", 'password authentication failed for user "app"')
POSTGRES = Kind(
    "place",
    lambda: silent_server(message(b"R", b"\0\0\0\x03")),
    lambda: refusing_postgres("another", POSTGRES_REFUSAL),
    POSTGRES_REFUSAL[2],
)
MYSQL = Kind(
    "maria",
    lambda: silent_server(first=packet(0, greeting())),
    lambda: silent_server(packet(2, denied("app")), first=packet(0, greeting())),
    "Access denied for user 'app'",
)


class Adapter(NamedTuple):
    """One adapter: how it opens a pool of one connection, and how a caller gets that one."""

    module: str
    open: Callable[..., Any]
    error: Callable[[], type[Exception]]
    checks: dict[str, Any]
    """The options by which the pool asks the server before it lends a connection; the drivers of MySQL have none."""
    kind: Kind


@asynccontextmanager
async def _asyncpg(source: Any, port: int, **options: Any) -> AsyncIterator[Callable[[], Any]]:  # noqa: ANN401
    from aiocredentials.integrations.asyncpg import create_pool  # noqa: PLC0415 (asyncpg may be missing)

    where = {"host": HOST, "port": port, "database": "postgres"}
    async with create_pool(source, min_size=0, max_size=1, ssl=False, **where, **options) as pool:
        yield pool.acquire


@asynccontextmanager
async def _psycopg(source: Any, port: int, **options: Any) -> AsyncIterator[Callable[[], Any]]:  # noqa: ANN401
    from aiocredentials.integrations.psycopg import create_pool  # noqa: PLC0415 (psycopg may be missing)

    where = f"host={HOST} port={port} dbname=postgres sslmode=disable"
    async with create_pool(source, where, min_size=0, max_size=1, **options) as pool:
        yield pool.connection


@asynccontextmanager
async def _mysql(driver: str, source: Any, port: int, **options: Any) -> AsyncIterator[Callable[[], Any]]:  # noqa: ANN401
    module = importlib.import_module(f"aiocredentials.integrations.{driver}")
    async with module.create_pool(source, host=HOST, port=port, minsize=0, maxsize=1, **options) as pool:
        yield pool.acquire


def _pool_timeout() -> type[Exception]:
    from psycopg_pool import PoolTimeout  # noqa: PLC0415 (psycopg may be missing)

    return PoolTimeout


@asynccontextmanager
async def _sqlalchemy(driver: str, source: Any, port: int, **options: Any) -> AsyncIterator[Callable[[], Any]]:  # noqa: ANN401
    from aiocredentials.integrations.sqlalchemy import create_async_engine  # noqa: PLC0415 (it may be missing)

    url = f"postgresql+{driver}://{HOST}:{port}/postgres"
    without_tls: dict[str, Any] = {"ssl": False} if driver == "asyncpg" else {"sslmode": "disable"}
    sizes = {"pool_size": 1, "max_overflow": 0}
    async with create_async_engine(source, url, connect_args=without_tls, **sizes, **options) as engine:
        yield engine.connect


def _sqlalchemy_timeout() -> type[Exception]:
    from sqlalchemy.exc import TimeoutError as SQLAlchemyTimeoutError  # noqa: PLC0415 (it may be missing)

    return SQLAlchemyTimeoutError


async def _ask(connection: Any) -> None:  # noqa: ANN401
    await connection.execute("SELECT 1")


_PING = {"pool_pre_ping": True}
ADAPTERS = {
    "asyncpg": Adapter("asyncpg", _asyncpg, lambda: TimeoutError, {"setup": _ask}, POSTGRES),
    "psycopg": Adapter("psycopg_pool", _psycopg, _pool_timeout, {"check": _ask}, POSTGRES),
    "sqlalchemy+asyncpg": Adapter("sqlalchemy", partial(_sqlalchemy, "asyncpg"), _sqlalchemy_timeout, _PING, POSTGRES),
    "sqlalchemy+psycopg": Adapter("sqlalchemy", partial(_sqlalchemy, "psycopg"), _sqlalchemy_timeout, _PING, POSTGRES),
    "aiomysql": Adapter("aiomysql", partial(_mysql, "aiomysql"), lambda: TimeoutError, {}, MYSQL),
    "asyncmy": Adapter("asyncmy", partial(_mysql, "asyncmy"), lambda: TimeoutError, {}, MYSQL),
}
