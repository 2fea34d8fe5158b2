"""asyncpg: connections with the current user and password of a secret, also during rotations."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import parse_qs, urlsplit

import asyncpg

from aiocredentials._rotation.adapters import (
    ASYNCPG,
    checked_credentials,
    options_without_login,
    reject_login,
    server_options,
)
from aiocredentials._rotation.encryption import check_encryption
from aiocredentials._rotation.waits import Waits, noted_check
from aiocredentials.rotation import OTHER_STAGES, connect_through_rotation, rotations_watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from datetime import timedelta
    from typing import TypeAlias

    from aiocredentials import DatabaseCredentials, Secret
    from aiocredentials.rotation import RotatingSecret

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Acquiring: TypeAlias = asyncpg.pool.PoolAcquireContext[asyncpg.Record]
    Proxy: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Task: TypeAlias = asyncio.Task[Any]

__all__ = ["connect", "create_pool"]

_PORT_AT_END = re.compile(r":\d+$")


async def connect(
    manager: RotatingSecret[DatabaseCredentials],
    dsn: str | None = None,
    *,
    budget: float | timedelta = 60.0,
    max_wait: float | timedelta | None = None,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (asyncpg's)
) -> Connection:
    """Return a connection with the secret's user and password, as `asyncpg.connect` does.

    The caller closes it. Host, port and database come from `options` and `dsn`, and otherwise from
    the secret. An option that is None counts as left out.

    If the server refuses user and password, as it may during a rotation, the secret is fetched
    again, and the versions with other staging labels are tried. Needs
    secretsmanager:GetSecretValue, except for `IamDatabaseCredentials`; a staging label for which
    that is denied is skipped.

    Example:
        ```python
        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.integrations.asyncpg import connect


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/database", decode=DatabaseCredentials.from_json)
                connection = await connect(manager, max_wait=5)
                print(await connection.fetchval("SELECT current_user"))
                await connection.close()
        ```

    Args:
        manager: A manager with `decode=DatabaseCredentials.from_json`, or `IamDatabaseCredentials`.
        dsn: A URL, as for `asyncpg.connect`, without user and password.
        budget: How long to search for a version that the server accepts, from the first refusal,
            in seconds or as a `timedelta`.
        max_wait: The longest time until the connection is made, in seconds or as a `timedelta`:
            fetches, attempts to connect and the search in all. None for no limit of this kind.
        stages: The other staging labels to try after a refusal; `()` for none.
        options: The other arguments of `asyncpg.connect`, except user and password.

    Raises:
        TimeoutError: `max_wait` is over. A note has the last error of an attempt to connect.
        ValueError: A user or a password is in `options` or `dsn`. Or no host is named, neither by
            the secret nor by the caller nor by the environment variable `PGHOST`: asyncpg would
            connect to this machine. Or the options don't ensure the encryption that IAM tokens
            need. Or `budget` or `max_wait` isn't positive.
        TypeError: `budget` or `max_wait` isn't a duration, `stages` is one string, or the manager's
            `decode` doesn't return `DatabaseCredentials`.
        CredentialsError: The secret is unavailable.
        Exception: The driver's error. If the server refused user and password until the end of
            `budget`, it is the last refusal, with a note that names the versions that were tried.
    """
    parts = _Dsn(dsn)
    accepted = _options_without_login(parts, options)
    check_encryption(manager, "asyncpg", {"dsn": dsn, **accepted})
    named = accepted.keys() | parts.options()

    async def log_in(decoded: DatabaseCredentials) -> Connection:
        credentials = checked_credentials(decoded)
        server = server_options(credentials, named, ASYNCPG)
        everything: dict[str, Any] = {**server, **accepted}
        # No local variable holds the password, because a traceback may show it.
        return await asyncpg.connect(
            dsn,
            **everything,
            user=credentials.username,
            password=credentials.password,
        )

    connect_in_budget = partial(
        connect_through_rotation,
        manager,
        log_in,
        budget=budget,
        stages=stages,
    )
    waits = Waits(max_wait, TimeoutError)
    return await waits.within(connect_in_budget, _terminate)


async def _terminate(connection: Connection) -> None:
    connection.terminate()


@asynccontextmanager
async def create_pool(
    manager: RotatingSecret[DatabaseCredentials],
    dsn: str | None = None,
    *,
    budget: float | timedelta = 60.0,
    max_wait: float | timedelta | None = None,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (asyncpg's)
) -> AsyncGenerator[Pool]:
    """Open an `asyncpg.Pool` while a block lasts; it connects as `connect` does.

    Use it with `async with`. Needs secretsmanager:GetSecretValue, except for
    `IamDatabaseCredentials`.

    When a new version of the secret is fetched, older connections are replaced when they are next
    acquired. A query that runs isn't interrupted. No version is missed that is fetched between the
    first connection and the end of the block. Leaving the block waits, as asyncpg does, until all
    connections are released.

    Behind a full pool, the waits of callers add up, so `budget` doesn't limit what one of them
    waits; `max_wait` does. It is for callers of an open pool, such as requests, and doesn't limit
    how long opening the pool takes.

    Example:
        ```python
        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.integrations.asyncpg import create_pool


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/database", decode=DatabaseCredentials.from_json)
                async with create_pool(manager, min_size=2, max_wait=5) as pool:
                    print(await pool.fetchval("SELECT current_user"))
        ```

    Args:
        manager: A manager with `decode=DatabaseCredentials.from_json`, or `IamDatabaseCredentials`.
        dsn: A URL, as for `asyncpg.create_pool`, without user and password.
        budget: How long to search for a version that the server accepts, from the first refusal,
            in seconds or as a `timedelta`.
        max_wait: The longest time that a caller waits for a connection, in seconds or as a
            `timedelta`: for a free connection of the pool, for the secret, for the server and for
            the search in all. None for no limit of this kind. With a `timeout` of `acquire()`, the
            shorter of the two holds.
        stages: The other staging labels to try after a refusal; `()` for none.
        options: The other arguments of `asyncpg.create_pool`, except `connect`, user and password.

    Raises:
        TimeoutError: The pool's methods raise it when `max_wait` is over. Its message names what
            the caller waited for, and a note has the last error of an attempt to connect.
        ValueError: `options` has `connect`, or a user or a password is in `options` or `dsn`; or
            one of the other reasons for which `connect` raises it.
        TypeError: `budget` or `max_wait` isn't a duration, `stages` is one string, or the manager's
            `decode` doesn't return `DatabaseCredentials`.
        CredentialsError: The secret is unavailable. `acquire()` raises it, too.
        Exception: The driver's error, if the first connections can't be made. Then no connection is
            left open. `acquire()` raises it, too.
    """
    if "connect" in options:
        raise ValueError("The adapter connects by itself: leave out connect=.")
    accepted = _options_without_login(_Dsn(dsn), options)
    check_encryption(manager, "asyncpg", {"dsn": dsn, **accepted})
    opening = _Opening()
    waits = Waits(max_wait, TimeoutError)

    # asyncpg's type for `connect` demands the name `dsn`. The pool passes its own dsn.
    async def connect_for_pool(
        dsn: str | None = None,
        **pool_options: Any,  # noqa: ANN401 (asyncpg's)
    ) -> Connection:
        opening.note_task()
        connection = await connect(
            manager,
            dsn,
            budget=budget,
            stages=stages,
            **pool_options,
        )
        opening.note_connection(connection)
        return connection

    async def renew(_: Secret) -> None:
        # A connection that was made before the pool was open is older as well.
        await opening.opened.wait()
        await pool.expire_connections()

    accepted["setup"] = noted_check(options.get("setup"))
    pool = asyncpg.create_pool(dsn, connect=connect_for_pool, **accepted)
    _limit_waits(pool, waits)
    try:
        async with waits, rotations_watched(manager, renew):
            await opening.open(pool)
            yield pool
    finally:
        await opening.close(pool)


def _limit_waits(pool: Pool, waits: Waits) -> None:
    """Limit how long the pool's callers wait, if there is a limit."""
    if waits.seconds is None:
        return
    # `asyncpg.create_pool` makes a Pool, whose slots have no place for more. All of its methods
    # that need a connection call `acquire`.
    members = {"__slots__": (), "waits": waits}
    pool.__class__ = type("LimitedPool", (_LimitedPool,), members)


class _LimitedPool(asyncpg.Pool):
    """A pool whose callers don't wait longer than a limit."""

    __slots__ = ()

    waits: ClassVar[Waits]

    # The `timeout` is asyncpg's.
    def acquire(self, *, timeout: float | None = None) -> Acquiring:
        acquiring = super().acquire(timeout=timeout)
        limited = _Acquiring(acquiring, self)
        return cast("Acquiring", limited)


class _Acquiring:
    """The result of `acquire()`: it is awaited, or used with `async with`."""

    def __init__(self, acquiring: Acquiring, pool: _LimitedPool) -> None:
        self._acquiring = acquiring
        self._pool = pool

    async def __aenter__(self) -> Proxy:
        return await self._pool.waits.within(self._acquiring.__aenter__, self._pool.release)

    async def __aexit__(self, *exception: object) -> None:
        await self._acquiring.__aexit__(*exception)

    def __await__(self) -> Generator[Any, None, Proxy]:
        limited = self._pool.waits.within(self._acquire, self._pool.release)
        return limited.__await__()

    async def _acquire(self) -> Proxy:
        return await self._acquiring


class _Opening:
    """The tasks and connections of a pool that isn't open yet.

    If one of the first connections can't be made, asyncpg neither ends the tasks that make the
    others nor closes these.
    """

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self._tasks: set[Task | None] = set()
        self._connections: list[Connection] = []

    def note_task(self) -> None:
        """Note that the running task makes a connection."""
        if not self.opened.is_set():
            self._tasks.add(asyncio.current_task())

    def note_connection(self, connection: Connection) -> None:
        """Note a connection."""
        if not self.opened.is_set():
            self._connections.append(connection)

    async def open(self, pool: Pool) -> None:
        """Open the pool; it owns its connections from then on."""
        try:
            await pool
        except BaseException:
            await self._undo()
            raise
        self.opened.set()
        self._forget()

    async def close(self, pool: Pool) -> None:
        """Close the pool, unless it never opened: then nothing of it is left."""
        if self.opened.is_set():
            # If this is cancelled, asyncpg terminates all connections. `close_completely`, by which
            # the other adapters close, would wait without a limit for connections in use.
            await pool.close()

    async def _undo(self) -> None:
        """End the tasks, except for the one that runs this, and terminate the connections."""
        try:
            this_task = asyncio.current_task()
            self._tasks.discard(this_task)
            tasks = list(filter(None, self._tasks))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for connection in self._connections:
                connection.terminate()
            self._forget()

    def _forget(self) -> None:
        self._tasks.clear()
        self._connections.clear()


class _Dsn:
    """The parts of a URL for PostgreSQL that decide about the login and the server."""

    def __init__(self, dsn: str | None) -> None:
        parts = urlsplit(dsn or "")
        login, _, hosts = parts.netloc.rpartition("@")
        self._user = login.strip(":")
        self._hosts = hosts
        self._path = parts.path.strip("/")
        self._query = parse_qs(parts.query)

    def login(self) -> dict[str, Any]:
        """Return user and password; asyncpg reads both from the query as well."""
        return {
            "user": self._user or self._query.get("user"),
            "password": self._query.get("password"),
        }

    def options(self) -> set[str]:
        """Return the names of asyncpg's options that the URL has."""
        named = set(self._query)
        hosts = self._hosts
        if not hosts:
            in_query = self._query.get("host", [""])
            hosts = in_query[-1]
        if hosts:
            named.add("host")

        ports = map(_PORT_AT_END.search, hosts.split(","))
        if any(ports):
            named.add("port")
        if self._path or "dbname" in self._query:
            named.add("database")
        return named


def _options_without_login(dsn: _Dsn, options: dict[str, Any]) -> dict[str, Any]:
    """Return asyncpg's options; reject a login in them and in the dsn."""
    where = "the arguments and of the dsn"
    reject_login(dsn.login(), where)
    return options_without_login(options, where)
