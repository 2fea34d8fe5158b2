"""redis-py's connections that connect, and authenticate, through rotations.

redis-py makes connections of a class that a client's pool or node names. `ClientRotation` derives a
class from it, in which `connect_through_rotation` repeats the login that the server refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary, WeakSet

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, TimeoutError  # noqa: A004 (redis-py's name)

from aiocredentials.errors import CredentialsError
from aiocredentials.rotation import connect_through_rotation, is_auth_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import timedelta
    from typing import TypeAlias

    from redis.asyncio.retry import Retry

    from aiocredentials._rotation.waits import Waits
    from aiocredentials.integrations._redis_versions import VersionCredentials, Versions

    Action: TypeAlias = Callable[[], Awaitable[None]]
    Task: TypeAlias = asyncio.Task[Any]

R = TypeVar("R")

# A task that was refused for a whole budget, and within so many seconds connects to another server
# of the same client, is trying the nodes of a cluster, or the replicas of a master.
_NEXT_SERVER = 0.5
# A budget in seconds that is spent after the first attempt.
_ONE_ATTEMPT = 1e-6
# Refusals that lasted for a whole budget. redis-py would try again, because it treats each of them
# as an error of the connection.
_final: WeakSet[BaseException] = WeakSet()


class WaitTimeoutError(TimeoutError):
    """The time for a connection is over.

    `RedisCluster` tries again after redis-py's own class, and not after this one.
    """


def wait_timeout(message: str) -> Exception:
    """Return the error for the end of the time; no connection's retry tries again after it."""
    error = WaitTimeoutError(message)
    _final.add(error)
    return error


class Refusal(NamedTuple):
    """The server that refused a login for a whole budget, and when, by the event loop's clock."""

    server: object
    time: float


@dataclass(frozen=True)
class ClientRotation:
    """The settings and the refusals that the connections of a client share."""

    versions: Versions
    budget: float | timedelta
    stages: Sequence[str]
    reauthenticate: bool
    waits: Waits
    refusals: WeakKeyDictionary[Task, Refusal]
    """The last refusal that a task got for a whole budget."""

    async def log_in_through_rotation(
        self,
        server: object,
        log_in: Callable[[VersionCredentials], Awaitable[None]],
    ) -> None:
        """Log in to a server by `log_in`; after a refusal, log in again with another version."""
        clock = asyncio.get_running_loop().time
        task = cast("Task", asyncio.current_task())
        is_next = self._is_next_server(server, self.refusals.get(task))
        budget = self.budget
        if is_next:
            budget = _ONE_ATTEMPT
        try:
            await connect_through_rotation(
                self.versions,
                log_in,
                budget=budget,
                stages=self.stages,
            )
        except RedisError as error:
            if is_auth_error(error):
                _final.add(error)
                if not is_next:
                    self.refusals[task] = Refusal(server, clock())
            raise

    def _is_next_server(self, server: object, refusal: Refusal | None) -> bool:
        """Return whether the task is trying the servers of a client one after the other."""
        if refusal is None or refusal.server == server:
            return False
        now = asyncio.get_running_loop().time()
        return now - refusal.time < _NEXT_SERVER

    def rotating_class(self, base: type[AbstractConnection]) -> type[Any]:
        """Return a class of connections that connect as those of `base` do, through rotations."""
        name = f"Rotating{base.__name__}"
        bases = (_RotatingConnection, base)
        return type(name, bases, {"rotation": self})


class _UnchangedError(Exception):
    """An open connection already has the version that the server accepts."""


class _RotatingConnection(AbstractConnection):
    """Connects, and authenticates, through rotations: for redis-py that is one attempt."""

    rotation: ClassVar[ClientRotation]
    version_id: str = ""

    @property
    def retry(self) -> Retry:
        """The connection's retry, which a client's `set_retry` may replace at any time."""
        retry: Retry = vars(self)["retry"]
        return retry

    @retry.setter
    def retry(self, retry: Retry) -> None:
        is_ours = isinstance(cast("object", retry), _Retry)
        vars(self)["retry"] = retry if is_ours else _Retry(retry, self.rotation.waits)

    async def connect(self) -> None:
        # Pools call this for open connections too, each time that they lend one.
        if self.rotation.reauthenticate and self.is_connected:
            try:
                await self._reauthenticate()
            except CredentialsError:
                # The server hasn't ended the connection, so it stays in use.
                pass
            except RedisError as error:
                if error in _final:
                    raise
                await self.disconnect()
        base = cast("Any", super())
        await base.connect()

    async def connect_check_health(
        self,
        check_health: bool = True,  # noqa: FBT001, FBT002 (redis-py's)
        retry_socket_connect: bool = True,  # noqa: FBT001, FBT002 (redis-py's)
    ) -> None:
        if not self.is_connected:
            connect = super().connect_check_health
            open_connection = partial(connect, check_health, retry_socket_connect)
            async with self.rotation.waits.limited():
                await self._log_in(open_connection)
            # The command has its connection again.
            cast("_Retry", self.retry).stop_limit()

    async def _reauthenticate(self) -> None:
        secret = await self.rotation.versions.secret()
        if secret.version_id != self.version_id:
            connect = super().connect_check_health
            open_connection = partial(connect, retry_socket_connect=False)
            with contextlib.suppress(_UnchangedError):
                await self._log_in(open_connection)

    async def _log_in(self, open_connection: Action) -> None:
        """Log in: on a new connection, or by AUTH if this one is open."""

        async def log_in(credentials: VersionCredentials) -> None:
            if not self.is_connected:
                await self._open_with(credentials, open_connection)
            elif credentials.version_id == self.version_id:
                # Nothing was tried, so no verdict of the server is to be noted.
                raise _UnchangedError
            else:
                # No local variable holds the password, because a traceback may show it.
                await self.send_command("AUTH", *credentials.get_credentials(), check_health=False)
                await self.read_response()
            self.version_id = credentials.version_id

        server = [getattr(self, name, None) for name in ("host", "port", "path")]
        await self.rotation.log_in_through_rotation(server, log_in)

    async def _open_with(
        self,
        credentials: VersionCredentials,
        open_connection: Action,
    ) -> None:
        """Open the connection while redis-py asks this version for its credentials."""
        provider = self.credential_provider
        self.credential_provider = credentials
        try:
            await open_connection()
        finally:
            self.credential_provider = provider


class _Retry:
    """A connection's retry.

    It doesn't repeat a login that was refused for a whole budget. It also limits how long a command
    waits for a connection after it has lost its own: redis-py pauses, and connects again.
    """

    def __init__(self, retry: Retry, waits: Waits) -> None:
        self._retry = retry
        self._waits = waits
        self._limit: asyncio.Timeout | None = None
        """The limit of the call that runs; it has a time while the connection is lost."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (the attributes of `Retry`)
        return getattr(self._retry, name)

    def __reduce__(self) -> tuple[Callable[[Retry], Retry], tuple[Retry]]:
        """Let each copy be a copy of redis-py's own retry.

        A copy is for another connection, which wraps it again if it is one of these.
        """
        return copy.copy, (self._retry,)

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[R]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        **options: Any,  # noqa: ANN401 (redis-py's)
    ) -> R:
        def is_retryable_now(error: Exception) -> bool:
            if error in _final:
                return False
            if is_retryable is not None and not is_retryable(error):
                return False
            self._start_limit()
            return True

        if self._waits.seconds is None:
            return await self._retry.call_with_retry(do, fail, is_retryable_now, **options)

        # A health check calls this in the middle of a command.
        outer = self._limit
        self._limit = limit = asyncio.timeout(None)
        try:
            async with self._waits.limited_by(limit):
                return await self._retry.call_with_retry(do, fail, is_retryable_now, **options)
        finally:
            self._limit = outer

    def _start_limit(self) -> None:
        """Start the limit, unless it runs already."""
        limit = self._limit
        seconds = self._waits.seconds
        if limit is not None and seconds is not None and limit.when() is None:
            now = asyncio.get_running_loop().time()
            limit.reschedule(now + seconds)

    def stop_limit(self) -> None:
        """Stop the limit, because there is a connection."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(None)
