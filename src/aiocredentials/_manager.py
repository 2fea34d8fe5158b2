"""`AsyncCredentialsManager`: the view of one secret."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast, overload

from aiocredentials._arguments import check_name, seconds
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.requests import request_for, role_for
from aiocredentials._aws.settings import ClientSettings
from aiocredentials._cache.policy import DEFAULT_POLICY, INHERITED_POLICY, CachePolicy, check_policy
from aiocredentials._changes import changes, reader_at_last
from aiocredentials._decode import decoder_of
from aiocredentials._manager_state import ManagerState
from aiocredentials._store import PooledStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import timedelta
    from types import TracebackType

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    from aiocredentials._aws.settings import CustomSession
    from aiocredentials._pool import CredentialsPool
    from aiocredentials._secret import Secret, SecretDescription

T = TypeVar("T")

DEFAULT_TIMEOUT = 10.0
_DEFAULT_SETTINGS = ClientSettings()


class AsyncCredentialsManager(ManagerState[T]):
    """The view of one secret in AWS Secrets Manager, for asyncio.

    Without a pool, each fetch opens an aioboto3 session and closes it: there is nothing to open and
    nothing to close. With `pool=`, or inside `async with manager:`, fetches share a client.
    Making a manager makes no call.

    The first of these that is set decides about retries: `config`, the session's own config,
    AWS_MAX_ATTEMPTS and AWS_RETRY_MODE, the profile. By default they are botocore's standard mode
    and three attempts in all. If AWS no longer accepts the credentials, they are loaded again, and
    the call is made once more, within its `timeout`.

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
        region_name: The region. Without it, the first of these that names one: the ARN, the config,
            the pool, the session, `AWS_DEFAULT_REGION`, `AWS_REGION`, the profile; otherwise
            us-east-1.
        pool: The pool whose clients and cache are used. Its session, endpoint_url, config, timeout
            and redact_wire_logs are used as well, so these can't be given here.
        decode: Makes an object of the secret's text. `get()` returns the object, and calls `decode`
            once per version.
        binary: Whether `decode` gets the secret's bytes instead of its text. The text of a secret
            is encoded as UTF-8. It needs `decode`.
        version_stage: The staging label of the version.
        role_arn: The role through which the secret is read, instead of the pool's. The AWS
            credentials of the process assume it every 45 minutes, and need sts:AssumeRole.
        external_id: The id that the role's trust policy names. It is never shown.
        role_session_name: The name of the role's session in CloudTrail. By default it contains the
            host and the process.
        session: An `aioboto3.Session`, an aiobotocore `AioSession` or a `CustomSession`.
        endpoint_url: The endpoint of Secrets Manager, instead of the region's own.
        config: An `aiobotocore.config.AioConfig`.
        timeout: The limit for one whole fetch (loading AWS credentials, connecting, retrying,
            reading), in seconds or as a `timedelta`; 10 seconds by default.
        policy: How long a value is served from memory. None means no cache: each call is a fetch.
            The default is the pool's policy, or `CachePolicy()` without a pool. With a session per
            call, nothing is refreshed in the background.
        redact_wire_logs: Whether values and tokens are removed from the lines that botocore logs
            about this library's calls at level DEBUG.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is malformed or out of range, or the pool has this setting.
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

    async def retrieve_secret_string(self) -> Any:  # noqa: ANN401 (JSON has no better type)
        """Return the secret's JSON, parsed. Each call returns a new object.

        A fresh value is returned from memory, without a call to AWS. Otherwise the call needs
        secretsmanager:GetSecretValue, and kms:Decrypt if the secret has a customer managed KMS key.

        Example:
            ```python
            credentials = await manager.retrieve_secret_string()
            password = credentials["password"]
            ```

        Raises:
            SecretFormatError: The secret isn't JSON.
            CredentialsError: The secret is unavailable. The subclass names the reason.
        """
        secret = self._reader.served()
        if secret is None:
            secret = await self.secret()
        return secret.json()

    async def get(self) -> T:
        """Return the object that `decode` makes of the secret.

        All callers of this manager get the same object, until there is a new version. Without
        `decode`, return the parsed JSON, as `retrieve_secret_string` does: a new object per call. A
        fresh value is returned from memory, without a call to AWS. While AWS doesn't answer, a
        stale value is returned, up to the policy's `max_stale`. A call to AWS needs
        secretsmanager:GetSecretValue, and kms:Decrypt if the secret has a customer managed KMS key.

        Example:
            ```python
            database = pool.manager("prod/database", decode=DatabaseCredentials.from_json)
            credentials = await database.get()
            password = credentials.password
            ```

        Raises:
            SecretFormatError: `decode` raised an error, or the secret isn't JSON.
            CredentialsError: The secret is unavailable. The subclass names the reason.
        """
        hit = self._hit
        if hit is not None:
            # The steps of Reader.served, written out: a call would cost as much as all of them.
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

    def decoded(self, secret: Secret) -> T:
        """Return the object that `decode` makes of this version; without `decode`, its parsed JSON.

        It is for code that needs the version as well. It makes no call.

        Args:
            secret: A return value of `secret()`, `refresh()` or `changes()`.

        Raises:
            SecretFormatError: `decode` raised an error, or the secret isn't JSON.
        """
        return cast("T", secret.json()) if self._decode is None else self._decode(secret)

    async def secret(
        self,
        *,
        version_id: str | None = None,
        version_stage: str | None = None,
    ) -> Secret:
        """Return the `Secret`: the value with its version, its staging labels and its age.

        Without arguments, it is the version with the manager's staging label. A fresh value is
        returned from memory. Otherwise the call needs secretsmanager:GetSecretValue.

        Args:
            version_id: The id of another version.
            version_stage: The staging label of another version, such as `"AWSPREVIOUS"`.

        Raises:
            CredentialsError: The secret is unavailable. The subclass names the reason.
            TypeError: An argument isn't a string.
            ValueError: An argument is empty.
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
        """Ask AWS about the secret's versions, rotation and deletion. The answer isn't cached.

        Needs secretsmanager:DescribeSecret.

        Raises:
            CredentialsError: AWS refuses the call or doesn't answer. The subclass names the reason.
        """
        return await self._store.gateway.describe(self._request)

    async def refresh(self) -> Secret:
        """Fetch the secret and return it, also if the cached value is fresh.

        The fetch begins after this call, and simultaneous callers share it: however many they are,
        they cause two fetches at most, except with `policy=None`. Needs
        secretsmanager:GetSecretValue.

        Raises:
            CredentialsError: The fetch failed. This includes transient errors, because this method
                never returns a stale value.
        """
        reader = await self._own_reader()
        return await reader.refresh()

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget the cached values of the secret, so the next call fetches it.

        The invalidation holds for each identifier of the secret, each staging label and each
        version id, and for all managers of the pool. The first fetch after it bypasses the cache of
        a local agent, too. Without a cache (`policy=None`) nothing is forgotten. It makes no call,
        and raises nothing.

        Args:
            if_version: Forget only the version with this id. So any number of callers that failed
                with the same old version cause one fetch.
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
        A slow consumer misses no version that was fetched, and delays no other caller. The iterator
        ends only when the caller stops it or the pool is closed. An error doesn't end it, not even
        a permanent one: the pool's listener receives each error, and the log one warning per kind.

        Needs secretsmanager:GetSecretValue.

        Example:
            ```python
            async for secret in manager.changes():
                print(f"the current version is {secret.version_id}")
            ```

        Raises:
            PoolClosedError: The pool was closed.
            RuntimeError: The manager has no cache, because its `policy` is None.
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
        """Share one client among the fetches inside the block, as a pool does.

        Raises:
            RuntimeError: The manager came from a pool, or was entered already.
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
        """Close the shared client. Each later fetch opens its own session, as before the block."""
        store = self._own_store
        self._own_store = None
        self._read_from(self._store_per_call())
        if store is not None:
            await store.aclose()

    def __repr__(self) -> str:
        """Name the secret, and leave its value out."""
        what = self._request.words()
        how = "pooled" if self._store.is_pooled else "a session per call"
        return f"<AsyncCredentialsManager {what}, {how}>"
