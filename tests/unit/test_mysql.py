"""What the adapters for aiomysql and asyncmy share, on a pool and connections of this file, without a server."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsPool, DatabaseCredentials
from aiocredentials._rotation.mysql import as_sent, connect_of_aiomysql, quit_connection, reject_login_in_file
from aiocredentials._rotation.waits import Waits
from aiocredentials.integrations._mysql import Connector, RotatingPool, opened
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = {"username": "app", "password": "mock_password", "host": "db.example"}


class Connection:
    """In the place of a driver's connection."""

    def __init__(self, **options: object) -> None:
        self.options = options
        self.last_usage = asyncio.get_running_loop().time()
        self.is_open = True
        self.in_transaction = False
        self.said_goodbye = False
        self.server: asyncio.Event | None = None

    async def ensure_closed(self) -> None:
        """Tell the server, which may not answer."""
        self.said_goodbye = True
        if self.server is not None:
            await self.server.wait()
        self.close()

    def close(self) -> None:
        """Close it."""
        self.is_open = False


class DriversPool:
    """In the place of a driver's pool: what the adapter needs of both."""

    def __init__(self, minsize: int, maxsize: int, pool_recycle: float) -> None:
        self.minsize = minsize
        self.maxsize = maxsize
        self._loop = asyncio.get_running_loop()
        self._free: deque[Connection] = deque()
        self._used: set[Connection] = set()
        self._acquiring = 0
        self._recycle = pool_recycle
        self._closing = self._closed = False

    async def _acquire(self) -> Connection:
        raise NotImplementedError

    def acquire(self) -> Any:  # noqa: ANN401
        """Acquire a connection."""
        return self._acquire()

    def close(self) -> None:
        """Give out no more connections."""
        self._closing = True

    def terminate(self) -> None:
        """Close those in use."""
        for connection in self._used:
            connection.close()
        self._used.clear()

    def release(self, conn: Connection) -> asyncio.Future[None]:
        """Return a connection."""
        self._used.discard(conn)
        if self._closing or conn.in_transaction:
            conn.close()
        if conn.is_open:
            self._free.append(conn)
        released = self._loop.create_future()
        released.set_result(None)
        return released


class Pool(RotatingPool, DriversPool):
    """The pool under test."""

    @staticmethod
    def _is_usable(connection: Connection) -> bool:
        return connection.is_open


class World:
    """A secret, a driver that connects when it is let, and a pool."""

    def __init__(self, manager: Any, fake: FakeSecretsManager) -> None:  # noqa: ANN401
        self.manager = manager
        self.fake = fake
        self.made: list[Connection] = []
        self.began = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def connect(self, **options: object) -> Connection:
        """Connect."""
        self.began += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        connection = Connection(**options)
        self.made.append(connection)
        return connection

    def pool(self, minsize: int = 0, maxsize: int = 1, recycle: float = -1, max_wait: float | None = None) -> Any:  # noqa: ANN401
        """Open a pool."""
        connector = Connector(self.manager, self.connect, {}, budget=5, stages=())
        waits = Waits(max_wait, TimeoutError)
        pool = Pool(connector, waits, minsize=minsize, maxsize=maxsize, pool_recycle=recycle)
        return opened(pool, waits, connector)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A world whose connections are all closed at the end."""
    fake = FakeSecretsManager({"db": SECRET})
    async with CredentialsPool(session=fake) as secrets:
        manager = secrets.manager("db", decode=DatabaseCredentials.from_json)
        await manager.get()
        found = World(manager, fake)
        yield found
    assert [connection for connection in found.made if connection.is_open] == []


async def turns() -> None:
    """Let the others run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_renewal(world: World) -> None:
    """A new version replaces idle connections at once, and one in use when it is returned; each says goodbye."""
    async with world.pool(minsize=2, maxsize=3) as pool:
        held = await pool.acquire()
        pool.renew()
        await turns()
        assert [connection.is_open for connection in world.made] == [True, False]
        await pool.release(held)
        await turns()
        assert not held.is_open
        assert all(connection.said_goodbye for connection in world.made)
        newer = await pool.acquire()
        pool.release(newer)
        assert await pool.acquire() is newer
        pool.release(newer)


async def test_a_connection_begun_before_a_renewal(world: World) -> None:
    """A connection that was being made when a new version came is made anew."""
    async with world.pool() as pool:
        world.gate.clear()
        acquiring = asyncio.create_task(pool.acquire())
        await turns()
        pool.renew()
        world.gate.set()
        pool.release(await acquiring)
        assert world.began == 2


async def test_the_queue(world: World) -> None:
    """A caller who is cancelled, an error, a closed connection and one in a transaction each let the next one in."""
    async with world.pool() as pool:
        connection = await pool.acquire()
        waiting = [asyncio.create_task(pool.acquire()) for _ in range(3)]
        await turns()
        waiting[0].cancel()
        connection.in_transaction = True
        pool.release(connection)
        second = await waiting[1]
        second.close()
        pool.release(second)
        third = await waiting[2]
        third.close()
        world.error = OSError("no network")
        failing = asyncio.create_task(pool.acquire())
        pool.release(third)
        with pytest.raises(OSError, match="no network"):
            await failing
        world.error = None
        world.gate.clear()
        connecting = asyncio.create_task(pool.acquire())
        await turns()
        last = asyncio.create_task(pool.acquire())
        await turns()
        connecting.cancel()
        world.gate.set()
        pool.release(await last)
        assert len(pool._free) == 1


async def test_nobody_waits_for_anothers_login(world: World) -> None:
    """A connection that is returned goes to a caller, while the pool connects for another one."""
    async with world.pool(maxsize=2) as pool:
        connection = await pool.acquire()
        world.gate.clear()
        slow = asyncio.create_task(pool.acquire())
        await turns()
        pool.release(connection)
        assert await pool.acquire() is connection
        world.gate.set()
        pool.release(connection)
        pool.release(await slow)


@pytest.mark.parametrize(("recycle", "is_kept"), [(-1, True), (10, True), (0, False)])
async def test_what_is_idle(world: World, recycle: float, is_kept: bool) -> None:  # noqa: FBT001 (of the table)
    """A connection that is closed, or was idle for too long, isn't given to a caller."""
    async with world.pool(minsize=1, recycle=recycle) as pool:
        world.made[0].last_usage -= 1
        second = await pool.acquire()
        assert (second is world.made[0]) is is_kept
        pool.release(second)
        second.is_open = False
        third = await pool.acquire()
        assert third is not second
        pool.release(third)


async def test_closing(world: World) -> None:
    """The block ends when all is returned; attempts are ended, and who waits gets an error."""
    async with world.pool(maxsize=2) as pool:
        connection = await pool.acquire()
        world.gate.clear()
        others = [asyncio.create_task(pool.acquire()) for _ in range(2)]
        await turns()
        asyncio.get_running_loop().call_later(0.01, pool.release, connection)
    assert not connection.is_open
    for other in [*others, pool.acquire()]:
        with pytest.raises(RuntimeError, match="The pool is closed"):
            await other
    world.gate.set()


async def test_cancelled_while_it_closes(world: World) -> None:
    """A caller who is cancelled while the block waits closes all connections, also those whose server is silent."""
    ready = asyncio.Event()
    silent = asyncio.Event()

    async def use() -> None:
        async with world.pool(minsize=2, maxsize=2) as pool:
            await pool.acquire()
            world.made[1].server = silent
            ready.set()

    using = asyncio.create_task(use())
    await ready.wait()
    await turns()
    using.cancel()
    await turns()
    assert [connection.is_open for connection in world.made] == [False, False]
    silent.set()
    with pytest.raises(asyncio.CancelledError):
        await using


async def test_one_of_the_first_fails(world: World) -> None:
    """If a first connection can't be made, those before it are closed."""
    connect = world.connect

    async def limited(**options: object) -> Connection:
        if world.made:
            raise OSError("too many connections")
        return await connect(**options)

    world.connect = limited  # type: ignore[method-assign]
    with pytest.raises(OSError, match="too many"):
        async with world.pool(minsize=2, maxsize=2):
            """Isn't reached."""
    assert len(world.made) == 1


async def test_max_wait(world: World) -> None:
    """A caller waits no longer than `max_wait`, and takes no slot along; what comes too late is given back."""
    async with world.pool(max_wait=0.02) as pool:
        connection = await pool.acquire()
        with pytest.raises(TimeoutError, match="a free connection of the pool"):
            await pool.acquire()
        pool.release(connection)
        pool.release(await pool.acquire())
        late = asyncio.create_task(pool._give_back(await pool.acquire()))
        pool.release(await pool.acquire())
        await late


@pytest.mark.parametrize("name", ["_reader", "last_usage"])
async def test_connections_that_have_changed(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A connection without what the pool reads later is closed at once, and the error says what to do."""
    if name == "last_usage":
        connect = world.connect

        async def without(**options: object) -> Connection:
            connection = await connect(**options)
            del connection.last_usage
            return connection

        world.connect = without  # type: ignore[method-assign]
    else:

        def is_usable(connection: Any) -> bool:  # noqa: ANN401
            return connection._reader is not None

        monkeypatch.setattr(Pool, "_is_usable", staticmethod(is_usable))
    async with world.pool() as pool:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=f"connection of this driver's version has no {name}: install an"):
                pool.release(await pool.acquire())
        await turns()
        assert [connection.is_open for connection in world.made] == [False, False]


def test_a_driver_must_say_what_is_usable() -> None:
    """A driver's class that doesn't say which connections can be used isn't complete."""
    with pytest.raises(NotImplementedError):
        RotatingPool._is_usable(object())


@pytest.mark.parametrize("password", ["mock", "pä€𝄞", "\ud800"])
def test_a_password_as_sent(password: str) -> None:
    """What the drivers encode as Latin-1 is the UTF-8 of the password."""
    assert as_sent(password).encode("latin-1") == password.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(("text", "is_refused"), [("user = me", True), ("password", True), ("port = 1", False)])
def test_option_files(tmp_path: Path, text: str, is_refused: bool) -> None:  # noqa: FBT001 (of the table)
    """A user or a password in the group that the driver reads is refused; other groups and broken files aren't read."""
    file = tmp_path / "my.cnf"
    file.write_text(f"[client]\n{text}\n[other]\nuser = me\n")
    options = {"read_default_file": str(file)}
    if is_refused:
        with pytest.raises(ValueError, match="read_default_file"):
            reject_login_in_file(options)
    else:
        reject_login_in_file(options)
    with pytest.raises(ValueError, match="read_default_file"):
        reject_login_in_file({**options, "read_default_group": "other"})
    reject_login_in_file({**options, "read_default_group": "none"})
    file.write_text("no section")
    reject_login_in_file(options)


async def test_a_silent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that doesn't answer keeps no connection open."""
    monkeypatch.setattr("aiocredentials._rotation.mysql._QUIT_SECONDS", 0.01)
    connection = Connection()
    connection.server = asyncio.Event()
    await quit_connection(connection)
    assert not connection.is_open


async def test_tls_that_isnt_offered() -> None:
    """With `ssl=`, aiomysql's handshake goes on only if the server offers TLS; without it, as it does by itself."""

    class Aiomysql:
        """In the place of the module."""

        class OperationalError(Exception):
            """The driver's error."""

        class Connection:
            """The driver's connection."""

            server_capabilities = 0

            def __init__(self, **options: object) -> None:
                self.options = options
                self.authenticated = False

            async def _connect(self) -> None:
                await self._request_authentication()

            async def _request_authentication(self) -> None:
                self.authenticated = True

        @staticmethod
        async def connect(**options: object) -> str:
            """Connect without TLS."""
            return f"connected with {sorted(options)}"

    assert await connect_of_aiomysql(Aiomysql, {})(user="app") == "connected with ['user']"
    connect = connect_of_aiomysql(Aiomysql, {"ssl": True})
    with pytest.raises(Aiomysql.OperationalError, match="no TLS"):
        await connect(ssl=True)
    Aiomysql.Connection.server_capabilities = 0x800
    assert (await connect(ssl=True)).authenticated
