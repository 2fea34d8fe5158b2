"""Rotation push with the SQS and SNS of moto's server: from a rotation to the value in the pool."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from botocore.session import Session

from aiocredentials import CredentialsPool
from aiocredentials._eventbridge import sqs, watcher
from aiocredentials.eventbridge import rotation_queue_watched
from aiocredentials.events import Rotated
from unit.fake_sqs import label_updated

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocredentials.events import SecretEvent
    from aiocredentials.testing import MotoServer

NAME = "prod/database"
TOKEN = "canary-token"  # a made-up session token


@pytest.fixture
def queues(moto_environment: MotoServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two clients, a topic, and three queues: one of its own, one behind the topic, one of raw delivery."""
    # moto goes on with a long poll whose client is gone.
    monkeypatch.setattr(sqs, "LONG_POLL", 2)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    session = Session()
    made: dict[str, Any] = {
        name: session.create_client(name, "us-east-1", endpoint_url=moto_environment.url) for name in ("sqs", "sns")
    }
    made["topic"] = made["sns"].create_topic(Name="rotations")["TopicArn"]
    made["urls"] = {}
    for form in ("event", "notification", "raw"):
        url = made["sqs"].create_queue(QueueName=form)["QueueUrl"]
        made["urls"][form] = url
        if form != "event":
            arn = f"arn:aws:sqs:us-east-1:123456789012:{form}"
            attributes = {"RawMessageDelivery": "true"} if form == "raw" else {}
            made["sns"].subscribe(TopicArn=made["topic"], Protocol="sqs", Endpoint=arn, Attributes=attributes)
    return made


async def test_from_rotation_to_pool(
    queues: dict[str, Any],
    create_secret: Callable[..., dict[str, Any]],
    secrets_client: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One rotation, in the three forms of a message: each pool has the new version, and each queue is empty.

    In what botocore logs of our calls, there is no token and no body of a message.
    """
    caplog.set_level(logging.DEBUG, "botocore")
    caplog.set_level(logging.DEBUG, "aiobotocore")
    arn = create_secret(NAME, '{"number": 1}')["ARN"]
    rotated: asyncio.Queue[str] = asyncio.Queue()
    deleted: asyncio.Queue[str] = asyncio.Queue()
    delete = watcher.delete

    def listen(event: SecretEvent) -> None:
        if isinstance(event, Rotated):
            rotated.put_nowait(event.version_id)

    async def noting(client: sqs.Client, queue_url: str, receipts: list[str]) -> None:
        await delete(client, queue_url, receipts)
        deleted.put_nowait(queue_url)

    monkeypatch.setattr(watcher, "delete", noting)
    async with AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(CredentialsPool(listener=listen)) for _ in queues["urls"]]
        for pool, url in zip(pools, queues["urls"].values(), strict=True):
            assert await pool.manager(NAME).get() == {"number": 1}
            await stack.enter_async_context(rotation_queue_watched(pool, url, spread=0.1))

        caplog.clear()
        client = secrets_client()
        version_id = client.put_secret_value(SecretId=NAME, SecretString='{"number": 2}')["VersionId"]
        event = json.dumps(label_updated(arn, NAME, version_id))
        queues["sns"].publish(TopicArn=queues["topic"], Message=event)
        queues["sqs"].send_message(QueueUrl=queues["urls"]["event"], MessageBody=event)

        async with asyncio.timeout(20):
            assert [await rotated.get() for _ in pools] == [version_id] * 3
            assert {await deleted.get() for _ in pools} == set(queues["urls"].values())
        for pool in pools:
            assert await pool.manager(NAME).get() == {"number": 2}
            assert pool.stats().fetches == 2

    # The other clients of this test log everything.
    messages = [record.getMessage() for record in caplog.records]
    ours = "\n".join(message for message in messages if message.startswith(("ReceiveMessage", "DeleteMessageBatch")))
    assert "ReceiveMessage: Response body:" in ours
    assert "DeleteMessageBatch: Response body:" in ours
    assert TOKEN not in ours
    assert NAME not in ours
    for url in queues["urls"].values():
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = queues["sqs"].get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        assert set(counts.values()) == {"0"}


async def test_what_is_logged(queues: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """A queue that is missing is one warning that names what to do; nothing of a token is in botocore's log."""
    caplog.set_level(logging.DEBUG, "botocore")
    caplog.set_level(logging.DEBUG, "aiobotocore")
    warned = asyncio.Event()

    class Handler(logging.Handler):
        """Notes the warning."""

        def emit(self, record: logging.LogRecord) -> None:
            """Note it."""
            if record.levelno == logging.WARNING:
                warned.set()

    handler = Handler()
    logger = logging.getLogger("aiocredentials")
    logger.addHandler(handler)
    try:
        async with CredentialsPool() as pool, rotation_queue_watched(pool, queues["urls"]["raw"] + "-is-missing"):
            async with asyncio.timeout(20):
                await warned.wait()
    finally:
        logger.removeHandler(handler)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "Create the queue, or correct its URL." in warnings[0]
    assert TOKEN not in caplog.text
    assert "Signature=" not in caplog.text
    assert any("ReceiveMessage" in record.getMessage() for record in caplog.records)
