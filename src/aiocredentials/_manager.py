"""`AsyncCredentialsManager`: the view of one secret."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, cast, overload

from aiocredentials._gateway import SecretRequest, region_of
from aiocredentials._loops import running_loop
from aiocredentials._policy import DEFAULT_POLICY, CachePolicy, seconds
from aiocredentials._session import ClientSettings, Region, SessionPerCall, check_name, check_region
from aiocredentials._store import SecretStore
from aiocredentials.errors import CredentialsError, PoolClosedError, SecretFormatError, describe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import timedelta
    from types import TracebackType

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    from aiocredentials._cache import Lease, Reader
    from aiocredentials._pool import CredentialsPool
    from aiocredentials._secret import Secret, SecretDescription
    from aiocredentials._session import CustomSession

T = TypeVar("T")

DEFAULT_TIMEOUT = 10.0


class _Decoded(Generic[T]):
    """What `decode` made of one version. It may be a plain dict, so that `vars()` of a manager must not show it."""

    __slots__ = ("value", "version")

    def __init__(self, version: tuple[str, str], value: T) -> None:
        self.version = version
        self.value = value

    def __repr__(self) -> str:
        return f"<_Decoded {self.version[1]!r}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("What decode made of a secret can't be pickled.")


class AsyncCredentialsManager(Generic[T]):
    """The view of one secret in AWS Secrets Manager, for asyncio.

    Without a pool, each fetch opens an aioboto3 session and closes it: there is nothing to open and nothing to close.
    With `pool=`, or inside of `async with manager:`, fetches share a client.

    `secret_name` is a name, a full or a partial ARN. The region is `region_name`, else the ARN's, the config's, the
    session's, `AWS_DEFAULT_REGION`, `AWS_REGION`, the profile's, or us-east-1. `decode` makes an object of the text,
    once a version. `session` is an `aioboto3.Session`, an aiobotocore `AioSession` or a `CustomSession`. `timeout` is
    for one whole fetch (finding AWS credentials, connecting, retries, reading), in seconds or as a `timedelta`.
    `policy=None` means no cache; without a pool, nothing is refreshed in the background. `redact_wire_logs=False`
    leaves values and tokens in what botocore logs of our calls at level DEBUG. Raises `TypeError` or `ValueError` for
    an argument that can't work, and for settings that the pool has.

    Retries are those of `config`, else of the session's own config, else of AWS_MAX_ATTEMPTS and
    AWS_RETRY_MODE, else of the profile; if none says anything, botocore's standard mode and three
    attempts in all. If AWS doesn't accept the credentials any more, they are looked for anew, and
    the call is made once more, inside its `timeout`.
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
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = ...,
        policy: CachePolicy | None = ...,
        redact_wire_logs: bool = ...,
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
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = ...,
        policy: CachePolicy | None = ...,
        redact_wire_logs: bool = ...,
    ) -> None: ...
    def __init__(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        pool: CredentialsPool | None = None,
        decode: Callable[[str], T] | None = None,
        version_stage: str = "AWSCURRENT",
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = DEFAULT_POLICY,
        redact_wire_logs: bool = True,
    ) -> None:
        check_name("secret_name", secret_name or "", "give the secret's name or ARN, as AWS shows it")
        check_region(region_name)
        check_name("version_stage", version_stage or "", "give a staging label such as 'AWSCURRENT'")
        _check_decode(decode)
        self.secret_name = secret_name
        self.region_name = region_name
        region = Region(region_name, "the region_name argument") if region_name else region_of(secret_name)
        self._request = SecretRequest(secret_name, region, version_stage=version_stage)
        self._decode = decode
        self._settings = ClientSettings(
            session=session, endpoint_url=endpoint_url, config=config, redact_wire_logs=redact_wire_logs
        )
        self._timeout = seconds(timeout, "timeout")
        self._policy = check_policy(policy)
        self._pool = pool
        if pool is not None:
            if self._settings != ClientSettings() or self._timeout != DEFAULT_TIMEOUT:
                raise ValueError(
                    "pool= has a session, endpoint_url, config and timeout of its own: give these to the pool instead."
                )
            if policy is DEFAULT_POLICY:
                self._policy = pool._policy
        self._read_from(pool)

    def _read_from(self, pool: CredentialsPool | None) -> None:
        """Start anew with the pool's store, or with one that opens a session per call."""
        per_call = SessionPerCall(self._settings)
        self._store = pool._store if pool else SecretStore(per_call, self._timeout, pooled=False)
        self._reader: Reader[Secret] | None = None
        self._decoded: _Decoded[T] | None = None
        self._hit: tuple[Lease[Secret], Callable[[], float], _Decoded[T]] | None = None

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
        if self._hit is not None:
            # What Reader.get does, written out: each call of a function would cost as much as all of this.
            lease, clock, decoded = self._hit
            if (now := clock()) < lease.until:
                lease.used = now
                lease.reads += 1
                return decoded.value
        secret = await self.secret()
        return cast("T", secret.json()) if self._decode is None else self._decoded_of(self._decode, secret)

    def _decoded_of(self, decode: Callable[[str], T], secret: Secret) -> T:
        version = (secret.arn, secret.version_id)
        decoded = self._decoded
        if decoded is None or decoded.version != version:
            decoded = self._decoded = _Decoded(version, _run_decode(decode, secret))
        if self._reader is not None and self._reader.lease.value is secret:
            self._hit = (self._reader.lease, self._store.cache.clock, decoded)
        return decoded.value

    def decoded(self, secret: Secret) -> T:
        """Return what `decode` makes of this version, or its parsed JSON: where the version must be known as well.

        `secret` is what `secret()`, `refresh()` or `changes()` gave. Raises `SecretFormatError` if `decode` raises.
        """
        return cast("T", secret.json()) if self._decode is None else _run_decode(self._decode, secret)

    async def secret(self, *, version_id: str | None = None, version_stage: str | None = None) -> Secret:
        """Return the `Secret`: by the manager's staging label, or by another label or a version id that is given here.

        Raises a `CredentialsError`. Needs secretsmanager:GetSecretValue.
        """
        if version_id is None and version_stage is None:
            if self._policy is None:
                return await self._store.gateway.get(self._request)
            return await (self._reader or await self._located(self._policy)).get()
        check_name("version_id", version_id, "give a version's id, or leave it out")
        check_name("version_stage", version_stage, "give a staging label such as 'AWSPREVIOUS', or leave it out")
        request = self._request._replace(version_id=version_id, version_stage=version_stage)
        if self._policy is None:
            return await self._store.gateway.get(request)
        return await self._store.reader(await self._store.located(request), self._policy).get()

    async def describe(self) -> SecretDescription:
        """Ask AWS what it tells of the secret without its value: versions, rotation, deletion. It isn't cached.

        Raises a `CredentialsError`. Needs secretsmanager:DescribeSecret.
        """
        return await self._store.gateway.describe(self._request)

    async def refresh(self) -> Secret:
        """Return what a fetch begun after this call brought; callers at the same time share it.

        However many ask at once, they cost two fetches at most. Raises a `CredentialsError`, also a transient one: a
        stale value isn't served here. Needs secretsmanager:GetSecretValue.
        """
        if self._policy is None:
            return await self._store.gateway.get(self._request)
        return await (self._reader or await self._located(self._policy)).refresh()

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget the cached value, or the version with this id, by whichever label it was asked: the next call fetches.

        With `if_version`, any number of callers who failed with the same old version cause one fetch. It holds for all
        managers of the pool that ask for the same secret. Makes no call, and raises nothing.
        """
        key = self._store.known_key(self._request) if self._policy is not None else None
        if key is not None and if_version is None:
            self._store.cache.invalidate(key)
        elif key is not None and if_version is not None:
            self._store.forget(key, if_version)

    async def changes(self) -> AsyncGenerator[Secret]:
        """Yield each new version when it has become the current one; the iterator itself sees to refreshing.

        The version that is there at the start isn't new. A slow consumer misses none that was fetched, and holds nobody
        up. Transient errors are the listener's; others are raised, `PoolClosedError` when the pool is closed. Raises
        `RuntimeError` where `policy` is None. Needs secretsmanager:GetSecretValue.
        """
        if self._policy is None:
            raise RuntimeError("changes() compares with what is cached: give the manager a policy.")
        reader = self._reader or await self._located(self._policy)
        news: deque[Secret | None] = deque()
        wake, loop = asyncio.Event(), running_loop()
        entry = self._store.cache.entry(reader.key)
        last = entry.value.version_id if entry is not None and entry.value is not None else None

        def watch(secret: Secret | None) -> None:
            nonlocal last
            before, last = last, secret.version_id if secret else None
            if secret is None or before not in {None, last}:
                news.append(secret)
                with contextlib.suppress(RuntimeError):  # this loop may have died with its iterator
                    loop.call_soon_threadsafe(wake.set)  # it may have come in by a fetch of another loop

        stop = self._store.cache.watch(reader.key, watch)
        try:
            while True:
                try:
                    await reader.get()
                except CredentialsError as error:
                    if not error.transient:
                        raise
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(reader.pause()):
                        await wake.wait()
                wake.clear()
                while news:
                    secret = news.popleft()
                    if secret is None:
                        raise describe(PoolClosedError, "The pool was closed.")
                    yield secret
        finally:
            stop()

    async def __aenter__(self) -> Self:
        """Open a private pool for the length of the block. Raises `RuntimeError` if there is a pool already."""
        from aiocredentials._pool import CredentialsPool  # noqa: PLC0415 (pools make managers: at the top, a circle)

        if self._pool is not None:
            message = (
                "This manager has a pool already: enter it once, and not at all if it came from a CredentialsPool."
            )
            raise RuntimeError(message)
        settings = self._settings
        pool = CredentialsPool(
            session=settings.session,
            endpoint_url=settings.endpoint_url,
            config=settings.config,
            timeout=self._timeout,
            policy=self._policy,
            redact_wire_logs=settings.redact_wire_logs,
        )
        self._pool = pool
        self._read_from(pool)
        await pool.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the private pool: later calls open a session each, as before."""
        pool, self._pool = self._pool, None
        self._read_from(None)
        if pool is not None:
            await pool.aclose()

    def __repr__(self) -> str:
        """Name the secret; the value isn't in it."""
        region = f" in {self._request.region.name!r}" if self._request.region else ""
        how = "pooled" if self._pool else "a session per call"
        return f"<AsyncCredentialsManager {self.secret_name!r}{region}, {how}>"

    async def _located(self, policy: CachePolicy) -> Reader[Secret]:
        """Return the reader, which needs to know the region first."""
        store = self._store
        reader = store.reader(await store.located(self._request), policy)
        if store is not self._store:  # a block of the manager's own was entered or left meanwhile
            return reader
        self._reader = self._reader or reader
        return self._reader


def _run_decode(decode: Callable[[str], T], secret: Secret) -> T:
    try:
        return decode(secret.reveal())
    except SecretFormatError as error:
        failure: CredentialsError = copy.copy(error)
    except Exception as error:  # noqa: BLE001 (a decoder may raise anything, with the text in it)
        what = f"decode={getattr(decode, '__qualname__', decode)!r} refused the secret: {type(error).__name__}."
        failure = describe(SecretFormatError, what, secret_name=secret.name, region_name=secret.region)
    # Raised here, so that neither the decoder's error nor its frames hang on ours.
    raise failure


def check_policy(policy: object) -> CachePolicy | None:
    """Refuse what is no policy; None is one."""
    if policy is None or isinstance(policy, CachePolicy):
        return policy
    raise TypeError(f"policy is a {type(policy).__name__}: give a CachePolicy, or None for no cache.")


def _check_decode(decode: object) -> None:
    if decode is not None and (not callable(decode) or inspect.iscoroutinefunction(decode)):
        raise TypeError(
            "decode isn't a plain function: give one that makes an object of the secret's text, without await."
        )
