"""`AsyncCredentialsManager`: the view of one secret."""

from __future__ import annotations

import asyncio
import copy
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast, overload

from aiocredentials._cache import DEFAULT_POLICY, AsyncCache, CachePolicy, seconds
from aiocredentials._gateway import Gateway, SecretRequest, region_of
from aiocredentials._session import ClientSettings, Region, SessionPerCall, check_name
from aiocredentials.errors import CredentialsError, SecretFormatError, describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    from aiocredentials._pool import CredentialsPool
    from aiocredentials._secret import Secret

T = TypeVar("T")

DEFAULT_TIMEOUT = 10.0


class AsyncCredentialsManager(Generic[T]):
    """The view of one secret in AWS Secrets Manager, for asyncio.

    Without a pool, each fetch opens an aioboto3 session and closes it: there is nothing to open and nothing to close.
    With `pool=`, or inside of `async with manager:`, fetches share a client.

    `secret_name` is a name, a full or a partial ARN. The region is `region_name`, else the ARN's, the config's, the
    session's, `AWS_DEFAULT_REGION`, `AWS_REGION`, the profile's, or us-east-1. `decode` makes an object of the text,
    once a version. `session` is an `aioboto3.Session` or an aiobotocore `AioSession`. `timeout` is for one whole fetch
    (finding AWS credentials, connecting, retries, reading), in seconds or as a `timedelta`. `policy=None` means no
    cache. Raises `TypeError` or `ValueError` for an argument that can't work, and for settings that the pool has.
    """

    @overload
    def __init__(
        self: AsyncCredentialsManager[Any],
        secret_name: str,
        region_name: str | None = None,
        *,
        pool: CredentialsPool | None = None,
        decode: None = None,
        version_stage: str = ...,
        session: aioboto3.Session | AioSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = ...,
        policy: CachePolicy | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        pool: CredentialsPool | None = None,
        decode: Callable[[str], T],
        version_stage: str = ...,
        session: aioboto3.Session | AioSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = ...,
        policy: CachePolicy | None = ...,
    ) -> None: ...
    def __init__(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        pool: CredentialsPool | None = None,
        decode: Callable[[str], T] | None = None,
        version_stage: str = "AWSCURRENT",
        session: aioboto3.Session | AioSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = DEFAULT_POLICY,
    ) -> None:
        check_name("secret_name", secret_name or "", "give the secret's name or ARN, as AWS shows it")
        check_name("region_name", region_name, "give a region such as 'eu-west-1', or leave it out")
        check_name("version_stage", version_stage or "", "give a staging label such as 'AWSCURRENT'")
        _check_decode(decode)
        self.secret_name = secret_name
        self.region_name = region_name
        region = Region(region_name, "the region_name argument") if region_name else region_of(secret_name)
        self._request = SecretRequest(secret_name, region, version_stage=version_stage)
        self._decode = decode
        self._decoded: tuple[str, T] | None = None
        self._settings = ClientSettings(session=session, endpoint_url=endpoint_url, config=config)
        self._timeout = seconds(timeout, "timeout")
        self._policy = policy
        self._pool = pool
        if pool is None:
            self._gateway, self._cache = self._without_pool()
            return
        if self._settings != ClientSettings() or self._timeout != DEFAULT_TIMEOUT:
            raise ValueError(
                "pool= brings a session, endpoint_url, config and timeout of its own: give these to the pool instead."
            )
        self._gateway, self._cache = pool._gateway, pool._cache
        if policy is DEFAULT_POLICY:
            self._policy = pool._policy

    async def retrieve_secret_string(self) -> Any:  # noqa: ANN401 (JSON has no better type)
        """Return the secret's JSON, parsed: a new object with every call.

        Raises a `CredentialsError`; `SecretFormatError` if the secret isn't JSON. Needs secretsmanager:GetSecretValue,
        and kms:Decrypt where the secret has a key of yours.
        """
        return (await self.secret()).json()

    async def get(self) -> T:
        """Return what `decode` makes of the secret: one object for all callers until the version changes.

        Without `decode` it is the parsed JSON, as `retrieve_secret_string` returns it. Raises a `CredentialsError`;
        `SecretFormatError` if `decode` raises. Needs secretsmanager:GetSecretValue.
        """
        secret = await self.secret()
        if self._decode is None:
            return cast("T", secret.json())
        if self._decoded is None or self._decoded[0] != secret.version_id:
            self._decoded = (secret.version_id, self._run_decode(self._decode, secret))
        return self._decoded[1]

    async def secret(self, *, version_id: str | None = None, version_stage: str | None = None) -> Secret:
        """Return the `Secret`: by the manager's staging label, or by another label or a version id that is given here.

        Raises a `CredentialsError`. Needs secretsmanager:GetSecretValue.
        """
        _check_loop()
        request = self._requested(version_id, version_stage)
        if self._policy is None:
            return await self._gateway.get(request)
        ttl = cast("float", self._policy.ttl)
        return await self._cache.get(request.key, partial(self._gateway.get, request, ttl=ttl), ttl)

    async def refresh(self) -> Secret:
        """Return what a fetch begun after this call brought. Raises a `CredentialsError`."""
        _check_loop()
        if self._policy is None:
            return await self._gateway.get(self._request)
        ttl = cast("float", self._policy.ttl)
        return await self._cache.refresh(self._request.key, partial(self._gateway.get, self._request, ttl=ttl))

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget the cached value, or only if it is the version `if_version`: the next call fetches."""
        kept = self._cache.peek(self._request.key)
        if if_version is None or (kept is not None and kept.version_id == if_version):
            self._cache.invalidate(self._request.key)

    async def __aenter__(self) -> Self:
        """Open a private pool for the length of the block. Raises `RuntimeError` if there is a pool already."""
        from aiocredentials._pool import CredentialsPool  # noqa: PLC0415 (pools make managers: at the top, a circle)

        if self._pool is not None:
            message = (
                "This manager has a pool already: enter it once, and not at all if it came from a CredentialsPool."
            )
            raise RuntimeError(message)
        settings = self._settings
        self._pool = CredentialsPool(
            session=settings.session,
            endpoint_url=settings.endpoint_url,
            config=settings.config,
            timeout=self._timeout,
            policy=self._policy,
        )
        self._gateway, self._cache = self._pool._gateway, self._pool._cache
        await self._pool.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the private pool: later calls open a session each, as before."""
        pool, self._pool = self._pool, None
        self._gateway, self._cache = self._without_pool()
        if pool is not None:
            await pool.aclose()

    def __repr__(self) -> str:
        """Name the secret; the value isn't in it."""
        region = f" in {self._request.region.name!r}" if self._request.region else ""
        how = "pooled" if self._pool else "a session per call"
        return f"<AsyncCredentialsManager {self.secret_name!r}{region}, {how}>"

    def _without_pool(self) -> tuple[Gateway, AsyncCache[Secret]]:
        return Gateway(SessionPerCall(self._settings), self._timeout), AsyncCache()

    def _requested(self, version_id: str | None, version_stage: str | None) -> SecretRequest:
        if version_id is None and version_stage is None:
            return self._request
        check_name("version_id", version_id, "give a version's id, or leave it out")
        check_name("version_stage", version_stage, "give a staging label such as 'AWSPREVIOUS', or leave it out")
        return self._request._replace(version_id=version_id, version_stage=version_stage)

    def _run_decode(self, decode: Callable[[str], T], secret: Secret) -> T:
        try:
            return decode(secret.reveal())
        except SecretFormatError as error:
            failure: CredentialsError = copy.copy(error)
        except Exception as error:  # noqa: BLE001 (a decoder may raise anything, with the text in it)
            what = f"decode={getattr(decode, '__qualname__', decode)!r} refused the secret: {type(error).__name__}."
            failure = describe(SecretFormatError, what, secret_name=secret.name, region_name=secret.region)
        # Raised here, so that neither the decoder's error nor its frames hang on ours.
        raise failure


def _check_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "This call needs a running asyncio event loop: await it in an async def, and start that by asyncio.run()."
        ) from None


def _check_decode(decode: object) -> None:
    if decode is not None and (not callable(decode) or inspect.iscoroutinefunction(decode)):
        raise TypeError(
            "decode isn't a plain function: give one that makes an object of the secret's text, without await."
        )
