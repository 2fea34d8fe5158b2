"""Prefetching: many secrets by few calls, 20 per call and region."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from functools import partial
from typing import TYPE_CHECKING, cast

from aiocredentials._aws.requests import SecretRequest, region_of
from aiocredentials._cache import is_fresh
from aiocredentials._store import lifetimes
from aiocredentials.errors import (
    AuthenticationError,
    CredentialsError,
    EndpointUnreachableError,
    InternalServiceError,
    InvalidRegionError,
    MalformedResponseError,
    PoolClosedError,
    ThrottledError,
    for_caller,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence

    from aiocredentials._aws.regions import Region
    from aiocredentials._cache import Flight
    from aiocredentials._cache.policy import CachePolicy
    from aiocredentials._secret import Secret
    from aiocredentials._store import SecretStore

# BatchGetSecretValue takes no more (API reference, SecretIdList).
BATCH = 20
# Its quota is 100 per second, for all clients of the account and region.
BATCHES_AT_ONCE = 5

# How emulators answer an action that they don't have.
_NOT_IMPLEMENTED = {"501", "NotImplemented", "UnknownOperationException"}
_ABOUT_THE_SERVICE = (
    AuthenticationError,
    EndpointUnreachableError,
    InvalidRegionError,
    PoolClosedError,
    ThrottledError,
)


async def prefetch(store: SecretStore, secret_names: Sequence[str], policy: CachePolicy) -> None:
    """Fetch the secrets that aren't cached and fresh.

    Raises:
        ExceptionGroup: Of a `CredentialsError` per secret that failed; the others are cached.
        PoolClosedError: If the pool isn't open, or is closed meanwhile.
    """
    await _Prefetch(store, policy).run(secret_names)


class _Prefetch:
    """One call of `prefetch`."""

    def __init__(self, store: SecretStore, policy: CachePolicy) -> None:
        self._store = store
        self._policy = policy
        self._lifetime = lifetimes(policy)
        self._calls = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._failures: list[Exception] = []

    async def run(self, secret_names: Sequence[str]) -> None:
        flights = self._store.cache.flights
        flights.check_open()
        asked = flights.invalidations.count
        wanted = [SecretRequest(name, region_of(name)) for name in secret_names]
        joined, missing = self._sorted(await self._located(wanted))

        begun = [pair for group in missing for pair in self._begin(group)]
        for request, flight in begun:
            with self._collected():
                reader = self._store.located_reader(request, self._policy)
                await reader.result_of(flight, asked)
        for request in joined:
            # Not the flight itself: it may have been invalidated meanwhile, and have no outcome.
            with self._collected():
                await self._store.located_reader(request, self._policy).get()

        for failure in self._failures:
            if isinstance(failure, PoolClosedError):
                raise failure
        if self._failures:
            number = len(set(secret_names))
            message = f"{len(self._failures)} of {number} secrets could not be fetched"
            raise ExceptionGroup(message, self._failures)

    async def _located(self, requests: Iterable[SecretRequest]) -> list[SecretRequest]:
        """Return the requests with their regions, each once; note a failure for each other one."""
        located: list[SecretRequest] = []
        failure: CredentialsError | None = None
        for request in dict.fromkeys(requests):
            # The default region isn't searched for again once that has failed.
            if failure is None or request.region is not None:
                try:
                    located.append(await self._store.located(request))
                    continue
                except CredentialsError as error:
                    failure = error
            self._failures.append(for_caller(failure, **request.facts()))
        return located

    def _sorted(
        self,
        requests: Iterable[SecretRequest],
    ) -> tuple[list[SecretRequest], Iterable[list[SecretRequest]]]:
        """Return the requests whose fetch is under way, and by region those that must be fetched."""
        cache = self._store.cache
        joined: list[SecretRequest] = []
        missing: dict[Region, list[SecretRequest]] = {}
        for request in requests:
            flight = cache.flights.find(request)
            if flight is not None:
                # It goes on even if all callers that wait for it leave.
                flight.background = True
                joined.append(request)
            elif not is_fresh(self._policy, cache.entry(request), cache.clock()):
                missing.setdefault(cast("Region", request.region), []).append(request)
        return joined, missing.values()

    def _begin(
        self,
        requests: Sequence[SecretRequest],
    ) -> Iterator[tuple[SecretRequest, Flight[Secret]]]:
        """Begin the batch calls for one region, and yield each request with its flight."""
        for start in range(0, len(requests), BATCH):
            batch = requests[start : start + BATCH]
            flights = self._store.cache.flights.begin_batch(batch, partial(self._fetch, batch))
            yield from zip(batch, flights, strict=True)

    async def _fetch(self, batch: Sequence[SecretRequest]) -> dict[Hashable, Secret | Exception]:
        """Fetch a batch, and singly what the batch left out."""
        found: dict[str, Secret | CredentialsError] = {}
        async with self._calls:
            try:
                found = await self._store.gateway.get_many(batch, self._lifetime)
            except CredentialsError as error:
                if not _is_about_the_batch(error):
                    return {request: for_caller(error, **request.facts()) for request in batch}
            singly = [self._outcome(request, found.get(request.secret_name)) for request in batch]
            outcomes = await asyncio.gather(*singly)
        return dict(zip(batch, outcomes, strict=True))

    async def _outcome(
        self,
        request: SecretRequest,
        in_batch: Secret | CredentialsError | None,
    ) -> Secret | CredentialsError:
        """Return the batch's outcome for a request, or that of a call of its own.

        A request gets its own call if the batch has no answer for it, or one that can't be used.
        """
        if in_batch is not None and not isinstance(in_batch, MalformedResponseError):
            return in_batch
        try:
            return await self._store.gateway.get(request, self._lifetime)
        except CredentialsError as error:
            return copy.copy(error)

    @contextlib.contextmanager
    def _collected(self) -> Generator[None]:
        """Add what is raised in the block to the failures, so the other secrets are fetched."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever it is, the other secrets are fetched)
            # A copy of our own error has no traceback, and so holds no frames.
            is_ours = isinstance(error, CredentialsError)
            self._failures.append(copy.copy(error) if is_ours else error)


def _is_about_the_batch(error: CredentialsError) -> bool:
    """Return whether a batch may have failed because of one name, or of the batch action itself.

    Then its secrets are fetched singly: the action needs a permission of its own, and some
    emulators don't have it. A service that can't be reached, is overloaded or doesn't know our
    credentials isn't asked 20 times more.
    """
    if isinstance(error, InternalServiceError):
        return error.code in _NOT_IMPLEMENTED
    return not isinstance(error, _ABOUT_THE_SERVICE)
