"""Reading one key under one policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from aiocredentials._cache.entries import NEVER, Lease
from aiocredentials._cache.freshness import FIRST_BACKOFF, STALE, Refuse, Rules, Serve, decide
from aiocredentials._loops import bookkeeping
from aiocredentials.errors import (
    CredentialsError,
    PoolClosedError,
    SecretExpiredError,
    for_caller,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Mapping

    from aiocredentials._cache.cache import AsyncCache
    from aiocredentials._cache.entries import Entry
    from aiocredentials._cache.flights import Flight
    from aiocredentials._cache.freshness import Decision
    from aiocredentials._cache.policy import CachePolicy

V = TypeVar("V")


class _Call(Generic[V]):
    """What one call has found out while it waited."""

    __slots__ = ("asked", "failure", "is_own", "spent")

    def __init__(self, asked: int) -> None:
        self.asked = asked
        """How many invalidations there had been when the caller asked."""
        self.failure: CredentialsError | None = None
        """The transient error of a fetch that it has waited for."""
        self.spent: Flight[V] | None = None
        """The fetch that it has waited for as long as its patience lasts."""
        self.is_own = False
        """Whether it needs a fetch of its own, because one by an alias didn't answer it."""


class Reader(Generic[V]):
    """One key, read under one policy.

    `pooled` says whether a refresh may go on when no caller waits for it. `facts` are what this reader's errors say of
    it: `secret_name`, `region_name` and `region_source`.
    """

    def __init__(
        self,
        cache: AsyncCache[V],
        key: Hashable,
        fetch: Callable[[], Coroutine[Any, Any, V]],
        policy: CachePolicy,
        *,
        pooled: bool = True,
        facts: Mapping[str, str | None] | None = None,
    ) -> None:
        self.key = key
        self._cache = cache
        self._fetch = fetch
        self._rules = Rules(policy, pooled=pooled)
        self._facts = facts or {}
        self.lease: Lease[V] = Lease(None, NEVER)

    async def get(self) -> V:
        """Return the value: at once, or after a fetch. Raises a `CredentialsError`."""
        lease = self.lease
        # First the value, and then whether it holds: another thread ends a lease in the opposite order.
        value = lease.value
        if (now := self._cache.clock()) < lease.until:
            lease.used = now
            lease.reads += 1
            return cast("V", value)
        return await self._look()

    async def refresh(self) -> V:
        """Return what a fetch begun after this call brought. Raises a `CredentialsError`."""
        flights = self._cache.flights
        flights.check_open()
        asked = flights.invalidations
        current = flights.find(self.key)
        fetch = self._fetch
        flight = flights.follow(current, self.key, fetch) if current else self._start()
        self._cache.count_miss()
        return await self.result_of(flight, asked)

    async def result_of(self, flight: Flight[V], asked: int) -> V:
        """Wait for a fetch, or for one of this reader's own where that one doesn't answer it. Raises its error.

        `asked` is how many invalidations there had been when the caller asked.
        """
        landed = await self._ended(flight)
        while not self._is_answered_by(landed, asked):
            landed = await self._ended(self._own_flight() or self._start())
        return self._result(landed)

    def pause(self) -> float:
        """Return for how many seconds another look can bring nothing new: at most the ttl."""
        now = self._cache.clock()
        left = self.lease.until - now
        if left <= 0:
            entry = self._cache.entry(self.key)
            backing_off = 0.0 if entry is None else entry.retry_at - now
            left = max(FIRST_BACKOFF, backing_off)
        return min(self._rules.ttl, left)

    async def _look(self) -> V:
        """Return the value, or raise: as the rules say of what is known, and with a fetch where they want one."""
        flights = self._cache.flights
        call: _Call[V] = _Call(flights.invalidations)
        while True:
            with bookkeeping:
                now = self._cache.clock()
                entry = self._cache.entry(self.key)
                flight = self._flight_for(call)
                decision = self._decide(call, entry, flight, now)
                value = None if entry is None else entry.value
                is_first = self._take_lease(entry, decision, now)

            if isinstance(decision, Serve):
                if decision.refresh:
                    flight = flight or self._start()
                    flight.background = True
                if is_first and decision.kind == STALE and not (flight and flight.bridged):
                    self._report_stale(cast("Entry[V]", entry), cast("V", value), now)
                    if flight is not None:
                        flight.bridged = True
                return cast("V", value)

            if isinstance(decision, Refuse):
                raise self._refusal(decision, has_waited=call.failure is not None)

            flight = flight or self._start()
            landed = await flights.wait(flight, decision.patience)
            if landed is None:
                call.spent = flight
            elif self._is_final(call, landed):
                self._cache.count_miss()
                return self._result(landed)

    def _flight_for(self, call: _Call[V]) -> Flight[V] | None:
        """Return the fetch under way that this call may wait for."""
        flight = self._own_flight() if call.is_own else self._cache.flights.find(self.key)
        if flight is None and call.spent is not None and not call.spent.landed:
            # An invalidation made it unknown to others, but this caller had asked before.
            return call.spent
        return flight

    def _decide(
        self, call: _Call[V], entry: Entry[V] | None, flight: Flight[V] | None, now: float
    ) -> Decision:
        self._cache.flights.check_open()
        began = None if flight is None else flight.started
        is_spent = flight is not None and flight is call.spent
        return decide(self._rules, entry, began, now, is_spent=is_spent, failure=call.failure)

    def _is_final(self, call: _Call[V], landed: Flight[V]) -> bool:
        """Return whether the outcome of a fetch is this call's. If not, note what the next decision needs."""
        outcome = landed.outcome
        if isinstance(outcome, CredentialsError) and outcome.transient:
            call.failure = outcome
            return False
        if self._is_superseded(landed):
            return False
        call.is_own = not self._is_answered_by(landed, call.asked)
        return not call.is_own

    def _start(self) -> Flight[V]:
        return self._cache.start(self.key, self._fetch)

    def _own_flight(self) -> Flight[V] | None:
        """Return the fetch that is under way for this reader's own key, not for an alias of it."""
        flight = self._cache.flights.find(self.key)
        return flight if flight is not None and flight.key == self.key else None

    async def _ended(self, flight: Flight[V]) -> Flight[V]:
        return cast("Flight[V]", await self._cache.flights.wait(flight))

    def _take_lease(self, entry: Entry[V] | None, decision: Decision, now: float) -> bool:
        """Take the lease by which a value is served, if one is; return whether this is its first read."""
        if entry is None or not isinstance(decision, Serve):
            return False
        self.lease = lease = entry.lease(decision.until, decision.kind)
        is_first = not lease.reads
        lease.used = now
        lease.reads += 1
        return is_first

    def _report_stale(self, entry: Entry[V], value: V, now: float) -> None:
        self._cache.notify("stale", entry.name, value=value, age=now - entry.born)

    def _is_answered_by(self, landed: Flight[V], asked: int) -> bool:
        """Return whether the outcome of a fetch is one for this reader, which may have joined it under an alias."""
        outcome = landed.outcome
        if isinstance(outcome, PoolClosedError) or landed.key == self.key:
            is_ours = True
        elif isinstance(outcome, CredentialsError):
            # A refusal belongs to the key that was asked.
            is_ours = outcome.transient
        elif isinstance(outcome, Exception):
            is_ours = True
        else:
            # We joined a fetch started under an alias, and the alias may mean a different value now.
            is_ours = self.key in self._cache.keys_of(self.key, cast("V", outcome))
        # The fetch began before an invalidation, and the caller may have asked after it.
        is_outdated = landed.overtaken and asked > landed.since
        return is_ours and not is_outdated

    def _is_superseded(self, landed: Flight[V]) -> bool:
        """Return whether a value has come in meanwhile that is newer than what a fetch brought.

        It may come from another loop, or by a fetch under an alias. Callers have been served it, and time must not go
        backwards.
        """
        entry = self._cache.entry(self.key)
        is_value = not isinstance(landed.outcome, Exception)
        return is_value and entry is not None and entry.has_value and entry.born > landed.started

    def _result(self, landed: Flight[V]) -> V:
        """Return a value that was waited for, or raise an error that is this caller's own."""
        outcome = landed.outcome
        if isinstance(outcome, CredentialsError):
            raise for_caller(outcome, **self._facts)
        if isinstance(outcome, Exception):
            raise outcome
        return cast("V", outcome)

    def _refusal(self, decision: Refuse, *, has_waited: bool) -> CredentialsError:
        if has_waited:
            self._cache.count_miss()
        reason = for_caller(decision.error, **self._facts)
        if decision.expired is None:
            return reason
        error = SecretExpiredError(
            f"{decision.expired} {reason}",
            secret_name=reason.secret_name,
            region_name=reason.region_name,
            region_source=reason.region_source,
            code=reason.code,
            request_id=reason.request_id,
        )
        error.reason = reason
        return error
