"""SQLAlchemy: async engines that connect with the current user and password of a secret.

They do so also during rotations. `create_async_engine` makes the engine. `use_credentials` is for
an engine that other code makes, for example when a module is imported.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import URL, event, exc
from sqlalchemy.exc import TimeoutError  # noqa: A004 (SQLAlchemy's name)
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

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
from aiocredentials._rotation.mysql import MYSQL, connect_of_aiomysql
from aiocredentials._rotation.waits import Waits
from aiocredentials.integrations._sqlalchemy_pool import check_engine, waits_limited
from aiocredentials.rotation import OTHER_STAGES, connect_through_rotation, rotations_watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta
    from typing import TypeAlias

    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

    from aiocredentials import DatabaseCredentials, Secret
    from aiocredentials.rotation import RotatingSecret

    Connect: TypeAlias = Callable[..., Awaitable[Any]]
    Options: TypeAlias = Mapping[str, Any]

__all__ = ["create_async_engine", "use_credentials"]

_DRIVERS = {"asyncpg": ASYNCPG, "psycopg": PSYCOPG, "aiomysql": MYSQL, "asyncmy": MYSQL}
_WHERE = "the URL and of connect_args"
_NAME_HOST = "name it in the engine's URL"

# The dialects of the engines that are in a block of `use_credentials`. An engine and those that its
# `execution_options()` returns share the dialect and the pool.
_in_use: WeakSet[Dialect] = WeakSet()


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

    Use it with `async with`. Needs secretsmanager:GetSecretValue, except for
    `IamDatabaseCredentials`; a staging label for which that is denied is skipped.

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
        budget: How long to search for a version that the server accepts, from the first refusal,
            in seconds or as a `timedelta`.
        max_wait: The longest time that a caller waits for a connection, in seconds or as a
            `timedelta`: for a free connection of the pool, for the secret, for the server, for the
            search and for a ping in all, with any `poolclass`. None for no limit of this kind. With
            SQLAlchemy's `pool_timeout`, which is 30 seconds by default, the shorter of the two
            holds.
        stages: The other staging labels to try after a refusal; `()` for none.
        options: The other arguments of SQLAlchemy's `create_async_engine`, except `creator` and
            `async_creator`. Listeners to SQLAlchemy's event `do_connect` aren't called.

    Raises:
        ValueError: The URL or `connect_args` has a user or a password, the URL names another
            driver, or `creator` or `async_creator` is passed. Connecting raises it if no host is
            named, neither by the secret nor by the URL nor by the environment variable `PGHOST`
            (for psycopg also `PGHOSTADDR` and `PGSERVICE`; for MySQL none): the driver would
            connect to this machine. Or the options don't ensure the encryption that IAM tokens
            need, or `budget` or `max_wait` isn't positive.
        TypeError: `max_wait` isn't a duration. Connecting raises it if `budget` isn't a duration,
            if `stages` is one string, or if `decode` doesn't return `DatabaseCredentials`.
        sqlalchemy.exc.TimeoutError: The engine's methods raise it when `max_wait` is over. Its
            message names what the caller waited for, and a note has the last error of an attempt to
            connect.
        CredentialsError: Connecting raises it if the secret is unavailable.
        Exception: Connecting raises the driver's error. If the server refused user and password
            until the end of `budget`, it is the last refusal.
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
    async with _renewed(engine, manager, login, waits):
        yield engine


@asynccontextmanager
async def use_credentials(
    engine: AsyncEngine,
    manager: RotatingSecret[DatabaseCredentials],
    *,
    budget: float | timedelta = 60.0,
    max_wait: float | timedelta | None = None,
    stages: Sequence[str] = OTHER_STAGES,
) -> AsyncGenerator[AsyncEngine]:
    """Make an engine of other code connect as the user that the secret names, while a block lasts.

    Use it with `async with`. Needs secretsmanager:GetSecretValue, except for
    `IamDatabaseCredentials`; a staging label for which that is denied is skipped.

    The engine may be made before there are an event loop and a pool, for example when a module is
    imported. In the block it works like an engine of `create_async_engine`, also during rotations.
    At the end of the block its connections are closed, and it connects again as it did before. So
    each start of an app can enter a block with the same engine, also in another event loop. Outside
    of a block, the driver connects without a password. A connection that was made before the block
    is replaced when it is next checked out.

    Listeners to SQLAlchemy's event `do_connect` that the engine has already are called first. They
    may change options. One that returns a connection makes the library's own unnecessary, so an
    engine with such a listener doesn't use the secret.

    Example:
        ```python
        from collections.abc import AsyncIterator
        from contextlib import asynccontextmanager

        from fastapi import FastAPI
        from sqlalchemy.ext.asyncio import create_async_engine

        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.integrations.sqlalchemy import use_credentials

        engine = create_async_engine("postgresql+asyncpg://")


        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/database", decode=DatabaseCredentials.from_json)
                async with use_credentials(engine, manager):
                    yield
        ```

    Args:
        engine: An engine with a URL as for `create_async_engine`.
        manager: A manager with `decode=DatabaseCredentials.from_json`, or `IamDatabaseCredentials`.
        budget: How long to search for a version that the server accepts, from the first refusal,
            in seconds or as a `timedelta`.
        max_wait: The longest time that a caller waits for a connection while the block lasts, in
            seconds or as a `timedelta`, as for `create_async_engine`. None for no limit of this
            kind.
        stages: The other staging labels to try after a refusal; `()` for none.

    Raises:
        sqlalchemy.exc.TimeoutError: The engine's methods raise it when `max_wait` is over.
        TypeError: The engine isn't an `AsyncEngine`, or `max_wait` isn't a duration.
        ValueError: The engine's URL has a user, a password or another driver, or the engine has
            its own creator. Connecting raises it if a user or a password are in `connect_args` or
            come from another listener, if the options don't ensure the encryption that IAM tokens
            need, and if no host is named by the secret, by the URL or by the environment.
        RuntimeError: The engine is in such a block already.
        CredentialsError: Connecting raises it if the secret is unavailable.
        Exception: Connecting raises the driver's error. If the server refused user and password
            until the end of `budget`, it is the last refusal.
    """
    check_engine(engine)
    login = _Login(manager, budget, stages)
    login.check_url(engine)
    dialect = engine.dialect
    if dialect in _in_use:
        raise RuntimeError("The engine has credentials already: enter one block per engine.")

    waits = Waits(max_wait, TimeoutError)
    _in_use.add(dialect)
    event.listen(engine.sync_engine, "do_connect", login.connect_as_listener)
    event.listen(engine.sync_engine, "checkout", login.reject_older)
    try:
        async with _renewed(engine, manager, login, waits):
            yield engine
    finally:
        event.remove(engine.sync_engine, "do_connect", login.connect_as_listener)
        event.remove(engine.sync_engine, "checkout", login.reject_older)
        _in_use.discard(dialect)


@asynccontextmanager
async def _renewed(
    engine: AsyncEngine,
    manager: RotatingSecret[DatabaseCredentials],
    login: _Login,
    waits: Waits,
) -> AsyncGenerator[None]:
    """Replace an engine's connections after each rotation; at the end, dispose of the engine.

    Meanwhile the engine's callers wait no longer than a limit.
    """

    async def renew(_: Secret) -> None:
        login.renewals.count += 1
        for entry in tuple(login.entries):
            entry.invalidate(soft=True)

    event.listen(engine.sync_engine, "connect", login.note_entry)
    with waits_limited(engine, waits):
        try:
            async with waits, rotations_watched(manager, renew):
                yield
        finally:
            event.remove(engine.sync_engine, "connect", login.note_entry)
            await close_completely(engine.dispose())


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
        self.entries: WeakSet[ConnectionPoolEntry] = WeakSet()
        """The places in the engine's pool that got a connection in the block."""
        self._arguments: Sequence[str] = ()
        self._options: dict[str, Any] = {}

    def set_options(self, engine: AsyncEngine, connect_args: Options) -> None:
        """Keep the caller's options.

        Raises:
            ValueError: There are another driver, a user or a password, or no encryption where the
                manager needs it.
        """
        self.check_url(engine)
        arguments, in_url = engine.dialect.create_connect_args(engine.url)
        self._arguments = arguments
        self._options = {
            **options_without_login(in_url, _WHERE),
            **options_without_login(connect_args, _WHERE),
        }
        driver = engine.dialect.driver
        _DRIVERS[driver].check(self._options)
        check_encryption(self._manager, driver, self._options)

    def check_url(self, engine: AsyncEngine) -> None:
        """Reject another driver, and a user or a password in the URL, with a `ValueError`."""
        driver = engine.dialect.driver
        if driver not in _DRIVERS:
            *others, last = _DRIVERS
            drivers = f"{', '.join(others)} or {last}"
            raise ValueError(f"The driver is {driver}: give a URL with {drivers}.")

        _, in_url = engine.dialect.create_connect_args(engine.url)
        options_without_login(in_url, _WHERE)

    def note_entry(self, _: object, entry: ConnectionPoolEntry) -> None:
        """Note a new connection, as a listener to the engine's event `connect`."""
        self.entries.add(entry)

    def reject_older(self, _: object, entry: ConnectionPoolEntry, __: object) -> None:
        """Replace a connection from before the block, as a listener to the event `checkout`.

        Raises `DisconnectionError`, after which SQLAlchemy connects again.
        """
        if entry not in self.entries:
            raise exc.DisconnectionError("The connection was made before use_credentials.")

    def connect(self, dialect: Dialect) -> Any:  # noqa: ANN401 (a DBAPI's connection)
        """Connect, as the engine's creator."""
        return self._connect(dialect, self._arguments, self._options)

    def connect_as_listener(
        self,
        dialect: Dialect,
        _: object,
        arguments: Sequence[str],
        options: Options,
    ) -> Any:  # noqa: ANN401 (a DBAPI's connection)
        """Connect, as a listener to the engine's event `do_connect`.

        SQLAlchemy shows the engine's `connect_args` only here.

        Raises:
            ValueError: There are a user or a password in the options, or no encryption.
        """
        accepted = options_without_login(options, _WHERE)
        _DRIVERS[dialect.driver].check(accepted)
        return self._connect(dialect, arguments, accepted)

    def _connect(
        self,
        dialect: Dialect,
        arguments: Sequence[str],
        options: Options,
    ) -> Any:  # noqa: ANN401 (a DBAPI's connection)
        """Connect by the dialect.

        The dialect removes its own options, and passes the others to the driver.

        Raises:
            ValueError: There is no encryption where the manager needs it.
        """
        # Drivers read the environment for each connection.
        check_encryption(self._manager, dialect.driver, options)

        async def connect_driver(*arguments: str, **options: Any) -> Any:  # noqa: ANN401
            return await self._connect_driver(dialect, arguments, options)

        dbapi: Any = dialect.dbapi
        return dbapi.connect(
            *arguments,
            **options,
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
            server = server_options(credentials, options, driver, advice=_NAME_HOST)
            connect = _connect_of(dialect, options)
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


def _connect_of(dialect: Dialect, options: Options) -> Connect:
    """Return the driver's function.

    SQLAlchemy keeps the driver's module as an attribute that has its name.
    """
    module: Any = getattr(dialect.dbapi, dialect.driver)
    if dialect.driver == "aiomysql":
        connect_aiomysql: Connect = connect_of_aiomysql(module, options)
        return connect_aiomysql
    owner: Any = module
    if dialect.driver == "psycopg":
        owner = module.AsyncConnection
    connect: Connect = owner.connect
    return connect
