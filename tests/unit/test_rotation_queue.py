"""The watcher of a rotation queue, in virtual time: which events refresh, and what."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CachePolicy, SecretNotFoundError
from unit.fake_aws import CANARY, TTL
from unit.fake_sqs import REGION, by_sns, cloudtrail, label_updated
from unit.rotation_world import NAME, OTHER, SPREAD, run, world

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("form", [lambda event: event, by_sns], ids=["event", "notification"])
@pytest.mark.parametrize("seed", range(3))
def test_a_rotation(form: Callable[[object], object], seed: int) -> None:
    """After an event the new version is in use, by one fetch, within the spread; and the message is deleted."""

    async def main() -> None:
        async with world(seed=seed) as its:
            its.sqs.send(form(its.rotate()))
            await asyncio.sleep(SPREAD + 0.1)
            calls = len(its.aws.calls)
            assert await its.number() == 2
            assert (calls, len(its.aws.calls)) == (2, 2)
            assert its.sqs.messages == []

    run(main, seed)


def test_after_the_event_the_ttl_counts_anew() -> None:
    """A version that an event has brought is as fresh as any other: no read fetches for as long as the TTL lasts."""

    async def main() -> None:
        async with world(policy=CachePolicy(ttl=100, jitter=0, refresh_ahead=None)) as its:
            await asyncio.sleep(90)
            its.sqs.send(its.rotate())
            await asyncio.sleep(95)
            secret = await its.database.secret()
            assert (secret.version_id, secret.is_stale, len(its.aws.calls)) == ("version-2", False, 2)
            await asyncio.sleep(10)
            assert secret.is_stale
            await its.database.secret()
            assert len(its.aws.calls) == 3

    run(main)


def test_a_manager_with_a_policy_of_its_own() -> None:
    """All managers of a secret get the new version, whatever their policy is; it is as fresh as theirs says."""

    async def main() -> None:
        async with world() as its:
            lasting = its.pool.manager(OTHER, policy=CachePolicy(ttl=3000, jitter=0, refresh_ahead=None))
            await lasting.get()
            its.sqs.send(its.rotate(OTHER))
            await asyncio.sleep(TTL + 10)
            secret = await lasting.secret()
            assert (secret.version_id, secret.is_stale) == ("version-2", False)
            assert its.aws.calls.count(its.aws.secrets[OTHER].arn) == 1

    run(main)


def test_what_causes_no_fetch() -> None:
    """No fetch for the version that is cached, a secret that isn't, another label, region, account or kind of event."""

    async def main() -> None:
        async with world(spread=0) as its:
            by_name = {"requestParameters": {"secretId": NAME}}
            elsewhere = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/database-000001"
            stranger = "arn:aws:secretsmanager:eu-west-1:999999999999:secret:prod/database-Ab12Cd"
            events = [
                its.event(),
                its.rotate(OTHER),
                label_updated(its.aws.secrets[NAME].arn, NAME, "version-9", "AWSPENDING"),
                label_updated(elsewhere, NAME, "version-9"),
                label_updated(stranger, NAME, "version-9"),
                {**cloudtrail("PutSecretValue", **by_name), "account": "999999999999"},
                {**cloudtrail("PutSecretValue", **by_name), "region": "us-east-1"},
                cloudtrail("PutSecretValue", requestParameters={"secretId": NAME, "versionStages": ["AWSPENDING"]}),
                cloudtrail("TagResource", **by_name),
                cloudtrail("DeleteSecret", errorCode="AccessDenied", **by_name),
                cloudtrail("DeleteSecret", requestParameters={"secretId": OTHER}),
            ]
            its.sqs.send(*events)
            await asyncio.sleep(1)
            assert its.aws.calls == [NAME]
            assert await its.number() == 1
            assert its.aws.calls == [NAME]
            assert its.sqs.messages == []
            # Ten of the eleven came by one call, and were deleted by one.
            assert [len(receipts) for receipts in its.sqs.deleted] == [10, 1]

    run(main)


@pytest.mark.parametrize(
    "event",
    [
        cloudtrail("PutSecretValue", requestParameters={"secretId": NAME}),
        cloudtrail("UpdateSecretVersionStage", requestParameters={"secretId": NAME, "versionStage": "AWSCURRENT"}),
        cloudtrail("UpdateSecret", requestParameters={"secretId": NAME}),
        cloudtrail("RotationSucceeded", additionalEventData={"SecretId": NAME}),
    ],
    ids=lambda event: str(event["detail"]["eventName"]),
)
def test_by_cloudtrail(event: dict[str, Any]) -> None:
    """An event of CloudTrail refreshes the secret that it names, by name, in its region and account."""

    async def main() -> None:
        async with world(spread=0) as its:
            its.aws.rotate(NAME)
            its.sqs.send(event)
            await asyncio.sleep(1)
            assert its.aws.calls == [NAME, its.aws.secrets[NAME].arn]
            assert await its.number() == 2

    run(main)


def test_the_label_of_the_event() -> None:
    """The value under the label that has moved is refreshed. A version that was asked by its id never changes."""

    async def main() -> None:
        async with world(spread=0) as its:
            await its.database.secret(version_stage="BLUE")
            await its.database.secret(version_id="version-1")
            assert len(its.aws.calls) == 3
            arn = its.aws.secrets[NAME].arn
            its.sqs.send(label_updated(arn, NAME, "version-9", "BLUE"))
            await asyncio.sleep(1)
            assert len(its.aws.calls) == 4
            assert its.aws.calls[-1] == arn

    run(main)


@pytest.mark.parametrize("seed", range(3))
def test_duplicates(seed: int) -> None:
    """Duplicates, in one answer or later during the delay, cause no second fetch; all of them are deleted."""

    async def main() -> None:
        async with world(seed=seed) as its:
            event = its.rotate()
            its.sqs.send(event, event, by_sns(event))
            await asyncio.sleep(0.01)
            its.sqs.send(event, event)
            await asyncio.sleep(SPREAD)
            its.sqs.send(event)
            await asyncio.sleep(SPREAD)
            assert len(its.aws.calls) == 2
            assert its.sqs.messages == []

    run(main, seed)


@pytest.mark.parametrize("seed", range(3))
def test_disorder(seed: int) -> None:
    """An older event after a newer one costs one fetch at most, and never brings an older value."""

    async def main() -> None:
        async with world(seed=seed) as its:
            older, newer = its.rotate(), its.rotate()
            its.sqs.send(newer, older)
            await asyncio.sleep(SPREAD + 0.1)
            assert await its.number() == 3
            assert len(its.aws.calls) == 2
            its.sqs.send(older)
            await asyncio.sleep(SPREAD + 0.1)
            assert await its.number() == 3
            assert len(its.aws.calls) == 3
            assert its.sqs.messages == []

    run(main, seed)


def test_an_event_during_the_fetch() -> None:
    """If the secret is rotated once more while it is fetched, it is fetched once more."""

    async def main() -> None:
        async with world(spread=0) as its:
            its.aws.latency = 5.0
            slow = its.aws.get_secret_value
            first = its.rotate()

            async def early(**parameters: str) -> dict[str, Any]:
                """Answer with what is current now, later."""
                version = its.aws.secrets[NAME]
                answer = await slow(**parameters)
                return {**answer, "VersionId": version.version_id, "SecretString": version.value}

            vars(its.aws)["get_secret_value"] = early
            its.sqs.send(first)
            await asyncio.sleep(1)
            its.sqs.send(its.rotate())
            await asyncio.sleep(5)
            assert await its.number() == 2
            await asyncio.sleep(6)
            assert await its.number() == 3
            assert its.sqs.messages == []

    run(main)


def test_fetched_during_the_delay() -> None:
    """If a reader has fetched the version of the event during the delay, there is nothing left to do."""

    async def main() -> None:
        async with world(seed=1) as its:
            its.sqs.send(its.rotate())
            await asyncio.sleep(0.01)
            await its.database.refresh()
            await asyncio.sleep(SPREAD)
            assert its.aws.calls == [NAME, NAME]
            assert its.sqs.messages == []

    run(main)


def test_invalidated_during_the_delay() -> None:
    """If the value was invalidated during the delay, the next read fetches, and the event doesn't."""

    async def main() -> None:
        async with world(seed=1) as its:
            its.sqs.send(its.rotate())
            await asyncio.sleep(0.01)
            its.database.invalidate()
            await asyncio.sleep(SPREAD)
            assert its.aws.calls == [NAME]
            assert its.sqs.messages == []
            assert await its.number() == 2

    run(main)


@pytest.mark.parametrize("event_name", ["DeleteSecret", "RestoreSecret"])
@pytest.mark.parametrize("by", ["name", "arn"])
def test_deletion(event_name: str, by: str) -> None:
    """A deletion invalidates what is cached: the next read asks AWS."""

    async def main() -> None:
        async with world() as its:
            identifier = NAME if by == "name" else its.aws.secrets[NAME].arn
            its.sqs.send(cloudtrail(event_name, requestParameters={"secretId": identifier}))
            await asyncio.sleep(0.1)
            assert its.aws.calls == [NAME]
            await its.number()
            assert its.aws.calls == [NAME, NAME]

    run(main)


@pytest.mark.parametrize("by", ["name", "arn"])
def test_restored(by: str) -> None:
    """A secret that was deleted and restored is asked for at once, and not after the failure is forgotten."""

    async def main() -> None:
        async with world() as its:
            arn = its.aws.secrets[NAME].arn
            manager = its.database if by == "name" else its.pool.manager(arn)
            await manager.get()
            its.sqs.send(cloudtrail("DeleteSecret", requestParameters={"secretId": arn}))
            its.aws.failures["GetSecretValue"] = "ResourceNotFoundException"
            await asyncio.sleep(0.1)
            with pytest.raises(SecretNotFoundError):
                await manager.get()
            its.aws.failures.clear()
            with pytest.raises(SecretNotFoundError):
                await manager.get()
            its.sqs.send(cloudtrail("RestoreSecret", requestParameters={"secretId": arn}))
            await asyncio.sleep(0.1)
            await manager.get()
            assert len(its.aws.calls) == 3

    run(main)


def test_created_again() -> None:
    """A secret that was deleted and created again has another ARN: what is cached by its name is invalidated."""

    async def main() -> None:
        async with world() as its:
            gone = its.aws.secrets[NAME].arn
            its.aws.create(NAME)
            its.aws.rotate(NAME)
            its.sqs.send(its.event())
            await asyncio.sleep(0.1)
            assert its.aws.calls == [NAME]
            assert await its.number() == 2
            # The deletion of the old one comes late, and concerns the new one no more.
            its.sqs.send(
                cloudtrail("DeleteSecret", requestParameters={"secretId": NAME}, responseElements={"arn": gone})
            )
            await asyncio.sleep(0.1)
            await its.number()
            assert its.aws.calls == [NAME, NAME]

    run(main)


def test_a_failed_rotation(caplog: pytest.LogCaptureFixture) -> None:
    """A rotation that failed is one warning with the secret's name, for a secret that the pool holds."""

    async def main() -> None:
        async with world() as its:
            for name in (NAME, OTHER):
                arn = its.aws.secrets[name].arn
                event = cloudtrail("RotationFailed", additionalEventData={"SecretId": arn})
                its.sqs.send(event, event)
                nameless = {**event, "id": None}
                its.sqs.send(nameless)
            await asyncio.sleep(1)
            messages = [record.getMessage() for record in caplog.records]
            assert len(messages) == 2
            assert all(f"Secret '{NAME}' in '{REGION}'" in message for message in messages)
            assert its.sqs.messages == []
            for number in range(70):
                its.sqs.send(
                    {**cloudtrail("RotationFailed", additionalEventData={"SecretId": NAME}), "id": str(number)}
                )
            await asyncio.sleep(1)
            assert len(caplog.records) == 72

    run(main)


def test_no_value_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """No task shows a value, neither in its repr nor in a local variable, and nothing is logged."""
    caplog.set_level(logging.DEBUG)

    def shown() -> str:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        return repr([(task, [frame.f_locals for frame in task.get_stack()]) for task in tasks])

    async def main() -> None:
        async with world(seed=1) as its:
            assert CANARY in its.aws.secrets[NAME].value
            its.aws.latency = 1.0
            its.sqs.send(its.rotate())
            for _ in range(20):
                await asyncio.sleep(0.1)
                assert "Watcher._run" in shown()
                assert CANARY not in shown()
            assert await its.number() == 2
            assert CANARY not in caplog.text

    run(main)
