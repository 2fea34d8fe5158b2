"""With very many secrets, no single step takes longer: nothing walks over all of them, and others get their turn."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
from hypothesis import given, settings, strategies as st

from aiocredentials import CachePolicy, CredentialsPool, _prefetch
from aiocredentials._cache import HIT, STALE, AsyncCache, Flight, Reader, shelf
from aiocredentials._cache.entries import Entry
from aiocredentials._cache.flights import Flights
from aiocredentials._cache.groups import Groups
from aiocredentials._cache.shelf import MOST_CORRECTIONS
from aiocredentials.testing import FakeSecretsManager
from unit.cache_kit import PLAIN, Source, make
from unit.cache_model import Clock, virtual

if TYPE_CHECKING:
    from collections.abc import Iterator


class NoWalk(dict[Any, Any]):
    """A dict that is never walked over."""

    def _refuse(self, *_: object) -> NoReturn:
        raise AssertionError("something walks over all entries")

    __iter__ = keys = values = items = copy = _refuse  # type: ignore[assignment]


def names(count: int) -> list[str]:
    """Make names."""
    return [f"app/{number:05}" for number in range(count)]


@pytest.fixture
def aws() -> FakeSecretsManager:
    """Return a fake with 250 secrets."""
    fake = FakeSecretsManager()
    for name in names(250):
        fake.set(name, {"name": name})
    return fake


async def test_no_walk_over_all_secrets(aws: FakeSecretsManager) -> None:
    """`stats()`, `invalidate(if_version=)`, a fetch, a refresh and an eviction look at their own secret alone."""
    async with CredentialsPool(session=aws, max_secrets=250) as pool:
        await pool.prefetch(*names(250))
        table = pool._store.cache._table
        table.by_key = NoWalk(table.by_key)
        table.groups._first = NoWalk(table.groups._first)
        manager = pool.manager("app/00007")
        version = (await manager.secret()).version_id
        assert (await manager.secret()).version_id == version
        assert pool.stats().hits == 2

        manager.invalidate(if_version="another")
        assert pool.stats().entries == 250
        manager.invalidate(if_version=version)
        assert pool.stats().entries == 249
        await manager.secret()
        await manager.refresh()

        aws.set("app/one-more", "value")
        await pool.manager("app/one-more").secret()
        assert pool.stats().entries == 250
        # Closing may walk over all of them.
        table.by_key = dict(dict.items(table.by_key))


def test_reads_are_counted_in_one_place() -> None:
    """All leases of one kind share a counter, and it counts on after they have ended."""

    async def main() -> None:
        cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=10)
        readers = [Reader(cache, key, Source(takes=0), PLAIN) for key in range(3)]
        for reader in readers * 3:
            await reader.get()
        assert {id(reader.lease.count) for reader in readers} == {id(cache.read_counts[HIT])}
        assert cache.reads(HIT) == 6
        cache.clear()
        assert cache.reads(HIT) == 6

    asyncio.run(main())


@virtual
async def test_a_value_that_is_served_stale_for_long() -> None:
    """A value that is served for an hour while its refresh hangs keeps few leases, and the time of its last use."""
    cache, source = make(), Source(takes=0)
    reader = Reader(cache, "key", source, CachePolicy(ttl=100, jitter=0, refresh_ahead=None, patience=0.5))
    await reader.get()
    source.takes = 10_000
    await asyncio.sleep(100)
    for _ in range(1000):
        assert await reader.get() == 1
        await asyncio.sleep(1.5)
        entry = cache.entry("key")
        assert entry is not None
        assert len(entry.leases) <= 2
        assert entry.last_used() == asyncio.get_running_loop().time() - 1.5
    # The hits of the first lease, and a stale read per turn.
    assert cache.reads(STALE) == 1000
    await cache.aclose()
    assert (entry.leases, reader.lease.value) == ((), None)


def test_groups() -> None:
    """The keys of a group are all that were added and not removed, in any order; nothing is left of an empty group."""

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3))))
    def check(steps: list[tuple[bool, int, int]]) -> None:
        groups = Groups(lambda key: cast("tuple[int, int]", key)[0])
        model: set[tuple[int, int]] = set()
        for is_added, group, number in steps:
            key = (group, number)
            if is_added:
                groups.add(key)
                model.add(key)
            elif key in model:
                groups.remove(key)
                model.remove(key)
            for each in range(4):
                keys = groups.keys_in(each)
                assert sorted(keys) == sorted(key for key in model if key[0] == each)
            assert set(groups._first) == {group for group, _ in model}
            assert all(groups._more.values())

    check()


class Looks:
    """Counts how often an eviction asks an entry when it was used last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        last_used = Entry.last_used

        def counted(entry: Entry[int]) -> float:
            self.count += 1
            return last_used(entry)

        monkeypatch.setattr(Entry, "last_used", counted)


@pytest.mark.parametrize("size", [MOST_CORRECTIONS - 1, 1000])
async def test_evictions_among_many(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 15: an eviction looks at a bounded number of entries, and evicts one of the least recently used."""
    monkeypatch.setattr(shelf, "random", random.Random(13))  # noqa: S311 (it guards nothing)
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=size)
    readers = [Reader(cache, key, Source(takes=0), PLAIN) for key in range(size)]
    for reader in readers:
        await reader.get()
    # Hits, which the shelf doesn't notice.
    order = random.Random(13).sample(range(size), size)  # noqa: S311 (the order guards nothing)
    for key in order:
        clock.now += 0.001
        await readers[key].get()

    looks = Looks(monkeypatch)
    for number in range(size // 2):
        clock.now += 0.001
        looks.count = 0
        await Reader(cache, ("new", number), Source(takes=0), PLAIN).get()
        assert looks.count <= 2 * MOST_CORRECTIONS + 2
        [evicted] = [key for key in order if cache.entry(key) is None]
        place = order.index(evicted)
        order.remove(evicted)
        # The place counts from the least recently used one on. Among 128 random ones there is
        # one of the last sixth, except in one of ten billion cases.
        assert place <= (0 if size < MOST_CORRECTIONS else size / 6)
    assert len(order) == size - size // 2


async def test_secrets_that_nobody_reads_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 15: of a thousand secrets, those that were never read again are evicted, and not those in use."""
    monkeypatch.setattr(shelf, "random", random.Random(13))  # noqa: S311 (it guards nothing)
    clock = Clock()
    cache: AsyncCache[int] = AsyncCache(clock, max_entries=1000)
    readers = [Reader(cache, key, Source(takes=0), PLAIN) for key in range(1000)]
    for reader in readers:
        await reader.get()
    for reader in readers[:900]:
        clock.now += 0.001
        await reader.get()
    for number in range(50):
        await Reader(cache, ("new", number), Source(takes=0), PLAIN).get()
    assert [key for key in range(900) if cache.entry(key) is None] == []


async def test_the_heap_has_no_dead_places() -> None:
    """Promise 15: refreshes, invalidations and failures leave nothing behind that must be cleaned up later."""
    cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=50)
    readers = [Reader(cache, key, Source(takes=0), PLAIN) for key in range(60)]
    for number in range(600):
        reader = readers[number * 7 % 60]
        await reader.refresh()
        if number % 5 == 0:
            cache.invalidate(reader.key)
        assert len(cache._table.values._heap) <= 51
        assert len(cache._table.blanks._heap) <= 51


async def test_a_slow_read_takes_a_lease(aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """The read after a fetch is a hit at once: it takes no look at the cache, whatever kind of read it is."""
    async with CredentialsPool(session=aws) as pool:
        manager = pool.manager("app/00001")
        decoding = pool.manager("app/00002", decode=str)
        forced = pool.manager("app/00003")
        await manager.secret()
        await decoding.get()
        await forced.refresh()

        async def refuse(_: object) -> NoReturn:
            raise AssertionError("the read looks at the cache")

        monkeypatch.setattr(Reader, "_get_slowly", refuse)
        await manager.secret()
        await manager.retrieve_secret_string()
        await decoding.get()
        await forced.secret()
        assert decoding._hit is not None


# Prefetching


class Turns:
    """Counts the turns of the loop, and how many flights begin in each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.begun: dict[int, int] = {}
        self.batches: list[int] = []
        begin_batch = Flights.begin_batch

        def noted(flights: Flights[Any], keys: Any, fetch: Any) -> list[Flight[Any]]:  # noqa: ANN401 (as the original)
            self.begun[self.number] = self.begun.get(self.number, 0) + len(keys)
            self.batches.append(len(keys))
            return begin_batch(flights, keys, fetch)

        monkeypatch.setattr(Flights, "begin_batch", noted)
        self._next()

    def _next(self) -> None:
        self.number += 1
        self.handle = asyncio.get_running_loop().call_soon(self._next)


@pytest.fixture
async def turns(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 (a generator of turns)
    """Count turns."""
    counted = Turns(monkeypatch)
    yield counted
    counted.handle.cancel()


async def test_a_prefetch_lets_others_run(
    aws: FakeSecretsManager, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefetch of many names begins a bounded number of fetches per turn, in full batches; so it ends them."""
    monkeypatch.setattr(_prefetch, "_NAMES_PER_TURN", 50)
    ended: dict[int, int] = {}
    is_stored = _prefetch._Prefetch._is_stored

    def noted(prefetch: _prefetch._Prefetch, request: Any, flight: Flight[Any]) -> bool:  # noqa: ANN401 (as above)
        ended[turns.number] = ended.get(turns.number, 0) + 1
        return is_stored(prefetch, request, flight)

    monkeypatch.setattr(_prefetch._Prefetch, "_is_stored", noted)
    async with CredentialsPool(session=aws) as pool:
        await pool.prefetch(*names(250))
        assert max(turns.begun.values()) <= 60
        assert turns.batches == [20] * 12 + [10]
        assert sum(ended.values()) == 250
        assert max(ended.values()) <= 50

        before = turns.number
        await pool.prefetch(*names(250))
        assert turns.number - before >= 4
        assert len(turns.batches) == 13


async def test_a_name_that_another_task_asks_meanwhile(aws: FakeSecretsManager, turns: Turns) -> None:
    """Promise 1: a secret that another task begins to fetch between two turns of a prefetch isn't fetched twice."""
    async with CredentialsPool(session=aws) as pool:
        wanted = names(219)
        manager = pool.manager(wanted[-1], "us-east-1")
        # Ten batches begin in the first turn. Nineteen names are left then.
        await asyncio.gather(pool.prefetch(*wanted), manager.secret())
        assert pool.stats().fetches == 219
        assert turns.batches == [20] * 10 + [18]


@pytest.mark.parametrize("turn", [1, 2, 3, 4, 6])
async def test_a_cancelled_prefetch(aws: FakeSecretsManager, turns: Turns, turn: int) -> None:
    """Promise 2: whenever the caller is cancelled, the calls for all names continue."""
    async with CredentialsPool(session=aws) as pool:
        await pool.manager("app/00000").get()
        before = turns.number
        prefetching = asyncio.create_task(pool.prefetch(*names(250), *names(250)))
        while turns.number < before + turn and not prefetching.done():  # noqa: ASYNC110 (turns are counted)
            await asyncio.sleep(0)
        prefetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await prefetching
        assert sum(turns.batches) == 249
        while pool.stats().entries < 250:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0)


async def test_a_short_prefetch_begins_at_once(aws: FakeSecretsManager, turns: Turns) -> None:
    """Up to two hundred names are asked before another task runs, so a reader that starts later joins the batches."""
    async with CredentialsPool(session=aws) as pool:
        prefetching = asyncio.create_task(pool.prefetch(*names(99)))
        reading = [asyncio.create_task(pool.manager(name).secret()) for name in names(99)]
        await asyncio.gather(prefetching, *reading)
        assert turns.batches == [20, 20, 20, 20, 19]
        assert pool.stats().fetches == 99


def test_what_is_taken_from_the_front() -> None:
    """Fetches and marks that are deleted oldest first are in an OrderedDict: a dict would be searched each time."""

    async def main() -> Iterator[object]:
        cache: AsyncCache[int] = AsyncCache(Clock(), max_entries=1)
        return iter([cache.flights._under_way, cache.flights.invalidations._marks])

    for each in asyncio.run(main()):
        assert type(each) is OrderedDict
