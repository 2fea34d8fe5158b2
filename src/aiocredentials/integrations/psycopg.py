"""psycopg: a pool whose connections have the current user and password, also while these change."""

from __future__ import annotations

import asyncio
import copy
import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from aiocredentials import CredentialsError
from aiocredentials._rotation.adapters import checked, complete, given, place
from aiocredentials.rotation import (
    OTHER_STAGES,
    connect_through_rotation,
    is_auth_error,
    rotations_watched,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta
    from typing import TypeAlias

    from aiocredentials import DatabaseCredentials, Secret
    from aiocredentials.rotation import RotatingSecret

    R = TypeVar("R")

    Connect: TypeAlias = Callable[..., Awaitable[AsyncConnection[Any]]]
    # psycopg_pool 3.3 takes each of these.
    Given: TypeAlias = R | Callable[[], R] | Callable[[], Awaitable[R]]

__all__ = ["connect", "create_pool"]

# By any of these, libpq finds a server.
_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSERVICE")


async def connect(
    manager: RotatingSecret[DatabaseCredentials],
    conninfo: str = "",
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    connection_class: type[AsyncConnection[Any]] = AsyncConnection,
    **options: Any,  # noqa: ANN401 (psycopg's)
) -> AsyncConnection[Any]:
    """Return a connection with the secret's user and password, as `connection_class.connect` does.

    The caller closes it. Host, port and database are those of `options` and `conninfo`, each one
    the secret's if they don't name it. An option that is None isn't given.

    Args:
        manager: a manager with `decode=DatabaseCredentials.from_json`.
        conninfo: psycopg's.
        budget: as for `connect_through_rotation`, in seconds or as a `timedelta`.
        stages: as for `connect_through_rotation`.
        connection_class: psycopg's, or one of your own.
        options: psycopg's, without user and password.

    Raises:
        ValueError: if the caller gives a user or a password, or if nobody names a host: the secret,
            the caller, or the environment as `PGHOST`, `PGHOSTADDR` or `PGSERVICE`. libpq would go
            to this machine.
        Exception: what `connect_through_rotation` raises. Needs secretsmanager:GetSecretValue.
    """
    options = _given(conninfo, options)

    async def attempt(credentials: DatabaseCredentials) -> AsyncConnection[Any]:
        return await _log_in(connection_class.connect, credentials, options)

    return await connect_through_rotation(manager, attempt, budget=budget, stages=stages)


@asynccontextmanager
async def create_pool(
    manager: RotatingSecret[DatabaseCredentials],
    conninfo: Given[str] = "",
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    connection_class: type[AsyncConnection[Any]] = AsyncConnection,
    kwargs: Given[Mapping[str, Any] | None] = None,
    **options: Any,  # noqa: ANN401 (psycopg_pool's)
) -> AsyncGenerator[AsyncConnectionPool[AsyncConnection[Any]]]:
    """Open an `AsyncConnectionPool` for the length of a block; it connects as `connect` does.

    It is open when `min_size` connections are made, at the latest after `timeout`, psycopg_pool's
    own option. When a new version of the secret is fetched, older connections are replaced: idle
    ones at once, others as they come back. No version is missed that is fetched between the first
    connection and the end of the block.

    A caller of the pool gets the error that keeps it from connecting, where psycopg_pool has a
    `PoolTimeout` for all: at once if it is the server's refusal after the `budget`, or a permanent
    `CredentialsError`; an error that may pass when the caller's time is up. The pool goes on
    trying, as psycopg_pool does.

    Args:
        manager: a manager with `decode=DatabaseCredentials.from_json`.
        conninfo: psycopg's, or a callable that returns it or an awaitable of it, for each
            connection anew.
        budget: as for `connect_through_rotation`, in seconds or as a `timedelta`.
        stages: as for `connect_through_rotation`.
        connection_class: psycopg's, or one of your own.
        kwargs: the options of each connection, without user and password; or a callable.
        options: those of the pool, without `open`: the block opens and closes it.

    Raises:
        Exception: what `connect` raises.
    """
    if options.pop("open", None) is False:
        raise ValueError("The block opens the pool, and closes it: leave out open=.")
    if isinstance(conninfo, str):
        # What is wrong in advance is raised at once, and not from an attempt to connect.
        _given(conninfo, {})
    if kwargs is not None and not callable(kwargs):
        _given("", kwargs)

    bridge = _Bridge(manager, budget, stages)
    bridged = _bridged(connection_class, bridge, conninfo, kwargs)
    pool = _Pool(bridge, connection_class=bridged, open=False, **options)
    opened = asyncio.Event()

    async def renew(_: Secret) -> None:
        bridge.renewals += 1
        # What was connected before the pool was open is older as well.
        await opened.wait()
        await pool.drain()

    try:
        async with rotations_watched(manager, renew):
            await pool.open(wait=True, timeout=pool.timeout)
            opened.set()
            yield pool
    finally:
        await complete(pool.close())


class _ToldError(Exception):
    """There is no use in waiting any longer."""


class _Bridge:
    """The way to the server, for one pool.

    It knows what the last attempt failed with, and which callers wait for a connection.
    """

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
        self._failure: Exception | None = None
        self._failing = False
        self._callers: set[asyncio.Timeout] = set()
        self._attempts: set[asyncio.Timeout] = set()
        self._closed = False

    async def connect(
        self,
        connect: Connect,
        conninfo: Given[str],
        kwargs: Given[Mapping[str, Any] | None],
        more: Mapping[str, Any],
    ) -> AsyncConnection[Any]:
        """Make a connection for the pool.

        If that fails for good, those that wait for one hear of it at once.
        """
        try:
            async with self._until_told(self._attempts):
                found = await _resolved(kwargs) or {}
                options = _given(await _resolved(conninfo), {**found, **more})
                made = await self._newest(connect, options)
        except _ToldError:
            raise PoolClosed("The pool was closed while it connected.") from None
        except Exception as error:
            self._failed(error)
            if not _may_pass(error):
                self._tell(self._callers)
            raise
        self._failing = False
        return made

    async def _newest(self, connect: Connect, options: Mapping[str, Any]) -> AsyncConnection[Any]:
        """Make a connection that isn't older than the last rotation that was acted on."""

        async def attempt(credentials: DatabaseCredentials) -> AsyncConnection[Any]:
            try:
                return await _log_in(connect, credentials, options)
            except Exception as error:
                self._failed(error)
                raise

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
            # The pool would take it for newer than the rotation.
            await made.close()

    @asynccontextmanager
    async def caller(self) -> AsyncGenerator[None]:
        """Wrap a wait for connections.

        If it fails, it raises the cause, if there is one, as an exception of its own.
        """
        try:
            async with self._until_told(self._callers):
                yield
        except (PoolTimeout, _ToldError) as error:
            if self._failure is None or (isinstance(error, PoolTimeout) and not self._failing):
                raise
            raise _fresh(self._failure) from error

    def close(self) -> None:
        """End the attempts to connect: each may take the whole budget, and closing doesn't wait."""
        self._closed = True
        self._tell(self._attempts)

    @asynccontextmanager
    async def _until_told(self, those: set[asyncio.Timeout]) -> AsyncGenerator[None]:
        told = asyncio.timeout(0 if self._closed and those is self._attempts else None)
        those.add(told)
        try:
            async with told:
                yield
        except TimeoutError as error:
            raise (_ToldError() if told.expired() else error) from None
        finally:
            those.discard(told)

    def _tell(self, those: set[asyncio.Timeout]) -> None:
        now = asyncio.get_running_loop().time()
        while those:  # each is told once: a second time is an error of asyncio's
            those.pop().reschedule(now)

    def _failed(self, error: Exception) -> None:
        self._failure, self._failing = _fresh(error), True


class _Pool(AsyncConnectionPool[AsyncConnection[Any]]):
    """A pool whose callers see why there is no connection."""

    def __init__(self, bridge: _Bridge, **options: Any) -> None:  # noqa: ANN401
        self._bridge = bridge
        super().__init__(**options)

    # Each `timeout` is psycopg_pool's.
    async def getconn(self, timeout: float | None = None) -> AsyncConnection[Any]:  # noqa: ASYNC109
        async with self._bridge.caller():
            return await super().getconn(timeout)

    async def wait(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        async with self._bridge.caller():
            await super().wait(timeout)

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109
        self._bridge.close()
        await super().close(timeout)


def _bridged(
    base: type[AsyncConnection[Any]],
    bridge: _Bridge,
    conninfo: Given[str],
    kwargs: Given[Mapping[str, Any] | None],
) -> type[AsyncConnection[Any]]:
    """Return the class that the pool makes connections of."""

    # What the pool adds is `connect_timeout`, for a connection that somebody waits for.
    async def connect(_: str = "", **more: Any) -> AsyncConnection[Any]:  # noqa: ANN401
        return await bridge.connect(base.connect, conninfo, kwargs, more)

    return type(base.__name__, (base,), {"connect": staticmethod(connect)})


async def _resolved(value: Given[R]) -> R:
    """Return what psycopg_pool would make of a value, a callable or an async callable."""
    found: Any = value() if callable(value) else value
    if inspect.isawaitable(found):
        found = await found
    return cast("R", found)


async def _log_in(
    connect: Connect, credentials: DatabaseCredentials, options: Mapping[str, Any]
) -> AsyncConnection[Any]:
    where = place(checked(credentials), options, database="dbname", variables=_VARIABLES)
    login = {"user": credentials.username, "password": credentials.password}
    return await connect(**where, **options, **login)


def _given(conninfo: str, options: Mapping[str, Any]) -> dict[str, Any]:
    where = "the arguments and of conninfo"
    return {**given(conninfo_to_dict(conninfo), where), **given(options, where)}


def _may_pass(error: Exception) -> bool:
    if isinstance(error, CredentialsError):
        return error.transient
    return isinstance(error, OperationalError) and not is_auth_error(error)


def _fresh(error: Exception) -> Exception:
    """Return a copy without a traceback, which grows with each raise and holds an attempt's frames.

    To copy an error of psycopg takes what libpq knew from both, by which a refusal is recognized.
    """
    facts = dict(vars(error))
    try:
        fresh = copy.copy(error).with_traceback(None)
    except Exception:  # noqa: BLE001 (a class that can't be copied may raise anything)
        return error
    vars(error).update(facts)
    vars(fresh).update(facts)
    return fresh
