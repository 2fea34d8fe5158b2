"""The joint between managers, the cache and AWS.

A store has one gateway and one cache. It turns what a manager asks into the cache's key, which is a
located `SecretRequest`, and says which keys an invalidation concerns.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol, cast
from weakref import WeakSet

from aiocredentials._aws.gateway import Gateway
from aiocredentials._aws.settings import is_custom
from aiocredentials._cache import HIT, STALE, AsyncCache, Reader
from aiocredentials._identifiers import identifiers
from aiocredentials._loops import bookkeeping, forgetting, loading
from aiocredentials._random import random_share
from aiocredentials._reports import Reporter
from aiocredentials._secret import Lifetime

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from aiocredentials._aws.pooled import PooledSession
    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.replicas import ReplicatedGateway
    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._aws.session import ClientSource
    from aiocredentials._cache.invalidations import Invalidations
    from aiocredentials._cache.policy import CachePolicy
    from aiocredentials._cache.signatures import Fetch
    from aiocredentials._secret import Secret
    from aiocredentials.events import Listener

# The clocks that count the time that the machine was suspended: Linux's, and macOS's.
# Linux has a clock with the second name as well, which stops then.
_CLOCKS = ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC_RAW")


def suspend_aware_clock() -> Callable[[], float]:
    """Return a monotonic clock that counts the time that the machine was suspended.

    So a value is old if it was cached before a laptop slept for a night. Python's own monotonic
    clock counts that time on Windows, but not on Linux and macOS.
    """
    clock_gettime: Callable[[int], float] | None = getattr(time, "clock_gettime", None)
    for name in _CLOCKS:
        clock: int | None = getattr(time, name, None)
        if clock_gettime is not None and clock is not None:
            return partial(clock_gettime, clock)
    return time.monotonic


CLOCK = suspend_aware_clock()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """The counts of a pool since it was opened, as `pool.stats()` returns them."""

    hits: int
    """Reads of a fresh value from memory."""
    misses: int
    """Reads that were answered by a fetch, and forced refreshes."""
    stale: int
    """Reads of a stale value from memory, because a refresh failed or hangs."""
    fetches: int
    """Secrets that were requested from AWS. A batch of 20 counts as 20."""
    failures: int
    """Fetches that failed."""
    entries: int
    """Secrets in memory now. Each requested version or staging label counts."""


class UncachedReader:
    """Reads one secret without a cache, for `policy=None`: each call is a fetch."""

    lease = None

    def __init__(self, fetch: Fetch[Secret], invalidations: Invalidations, since: int = 0) -> None:
        self._fetch = fetch
        self._invalidations = invalidations
        self.since = since
        """How many invalidations there had been when it last fetched, or its manager was made."""

    def served(self) -> None:
        """Return None, because nothing is served from memory."""

    async def get(self) -> Secret:
        """Fetch the secret. Raises a `CredentialsError`."""
        # This reader doesn't know which secret an invalidation concerned, so each one counts.
        count = self._invalidations.count
        secret = await self._fetch(past_caches=count > self.since)
        self.since = count
        return secret

    async def refresh(self) -> Secret:
        """Fetch the secret, past all caches. Raises a `CredentialsError`."""
        return await self._fetch(past_caches=True)


class NoReader:
    """Stands for the reader of a manager before its first read, which finds the region."""

    lease = None

    def __init__(self, since: int) -> None:
        self.since = since
        """How many invalidations there had been when the manager was made."""

    def served(self) -> None:
        """Return None, because nothing was read yet."""


class Reading(Protocol):
    """A manager that has read from a store, and holds what it has read."""

    _store: SecretStore

    def _read_from(self, store: SecretStore, unread: NoReader | None = None) -> None: ...


class SecretStore:
    """One gateway and one cache.

    A pool has a `PooledStore`. Each manager without a pool has its own store, whose gateway opens a
    session per call.
    """

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
        self.gateway: Gateway | ReplicatedGateway = Gateway(source, timeout, clock)
        self.reporter = Reporter(listener)
        self.cache: AsyncCache[Secret] = AsyncCache(
            clock,
            max_entries=max_secrets,
            keys_of=_keys_of,
            marks_of=_marks_of,
            group_of=lambda key: cast("SecretRequest", key).secret_name,
            version_of=lambda secret: (secret.arn, secret.version_id),
            share_of=lambda secret: secret._jitter_share,  # noqa: SLF001 (ours to read)
            notify=self.reporter,
        )
        self.is_pooled = pooled
        self.is_custom = False
        self._source = source
        self._default: Region | None = None
        self._reading: WeakSet[Reading] = WeakSet()
        with bookkeeping:
            _living.add(self)

    async def reader(
        self,
        request: SecretRequest,
        policy: CachePolicy | None,
        known: object = None,
    ) -> Reader[Secret] | UncachedReader:
        """Return a reader for a request; `known` is the present reader of its manager.

        Raises a `CredentialsError` if the default region is meant and can't be found.
        """
        if policy is None:
            fetch = partial(self.gateway.get, request)
            since = getattr(known, "since", 0)
            return UncachedReader(fetch, self.cache.flights.invalidations, since)
        return self.located_reader(await self.located(request), policy)

    def unread(self) -> NoReader:
        """Return a stand-in for the reader of a manager that is made now."""
        return NoReader(self.cache.flights.invalidations.count)

    def located_reader(self, request: SecretRequest, policy: CachePolicy) -> Reader[Secret]:
        """Return a reader for a located request."""
        return Reader(
            self.cache,
            request,
            partial(self.gateway.get, request, lifetime_under(policy)),
            policy,
            pooled=self.is_pooled,
            facts=request.facts(),
        )

    async def located(self, request: SecretRequest) -> SecretRequest:
        """Return the request with its region, so all callers that ask there share one entry.

        Without a pool there is only one secret, and so one region, which needn't be known.
        """
        if request.region is not None or not self.is_pooled:
            return request
        if self._default is None:
            self.cache.flights.check_open()
            self._default = await self.gateway.region(request)
        return request._replace(region=self._default)

    def invalidate(self, request: SecretRequest) -> None:
        """Forget the cached values of a secret, by each identifier, staging label and version id.

        If the request's region isn't known yet, this holds for all regions.
        """
        key = self._located_if_known(request)
        keys = self._related(request, key)
        region_name = None
        if key is not None:
            keys.append(key)
            region_name = key.region_name
        self.cache.invalidate(*keys, marks=[*keys, (request.secret_name, region_name)])

    def forget(self, request: SecretRequest, version_id: str) -> None:
        """Forget one version of a secret, under each staging label and version id."""
        key = self._located_if_known(request)
        stale: list[SecretRequest] = []
        for related in self._related(request, key):
            entry = self.cache.entry(related)
            value = None if entry is None else entry.value
            if value is not None and value.version_id == version_id:
                stale.append(related)
        if key is not None and self.cache.entry(key) is None:
            # It may have been evicted. The next fetch must not return this version from a cache.
            stale.append(key)
        region_name = None if key is None else key.region_name
        self.cache.invalidate(*stale, marks=[(request.secret_name, region_name, version_id)])

    def note_invalidation(self) -> None:
        """Note an invalidation by a reader without a cache: only its next fetch differs."""
        with bookkeeping:
            self.cache.flights.invalidations.add(())

    def add_reading(self, manager: Reading) -> None:
        """Note that a manager reads from this store, and may hold values."""
        with bookkeeping:
            self._reading.add(manager)

    def forget_everything(self) -> None:
        """Forget all values, failures, clients, AWS credentials and the regions.

        It works in any thread, and without an event loop.
        """
        self.cache.forget()
        with bookkeeping:
            self._default = None
            managers = list(self._reading)
            self._reading.clear()
        for manager in managers:
            if manager._store is self:  # noqa: SLF001 (managers are ours)
                # Invalidations are counted from 0, so its next fetch goes past caches.
                manager._read_from(self, NoReader(-1))  # noqa: SLF001
        self._source.forget()
        self.gateway.forget()
        _forget_elsewhere()

    def _located_if_known(self, request: SecretRequest) -> SecretRequest | None:
        """Return the request with its region; None if its region isn't known yet."""
        if request.region is not None or not self.is_pooled:
            return request
        if self._default is None:
            return None
        return request._replace(region=self._default)

    def _related(
        self,
        request: SecretRequest,
        key: SecretRequest | None,
    ) -> list[SecretRequest]:
        """Return the cached keys with the request's identifier.

        They are those in the region of `key`, or in all regions if it is None.
        """
        related = cast("list[SecretRequest]", self.cache.related(request.secret_name))
        if key is None:
            return related
        return [other for other in related if other.region == key.region]

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


class PooledStore(SecretStore):
    """The store of a pool, or of a manager's own block: its clients are shared, open and close."""

    def __init__(
        self,
        session: PooledSession,
        timeout: float,
        *,
        max_secrets: int = 1024,
        listener: Listener | None = None,
        clock: Callable[[], float] = CLOCK,
        replica_regions: list[str] | tuple[str, ...] = (),
    ) -> None:
        self.session = session
        super().__init__(
            session,
            timeout,
            pooled=True,
            max_secrets=max_secrets,
            listener=listener,
            clock=clock,
        )
        self.is_custom = is_custom(session.settings.session)
        if replica_regions != ():
            # Most pools have none, and need none of its modules.
            with loading:
                from aiocredentials._aws import replicas  # noqa: PLC0415

            self.gateway = replicas.ReplicatedGateway(
                cast("Gateway", self.gateway),
                replicas.replica_regions_of(replica_regions, session.settings),
                warn=replicas.warning_of(session.settings),
                timeout=timeout,
                clock=clock,
                most_versions=max_secrets,
                reports=self.reporter,
            )

    def open(self) -> None:
        """Allow calls. Raises `PoolClosedError` after close, which is final."""
        with bookkeeping:
            self.session.open()
            # The cache is closed before the session.
            self.cache.flights.check_open()

    async def aclose(self) -> None:
        """Cancel the fetches under way, forget all values and close all clients."""
        try:
            await self.cache.aclose()
        finally:
            await self.session.aclose()

    def warn_if_open(self, owner: object, mistake: str) -> None:
        """Issue a `ResourceWarning` for an owner that is gone while its sockets are open."""
        if self.session.holds_clients:
            warnings.warn(f"{owner!r} {mistake}", ResourceWarning, stacklevel=3, source=owner)


_living: WeakSet[SecretStore] = WeakSet()


def clear_all() -> None:
    """Forget what the stores of the process have fetched. Fixtures use it between two tests."""
    with bookkeeping:
        stores = list(_living)
    for store in stores:
        store.cache.clear()


def forget_all() -> None:
    """Forget all that the pools and managers of this process have fetched, as `pool.forget()` does.

    This includes managers without a pool, and pools that other modules have made. It makes no call,
    raises nothing, and works in any thread, with or without an event loop.
    """
    with bookkeeping:
        stores = list(_living)
    for store in stores:
        store.forget_everything()
    # There may be no pool at the moment.
    _forget_elsewhere()


def _forget_elsewhere() -> None:
    """Forget the secrets that other modules of this package keep."""
    for forget in forgetting:
        forget()


@lru_cache(maxsize=64)
def lifetime_under(policy: CachePolicy) -> Callable[[], Lifetime]:
    """Return `_random_lifetime` for a policy: one function for all readers, to save memory."""
    return partial(_random_lifetime, policy)


def _random_lifetime(policy: CachePolicy) -> Lifetime:
    """Return how long the next secret is fresh under a policy.

    The TTL of each secret is shortened by a random share of the jitter. The cache uses the same
    share, so both agree about when the secret is stale.
    """
    share = random_share()
    ttl = cast("float", policy.ttl)
    return Lifetime(ttl * (1 - policy.jitter * share), share)


def _keys_of(key: Hashable, secret: Secret) -> tuple[SecretRequest, ...]:
    """Return the cache's keys for a secret: one per identifier that AWS has confirmed."""
    request = cast("SecretRequest", key)
    names = identifiers(secret.name, secret.arn)
    return tuple(request.by_name(name) for name in names)


def _marks_of(key: Hashable, secret: Secret) -> Iterator[Hashable]:
    """Yield the marks of the invalidations that concern a secret.

    Each mark also exists without a region, for invalidations from before the default region was
    known.
    """
    for own in _keys_of(key, secret):
        for region_name in (own.region_name, None):
            yield (own.secret_name, region_name)
            yield (own.secret_name, region_name, secret.version_id)
