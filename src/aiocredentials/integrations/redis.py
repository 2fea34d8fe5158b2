"""Redis and Valkey, by redis-py: connections with the current credentials of a secret.

`use_credentials` makes a client connect through rotations. `RotatingCredentialProvider` is for
clients that other code makes and that only accept a `credential_provider=`. A provider can do less,
because redis-py doesn't report a refusal to it.
"""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

from redis.asyncio import ConnectionPool, Redis, RedisCluster, SSLConnection
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from aiocredentials._rotation.encryption import check_redis_encryption, needs_encryption
from aiocredentials._rotation.waits import Waits
from aiocredentials.errors import CredentialsError
from aiocredentials.integrations._redis_connections import ClientRotation, wait_timeout
from aiocredentials.integrations._redis_versions import (
    AuthArguments,
    UserAndPassword,
    Versions,
)
from aiocredentials.rotation import OTHER_STAGES, RotatingSecret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import timedelta
    from typing import TypeAlias

    from aiocredentials import Secret

    GetConnection: TypeAlias = Callable[..., Awaitable[Any]]

__all__ = ["RotatingCredentialProvider", "UserAndPassword", "use_credentials"]

_SYNC = "This provider is for asyncio: give it to a client of redis.asyncio, such as its Redis."
_UNSEEN = (
    "An IAM token is a password that is sent as plain text, and a provider can't see whether its "
    "client encrypts its connections: call use_credentials, which can; or give the client "
    "ssl=True, and the provider encrypted=True."
)
_LOGIN = ("username", "password", "credential_provider")

C = TypeVar("C", bound="Redis | RedisCluster | ConnectionPool")

# All of these are seconds. Two requests for credentials that are less apart belong to connections
# that are opened together. A later request may mean that the version was refused.
_TOGETHER = 0.15
# The pause between two fetches that such a suspicion causes. It doubles while the version stays the
# same.
_REFETCH_PAUSE = 1.0
_LONGEST_REFETCH_PAUSE = 10.0
# A suspicion is no reason to wait longer: after this time the known version is used.
_REFETCH_LIMIT = 1.0


class RotatingCredentialProvider(CredentialProvider):
    """The current credentials for each new connection: pass it as `credential_provider=`.

    redis-py requests the credentials once per connection, and the provider answers from the
    manager's cache. redis-py doesn't report a refusal, but the next connection requests the
    credentials again. So if a connection requests the same version some time after another
    connection did, the provider fetches the secret again. Then a rotation that is over costs a
    client of any kind, with or without its own retry, about one failed command. Connections that
    are opened together cause no fetch, and others one per second at most. While the version stays
    the same, the pause between two such fetches doubles, up to 10 seconds. If such a fetch fails or
    takes longer than a second, the known version is used.

    While the server accepts another version than the current one, the provider's connections fail;
    those of `use_credentials` don't. Needs secretsmanager:GetSecretValue, except for
    `IamCacheCredentials`.

    Example:
        ```python
        from redis.asyncio import Redis

        from aiocredentials import CredentialsPool, RedisCredentials
        from aiocredentials.integrations.redis import RotatingCredentialProvider


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/redis", decode=RedisCredentials.from_text)
                provider = RotatingCredentialProvider(manager)
                async with Redis(host="redis.example", credential_provider=provider) as redis:
                    await redis.set("key", "value")
        ```

    Args:
        manager: A manager with a `decode` such as `RedisCredentials.from_text`, or
            `IamCacheCredentials`.
        encrypted: Your statement that the client encrypts its connections, as with `ssl=True`. A
            provider can't see that, and IAM tokens need it.

    Raises:
        ValueError: The manager needs encryption, and `encrypted` is False.
    """

    def __init__(
        self,
        manager: RotatingSecret[UserAndPassword],
        *,
        encrypted: bool = False,
    ) -> None:
        if needs_encryption(manager) and not encrypted:
            raise ValueError(_UNSEEN)
        self._versions = Versions(manager)
        self._version_id = ""
        self._asked = float("-inf")
        """When the credentials were last requested."""
        self._burst = float("-inf")
        """When the first request of a group of concurrent ones began."""
        self._pause = 0.0
        self._refetched = float("-inf")
        self._refetching: asyncio.Future[None] | None = None

    def get_credentials(self) -> NoReturn:
        """Raise `RuntimeError`, because a sync client can't await the secret."""
        raise RuntimeError(_SYNC)

    async def get_credentials_async(self) -> AuthArguments:
        """Return user and password, or the password alone, of one version.

        Raises redis-py's `RedisError`, with the `CredentialsError` as its cause, if the secret is
        unavailable. After an error that redis-py doesn't know, it would leave the connection open,
        without a user.
        """
        try:
            secret = await self._versions.secret()
            if self._note_request(secret.version_id):
                secret = await self._refetch(secret)
            return self._versions.decoded(secret).get_credentials()
        except CredentialsError as error:
            raise RedisError(f"There are no credentials for Redis. {error}") from error

    def _note_request(self, version_id: str) -> bool:
        """Note a request; return whether to fetch the secret, or to wait for a fetch."""
        now = asyncio.get_running_loop().time()
        is_alone = now - self._asked >= _TOGETHER
        self._asked = now
        if version_id != self._version_id:
            self._version_id = version_id
            self._pause = 0.0
            self._burst = now
            return False

        if is_alone:
            self._burst = now
        if self._is_refetching():
            return True
        burst_lasts = now - self._burst
        is_suspicious = is_alone or burst_lasts >= _REFETCH_PAUSE
        since_refetch = now - self._refetched
        return is_suspicious and since_refetch >= self._pause

    def _is_refetching(self) -> bool:
        if self._refetching is None:
            return False
        its_loop = self._refetching.get_loop()
        return its_loop is asyncio.get_running_loop()

    async def _refetch(self, secret: Secret) -> Secret:
        """Return the result of a fetch that concurrent requests share; or the known version."""
        refetching = self._refetching
        if refetching is not None and self._is_refetching():
            await asyncio.wait([refetching])
            return await self._versions.secret()

        loop = asyncio.get_running_loop()
        pause = max(self._pause * 2, _REFETCH_PAUSE)
        self._pause = min(pause, _LONGEST_REFETCH_PAUSE)
        refetching = loop.create_future()
        self._refetching = refetching
        try:
            async with asyncio.timeout(_REFETCH_LIMIT):
                return await self._versions.refresh(secret.version_id)
        except (CredentialsError, TimeoutError):
            # The version may not have been refused at all.
            return secret
        finally:
            self._refetched = loop.time()
            self._refetching = None
            refetching.set_result(None)


def use_credentials(
    client: C,
    manager: RotatingSecret[UserAndPassword],
    *,
    budget: float | timedelta = 60.0,
    max_wait: float | timedelta | None = None,
    stages: Sequence[str] = OTHER_STAGES,
    reauthenticate: bool = False,
) -> C:
    """Make each new connection of a client use the secret's credentials, also in a rotation.

    A connection that the server refuses is tried with the version that the server accepts, and
    waits for that up to `budget`. Then redis-py's `AuthenticationError` is raised, and redis-py
    doesn't try again, whatever the client's `retry` is, or is set to later. The client's commands
    raise a `CredentialsError` if the secret is unavailable. Needs secretsmanager:GetSecretValue; a
    staging label for which that isn't allowed is skipped.

    Example:
        ```python
        from redis.asyncio import Redis

        from aiocredentials import CredentialsPool, RedisCredentials
        from aiocredentials.integrations.redis import use_credentials


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/redis", decode=RedisCredentials.from_text)
                async with use_credentials(Redis(host="redis.example"), manager) as redis:
                    await redis.set("key", "value")
        ```

    Args:
        client: A `Redis`, `RedisCluster` or connection pool of `redis.asyncio` that has made no
            connection yet. A connection that it has made already stays as it is.
        manager: A manager with a `decode` such as `RedisCredentials.from_text`, or
            `IamCacheCredentials`.
        budget: How long to search for a version that the server accepts, from the first refusal,
            in seconds or as a `timedelta`. It is for one command: a cluster's other nodes, and a
            master's replicas, are tried once afterwards.
        max_wait: The longest time that a command waits for its connection, in seconds or as a
            `timedelta`: for a free connection of the pool, for the secret, for the server, for the
            search and for redis-py's own retries of these in all. None for no limit of this kind.
            For a `RedisCluster` it is the time for one connection to one node.
        stages: The other staging labels to try after a refusal; `()` for none.
        reauthenticate: Whether an open connection sends AUTH when it is taken from its pool and the
            version is another than its own. Otherwise it continues as the user that it has. This
            isn't for `RedisCluster`, nor for a connection that is kept: that of a `PubSub`, or with
            `single_connection_client`.

    Returns:
        The client.

    Raises:
        redis.exceptions.TimeoutError: The client's commands raise it when `max_wait` is over, and
            redis-py doesn't try again. Its message names what the command waited for, and a note
            has the last error of an attempt to connect.
        TypeError: The client isn't one of `redis.asyncio`, or `max_wait` isn't a duration. The
            client's commands raise it if `budget` isn't a duration or `stages` is one string, and
            a `ValueError` if `budget` isn't positive.
        ValueError: The client has its own username, password or credential provider; `max_wait`
            isn't positive; or `manager` is one of IAM tokens, and the client's connections aren't
            encrypted.
    """
    _check_client(client)
    check_redis_encryption(manager, is_encrypted=_is_encrypted(client))
    waits = Waits(max_wait, wait_timeout)
    versions = Versions(manager)
    rotation = ClientRotation(
        versions,
        budget,
        stages,
        reauthenticate,
        waits=waits,
        refusals=WeakKeyDictionary(),
    )
    provider = RotatingCredentialProvider(manager, encrypted=True)
    if isinstance(client, RedisCluster):
        _use_in_cluster(client, rotation, provider)
    else:
        pool = getattr(client, "connection_pool", client)
        _use_in_pool(pool, rotation, provider)
    return client


def _check_client(client: object) -> None:
    if not isinstance(client, (Redis, RedisCluster, ConnectionPool)):
        cls = type(client)
        name = f"{cls.__module__}.{cls.__qualname__}"
        raise TypeError(f"The client is a {name}: give one of redis.asyncio, such as its Redis.")


def _is_encrypted(client: object) -> bool:
    """Return whether a client makes encrypted connections only."""
    if isinstance(client, RedisCluster):
        classes = [node.connection_class for node in client.startup_nodes]
        classes.append(client.connection_kwargs["connection_class"])
    else:
        pool: Any = getattr(client, "connection_pool", client)
        classes = [pool.connection_class]
    return all(issubclass(cls, SSLConnection) for cls in classes)


def _use_in_cluster(
    cluster: RedisCluster,
    rotation: ClientRotation,
    provider: RotatingCredentialProvider,
) -> None:
    options = cluster.connection_kwargs
    _reject_login(options)
    for node in cluster.startup_nodes:
        node.connection_class = rotation.rotating_class(node.connection_class)
        node.connection_kwargs["credential_provider"] = provider
    connection_class = options["connection_class"]
    options["connection_class"] = rotation.rotating_class(connection_class)
    options["credential_provider"] = provider


def _use_in_pool(
    pool: Any,  # noqa: ANN401 (a ConnectionPool, one of whose methods is replaced)
    rotation: ClientRotation,
    provider: RotatingCredentialProvider,
) -> None:
    options = pool.connection_kwargs
    _reject_login(options)
    pool.connection_class = rotation.rotating_class(pool.connection_class)
    options["credential_provider"] = provider
    if rotation.waits.seconds is not None:
        pool.get_connection = _limited(pool.get_connection, rotation.waits)


def _limited(get: GetConnection, waits: Waits) -> GetConnection:
    """Limit how long callers of a pool's `get_connection` wait."""

    @wraps(get)
    async def get_in_time(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 (redis-py's)
        async with waits.limited():
            return await get(*arguments, **options)

    return get_in_time


def _reject_login(options: dict[str, Any]) -> None:
    """Reject a login in a client's options.

    The adapters for databases have another rule: they receive options before a client is made, and
    return them without those that are empty.
    """
    given = [name for name in _LOGIN if options.get(name)]
    if given:
        names = " and a ".join(given)
        raise ValueError(f"The client already has a {names}: leave that to the secret.")
