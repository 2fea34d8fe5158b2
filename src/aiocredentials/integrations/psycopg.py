"""psycopg: a pool whose connections have the current user and password, also while these change."""

from __future__ import annotations

import asyncio
import copy
import inspect
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from psycopg import AsyncConnection, OperationalError
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from aiocredentials import CredentialsError
from aiocredentials._rotation.adapters import (
    PSYCOPG,
    Renewals,
    checked_credentials,
    close_completely,
    options_without_login,
    server_options,
)
from aiocredentials._rotation.encryption import check_encryption
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

    Connection: TypeAlias = AsyncConnection[Any]
    Connect: TypeAlias = Callable[..., Awaitable[Connection]]
    Options: TypeAlias = Mapping[str, Any]
    # psycopg_pool 3.3 accepts each of these.
    ValueOrCallable: TypeAlias = R | Callable[[], R] | Callable[[], Awaitable[R]]

__all__ = ["connect", "create_pool"]


async def connect(
    manager: RotatingSecret[DatabaseCredentials],
    conninfo: str = "",
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    connection_class: type[Connection] = AsyncConnection,
    **options: Any,  # noqa: ANN401 (psycopg's)
) -> Connection:
    """Return a connection with the secret's user and password, as `connection_class.connect` does.

    The caller closes it. Host, port and database are those of `options` and `conninfo`. If they
    don't name one of the three, it is the secret's. An option that is None counts as left out.

    Args:
        manager: A manager with `decode=DatabaseCredentials.from_json`.
        conninfo: As for `connection_class.connect`, without user and password.
        budget: As for `connect_through_rotation`, in seconds or as a `timedelta`.
        stages: As for `connect_through_rotation`.
        connection_class: The class of psycopg, or your own.
        options: Those of `connection_class.connect`, without user and password.

    Raises:
        ValueError: There are a user or a password in `options` or `conninfo`; or no host is named
            by the secret, by the caller, or by the environment as `PGHOST`, `PGHOSTADDR` or
            `PGSERVICE`. Otherwise libpq would connect to this machine.
        Exception: The errors of `connect_through_rotation`. Needs secretsmanager:GetSecretValue.
    """
    accepted = _options_without_login(conninfo, options)
    check_encryption(manager, "psycopg", accepted)

    log_in = partial(_log_in, connection_class.connect, accepted)
    return await connect_through_rotation(manager, log_in, budget=budget, stages=stages)


@asynccontextmanager
async def create_pool(
    manager: RotatingSecret[DatabaseCredentials],
    conninfo: ValueOrCallable[str] = "",
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    connection_class: type[Connection] = AsyncConnection,
    kwargs: ValueOrCallable[Options | None] = None,
    **options: Any,  # noqa: ANN401 (psycopg_pool's)
) -> AsyncGenerator[AsyncConnectionPool[Connection]]:
    """Open an `AsyncConnectionPool` while a block lasts; it connects as `connect` does.

    It is open when `min_size` connections are made, at the latest after `timeout`, psycopg_pool's
    own option. When a new version of the secret is fetched, older connections are replaced: idle
    connections at once, others when they are returned. No version is missed that is fetched between
    the first connection and the end of the block.

    psycopg_pool raises a `PoolTimeout` for any reason. This pool raises the error that keeps it
    from connecting: a permanent `CredentialsError`, or the server's refusal after the `budget`, at
    once; a transient error at the end of the caller's timeout. The pool continues to try, as
    psycopg_pool does.

    Example:
        ```python
        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.integrations.psycopg import create_pool


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/database", decode=DatabaseCredentials.from_json)
                async with create_pool(manager, min_size=2) as pool:
                    async with pool.connection() as connection:
                        await connection.execute("SELECT current_user")
        ```

    Args:
        manager: A manager with `decode=DatabaseCredentials.from_json`.
        conninfo: As for `connect`; or a callable that returns it or an awaitable of it, and is
            called for each connection.
        budget: As for `connect_through_rotation`, in seconds or as a `timedelta`.
        stages: As for `connect_through_rotation`.
        connection_class: The class of psycopg, or your own.
        kwargs: The options of each connection, without user and password; or a callable.
        options: Those of the pool. The block opens and closes it, so `open=True` has no effect.

    Raises:
        ValueError: The caller gives a user or a password, or `open=False`.
        Exception: The errors of `connect`.
        PoolTimeout: A time limit has passed, and the last attempt to connect didn't fail.
    """
    if options.pop("open", None) is False:
        raise ValueError("The block opens the pool, and closes it: leave out open=.")
    _check_in_advance(manager, conninfo, kwargs)

    connector = _Connector(manager, budget, stages)
    bridging_class = _bridging_class(connection_class, connector, conninfo, kwargs)
    pool = _Pool(
        connector,
        connection_class=bridging_class,
        open=False,
        **options,
    )
    opened = asyncio.Event()

    async def renew(_: Secret) -> None:
        connector.renewals.count += 1
        # A connection that was made before the pool was open is older as well.
        await opened.wait()
        await pool.drain()

    try:
        async with rotations_watched(manager, renew):
            await pool.open(wait=True, timeout=pool.timeout)
            opened.set()
            yield pool
    finally:
        await close_completely(pool.close())


class _InterruptedWaitError(Exception):
    """A wait was ended before its time, because it can't succeed."""


class _Waits:
    """The waits that `interrupt` ends."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def interruptible(self, *, at_once: bool = False) -> AsyncGenerator[None]:
        """End the block with `_InterruptedWaitError` when `interrupt` is called, or at once."""
        seconds = 0 if at_once else None
        limit = asyncio.timeout(seconds)
        self._limits.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise _InterruptedWaitError from None
        finally:
            self._limits.discard(limit)

    def interrupt(self) -> None:
        """Interrupt all waits that have begun."""
        now = asyncio.get_running_loop().time()
        # A limit is removed first, because asyncio allows no second change once it has expired.
        while self._limits:
            limit = self._limits.pop()
            limit.reschedule(now)


class _Connector:
    """Connects for one pool, and passes the reason to callers if that fails."""

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
        self._failure: Exception | None = None
        """The error of the last attempt that failed."""
        self._is_failing = False
        """Whether no attempt has succeeded since."""
        self._callers = _Waits()
        """The callers of the pool that wait for a connection."""
        self._attempts = _Waits()
        self._closed = False

    async def connect_for_pool(
        self,
        connect: Connect,
        conninfo: ValueOrCallable[str],
        kwargs: ValueOrCallable[Options | None],
        more: Options,
    ) -> Connection:
        """Make a connection for the pool.

        If that fails permanently, the callers that wait for a connection get the error at once.
        """
        try:
            async with self._attempts.interruptible(at_once=self._closed):
                own_options = await _resolved(kwargs) or {}
                text = await _resolved(conninfo)
                options = _options_without_login(text, {**own_options, **more})
                check_encryption(self._manager, "psycopg", options)
                connection = await self._newest_connection(connect, options)
        except _InterruptedWaitError:
            raise PoolClosed("The pool was closed while it connected.") from None
        except Exception as error:
            self._note_failure(error)
            if not _is_transient(error):
                self._callers.interrupt()
            raise
        self._is_failing = False
        return connection

    async def _newest_connection(self, connect: Connect, options: Options) -> Connection:
        """Connect through rotations, until the connection isn't older than the last renewal."""

        async def log_in_and_note_failure(decoded: DatabaseCredentials) -> Connection:
            try:
                return await _log_in(connect, options, decoded)
            except Exception as error:
                self._note_failure(error)
                raise

        connect_once = partial(
            connect_through_rotation,
            self._manager,
            log_in_and_note_failure,
            budget=self._budget,
            stages=self._stages,
        )
        return await self.renewals.connect(connect_once)

    @asynccontextmanager
    async def failure_instead_of_timeout(self) -> AsyncGenerator[None]:
        """Wrap a caller's wait for connections: if it fails, raise a copy of the last error."""
        try:
            async with self._callers.interruptible():
                yield
        except _InterruptedWaitError as error:
            self._raise_failure(error)
        except PoolTimeout as error:
            if not self._is_failing:
                raise
            self._raise_failure(error)

    def _raise_failure(self, error: Exception) -> NoReturn:
        failure = cast("Exception", self._failure)
        raise _copy_without_traceback(failure) from error

    def close(self) -> None:
        """End the attempts to connect: each may need the whole budget, and closing doesn't wait."""
        self._closed = True
        self._attempts.interrupt()

    def _note_failure(self, error: Exception) -> None:
        self._failure = _copy_without_traceback(error)
        self._is_failing = True


class _Pool(AsyncConnectionPool[AsyncConnection[Any]]):
    """A pool whose callers get the reason why there is no connection."""

    def __init__(self, connector: _Connector, **options: Any) -> None:  # noqa: ANN401
        self._connector = connector
        super().__init__(**options)

    # Each `timeout` is psycopg_pool's.
    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109
        async with self._connector.failure_instead_of_timeout():
            return await super().getconn(timeout)

    async def wait(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        async with self._connector.failure_instead_of_timeout():
            await super().wait(timeout)

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109
        self._connector.close()
        await super().close(timeout)


def _bridging_class(
    base: type[Connection],
    connector: _Connector,
    conninfo: ValueOrCallable[str],
    kwargs: ValueOrCallable[Options | None],
) -> type[Connection]:
    """Return the class that the pool makes connections of."""

    # The pool adds `connect_timeout` to a connection that a caller waits for.
    async def connect_for_pool(_: str = "", **more: Any) -> Connection:  # noqa: ANN401
        return await connector.connect_for_pool(base.connect, conninfo, kwargs, more)

    name = base.__name__
    methods = {"connect": staticmethod(connect_for_pool)}
    return type(name, (base,), methods)


async def _resolved(value: ValueOrCallable[R]) -> R:
    """Resolve a value, a callable or an async callable, as psycopg_pool does."""
    resolved: Any = value
    if callable(value):
        resolved = value()
    if inspect.isawaitable(resolved):
        resolved = await resolved
    return cast("R", resolved)


async def _log_in(
    connect: Connect,
    options: Options,
    decoded: DatabaseCredentials,
) -> Connection:
    """Connect once, with the credentials of one version."""
    credentials = checked_credentials(decoded)
    server = server_options(credentials, options, PSYCOPG)
    # No local variable holds the password, because a traceback may show it.
    return await connect(
        **server,
        **options,
        user=credentials.username,
        password=credentials.password,
    )


def _check_in_advance(
    manager: object,
    conninfo: ValueOrCallable[str],
    kwargs: ValueOrCallable[Options | None],
) -> None:
    """Reject what can't work at once, and not by an error of each attempt to connect."""
    known: dict[str, Any] = {}
    if isinstance(conninfo, str):
        known.update(_options_without_login(conninfo, {}))
    if kwargs is not None and not callable(kwargs):
        known.update(_options_without_login("", kwargs))
    if not callable(conninfo) and not callable(kwargs):
        check_encryption(manager, "psycopg", known)


def _options_without_login(conninfo: str, options: Options) -> dict[str, Any]:
    """Return psycopg's options; reject a login in them and in conninfo."""
    where = "the arguments and of conninfo"
    in_conninfo = conninfo_to_dict(conninfo)
    return {
        **options_without_login(in_conninfo, where),
        **options_without_login(options, where),
    }


def _is_transient(error: Exception) -> bool:
    if isinstance(error, CredentialsError):
        return error.transient
    if not isinstance(error, OperationalError):
        return False
    return not is_auth_error(error)


def _copy_without_traceback(error: Exception) -> Exception:
    """Return a copy for one more caller.

    The traceback of an error that is raised again grows each time, and holds the attempt's frames.
    Copying an error of psycopg removes libpq's facts from both, the original and the copy. They are
    restored, because a refusal is recognized by them.
    """
    attributes = dict(vars(error))
    try:
        fresh = copy.copy(error).with_traceback(None)
    except Exception:  # noqa: BLE001 (a class that can't be copied may raise any error)
        return error
    vars(error).update(attributes)
    vars(fresh).update(attributes)
    return fresh
