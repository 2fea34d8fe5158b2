"""A fleet of processes behind one topic, in virtual time: all are current soon, and they don't fetch at once."""

from __future__ import annotations

import asyncio
import random
from math import comb
from typing import Any

import pytest

from aiocredentials.eventbridge import _watched
from unit.fake_aws import FakeAWS, pool_of
from unit.fake_sqs import FakeSQS, by_sns, label_updated
from unit.rotation_world import NAME, run

PROCESSES = 20
FLEET_SPREAD = 1.5
WINDOW = 0.1


def most_by_chance(times: int, share: float, level: float) -> int:
    """Return how many of some random times fall into a part of their range, except at this level of chance."""
    left = 1.0
    for count in range(times + 1):
        left -= comb(times, count) * share**count * (1 - share) ** (times - count)
        if left < level:
            return count
    return times


@pytest.mark.parametrize("seed", range(3))
def test_a_fleet(seed: int) -> None:
    """Twenty pools behind one topic: one rotation, and all of them are current within two seconds, by one fetch each.

    The fetches are spread at random: no tenth of a second has more of them than chance allows, at a level of 1e-9.
    """

    async def main() -> None:
        async def process(number: int) -> None:
            # What a fleet does: each process has a pool, a queue and random numbers of its own.
            async with pool_of(aws) as pool, _watched(pool, queues[number].endpoint, FLEET_SPREAD, rngs[number].random):
                await pool.manager(NAME).get()
                ready.release()
                await rotated.wait()
                await asyncio.sleep(2)
                current[number] = (await pool.manager(NAME).secret()).version_id

        loop = asyncio.get_running_loop()
        aws = FakeAWS(NAME)
        queues = [FakeSQS() for _ in range(PROCESSES)]
        rngs = [random.Random(f"{seed} {number}") for number in range(PROCESSES)]  # noqa: S311 (a schedule)
        ready = asyncio.Semaphore(0)
        rotated = asyncio.Event()
        current: dict[int, str] = {}
        fleet = [asyncio.create_task(process(number)) for number in range(PROCESSES)]
        for _ in range(PROCESSES):
            await ready.acquire()

        fetched_at: list[float] = []
        ask = aws.get_secret_value

        async def noting(**parameters: str) -> dict[str, Any]:
            fetched_at.append(loop.time() - began)
            return await ask(**parameters)

        vars(aws)["get_secret_value"] = noting
        began = loop.time()
        version_id = aws.rotate(NAME)
        body = by_sns(label_updated(aws.secrets[NAME].arn, NAME, version_id))
        for queue in queues:
            queue.send(body)
        rotated.set()
        await asyncio.gather(*fleet)

        assert set(current.values()) == {version_id}
        assert len(current) == len(fetched_at) == PROCESSES
        assert max(fetched_at) <= FLEET_SPREAD
        # A window may begin at each fetch, so there are twenty chances to be wrong.
        most = most_by_chance(PROCESSES - 1, WINDOW / FLEET_SPREAD, 1e-9 / PROCESSES) + 1
        assert most < PROCESSES
        in_windows = [sum(one <= other < one + WINDOW for other in fetched_at) for one in fetched_at]
        assert max(in_windows) <= most

    run(main, seed)


def test_the_bound() -> None:
    """The bound of the test above is that of the binomial distribution."""
    assert most_by_chance(1, 0.5, 0.6) == 0
    assert most_by_chance(2, 0.5, 0.3) == 1
    assert most_by_chance(2, 0.5, 0.2) == 2
