"""What the tests of `max_wait` share: servers that don't answer, a secret without AWS, and each adapter's pool."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocredentials import DatabaseCredentials, Secret

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

HOST = "127.0.0.1"
SHORT = 0.05  # seconds that a caller waits where nothing would ever answer
PASSWORD = "hunter2-canary"


class SilentServer:
    """Accepts connections, says what it was given, and then nothing more."""

    def __init__(self, *greeting: bytes) -> None:
        self.greeting = greeting
        self.open = 0
        self.accepted = 0
        self.port = 0
        self._closed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.accepted += 1
        try:
            with contextlib.suppress(ConnectionError):
                for answer in self.greeting:
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
async def silent_server(*greeting: bytes) -> AsyncIterator[SilentServer]:
    """Run such a server on a free port of the loopback interface; see that no client leaves a connection open."""
    silent = SilentServer(*greeting)
    server = await asyncio.start_server(silent._serve, HOST, 0)
    silent.port = server.sockets[0].getsockname()[1]
    async with server:
        yield silent
        await silent.all_closed()


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


class Adapter(NamedTuple):
    """One adapter: how it opens a pool of one connection, and how a caller gets that one."""

    module: str
    open: Callable[..., Any]
    error: Callable[[], type[Exception]]


@asynccontextmanager
async def _asyncpg(source: Any, port: int, **options: Any) -> AsyncIterator[Callable[[], Any]]:  # noqa: ANN401
    from aiocredentials.integrations.asyncpg import create_pool  # noqa: PLC0415 (asyncpg may be missing)

    where = {"host": HOST, "port": port, "database": "postgres"}
    async with create_pool(source, min_size=0, max_size=1, ssl=False, **where, **options) as pool:
        yield pool.acquire


ADAPTERS = {
    "asyncpg": Adapter("asyncpg", _asyncpg, lambda: TimeoutError),
}
