"""Code that the adapters for aiomysql and asyncmy share: how they connect, and their pool.

No driver is imported here. asyncmy's pool is a copy of aiomysql's, so one class changes both.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiocredentials._loops import detached_task, finish
from aiocredentials._rotation.adapters import (
    Renewals,
    checked_credentials,
    close_completely,
    options_without_login,
    server_options,
)
from aiocredentials._rotation.encryption import check_encryption
from aiocredentials._rotation.interruption import InterruptedWaitError, InterruptibleWaits
from aiocredentials._rotation.mysql import MYSQL, quit_connection
from aiocredentials._rotation.waits import Waits
from aiocredentials.rotation import connect_through_rotation, rotations_watched

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from datetime import timedelta
    from typing import TypeAlias

    from aiocredentials import DatabaseCredentials, Secret
    from aiocredentials.rotation import RotatingSecret

    # A connection of either driver: they have no common type.
    Connection: TypeAlias = Any
    Connect: TypeAlias = Callable[..., Awaitable[Connection]]
    Task: TypeAlias = asyncio.Task[None]

    class _DriversPool:
        """The pool of either driver, as far as the class below needs it."""

        _loop: asyncio.AbstractEventLoop
        _free: deque[Connection]
        _used: set[Connection]
        _acquiring: int
        _recycle: float
        _closing: bool
        _closed: bool

        def __init__(self, **options: object) -> None: ...
        def close(self) -> None: ...
        def terminate(self) -> None: ...
        async def wait_closed(self) -> None: ...
        def release(self, conn: Connection) -> Awaitable[None]: ...
        @property
        def maxsize(self) -> int | None: ...
        @property
        def minsize(self) -> int: ...
else:
    _DriversPool = object

# The private parts of the drivers' pools that the class below uses.
_PRIVATE = ("_acquire", "_acquiring", "_closed", "_closing", "_free", "_loop", "_recycle", "_used")
_CLOSED = "The pool is closed: its callers get no more connections."


class Connector:
    """Connects with a driver as the user that a secret names."""

    def __init__(
        self,
        manager: RotatingSecret[DatabaseCredentials],
        connect: Connect,
        options: dict[str, Any],
        *,
        budget: float | timedelta,
        stages: Sequence[str],
    ) -> None:
        """Check the caller's options.

        Raises:
            ValueError: There are a user or a password in the options, or in the file to which they
                refer; or a host has a port.
        """
        self.manager = manager
        self.renewals = Renewals()
        self._connect_once = connect
        self._options = options_without_login(options, "the arguments")
        MYSQL.check(self._options)
        check_encryption(manager, "MySQL", self._options)
        self._through_rotation = partial(
            connect_through_rotation,
            manager,
            self._log_in,
            budget=budget,
            stages=stages,
        )

    async def connect(self, max_wait: float | timedelta | None) -> Connection:
        """Return one connection, of which nothing here keeps track."""
        waits = Waits(max_wait, TimeoutError)
        return await waits.within(self._through_rotation, quit_connection)

    async def connect_newest(self) -> Connection:
        """Return a connection that isn't older than the last renewal."""
        return await self.renewals.connect(self._through_rotation, MYSQL.close)

    async def _log_in(self, decoded: DatabaseCredentials) -> Connection:
        """Connect once, with the credentials of one version."""
        credentials = checked_credentials(decoded)
        server = server_options(credentials, self._options, MYSQL)
        # No local variable holds the password, because a traceback may show it.
        return await self._connect_once(
            **server,
            **self._options,
            user=credentials.username,
            password=MYSQL.spell(credentials.password),
        )


class RotatingPool(_DriversPool):
    """A pool that connects by a `Connector`, and replaces connections after each renewal.

    A driver's adapter derives from this class and from the driver's own. The driver's class keeps
    the idle connections and those in use; this class changes how callers wait for a connection:

    * The driver's pool holds a lock while it connects, so a caller that could get an idle
      connection waits for a login of another caller. Here no caller waits for another one's login.
    * aiomysql's pool wakes no caller that waits when a connection is returned that is closed or in
      a transaction, or when connecting fails. Here each caller has a slot of a semaphore, and the
      slot is passed on in any case.
    * aiomysql's pool connects for a caller that waits although it was closed meanwhile, and both
      leave idle connections open when they are terminated.
    """

    def __init__(self, connector: Connector, waits: Waits, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._check_driver()
        if self.maxsize == 0:
            raise ValueError("maxsize is 0: give the number of connections that the pool may have.")
        self._connector = connector
        self._waits = waits
        # For aiomysql's pool, 0 means no maximum.
        self._slots = asyncio.Semaphore(self.maxsize or sys.maxsize)
        self._outdated: set[Connection] = set()
        """The connections in use that are older than the last renewal."""
        self._attempts = InterruptibleWaits()
        self._quitting: dict[Task, Connection] = {}
        self._emptied = asyncio.Event()

    def _check_driver(self) -> None:
        drivers = super()
        own = vars(self)
        missing = [name for name in _PRIVATE if name not in own and not hasattr(drivers, name)]
        if missing:
            names = ", ".join(missing)
            raise _unknown_version("pool", names)

    def _check_connection(self, connection: Connection) -> None:
        """Check that a new connection has the attributes that are read later, or close it.

        An error there would lose a connection that nothing holds any longer.
        """
        missing = ""
        try:
            _ = connection.last_usage
            self._is_usable(connection)
        except AttributeError as error:
            missing = str(error.name)
        if missing:
            self._quit(connection)
            raise _unknown_version("connection", missing)

    @staticmethod
    def _is_usable(connection: Connection) -> bool:
        """Return whether an idle connection is still open on both sides."""
        raise NotImplementedError

    async def open(self) -> None:
        """Make the first connections."""
        while len(self._free) < self.minsize:
            connection = await self._new_connection()
            self._free.append(connection)

    def renew(self) -> None:
        """Replace all connections: idle ones now, others when they are returned."""
        self._connector.renewals.count += 1
        self._outdated.update(self._used)
        self._quit_idle()

    async def _acquire(self) -> Connection:
        """Return a connection; the driver's `acquire` calls this."""
        return await self._waits.within(self._acquire_in_turn, self._give_back)

    async def _acquire_in_turn(self) -> Connection:
        self._reject_if_closing()
        await self._slots.acquire()
        try:
            self._reject_if_closing()
            connection = self._idle_connection()
            if connection is None:
                connection = await self._new_connection()
        except BaseException:
            self._pass_slot_on()
            raise
        self._used.add(connection)
        return connection

    async def _give_back(self, connection: Connection) -> None:
        await self.release(connection)

    def _idle_connection(self) -> Connection | None:
        """Return the connection that has been idle for the longest time, if it can be used."""
        while self._free:
            connection = self._free.popleft()
            idle_for = self._loop.time() - connection.last_usage
            # The driver's own rule: a negative limit means that there is none.
            is_too_old = 0 <= self._recycle < idle_for
            if not is_too_old and self._is_usable(connection):
                return connection
            self._quit(connection)
        return None

    async def _new_connection(self) -> Connection:
        """Make a connection, unless the pool is closed meanwhile."""
        connection: Connection | None = None
        self._acquiring += 1
        try:
            with suppress(InterruptedWaitError):
                async with self._attempts.interruptible():
                    connection = await self._connector.connect_newest()
        finally:
            self._acquiring -= 1

        # Only for Python 3.11: asyncio.wait_for, by which drivers connect, may swallow a
        # cancellation there.
        if self._closing and connection is not None:
            self._quit(connection)
        self._reject_if_closing()
        self._check_connection(connection)
        return connection

    def release(self, conn: Connection) -> Awaitable[None]:
        """Return a connection to the pool, and wake the next caller."""
        is_outdated = conn in self._outdated
        self._outdated.discard(conn)
        released = super().release(conn)
        if is_outdated and conn in self._free:
            self._free.remove(conn)
            self._quit(conn)
        self._pass_slot_on()
        return released

    def close(self) -> None:
        """Lend no more connections, and end the attempts to connect.

        Each of them may need the whole budget, and closing doesn't wait for that.
        """
        super().close()
        self._attempts.interrupt()
        self._note_if_empty()

    def terminate(self) -> None:
        """Close the pool and all its connections at once, also those in use."""
        self.close()
        super().terminate()
        self._outdated.clear()
        while self._free:
            connection = self._free.popleft()
            connection.close()
        for connection in self._quitting.values():
            connection.close()
        self._note_if_empty()

    async def wait_closed(self) -> None:
        """Wait until all connections are returned and closed."""
        if not self._closing:
            raise RuntimeError("Call close() before wait_closed().")
        self._quit_idle()
        await self._emptied.wait()
        await finish(self._quitting)
        self._closed = True

    def _reject_if_closing(self) -> None:
        if self._closing:
            raise RuntimeError(_CLOSED)

    def _pass_slot_on(self) -> None:
        self._slots.release()
        self._note_if_empty()

    def _note_if_empty(self) -> None:
        if self._closing and not self._used and not self._acquiring:
            self._emptied.set()

    def _quit_idle(self) -> None:
        while self._free:
            connection = self._free.popleft()
            self._quit(connection)

    def _quit(self, connection: Connection) -> None:
        """Close a connection in the background, because the server may not answer."""
        task = detached_task(quit_connection(connection))
        self._quitting[task] = connection
        task.add_done_callback(self._quitting.pop)


def _unknown_version(part: str, names: str) -> RuntimeError:
    message = f"The {part} of this driver's version has no {names}: install an older version."
    return RuntimeError(message)


PoolT = TypeVar("PoolT", bound=RotatingPool)


@asynccontextmanager
async def opened(pool: PoolT, waits: Waits, connector: Connector) -> AsyncGenerator[PoolT]:
    """Open a pool while a block lasts, renew it when a new version is fetched, and close it."""

    async def renew(_: Secret) -> None:
        pool.renew()

    try:
        async with waits, rotations_watched(connector.manager, renew):
            await pool.open()
            yield pool
    finally:
        pool.close()
        try:
            await pool.wait_closed()
        except BaseException:
            # The caller doesn't wait any longer for connections in use.
            pool.terminate()
            await close_completely(pool.wait_closed())
            raise
