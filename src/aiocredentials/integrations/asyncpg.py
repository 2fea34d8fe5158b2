"""asyncpg: connections that have the current user and password, also while these are being changed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import asyncpg

from aiocredentials import DatabaseCredentials
from aiocredentials.rotation import OTHER_STAGES, connect_through_rotation, rotations_watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import timedelta

    from aiocredentials.rotation import RotatingSecret

__all__ = ["connect", "create_pool"]

_LOGIN = {"user", "password"}


async def connect(
    manager: RotatingSecret[DatabaseCredentials],
    dsn: str | None = None,
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (asyncpg's)
) -> asyncpg.Connection[asyncpg.Record]:
    """Return a connection with the secret's user and password, as `asyncpg.connect` does; the caller closes it.

    `manager` has `decode=DatabaseCredentials.from_json`. Host, port and database are those of `options`, else of the
    secret; with a `dsn` it says all of this. `budget`, in seconds or as a `timedelta`, and `stages` are those of
    `connect_through_rotation`, which also says what is raised. Raises `ValueError` where the caller gives a user or a
    password. Needs secretsmanager:GetSecretValue.
    """
    _refuse_login(dsn, options)

    async def attempt(credentials: DatabaseCredentials) -> asyncpg.Connection[asyncpg.Record]:
        where = _where(credentials)
        if dsn is not None:
            where = {}
        said: dict[str, Any] = {**where, **options, "user": credentials.username}
        return await asyncpg.connect(dsn, **said, password=credentials.password)

    return await connect_through_rotation(manager, attempt, budget=budget, stages=stages)


@asynccontextmanager
async def create_pool(
    manager: RotatingSecret[DatabaseCredentials],
    dsn: str | None = None,
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (asyncpg's)
) -> AsyncGenerator[asyncpg.Pool[asyncpg.Record]]:
    """Open an `asyncpg.Pool` for the length of a block; each new connection is made as `connect` makes it.

    `options` are those of `asyncpg.create_pool`, without `connect`. When a fetch brings a new version of the secret,
    older connections are replaced as they are next acquired; a query that runs isn't touched. Raises what `connect`
    raises if the first connections can't be made, and then leaves none open. Leaving the block waits, as asyncpg does,
    until all connections are released.
    """
    _refuse_login(dsn, options)
    opening = _Opening()

    async def bridged(dsn: str | None = None, **given: Any) -> asyncpg.Connection[asyncpg.Record]:  # noqa: ANN401
        opening.began()
        return opening.made(await connect(manager, dsn, budget=budget, stages=stages, **given))

    try:
        pool = await asyncpg.create_pool(dsn, connect=bridged, **options)
    except BaseException:
        await opening.undo()
        raise
    opening.over()
    try:
        async with rotations_watched(manager, lambda _: pool.expire_connections()):
            yield pool
    finally:
        await pool.close()


class _Opening:
    """What is under way until a pool is open: asyncpg leaves the other connections alone when one can't be made."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any] | None] | None = set()
        self._connections: list[asyncpg.Connection[asyncpg.Record]] = []

    def began(self) -> None:
        """Note that the running task makes a connection."""
        if self._tasks is not None:
            self._tasks.add(asyncio.current_task())

    def made(self, connection: asyncpg.Connection[asyncpg.Record]) -> asyncpg.Connection[asyncpg.Record]:
        """Note a connection."""
        if self._tasks is not None:
            self._connections.append(connection)
        return connection

    def over(self) -> None:
        """Forget all: the pool is open, and what belongs to it is its own."""
        self._tasks = None
        self._connections.clear()

    async def undo(self) -> None:
        """End the tasks, but for the one that runs this, and cut the connections."""
        try:
            tasks = [task for task in self._tasks or () if task and task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for connection in self._connections:
                connection.terminate()
            self.over()


def _where(credentials: DatabaseCredentials) -> dict[str, Any]:
    """Return what the secret says of the server; here and not later, since a dict's AttributeError would hold it."""
    if not isinstance(cast("object", credentials), DatabaseCredentials):
        raise TypeError("The manager gives no DatabaseCredentials: make it with decode=DatabaseCredentials.from_json.")
    where = {"host": credentials.host, "port": credentials.port, "database": credentials.dbname}
    return {name: value for name, value in where.items() if value is not None}


def _refuse_login(dsn: str | None, options: dict[str, Any]) -> None:
    parts = urlsplit(dsn or "")
    if _LOGIN & (options.keys() | parse_qs(parts.query).keys()) or "@" in parts.netloc:
        raise ValueError("User and password come from the secret: leave them out of the arguments and of the dsn.")
