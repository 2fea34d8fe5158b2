"""`CredentialsPool`: one aioboto3 session, one client a region and one cache, for all the secrets of a service."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from aiocredentials._cache import DEFAULT_POLICY, AsyncCache, CachePolicy, seconds
from aiocredentials._gateway import Gateway
from aiocredentials._manager import DEFAULT_TIMEOUT, AsyncCredentialsManager
from aiocredentials._session import ClientSettings, PooledSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    from aiocredentials._secret import Secret

T = TypeVar("T")


class CredentialsPool:
    """Own one aioboto3 session, its clients (one a region) and one cache, and hand out managers that share them.

    Use it as `async with CredentialsPool() as pool:`, or call `open()` and `aclose()`. Opening needs no network.

    `region_name` is for secrets that don't name their own; `session` is an `aioboto3.Session` or an aiobotocore
    `AioSession`; `timeout` is for one whole fetch, in seconds or as a `timedelta`; `policy=None` means no cache: each
    call is a fetch. Raises `TypeError` or `ValueError` for an argument that can't work.
    """

    def __init__(
        self,
        region_name: str | None = None,
        *,
        session: aioboto3.Session | AioSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = DEFAULT_POLICY,
    ) -> None:
        self._session = PooledSession(ClientSettings(region_name, "the pool", session, endpoint_url, config))
        self._gateway = Gateway(self._session, seconds(timeout, "timeout"))
        self._cache: AsyncCache[Secret] = AsyncCache()
        self._policy = policy
        self._entered = False

    @overload
    def manager(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        decode: None = None,
        version_stage: str = ...,
        policy: CachePolicy | None = ...,
    ) -> AsyncCredentialsManager[Any]: ...
    @overload
    def manager(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        decode: Callable[[str], T],
        version_stage: str = ...,
        policy: CachePolicy | None = ...,
    ) -> AsyncCredentialsManager[T]: ...
    def manager(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        decode: Callable[[str], Any] | None = None,
        version_stage: str = "AWSCURRENT",
        policy: CachePolicy | None = DEFAULT_POLICY,
    ) -> AsyncCredentialsManager[Any]:
        """Return the view of one secret, given by name or ARN; without `policy=` it has the pool's. Makes no call.

        Raises `TypeError` or `ValueError` for an argument that can't work.
        """
        # Two calls, since each overload of the constructor takes one kind of `decode`.
        if decode is None:
            return AsyncCredentialsManager(
                secret_name, region_name, pool=self, version_stage=version_stage, policy=policy
            )
        return AsyncCredentialsManager(
            secret_name, region_name, pool=self, decode=decode, version_stage=version_stage, policy=policy
        )

    async def open(self) -> None:
        """Open the pool; calling it again does nothing. Raises `PoolClosedError` if it was closed: closing is final."""
        self._session.open()

    async def aclose(self) -> None:
        """Cancel what is in flight and close all clients; calling it again does nothing.

        Calls in flight, and all later ones, raise `PoolClosedError`.
        """
        try:
            await self._cache.aclose()
        finally:
            await self._session.aclose()

    async def __aenter__(self) -> Self:
        """Open the pool. Raises `RuntimeError` if it is entered already."""
        if self._entered:
            raise RuntimeError("This pool is entered already: enter it once, and share it inside of that block.")
        await self.open()
        self._entered = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pool."""
        await self.aclose()

    def __repr__(self) -> str:
        """Say the state and the region, and nothing of what is cached."""
        return f"<CredentialsPool {self._session!r}>"

    def __del__(self) -> None:
        """Warn if the pool was forgotten: nobody can close its sockets any more."""
        session = getattr(self, "_session", None)  # not there when the constructor refused its arguments
        if session is not None and session.holds_clients:
            message = f"{self!r} was never closed: use `async with`, or call aclose()."
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)
