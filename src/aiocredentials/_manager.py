"""`AsyncCredentialsManager`: the view of one secret."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar, cast, overload

from aiocredentials._cache import FIRST_BACKOFF, LONGEST_BACKOFF
from aiocredentials._decode import Decoder, decoder_of
from aiocredentials._gateway import SecretRequest, region_of
from aiocredentials._identifiers import check_identifier
from aiocredentials._policy import DEFAULT_POLICY, CachePolicy, seconds
from aiocredentials._session import ClientSettings, Region, SessionPerCall, check_name, check_region
from aiocredentials._store import SecretStore
from aiocredentials.errors import CredentialsError, PoolClosedError, shown

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
    session's, `AWS_DEFAULT_REGION`, `AWS_REGION`, the profile's, or us-east-1.

    `decode` makes an object of the secret's text, once per version. With `binary=True` it gets the
    secret's bytes instead; those of a text are UTF-8.

    `session` is an `aioboto3.Session`, an aiobotocore `AioSession` or a `CustomSession`. `timeout` is for one whole
    fetch (finding AWS credentials, connecting, retries, reading), in seconds or as a `timedelta`. `policy=None` means
    no cache; without a pool, nothing is refreshed in the background. `redact_wire_logs=False` leaves values and tokens
    in what botocore logs of our calls at level DEBUG. Raises `TypeError` or `ValueError` for an argument that can't
    work, and for settings that the pool has.

    Retries are those of `config`, else of the session's own config, else of AWS_MAX_ATTEMPTS and AWS_RETRY_MODE, else
    of the profile. If none of these is set, they are botocore's standard mode and three attempts in all. If AWS doesn't
    accept the credentials any more, they are looked for anew, and the call is made once more, inside its `timeout`.
    """

    @overload
    def __init__(
        self: AsyncCredentialsManager[Any],
        secret_name: str,
        region_name: str | None = None,
        *,
        pool: CredentialsPool | None = None,
        decode: None = None,
        binary: Literal[False] = False,
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
        binary: Literal[False] = False,
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
        decode: Callable[[bytes], T],
        binary: Literal[True],
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
        decode: Callable[[str], T] | Callable[[bytes], T] | None = None,
        binary: bool = False,
        version_stage: str = "AWSCURRENT",
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = DEFAULT_POLICY,
        redact_wire_logs: bool = True,
    ) -> None:
        check_name("secret_name", secret_name or "", "give the secret's name or ARN, as AWS shows it")
        check_identifier("secret_name", secret_name)
        check_region(region_name)
        check_name("version_stage", version_stage or "", "give a staging label such as 'AWSCURRENT'")
        self.secret_name = secret_name
        self.region_name = region_name
        region = Region(region_name, "the region_name argument") if region_name else region_of(secret_name)
        self._request = SecretRequest(secret_name, region, version_stage=version_stage)
        self._decode = decoder_of(decode, binary=binary)
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

    def _decoded_of(self, decode: Decoder[T], secret: Secret) -> T:
        version = (secret.arn, secret.version_id)
        decoded = self._decoded
        if decoded is None or decoded.version != version:
            decoded = self._decoded = _Decoded(version, decode(secret))
        lease = None if self._reader is None else self._reader.lease
        # Read once: another thread may give the reader the lease of another version meanwhile.
        if lease is not None and lease.value is secret:
            self._hit = (lease, self._store.cache.clock, decoded)
        return decoded.value

    def decoded(self, secret: Secret) -> T:
        """Return what `decode` makes of this version, or its parsed JSON: where the version must be known as well.

        `secret` is what `secret()`, `refresh()` or `changes()` gave. Raises `SecretFormatError` if `decode` raises.
        """
        return cast("T", secret.json()) if self._decode is None else self._decode(secret)

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
        """Forget what is cached of the secret, or only the version with this id: the next call fetches.

        It holds for each identifier of the secret, each staging label and each version id.

        With `if_version`, any number of callers who failed with the same old version cause one fetch. It holds for all
        managers of the pool that ask for the same secret. Makes no call, and raises nothing.
        """
        if self._policy is None:
            return
        if if_version is None:
            self._store.invalidate(self._request)
        else:
            self._store.forget(self._request, if_version)

    async def changes(self) -> AsyncGenerator[Secret]:
        """Yield each new version when it has become the current one; the iterator itself sees to refreshing.

        The version that was known at the start isn't new. A slow consumer misses no version that was fetched, and
        holds nobody up. The iterator ends only when the caller stops it or the pool is closed. An error doesn't end
        it, not even a permanent one: it goes to the pool's listener, and once per kind to the log as a warning.

        Needs secretsmanager:GetSecretValue.

        Raises:
            PoolClosedError: When the pool is closed.
            RuntimeError: If `policy` is None.
        """
        policy = self._policy
        if policy is None:
            raise RuntimeError("changes() compares with what is cached: give the manager a policy.")
        store = self._store
        reader = await self._located_at_last(policy)
        async with aclosing(store.changes(reader)) as changes:
            async for secret in changes:
                yield secret

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

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "A manager can't be pickled, so that no value is written anywhere: "
            "make one in each process, from the secret's name."
        )

    def __repr__(self) -> str:
        """Name the secret; the value isn't in it."""
        region = f" in {self._request.region.name!r}" if self._request.region else ""
        how = "pooled" if self._pool else "a session per call"
        return f"<AsyncCredentialsManager {shown(self.secret_name)}{region}, {how}>"

    async def _located_at_last(self, policy: CachePolicy) -> Reader[Secret]:
        """Return the reader; where the region can't be found, look again until it can."""
        reporter = self._store.reporter
        back_off = FIRST_BACKOFF
        while True:
            try:
                return self._reader or await self._located(policy)
            except PoolClosedError:
                raise
            except CredentialsError as error:
                reporter.warn(self.secret_name, "", error)
            await asyncio.sleep(back_off)
            back_off = min(2 * back_off, LONGEST_BACKOFF)

    async def _located(self, policy: CachePolicy) -> Reader[Secret]:
        """Return the reader, which needs to know the region first."""
        store = self._store
        reader = store.reader(await store.located(self._request), policy)
        if store is not self._store:  # a block of the manager's own was entered or left meanwhile
            return reader
        self._reader = self._reader or reader
        return self._reader


def check_policy(policy: object) -> CachePolicy | None:
    """Refuse what is no policy; None is one."""
    if policy is None or isinstance(policy, CachePolicy):
        return policy
    raise TypeError(f"policy is a {type(policy).__name__}: give a CachePolicy, or None for no cache.")
