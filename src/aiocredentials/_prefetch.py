"""Prefetching: many secrets by few calls, 20 per call and region."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from aiocredentials._aws.requests import SecretRequest, region_of
from aiocredentials._cache import is_fresh
from aiocredentials._cache.flights import without_traceback
from aiocredentials._store import lifetime_under
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

    from aiocredentials._cache import Flight, Reader
    from aiocredentials._cache.policy import CachePolicy
    from aiocredentials._secret import Secret
    from aiocredentials._store import SecretStore

    Outcome: TypeAlias = Secret | CredentialsError

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


async def prefetch(
    store: SecretStore,
    secret_names: Sequence[str],
    policy: CachePolicy,
) -> None:
    """Fetch the secrets that aren't cached and fresh.

    Args:
        store: The store of a pool.
        secret_names: Names or ARNs.
        policy: Says which cached values are fresh.

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
        self._lifetime = lifetime_under(policy)
        self._calls = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._failures: list[Exception] = []

    async def run(self, secret_names: Sequence[str]) -> None:
        flights = self._store.cache.flights
        flights.check_open()
        asked = flights.invalidations.count
        requests = await self._located(secret_names)
        under_way, missing = self._split(requests)

        begun: list[tuple[SecretRequest, Flight[Secret]]] = []
        for of_one_region in missing:
            begun += self._begin(of_one_region)

        for request, flight in begun:
            with self._collected():
                await self._reader(request).result_of(flight, asked)
        for request in under_way:
            # Not the flight itself: it may have been invalidated meanwhile, and have no outcome.
            with self._collected():
                await self._reader(request).get()
        self._raise_failures(len(set(secret_names)))

    def _reader(self, request: SecretRequest) -> Reader[Secret]:
        return self._store.located_reader(request, self._policy)

    def _raise_failures(self, asked: int) -> None:
        for failure in self._failures:
            if isinstance(failure, PoolClosedError):
                raise failure
        if self._failures:
            message = f"{len(self._failures)} of {asked} secrets could not be fetched"
            raise ExceptionGroup(message, self._failures)

    async def _located(self, secret_names: Iterable[str]) -> list[SecretRequest]:
        """Return a request with its region per name; note a failure for a name without one."""
        located: list[SecretRequest] = []
        failure: CredentialsError | None = None
        for name in dict.fromkeys(secret_names):
            request = SecretRequest(name, region_of(name))
            # The default region isn't searched for again once that has failed.
            if failure is None or request.region is not None:
                try:
                    located.append(await self._store.located(request))
                    continue
                except CredentialsError as error:
                    failure = error
            self._failures.append(for_caller(failure, **request.facts()))
        return located

    def _split(
        self,
        requests: Iterable[SecretRequest],
    ) -> tuple[list[SecretRequest], Iterable[list[SecretRequest]]]:
        """Return the requests whose fetch is under way, and per region those to be fetched."""
        cache = self._store.cache
        under_way: list[SecretRequest] = []
        missing: dict[str | None, list[SecretRequest]] = {}
        for request in requests:
            flight = cache.flights.find(request)
            entry = cache.entry(request)
            if flight is not None:
                # It goes on even if all callers that wait for it leave.
                flight.background = True
                under_way.append(request)
            elif not is_fresh(self._policy, entry, cache.clock()):
                of_one_region = missing.setdefault(request.region_name, [])
                of_one_region.append(request)
        return under_way, missing.values()

    def _begin(
        self,
        requests: Sequence[SecretRequest],
    ) -> Iterator[tuple[SecretRequest, Flight[Secret]]]:
        """Begin the batch calls for one region, and yield each request with its flight."""
        for start in range(0, len(requests), BATCH):
            batch = requests[start : start + BATCH]
            fetch = partial(self._fetch, batch)
            flights = self._store.cache.flights.begin_batch(batch, fetch)
            yield from zip(batch, flights, strict=True)

    async def _fetch(self, batch: Sequence[SecretRequest]) -> dict[Hashable, Secret | Exception]:
        """Fetch a batch, and singly the secrets that the batch left out."""
        found: dict[str, Outcome] = {}
        async with self._calls:
            try:
                found = await self._store.gateway.get_many(batch, self._lifetime)
            except CredentialsError as error:
                if not _is_about_the_batch(error):
                    return {one: for_caller(error, **one.facts()) for one in batch}
            outcomes = await asyncio.gather(
                *(self._outcome(one, found.get(one.secret_name)) for one in batch)
            )
        return dict(zip(batch, outcomes, strict=True))

    async def _outcome(
        self,
        request: SecretRequest,
        in_batch: Outcome | None,
    ) -> Outcome:
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
            self._failures.append(without_traceback(error))


def _is_about_the_batch(error: CredentialsError) -> bool:
    """Return whether a batch may have failed because of one name, or of the batch action itself.

    Then its secrets are fetched singly: the action needs a permission of its own, and some
    emulators don't have it. A service that can't be reached, is overloaded or doesn't know our
    credentials isn't asked 20 times more.
    """
    if isinstance(error, InternalServiceError):
        return error.code in _NOT_IMPLEMENTED
    return not isinstance(error, _ABOUT_THE_SERVICE)
