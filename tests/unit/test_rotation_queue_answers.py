"""Answers to the watcher of a rotation queue, in virtual time: which are of SQS, and what the others cause."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from aiocredentials import CredentialsPool
from aiocredentials._eventbridge import watcher
from aiocredentials.eventbridge import _watched
from unit import virtual_time
from unit.fake_sqs import FakeSQS, answer, refusal
from unit.rotation_world import SPREAD, run, world


@pytest.mark.parametrize(
    "page",
    [
        answer("text/html; charset=utf-8", "25"),
        answer("text/xml", "60"),
        answer("application/octet-stream", "0"),
        answer(status=204),
        answer("application/json", "18"),
        answer("application/json", "0"),
    ],
    ids=["page", "xml", "empty", "no content", "other json", "empty json"],
)
def test_an_answer_of_something_else(page: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """If a login page or a proxy answers 200 in place of SQS, that is a failure: one warning, longer pauses, INFO."""
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with world() as its:
            its.sqs.long_polls = False
            usual = its.sqs.empty
            its.sqs.empty = page
            await asyncio.sleep(300)
            assert len(its.sqs.received) <= 14
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            status = page["ResponseMetadata"]["HTTPStatusCode"]
            assert f"SQS gave no usable answer: HTTP status {status}, and a body that isn't AWS's." in caplog.text
            assert "a proxy or a login page" in caplog.text

            its.sqs.empty = usual
            its.sqs.send(its.rotate())
            await asyncio.sleep(watcher.LONGEST_PAUSE + SPREAD)
            assert await its.number() == 2
            assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]

    run(main)


@pytest.mark.parametrize(
    "empty",
    [
        answer("application/x-amz-json-1.0", "2", requestid="1"),
        answer("application/x-amz-json-1.0"),
        answer("application/json", requestid="1"),
        answer("application/json", "2"),
        answer("application/json;charset=utf-8"),
        {"Messages": [], **answer("text/plain", "15")},
        {"Messages": []},
    ],
    ids=["sqs", "emulator", "with an id", "json", "chunked", "a list", "only a list"],
)
def test_an_empty_answer(empty: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """An answer without messages is usual, by SQS and by emulators with other headers."""

    async def main() -> None:
        async with world() as its:
            its.sqs.empty = empty
            await asyncio.sleep(50)
            assert its.sqs.received_at == [0, 20, 40]
            assert caplog.records == []

    run(main)


@pytest.mark.parametrize("answered", [None, answer("text/html", "25")])
def test_a_deletion_that_something_else_answers(answered: Any, caplog: pytest.LogCaptureFixture) -> None:  # noqa: ANN401 (any answer)
    """If something else answers a deletion, that is a failure: one warning."""

    async def delete_message_batch(**_: object) -> object:
        return answered

    async def main() -> None:
        async with world() as its:
            vars(its.sqs)["delete_message_batch"] = delete_message_batch
            its.sqs.send(its.rotate())
            await asyncio.sleep(100)
            assert await its.number() == 2
            (record,) = caplog.records
            assert record.getMessage().startswith("Messages in the rotation queue can't be deleted")

    run(main)


def test_a_deletion_that_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """SQS answers 200 also if it deletes nothing: one warning with its reason, and INFO when it works again."""
    caplog.set_level(logging.INFO)
    failed = [
        {"Id": str(number), "Code": "InternalError", "SenderFault": False, "Message": "mock sentence"}
        for number in range(2)
    ]

    async def delete_message_batch(**_: object) -> object:
        return {"Successful": [{"Id": "2"}], "Failed": failed}

    async def main() -> None:
        async with world() as its:
            vars(its.sqs)["delete_message_batch"] = delete_message_batch
            its.sqs.send(its.rotate())
            await asyncio.sleep(100)
            assert await its.number() == 2
            assert len(caplog.records) == 1
            assert "can't be deleted, so SQS sends them again" in caplog.text
            assert "SQS answered InternalError: mock sentence." in caplog.text
            del vars(its.sqs)["delete_message_batch"]
            await asyncio.sleep(40)
            assert its.sqs.messages == []
            assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]

    run(main)


def test_failures_without_a_code(caplog: pytest.LogCaptureFixture) -> None:
    """A list of failures in another form than AWS's is a failure, too."""

    async def delete_message_batch(**_: object) -> object:
        return {"Failed": [{}]}

    async def main() -> None:
        async with world() as its:
            vars(its.sqs)["delete_message_batch"] = delete_message_batch
            its.sqs.send(its.rotate())
            await asyncio.sleep(10)
            assert len(caplog.records) == 1
            assert "can't be deleted" in caplog.text

    run(main)


@pytest.mark.parametrize("length", [0, 3000])
def test_each_line_names_the_queue(length: int, caplog: pytest.LogCaptureFixture) -> None:
    """A process may watch two queues, so each line of the log has the URL of its queue, which is cut if it is long."""
    caplog.set_level(logging.INFO)
    url = f"https://sqs.eu-west-1.amazonaws.com/123456789012/{'q' * length}-1"

    async def main() -> None:
        sqs = FakeSQS()
        sqs.send("junk")
        sqs.close_takes = 10.0
        sqs.failures["receive"] = [refusal("AccessDenied")]
        async with CredentialsPool() as pool, _watched(pool, sqs.endpoint._replace(queue_url=url), 0.0):
            await asyncio.sleep(30)
        assert len(caplog.records) == 4
        for record in caplog.records:
            text = record.getMessage()
            assert "https://sqs.eu-west-1.amazonaws.com/123456789012/" in text
            assert "-1)" in text
            assert len(text) < 600
        await asyncio.sleep(10)

    virtual_time.run(main(), seed=0, leave_nothing=True)
