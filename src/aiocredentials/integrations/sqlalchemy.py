"""SQLAlchemy: an async engine whose new connections have the current user and password, also while these change."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from sqlalchemy import URL, event
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from aiocredentials import DatabaseCredentials
from aiocredentials.rotation import OTHER_STAGES, connect_through_rotation, rotations_watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

    from aiocredentials import Secret
    from aiocredentials.rotation import RotatingSecret

__all__ = ["create_async_engine"]

_DRIVERS = ("asyncpg", "psycopg")


@asynccontextmanager
async def create_async_engine(
    manager: RotatingSecret[DatabaseCredentials],
    url: str | URL,
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (SQLAlchemy's)
) -> AsyncGenerator[AsyncEngine]:
    """Make an engine for the length of a block; its connections have the secret's user and password.

    `url` is `postgresql+asyncpg://` or `postgresql+psycopg://`; what it doesn't say of host, port and database, the
    secret says. `options` are those of SQLAlchemy's `create_async_engine`, without `creator` and `async_creator`;
    listeners to its event `do_connect` aren't called. `manager` has `decode=DatabaseCredentials.from_json`. `budget`,
    in seconds or as a `timedelta`, and `stages` are those of `connect_through_rotation`.

    When a fetch brings a new version of the secret, older connections are replaced as they are next checked out; one
    that is in use isn't touched. At the end of the block the engine is disposed of. Making it connects to nothing;
    connecting raises what `connect_through_rotation` raises. Raises `ValueError` for a user or a password in the URL or
    in `connect_args`, and for another driver. Needs secretsmanager:GetSecretValue.
    """
    login = _Login(manager, budget, stages)
    # The creator that SQLAlchemy makes for async_creator; its own leaves out what the URL and connect_args say.
    engine: AsyncEngine = sqlalchemy_asyncio.create_async_engine(
        url, creator=lambda: login.connect(engine.dialect), **options
    )
    login.given(engine, options.get("connect_args", {}))
    entries: WeakSet[ConnectionPoolEntry] = WeakSet()

    def note(_: object, entry: ConnectionPoolEntry) -> None:
        entries.add(entry)

    event.listen(engine.sync_engine, "connect", note)

    async def expire(_: Secret) -> None:
        for entry in tuple(entries):
            entry.invalidate(soft=True)

    try:
        async with rotations_watched(manager, expire):
            yield engine
    finally:
        disposing = asyncio.create_task(engine.dispose())
        try:
            await asyncio.shield(disposing)
        except asyncio.CancelledError:
            await disposing
            raise


class _Login:
    """Connects for one engine: where the URL says, as whom the secret says."""

    def __init__(
        self, manager: RotatingSecret[DatabaseCredentials], budget: float | timedelta, stages: Sequence[str]
    ) -> None:
        self._manager, self._budget, self._stages = manager, budget, stages
        self._arguments: Sequence[str] = ()
        self._options: dict[str, Any] = {}

    def given(self, engine: AsyncEngine, connect_args: Mapping[str, Any]) -> None:
        """Take what the caller said; raises `ValueError` for what can't be."""
        if engine.dialect.driver not in _DRIVERS:
            raise ValueError(f"The driver is {engine.dialect.driver}: give a URL with {' or '.join(_DRIVERS)}.")
        self._arguments, options = engine.dialect.create_connect_args(engine.url)
        self._options = {**options, **connect_args}
        if {"user", "password"} & self._options.keys():
            raise ValueError("User and password come from the secret: leave them out of the URL and of connect_args.")

    def connect(self, dialect: Dialect) -> Any:  # noqa: ANN401 (a DBAPI's connection)
        """Be the engine's creator: the dialect takes its own options, and hands on those of the driver."""

        async def bridged(*arguments: str, **options: Any) -> Any:  # noqa: ANN401
            async def attempt(credentials: DatabaseCredentials) -> Any:  # noqa: ANN401
                said = {**_where(dialect, credentials), **options, "user": credentials.username}
                return await _connect_of(dialect)(*arguments, **said, password=credentials.password)

            return await connect_through_rotation(self._manager, attempt, budget=self._budget, stages=self._stages)

        dbapi: Any = dialect.dbapi
        return dbapi.connect(*self._arguments, async_creator_fn=bridged, **self._options)


def _connect_of(dialect: Dialect) -> Callable[..., Awaitable[Any]]:
    """Return the driver's function: SQLAlchemy keeps the driver's module as an attribute that has its name."""
    module: Any = getattr(dialect.dbapi, dialect.driver)
    owner: Any = module.AsyncConnection if dialect.driver == "psycopg" else module
    connect: Callable[..., Awaitable[Any]] = owner.connect
    return connect


def _where(dialect: Dialect, credentials: DatabaseCredentials) -> Mapping[str, Any]:
    """Return what the secret says of the server, in the driver's words."""
    # First of all, since an AttributeError of a dict would hold the dict.
    if not isinstance(cast("object", credentials), DatabaseCredentials):
        raise TypeError("The manager gives no DatabaseCredentials: make it with decode=DatabaseCredentials.from_json.")
    place = URL.create(dialect.name, host=credentials.host, port=credentials.port, database=credentials.dbname)
    return dialect.create_connect_args(place)[1]
