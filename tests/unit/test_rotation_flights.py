"""An event while the pool fetches the secret for the first time: that fetch may bring the version from before it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials._identifiers import may_be_the_same
from unit.fake_sqs import ACCOUNT, REGION, cloudtrail, label_updated
from unit.rotation_world import NAME, OTHER, World, run, world

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiocredentials import CredentialsPool

ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{OTHER}-000002"


def slow(its: World, seconds: float) -> None:
    """Let each answer be the value that is current when its call begins, and come so many seconds later."""
    at_once = its.aws.get_secret_value

    async def early(**parameters: str) -> dict[str, Any]:
        answer = await at_once(**parameters)
        await asyncio.sleep(seconds)
        return answer

    vars(its.aws)["get_secret_value"] = early


async def number(its: World) -> int:
    """Read the other secret; return the number of its version."""
    version: int = (await its.pool.manager(OTHER).secret()).json()["number"]
    return version


def prefetch(pool: CredentialsPool) -> Coroutine[Any, Any, Any]:
    """Fetch the other secret, which is throttled at first, so a batch is under way."""
    return pool.prefetch(OTHER)


@pytest.mark.parametrize(
    "fetch",
    [
        prefetch,
        lambda pool: pool.manager(OTHER).get(),
        lambda pool: pool.manager(ARN).get(),
        lambda pool: pool.manager(ARN[:-7]).get(),
    ],
    ids=["prefetch", "name", "ARN", "partial ARN"],
)
@pytest.mark.parametrize("by", ["name", "ARN", "both"])
def test_a_first_fetch(fetch: Callable[[CredentialsPool], Coroutine[Any, Any, Any]], by: str) -> None:
    """The value that it brings is compared with the event, and refreshed; then the message is deleted."""

    async def main() -> None:
        async with world(spread=0) as its:
            its.aws.failures["BatchGetSecretValue"] = "AccessDeniedException"
            slow(its, 5)
            fetching = asyncio.create_task(fetch(its.pool))
            await asyncio.sleep(1)
            event = its.rotate(OTHER)
            if by == "name":
                event["resources"] = []
            if by == "ARN":
                event = cloudtrail("PutSecretValue", requestParameters={"secretId": ARN})
            its.sqs.send(event)
            await asyncio.sleep(1)
            assert len(its.sqs.messages) == 1
            await fetching
            await asyncio.sleep(6)
            calls = len(its.aws.calls)
            assert await number(its) == 2
            assert len(its.aws.calls) == calls
            assert its.sqs.messages == []

    run(main)


def test_a_fetch_of_the_new_version() -> None:
    """If the fetch brings the version of the event, nothing is fetched again."""

    async def main() -> None:
        async with world(spread=0) as its:
            event = its.rotate(OTHER)
            slow(its, 1)
            reading = asyncio.create_task(number(its))
            await asyncio.sleep(0)
            its.sqs.send(event)
            assert await reading == 2
            await asyncio.sleep(1)
            assert len(its.aws.calls) == 2
            assert its.sqs.messages == []

    run(main)


def test_fetches_that_are_not_concerned() -> None:
    """A fetch of another secret, label, version or region keeps no message."""

    async def main() -> None:
        async with world(spread=0) as its:
            slow(its, 5)
            manager = its.pool.manager(OTHER)
            reads = [
                asyncio.create_task(reading)
                for reading in (
                    manager.secret(version_stage="BLUE"),
                    manager.secret(version_id="version-1"),
                    its.pool.manager(OTHER, region_name="eu-central-1").secret(),
                    its.pool.manager(NAME).refresh(),
                )
            ]
            await asyncio.sleep(0)
            its.sqs.send(its.event(OTHER))
            await asyncio.sleep(1)
            assert its.sqs.messages == []
            for task in reads:
                await task

    run(main)


def test_a_fetch_that_fails() -> None:
    """A fetch that fails leaves nothing to refresh."""

    async def main() -> None:
        async with world(spread=0) as its:
            its.aws.latency = 5
            its.aws.failures[OTHER] = "AccessDeniedException"
            reading = asyncio.create_task(number(its))
            await asyncio.sleep(1)
            its.sqs.send(its.rotate(OTHER))
            await asyncio.wait([reading])
            assert reading.exception() is not None
            await asyncio.sleep(1)
            assert len(its.aws.calls) == 2
            assert its.sqs.messages == []

    run(main)


def test_a_fetch_that_takes_long() -> None:
    """Fetches are waited for as long as SQS hides the message; afterwards the message comes again."""

    async def main() -> None:
        async with world(spread=0) as its:
            slow(its, 45)
            # As a batch of a prefetch may take.
            its.pool._store.gateway._timeout = 100  # type: ignore[union-attr]
            reading = asyncio.create_task(number(its))
            await asyncio.sleep(1)
            its.sqs.send(its.rotate(OTHER))
            await asyncio.sleep(35)
            (message,) = its.sqs.messages
            assert len(message.receipts) == 2
            assert await reading == 1
            await asyncio.sleep(50)
            assert await number(its) == 2
            assert its.sqs.messages == []

    run(main)


def test_a_refresh_that_fails_then() -> None:
    """If the refresh after the fetch fails with a transient error, the message comes again."""

    async def main() -> None:
        async with world(spread=0) as its:
            slow(its, 5)
            reading = asyncio.create_task(number(its))
            await asyncio.sleep(1)
            its.sqs.send(its.rotate(OTHER))
            await reading
            its.aws.failures["GetSecretValue"] = "ThrottlingException"
            await asyncio.sleep(10)
            assert len(its.sqs.messages) == 1
            its.aws.failures.clear()
            await asyncio.sleep(40)
            assert await number(its) == 2
            assert its.sqs.messages == []

    run(main)


@pytest.mark.parametrize("is_by_name", [False, True])
def test_a_deletion_during_the_fetch(is_by_name: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    """The value of a secret that was deleted during its first fetch isn't kept."""

    async def main() -> None:
        async with world(spread=0) as its:
            slow(its, 5)
            reading = asyncio.create_task(number(its))
            await asyncio.sleep(1)
            identifier = OTHER if is_by_name else ARN
            its.sqs.send(cloudtrail("DeleteSecret", requestParameters={"secretId": identifier}))
            await reading
            assert its.pool.stats().entries == 1
            assert its.sqs.messages == []

    run(main)


def test_another_thread() -> None:
    """A fetch in the loop of another thread counts, too."""

    async def main() -> None:
        async with world(spread=0) as its:
            flights = its.pool._store.cache.flights
            slow(its, 5)
            reading = asyncio.create_task(number(its))
            await asyncio.sleep(1)
            here = flights._loops._states
            flights._loops._states = {}
            its.sqs.send(its.rotate(OTHER))
            await asyncio.sleep(1)
            flights._loops._states = here
            await reading
            await asyncio.sleep(6)
            assert await number(its) == 2

    run(main)


def test_identifiers_that_may_mean_one_secret() -> None:
    """Names and ARNs are compared as far as that is possible without AWS: rather once too often."""
    partial_arn = ARN[:-7]
    for one in (OTHER, ARN, partial_arn):
        for other in (OTHER, ARN, partial_arn):
            assert may_be_the_same(one, other)
    assert not may_be_the_same(ARN, label_updated(ARN, NAME, "v2")["detail"]["name"])
    assert may_be_the_same(ARN, f"{OTHER}-000002")
