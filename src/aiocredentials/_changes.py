"""`changes()`: the new versions of a secret, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections import deque
from typing import TYPE_CHECKING, cast

from aiocredentials._cache import FIRST_BACKOFF, LONGEST_BACKOFF
from aiocredentials._loops import bookkeeping, call_in, running_loop
from aiocredentials.errors import CredentialsError, PoolClosedError, make_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._cache import Entry, Reader
    from aiocredentials._cache.policy import CachePolicy
    from aiocredentials._secret import Secret
    from aiocredentials._store import SecretStore


async def changes(store: SecretStore, reader: Reader[Secret]) -> AsyncGenerator[Secret]:
    """Yield each new version of a secret, and read as often as that needs.

    Raises `PoolClosedError` when the pool is closed.
    """
    request = cast("SecretRequest", reader.key)
    versions = _NewVersions(store.cache.entry(reader.key))
    stop = store.cache.watch(reader.key, versions)
    back_off = FIRST_BACKOFF
    try:
        while True:
            closed: CredentialsError | None = None
            try:
                await reader.get()
            except PoolClosedError as error:
                closed = copy.copy(error)
            except CredentialsError as error:
                region_name = request.region_name or ""
                store.reporter.warn(request.secret_name, region_name, error, role=request.role)
                await versions.wait(back_off, for_failures=False)
                back_off = min(2 * back_off, LONGEST_BACKOFF)
            else:
                await versions.wait(reader.pause(), for_failures=True)
                back_off = FIRST_BACKOFF
            while taken := versions.take():
                # No variable holds the version while the caller works with it.
                yield taken.pop()
            if store.cache.closed:
                closed = make_error(PoolClosedError, "The pool was closed.")
            if closed is not None:
                raise closed
    finally:
        stop()


async def reader_at_last(
    store: SecretStore,
    request: SecretRequest,
    policy: CachePolicy,
) -> Reader[Secret]:
    """Return a reader. As long as the region can't be found, try again.

    Raises `PoolClosedError` when the pool is closed.
    """
    back_off = FIRST_BACKOFF
    versions = _NewVersions(None)
    stop = store.cache.watch(request, versions)
    try:
        while True:
            try:
                return store.located_reader(await store.located(request), policy)
            except PoolClosedError:
                raise
            except CredentialsError as error:
                store.reporter("failed", request, error=error)
                store.reporter.warn(request.secret_name, "", error, role=request.role)
            # The end of the pool ends the pause.
            await versions.wait(back_off, for_failures=False)
            back_off = min(2 * back_off, LONGEST_BACKOFF)
    finally:
        stop()


class _NewVersions:
    """The versions that were fetched, and that one iterator hasn't yielded yet.

    It watches the cache, which calls it in any thread.
    """

    def __init__(self, entry: Entry[Secret] | None) -> None:
        self._waiting: deque[Secret] = deque()
        self._last = None if entry is None else entry.version
        self._taken = self._last
        """The version before the first one that waits."""
        self._for_failures = False
        self._loop = running_loop()
        self._wake = asyncio.Event()

    def stored(self, secret: Secret, /) -> None:
        """Keep a version for the iterator, unless it is the first one or the same as before."""
        before = self._last
        self._last = (secret.arn, secret.version_id)
        if before not in {None, self._last}:
            if not self._waiting:
                self._taken = before
            self._waiting.append(secret)
            self.invalidated()

    def take(self) -> list[Secret]:
        """Return the next version for the iterator, in a list; an empty one if none waits."""
        with bookkeeping:
            if not self._waiting:
                return []
            secret = self._waiting.popleft()
            self._taken = (secret.arn, secret.version_id)
            return [secret]

    def forgotten(self) -> None:
        """Drop the versions that wait, and let the iterator read at once.

        The version that is fetched next is compared with the version before them, so the current
        one isn't missed.
        """
        if self._waiting:
            self._last = self._taken
            self._waiting.clear()
        self.invalidated()

    def invalidated(self) -> None:
        """Let the iterator read at once."""
        # Its loop may have been closed although the iterator hasn't ended.
        call_in(self._loop, self._wake.set)

    def failed(self) -> None:
        """Let the iterator read at once if it was waiting for the end of this fetch.

        An iterator whose own read has failed waits until its pause is over, because otherwise
        iterators would wake each other without end.
        """
        if self._for_failures:
            self.invalidated()

    def closed(self) -> None:
        """Let the iterator find that the pool is closed."""
        self.invalidated()

    async def wait(self, seconds: float, *, for_failures: bool) -> None:
        """Wait for a new version, or until the time is over."""
        self._for_failures = for_failures
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._for_failures = False
        self._wake.clear()
