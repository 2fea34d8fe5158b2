"""Reading one key under one policy.

A read that finds a lease is a hit: `Reader.served`. Any other read is a loop: decide, by
`freshness`, and then serve the value, raise an error, or wait for a fetch and decide again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, cast

from aiocredentials._cache.entries import Lease
from aiocredentials._cache.freshness import (
    FIRST_BACKOFF,
    HIT,
    NEVER,
    STALE,
    Refuse,
    Rules,
    Serve,
    decide,
)
from aiocredentials._cache.signatures import Fetch, V
from aiocredentials._loops import bookkeeping
from aiocredentials.errors import (
    CredentialsError,
    PoolClosedError,
    SecretExpiredError,
    for_caller,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from aiocredentials._cache.cache import AsyncCache
    from aiocredentials._cache.entries import Entry
    from aiocredentials._cache.flight import Flight
    from aiocredentials._cache.freshness import Decision
    from aiocredentials._cache.policy import CachePolicy


class _Call(Generic[V]):
    """The facts that one call has learned while it waited."""

    __slots__ = ("asked", "failure", "is_own", "spent")

    def __init__(self, asked: int) -> None:
        self.asked = asked
        """How many invalidations there had been when the caller asked."""
        self.failure: CredentialsError | None = None
        """The transient error of a fetch for which it has waited."""
        self.spent: Flight[V] | None = None
        """The fetch on which it has used up its patience."""
        self.is_own = False
        """Whether it needs a fetch of the reader's key: a fetch of an alias didn't answer it."""


class _Look(Generic[V]):
    """One look at the cache, under the lock, and the decision on it."""

    __slots__ = ("decision", "entry", "flight", "is_first", "now", "value")

    def __init__(
        self,
        now: float,
        entry: Entry[V] | None,
        flight: Flight[V] | None,
        decision: Decision,
    ) -> None:
        self.now = now
        self.entry = entry
        self.flight = flight
        self.decision = decision
        self.value: V | None = None
        """The value, if it is served."""
        self.is_first = False
        """Whether this is the first read of its lease."""


class Reader(Generic[V]):
    """Reads one key under one policy.

    Args:
        cache: The cache.
        key: The key.
        fetch: Fetches the value of the key.
        policy: The policy.
        pooled: Whether a refresh may continue when no caller waits for it.
        facts: The facts in this reader's errors: `secret_name`, `region_name` and `region_source`.
    """

    def __init__(
        self,
        cache: AsyncCache[V],
        key: Hashable,
        fetch: Fetch[V],
        policy: CachePolicy,
        *,
        pooled: bool = True,
        facts: Mapping[str, str | None] | None = None,
    ) -> None:
        self.key = key
        self._cache = cache
        self._flights = cache.flights
        self._fetch = fetch
        self._rules = Rules(policy, pooled=pooled)
        self._error_facts = facts or {}
        self._clock = cache.clock
        self.lease: Lease[V] = Lease(None, NEVER, cache.read_counts[HIT])

    def served(self) -> V | None:
        """Return the value if the lease holds; None if the cache must be asked: by `get`."""
        lease = self.lease
        # The value is taken before the time is checked, because another thread ends a lease in the
        # opposite order.
        value = lease.value
        now = self._clock()
        if now < lease.until:
            lease.used = now
            lease.count.reads += 1
            return value
        return None

    async def get(self) -> V:
        """Return the value, from memory or after a fetch. Raises a `CredentialsError`."""
        value = self.served()
        if value is not None:
            return value
        return await self._get_slowly()

    async def refresh(self) -> V:
        """Return the value of a fetch that begins after this call. Raises a `CredentialsError`."""
        self._flights.check_open()
        asked = self._flights.invalidations.count
        current = self._flights.find(self.key)
        if current is None:
            flight = self._flights.begin(self.key, self._fetch, past_caches=True)
        else:
            flight = self._flights.follow(
                current,
                self.key,
                self._fetch,
            )
        self._cache.count_miss()
        return await self.result_of(flight, asked)

    async def result_of(
        self,
        flight: Flight[V],
        asked: int,
    ) -> V:
        """Wait for a fetch, and return its value or raise its error.

        If it doesn't answer this reader, wait for a fetch of the reader's own key instead. `asked`
        is how many invalidations there had been when the caller asked.
        """
        landed = await self._landed(flight)
        while not self._is_answered_by(landed, asked):
            own_flight = self._own_flight() or self._flights.begin(
                self.key,
                self._fetch,
                past_caches=flight.past_caches,
            )
            landed = await self._landed(own_flight)
        return self._result(landed)

    def pause(self) -> float:
        """Return for how many seconds another read can't return anything new: at most the TTL."""
        now = self._clock()
        left = self.lease.until - now
        if left <= 0:
            left = FIRST_BACKOFF
            entry = self._cache.entry(self.key)
            if entry is not None:
                back_off = entry.retry_at - now
                left = max(left, back_off)
        return min(self._rules.ttl, left)

    async def _get_slowly(self) -> V:
        """Decide, and wait for fetches, until the value or an error can be returned."""
        asked = self._flights.invalidations.count
        call: _Call[V] = _Call(asked)
        while True:
            with bookkeeping:
                look = self._look(call)
            decision = look.decision

            if isinstance(decision, Serve):
                return self._serve(look, decision)

            if isinstance(decision, Refuse):
                raise self._refusal(call, decision)

            flight = look.flight or self._flights.begin(self.key, self._fetch)
            patience = decision.patience
            landed = await self._flights.wait(flight, patience)
            if landed is None:
                call.spent = flight
            elif self._is_final(call, landed):
                self._cache.count_miss()
                return self._result(landed)

    def _look(self, call: _Call[V]) -> _Look[V]:
        """Look at the cache and decide. If the value is served, take the lease on it."""
        now = self._clock()
        entry = self._cache.entry(self.key)
        flight = self._flight_for(call)
        self._flights.check_open()

        began: float | None = None
        is_spent = False
        if flight is not None:
            began = flight.started
            is_spent = flight is call.spent
        decision = decide(
            self._rules,
            entry,
            began,
            now,
            is_spent=is_spent,
            failure=call.failure,
        )

        look = _Look(now, entry, flight, decision)
        if entry is not None and isinstance(decision, Serve):
            self._take_lease(entry, decision, look)
        return look

    def _take_lease(
        self,
        entry: Entry[V],
        decision: Serve,
        look: _Look[V],
    ) -> None:
        """Take the lease that lets further reads skip the decision."""
        lease = self._lease_on(entry, decision, look.now)
        look.value = entry.value
        look.is_first = not lease.is_used
        lease.used = look.now
        lease.count.reads += 1
        self.lease = lease

    def _lease_on(
        self,
        entry: Entry[V],
        decision: Serve,
        now: float,
    ) -> Lease[V]:
        count = self._cache.read_counts[decision.kind]
        return entry.lease(decision.until, count, now)

    def _flight_for(self, call: _Call[V]) -> Flight[V] | None:
        """Return the fetch under way for which this call may wait."""
        flight = self._own_flight() if call.is_own else self._flights.find(self.key)
        if flight is not None:
            return flight

        spent = call.spent
        if spent is None or spent.landed:
            return None
        # An invalidation hides it from later callers, but this caller had asked before.
        return spent

    def _own_flight(self) -> Flight[V] | None:
        """Return the fetch under way for this reader's own key, not for an alias of it."""
        flight = self._flights.find(self.key)
        if flight is None or flight.key != self.key:
            return None
        return flight

    async def _landed(self, flight: Flight[V]) -> Flight[V]:
        """Wait for a fetch without a limit, and return the flight that has the outcome."""
        landed = await self._flights.wait(flight)
        return cast("Flight[V]", landed)

    def _serve(
        self,
        look: _Look[V],
        decision: Serve,
    ) -> V:
        """Return the value. Begin the refresh and report the stale value, where that is needed."""
        flight = look.flight
        if decision.refresh:
            flight = flight or self._flights.begin(self.key, self._fetch)
            flight.background = True

        if decision.kind == STALE and look.is_first:
            self._report_stale(look, flight)
        return cast("V", look.value)

    def _report_stale(
        self,
        look: _Look[V],
        flight: Flight[V] | None,
    ) -> None:
        """Report that a stale value is served: once per fetch that hangs."""
        is_reported = flight is not None and flight.stale_reported
        if is_reported:
            return

        entry = cast("Entry[V]", look.entry)
        self._cache.notify(
            "stale",
            entry.name,
            value=look.value,
            age=look.now - entry.born,
        )
        if flight is not None:
            flight.stale_reported = True

    def _is_final(
        self,
        call: _Call[V],
        landed: Flight[V],
    ) -> bool:
        """Return whether this call ends with the outcome of a fetch.

        If not, note the facts that the next decision needs.
        """
        if self._flights.is_forgotten(landed):
            # The next decision begins a new fetch.
            return False
        outcome = landed.outcome
        if isinstance(outcome, CredentialsError) and outcome.transient:
            call.failure = outcome
            return False
        if self._is_superseded(landed):
            return False
        is_answered = self._is_answered_by(landed, call.asked)
        call.is_own = not is_answered
        return is_answered

    def _is_superseded(self, landed: Flight[V]) -> bool:
        """Return whether the cache has a newer value than that of a fetch.

        It may come from another loop, or from a fetch under an alias. Callers have been served it,
        and a later read must not return an older value.
        """
        if isinstance(landed.outcome, Exception):
            return False
        entry = self._cache.entry(self.key)
        if entry is None or not entry.has_value:
            return False
        return entry.born > landed.started

    def _is_answered_by(
        self,
        landed: Flight[V],
        asked: int,
    ) -> bool:
        """Return whether the outcome of a fetch, perhaps under an alias, is one for this reader."""
        if self._flights.is_forgotten(landed):
            return False
        if landed.overtaken and asked > landed.since:
            # The fetch began before an invalidation, and the caller asked after it.
            return False

        outcome = landed.outcome
        if landed.key == self.key or isinstance(outcome, PoolClosedError):
            return True
        if isinstance(outcome, CredentialsError):
            # A permanent error belongs to the key that was asked.
            return outcome.transient
        if isinstance(outcome, Exception):
            return True
        # We joined a fetch started under an alias, and the alias may mean a different value now.
        value = cast("V", outcome)
        keys = self._cache.keys_of(self.key, value)
        return self.key in keys

    def _result(self, landed: Flight[V]) -> V:
        """Return the value of a fetch, or raise its error as one of this caller's own."""
        outcome = landed.outcome
        if isinstance(outcome, CredentialsError):
            raise for_caller(outcome, **self._error_facts)
        if isinstance(outcome, Exception):
            raise outcome
        value = cast("V", outcome)
        if self.lease.value is not value:
            self._hold(value)
        return value

    def _hold(self, value: V) -> None:
        """Take the lease on a value that was just fetched, so the next read is a hit at once."""
        with bookkeeping:
            entry = self._cache.entry(self.key)
            if entry is None or entry.value is not value:
                return
            now = self._clock()
            decision = decide(self._rules, entry, None, now)
            if isinstance(decision, Serve) and (decision.kind, decision.refresh) == (HIT, False):
                self.lease = self._lease_on(entry, decision, now)

    def _refusal(
        self,
        call: _Call[V],
        decision: Refuse,
    ) -> CredentialsError:
        """Return the error of a decision, as one of this caller's own."""
        if call.failure is not None:
            # The caller has waited for a fetch.
            self._cache.count_miss()

        reason = for_caller(decision.error, **self._error_facts)
        if decision.expired is None:
            return reason

        error = SecretExpiredError(
            f"{decision.expired} {reason}",
            secret_name=reason.secret_name,
            region_name=reason.region_name,
            region_source=reason.region_source,
            role_arn=reason.role_arn,
            code=reason.code,
            request_id=reason.request_id,
        )
        error.reason = reason
        return error
