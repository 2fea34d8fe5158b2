"""Random programs against the cache, under random schedules: no promise breaks in any of them."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import TYPE_CHECKING

import pytest

from aiocredentials import CachePolicy, CredentialsError, SecretNotFoundError, ThrottledError
from unit.cache_model import ALIAS, Fetch, World
from unit.virtual_time import VirtualTimeLoop, run

if TYPE_CHECKING:
    from collections.abc import Coroutine

POLICIES = [
    CachePolicy(ttl=10, jitter=0.1, refresh_ahead=0.7, patience=0.5, max_stale=60, negative_ttl=3),
    CachePolicy(ttl=4, jitter=0, refresh_ahead=None, patience=0, max_stale=8, negative_ttl=0),
    CachePolicy(ttl=30, jitter=0.5, refresh_ahead=0.2, patience=2, max_stale=0, negative_ttl=10),
]
# Most pauses are none or short, so that much happens at once; the long ones let values grow old.
PAUSES = (0.0, 0.0, 0.0, 0.1, 0.5, 1.0, 2.5, 7.0, 20.0, 70.0)
SHORT = 500


class Program:
    """Some tasks that read, refresh, invalidate and cancel, and a slow, failing or hanging source, out of a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 (it shuffles, it guards nothing)
        self.health = self.random.choice((0.5, 0.8, 1.0))
        self.keys = self.random.choice((["a", "a" + ALIAS], ["a", "b", "c", "c" + ALIAS]))

    async def source(self, _: Fetch) -> type[Exception] | None:
        """Take some time, and answer, fail or hang."""
        chance = self.random.random
        await asyncio.sleep(self.random.choice((0.0, 0.0, 0.2, 0.4, 1.0, 3.0)) if chance() > 0.05 else 40.0)
        if chance() < self.health:
            return None
        return self.random.choice((ThrottledError, ThrottledError, SecretNotFoundError, ZeroDivisionError))

    async def actor(self, world: World) -> None:
        """Do a few things one after the other."""
        for _ in range(self.random.randint(3, 10)):
            await asyncio.sleep(self.random.choice(PAUSES))
            await self.step(world, self.random.choice(self.keys))

    async def step(self, world: World, key: str) -> None:
        """Do one thing."""
        match self.random.choice(
            ("get",) * 9 + ("herd", "herd", "refresh", "refresh", "invalidate", "cancel", "cancel")
        ):
            case "get":
                await world.get(key, self.random.randrange(len(POLICIES)))
            case "herd":
                policy = self.random.randrange(len(POLICIES))
                await asyncio.gather(*(world.get(key, policy) for _ in range(5)), world.refresh(key))
            case "refresh":
                await world.refresh(key)
            case "invalidate":
                world.invalidate(key)
            case _:
                await self.cancelled(world.get(key, 0) if self.random.random() < 0.7 else world.refresh(key))

    async def cancelled(self, call: Coroutine[object, object, None]) -> None:
        """Begin a call and give it up, at a random time."""
        task = asyncio.create_task(call)
        await asyncio.sleep(self.random.choice((0.0, 0.0, 0.1, 0.5, 2.0)))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def play(seed: int) -> int:
    """Play one program to its end; return how many steps it took."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    program = Program(seed)
    world = World(
        loop.time, program.source, POLICIES, max_entries=program.random.choice((1, 2, 8)), rng=program.random.random
    )
    async with asyncio.TaskGroup() as group:
        for _ in range(program.random.randint(2, 6)):
            group.create_task(program.actor(world))
        if program.random.random() < 0.2:
            await asyncio.sleep(program.random.choice(PAUSES))
            await world.close()
    await world.close()
    with pytest.raises(CredentialsError, match="closed"):
        await world.reader("a", 0).get()
    world.check_end()
    return loop.steps


def explore(schedules: int, first: int = 0) -> int:
    """Play many programs, each under its own schedule; return how many steps they took in all."""
    return sum(run(play(seed), seed=seed, leave_nothing=True) for seed in range(first, first + schedules))


@pytest.mark.exhaustive
def test_no_promise_breaks_in_any_schedule() -> None:
    """Whatever many tasks do at once, and however the source behaves, what each one gets is what was promised."""
    assert explore(SHORT) > 100 * SHORT
