"""What the tests of the cache share: a source that is fetched from, a listener, policies and short calls."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

from aiocredentials import CachePolicy, ThrottledError
from aiocredentials._cache import AsyncCache, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

PLAIN = CachePolicy(ttl=100, jitter=0, refresh_ahead=None, patience=0.5, max_stale=1000, negative_ttl=5)
AHEAD = CachePolicy(ttl=100, jitter=0, refresh_ahead=0.8, patience=0.5, max_stale=1000, negative_ttl=5)


class Source:
    """What is behind the cache: brings the number of each fetch, after `takes` seconds, or fails with `error`."""

    def __init__(self, *, takes: float = 0.1) -> None:
        self.takes = takes
        self.error: Exception | None = None
        self.began: list[float] = []
        self.past_caches: list[bool] = []
        self.ended = 0
        self.cancelled = 0
        self.end = asyncio.Event()

    async def __call__(self, *, past_caches: bool) -> int:
        """Fetch."""
        self.past_caches.append(past_caches)
        self.began.append(asyncio.get_running_loop().time())
        number = len(self.began)
        try:
            await asyncio.sleep(self.takes)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended += 1
            self.end.set()
        if self.error is not None:
            raise copy.copy(self.error)  # a new one each time, as real ones are
        return number

    @property
    def fetches(self) -> int:
        """How many there were."""
        return len(self.began)


class Told:
    """Keeps what the cache tells."""

    def __init__(self) -> None:
        self.news: list[tuple[str, Any]] = []
        self.facts: list[dict[str, Any]] = []
        self.react: Callable[[str, Any], None] = lambda *_: None

    def __call__(self, what: str, key: Hashable, **facts: Any) -> None:  # noqa: ANN401 (whatever belongs to it)
        """Hear something."""
        self.news.append((what, key))
        self.facts.append(facts)
        self.react(what, key)

    def count(self, what: str) -> int:
        """Count what was told."""
        return sum(heard == what for heard, _ in self.news)


def make(*, max_entries: int = 100, rng: Callable[[], float] = lambda: 0.0, **more: Any) -> AsyncCache[int]:  # noqa: ANN401 (AsyncCache's own)
    """Return a cache that runs by the loop's clock, and rolls no dice."""
    return AsyncCache(asyncio.get_running_loop().time, max_entries=max_entries, rng=rng, **more)


def throttled() -> ThrottledError:
    """Return a transient error."""
    return ThrottledError("Slow down.", secret_name="prod/db", region_name="eu-west-1", code="ThrottlingException")


async def outcomes(calls: Any) -> list[Any]:  # noqa: ANN401 (any awaitables)
    """Wait for all; return values and exceptions."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def served(reader: Reader[int]) -> tuple[float, int]:
    """Read; return how long that took, and what it brought."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    value = await reader.get()
    return round(loop.time() - before, 6), value


def names(_: Hashable, value: int) -> tuple[str, ...]:
    """Give all names of a value: up to 99 it is the one that was called so first, then another took over "name"."""
    return ("arn", "name") if value < 100 else ("arn2", "name")
