"""asyncpg: connections that have the current user and password, also while these change."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from aiocredentials._rotation.adapters import checked, given, place
from aiocredentials.rotation import OTHER_STAGES, connect_through_rotation, rotations_watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import timedelta

    from aiocredentials import DatabaseCredentials, Secret
    from aiocredentials.rotation import RotatingSecret

__all__ = ["connect", "create_pool"]


async def connect(
    manager: RotatingSecret[DatabaseCredentials],
    dsn: str | None = None,
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (asyncpg's)
) -> asyncpg.Connection[asyncpg.Record]:
    """Return a connection with the secret's user and password, as `asyncpg.connect` does.

    The caller closes it. Host, port and database are those of `options` and `dsn`, each one the
    secret's if they don't name it. An option that is None isn't given.

    Args:
        manager: a manager with `decode=DatabaseCredentials.from_json`.
        dsn: asyncpg's.
        budget: as for `connect_through_rotation`, in seconds or as a `timedelta`.
        stages: as for `connect_through_rotation`.
        options: asyncpg's, without user and password.

    Raises:
        ValueError: if the caller gives a user or a password, or if nobody names a host: the secret,
            the caller, or the environment as `PGHOST`. asyncpg would go to this machine.
        Exception: what `connect_through_rotation` raises. Needs secretsmanager:GetSecretValue.
    """
    options = _given(dsn, options)
    named = options.keys() | _named(dsn)

    async def attempt(credentials: DatabaseCredentials) -> asyncpg.Connection[asyncpg.Record]:
        where = place(checked(credentials), named, database="database", variables=("PGHOST",))
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
    """Open an `asyncpg.Pool` for the length of a block; its connections are made as by `connect`.

    When a new version of the secret is fetched, older connections are replaced as they are next
    acquired; a query that runs isn't touched. No version is missed that is fetched between the
    first connection and the end of the block. Leaving the block waits, as asyncpg does, until all
    connections are released.

    Args:
        manager: a manager with `decode=DatabaseCredentials.from_json`.
        dsn: asyncpg's.
        budget: as for `connect_through_rotation`, in seconds or as a `timedelta`.
        stages: as for `connect_through_rotation`.
        options: those of `asyncpg.create_pool`, without `connect`, user and password.

    Raises:
        Exception: what `connect` raises, if the first connections can't be made. Then none is left
            open.
    """
    if "connect" in options:
        raise ValueError("The adapter connects by itself: leave out connect=.")
    options = _given(dsn, options)
    opening = _Opening()
    opened = asyncio.Event()

    async def bridged(
        dsn: str | None = None,
        **options: Any,  # noqa: ANN401 (asyncpg's)
    ) -> asyncpg.Connection[asyncpg.Record]:
        opening.began()
        return opening.made(await connect(manager, dsn, budget=budget, stages=stages, **options))

    async def renew(_: Secret) -> None:
        # What was connected before the pool was open is older as well.
        await opened.wait()
        await pool.expire_connections()

    pool = asyncpg.create_pool(dsn, connect=bridged, **options)
    try:
        async with rotations_watched(manager, renew):
            try:
                await pool
            except BaseException:
                await opening.undo()
                raise
            opening.over()
            opened.set()
            yield pool
    finally:
        if opened.is_set():
            await pool.close()


class _Opening:
    """What is under way until a pool is open.

    When one of the first connections can't be made, asyncpg leaves the others alone.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any] | None] | None = set()
        self._connections: list[asyncpg.Connection[asyncpg.Record]] = []

    def began(self) -> None:
        """Note that the running task makes a connection."""
        if self._tasks is not None:
            self._tasks.add(asyncio.current_task())

    def made(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
    ) -> asyncpg.Connection[asyncpg.Record]:
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
            me = asyncio.current_task()
            tasks = [task for task in self._tasks or () if task and task is not me]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for connection in self._connections:
                connection.terminate()
            self.over()


def _given(dsn: str | None, options: dict[str, Any]) -> dict[str, Any]:
    parts = urlsplit(dsn or "")
    query = parse_qs(parts.query)
    user = parts.netloc.rpartition("@")[0].strip(":")
    login = {"user": user or query.get("user"), "password": query.get("password")}
    where = "the arguments and of the dsn"
    given(login, where)
    return given(options, where)


def _named(dsn: str | None) -> set[str]:
    """Return what a dsn says of the server, by the names of asyncpg's options."""
    parts = urlsplit(dsn or "")
    query = parse_qs(parts.query)
    hosts = parts.netloc.rpartition("@")[2] or query.get("host", [""])[-1]
    named = set(query)
    if hosts:
        named.add("host")
    if any(re.search(r":\d+$", host) for host in hosts.split(",")):
        named.add("port")
    if "dbname" in query or parts.path.strip("/"):
        named.add("database")
    return named
