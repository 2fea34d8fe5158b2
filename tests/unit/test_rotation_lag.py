"""An answer that is older than the event, of a replica that lags or of a cache: the message comes again."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials._eventbridge import renewals
from aiocredentials._eventbridge.events import read
from unit.fake_sqs import label_updated
from unit.rotation_world import NAME, OTHER, World, run, world

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """Return a time, in minutes from noon."""
    return NOON + timedelta(minutes=minutes)


class Lagging:
    """Answers with the version of a number that a test chooses; version n was created n minutes after noon."""

    def __init__(self, its: World, created: Callable[[int], datetime | None] = at) -> None:
        self.number: int | None = None
        self.created = created
        self._at_once = its.aws.get_secret_value
        vars(its.aws)["get_secret_value"] = self.get_secret_value

    async def get_secret_value(self, **parameters: str) -> dict[str, Any]:
        """Answer."""
        answer = await self._at_once(**parameters)
        number = self.number or int(answer["VersionId"].removeprefix("version-"))
        text = f'{{"number": {number}}}'
        version = {"VersionId": f"version-{number}", "SecretString": text, "CreatedDate": self.created(number)}
        return {**answer, **version}


def rotated(its: World, minutes: float) -> dict[str, Any]:
    """Rotate the secret, and return the event of a time."""
    its.aws.rotate(NAME)
    return its.event(time=at(minutes).isoformat())


def test_an_answer_from_before_the_event() -> None:
    """The message comes again until an answer has the version of the event."""

    async def main() -> None:
        async with world(spread=0) as its:
            aws = Lagging(its)
            await its.database.refresh()
            aws.number = 1
            its.sqs.send(rotated(its, 2.5))
            await asyncio.sleep(40)
            assert await its.number() == 1
            (message,) = its.sqs.messages
            assert len(message.receipts) == 2
            aws.number = None
            await asyncio.sleep(30)
            assert await its.number() == 2
            assert its.sqs.messages == []
            assert len(its.aws.calls) == 5

    run(main)


def test_an_answer_between_two_events() -> None:
    """A newer version than before isn't enough, if it is from before the event."""

    async def main() -> None:
        async with world(spread=0) as its:
            aws = Lagging(its)
            await its.database.refresh()
            aws.number = 2
            rotated(its, 2.5)
            its.sqs.send(rotated(its, 3.5))
            await asyncio.sleep(1)
            assert await its.number() == 2
            assert len(its.sqs.messages) == 1

    run(main)


@pytest.mark.parametrize("is_known", [False, True])
def test_an_old_event(is_known: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    """An old event after a newer one costs one fetch at most, whether or not the newer event came here."""

    async def main() -> None:
        async with world(spread=0) as its:
            Lagging(its)
            await its.database.refresh()
            older, newer = rotated(its, 2.5), rotated(its, 3.5)
            if is_known:
                its.sqs.send(newer)
            else:
                await its.database.refresh()
            await asyncio.sleep(1)
            its.sqs.send(older)
            await asyncio.sleep(70)
            assert len(its.aws.calls) == 4
            assert await its.number() == 3
            assert its.sqs.messages == []

    run(main)


def test_a_version_that_is_current_again() -> None:
    """If the label moves back, the newest event decides: the one of the version in between doesn't come again."""

    async def main() -> None:
        async with world(spread=0) as its:
            aws = Lagging(its)
            await its.database.refresh()
            aws.number = 1
            between = rotated(its, 2.5)
            back = {**between, "detail": {**between["detail"], "versionId": "version-1"}, "time": at(9).isoformat()}
            its.sqs.send(back)
            await asyncio.sleep(1)
            its.sqs.send(between)
            await asyncio.sleep(100)
            assert its.sqs.messages == []
            assert len(its.aws.calls) == 3

    run(main)


@pytest.mark.parametrize("created", [lambda _: None, lambda _: datetime(2026, 1, 1)], ids=["none", "no zone"])  # noqa: DTZ001 (a client's mistake)
def test_a_version_of_an_unknown_age(created: Callable[[int], datetime | None]) -> None:
    """If nobody says when a version was created, its event costs one fetch, and doesn't come again."""

    async def main() -> None:
        async with world(spread=0) as its:
            aws = Lagging(its, created)
            await its.database.refresh()
            aws.number = 1
            its.sqs.send(rotated(its, 2.5))
            await asyncio.sleep(100)
            assert its.sqs.messages == []
            assert len(its.aws.calls) == 3

    run(main)


def test_values_that_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest event is remembered of a limited number of values; a message that comes again adds its own."""
    monkeypatch.setattr(renewals, "_MOST_VALUES", 1)

    async def main() -> None:
        async with world(spread=0) as its:
            aws = Lagging(its)
            await its.pool.manager(OTHER).get()
            await its.database.refresh()
            aws.number = 1
            its.aws.rotate(OTHER)
            its.sqs.send(rotated(its, 2.5), its.event(OTHER, time=at(2.5).isoformat()))
            await asyncio.sleep(100)
            assert len(its.sqs.messages) == 1

    run(main)


@pytest.mark.parametrize("time", [None, "", "noon", "2026-11-25T12:00:00"])
def test_an_event_without_a_time(time: str | None) -> None:
    """A time that can't be read, or compared, is none."""
    event = label_updated("arn", NAME, "v2")
    arn = f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{NAME}-Ab12Cd"
    change = read(json.dumps({**event, "resources": [arn], "time": time}))
    assert change is not None
    assert change.time is None
