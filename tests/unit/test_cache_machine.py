"""Hypothesis drives the cache by hand, one event at a time, and shrinks what breaks a promise to a few steps."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aiocredentials import CachePolicy, SecretNotFoundError, ThrottledError
from unit.cache_model import ALIAS, Fetch, World
from unit.virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

POLICIES = [
    CachePolicy(ttl=10, jitter=0.2, refresh_ahead=0.5, patience=0.5, max_stale=60, negative_ttl=3),
    CachePolicy(ttl=20, jitter=0, refresh_ahead=None, patience=0, max_stale=0, negative_ttl=10),
]
KEYS = st.sampled_from(["a", "a" + ALIAS, "b"])
FAILURES = st.sampled_from([ThrottledError, SecretNotFoundError, ZeroDivisionError])


class CacheMachine(RuleBasedStateMachine):
    """Calls and fetches are begun and ended by rules; each one hangs until its rule comes."""

    @initialize(seed=st.integers(0, 2**16), size=st.integers(1, 3))
    def open(self, seed: int, size: int) -> None:
        """Begin with an empty cache on a loop of its own."""
        self.loop = VirtualTimeLoop(seed, max_steps=1_000_000)
        self.gates: list[tuple[Fetch, asyncio.Future[type[Exception] | None]]] = []
        self.calls: list[asyncio.Task[None]] = []
        self.told: Counter[str] = Counter()
        self.closed = False
        self.world = World(self.loop.time, self._source, POLICIES, max_entries=size, rng=lambda: 0.5)

    async def _source(self, one: Fetch) -> type[Exception] | None:
        gate: asyncio.Future[type[Exception] | None] = asyncio.get_running_loop().create_future()
        self.gates.append((one, gate))
        try:
            return await gate
        finally:
            self.gates.remove((one, gate))

    def _pass(self, seconds: float) -> None:
        """Let time pass, and everything run that can; a call that found a broken promise fails here."""
        self.loop.run_until_complete(asyncio.sleep(seconds + 0.001))
        for call in [call for call in self.calls if call.done()]:
            self.calls.remove(call)
            if not call.cancelled():
                call.result()

    def _begin(self, call: Coroutine[object, object, None]) -> None:
        self.calls.append(self.loop.create_task(call))
        self._pass(0)

    @rule(key=KEYS, policy=st.integers(0, 1), herd=st.integers(1, 3))
    def get(self, key: str, policy: int, herd: int) -> None:
        """Begin some reads."""
        for _ in range(herd):
            self._begin(self.world.get(key, policy))

    @rule(key=KEYS)
    def refresh(self, key: str) -> None:
        """Begin a forced refresh."""
        self._begin(self.world.refresh(key))

    @precondition(lambda self: not self.closed)
    @rule(key=KEYS)
    def invalidate(self, key: str) -> None:
        """Invalidate."""
        self.world.invalidate(key)
        self._pass(0)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a call."""
        data.draw(st.sampled_from(self.calls)).cancel()
        self._pass(0)

    @precondition(lambda self: self.gates)
    @rule(data=st.data())
    def rotate(self, data: st.DataObject) -> None:
        """End a fetch well: each one brings a new version."""
        _, gate = data.draw(st.sampled_from(self.gates))
        gate.set_result(None)
        self._pass(0)

    @precondition(lambda self: self.gates)
    @rule(data=st.data(), failure=FAILURES)
    def fail(self, data: st.DataObject, failure: type[Exception]) -> None:
        """End a fetch badly."""
        _, gate = data.draw(st.sampled_from(self.gates))
        gate.set_result(failure)
        self._pass(0)

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0, 5.0, 10.0, 61.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._pass(seconds)

    @precondition(lambda self: not self.closed)
    @rule(others=st.integers(1, 3))
    def evict(self, others: int) -> None:
        """Read other keys, which are answered at once and need room."""
        for number in range(others):
            self._begin(self.world.get(f"other{number}", 1))
            for one, gate in list(self.gates):
                if one.asked == f"other{number}" and not gate.done():
                    gate.set_result(None)
            self._pass(0)

    @precondition(lambda self: not self.closed)
    @rule(sure=st.integers(0, 4))
    def close(self, sure: int) -> None:
        """Close, now and then; what is called afterwards is refused."""
        if sure == 0:
            self.closed = True
            self.loop.run_until_complete(self.world.close())
            self._pass(0)
            assert not self.calls
            assert not self.loop.pending_tasks()

    @invariant()
    def holds(self) -> None:
        """Check what always holds."""
        self.world.check()
        assert len([one for one, _ in self.gates]) <= 2 * len({one.asked for one, _ in self.gates}) + len(self.calls)

    def teardown(self) -> None:
        """Close: nothing is left."""
        self.loop.run_until_complete(self.world.close())
        self._pass(0)
        assert not self.calls
        assert not self.loop.pending_tasks()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.world.check_end()
        assert not self.loop.unretrieved()
        self.loop.close()


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.__doc__ = "No promise breaks, whatever the order of events: calls, ends of fetches, time."
TestCacheMachine.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
