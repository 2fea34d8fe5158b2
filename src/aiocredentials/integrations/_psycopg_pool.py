"""Part of `psycopg`: the pool that connects through rotations.

psycopg_pool connects in the background, and reports to its callers only that a time limit has
passed. Instead, `Pool` raises the error that prevents a connection, and `Connector` keeps it.
"""

from __future__ import annotations

import copy
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from aiocredentials import CredentialsError
from aiocredentials._rotation.adapters import Renewals
from aiocredentials._rotation.encryption import check_encryption
from aiocredentials._rotation.interruption import InterruptedWaitError, InterruptibleWaits
from aiocredentials._rotation.waits import SLOT, Wait, noted_check, noted_in
from aiocredentials.integrations._psycopg_login import log_in, options_for_psycopg, resolved
from aiocredentials.rotation import connect_through_rotation, is_auth_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import timedelta

    from aiocredentials import DatabaseCredentials
    from aiocredentials._rotation.waits import Waits
    from aiocredentials.integrations._psycopg_login import (
        Connect,
        Connection,
        Options,
        ValueOrCallable,
    )
    from aiocredentials.rotation import RotatingSecret


class Connector:
    """Connects for one pool, and passes the reason to callers if that fails."""

    def __init__(
        self,
        manager: RotatingSecret[DatabaseCredentials],
        budget: float | timedelta,
        stages: Sequence[str],
        *,
        waits: Waits,
    ) -> None:
        self._manager = manager
        self._budget = budget
        self._stages = stages
        self.waits = waits
        self.wait = Wait(waits, SLOT)
        """What the callers of the pool wait for: the same for all, because the pool connects."""
        self.renewals = Renewals()
        self._failure: Exception | None = None
        """The error of the last attempt that failed."""
        self._is_failing = False
        """Whether no attempt has succeeded since."""
        self._callers = InterruptibleWaits()
        """The callers of the pool that wait for a connection."""
        self._attempts = InterruptibleWaits()
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
            with noted_in(self.wait):
                async with self._attempts.interruptible(at_once=self._closed):
                    own_options = await resolved(kwargs) or {}
                    text = await resolved(conninfo)
                    options = options_for_psycopg(text, {**own_options, **more})
                    check_encryption(self._manager, "psycopg", options)
                    connection = await self._newest_connection(connect, options)
        except InterruptedWaitError:
            pass
        except Exception as error:
            self._note_failure(error)
            if not _is_transient(error):
                self._callers.interrupt()
            raise
        else:
            self._is_failing = False
            return connection
        finally:
            self.wait.what = SLOT
        # Raised here, the error doesn't hold the attempt. psycopg leaves the socket of an attempt
        # that was cut open as long as any error, such as one in a log record, holds its frames.
        raise PoolClosed("The pool was closed while it connected.")

    async def _newest_connection(self, connect: Connect, options: Options) -> Connection:
        """Connect through rotations, until the connection isn't older than the last renewal."""

        async def log_in_and_note_failure(decoded: DatabaseCredentials) -> Connection:
            try:
                return await log_in(connect, options, decoded)
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
        except InterruptedWaitError as error:
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
        if isinstance(error, CredentialsError):
            self.waits.note_error(error)


class Pool(AsyncConnectionPool[AsyncConnection[Any]]):
    """A pool whose callers get the reason why there is no connection."""

    def __init__(self, connector: Connector, **options: Any) -> None:  # noqa: ANN401
        self._connector = connector
        check = noted_check(options.pop("check", None))
        super().__init__(check=check, **options)

    # Each `timeout` is psycopg_pool's.
    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109
        get = partial(self._getconn_or_failure, timeout)
        waits = self._connector.waits
        wait = Wait(waits, SLOT, pool=self._connector.wait)
        return await waits.within(get, self.putconn, wait=wait)

    async def _getconn_or_failure(
        self,
        timeout: float | None,  # noqa: ASYNC109
    ) -> Connection:
        async with self._connector.failure_instead_of_timeout():
            return await super().getconn(timeout)

    async def wait(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        async with self._connector.failure_instead_of_timeout():
            await super().wait(timeout)

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109
        self._connector.close()
        await super().close(timeout)


def bridging_class(
    base: type[Connection],
    connector: Connector,
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
