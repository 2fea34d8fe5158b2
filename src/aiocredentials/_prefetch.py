"""Prefetching: many secrets by few calls, 20 per call and region."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from aiocredentials._aws.requests import SecretRequest, region_of
from aiocredentials._cache import Rules, is_fresh
from aiocredentials._cache.fetching import without_traceback
from aiocredentials._random import random_share
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
    from collections.abc import Generator, Hashable, Iterable, Sequence, Set as AbstractSet

    from aiocredentials._aws.roles import Role
    from aiocredentials._cache import Flight, Reader
    from aiocredentials._cache.policy import CachePolicy
    from aiocredentials._secret import Secret
    from aiocredentials._store import SecretStore

    Outcome: TypeAlias = Secret | CredentialsError

# BatchGetSecretValue accepts no more (API reference, SecretIdList).
BATCH = 20
# Its quota is 100 per second, for all clients of the account and region.
BATCHES_AT_ONCE = 5

# How many names are handled before other tasks run. It takes a few milliseconds.
_NAMES_PER_TURN = 200

# For how long secrets whose fetch was throttled are fetched again, in multiples of the `timeout` of
# one call. By default 10,000 processes that start at once, with 20 secrets each, need all of it.
_TIMEOUTS_FOR_THROTTLED = 2
# A call begins after a random pause of up to this many seconds, if the call before was throttled.
# The pause doubles each time, up to the second number.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 4.0

# How emulators answer an action that they don't support.
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
    role: Role | None = None,
) -> None:
    """Fetch the secrets that aren't cached and fresh.

    Args:
        store: The store of a pool.
        secret_names: Names or ARNs.
        policy: Says which cached values are fresh.
        role: The role that all of them are read through.

    Raises:
        ExceptionGroup: Of a `CredentialsError` per secret that failed; the others are cached.
        PoolClosedError: If the pool isn't open, or is closed meanwhile.
    """
    await _Prefetch(store, policy, role).run(secret_names)


class _Prefetch:
    """One call of `prefetch`."""

    def __init__(self, store: SecretStore, policy: CachePolicy, role: Role | None) -> None:
        self._store = store
        self._role = role
        self._policy = policy
        self._rules = Rules(policy)
        self._lifetime = lifetime_under(policy)
        self._calls = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._failures: list[Exception] = []
        self._no_region: CredentialsError | None = None
        """Why the default region can't be found."""
        self._waiting: dict[str | None, list[SecretRequest]] = {}
        """By region: the requests that don't fill a batch yet."""
        self._begun: list[tuple[SecretRequest, Flight[Secret]]] = []
        """The flights of the current round that this prefetch began."""
        self._under_way: list[SecretRequest] = []
        """The requests that another caller's fetch answers."""
        self._handled = 0

    async def run(self, secret_names: Sequence[str]) -> None:
        self._store.cache.flights.check_open()
        names = list(dict.fromkeys(secret_names))
        left = names
        while left:
            left = await self._fetch_all(left)
        self._raise_failures(len(names))

    async def _fetch_all(self, names: Sequence[str]) -> list[str]:
        """Fetch, and return the names that must be fetched again.

        Their fetches were ended by `forget()`. They are fetched in batches again, because each
        reader would fetch its secret singly, one after the other.
        """
        flights = self._store.cache.flights
        asked = flights.invalidations.count
        self._begun = []
        self._under_way = []
        self._waiting = {}
        await self._begin_all(names)

        forgotten: list[str] = []
        for request, flight in self._begun:
            await flights.wait(flight)
            if flights.is_forgotten(flight):
                forgotten.append(request.secret_name)
            elif not self._is_stored(request, flight):
                with self._collected():
                    await self._reader(request).result_of(flight, asked)
            await self._let_others_run()
        for request in self._under_way:
            # Not the flight itself: it may have been invalidated meanwhile, and have no outcome.
            with self._collected():
                await self._reader(request).get()
            await self._let_others_run()
        return forgotten

    async def _let_others_run(self) -> None:
        """Let other tasks run after every few hundred names."""
        self._handled += 1
        if self._handled % _NAMES_PER_TURN == 0:
            await asyncio.sleep(0)

    def _is_stored(self, request: SecretRequest, flight: Flight[Secret]) -> bool:
        """Return whether a fetch has ended, and the cache has its value: nothing is left to do."""
        entry = self._store.cache.entry(request)
        return flight.landed and entry is not None and entry.value is flight.outcome

    def _reader(self, request: SecretRequest) -> Reader[Secret]:
        return self._store.located_reader(request, self._policy)

    def _raise_failures(self, asked: int) -> None:
        for failure in self._failures:
            if isinstance(failure, PoolClosedError):
                raise failure
        if self._failures:
            message = f"{len(self._failures)} of {asked} secrets could not be fetched"
            raise ExceptionGroup(message, self._failures)

    async def _begin_all(self, names: Sequence[str]) -> None:
        """Begin the calls for all names. Other tasks run in between.

        If the caller is cancelled, the calls continue. So those that haven't begun then begin at
        once, and other tasks don't run in between.
        """
        cancelled: asyncio.CancelledError | None = None
        try:
            for start in range(0, len(names), _NAMES_PER_TURN):
                if start > 0 and cancelled is None:
                    cancelled = await _next_turn()
                await self._begin_some(names[start : start + _NAMES_PER_TURN])
            for requests in self._waiting.values():
                if requests:
                    self._begin(requests)
        finally:
            if cancelled is not None:
                raise cancelled

    async def _begin_some(self, names: Sequence[str]) -> None:
        """Begin the batches that these names fill; keep the other names for the next ones."""
        for name in names:
            request = await self._located(name)
            if request is not None:
                of_one_region = self._waiting.setdefault(request.region_name, [])
                of_one_region.append(request)

        for region_name, requests in self._waiting.items():
            # Those from before are looked at again, because other tasks have run.
            missing = self._missing(requests)
            while len(missing) >= BATCH:
                self._begin(missing[:BATCH])
                missing = missing[BATCH:]
            self._waiting[region_name] = missing

    async def _located(self, name: str) -> SecretRequest | None:
        """Return the request for a name, with its region; note a failure for a name without one."""
        request = SecretRequest(name, region_of(name), role=self._role)
        # The default region isn't searched for again once that has failed.
        if self._no_region is None or request.region is not None:
            try:
                return await self._store.located(request)
            except CredentialsError as error:
                self._no_region = error
        self._failures.append(for_caller(self._no_region, **request.facts()))
        return None

    def _missing(self, requests: Iterable[SecretRequest]) -> list[SecretRequest]:
        """Return the requests to be fetched; note those whose fetch is under way."""
        cache = self._store.cache
        now = cache.clock()
        missing: list[SecretRequest] = []
        for request in requests:
            flight = cache.flights.find(request)
            if flight is not None:
                # It continues even if all callers that wait for it leave.
                flight.background = True
                self._under_way.append(request)
            elif not is_fresh(self._rules, cache.entry(request), now):
                missing.append(request)
        return missing

    def _begin(self, batch: Sequence[SecretRequest]) -> None:
        fetch = partial(self._fetch, batch)
        flights = self._store.cache.flights.begin_batch(batch, fetch)
        self._begun += zip(batch, flights, strict=True)

    async def _fetch(
        self,
        batch: Sequence[SecretRequest],
        *,
        past_caches: AbstractSet[Hashable],
    ) -> dict[Hashable, Outcome]:
        """Fetch a batch, and singly the secrets that the batch left out or that were throttled."""
        async with self._calls:
            outcomes = await self._fetch_at_once(batch, past_caches=past_caches)
            throttled = [one for one in batch if isinstance(outcomes[one], ThrottledError)]
            if throttled:
                await self._fetch_in_turn(throttled, outcomes, past_caches=past_caches)
        return outcomes

    async def _fetch_at_once(
        self,
        batch: Sequence[SecretRequest],
        *,
        past_caches: AbstractSet[Hashable],
    ) -> dict[Hashable, Outcome]:
        """Fetch a batch, and singly, all at once, the secrets that the batch left out.

        A client of a `CustomSession` may have a cache, and only a call for one secret goes past it.
        So the secrets that were invalidated are left out of its batch.
        """
        in_batch = list(batch)
        if past_caches and self._store.is_custom:
            in_batch = [one for one in batch if one not in past_caches]

        outcomes: dict[Hashable, Outcome] = {}
        found: dict[str, Outcome] = {}
        try:
            if in_batch:
                found = await self._store.gateway.get_many(in_batch, self._lifetime)
        except CredentialsError as error:
            if not _is_about_the_batch(error):
                outcomes = {one: for_caller(error, **one.facts()) for one in in_batch}
        left = [one for one in batch if one not in outcomes]
        fetched = await asyncio.gather(
            *(
                self._outcome(
                    one,
                    found.get(one.secret_name),
                    past_caches=one in past_caches,
                )
                for one in left
            )
        )
        return outcomes | dict(zip(left, fetched, strict=True))

    async def _fetch_in_turn(
        self,
        throttled: Sequence[SecretRequest],
        outcomes: dict[Hashable, Outcome],
        *,
        past_caches: AbstractSet[Hashable],
    ) -> None:
        """Fetch singly, one after the other, the secrets whose fetch was throttled.

        A fleet that starts at once exceeds the quota of batches, and that of single gets is 100
        times as large. One call at a time keeps a fleet near that quota: 20 at once make four
        times as many calls for the same secrets, and fewer processes start in time (docs/fleet.md).
        A secret whose call is throttled again is fetched after all others, so it delays none.
        """
        now = asyncio.get_running_loop().time
        end = now() + _TIMEOUTS_FOR_THROTTLED * self._store.gateway.timeout
        longest_pause = _FIRST_PAUSE
        is_throttled = True
        waiting = deque(throttled)
        while waiting:
            if is_throttled:
                pause = longest_pause * random_share()
                if now() + pause >= end:
                    return
                await asyncio.sleep(pause)
                longest_pause = min(2 * longest_pause, _LONGEST_PAUSE)
            request = waiting.popleft()
            outcome = await self._outcome(
                request,
                None,
                past_caches=request in past_caches,
            )
            outcomes[request] = outcome
            is_throttled = isinstance(outcome, ThrottledError)
            if is_throttled:
                waiting.append(request)

    async def _outcome(
        self,
        request: SecretRequest,
        in_batch: Outcome | None,
        *,
        past_caches: bool,
    ) -> Outcome:
        """Return the batch's outcome for a request, or the outcome of a single call.

        A request gets its own call if the batch has no answer for it, or one that can't be used.
        """
        if in_batch is not None and not isinstance(in_batch, MalformedResponseError):
            return in_batch
        try:
            return await self._store.gateway.get(
                request,
                self._lifetime,
                past_caches=past_caches,
            )
        except CredentialsError as error:
            return copy.copy(error)

    @contextlib.contextmanager
    def _collected(self) -> Generator[None]:
        """Add what is raised in the block to the failures, so the other secrets are fetched."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever it is, the other secrets are fetched)
            self._failures.append(without_traceback(error))


async def _next_turn() -> asyncio.CancelledError | None:
    """Let other tasks run. Return the cancellation if the caller is cancelled meanwhile."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError as error:
        return error
    return None


def _is_about_the_batch(error: CredentialsError) -> bool:
    """Return whether a batch may have failed because of one name, or of the batch action itself.

    Then its secrets are fetched singly, all at once, because the action needs its own permission,
    and some emulators don't support it. A service that is unreachable or doesn't accept our AWS
    credentials isn't asked 20 times more, and one that throttles is asked by one call at a time.
    """
    if isinstance(error, InternalServiceError):
        return error.code in _NOT_IMPLEMENTED
    return not isinstance(error, _ABOUT_THE_SERVICE)
