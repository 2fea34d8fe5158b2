"""SQS without a socket: one queue in virtual time, and events as AWS writes them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from aiocredentials._aws.settings import ClientSettings
from aiocredentials._eventbridge.queue_url import queue_at
from aiocredentials._eventbridge.sqs import Endpoint, endpoint_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ACCOUNT = "123456789012"
REGION = "eu-west-1"
QUEUE_URL = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/rotations"


def refusal(code: str, operation: str = "ReceiveMessage") -> ClientError:
    """Return an error as SQS answers it."""
    metadata = {"HTTPStatusCode": 400, "HTTPHeaders": {"content-type": "application/x-amz-json-1.0"}}
    error = {"Code": code, "Message": "AWS says no."}
    return ClientError({"Error": error, "ResponseMetadata": metadata}, operation)  # type: ignore[arg-type]


def answer(content_type: str = "", length: str = "", *, status: int = 200, **more: str) -> dict[str, Any]:
    """Return what botocore makes of an answer without a field that it knows: the status and the headers."""
    headers = {"content-type": content_type, "content-length": length}
    headers |= {f"x-amzn-{name}": value for name, value in more.items()}
    present = {name: value for name, value in headers.items() if value}
    return {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": present, "RetryAttempts": 0}}


def label_updated(
    arn: str,
    name: str,
    version_id: str,
    label: str = "AWSCURRENT",
    **more: object,
) -> dict[str, Any]:
    """Return the native event of Secrets Manager (user guide, "Secret Label Updated")."""
    return {
        "version": "0",
        "id": f"event-of-{version_id}",
        "detail-type": "Secret Label Updated",
        "source": "aws.secretsmanager",
        "account": ACCOUNT,
        "time": "2026-11-25T12:00:00Z",
        "region": REGION,
        "resources": [arn],
        "detail": {"name": name, "labelUpdated": label, "versionId": version_id},
        **more,
    }


def cloudtrail(event_name: str, **detail: object) -> dict[str, Any]:
    """Return an event that came by way of CloudTrail."""
    is_service_event = event_name.startswith("Rotation")
    kind = "AWS Service Event via CloudTrail" if is_service_event else "AWS API Call via CloudTrail"
    return {
        "version": "0",
        "id": f"event-of-{event_name}",
        "detail-type": kind,
        "source": "aws.secretsmanager",
        "account": ACCOUNT,
        "region": REGION,
        "resources": [],
        "detail": {"eventSource": "secretsmanager.amazonaws.com", "eventName": event_name, **detail},
    }


def by_sns(event: object) -> str:
    """Return the body that a topic without raw delivery sends to a queue."""
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:rotations"
    return json.dumps({"Type": "Notification", "TopicArn": topic, "Message": json.dumps(event)})


@dataclass(eq=False)
class Stored:
    """A message in the queue."""

    body: str
    visible_at: float = 0.0
    receipts: list[str] = field(default_factory=list)


class FakeSQS:
    """A queue, and a client of it. `failures` are raised by the next calls, by the name of the operation."""

    def __init__(self) -> None:
        self.messages: list[Stored] = []
        self.failures: dict[str, list[BaseException]] = {"receive": [], "delete": []}
        self.received: list[dict[str, Any]] = []
        self.received_at: list[float] = []
        self.deleted: list[list[str]] = []
        self.opened = 0
        self.closed = 0
        self.long_polls = True
        self.empty: dict[str, Any] = answer("application/x-amz-json-1.0", "2", requestid="1")
        self.hangs = False
        self.close_takes = 0.0
        self._news = asyncio.Event()

    @property
    def endpoint(self) -> Endpoint:
        """The queue, for a watcher."""
        return endpoint_of(queue_at(QUEUE_URL), ClientSettings())._replace(open_client=self.client)

    def send(self, *bodies: object) -> None:
        """Put messages into the queue; an object becomes JSON."""
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            self.messages.append(Stored(text))
        self._news.set()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[FakeSQS]:
        """Open a client."""
        self.opened += 1
        try:
            yield self
        finally:
            await asyncio.sleep(self.close_takes)
            self.closed += 1

    async def receive_message(self, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 (botocore's)
        """Answer as SQS does."""
        loop = asyncio.get_running_loop()
        self.received.append(parameters)
        self.received_at.append(loop.time())
        if self.failures["receive"]:
            raise self.failures["receive"].pop(0)
        if self.hangs:
            await asyncio.Event().wait()
        end = loop.time() + (parameters["WaitTimeSeconds"] if self.long_polls else 0)
        while True:
            visible = [message for message in self.messages if message.visible_at <= loop.time()]
            if visible:
                return {
                    "Messages": [self._lent(one, parameters) for one in visible[: parameters["MaxNumberOfMessages"]]]
                }
            self._news.clear()
            hidden = [message.visible_at for message in self.messages]
            left = min([end, *hidden]) - loop.time()
            if end <= loop.time():
                return dict(self.empty)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)

    def _lent(self, message: Stored, parameters: dict[str, Any]) -> dict[str, Any]:
        message.visible_at = asyncio.get_running_loop().time() + parameters["VisibilityTimeout"]
        receipt = f"{id(message)}-{len(message.receipts)}"
        message.receipts.append(receipt)
        return {"Body": message.body, "ReceiptHandle": receipt, "MessageId": str(id(message))}

    async def delete_message_batch(self, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 (botocore's)
        """Answer as SQS does."""
        if self.failures["delete"]:
            raise self.failures["delete"].pop(0)
        entries = parameters["Entries"]
        assert 1 <= len(entries) <= 10
        assert len({entry["Id"] for entry in entries}) == len(entries)
        receipts = [entry["ReceiptHandle"] for entry in entries]
        self.deleted.append(receipts)
        self.messages = [one for one in self.messages if not set(one.receipts) & set(receipts)]
        return {"Successful": [], "Failed": []}
