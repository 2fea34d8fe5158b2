"""The clock that a test moves."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from aiocredentials import CachePolicy, CredentialsPool
from aiocredentials.testing import FakeClock, FakeSecretsManager


def test_it_goes_forward_when_it_is_told_to() -> None:
    """It stands still, and advances by seconds or by a timedelta."""
    clock = FakeClock()
    assert (clock(), clock()) == (0.0, 0.0)
    clock.advance(1.5)
    clock.advance(timedelta(minutes=1))
    clock.advance(0)
    assert clock() == 61.5
    assert repr(clock) == "<FakeClock 61.5 s>"


@pytest.mark.parametrize("by", [-1, math.inf, math.nan, timedelta(seconds=-1)])
def test_it_never_goes_back(by: float | timedelta) -> None:
    """It is monotonic: going back is refused, and so is what has no end."""
    clock = FakeClock()
    with pytest.raises(ValueError, match="a monotonic clock goes forward"):
        clock.advance(by)
    assert clock() == 0.0


async def test_a_pool_counts_ages_by_it() -> None:
    """What is fresh and what isn't follows the clock that the pool was given, and no other."""
    fake, clock = FakeSecretsManager({"prod/database": "old"}), FakeClock()
    async with CredentialsPool(session=fake, clock=clock, policy=CachePolicy(ttl=60, jitter=0)) as pool:
        manager = pool.manager("prod/database")
        secret = await manager.secret()
        fake.rotate("prod/database", "new")
        clock.advance(47)
        assert (await manager.secret()).reveal() == "old"
        assert (secret.age, secret.is_stale) == (47.0, False)
        clock.advance(13)
        assert secret.is_stale
        assert (await manager.secret()).reveal() == "new"
    assert len(fake.calls) == 2


def test_what_is_no_clock_is_refused() -> None:
    """A pool says at once that it wants a function."""
    with pytest.raises(TypeError, match="clock is a float: give a function that returns seconds"):
        CredentialsPool(clock=1.0)  # type: ignore[arg-type]
