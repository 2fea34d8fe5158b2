"""What managers read from: a gateway and a cache, and how the names of secrets become the cache's keys."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from aiocredentials._cache import (
    FIRST_BACKOFF,
    HIT,
    LONGEST_BACKOFF,
    STALE,
    AsyncCache,
    Reader,
    is_fresh,
)
from aiocredentials._gateway import Gateway, SecretRequest
from aiocredentials._identifiers import Key, identifiers
from aiocredentials._loops import bookkeeping, running_loop
from aiocredentials._reports import Reporter
from aiocredentials.errors import (
    AuthenticationError,
    CredentialsError,
    EndpointUnreachableError,
    InternalServiceError,
    InvalidRegionError,
    MalformedResponseError,
    PoolClosedError,
    ThrottledError,
    describe,
    for_caller,
)

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Callable,
        Generator,
        Hashable,
        Iterator,
        Mapping,
        Sequence,
    )

    from aiocredentials._cache import Entry, Flight
    from aiocredentials._policy import CachePolicy
    from aiocredentials._secret import Secret
    from aiocredentials._session import ClientSource, Region
    from aiocredentials.events import Listener

# Where the system has a clock that goes on while the machine is suspended, age is counted by it.
CLOCK: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
BATCH = 20  # BatchGetSecretValue takes no more (API reference, SecretIdList)
_NOT_IMPLEMENTED = {"501", "NotImplemented", "UnknownOperationException"}
_ABOUT_THE_SERVICE = (
    AuthenticationError,
    EndpointUnreachableError,
    InvalidRegionError,
    PoolClosedError,
    ThrottledError,
)
BATCHES_AT_ONCE = 5  # its quota is 100 a second, for all clients of the account and region


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
        self.reporter = Reporter(listener)
        self.cache: AsyncCache[Secret] = AsyncCache(
            clock,
            max_entries=max_secrets,
            keys_of=_keys_of,
            marks_of=_marks_of,
            group_of=lambda key: cast("Key", key).secret_id,
            version_of=lambda secret: (secret.arn, secret.version_id),
            share_of=lambda secret: secret._share,  # noqa: SLF001 (it is for us, and for nobody else)
            notify=self.reporter,
        )
        self._pooled = pooled
        self._default: Region | None = None
        with bookkeeping:
            _living.add(self)

    async def located(self, request: SecretRequest) -> SecretRequest:
        """Return the request with the region that it goes to, so all callers that ask there share one entry."""
        if request.region is not None or not self._pooled:
            return request
        if self._default is None:
            self.cache.flights.check_open()
            self._default = await self.gateway.region(request)
        return request._replace(region=self._default)

    def invalidate(self, request: SecretRequest) -> None:
        """Forget what is cached of a request's secret, by each of its identifiers, labels and version ids.

        Nobody may have asked the default region yet, so nobody knows which one it is. Then each region is meant.
        """
        key = self._known_key(request)
        region = None if key is None else key.region_name
        keys = [other for other in self._related(request) if key is None or other.region_name == region]
        if key is not None:
            keys.append(key)
        self.cache.invalidate(*keys, marks=[*keys, (request.secret_name, region)])

    def forget(self, request: SecretRequest, version_id: str) -> None:
        """Forget a version of the request's secret, by whichever staging label or id it was asked."""
        key = self._known_key(request)
        region = None if key is None else key.region_name
        stale: list[Key] = []
        for other in self._related(request):
            entry = self.cache.entry(other)
            value = None if entry is None else entry.value
            is_there = key is None or other.region_name == region
            if is_there and value is not None and value.version_id == version_id:
                stale.append(other)
        self.cache.invalidate(*stale, marks=[(request.secret_name, region, version_id)])

    def _known_key(self, request: SecretRequest) -> Key | None:
        """Return the key of a request; None if its region isn't known yet."""
        if request.region is not None or not self._pooled:
            return key_of(request)
        if self._default is None:
            return None
        return key_of(request._replace(region=self._default))

    def _related(self, request: SecretRequest) -> list[Key]:
        """Return the keys that are known of the identifier that a request gives, in any region."""
        return cast("list[Key]", self.cache.related(request.secret_name))

    def reader(self, request: SecretRequest, policy: CachePolicy) -> Reader[Secret]:
        """Return a reader for a request that is located."""
        fetch = partial(self.gateway.get, request, policy)
        return Reader(
            self.cache,
            key_of(request),
            fetch,
            policy,
            pooled=self._pooled,
            facts=_facts_of(request),
        )

    async def prefetch(self, secret_names: Sequence[str], policy: CachePolicy, regions: Mapping[str, Region]) -> None:
        """Fetch what isn't cached or on its way, 20 a call; raise an `ExceptionGroup` of what failed."""
        flights = self.cache.flights
        flights.check_open()
        asked = flights.invalidations
        wanted = [SecretRequest(name, regions.get(name)) for name in secret_names]
        requests, failures = await self._locate_all(wanted)

        missing: dict[str, list[SecretRequest]] = {}
        joined: list[SecretRequest] = []
        for request in requests:
            key = key_of(request)
            flight = flights.find(key)
            if flight is not None:
                # It is wanted, even if all callers that began it leave.
                flight.background = True
                joined.append(request)
            elif not is_fresh(policy, self.cache.entry(key), self.cache.clock()):
                missing.setdefault(cast("Region", request.region).name, []).append(request)

        calls = asyncio.Semaphore(BATCHES_AT_ONCE)
        begun = [pair for group in missing.values() for pair in self._start(group, policy, calls)]
        for request, flight in begun:
            with _collected(failures):
                await self.reader(request, policy).result_of(flight, asked)
        for request in joined:
            # Not its flight itself: that may have been invalidated meanwhile, and so have come to nothing.
            with _collected(failures):
                await self.reader(request, policy).get()

        for failure in failures:
            if isinstance(failure, PoolClosedError):
                raise failure
        if failures:
            message = f"{len(failures)} of {len(set(secret_names))} secrets could not be fetched"
            raise ExceptionGroup(message, failures)

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
            failures.append(for_caller(failure, **_facts_of(request)))
        return located, failures

    def _start(
        self, asked: Sequence[SecretRequest], policy: CachePolicy, calls: asyncio.Semaphore
    ) -> Iterator[tuple[SecretRequest, Flight[Secret]]]:
        """Begin the batch calls for one region."""
        for start in range(0, len(asked), BATCH):
            batch = asked[start : start + BATCH]
            fetch = partial(self._fetch_batch, batch, policy, calls)
            flights = self.cache.start_many([key_of(one) for one in batch], fetch)
            yield from zip(batch, flights, strict=True)

    async def _fetch_batch(
        self, batch: Sequence[SecretRequest], policy: CachePolicy, calls: asyncio.Semaphore
    ) -> dict[Hashable, Secret | Exception]:
        found: dict[str, Secret | CredentialsError] = {}
        async with calls:
            try:
                found = await self.gateway.get_many(batch, policy)
            except CredentialsError as error:
                if not _is_about_the_batch(error):
                    return {key_of(one): for_caller(error, **_facts_of(one)) for one in batch}
            outcomes = await asyncio.gather(*(self._settled(one, found.get(one.secret_name), policy) for one in batch))
        return dict(zip(map(key_of, batch), outcomes, strict=True))

    async def _settled(
        self,
        request: SecretRequest,
        outcome: Secret | CredentialsError | None,
        policy: CachePolicy,
    ) -> Secret | CredentialsError:
        """Ask singly for what the batch left out, or what it answered as nobody should."""
        if outcome is not None and not isinstance(outcome, MalformedResponseError):
            return outcome
        try:
            return await self.gateway.get(request, policy)
        except CredentialsError as error:
            return copy.copy(error)

    async def changes(self, reader: Reader[Secret]) -> AsyncGenerator[Secret]:
        """Yield each new version of what a reader reads, and read as often as that needs.

        Raises `PoolClosedError` when the pool is closed.
        """
        news = _News(self.cache.entry(reader.key))
        stop = self.cache.watch(reader.key, news)
        key = cast("Key", reader.key)
        back_off = FIRST_BACKOFF
        try:
            while True:
                closed: CredentialsError | None = None
                try:
                    await reader.get()
                except PoolClosedError as error:
                    closed = copy.copy(error)
                except CredentialsError as error:
                    self.reporter.warn(key.secret_id, key.region_name or "", error)
                    await news.wait(back_off, for_failures=False)
                    back_off = min(2 * back_off, LONGEST_BACKOFF)
                else:
                    await news.wait(reader.pause(), for_failures=True)
                    back_off = FIRST_BACKOFF
                while news.versions:
                    yield news.versions.popleft()
                if self.cache.closed:
                    closed = describe(PoolClosedError, "The pool was closed.")
                if closed is not None:
                    raise closed
        finally:
            stop()

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


class _News:
    """The versions that came in and that one iterator hasn't yielded yet. Any thread may add some."""

    def __init__(self, entry: Entry[Secret] | None) -> None:
        self.versions: deque[Secret] = deque()
        self._last = None if entry is None else entry.version
        self._for_failures = False
        self._loop = running_loop()
        self._wake = asyncio.Event()

    def stored(self, secret: Secret, /) -> None:
        """Note a version, unless it is the one before or the first."""
        before = self._last
        self._last = (secret.arn, secret.version_id)
        if before not in {None, self._last}:
            self.versions.append(secret)
            self.invalidated()

    def invalidated(self) -> None:
        """Let the iterator read at once."""
        with contextlib.suppress(RuntimeError):  # its loop may have died, and left the iterator behind
            self._loop.call_soon_threadsafe(self._wake.set)

    def failed(self) -> None:
        """Let the iterator read at once if it was waiting for the end of this fetch.

        After a read of its own has failed, it waits for its time: else iterators would wake each other for ever.
        """
        if self._for_failures:
            self.invalidated()

    def closed(self) -> None:
        """Let the iterator find that the pool is closed."""
        self.invalidated()

    async def wait(self, seconds: float, *, for_failures: bool) -> None:
        """Wait for news, or until the time is over."""
        self._for_failures = for_failures
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._for_failures = False
        self._wake.clear()


def _is_about_the_batch(error: CredentialsError) -> bool:
    """Return whether a batch may have failed because of one of its names, or of the batch action itself.

    Then its secrets are asked singly. The action needs a permission of its own, and some emulators don't have it. A
    service that can't be reached, is overloaded, or doesn't know our credentials isn't asked 20 times more.
    """
    if isinstance(error, InternalServiceError):
        return error.code in _NOT_IMPLEMENTED
    return not isinstance(error, _ABOUT_THE_SERVICE)


@contextlib.contextmanager
def _collected(failures: list[Exception]) -> Generator[None]:
    """Add what is raised in the block to the failures."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is, the other secrets are fetched)
        # A copy of ours has no traceback, and so no frames.
        failures.append(copy.copy(error) if isinstance(error, CredentialsError) else error)


def key_of(request: SecretRequest) -> Key:
    """Return the key of a request: without where its region came from, which is for people."""
    region = request.region.name if request.region else None
    return Key(request.secret_name, region, request.version_id, request.version_stage)


def _facts_of(request: SecretRequest) -> dict[str, str | None]:
    """Return what an error says of the caller that asked."""
    region = {} if request.region is None else request.region.facts()
    return {"secret_name": request.secret_name, **region}


def _keys_of(key: Any, secret: Secret) -> tuple[Key, ...]:  # noqa: ANN401 (the cache's keys are any hashables)
    """Return a key for each identifier of a secret."""
    asked = cast("Key", key)
    names = identifiers(secret.name, secret.arn)
    return tuple(asked._replace(secret_id=each) for each in names)


def _marks_of(key: Any, secret: Secret) -> Iterator[Hashable]:  # noqa: ANN401 (as in _keys_of)
    """Yield the marks of the invalidations that would concern a secret, and those made before its region was known."""
    for own in _keys_of(key, secret):
        for region in (own.region_name, None):
            yield (own.secret_id, region)
            yield (own.secret_id, region, secret.version_id)
