"""aiomysql and asyncmy over TLS: `ssl=` is never ignored, whatever the server offers."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsPool, DatabaseCredentials
from aiocredentials.testing import FakeSecretsManager
from integrations.mariadb_drivers import adapter, driver, fetch, name
from integrations.postgres import CANARY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from integrations.mariadb import MariaPlace
    from server.certificates import Authority

__all__ = ["adapter", "driver", "name"]  # fixtures

# A server's greeting without the capability of TLS (0x800), which asks for the password in clear.
CAPABILITIES = 0x000A_A20D
GREETING = b"".join(
    [
        b"\x0a5.7.0\0\1\0\0\0saltsalt\0",
        (CAPABILITIES & 0xFFFF).to_bytes(2, "little"),
        b"\x21\2\0",
        (CAPABILITIES >> 16).to_bytes(2, "little"),
        b"\x15",
        bytes(10),
        b"saltsaltsalt\0mysql_clear_password\0",
    ]
)


@asynccontextmanager
async def server_in_clear() -> AsyncIterator[tuple[int, asyncio.Future[bytes]]]:
    """Run a server without TLS; give its port, and what the client sends before it closes the connection."""
    sent: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(len(GREETING).to_bytes(3, "little") + b"\0" + GREETING)
        # A client that begins TLS waits for the server's part of it.
        sent.set_result(await reader.read(64))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], sent


async def test_encrypted(maria: MariaPlace, mariadb_authority: Authority, adapter: ModuleType) -> None:
    """With `ssl=` the connection is encrypted, and the server's certificate is checked."""
    await maria.app()
    trusted = ssl.create_default_context(cafile=mariadb_authority.bundle)
    async with maria.manager() as manager:
        connection = await adapter.connect(manager, ssl=trusted)
        assert (await fetch(connection, "SHOW STATUS LIKE 'Ssl_cipher'"))[1]
        await connection.ensure_closed()
        with pytest.raises(Exception, match=r"certificate verify failed|Can't connect"):
            await adapter.connect(manager, ssl=ssl.create_default_context())


@pytest.mark.parametrize("is_engine", [False, True])
async def test_a_server_without_tls(name: str, adapter: ModuleType, is_engine: bool) -> None:  # noqa: FBT001
    """A server, or someone in between, that offers no TLS doesn't get the password; aiomysql alone would send it."""
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("greenlet")
    secret = {"username": "app", "password": CANARY, "host": "127.0.0.1"}
    context = ssl.create_default_context()
    async with (
        server_in_clear() as (port, sent),
        CredentialsPool(session=FakeSecretsManager({"db": secret})) as pool,
    ):
        manager = pool.manager("db", decode=DatabaseCredentials.from_json)
        with pytest.raises(Exception, match=r"."):
            await connected(manager, name, adapter, is_engine=is_engine, port=port, ssl=context)
        assert CANARY.encode() not in await sent


async def connected(manager: Any, name: str, adapter: ModuleType, *, is_engine: bool, **options: Any) -> None:  # noqa: ANN401
    """Connect, by the adapter or by SQLAlchemy's."""
    if not is_engine:
        await adapter.connect(manager, **options)
    module = pytest.importorskip("aiocredentials.integrations.sqlalchemy")
    async with module.create_async_engine(manager, f"mysql+{name}://", connect_args=options) as engine:
        await engine.connect()


async def test_an_unknown_aiomysql(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of aiomysql whose handshake can't be checked isn't used with `ssl=`."""
    driver = pytest.importorskip("aiomysql")
    module = pytest.importorskip("aiocredentials.integrations.aiomysql")
    from aiocredentials._rotation.mysql import _encrypted_class  # noqa: PLC0415

    _encrypted_class.cache_clear()
    monkeypatch.delattr(driver.Connection, "_request_authentication")
    secret = {"username": "app", "password": CANARY, "host": "127.0.0.1"}
    async with CredentialsPool(session=FakeSecretsManager({"db": secret})) as pool:
        manager = pool.manager("db", decode=DatabaseCredentials.from_json)
        with pytest.raises(RuntimeError, match="isn't known to encrypt"):
            await module.connect(manager, ssl=ssl.create_default_context())
