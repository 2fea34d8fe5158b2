"""The cache is bounded: the least recently used value goes first, and failures push none out."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import given, settings, strategies as st

from aiocredentials import CachePolicy, SecretNotFoundError
from aiocredentials._cache import HIT, AsyncCache, Reader
from unit.cache_kit import AHEAD, PLAIN, Source, Told, make
from unit.cache_model import Clock, virtual


class Model:
    """The least recently used goes first: the plainest way to say so."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: list[int] = []

    def use(self, key: int) -> bool:
        """Use a key; return whether it was there."""
        hit = key in self.kept
        if hit:
            self.kept.remove(key)
        self.kept = [*self.kept, key][-self.size :]
        return hit

    def forget(self, key: int) -> None:
        """Drop a key."""
        if key in self.kept:
            self.kept.remove(key)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 6),
    uses=st.lists(st.tuples(st.sampled_from(["get", "get", "refuse", "invalidate"]), st.integers(0, 9)), max_size=150),
)
def test_least_recently_used(size: int, uses: list[tuple[str, int]]) -> None:
    """Promise 15: the values that are kept are what a list of the last uses says; failures push none of them out."""

    async def main() -> None:
        clock, model, sources = Clock(), Model(size), [Source(takes=0) for _ in range(10)]
        cache: AsyncCache[int] = AsyncCache(clock, max_entries=size, rng=lambda: 0.0)
        policy = CachePolicy(ttl=1e6, max_stale=1e6, jitter=0, negative_ttl=1e6)
        readers = [Reader(cache, key, source, policy) for key, source in enumerate(sources)]
        for what, key in uses:
            clock.now += 1
            entry = cache.entry(key)
            if what == "invalidate":
                cache.invalidate(key)
                model.forget(key)
            elif what == "refuse":
                sources[key].error = SecretNotFoundError("No.")
                with contextlib.suppress(SecretNotFoundError):
                    await readers[key].refresh()
                model.forget(key)
            elif entry is None or entry.failure is None:
                sources[key].error = None
                await readers[key].get()
                model.use(key)
            valued = {key for key, entry in cache._table.by_key.items() if entry.value is not None}
            assert valued == set(model.kept)
            assert len(cache) == len(model.kept)
            assert len(cache._table.by_key) <= 2 * size
            assert max(len(cache._table.values._heap), len(cache._table.blanks._heap)) <= size + 1

    asyncio.run(main())


@virtual
async def test_evictions() -> None:
    """Promise 15: each eviction is told; an evicted value isn't served, by a lease neither."""
    told = Told()
    cache = make(notify=told, max_entries=2)
    readers = [Reader(cache, key, Source(takes=0), PLAIN) for key in range(3)]
    for reader in (readers[0], readers[1], readers[0], readers[2]):
        await reader.get()
        await asyncio.sleep(1)
    assert told.news[-2:] == [("evicted", 1), ("fetched", 2)]
    assert (readers[1].lease.value, readers[0].lease.value) == (None, 1)
    assert (len(cache), cache.reads(HIT)) == (2, 1)


@virtual
async def test_a_refresh_is_no_use() -> None:
    """Promise 15: a value that is refreshed in the background, and read by nobody since, keeps its place."""
    told = Told()
    cache, slow = make(notify=told, max_entries=2), Source()
    first = Reader(cache, "first", slow, AHEAD)
    await first.get()
    await asyncio.sleep(85)
    slow.takes = 5
    await first.get()
    await asyncio.sleep(1)
    await Reader(cache, "second", Source(), AHEAD).get()
    await asyncio.sleep(10)
    assert slow.fetches == 2
    await Reader(cache, "third", Source(), AHEAD).get()
    assert told.news[-2:] == [("evicted", "first"), ("fetched", "third")]


@virtual
async def test_evicted_while_a_listener_hears_of_it() -> None:
    """Promise 15: a listener may call in at any time, and nothing is lost by that."""
    told = Told()
    cache = make(notify=told, max_entries=2)

    def react(what: str, key: object) -> None:
        if what == "evicted":
            for other in range(40, 80):
                cache.invalidate(key, other)

    told.react = react
    for key in range(40):
        await Reader(cache, key, Source(takes=0), PLAIN).get()
        assert len(cache) <= 2
        kept = {id(item.place.entry) for item in cache._table.values._heap if item.place.entry}
        assert len(kept) == len(cache)
    assert told.count("evicted") == 38


@virtual
async def test_many_changes_of_few_keys() -> None:
    """Promise 15: what is kept of uses doesn't grow with the number of changes."""
    cache = make(max_entries=100)
    reader = Reader(cache, "key", Source(takes=0), PLAIN)
    for _ in range(500):
        await reader.refresh()
        assert len(cache._table.values._heap) == 1
