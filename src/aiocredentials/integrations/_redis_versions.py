"""The versions of a secret as redis-py's credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from redis.credentials import CredentialProvider

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from aiocredentials import Secret
    from aiocredentials.rotation import RotatingSecret

    Refresh: TypeAlias = Callable[[], Awaitable[Secret]]

_UNDECODED = (
    "The result of decode has no password: give the manager decode=RedisCredentials.from_text."
)

# The arguments of AUTH: the password, or user and password.
AuthArguments: TypeAlias = tuple[str] | tuple[str, str]


class UserAndPassword(Protocol):
    """The result of `decode`: `RedisCredentials` and `DatabaseCredentials` have these."""

    @property
    def username(self) -> str | None:
        """The user; without one, the server checks the password of the user `default`."""
        ...

    @property
    def password(self) -> str:
        """The password or token."""
        ...


class VersionCredentials(CredentialProvider):
    """The credentials of one version: redis-py sends a password, or user and password.

    It has slots, so `vars()` is empty.
    """

    __slots__ = ("_arguments", "version_id")

    def __init__(self, version_id: str, arguments: AuthArguments) -> None:
        self.version_id = version_id
        self._arguments = arguments

    def get_credentials(self) -> AuthArguments:
        """Return the arguments of AUTH, for redis-py."""
        return self._arguments

    async def get_credentials_async(self) -> AuthArguments:
        """Return the arguments of AUTH, for redis-py."""
        return self._arguments


class Versions:
    """A manager whose credentials know to which version they belong."""

    def __init__(self, manager: RotatingSecret[UserAndPassword]) -> None:
        self._manager = manager
        self.advice_if_refused: str | None = getattr(manager, "advice_if_refused", None)
        self.naming: object = getattr(manager, "naming", None)

    async def secret(self, *, version_stage: str | None = None) -> Secret:
        """Return the version with a staging label."""
        return await self._manager.secret(version_stage=version_stage)

    def decoded(self, secret: Secret) -> VersionCredentials:
        """Return the credentials of a version, for one connection."""
        # No local variable holds the credentials, because a traceback may show them.
        arguments = _arguments_from(self._manager.decoded(secret))
        # The error is raised here, because the frame of the other function holds a value.
        if arguments is None:
            raise TypeError(_UNDECODED)
        return VersionCredentials(secret.version_id, arguments)

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget the secret, or only a version of it."""
        self._manager.invalidate(if_version=if_version)

    def changes(self) -> AsyncGenerator[Secret]:
        """Yield each new version."""
        return self._manager.changes()

    async def refresh(self, version_id: str) -> Secret:
        """Fetch the secret. A manager that can do so keeps the version until that has succeeded."""
        refresh: Refresh | None = getattr(self._manager, "refresh", None)
        if refresh is not None:
            return await refresh()
        self._manager.invalidate(if_version=version_id)
        return await self._manager.secret()


def _arguments_from(credentials: object) -> AuthArguments | None:
    """Return the arguments of AUTH, or None if the credentials have no password.

    Unlike the adapters for databases, this one accepts any class: a user may have written it.
    """
    username = getattr(credentials, "username", None)
    password = getattr(credentials, "password", None)
    if not isinstance(password, str):
        return None
    if not username:
        return (password,)
    return (username, password)
