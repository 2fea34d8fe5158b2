"""SQLAlchemy: an async engine whose connections have the current user and password.

They have them also while these change.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from sqlalchemy import URL, event
from sqlalchemy.exc import TimeoutError  # noqa: A004 (SQLAlchemy's name)
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.pool import Pool
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from aiocredentials._rotation.adapters import (
    ASYNCPG,
    PSYCOPG,
    Renewals,
    checked_credentials,
    close_completely,
    options_without_login,
    server_options,
)
from aiocredentials._rotation.encryption import check_encryption
from aiocredentials._rotation.mysql import MYSQL, connect_aiomysql
from aiocredentials._rotation.waits import Waits
from aiocredentials.rotation import OTHER_STAGES, connect_through_rotation, rotations_watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta
    from typing import TypeAlias

    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from aiocredentials import DatabaseCredentials, Secret
    from aiocredentials.rotation import RotatingSecret

    Connect: TypeAlias = Callable[..., Awaitable[Any]]
    Options: TypeAlias = Mapping[str, Any]

__all__ = ["create_async_engine"]

_DRIVERS = {"asyncpg": ASYNCPG, "psycopg": PSYCOPG, "aiomysql": MYSQL, "asyncmy": MYSQL}


@asynccontextmanager
async def create_async_engine(
    manager: RotatingSecret[DatabaseCredentials],
    url: str | URL,
    *,
    budget: float | timedelta = 60.0,
    max_wait: float | timedelta | None = None,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (SQLAlchemy's)
) -> AsyncGenerator[AsyncEngine]:
    """Make an engine while a block lasts; it connects as the user that the secret names.

    Making it opens no connection, but reads the secret, for which it waits 2 seconds at most. When
    a new version is fetched, older connections are replaced when they are next checked out; a
    connection that is in use isn't interrupted. No version is missed that is fetched between the
    first connection and the end of the block. Then the engine is disposed of.

    SQLAlchemy's `pool_timeout` limits the wait for a free connection of the pool. It limits neither
    the time for a new connection nor that for `pool_pre_ping`, and `max_wait` limits all of these.

    Example:
        ```python
        from sqlalchemy import text

        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.integrations.sqlalchemy import create_async_engine


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/database", decode=DatabaseCredentials.from_json)
                async with create_async_engine(
                    manager, "postgresql+asyncpg://", max_wait=5
                ) as engine:
                    async with engine.connect() as connection:
                        await connection.execute(text("SELECT current_user"))
        ```

    Args:
        manager: A manager with `decode=DatabaseCredentials.from_json`, or `IamDatabaseCredentials`.
        url: `postgresql+asyncpg://`, `postgresql+psycopg://`, `mysql+aiomysql://` or
            `mysql+asyncmy://`; for MariaDB also `mariadb+aiomysql://` or `mariadb+asyncmy://`. If
            it doesn't name the host, port or database, the secret does.
        budget: As for `connect_through_rotation`, in seconds or as a `timedelta`.
        max_wait: The longest time that a caller waits for a connection, in seconds or as a
            `timedelta`: for a free connection of the pool, for the secret, for the server, for the
            search and for a ping in all, with any `poolclass`. None for no limit of this kind. With
            SQLAlchemy's `pool_timeout`, which is 30 seconds by default, the shorter of the two
            holds.
        stages: As for `connect_through_rotation`.
        options: Those of SQLAlchemy's `create_async_engine`, without `creator` and `async_creator`.
            Listeners to SQLAlchemy's event `do_connect` aren't called.

    Raises:
        ValueError: There are a user or a password in the URL or in `connect_args`, another driver,
            or `creator` or `async_creator`. Connecting raises it if no host is named by the secret,
            by the URL, or by the environment as `PGHOST` (for psycopg also `PGHOSTADDR` and
            `PGSERVICE`; for MySQL no variable). Otherwise the driver would connect to this machine.
        sqlalchemy.exc.TimeoutError: The engine's methods raise it when `max_wait` is over. Its
            message names what the caller waited for, and a note has the last error of an attempt to
            connect.
        Exception: Connecting raises the errors of `connect_through_rotation`. Needs
            secretsmanager:GetSecretValue.
    """
    if "creator" in options or "async_creator" in options:
        raise ValueError("The adapter connects by itself: leave out creator= and async_creator=.")
    login = _Login(manager, budget, stages)
    # It is like the creator that SQLAlchemy makes for async_creator. But SQLAlchemy's own leaves
    # out the options in the URL and in connect_args.
    engine: AsyncEngine = sqlalchemy_asyncio.create_async_engine(
        url,
        creator=lambda: login.connect(engine.dialect),
        **options,
    )
    connect_args = options.get("connect_args", {})
    login.set_options(engine, connect_args)
    waits = Waits(max_wait, TimeoutError)
    _limit_waits(engine, waits)
    entries = _entries_of(engine)

    async def renew(_: Secret) -> None:
        login.renewals.count += 1
        for entry in tuple(entries):
            entry.invalidate(soft=True)

    try:
        async with waits, rotations_watched(manager, renew):
            yield engine
    finally:
        await close_completely(engine.dispose())


def _limit_waits(engine: AsyncEngine, waits: Waits) -> None:
    """Limit how long the engine's callers wait, if there is a limit."""
    if waits.seconds is None:
        return
    pool = engine.pool
    members = {"waits": waits}
    # A pool that is recreated when the engine is disposed of has the class of the one before it.
    cls = type(type(pool).__name__, (_LimitedPool, type(pool)), members)
    object.__setattr__(pool, "__class__", cls)


class _LimitedPool(Pool):
    """A pool whose callers don't wait longer than a limit, whichever class of pool it is."""

    waits: ClassVar[Waits]

    def connect(self) -> PoolProxiedConnection:
        # Outside of a greenlet nothing can wait.
        if not in_greenlet():
            return super().connect()
        get = partial(greenlet_spawn, super().connect)
        return await_only(self.waits.within(get, _check_in))


async def _check_in(connection: PoolProxiedConnection) -> None:
    await greenlet_spawn(connection.close)


def _entries_of(engine: AsyncEngine) -> WeakSet[ConnectionPoolEntry]:
    """Return a set to which each connection's entry in the pool is added."""
    entries: WeakSet[ConnectionPoolEntry] = WeakSet()

    def note(_: object, entry: ConnectionPoolEntry) -> None:
        entries.add(entry)

    event.listen(engine.sync_engine, "connect", note)
    return entries


class _Login:
    """Connects for one engine: to the server in the URL, as the user that the secret names."""

    def __init__(
        self,
        manager: RotatingSecret[DatabaseCredentials],
        budget: float | timedelta,
        stages: Sequence[str],
    ) -> None:
        self._manager = manager
        self._budget = budget
        self._stages = stages
        self.renewals = Renewals()
        self._arguments: Sequence[str] = ()
        self._options: dict[str, Any] = {}

    def set_options(self, engine: AsyncEngine, connect_args: Options) -> None:
        """Keep the caller's options.

        Raises:
            ValueError: There are another driver, or a user or a password.
        """
        driver = engine.dialect.driver
        if driver not in _DRIVERS:
            *others, last = _DRIVERS
            drivers = f"{', '.join(others)} or {last}"
            raise ValueError(f"The driver is {driver}: give a URL with {drivers}.")

        where = "the URL and of connect_args"
        arguments, in_url = engine.dialect.create_connect_args(engine.url)
        self._arguments = arguments
        self._options = {
            **options_without_login(in_url, where),
            **options_without_login(connect_args, where),
        }
        _DRIVERS[driver].check(self._options)
        check_encryption(self._manager, driver, self._options)

    def connect(self, dialect: Dialect) -> Any:  # noqa: ANN401 (a DBAPI's connection)
        """Connect, as the engine's creator.

        The dialect removes its own options, and passes the others to the driver.
        """

        async def connect_driver(*arguments: str, **options: Any) -> Any:  # noqa: ANN401
            return await self._connect_driver(dialect, arguments, options)

        dbapi: Any = dialect.dbapi
        return dbapi.connect(
            *self._arguments,
            **self._options,
            async_creator_fn=connect_driver,
        )

    async def _connect_driver(
        self,
        dialect: Dialect,
        arguments: Sequence[str],
        options: Options,
    ) -> Any:  # noqa: ANN401 (a driver's connection)
        driver = _DRIVERS[dialect.driver]

        async def log_in(decoded: DatabaseCredentials) -> Any:  # noqa: ANN401
            credentials = checked_credentials(decoded)
            server = server_options(credentials, options, driver)
            connect = _connect_of(dialect)
            # No local variable holds the password, because a traceback may show it.
            return await connect(
                *arguments,
                **server,
                **options,
                user=credentials.username,
                password=driver.spell(credentials.password),
            )

        async def connect_once() -> Any:  # noqa: ANN401
            return await connect_through_rotation(
                self._manager,
                log_in,
                budget=self._budget,
                stages=self._stages,
            )

        return await self.renewals.connect(connect_once, driver.close)


def _connect_of(dialect: Dialect) -> Connect:
    """Return the driver's function.

    SQLAlchemy keeps the driver's module as an attribute that has its name.
    """
    module: Any = getattr(dialect.dbapi, dialect.driver)
    if dialect.driver == "aiomysql":
        return partial(connect_aiomysql, module)
    owner: Any = module
    if dialect.driver == "psycopg":
        owner = module.AsyncConnection
    connect: Connect = owner.connect
    return connect
