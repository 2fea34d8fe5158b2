"""`CredentialsPool`: one session, one client per region and one cache, for a whole service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar, cast, overload

from aiocredentials._arguments import check_identifier, check_name, seconds
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.requests import role_for
from aiocredentials._aws.settings import ClientSettings
from aiocredentials._cache.policy import DEFAULT_POLICY, INHERITED_POLICY, CachePolicy, check_policy
from aiocredentials._decode import is_async
from aiocredentials._listeners import report_closed, report_opened
from aiocredentials._loops import bookkeeping
from aiocredentials._manager import DEFAULT_TIMEOUT, AsyncCredentialsManager
from aiocredentials._opening import Opening
from aiocredentials._prefetch import prefetch as prefetch_secrets
from aiocredentials._store import CLOCK, CacheStats, PooledStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from types import TracebackType

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    from aiocredentials._aws.settings import CustomSession
    from aiocredentials.events import Listener

T = TypeVar("T")


class CredentialsPool:
    """One aioboto3 session, its clients (one per region) and one cache, shared by many managers.

    Use it as `async with CredentialsPool() as pool:`, or call `open()` and `aclose()`. Opening
    needs no network, unless there are secrets to `prefetch`.

    The first of these that is set decides about retries: `config`, the session's own config,
    AWS_MAX_ATTEMPTS and AWS_RETRY_MODE, the profile. By default they are botocore's standard mode
    and three attempts in all. If AWS no longer accepts the credentials, they are loaded again, and
    the call is made once more, within its `timeout`.

    Example:
        ```python
        import asyncio

        from aiocredentials import CredentialsPool, DatabaseCredentials

        async def main() -> None:
            async with CredentialsPool("eu-west-1", prefetch=["prod/database"]) as pool:
                database = pool.manager("prod/database", decode=DatabaseCredentials.from_json)
                credentials = await database.get()
                print(credentials.username)

        asyncio.run(main())
        ```

    Args:
        region_name: The primary region: the region of all secrets that name no other region. The
            first of these that names one decides: `config`, this argument, the session,
            `AWS_DEFAULT_REGION`, `AWS_REGION`, the profile; otherwise it is us-east-1.
        replica_regions: Regions with replicas of these secrets. If the primary region fails, they
            are asked in this order, within the same `timeout`. `Secret.region` names the region
            that answered.
        session: An `aioboto3.Session`, an aiobotocore `AioSession` or a `CustomSession`. Without
            it, a new aioboto3 session.
        endpoint_url: The endpoint of Secrets Manager, instead of the region's own. It is in one
            region, so it excludes `replica_regions`.
        config: An `aiobotocore.config.AioConfig`.
        timeout: The limit for one whole fetch (loading AWS credentials, connecting, retrying,
            reading), in seconds or as a `timedelta`; 10 seconds by default.
        policy: How long a value is served from memory; `CachePolicy()` by default. None means no
            cache: each call is a fetch.
        max_secrets: How many secrets are cached at most. The least recently used one is dropped
            first; among very many secrets, one of the least recently used.
        prefetch: Names or ARNs of secrets that are fetched when the pool opens.
        listener: Called with each `aiocredentials.events.SecretEvent`, in the event loop. It must
            return at once.
        redact_wire_logs: Whether values and tokens are removed from the lines that botocore logs
            about this library's calls at level DEBUG.
        role_arn: The role through which all secrets are read, except those of managers that name
            another role. The AWS credentials of the process assume it every 45 minutes in each
            event loop, and need sts:AssumeRole.
        external_id: The id that the role's trust policy names. It is never shown.
        role_session_name: The name of the role's session in CloudTrail. By default it contains the
            host and the process.
        clock: For tests: returns the time in seconds by which ages are counted, as
            `aiocredentials.testing.FakeClock` does.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is malformed or out of range, or two arguments exclude each other.
    """

    def __init__(
        self,
        region_name: str | None = None,
        *,
        replica_regions: list[str] | tuple[str, ...] = (),
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = DEFAULT_POLICY,
        max_secrets: int = 1024,
        prefetch: Iterable[str] = (),
        listener: Listener | None = None,
        redact_wire_logs: bool = True,
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if clock is not None and not callable(clock):
            kind = type(clock).__name__
            raise TypeError(f"clock is a {kind}: give a function that returns seconds.")
        if type(max_secrets) is not int or max_secrets < 1:
            raise ValueError(f"max_secrets is {max_secrets!r}: give a whole number from 1.")
        if isinstance(prefetch, str):
            raise TypeError(f"prefetch is a string: give a list of names, such as [{prefetch!r}].")
        _check_listener(listener)
        settings = ClientSettings(
            region_name,
            "the pool",
            session,
            endpoint_url,
            config,
            redact_wire_logs,
        )
        self._role = role_for(role_arn, external_id, role_session_name, session=session)
        self._settings = settings
        self._session = PooledSession(settings)
        self._store = PooledStore(
            self._session,
            seconds(timeout, "timeout"),
            max_secrets=max_secrets,
            listener=listener,
            clock=clock or CLOCK,
            replica_regions=replica_regions,
        )
        self._policy = check_policy(policy)
        self._prefetch = tuple(prefetch)
        if self._prefetch:
            self._check_prefetch(self._prefetch)
        self._entered = False
        self._opening: Opening | None = None
        self._listener = listener
        self._is_announced = False

    @overload
    def manager(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        decode: None = None,
        binary: Literal[False] = False,
        version_stage: str = "AWSCURRENT",
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
        policy: CachePolicy | None = INHERITED_POLICY,
    ) -> AsyncCredentialsManager[Any]: ...
    @overload
    def manager(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        decode: Callable[[str], T],
        binary: Literal[False] = False,
        version_stage: str = "AWSCURRENT",
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
        policy: CachePolicy | None = INHERITED_POLICY,
    ) -> AsyncCredentialsManager[T]: ...
    @overload
    def manager(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        decode: Callable[[bytes], T],
        binary: Literal[True],
        version_stage: str = "AWSCURRENT",
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
        policy: CachePolicy | None = INHERITED_POLICY,
    ) -> AsyncCredentialsManager[T]: ...
    def manager(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        decode: Callable[[str], Any] | Callable[[bytes], Any] | None = None,
        binary: bool = False,
        version_stage: str = "AWSCURRENT",
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
        policy: CachePolicy | None = INHERITED_POLICY,
    ) -> AsyncCredentialsManager[Any]:
        """Return the view of one secret. Makes no call.

        Args:
            secret_name: A name, a full ARN or a partial ARN.
            region_name: The region. Without it, the ARN's; otherwise the pool's default region.
            decode: Makes an object of the secret's text. `get()` returns the object, and calls
                `decode` once per version.
            binary: Whether `decode` gets the secret's bytes instead of its text. It needs `decode`.
            version_stage: The staging label of the version.
            role_arn: The role through which this secret is read, instead of the pool's. The AWS
                credentials of the process assume it, not those of the pool's role.
            external_id: The id that the role's trust policy names.
            role_session_name: The name of the role's session in CloudTrail.
            policy: How long a value is served from memory. Without it, the pool's policy.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument is malformed, or lacks another one that it needs.
        """
        return AsyncCredentialsManager(
            secret_name,
            region_name,
            pool=self,
            # One of the constructor's overloads accepts these two. Which one depends on the caller.
            decode=cast("Callable[[str], Any]", decode),
            binary=cast("Literal[False]", binary),
            version_stage=version_stage,
            role_arn=role_arn,
            external_id=external_id,
            role_session_name=role_session_name,
            policy=policy,
        )

    async def prefetch(self, *secret_names: str) -> None:
        """Fetch the current versions of many secrets, 20 per call, except those cached and fresh.

        If the caller is cancelled, the calls continue in the background. Needs
        secretsmanager:BatchGetSecretValue and secretsmanager:GetSecretValue; without the first
        permission, each secret is fetched by its own call.

        AWS allows 100 batches per second, for all clients of an account and region together. A
        batch that is throttled is replaced by single calls, one after the other, with random
        pauses, for up to twice the pool's `timeout`. So a fleet that starts at once starts late
        instead of failing. A read of a secret whose batch is under way waits for the whole batch:
        up to about four times the `timeout`.

        Args:
            secret_names: Names or ARNs.

        Raises:
            ExceptionGroup: Some secrets couldn't be fetched. It has a `CredentialsError` for each
                of them, with its `secret_name`. The other secrets are cached.
            PoolClosedError: The pool isn't open, or was closed meanwhile. It is in no group.
            TypeError: A name isn't a string.
            ValueError: A name can't be one, or the pool's `policy` is None.
        """
        policy = self._check_prefetch(secret_names)
        await prefetch_secrets(self._store, secret_names, policy, self._role)

    def _check_prefetch(self, secret_names: Iterable[str]) -> CachePolicy:
        if self._policy is None:
            raise ValueError("Prefetching needs a cache, not policy=None: give the pool a policy.")
        what_to_do = "give the secret's name or ARN, as AWS shows it"
        for name in secret_names:
            check_name("A name to prefetch", name or "", what_to_do)
            check_identifier("A name to prefetch", name)
        return self._policy

    def stats(self) -> CacheStats:
        """Return the counts of hits, misses, stale reads, fetches, failures and entries so far."""
        return self._store.stats()

    def forget(self) -> None:
        """Forget everything that was fetched, so a snapshot of this process contains no secret.

        It drops all values, also the parsed and decoded ones that managers hold; remembered errors;
        the clients with their AWS credentials and signing keys; and the default region. Fetches
        under way are cancelled, and their callers get the value of a new fetch. Later calls fetch
        again. The id of the last version is kept, because `changes()` compares with it. The tokens
        that local agents read from files or the environment, and the versions that databases
        accepted, are dropped for all pools of the process.

        It makes no call and needs no event loop. Sockets are closed when their loop runs next. A
        call of `describe()`, or of a manager with `policy=None`, that is under way keeps its client
        until it ends. Objects that your code holds stay, and so does your own `session=`. Python
        doesn't overwrite memory: `docs/how-to/lambda.md` explains what follows from that.
        """
        self._store.forget_everything()

    async def open(self) -> None:
        """Open the pool, and fetch the secrets of `prefetch=`. Another call waits until it is open.

        Raises:
            PoolClosedError: The pool was closed, which is final.
            ExceptionGroup: Secrets of `prefetch=` couldn't be fetched, so the pool was closed.
        """
        opening, is_ours = self._begin_opening()
        while not is_ours:
            if await opening.wait():
                # Raises if prefetching has failed for the first caller.
                self._store.open()
                return
            opening, is_ours = self._begin_opening()

        try:
            if self._prefetch:
                await self.prefetch(*self._prefetch)
        except GeneratorExit:
            # The loop of this caller was closed. The next caller opens the pool.
            raise
        except BaseException:
            try:
                await self.aclose()
            finally:
                opening.end()
            raise
        opening.end()
        with bookkeeping:
            # Raises if the pool was closed meanwhile.
            self._store.open()
            self._is_announced = True
        report_opened(self._listener, self)

    def _begin_opening(self) -> tuple[Opening, bool]:
        """Return the opening under way, and whether this caller carries it out."""
        with bookkeeping:
            self._store.open()
            opening = self._opening
            if opening is not None and not opening.is_abandoned:
                return opening, False
            self._opening = Opening()
            return self._opening, True

    async def aclose(self) -> None:
        """Cancel the fetches under way and close all clients. Calling it again does nothing.

        Calls under way, and all later ones, raise `PoolClosedError`. A cancelled caller waits for
        the end. If an event loop of another thread doesn't close its clients within three seconds,
        they are left open, and the log has a warning.
        """
        try:
            await self._store.aclose()
        finally:
            if self._is_announced:
                self._is_announced = False
                report_closed(self._listener, self)

    async def __aenter__(self) -> Self:
        """Open the pool, as `open` does.

        Raises:
            RuntimeError: The pool was entered already.
        """
        if self._entered and not self._session.closed:
            raise RuntimeError(
                "This pool was entered already: enter it only once, and share it in that block."
            )
        # Set before the first await, so a second task can't enter the pool while it opens.
        self._entered = True
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pool, as `aclose` does."""
        await self.aclose()

    def __repr__(self) -> str:
        """Return the state and the regions, and no cached value."""
        # There is no such attribute if the constructor refused its arguments.
        session = getattr(self, "_session", None)
        state = "not made" if session is None else repr(session)
        return f"<CredentialsPool {state}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled. Raises `TypeError`."""
        raise TypeError(
            "A pool can't be pickled, because it may hold secrets: make one in each process."
        )

    def __del__(self) -> None:
        """Warn if the pool was forgotten, because its sockets stay open."""
        # There is no such attribute if the constructor refused its arguments.
        store = getattr(self, "_store", None)
        if store is not None:
            store.warn_if_open(self, "was never closed: use `async with`, or call aclose().")


def _check_listener(listener: object) -> None:
    if listener is not None and (not callable(listener) or is_async(listener)):
        raise TypeError(
            "listener isn't a plain function: give one that accepts an event and isn't async."
        )
