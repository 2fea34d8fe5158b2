"""`AsyncCredentialsManager`: the view of one secret."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar, cast, overload

from aiocredentials._arguments import check_name, seconds
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.requests import request_for, role_for
from aiocredentials._aws.session import SessionPerCall
from aiocredentials._aws.settings import ClientSettings
from aiocredentials._cache.policy import DEFAULT_POLICY, INHERITED_POLICY, CachePolicy, check_policy
from aiocredentials._changes import changes, reader_at_last
from aiocredentials._decode import Decoded, Decoder, decoder_of
from aiocredentials._store import NoReader, PooledStore, SecretStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import timedelta
    from types import TracebackType

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    from aiocredentials._aws.settings import CustomSession
    from aiocredentials._cache import Lease, Reader
    from aiocredentials._pool import CredentialsPool
    from aiocredentials._secret import Secret, SecretDescription
    from aiocredentials._store import UncachedReader

T = TypeVar("T")

DEFAULT_TIMEOUT = 10.0
_DEFAULT_SETTINGS = ClientSettings()


class AsyncCredentialsManager(Generic[T]):
    """The view of one secret in AWS Secrets Manager, for asyncio.

    Without a pool, each fetch opens an aioboto3 session and closes it: there is nothing to open and
    nothing to close. With `pool=`, or inside `async with manager:`, fetches share a client.

    Retries are those of `config`, else of the session's own config, else of AWS_MAX_ATTEMPTS and
    AWS_RETRY_MODE, else of the profile. If none of these is set, they are botocore's standard mode
    and three attempts in all. If AWS doesn't accept the credentials any more, they are loaded
    again, and the call is made once more, inside its `timeout`.

    Example:
        ```python
        import asyncio

        from aiocredentials import AsyncCredentialsManager

        async def main() -> None:
            manager = AsyncCredentialsManager("prod/database", "eu-west-1")
            credentials = await manager.retrieve_secret_string()
            print(credentials["username"])

        asyncio.run(main())
        ```

    Args:
        secret_name: A name, a full ARN or a partial ARN.
        region_name: The region. Without it: the ARN's, the config's, the pool's, the session's,
            `AWS_DEFAULT_REGION`, `AWS_REGION`, the profile's, or us-east-1.
        pool: The pool whose clients and cache are shared. The pool has the session, endpoint_url,
            config, timeout and redact_wire_logs then.
        decode: Makes an object of the secret's text; `get()` calls it once per version.
        binary: Gives `decode` the secret's bytes; a text is encoded as UTF-8. It needs `decode`.
        version_stage: The staging label of the version.
        role_arn: The role that the secret is read through, instead of the pool's. It is assumed by
            the AWS credentials of the process, which need sts:AssumeRole, once per hour.
        external_id: The id that the role's trust policy names. It is never shown.
        role_session_name: The name in CloudTrail; by default it has the host and the process.
        session: An `aioboto3.Session`, an aiobotocore `AioSession` or a `CustomSession`.
        endpoint_url: The endpoint of Secrets Manager, instead of the region's own.
        config: An `aiobotocore.config.AioConfig`.
        timeout: For one whole fetch (loading AWS credentials, connecting, retrying, reading), in
            seconds or as a `timedelta`.
        policy: How long a value is served from memory. None means no cache: each call is a fetch.
            The default is the pool's policy, or `CachePolicy()` without a pool. With a session per
            call, nothing is refreshed in the background.
        redact_wire_logs: False leaves values and tokens in what botocore logs of our calls at
            level DEBUG.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument can't work, or is a setting that the pool has.
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
        version_stage: str = "AWSCURRENT",
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = INHERITED_POLICY,
        redact_wire_logs: bool = True,
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
        version_stage: str = "AWSCURRENT",
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = INHERITED_POLICY,
        redact_wire_logs: bool = True,
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
        version_stage: str = "AWSCURRENT",
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = INHERITED_POLICY,
        redact_wire_logs: bool = True,
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
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = INHERITED_POLICY,
        redact_wire_logs: bool = True,
    ) -> None:
        role = role_for(
            role_arn,
            external_id,
            role_session_name,
            default=None if pool is None else pool._role,
            session=session if pool is None else pool._settings.session,
        )
        self.secret_name = secret_name
        self.region_name = region_name
        self._request = request_for(secret_name, region_name, version_stage, role)
        self._decode = decoder_of(decode, binary=binary)
        self._settings = ClientSettings(
            session=session,
            endpoint_url=endpoint_url,
            config=config,
            redact_wire_logs=redact_wire_logs,
        )
        self._timeout = seconds(timeout, "timeout")
        self._policy = check_policy(policy)
        if policy is INHERITED_POLICY:
            self._policy = DEFAULT_POLICY if pool is None else pool._policy
        self._pool = pool
        self._own_store: PooledStore | None = None
        if pool is None:
            self._read_from(self._store_per_call())
        else:
            if self._settings != _DEFAULT_SETTINGS or self._timeout != DEFAULT_TIMEOUT:
                raise ValueError(
                    "With pool=, the pool's session, endpoint_url, config, timeout and "
                    "redact_wire_logs are used: give these to the pool instead."
                )
            self._read_from(pool._store)

    def _store_per_call(self) -> SecretStore:
        return SecretStore(SessionPerCall(self._settings), self._timeout, pooled=False)

    def _read_from(self, store: SecretStore, unread: NoReader | None = None) -> None:
        """Use this store from now on, and forget what was read from another one."""
        self._store = store
        self._reader: Reader[Secret] | UncachedReader | NoReader = unread or store.unread()
        self._decoded: Decoded[T] | None = None
        self._hit: tuple[Lease[Secret], Callable[[], float], Decoded[T]] | None = None

    async def retrieve_secret_string(self) -> Any:  # noqa: ANN401 (JSON has no better type)
        """Return the secret's JSON, parsed: a new object per call.

        Raises a `CredentialsError`; `SecretFormatError` if the secret isn't JSON. Needs
        secretsmanager:GetSecretValue, and kms:Decrypt if the secret has a KMS key of your own.
        """
        secret = self._reader.served()
        if secret is None:
            secret = await self.secret()
        return secret.json()

    async def get(self) -> T:
        """Return what `decode` makes of the secret: one object for all callers, per version.

        Without `decode` it is the parsed JSON, as `retrieve_secret_string` returns it. Raises a
        `CredentialsError`; `SecretFormatError` if `decode` raises. Needs
        secretsmanager:GetSecretValue.
        """
        hit = self._hit
        if hit is not None:
            # What Reader.served does, written out: a call would cost as much as all of it.
            lease, clock, decoded = hit
            if (now := clock()) < lease.until:
                lease.used = now
                lease.count.reads += 1
                return decoded.value
        secret = self._reader.served()
        if secret is None:
            secret = await self.secret()
        if self._decode is None:
            parsed: T = secret.json()
            return parsed
        return self._decoded_once(self._decode, secret)

    def _decoded_once(self, decode: Decoder[T], secret: Secret) -> T:
        """Return what `decode` makes of a version, and let the next hits have it directly."""
        version = (secret.arn, secret.version_id)
        decoded = self._decoded
        if decoded is None or decoded.version != version:
            decoded = Decoded(version, decode(secret))
            self._decoded = decoded
        # Read once, because another thread may give the reader the lease of another version.
        lease = self._reader.lease
        if lease is not None and lease.value is secret:
            self._hit = (lease, self._store.cache.clock, decoded)
        return decoded.value

    def decoded(self, secret: Secret) -> T:
        """Return what `decode` makes of this version, or its parsed JSON without `decode`.

        It is for code that must know the version as well. `secret` is a return value of `secret()`,
        `refresh()` or `changes()`. Raises `SecretFormatError` if `decode` raises.
        """
        return cast("T", secret.json()) if self._decode is None else self._decode(secret)

    async def secret(
        self,
        *,
        version_id: str | None = None,
        version_stage: str | None = None,
    ) -> Secret:
        """Return the `Secret` with the manager's staging label.

        `version_id` or `version_stage` ask for another version. Raises a `CredentialsError`;
        `TypeError` or `ValueError` for an argument that can't work. Needs
        secretsmanager:GetSecretValue.
        """
        if version_id is None and version_stage is None:
            secret = self._reader.served()
            if secret is None:
                reader = await self._own_reader()
                secret = await reader.get()
            return secret
        check_name("version_id", version_id, "give a version's id, or leave it out")
        what_to_do = "give a staging label such as 'AWSPREVIOUS', or leave it out"
        check_name("version_stage", version_stage, what_to_do)
        request = self._request._replace(version_id=version_id, version_stage=version_stage)
        reader = await self._store.reader(request, self._policy, self._reader)
        return await reader.get()

    async def describe(self) -> SecretDescription:
        """Ask AWS about the secret's versions, rotation and deletion. It isn't cached.

        Raises a `CredentialsError`. Needs secretsmanager:DescribeSecret.
        """
        return await self._store.gateway.describe(self._request)

    async def refresh(self) -> Secret:
        """Return the result of a fetch that begins after this call; simultaneous callers share it.

        However many callers ask at once, they cost two fetches at most, except with
        `policy=None`. Raises a `CredentialsError`, also a transient one: a stale value isn't served
        here. Needs secretsmanager:GetSecretValue.
        """
        reader = await self._own_reader()
        return await reader.refresh()

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget what is cached of the secret, or only the version with this id.

        The next call fetches. The invalidation holds for each identifier of the secret, each
        staging label and each version id, and for all managers of the pool. With `if_version`, any
        number of callers that failed with the same old version cause one fetch. Without a cache
        (`policy=None`) nothing is forgotten. Makes no call, and raises nothing.

        The first fetch after it goes past the cache of a local agent, too.
        """
        if self._policy is None:
            self._store.note_invalidation()
        elif if_version is None:
            self._store.invalidate(self._request)
        else:
            self._store.forget(self._request, if_version)

    async def changes(self) -> AsyncGenerator[Secret]:
        """Yield each new version when it becomes the current one.

        The iterator refreshes the secret itself. The version that was known at the start isn't new.
        A slow consumer misses no version that was fetched, and delays nobody. The iterator ends
        only when the caller stops it or the pool is closed. An error doesn't end it, not even a
        permanent one: it goes to the pool's listener, and once per kind to the log as a warning.

        Needs secretsmanager:GetSecretValue.

        Raises:
            PoolClosedError: When the pool is closed.
            RuntimeError: If `policy` is None.
        """
        policy = self._policy
        if policy is None:
            message = "changes() needs a cache, not policy=None: give the manager a policy."
            raise RuntimeError(message)
        store = self._store
        reader = await reader_at_last(store, self._request, policy)
        async with aclosing(changes(store, reader)) as versions:
            async for secret in versions:
                yield secret
                # While the next version is waited for, nothing here holds this one.
                del secret

    async def __aenter__(self) -> Self:
        """Share clients for the length of the block.

        Raises `RuntimeError` if the manager has a pool, or is entered already.
        """
        if self._pool is not None or self._own_store is not None:
            raise RuntimeError(
                "This manager has a pool already: enter it only once, and don't enter it if it "
                "came from a CredentialsPool."
            )
        store = PooledStore(PooledSession(self._settings), self._timeout)
        store.open()
        self._own_store = store
        self._read_from(store)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the shared clients: later calls open a session each, as before."""
        store = self._own_store
        self._own_store = None
        self._read_from(self._store_per_call())
        if store is not None:
            await store.aclose()

    def __del__(self) -> None:
        """Warn if the manager was entered and forgotten: nobody can close its sockets any more."""
        # There is no such attribute if the constructor refused its arguments.
        store = getattr(self, "_own_store", None)
        if store is not None:
            store.warn_if_open(self, "was entered and never left: use `async with`.")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "A manager can't be pickled, because it may hold a secret's value: "
            "make one in each process, from the secret's name."
        )

    def __repr__(self) -> str:
        """Name the secret; the value isn't in it."""
        what = self._request.words()
        how = "pooled" if self._store.is_pooled else "a session per call"
        return f"<AsyncCredentialsManager {what}, {how}>"

    async def _own_reader(self) -> Reader[Secret] | UncachedReader:
        """Return the reader of the manager's own staging label, and keep it."""
        known = self._reader
        if not isinstance(known, NoReader):
            return known
        store = self._store
        reader = await store.reader(self._request, self._policy, known)
        if store is self._store:
            # Otherwise the manager's own block was entered or left meanwhile.
            self._reader = reader
            store.add_reading(self)
        return reader
