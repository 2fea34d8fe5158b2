"""Redis and Valkey, by redis-py: connections that take the secret's current credentials, also through a rotation.

`use_credentials` makes a client bridge rotations. `RotatingCredentialProvider` is for clients that others make and that
only take a `credential_provider=`; it can do less, since redis-py doesn't tell a provider of a refusal.
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
from aiocredentials.rotation import OTHER_STAGES, RotatingSecret, connect_through_rotation, is_auth_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from datetime import timedelta

    from redis.asyncio.retry import Retry

    from aiocredentials import Secret

__all__ = ["RotatingCredentialProvider", "UserAndPassword", "use_credentials"]

C = TypeVar("C", bound="Redis | RedisCluster | ConnectionPool")
R = TypeVar("R")

_ASKED_AGAIN = 2.0  # seconds; redis-py pauses for a second at most before it connects again
_REFETCH_PAUSE = 1.0  # seconds between two fetches that a suspicion causes
# Refusals that were met for a whole budget: redis-py, for which each is an error of the connection, would try on.
_final: WeakSet[BaseException] = WeakSet()


class UserAndPassword(Protocol):
    """What `decode` must make of the secret: `RedisCredentials` and `DatabaseCredentials` are such."""

    @property
    def username(self) -> str | None:
        """The user; without one, the server takes the password for the user `default`."""
        ...

    @property
    def password(self) -> str:
        """The password or token."""
        ...


class _Given(CredentialProvider):
    """What redis-py sends for one version: a password, or user and password. It has slots, so `vars()` is empty."""

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
        if pair is None:  # raised from here, since that frame holds a value
            raise TypeError("What decode made has no password: give the manager decode=RedisCredentials.from_text.")
        self._last = _Given(secret.version_id, pair)
        return self._last

    def invalidate(self, *, if_version: str | None = None) -> None:
        self._manager.invalidate(if_version=if_version)

    def changes(self) -> AsyncGenerator[Secret]:
        return self._manager.changes()


def _pair(credentials: object) -> tuple[str] | tuple[str, str] | None:
    username, password = getattr(credentials, "username", None), getattr(credentials, "password", None)
    if not isinstance(password, str):
        return None
    return (username, password) if username else (password,)


class RotatingCredentialProvider(CredentialProvider):
    """The current credentials for each new connection: give it to a client as `credential_provider=`.

    It is asked once a connection, and answers from the manager's cache. redis-py doesn't tell it of a refusal: it
    connects again, and asks again. So a task that asks again within two seconds makes it fetch the secret anew, once a
    second at most, and redis-py's own retry gets over an old version in the cache. What it doesn't bridge is the time
    in which the server takes another version than the current one: `use_credentials` does.

    `manager` needs a `decode` such as `RedisCredentials.from_text`. Needs secretsmanager:GetSecretValue.
    """

    def __init__(self, manager: RotatingSecret[UserAndPassword]) -> None:
        self._secret = _Versions(manager)
        self._asked: WeakKeyDictionary[asyncio.Task[Any], tuple[str, float]] = WeakKeyDictionary()
        self._refetched = float("-inf")

    def get_credentials(self) -> NoReturn:
        """Refuse: raises `RuntimeError`, since a client that isn't asyncio's can't await the secret."""
        raise RuntimeError("This provider is for asyncio: give it to a client of redis.asyncio, such as its Redis.")

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return user and password, or the password alone, of one version.

        Raises redis-py's `RedisError`, with the `CredentialsError` as its cause, if the secret can't be had: for an
        error that it doesn't know, redis-py would leave the connection open, without a user.
        """
        try:
            secret = await self._secret.secret()
            if self._seems_refused(secret.version_id):
                self._secret.invalidate(if_version=secret.version_id)
                secret = await self._secret.secret()
            return self._secret.decoded(secret).get_credentials()
        except CredentialsError as error:
            raise RedisError(f"The credentials can't be had. {error}") from error

    def _seems_refused(self, version_id: str) -> bool:
        task, now = asyncio.current_task(), asyncio.get_running_loop().time()
        assert task is not None  # a coroutine is awaited in a task  # noqa: S101
        before, when = self._asked.get(task, ("", now))
        self._asked[task] = (version_id, now)
        refused = before == version_id and now - when < _ASKED_AGAIN and now - self._refetched >= _REFETCH_PAUSE
        self._refetched = now if refused else self._refetched
        return refused


def use_credentials(
    client: C,
    manager: RotatingSecret[UserAndPassword],
    *,
    budget: float | timedelta = 60.0,
    stages: Sequence[str] = OTHER_STAGES,
    reauthenticate: bool = False,
) -> C:
    """Make each new connection of a client take the secret's credentials, also while they are being rotated.

    `client` is a `Redis`, `RedisCluster` or connection pool of `redis.asyncio` that has made no connection yet; it is
    returned. `manager` needs a `decode` such as `RedisCredentials.from_text`. `budget` and `stages` are those of
    `connect_through_rotation`: a connection that the server refuses is tried with the version that it takes, and waits
    for that up to `budget`, in seconds or as a `timedelta`. Then redis-py's `AuthenticationError` is raised, and
    redis-py doesn't try again.

    With `reauthenticate`, an open connection sends AUTH when it is taken from its pool and the version is another than
    its own; else it goes on as the user that it has. This isn't for `RedisCluster`, nor for a connection that is kept:
    that of a `PubSub`, or with `single_connection_client`.

    Raises `ValueError` for a client with a username, password or credential provider of its own. Its commands raise a
    `CredentialsError` if the secret can't be had, and `TypeError` or `ValueError` for a `budget` that makes no sense.
    Needs secretsmanager:GetSecretValue; a label for which it isn't allowed is passed over.
    """
    bridge = _Bridge(_Versions(manager), budget, stages, reauthenticate)
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
    if given := [name for name in ("username", "password", "credential_provider") if options.get(name)]:
        raise ValueError(f"The client has a {' and a '.join(given)} already: leave that to the secret.")


@dataclass(frozen=True)
class _Bridge:
    """What the connections of a client have in common."""

    secret: _Versions
    budget: float | timedelta
    stages: Sequence[str]
    reauthenticate: bool

    def over(self, connection_class: type[AbstractConnection]) -> type[Any]:
        """Return a connection class that connects as this one does, through rotations."""
        return type(f"Rotating{connection_class.__name__}", (_RotatingConnection, connection_class), {"bridge": self})


class _RotatingConnection(AbstractConnection):
    """Connects, and authenticates, through rotations: for redis-py that is one attempt."""

    bridge: ClassVar[_Bridge]
    version_id: str = ""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 (redis-py's)
        cast("Any", super()).__init__(**options)  # redis-py has types for the most part only
        self.retry = cast("Retry", _Retry(self.retry))

    async def connect(self) -> None:
        # Pools call this for open connections too, each time that they lend one.
        if self.bridge.reauthenticate and self.is_connected:
            try:
                await self._reauthenticate()
            except CredentialsError:
                pass  # the server hasn't ended the connection, so it serves on
            except RedisError as error:
                if error in _final:
                    raise
                await self.disconnect()
        await cast("Any", super()).connect()

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:  # noqa: FBT001, FBT002 (redis-py's)
        if not self.is_connected:
            await self._through_rotation(partial(super().connect_check_health, check_health, retry_socket_connect))

    async def _reauthenticate(self) -> None:
        if (await self.bridge.secret.secret()).version_id != self.version_id:
            with contextlib.suppress(_UnchangedError):
                await self._through_rotation(partial(super().connect_check_health, retry_socket_connect=False))

    async def _through_rotation(self, open_connection: Callable[[], Awaitable[None]]) -> None:
        async def attempt(given: _Given) -> None:
            if not self.is_connected:
                provider, self.credential_provider = self.credential_provider, given
                try:
                    await open_connection()
                finally:
                    self.credential_provider = provider
            elif given.version_id == self.version_id:
                raise _UnchangedError  # nothing was tried, so that nothing is to be learned from it
            else:
                await self.send_command("AUTH", *given.get_credentials(), check_health=False)
                await self.read_response()
            self.version_id = given.version_id

        bridge = self.bridge
        try:
            await connect_through_rotation(bridge.secret, attempt, budget=bridge.budget, stages=bridge.stages)
        except RedisError as error:
            if is_auth_error(error):
                _final.add(error)
            raise


class _UnchangedError(Exception):
    """An open connection has the version already that the server takes."""


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
