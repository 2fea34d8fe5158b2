"""A prefetch whose batch is throttled: single calls take its place, near their quota and for a limited time."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError

from aiocredentials import (
    AccessDeniedError,
    CredentialsError,
    CredentialsPool,
    PoolClosedError,
    ThrottledError,
    _random,
)
from aiocredentials.testing import FakeSecretsManager
from unit.fake_aws import FakeAWS, pool_of
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

NAMES = [f"app/{number:02}" for number in range(20)]
SEEDS = range(10)
# Seconds: the timeout of a pool, and how long a prefetch goes on after a call was throttled.
TIMEOUT = 10.0
LONGEST = 2 * TIMEOUT


class BusyAWS(FakeAWS):
    """Throttles each batch, and the single calls for which `is_busy` is true; notes when each call began."""

    def __init__(self) -> None:
        super().__init__(*NAMES)
        self.latency = 0.02
        self.failures["BatchGetSecretValue"] = "ThrottlingException"
        self.is_busy: Callable[[int], bool] = lambda _: False
        self.batches = 0
        self.began: list[float] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def batch_get_secret_value(self, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
        """Throttle."""
        self.batches += 1
        return await super().batch_get_secret_value(**parameters)

    async def get_secret_value(self, **parameters: str) -> dict[str, Any]:
        """Answer, or throttle."""
        self.began.append(asyncio.get_running_loop().time())
        busy = self.is_busy(len(self.began))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if busy:
                await self._travel()
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "No."}}, "GetSecretValue")
            return await super().get_secret_value(**parameters)
        finally:
            self.in_flight -= 1


def with_pool(aws: FakeAWS, body: Callable[[CredentialsPool], Coroutine[Any, Any, None]], seed: int = 0) -> None:
    """Run a test's body with a pool, in virtual time; it leaves nothing behind."""

    async def main() -> None:
        async with pool_of(aws) as pool:
            await body(pool)

    with patch.object(_random, "_system", random.Random(seed)):  # noqa: S311 - they spread load
        run(main(), seed=seed, leave_nothing=True)


async def failures_of(pool: CredentialsPool) -> dict[str | None, CredentialsError]:
    """Prefetch, and return the error of each secret that failed."""
    with pytest.raises(ExceptionGroup) as caught:
        await pool.prefetch(*NAMES)
    errors = [error for error in caught.value.exceptions if isinstance(error, CredentialsError)]
    return {error.secret_name: error for error in errors}


@pytest.mark.parametrize("seed", SEEDS)
def test_single_calls_take_its_place(seed: int) -> None:
    """The secrets of a throttled batch are fetched one after the other, after a random pause, by one call each."""
    aws = BusyAWS()

    async def body(pool: CredentialsPool) -> None:
        await pool.prefetch(*NAMES)
        assert pool.stats().entries == len(NAMES)

    with_pool(aws, body, seed)
    assert (aws.batches, len(aws.began), aws.most_in_flight) == (1, len(NAMES), 1)
    # The batch took 0.02 s, and the pause up to 1 s.
    assert 0.02 < aws.began[0] <= 1.02
    assert aws.began[-1] - aws.began[0] == pytest.approx(19 * 0.02)


def test_processes_begin_at_different_times() -> None:
    """The first single calls of many processes spread over a second, because each has drawn its own pause."""
    began: list[float] = []
    for seed in range(100):
        aws = BusyAWS()
        with_pool(aws, lambda pool: pool.prefetch(*NAMES), seed)
        began.append(aws.began[0])
    per_tenth = [sum(tenth / 10 <= at - 0.02 < (tenth + 1) / 10 for at in began) for tenth in range(10)]
    assert sum(per_tenth) == 100
    assert max(per_tenth) < 30


@pytest.mark.parametrize("seed", SEEDS)
def test_single_calls_are_throttled_too(seed: int) -> None:
    """A single call that is throttled is made again after a random pause, and in the end all secrets are there."""
    aws = BusyAWS()
    aws.is_busy = lambda number: number in {3, 6, 9, 10}

    async def body(pool: CredentialsPool) -> None:
        await pool.prefetch(*NAMES)

    with_pool(aws, body, seed)
    assert len(aws.began) == 20 + 4
    pauses = [later - earlier - 0.02 for earlier, later in pairwise(aws.began)]
    after_throttled = [pauses.pop(number - 1) for number in (10, 9, 6, 3)]
    assert all(0 < pause <= longest for pause, longest in zip(after_throttled, (4, 4, 4, 2), strict=True))
    assert pauses == pytest.approx([0] * len(pauses))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_ends(seed: int) -> None:
    """Where every call is throttled, the prefetch fails in time with a transient error per secret, after few calls."""
    aws = BusyAWS()
    aws.is_busy = lambda _: True

    async def body(pool: CredentialsPool) -> None:
        errors = await failures_of(pool)
        assert list(errors) == NAMES
        assert all(isinstance(error, ThrottledError) for error in errors.values())
        assert all(error.transient and f"secret {name!r}" in str(error) for name, error in errors.items())
        assert LONGEST - 4 <= asyncio.get_running_loop().time() <= LONGEST + 0.02

    with_pool(aws, body, seed)
    # The pauses grow, so that a call comes about each two seconds, whatever the number of secrets is.
    assert 6 <= len(aws.began) <= 30


def test_the_timeout_limits_it() -> None:
    """It goes on for twice the timeout of the pool, so a short timeout is a short wait, for tests for instance."""
    fake = FakeSecretsManager(dict.fromkeys(NAMES, "x"))
    fake.fail_next(ThrottledError, times=None)

    async def main() -> None:
        async with CredentialsPool(session=fake, timeout=0.25) as pool:
            await failures_of(pool)
        assert asyncio.get_running_loop().time() <= 0.5

    run(main(), seed=0, leave_nothing=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_secret_that_stays_throttled(seed: int) -> None:
    """It comes after all others, so it alone fails."""
    aws = BusyAWS()
    aws.failures[NAMES[0]] = "ThrottlingException"

    async def body(pool: CredentialsPool) -> None:
        errors = await failures_of(pool)
        assert list(errors) == NAMES[:1]
        assert pool.stats().entries == 19

    with_pool(aws, body, seed)


def test_another_error_ends_a_secret() -> None:
    """An error of another kind ends the attempts for its secret, and for no other one."""
    aws = BusyAWS()
    aws.failures |= {NAMES[3]: "AccessDeniedException", NAMES[5]: "InternalServiceError"}

    async def body(pool: CredentialsPool) -> None:
        errors = await failures_of(pool)
        assert list(errors) == [NAMES[3], NAMES[5]]
        assert isinstance(errors[NAMES[3]], AccessDeniedError)
        assert pool.stats().entries == 18

    with_pool(aws, body)
    assert len(aws.began) == len(NAMES)


def test_without_the_batch_permission() -> None:
    """Single calls in the place of a refused batch come all at once; those that are throttled come again in turn."""
    aws = BusyAWS()
    aws.failures["BatchGetSecretValue"] = "AccessDeniedException"
    aws.is_busy = lambda number: 10 < number <= 20

    async def body(pool: CredentialsPool) -> None:
        await pool.prefetch(*NAMES)

    with_pool(aws, body)
    assert aws.most_in_flight == 20
    assert len(aws.began) == 30
    assert len(set(aws.began[20:])) == 10


def test_an_unreachable_batch_is_final() -> None:
    """Only throttling is waited for: where the service is broken, no single call is made."""
    aws = BusyAWS()
    aws.failures["BatchGetSecretValue"] = "InternalServiceError"

    async def body(pool: CredentialsPool) -> None:
        await failures_of(pool)

    with_pool(aws, body)
    assert aws.began == []


@pytest.mark.parametrize("seed", SEEDS)
def test_close_and_cancel_in_a_pause(seed: int) -> None:
    """A close ends the pause at once; a cancelled caller doesn't, because the calls continue in the background."""
    aws = BusyAWS()
    aws.is_busy = lambda _: True

    async def body(pool: CredentialsPool) -> None:
        cancelled = asyncio.create_task(pool.prefetch(*NAMES))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(pool.manager(NAMES[0], decode=str).get())
        await asyncio.sleep(0.01)
        cancelled.cancel()
        await asyncio.sleep(5)
        calls = len(aws.began)
        assert cancelled.cancelled()
        assert calls > 1
        await pool.aclose()
        with pytest.raises(PoolClosedError):
            await waiting
        assert asyncio.get_running_loop().time() == pytest.approx(5.02)
        await asyncio.sleep(60)
        assert len(aws.began) == calls

    with_pool(aws, body, seed)


def test_a_cancelled_prefetch_is_finished() -> None:
    """The single calls of a prefetch whose caller was cancelled bring all secrets, too."""
    aws = BusyAWS()

    async def body(pool: CredentialsPool) -> None:
        task = asyncio.create_task(pool.prefetch(*NAMES))
        await asyncio.sleep(0.03)
        task.cancel()
        await asyncio.sleep(LONGEST)
        assert pool.stats().entries == len(NAMES)
        with pytest.raises(asyncio.CancelledError):
            await task

    with_pool(aws, body)
