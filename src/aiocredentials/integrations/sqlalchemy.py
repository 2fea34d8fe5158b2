"""SQLAlchemy: an async engine whose connections have the current user and password.

That holds also while these change.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import URL, event
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from aiocredentials._rotation.adapters import checked, complete, given, place
from aiocredentials.rotation import OTHER_STAGES, connect_through_rotation, rotations_watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

    from aiocredentials import DatabaseCredentials, Secret
    from aiocredentials.rotation import RotatingSecret

__all__ = ["create_async_engine"]

# The drivers, the name that each has for the database, and where it finds a host by itself.
_DRIVERS = {
    "asyncpg": ("database", ("PGHOST",)),
    "psycopg": ("dbname", ("PGHOST", "PGHOSTADDR", "PGSERVICE")),
}


@asynccontextmanager
async def create_async_engine(
    manager: RotatingSecret[DatabaseCredentials],
    url: str | URL,
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (SQLAlchemy's)
) -> AsyncGenerator[AsyncEngine]:
    """Make an engine for the length of a block; it connects as the user that the secret names.

    Making it connects to nothing, but looks at the secret, for 2 seconds at most. When a new
    version is fetched, older connections are replaced as they are next checked out; one that is in
    use isn't touched. No version is missed that is fetched between the first connection and the end
    of the block. Then the engine is disposed of.

    Args:
        manager: a manager with `decode=DatabaseCredentials.from_json`.
        url: `postgresql+asyncpg://` or `postgresql+psycopg://`. If it doesn't name the host, port
            or database, the secret does.
        budget: as for `connect_through_rotation`, in seconds or as a `timedelta`.
        stages: as for `connect_through_rotation`.
        options: those of SQLAlchemy's `create_async_engine`, without `creator` and `async_creator`.
            Listeners to SQLAlchemy's event `do_connect` aren't called.

    Raises:
        ValueError: for a user or a password in the URL or in `connect_args`, for another driver,
            and for `creator` or `async_creator`. Connecting raises it if nobody names a host: the
            secret, the URL, or the environment as `PGHOST` (for psycopg also `PGHOSTADDR` and
            `PGSERVICE`). The driver would go to this machine.
        Exception: connecting raises what `connect_through_rotation` raises. Needs
            secretsmanager:GetSecretValue.
    """
    if not {"creator", "async_creator"}.isdisjoint(options):
        raise ValueError("The adapter connects by itself: leave out creator= and async_creator=.")
    login = _Login(manager, budget, stages)
    # It is the creator that SQLAlchemy makes for async_creator, except that SQLAlchemy's own leaves
    # out what the URL and connect_args say.
    engine: AsyncEngine = sqlalchemy_asyncio.create_async_engine(
        url, creator=lambda: login.connect(engine.dialect), **options
    )
    login.given(engine, options.get("connect_args", {}))
    entries: WeakSet[ConnectionPoolEntry] = WeakSet()

    def note(_: object, entry: ConnectionPoolEntry) -> None:
        entries.add(entry)

    event.listen(engine.sync_engine, "connect", note)

    async def expire(_: Secret) -> None:
        login.renewals += 1
        for entry in tuple(entries):
            entry.invalidate(soft=True)

    try:
        async with rotations_watched(manager, expire):
            yield engine
    finally:
        await complete(engine.dispose())


class _Login:
    """Connects for one engine: where the URL says, as the user that the secret names."""

    def __init__(
        self,
        manager: RotatingSecret[DatabaseCredentials],
        budget: float | timedelta,
        stages: Sequence[str],
    ) -> None:
        self._manager = manager
        self._budget = budget
        self._stages = stages
        self.renewals = 0
        """How often the connections were replaced because of a new version."""
        self._arguments: Sequence[str] = ()
        self._options: dict[str, Any] = {}

    def given(self, engine: AsyncEngine, connect_args: Mapping[str, Any]) -> None:
        """Keep what the caller gave; raises `ValueError` for what can't be."""
        driver = engine.dialect.driver
        if driver not in _DRIVERS:
            drivers = " or ".join(_DRIVERS)
            raise ValueError(f"The driver is {driver}: give a URL with {drivers}.")
        self._arguments, options = engine.dialect.create_connect_args(engine.url)
        where = "the URL and of connect_args"
        self._options = {**given(options, where), **given(connect_args, where)}

    def connect(self, dialect: Dialect) -> Any:  # noqa: ANN401 (a DBAPI's connection)
        """Be the engine's creator: the dialect takes its own options, and hands on the driver's."""

        async def bridged(*arguments: str, **options: Any) -> Any:  # noqa: ANN401
            return await self._newest(dialect, arguments, options)

        dbapi: Any = dialect.dbapi
        return dbapi.connect(*self._arguments, async_creator_fn=bridged, **self._options)

    async def _newest(
        self,
        dialect: Dialect,
        arguments: Sequence[str],
        options: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401 (a driver's connection)
        """Make a connection that isn't older than the last rotation that was acted on."""
        database, variables = _DRIVERS[dialect.driver]

        async def attempt(credentials: DatabaseCredentials) -> Any:  # noqa: ANN401
            where = place(checked(credentials), options, database=database, variables=variables)
            said = {**where, **options, "user": credentials.username}
            connect = _connect_of(dialect)
            return await connect(*arguments, **said, password=credentials.password)

        while True:
            renewals = self.renewals
            made = await connect_through_rotation(
                self._manager,
                attempt,
                budget=self._budget,
                stages=self._stages,
            )
            if renewals == self.renewals:
                return made
            # The engine's pool hadn't an entry for it, which could have been marked as old.
            await made.close()


def _connect_of(dialect: Dialect) -> Callable[..., Awaitable[Any]]:
    """Return the driver's function.

    SQLAlchemy keeps the driver's module as an attribute that has its name.
    """
    module: Any = getattr(dialect.dbapi, dialect.driver)
    owner: Any = module.AsyncConnection if dialect.driver == "psycopg" else module
    connect: Callable[..., Awaitable[Any]] = owner.connect
    return connect
