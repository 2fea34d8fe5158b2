"""A world around the cache that knows what is true: it makes each call, and says at once when a promise is broken.

It counts turns: whatever happens gets the next number, so that "before" has a meaning also within one instant.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiocredentials import (
    CachePolicy,
    CredentialsError,
    PoolClosedError,
    SecretExpiredError,
    SecretNotFoundError,
    ThrottledError,
)
from aiocredentials._cache import FIRST_BACKOFF, AsyncCache, Entry, Reader
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

ALIAS = "*"  # "a" and "a*" are two names of one value


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in virtual time, under the schedules of a few seeds; nothing may be left behind."""

    @functools.wraps(test)
    def runner(*args: Any, **named: Any) -> None:  # noqa: ANN401 (the test's own)
        for seed in range(3):
            run(test(*args, **named), seed=seed, leave_nothing=True, max_steps=3_000_000)

    return runner


def now() -> float:
    """Return the running loop's time, which is virtual in these tests."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True)
class Value:
    """What a fetch brings: which one it was."""

    key: str
    number: int


@dataclass(eq=False)
class Fetch:
    """One call to what is behind the cache."""

    asked: str
    key: str
    number: int
    forced: bool
    began: float
    began_turn: int
    task: asyncio.Task[Any]
    ended: float | None = None
    ended_turn: int = 0
    error: type[Exception] | None = None

    @property
    def running(self) -> bool:
        """Whether it goes on, and nobody has told it to stop."""
        return self.ended is None and not self.task.cancelling()


@dataclass
class Call:
    """One call of the cache, and what it found."""

    asked: str
    key: str
    policy: CachePolicy
    turn: int
    at: float
    entry: Entry[Value] | None
    age: float
    newest: dict[str, int]
    """The newest values that anybody had been given: by the name that was asked for them, the number of the fetch."""

    @property
    def ttl(self) -> float:
        """The ttl, as this value has it."""
        share = self.entry.share if self.entry is not None else 0.0
        return float(self.policy.ttl) * (1 - self.policy.jitter * share)  # type: ignore[arg-type]


class World:
    """A cache, its readers, what is behind it, and what is true of all of them."""

    def __init__(
        self,
        clock: Callable[[], float],
        source: Callable[[Fetch], Coroutine[Any, Any, type[Exception] | None]],
        policies: list[CachePolicy],
        *,
        max_entries: int,
        rng: Callable[[], float],
    ) -> None:
        self.clock, self.source, self.policies, self.max_entries = clock, source, policies, max_entries
        self.cache: AsyncCache[Value] = AsyncCache(
            clock, max_entries=max_entries, keys_of=_names, version_of=lambda v: v.number, notify=self._told, rng=rng
        )
        self.turn = self.closed_turn = 0
        self.fetches: list[Fetch] = []
        self.invalidated: dict[str, tuple[int, float]] = {}
        self.due: dict[str, int] = {}
        """The names whose next fetch must go past caches, and since when."""
        self.refused: dict[str, Fetch] = {}
        self.newest: dict[str, int] = {}
        self.evicted: dict[str, int] = {}
        self.names: dict[str, set[str]] = {}
        self.readers: dict[tuple[str, int, bool], Reader[Value]] = {}
        self.reads = 0
        self.broken: list[str] = []
        """What a fetch found: raised there, it would be taken for its failure."""

    # What happens

    def reader(self, asked: str, policy: int, *, forced: bool = False) -> Reader[Value]:
        """Return the one reader of a key and a policy."""
        known = (asked, policy, forced)
        if known not in self.readers:
            fetch = functools.partial(self._fetch, asked, self.policies[policy], forced=forced)
            self.readers[known] = Reader(self.cache, asked, fetch, self.policies[policy])
        return self.readers[known]

    async def get(self, asked: str, policy: int) -> None:
        """Read, and check what comes back."""
        call = self._call(asked, policy)
        try:
            value = await self.reader(asked, policy).get()
        except PoolClosedError:
            assert self.closed_turn, "nobody closed it"
        except CredentialsError as error:
            self._check_error(call, error)
        except ZeroDivisionError as error:
            self._waited_for(call, int(str(error)))
        else:
            self._check_value(call, value)
        self.check()

    async def refresh(self, asked: str) -> None:
        """Force a refresh, and check that what comes back began after the call."""
        call = self._call(asked, 0)
        try:
            number = (await self.reader(asked, 0, forced=True).refresh()).number
        except PoolClosedError:
            assert self.closed_turn, "nobody closed it"
        except (CredentialsError, ZeroDivisionError) as error:
            number = int(getattr(error, "code", None) or str(error))
            self._began_after(call, number)
        else:
            self._began_after(call, number)
            self._given(call, number)
        self.check()

    def invalidate(self, asked: str) -> None:
        """Invalidate by any name: it holds for each, also where no value has said yet which names are one."""
        known = self.cache.entry(asked)
        self.cache.invalidate(asked)
        turn = self._next()
        self.invalidated[_key(asked)] = (turn, self.clock())
        self.due |= dict.fromkeys(map(str, known.aliases if known else (asked,)), turn)
        entry = self.cache.entry(asked)
        assert entry is None or entry.value is None, "still there"
        self.check()

    async def close(self) -> None:
        """Close; whatever is called from now on is refused."""
        self.closed_turn = self._next()
        await self.cache.aclose()
        assert len(self.cache) == 0
        assert not any(one.running for one in self.fetches), "a fetch goes on after close"

    # What is true

    def check(self) -> None:
        """Check what always holds."""
        cache = self.cache
        assert not self.broken, self.broken
        assert len(cache) <= self.max_entries, "more entries than allowed"
        entries = {id(entry): entry for entry in cache._table.by_key.values()}.values()
        valued = [entry for entry in entries if entry.value is not None]
        assert len(valued) == len(cache), "the count of values is wrong"
        assert len(entries) <= 2 * self.max_entries, "more keys without a value than allowed"
        for shelf, kept in (
            (cache._table.values, valued),
            (cache._table.blanks, [e for e in entries if e.value is None]),
        ):
            assert len(shelf._heap) <= self.max_entries + 1, "the bookkeeping of uses grows"
            assert all(entry.place.shelf is shelf for entry in kept), "an entry that is gone is still found"
            places = [item.place for item in shelf._heap]
            assert {id(place.entry) for place in places if place.entry} == set(map(id, kept))
            assert {id(place) for place in places if not place.entry} == set(map(id, shelf._free))
            assert all(place.noted_use <= place.entry.last_used() for place in places if place.entry)
        assert all(key in entry.keys for key, entry in cache._table.by_key.items())
        groups = cache._table.groups
        grouped = {key for group in groups._first for key in groups.keys_in(group)}
        assert grouped == set(cache._table.by_key), "the groups are wrong"
        assert all(groups._more.values()), "an empty group is kept"
        assert not cache.flights.invalidations._marks or cache.flights._under_way, "marks are kept for nothing"
        for reader in self.readers.values():
            held = cache.entry(reader.key)
            if reader.lease.value is not None:
                assert held is not None
                assert reader.lease.value is held.value, "a lease outlived its entry"

    def check_end(self) -> None:
        """Check that nothing is left."""
        self.check()
        for _, state in self.cache.flights._loops.living():
            assert not state.by_key
            assert not state.tasks
        assert not self.cache.flights._under_way
        assert not self.cache.flights.invalidations._marks
        assert self.cache.reads(0) + self.cache.reads(1) <= self.reads

    async def _fetch(self, asked: str, policy: CachePolicy, *, forced: bool, past_caches: bool) -> Value:
        one = self._begin(asked, policy, forced=forced)
        # Too many entries without a value push out what is known of an invalidation.
        is_due = asked in self.due and self.cache.entry(asked) is not None and not self._gone(one)
        if not past_caches and (forced or is_due):
            self.broken.append(f"the fetch of {asked} may be answered by a cache")
        try:
            one.error = await self.source(one)
        finally:
            one.ended, one.ended_turn = self.clock(), self._next()
        if one.error is None:
            names = _names("", Value(one.key, one.number))
            self.due = {name: turn for name, turn in self.due.items() if name not in names or turn > one.began_turn}
            return Value(one.key, one.number)
        if one.error is SecretNotFoundError:
            self.refused[one.asked] = one
        if issubclass(one.error, CredentialsError):
            raise one.error("No.", code=str(one.number))
        raise one.error(str(one.number))

    def _begin(self, asked: str, policy: CachePolicy, *, forced: bool) -> Fetch:
        task = asyncio.current_task()
        assert task is not None
        key, time = _key(asked), self.clock()
        entry = self.cache.entry(asked)
        # What was invalidated goes on for those who wait for it. Before a value has come, nobody knows which names are
        # one: each has a fetch of its own.
        running = [other for other in self.fetches if other.key == key and other.running and not self._gone(other)]
        self.names.setdefault(key, set()).add(asked)
        if len(running) >= len(self.names[key]):
            self.broken.append(f"two fetches of {asked} at once")
        # Where nothing is left to serve, it asks at once.
        serves = entry is not None and entry.stale_ok and time - entry.born <= float(policy.max_stale)  # type: ignore[arg-type]
        if entry is not None and not forced and serves and _backs_off(entry):
            gap = time - entry.failed_at
            # That of another name may have failed between this one's registering and its first step.
            self.broken += ["no back-off"] * (gap < FIRST_BACKOFF and (gap > 0 or len(self.names[key]) == 1))
        one = Fetch(asked, key, len(self.fetches), forced, time, self._next(), task)
        self.fetches.append(one)
        return one

    def _call(self, asked: str, policy: int) -> Call:
        self.reads += 1
        key, time, entry = _key(asked), self.clock(), self.cache.entry(asked)
        age = time - entry.born if entry is not None and entry.value is not None else float("inf")
        return Call(asked, key, self.policies[policy], self._next(), time, entry, age, dict(self.newest))

    def _check_value(self, call: Call, value: Value) -> None:
        time, policy, one = self.clock(), call.policy, self.fetches[value.number]
        ttl, max_stale, patience = (float(x) for x in (policy.ttl, policy.max_stale, policy.patience))  # type: ignore[arg-type]
        assert not self.closed_turn or call.turn < self.closed_turn, "served after close"
        assert value.key == one.key == call.key, "somebody else's value"
        invalidated = self.invalidated.get(call.key, (0, 0.0))[0]
        assert not one.began_turn < invalidated < call.turn, "invalidated before the call, and served"
        age, waited = time - one.began, one.ended_turn > call.turn or one.ended == call.at
        assert waited or age < ttl or age <= max_stale, f"too old: {age}"
        if not waited and age >= ttl:
            no = self.refused.get(call.asked)
            later = no is not None and no.began_turn > one.began_turn and no.ended_turn > one.ended_turn
            assert not later or no is None or no.ended == call.at, "stale in spite of a permanent answer"
        # How long it took
        took, disturbed = time - call.at, self._disturbed(call)
        if call.age < call.ttl:
            assert took == 0, "a reader with a fresh value waited"
        elif call.entry is not None and call.entry.stale_ok and call.age + patience <= max_stale and not disturbed:
            assert took <= patience + 1e-9, f"waited {took}"
        self._given(call, value.number)

    def _check_error(self, call: Call, error: CredentialsError) -> None:
        time, policy = self.clock(), call.policy
        one = self.fetches[int(error.code or "-1")]
        assert one.key == call.key
        assert one.error is not None
        assert call.age >= call.ttl, "an error reached a reader with a fresh value"
        if isinstance(error, SecretExpiredError):
            assert isinstance(error.reason, ThrottledError)
            return
        assert type(error) is one.error
        if error.transient:
            self._waited_for(call, one.number)
        else:
            assert one.ended is not None
            recent = time - one.ended < float(policy.negative_ttl)  # type: ignore[arg-type]
            assert recent or one.ended_turn > call.turn or one.ended == call.at, "an old failure"

    def _waited_for(self, call: Call, number: int) -> None:
        one = self.fetches[number]
        # It has ended a moment before it has landed.
        assert one.ended_turn > call.turn or one.ended == call.at, "the error of an earlier fetch"

    def _began_after(self, call: Call, number: int) -> None:
        one = self.fetches[number]
        assert one.key == call.key
        assert one.began_turn > call.turn, "a refresh got what was there, or under way, before it"

    def _given(self, call: Call, number: int) -> None:
        one = self.fetches[number]
        if self._gone(one):
            return  # it is for those alone who waited for it
        asked = one.asked
        # After an eviction nobody knows any more that two names are one: a fetch by the other may still be under way.
        forgotten = call.key in self.evicted and len(self.names[call.key]) > 1
        assert forgotten or number >= call.newest.get(asked, -1), "time went backwards"
        self.newest[asked] = max(number, self.newest.get(asked, -1))

    def _gone(self, one: Fetch) -> bool:
        """Tell whether a fetch was given up by an invalidation. It is registered a moment before it begins."""
        return self.invalidated.get(one.key, (0, -1.0))[1] >= one.began

    def _disturbed(self, call: Call) -> bool:
        """Tell whether the value that the call found was taken away meanwhile, as it should be."""
        return (
            self.invalidated.get(call.key, (0, 0.0))[0] > call.turn
            # A refusal by another name isn't for this caller: it waits for a fetch of its own.
            or any(no.key == call.key and (no.ended or 0) >= call.at for no in self.refused.values())
            or self.evicted.get(call.key, 0) > call.turn
        )

    def _told(self, what: str, key: Hashable, **_: object) -> None:
        if what == "evicted":
            self.evicted[_key(str(key))] = self._next()

    def _next(self) -> int:
        self.turn += 1
        return self.turn


def _backs_off(entry: Entry[Value]) -> bool:
    """Tell whether a value is there, and refreshing it failed in a way that may pass."""
    return entry.value is not None and entry.failure is not None and entry.failure.transient


def _key(asked: str) -> str:
    return asked.removesuffix(ALIAS)


def _names(_: Hashable, value: Value) -> tuple[Hashable, ...]:
    return (value.key, value.key + ALIAS)
