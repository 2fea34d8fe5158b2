"""What managers read from: a gateway and a cache, and how the names of secrets become the cache's keys."""

from __future__ import annotations

import asyncio
import copy
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import WeakSet

from aiocredentials._cache import HIT, STALE, AsyncCache, Reader, _Flight
from aiocredentials._gateway import Gateway, SecretRequest
from aiocredentials._loops import bookkeeping
from aiocredentials.errors import AccessDeniedError, CredentialsError, MalformedResponseError, PoolClosedError
from aiocredentials.events import (
    Evicted,
    Fetched,
    FetchFailed,
    Listener,
    Refreshed,
    RefreshFailed,
    Rotated,
    SecretEvent,
    ServedStale,
    tell,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from aiocredentials._policy import CachePolicy
    from aiocredentials._secret import Secret
    from aiocredentials._session import ClientSource, Region

# Where the system has a clock that goes on while the machine is suspended, age is counted by it.
CLOCK: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
BATCH = 20  # BatchGetSecretValue takes no more (API reference, SecretIdList)
BATCHES_AT_ONCE = 5  # its quota is 100 a second, for all clients of the account and region


class Key(NamedTuple):
    """What the cache keeps a secret by. Without a pool the region is None: there is one secret, and one region."""

    secret_id: str
    region_name: str | None
    version_id: str | None
    version_stage: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a pool's cache has done since it was opened: reads and fetches are counted, values aren't looked at."""

    hits: int
    """Reads served from memory, fresh."""
    misses: int
    """Reads that waited for a fetch."""
    stale: int
    """Reads served from memory past the ttl, since a refresh failed or hangs."""
    fetches: int
    """Secrets asked from AWS; a batch of 20 counts as 20."""
    failures: int
    """Fetches that failed."""
    entries: int
    """Secrets in memory now."""


class SecretStore:
    """One gateway and one cache; a pool has one, and so has each manager without a pool."""

    def __init__(
        self,
        source: ClientSource,
        timeout: float,
        *,
        pooled: bool,
        max_secrets: int = 1024,
        listener: Listener | None = None,
        clock: Callable[[], float] = CLOCK,
    ) -> None:
        self.gateway = Gateway(source, timeout, clock)
        self.cache: AsyncCache[Secret] = AsyncCache(
            clock,
            max_entries=max_secrets,
            keys_of=_keys_of,
            version_of=lambda secret: (secret.arn, secret.version_id),
            notify=partial(_notify, listener) if listener else _ignore,
        )
        self._pooled = pooled
        self._default: Region | None = None
        with bookkeeping:
            _living.add(self)

    async def located(self, request: SecretRequest) -> SecretRequest:
        """Return the request with the region that it goes to, so that whoever asks there shares one entry."""
        if request.region is not None or not self._pooled:
            return request
        if self._default is None:
            self.cache.check_open()
            self._default = await self.gateway.region(request)
        return request._replace(region=self._default)

    def known_key(self, request: SecretRequest) -> Key | None:
        """Return the key of a request; None if its region isn't known yet."""
        if request.region is None and self._pooled:
            return key_of(request._replace(region=self._default)) if self._default else None
        return key_of(request)

    def forget(self, key: Key, version_id: str) -> None:
        """Invalidate a version of the key's secret, by whichever label or id it was asked."""
        for other in cast("list[Key]", self.cache.keys()):
            entry = self.cache.entry(other) if other[:2] == key[:2] else None
            if entry is not None and entry.value is not None and entry.value.version_id == version_id:
                self.cache.invalidate(other)

    def reader(self, request: SecretRequest, policy: CachePolicy) -> Reader[Secret]:
        """Return a reader for a request that is located."""
        fetch = partial(self.gateway.get, request, ttl=cast("float", policy.ttl))
        return Reader(self.cache, key_of(request), fetch, policy, pooled=self._pooled)

    async def prefetch(self, secret_names: Sequence[str], policy: CachePolicy, regions: Mapping[str, Region]) -> None:
        """Fetch what isn't cached or on its way, 20 a call; raise an `ExceptionGroup` of what failed."""
        self.cache.check_open()
        requests, failures = await self._locate_all([SecretRequest(name, regions.get(name)) for name in secret_names])
        missing: dict[str, list[SecretRequest]] = {}
        joined: list[SecretRequest] = []
        for request in requests:
            entry, flight = self.cache.entry(key_of(request)), self.cache.flight(key_of(request))
            if flight is not None:
                flight.background = True  # it is wanted, even if all go who began it
                joined.append(request)
            elif entry is None or entry.value is None or self.cache.clock() - entry.born >= cast("float", policy.ttl):
                missing.setdefault(cast("Region", request.region).name, []).append(request)
        calls = asyncio.Semaphore(BATCHES_AT_ONCE)
        flights = [flight for asked in missing.values() for flight in self._start(asked, policy, calls)]
        outcomes = [await self.cache.wait(flight) for flight in flights]
        failures += [copy.copy(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
        for request in joined:
            try:
                # Not that flight itself: it may have been invalidated meanwhile, and so have come to nothing.
                await self.reader(request, policy).get()
            except CredentialsError as error:
                failures.append(copy.copy(error))
        for failure in failures:
            if isinstance(failure, PoolClosedError):
                raise failure
        if failures:
            raise ExceptionGroup(f"{len(failures)} of {len(set(secret_names))} secrets could not be fetched", failures)

    async def _locate_all(self, requests: Sequence[SecretRequest]) -> tuple[list[SecretRequest], list[Exception]]:
        """Return the requests with their regions, once each; and an error for each whose region can't be found."""
        located: list[SecretRequest] = []
        failures: list[Exception] = []
        failure: CredentialsError | None = None
        for request in dict.fromkeys(requests):
            if failure is None or request.region is not None:
                try:
                    located.append(await self.located(request))
                    continue
                except CredentialsError as error:
                    failure = error
            failures.append(_about(request, failure))
        return located, failures

    def _start(
        self, asked: Sequence[SecretRequest], policy: CachePolicy, calls: asyncio.Semaphore
    ) -> Iterator[_Flight[Secret]]:
        """Begin the batch calls for one region."""
        for start in range(0, len(asked), BATCH):
            batch = asked[start : start + BATCH]
            fetch = partial(self._fetch_batch, batch, cast("float", policy.ttl), calls)
            yield from self.cache.start_many([key_of(one) for one in batch], fetch)

    async def _fetch_batch(
        self, batch: Sequence[SecretRequest], ttl: float, calls: asyncio.Semaphore
    ) -> dict[Hashable, Secret | Exception]:
        found: dict[str, Secret | CredentialsError] = {}
        async with calls:
            try:
                found = await self.gateway.get_many(batch, ttl=ttl)
            except AccessDeniedError:
                pass  # the batch action needs a permission of its own: single gets may be allowed all the same
            except CredentialsError as error:
                return {key_of(one): _about(one, error) for one in batch}
            settled = await asyncio.gather(*(self._settle(one, found.get(one.secret_name), ttl) for one in batch))
            return dict(zip(map(key_of, batch), settled, strict=True))

    async def _settle(
        self, request: SecretRequest, outcome: Secret | CredentialsError | None, ttl: float
    ) -> Secret | CredentialsError:
        """Ask singly for what the batch left out, or what it answered as nobody should."""
        if outcome is not None and not isinstance(outcome, MalformedResponseError):
            return outcome
        try:
            return await self.gateway.get(request, ttl=ttl)
        except CredentialsError as error:
            return copy.copy(error)

    def stats(self) -> CacheStats:
        """Count what has happened so far."""
        cache = self.cache
        return CacheStats(
            hits=cache.reads(HIT),
            misses=cache.misses,
            stale=cache.reads(STALE),
            fetches=cache.fetches,
            failures=cache.failures,
            entries=len(cache),
        )


_living: WeakSet[SecretStore] = WeakSet()


def clear_all() -> None:
    """Forget what the stores of the process have fetched: for test fixtures, between two tests."""
    with bookkeeping:
        stores = list(_living)
    for store in stores:
        store.cache.clear()


def _about(request: SecretRequest, error: CredentialsError) -> CredentialsError:
    """Return an error that hit several secrets as the error of one of them."""
    mine = copy.copy(error)
    mine.secret_name = request.secret_name
    mine.region_source = request.region.source if request.region else mine.region_source
    return mine


def key_of(request: SecretRequest) -> Key:
    """Return the key of a request: without where its region came from, which is for people."""
    region = request.region.name if request.region else None
    return Key(request.secret_name, region, request.version_id, request.version_stage)


def _keys_of(key: Any, secret: Secret) -> tuple[Key, ...]:  # noqa: ANN401 (the cache's keys are any hashables)
    """Return the keys of name, ARN and partial ARN: each asks for the same secret."""
    asked = cast("Key", key)
    # The name first: it is what events call the secret.
    ids = dict.fromkeys((secret.name, secret.arn, secret.arn[: -len("-Abc123")]))
    return tuple(asked._replace(secret_id=each) for each in ids)


def _ignore(*_: object, **__: object) -> None:
    """Tell nobody."""


def _notify(
    listener: Listener,
    what: str,
    key: Any,  # noqa: ANN401 (as above)
    *,
    value: Secret | None = None,
    error: CredentialsError | None = None,
    refresh: bool = False,
    before: Any = None,  # noqa: ANN401 (a version is what version_of made it)
    age: float = 0.0,
    duration: float = 0.0,
) -> None:
    """Make an event of what the cache tells, and tell the listener."""
    asked = cast("Key", key)
    name, version = (asked.secret_id, "") if value is None else (value.name, value.version_id)
    facts: dict[str, Any] = {
        "secret_name": name,
        "region_name": asked.region_name or (value.region if value else ""),
        "version_stage": asked.version_stage,
    }
    event: SecretEvent
    match what:
        case "fetched":
            event = Fetched(**facts, version_id=version, duration=duration)
        case "refreshed":
            event = Refreshed(**facts, version_id=version, duration=duration)
        case "rotated":
            event = Rotated(**facts, version_id=version, previous_version_id=before[1])
        case "stale":
            event = ServedStale(**facts, version_id=version, age=age)
        case "failed":
            failed = RefreshFailed if refresh else FetchFailed
            event = failed(**facts, error=cast("CredentialsError", error), duration=duration)
        case _:
            event = Evicted(**facts)
    tell(listener, event)
