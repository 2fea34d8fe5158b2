"""psycopg: a pool whose new connections have the current user and password, also while these are being changed."""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from aiocredentials import CredentialsError, DatabaseCredentials
from aiocredentials.rotation import OTHER_STAGES, connect_through_rotation, is_auth_error, rotations_watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta
    from typing import TypeAlias

    from aiocredentials.rotation import RotatingSecret

    Connect: TypeAlias = Callable[..., Awaitable[AsyncConnection[Any]]]

__all__ = ["connect", "create_pool"]


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

    The caller closes it. `manager` has `decode=DatabaseCredentials.from_json`. Host, port and database are those of
    `options` and `conninfo`, and the secret's where neither says them. `budget`, in seconds or as a `timedelta`, and
    `stages` are those of `connect_through_rotation`, which also says what is raised. Raises `ValueError` where the
    caller gives a user or a password. Needs secretsmanager:GetSecretValue.
    """
    given = _given(conninfo, options)

    async def attempt(credentials: DatabaseCredentials) -> AsyncConnection[Any]:
        return await _log_in(connection_class.connect, credentials, given)

    return await connect_through_rotation(manager, attempt, budget=budget, stages=stages)


@asynccontextmanager
async def create_pool(
    manager: RotatingSecret[DatabaseCredentials],
    conninfo: str = "",
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    connection_class: type[AsyncConnection[Any]] = AsyncConnection,
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,  # noqa: ANN401 (psycopg_pool's)
) -> AsyncGenerator[AsyncConnectionPool[AsyncConnection[Any]]]:
    """Open an `AsyncConnectionPool` for the length of a block; each new connection is made as `connect` makes it.

    `kwargs` are those of each connection, `options` those of the pool. It is open when `min_size` connections are made,
    at the latest after `timeout`, psycopg_pool's own option. When a fetch brings a new version of the secret, older
    connections are replaced: idle ones at once, others as they come back.

    A caller of the pool gets the error that keeps it from connecting, where psycopg_pool has a `PoolTimeout` for all:
    at once if it is the server's refusal after the `budget`, or a lasting `CredentialsError`; an error that may pass
    when the caller's time is up. The pool goes on trying, as psycopg_pool does.
    """
    bridge = _Bridge(manager, budget, stages)
    given = _given(conninfo, kwargs or {})
    pool = _Pool(bridge, connection_class=_bridged(connection_class, bridge), kwargs=given, open=False, **options)
    try:
        await pool.open(wait=True, timeout=pool.timeout)
        async with rotations_watched(manager, lambda _: pool.drain()):
            yield pool
    finally:
        closing = asyncio.create_task(pool.close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise


class _ToldError(Exception):
    """There is no use in waiting any longer."""


class _Bridge:
    """The way to the server, for one pool: what the last attempt failed with, and who waits for a connection."""

    def __init__(
        self, manager: RotatingSecret[DatabaseCredentials], budget: float | timedelta, stages: Sequence[str]
    ) -> None:
        self._manager, self._budget, self._stages = manager, budget, stages
        self._failure: Exception | None = None
        self._failing = False
        self._callers: set[asyncio.Timeout] = set()
        self._attempts: set[asyncio.Timeout] = set()
        self._closed = False

    async def connect(self, connect: Connect, given: Mapping[str, Any]) -> AsyncConnection[Any]:
        """Make a connection for the pool. If that fails for good, those who wait for one hear of it at once."""

        async def attempt(credentials: DatabaseCredentials) -> AsyncConnection[Any]:
            try:
                return await _log_in(connect, credentials, given)
            except Exception as error:
                self._failed(error)
                raise

        try:
            async with self._until_told(self._attempts):
                made = await connect_through_rotation(self._manager, attempt, budget=self._budget, stages=self._stages)
        except _ToldError:
            raise PoolClosed("The pool was closed while it connected.") from None
        except Exception as error:
            self._failed(error)
            if not _may_pass(error):
                self._tell(self._callers)
            raise
        self._failing = False
        return made

    @asynccontextmanager
    async def caller(self) -> AsyncGenerator[None]:
        """Wrap a wait for connections: it ends with the cause, as an exception of its own, if there is one."""
        try:
            async with self._until_told(self._callers):
                yield
        except (PoolTimeout, _ToldError) as error:
            if self._failure is None or (isinstance(error, PoolTimeout) and not self._failing):
                raise
            raise _fresh(self._failure) from error

    def close(self) -> None:
        """End the attempts to connect: each may take the whole budget, for which closing doesn't wait."""
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


def _bridged(base: type[AsyncConnection[Any]], bridge: _Bridge) -> type[AsyncConnection[Any]]:
    """Return the class that the pool makes connections of."""

    async def connect(_: str = "", **given: Any) -> AsyncConnection[Any]:  # noqa: ANN401
        return await bridge.connect(base.connect, given)

    return type(base.__name__, (base,), {"connect": staticmethod(connect)})


async def _log_in(connect: Connect, credentials: DatabaseCredentials, given: Mapping[str, Any]) -> AsyncConnection[Any]:
    # First of all, since an AttributeError of a dict would hold the dict.
    if not isinstance(cast("object", credentials), DatabaseCredentials):
        raise TypeError("The manager gives no DatabaseCredentials: make it with decode=DatabaseCredentials.from_json.")
    where = {"host": credentials.host, "port": credentials.port, "dbname": credentials.dbname}
    said = {**{name: value for name, value in where.items() if value is not None}, **given}
    return await connect(**said, user=credentials.username, password=credentials.password)


def _given(conninfo: str, options: Mapping[str, Any]) -> dict[str, Any]:
    given = {**conninfo_to_dict(conninfo), **options}
    if {"user", "password"} & given.keys():
        raise ValueError("User and password come from the secret: leave them out of the arguments and of conninfo.")
    return given


def _may_pass(error: Exception) -> bool:
    if isinstance(error, CredentialsError):
        return error.transient
    return isinstance(error, OperationalError) and not is_auth_error(error)


def _fresh(error: Exception) -> Exception:
    """Return a copy without a traceback: that would grow with each raise, and holds the frames of the attempt."""
    try:
        return copy.copy(error).with_traceback(None)
    except Exception:  # noqa: BLE001 (a class that can't be copied may raise anything)
        return error
