"""`CredentialsPool`: one aioboto3 session, one client a region and one cache, for all the secrets of a service."""

from __future__ import annotations

import asyncio
import warnings
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar, cast, overload

from aiocredentials._decode import is_async
from aiocredentials._gateway import region_of
from aiocredentials._identifiers import check_identifier
from aiocredentials._loops import bookkeeping
from aiocredentials._manager import DEFAULT_TIMEOUT, AsyncCredentialsManager, check_policy
from aiocredentials._policy import DEFAULT_POLICY, CachePolicy, seconds
from aiocredentials._pooled import PooledSession
from aiocredentials._session import ClientSettings, check_name
from aiocredentials._store import CLOCK, CacheStats, SecretStore
from aiocredentials.events import tell_closed, tell_opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from types import TracebackType

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    from aiocredentials._session import CustomSession
    from aiocredentials.events import Listener

T = TypeVar("T")


class CredentialsPool:
    """Own one aioboto3 session, its clients (one a region) and one cache, and hand out managers that share them.

    Use it as `async with CredentialsPool() as pool:`, or call `open()` and `aclose()`. Opening needs no network.

    `region_name` is for secrets that don't name their own; `session` is an `aioboto3.Session`, an aiobotocore
    `AioSession` or a `CustomSession`; `timeout` is for one whole fetch, in seconds or as a `timedelta`; `policy=None`
    means no cache: each call is a fetch. At most `max_secrets` are kept: the one used longest ago goes first.
    `prefetch` names secrets that are fetched when the pool opens. `listener` is called with each
    `aiocredentials.events.SecretEvent`, in the event loop: it must return at once. `redact_wire_logs=False` leaves
    values and tokens in what botocore logs of our calls at level DEBUG. `clock` is for tests: it tells the time in
    seconds by which ages are counted, as `aiocredentials.testing.FakeClock` does. Raises `TypeError` or `ValueError`
    for an argument that can't work.

    Retries are those of `config`, else of the session's own config, else of AWS_MAX_ATTEMPTS and
    AWS_RETRY_MODE, else of the profile; if none says anything, botocore's standard mode and three
    attempts in all. If AWS doesn't accept the credentials any more, they are looked for anew, and
    the call is made once more, inside its `timeout`.
    """

    def __init__(
        self,
        region_name: str | None = None,
        *,
        session: aioboto3.Session | AioSession | CustomSession | None = None,
        endpoint_url: str | None = None,
        config: AioConfig | None = None,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        policy: CachePolicy | None = DEFAULT_POLICY,
        max_secrets: int = 1024,
        prefetch: Iterable[str] = (),
        listener: Listener | None = None,
        redact_wire_logs: bool = True,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if clock is not None and not callable(clock):
            raise TypeError(f"clock is a {type(clock).__name__}: give a function that returns seconds.")
        if type(max_secrets) is not int or max_secrets < 1:
            raise ValueError(f"max_secrets is {max_secrets!r}: give a whole number from 1.")
        if isinstance(prefetch, str):
            raise TypeError(f"prefetch is a string: give a list of names, such as [{prefetch!r}].")
        _check_listener(listener)
        self._session = PooledSession(
            ClientSettings(region_name, "the pool", session, endpoint_url, config, redact_wire_logs)
        )
        self._store = SecretStore(
            self._session,
            seconds(timeout, "timeout"),
            pooled=True,
            max_secrets=max_secrets,
            listener=listener,
            clock=clock or CLOCK,
        )
        self._policy = check_policy(policy)
        self._prefetch = tuple(prefetch)
        if self._prefetch:
            self._check_prefetch(self._prefetch)
        self._entered = False
        # Callers in other loops may wait for it, and one that is cancelled must not cancel it for the others.
        self._opened: Future[None] = Future()
        self._opened.set_running_or_notify_cancel()
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
        binary: Literal[False] = False,
        version_stage: str = ...,
        policy: CachePolicy | None = ...,
    ) -> AsyncCredentialsManager[T]: ...
    @overload
    def manager(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        decode: Callable[[bytes], T],
        binary: Literal[True],
        version_stage: str = ...,
        policy: CachePolicy | None = ...,
    ) -> AsyncCredentialsManager[T]: ...
    def manager(
        self,
        secret_name: str,
        region_name: str | None = None,
        *,
        decode: Callable[[str], Any] | Callable[[bytes], Any] | None = None,
        binary: bool = False,
        version_stage: str = "AWSCURRENT",
        policy: CachePolicy | None = DEFAULT_POLICY,
    ) -> AsyncCredentialsManager[Any]:
        """Return the view of one secret, given by name or ARN; without `policy=` it has the pool's. Makes no call.

        `decode` makes an object of the secret's text; with `binary=True`, of its bytes. Raises `TypeError` or
        `ValueError` for an argument that can't work.
        """
        return AsyncCredentialsManager(
            secret_name,
            region_name,
            pool=self,
            # One of the constructor's overloads takes these two; which one, this method's own callers know.
            decode=cast("Callable[[str], Any]", decode),
            binary=cast("Literal[False]", binary),
            version_stage=version_stage,
            policy=policy,
        )

    async def prefetch(self, *secret_names: str) -> None:
        """Fetch the current versions of many secrets, by name or ARN, 20 a call; not those that are cached and fresh.

        Raises an `ExceptionGroup` of a `CredentialsError` for each that failed, with its `secret_name`; the others are
        cached all the same. Raises `PoolClosedError`, without a group, if the pool isn't open or is closed meanwhile;
        `TypeError` or `ValueError` for a name that can't be, and where the pool's `policy` is None. Who is cancelled
        leaves the calls going on. Needs secretsmanager:BatchGetSecretValue besides secretsmanager:GetSecretValue;
        without it, each is fetched singly.
        """
        policy = self._check_prefetch(secret_names)
        regions = {name: region for name in secret_names if (region := region_of(name)) is not None}
        await self._store.prefetch(secret_names, policy, regions)

    def _check_prefetch(self, secret_names: Iterable[str]) -> CachePolicy:
        if self._policy is None:
            raise ValueError("policy=None keeps nothing, so there is nothing to prefetch for: give the pool a policy.")
        for name in secret_names:
            check_name("A name to prefetch", name or "", "give the secret's name or ARN, as AWS shows it")
            check_identifier("A name to prefetch", name)
        return self._policy

    def stats(self) -> CacheStats:
        """Return what the cache has done so far: hits, misses, stale reads, fetches, failures; and its entries now."""
        return self._store.stats()

    async def open(self) -> None:
        """Open the pool, and fetch what `prefetch=` names; calling it again waits until that is done.

        Raises `PoolClosedError` if it was closed, which is final. If prefetching fails, the pool is closed and an
        `ExceptionGroup` of mapped errors is raised.
        """
        with bookkeeping:
            is_first = self._session.open()
        if not is_first:
            await asyncio.wrap_future(self._opened)
            self._session.open()  # raises if prefetching has failed for the first caller
            return
        try:
            if self._prefetch:
                await self.prefetch(*self._prefetch)
        except BaseException:
            await self.aclose()
            raise
        finally:
            self._opened.set_result(None)
        if not self._session.closed:
            self._is_announced = True
            tell_opened(self._listener, self)

    async def aclose(self) -> None:
        """Cancel what is in flight and close all clients; calling it again does nothing.

        Calls in flight, and all later ones, raise `PoolClosedError`. A caller who is cancelled
        waits for the end. An event loop of another thread that doesn't close its clients within
        three seconds is left alone, with a warning in the log.
        """
        try:
            await self._store.cache.aclose()
        finally:
            try:
                await self._session.aclose()
            finally:
                if self._is_announced:
                    self._is_announced = False
                    tell_closed(self._listener, self)

    async def __aenter__(self) -> Self:
        """Open the pool. Raises `RuntimeError` if it is entered already, and what `open` raises."""
        if self._entered and not self._session.closed:
            raise RuntimeError("This pool is entered already: enter it once, and share it inside of that block.")
        # Before the first await, so a second task can't enter it while it opens.
        self._entered = True
        await self.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pool."""
        await self.aclose()

    def __repr__(self) -> str:
        """Say the state and the region, and nothing of what is cached."""
        session = getattr(self, "_session", None)  # not there when the constructor refused its arguments
        state = "not made" if session is None else repr(session)
        return f"<CredentialsPool {state}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled. Raises `TypeError`."""
        raise TypeError("A pool can't be pickled, so that no value is written anywhere: make one in each process.")

    def __del__(self) -> None:
        """Warn if the pool was forgotten: nobody can close its sockets any more."""
        session = getattr(self, "_session", None)  # not there when the constructor refused its arguments
        if session is not None and session.holds_clients:
            message = f"{self!r} was never closed: use `async with`, or call aclose()."
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)


def _check_listener(listener: object) -> None:
    if listener is not None and (not callable(listener) or is_async(listener)):
        raise TypeError("listener isn't a plain function: give one that takes an event, without await.")
