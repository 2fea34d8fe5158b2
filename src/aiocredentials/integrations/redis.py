"""Redis and Valkey, by redis-py: connections that have the secret's current credentials.

`use_credentials` makes a client bridge rotations. `RotatingCredentialProvider` is for clients that
others make and that only accept a `credential_provider=`; it can do less, because redis-py doesn't
report a refusal to a provider.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary, WeakSet

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from aiocredentials.errors import CredentialsError
from aiocredentials.rotation import (
    OTHER_STAGES,
    RotatingSecret,
    connect_through_rotation,
    is_auth_error,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from datetime import timedelta

    from redis.asyncio.retry import Retry

    from aiocredentials import Secret

__all__ = ["RotatingCredentialProvider", "UserAndPassword", "use_credentials"]

_UNDECODED = "What decode made has no password: give the manager decode=RedisCredentials.from_text."
_SYNC = "This provider is for asyncio: give it to a client of redis.asyncio, such as its Redis."

C = TypeVar("C", bound="Redis | RedisCluster | ConnectionPool")
R = TypeVar("R")

# All of these are seconds. Connections that are opened together ask so soon after each other. An
# ask that comes later may mean that the version was refused.
_TOGETHER = 0.15
# Between two fetches that a suspicion causes. The pause doubles while the version stays the same.
_REFETCH_PAUSE = 1.0
_LONGEST_REFETCH_PAUSE = 10.0
# A suspicion is no reason to wait long: then the version that is known is used.
_REFETCH_LIMIT = 1.0
# A task that was refused for a whole budget, and connects so soon to another server of the same
# client, is going through the nodes of a cluster, or the replicas of a master.
_NEXT_SERVER = 0.5
# A budget that is spent after the first attempt.
_ONCE = 1e-6
# Refusals that were met for a whole budget. redis-py, for which each is an error of the connection,
# would try on.
_final: WeakSet[BaseException] = WeakSet()


class UserAndPassword(Protocol):
    """What `decode` must return: `RedisCredentials` and `DatabaseCredentials` are such."""

    @property
    def username(self) -> str | None:
        """The user; without one, the server takes the password for the user `default`."""
        ...

    @property
    def password(self) -> str:
        """The password or token."""
        ...


class _Given(CredentialProvider):
    """What redis-py sends for one version: a password, or user and password.

    It has slots, so `vars()` is empty.
    """

    __slots__ = ("_pair", "version_id")

    def __init__(self, version_id: str, pair: tuple[str] | tuple[str, str]) -> None:
        self.version_id = version_id
        self._pair = pair

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        return self._pair

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self._pair


class _Versions:
    """A manager whose credentials know which version they are of."""

    def __init__(self, manager: RotatingSecret[UserAndPassword]) -> None:
        self._manager = manager
        self._last: _Given | None = None

    async def secret(self, *, version_stage: str | None = None) -> Secret:
        return await self._manager.secret(version_stage=version_stage)

    def decoded(self, secret: Secret) -> _Given:
        if self._last is not None and self._last.version_id == secret.version_id:
            return self._last
        pair = _pair(self._manager.decoded(secret))
        # It is raised from here, because the other frame holds a value.
        if pair is None:
            raise TypeError(_UNDECODED)
        self._last = _Given(secret.version_id, pair)
        return self._last

    def invalidate(self, *, if_version: str | None = None) -> None:
        self._manager.invalidate(if_version=if_version)

    def changes(self) -> AsyncGenerator[Secret]:
        return self._manager.changes()

    async def refresh(self, version_id: str) -> Secret:
        """Fetch the secret. If the manager can, it keeps the version until that has succeeded."""
        refresh: Callable[[], Awaitable[Secret]] | None = getattr(self._manager, "refresh", None)
        if refresh is not None:
            return await refresh()
        self._manager.invalidate(if_version=version_id)
        return await self._manager.secret()


def _pair(credentials: object) -> tuple[str] | tuple[str, str] | None:
    username = getattr(credentials, "username", None)
    password = getattr(credentials, "password", None)
    if not isinstance(password, str):
        return None
    return (username, password) if username else (password,)


class RotatingCredentialProvider(CredentialProvider):
    """The current credentials for each new connection: give a client this `credential_provider=`.

    redis-py asks it once per connection, and it answers from the manager's cache. redis-py doesn't
    report a refusal: the next connection asks again. So a connection that asks for a version some
    time after another one did makes the provider fetch the secret anew. Then a rotation that is
    over costs a client of any kind, with or without a retry of its own, about one failed command.
    Connections that are opened together cause no fetch, and others one per second at most. While
    the version stays the same, the pause between two such fetches doubles, up to 10 seconds. If
    such a fetch fails or takes longer than a second, the version that is known is used.

    It doesn't bridge the time in which the server accepts another version than the current one;
    `use_credentials` does.

    `manager` needs a `decode` such as `RedisCredentials.from_text`. Needs
    secretsmanager:GetSecretValue.
    """

    def __init__(self, manager: RotatingSecret[UserAndPassword]) -> None:
        self._secret = _Versions(manager)
        self._version_id = ""
        self._asked = float("-inf")
        self._burst = float("-inf")
        """When the first of the asks began that came together."""
        self._pause = 0.0
        self._refetched = float("-inf")
        self._refetching: asyncio.Future[None] | None = None

    def get_credentials(self) -> NoReturn:
        """Refuse: raises `RuntimeError`, because a sync client can't await the secret."""
        raise RuntimeError(_SYNC)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return user and password, or the password alone, of one version.

        Raises redis-py's `RedisError`, with the `CredentialsError` as its cause, if the secret is
        unavailable: for an error that it doesn't know, redis-py would leave the connection open,
        without a user.
        """
        try:
            secret = await self._secret.secret()
            if self._seems_refused(secret.version_id):
                secret = await self._refetch(secret)
            return self._secret.decoded(secret).get_credentials()
        except CredentialsError as error:
            raise RedisError(f"There are no credentials for Redis. {error}") from error

    def _seems_refused(self, version_id: str) -> bool:
        """Note an ask; return whether it is a reason to fetch the secret, or to wait for that."""
        now = asyncio.get_running_loop().time()
        is_new = version_id != self._version_id
        is_alone = now - self._asked >= _TOGETHER
        self._asked = now
        self._version_id = version_id
        if is_new:
            self._pause = 0.0
        if is_new or is_alone:
            self._burst = now
        if is_new:
            return False
        if self._is_refetching():
            return True
        is_suspicious = is_alone or now - self._burst >= _REFETCH_PAUSE
        return is_suspicious and now - self._refetched >= self._pause

    def _is_refetching(self) -> bool:
        refetching = self._refetching
        return refetching is not None and refetching.get_loop() is asyncio.get_running_loop()

    async def _refetch(self, secret: Secret) -> Secret:
        """Return what a fetch brings, which all that ask meanwhile share; else what is known."""
        if self._refetching is not None and self._is_refetching():
            await asyncio.wait([self._refetching])
            return await self._secret.secret()

        loop = asyncio.get_running_loop()
        self._pause = min(max(self._pause * 2, _REFETCH_PAUSE), _LONGEST_REFETCH_PAUSE)
        done = self._refetching = loop.create_future()
        try:
            async with asyncio.timeout(_REFETCH_LIMIT):
                return await self._secret.refresh(secret.version_id)
        except (CredentialsError, TimeoutError):
            # Perhaps the suspicion was wrong.
            return secret
        finally:
            self._refetched = loop.time()
            self._refetching = None
            done.set_result(None)


def use_credentials(
    client: C,
    manager: RotatingSecret[UserAndPassword],
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    reauthenticate: bool = False,
) -> C:
    """Make each new connection of a client have the secret's credentials, also in a rotation.

    A connection that the server refuses is tried with the version that the server accepts, and
    waits for that up to `budget`. Then redis-py's `AuthenticationError` is raised, and redis-py
    doesn't try again, whatever its `retry` is, or is set to later. Its commands raise a
    `CredentialsError` if the secret is unavailable. Needs secretsmanager:GetSecretValue; a label
    for which that isn't allowed is passed over.

    Args:
        client: a `Redis`, `RedisCluster` or connection pool of `redis.asyncio` that has made no
            connection yet.
        manager: a manager with a `decode` such as `RedisCredentials.from_text`.
        budget: as for `connect_through_rotation`, in seconds or as a `timedelta`. It is for one
            command: a cluster's other nodes, and a master's replicas, are tried once afterwards.
        stages: as for `connect_through_rotation`.
        reauthenticate: whether an open connection sends AUTH when it is taken from its pool and the
            version is another than its own. Otherwise it goes on as the user that it has. This
            isn't for `RedisCluster`, nor for a connection that is kept: that of a `PubSub`, or with
            `single_connection_client`.

    Returns:
        The client.

    Raises:
        TypeError: for a client that isn't one of `redis.asyncio`. Its commands raise it, or a
            `ValueError`, for a `budget` that makes no sense.
        ValueError: for a client with a username, password or credential provider of its own.
    """
    if not isinstance(cast("object", client), (Redis, RedisCluster, ConnectionPool)):
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise TypeError(f"The client is a {kind}: give one of redis.asyncio, such as its Redis.")
    bridge = _Bridge(_Versions(manager), budget, stages, reauthenticate, WeakKeyDictionary())
    provider = RotatingCredentialProvider(manager)
    if isinstance(client, RedisCluster):
        options = client.connection_kwargs
        _check(options)
        for node in client.startup_nodes:
            node.connection_class = bridge.over(node.connection_class)
            node.connection_kwargs["credential_provider"] = provider
        options["connection_class"] = bridge.over(options["connection_class"])
    else:
        pool = cast("ConnectionPool", getattr(client, "connection_pool", client))
        options = pool.connection_kwargs
        _check(options)
        pool.connection_class = bridge.over(pool.connection_class)
    options["credential_provider"] = provider
    return client


def _check(options: dict[str, Any]) -> None:
    names = ("username", "password", "credential_provider")
    if given := [name for name in names if options.get(name)]:
        had = " and a ".join(given)
        raise ValueError(f"The client has a {had} already: leave that to the secret.")


@dataclass(frozen=True)
class _Bridge:
    """What the connections of a client have in common."""

    secret: _Versions
    budget: float | timedelta
    stages: Sequence[str]
    reauthenticate: bool
    refused: WeakKeyDictionary[asyncio.Task[Any], tuple[object, float]]
    """Which server refused a task for a whole budget last, and when."""

    async def through_rotation(
        self,
        server: object,
        attempt: Callable[[_Given], Awaitable[None]],
    ) -> None:
        """Connect to a server, or authenticate, as `attempt` does it."""
        clock = asyncio.get_running_loop().time
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        refused_by, refused_at = self.refused.get(task, (server, float("-inf")))
        is_next = refused_by != server and clock() - refused_at < _NEXT_SERVER
        budget = _ONCE if is_next else self.budget
        try:
            await connect_through_rotation(self.secret, attempt, budget=budget, stages=self.stages)
        except RedisError as error:
            if is_auth_error(error):
                _final.add(error)
                if not is_next:
                    self.refused[task] = (server, clock())
            raise

    def over(self, connection_class: type[AbstractConnection]) -> type[Any]:
        """Return a connection class that connects as this one does, through rotations."""
        name = f"Rotating{connection_class.__name__}"
        return type(name, (_RotatingConnection, connection_class), {"bridge": self})


class _RotatingConnection(AbstractConnection):
    """Connects, and authenticates, through rotations: for redis-py that is one attempt."""

    bridge: ClassVar[_Bridge]
    version_id: str = ""

    @property
    def retry(self) -> Retry:
        """The connection's retry, which a client's `set_retry` may replace at any time."""
        retry: Retry = vars(self)["retry"]
        return retry

    @retry.setter
    def retry(self, retry: Retry) -> None:
        is_ours = isinstance(cast("object", retry), _Retry)
        vars(self)["retry"] = retry if is_ours else _Retry(retry)

    async def connect(self) -> None:
        # Pools call this for open connections too, each time that they lend one.
        if self.bridge.reauthenticate and self.is_connected:
            try:
                await self._reauthenticate()
            except CredentialsError:
                # The server hasn't ended the connection, so it serves on.
                pass
            except RedisError as error:
                if error in _final:
                    raise
                await self.disconnect()
        await cast("Any", super()).connect()

    async def connect_check_health(
        self,
        check_health: bool = True,  # noqa: FBT001, FBT002 (redis-py's)
        retry_socket_connect: bool = True,  # noqa: FBT001, FBT002 (redis-py's)
    ) -> None:
        if not self.is_connected:
            connect = super().connect_check_health
            await self._through_rotation(partial(connect, check_health, retry_socket_connect))

    async def _reauthenticate(self) -> None:
        if (await self.bridge.secret.secret()).version_id != self.version_id:
            connect = super().connect_check_health
            with contextlib.suppress(_UnchangedError):
                await self._through_rotation(partial(connect, retry_socket_connect=False))

    async def _through_rotation(self, open_connection: Callable[[], Awaitable[None]]) -> None:
        async def attempt(given: _Given) -> None:
            if not self.is_connected:
                provider, self.credential_provider = self.credential_provider, given
                try:
                    await open_connection()
                finally:
                    self.credential_provider = provider
            elif given.version_id == self.version_id:
                # Nothing was tried, so nothing is to be learned from it.
                raise _UnchangedError
            else:
                await self.send_command("AUTH", *given.get_credentials(), check_health=False)
                await self.read_response()
            self.version_id = given.version_id

        server = [getattr(self, name, None) for name in ("host", "port", "path")]
        await self.bridge.through_rotation(server, attempt)


class _UnchangedError(Exception):
    """An open connection has the version already that the server accepts."""


class _Retry:
    """A connection's retry, which doesn't try again what was refused for a whole budget."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (what `Retry` has)
        return getattr(self._retry, name)

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[R]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        **options: Any,  # noqa: ANN401 (redis-py's)
    ) -> R:
        def retryable(error: Exception) -> bool:
            return error not in _final and (is_retryable is None or is_retryable(error))

        return await self._retry.call_with_retry(do, fail, retryable, **options)
