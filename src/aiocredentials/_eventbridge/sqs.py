"""The calls of SQS that the watcher makes, each with a deadline, and words for their failures."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from aiocredentials._aws.other_services import (
    Explanation,
    Service,
    explained,
    opened_client,
    refusal_in,
)
from aiocredentials.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from aiocredentials._aws.settings import ClientSettings
    from aiocredentials._eventbridge.queue_url import Queue

    Answer: TypeAlias = dict[str, Any]

LONG_POLL = 20
"""Seconds for which SQS waits for a message: the most that it allows, and so the fewest calls."""

CALL_SECONDS = 10.0
"""How long a call may take, apart from the wait of a long poll."""

MOST_MESSAGES = 10
"""How many messages SQS accepts or returns per call."""

_VISIBILITY = 30
"""Seconds for which SQS hides a message that was received, beside the longest delay: a refresh and
the deletion end within this time, or else the message comes again."""

_NO_QUEUE = ("NonExistentQueue", "QueueDoesNotExist")
_ADVICE = {
    "AccessDenied": (
        "Allow this identity sqs:ReceiveMessage and sqs:DeleteMessage on the queue, and "
        "kms:Decrypt on the queue's key if that is a customer managed key."
    ),
    "NoQueue": "Create the queue, or correct its URL.",
    "MalformedResponseError": (
        "Check which server answers at the queue's URL: a proxy or a login page, for example."
    ),
}


class Client(Protocol):
    """The part of a client of SQS that the watcher uses."""

    def receive_message(self, **parameters: Any) -> Coroutine[Any, Any, Answer]:  # noqa: ANN401
        """Wait for messages."""
        ...

    def delete_message_batch(
        self,
        **parameters: Any,  # noqa: ANN401 (botocore's)
    ) -> Coroutine[Any, Any, Answer]:
        """Delete messages."""
        ...


class Message(NamedTuple):
    """A message, and the receipt by which it is deleted."""

    body: str
    receipt: str


class Endpoint(NamedTuple):
    """A queue, and how its clients are opened and their errors explained."""

    queue_url: str
    open_client: Callable[[], AbstractAsyncContextManager[Client]]
    explain: Callable[[Exception], Explanation]

    @property
    def shown_url(self) -> str:
        """The queue's URL in log lines and errors, because a process may watch several queues."""
        return one_line(self.queue_url)


def endpoint_of(queue: Queue, settings: ClientSettings) -> Endpoint:
    """Return the endpoint of a queue, asked with the session and the settings of a pool."""
    service = Service(
        name="sqs",
        title="SQS",
        endpoint_url=queue.endpoint_url,
        region_name=queue.region_name,
        read_timeout=LONG_POLL + CALL_SECONDS,
    )
    # Each failure is followed by a new client, and a warning each time would be noise.
    warned: set[str] = set()
    return Endpoint(
        queue.url,
        partial(opened_client, service, settings, warned),
        partial(_explained, service, settings),
    )


def _explained(service: Service, settings: ClientSettings, error: Exception) -> Explanation:
    explanation = explained(error, service, settings)
    kind = explanation.kind.removesuffix("Exception")
    if kind.endswith(_NO_QUEUE):
        kind = "NoQueue"
    advice = _ADVICE.get(kind)
    if advice is None:
        return explanation
    return explanation._replace(text=f"{explanation.text} {advice}")


async def received(client: Client, queue_url: str, *, longest_delay: float) -> list[Message]:
    """Wait for messages, at most `LONG_POLL` seconds. Needs sqs:ReceiveMessage.

    Raises botocore's errors, `TimeoutError`, and `ClientError` for an answer that isn't from SQS.

    Args:
        client: A client of SQS.
        queue_url: The queue.
        longest_delay: For how long a message may wait before its refresh begins. SQS hides it for
            longer than that, whatever the queue's own visibility timeout is.
    """
    async with asyncio.timeout(LONG_POLL + CALL_SECONDS):
        answer = await client.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=MOST_MESSAGES,
            WaitTimeSeconds=LONG_POLL,
            VisibilityTimeout=_VISIBILITY + math.ceil(longest_delay),
        )
    if "Messages" not in answer:
        _check_empty(answer)
    return list(_messages_in(answer))


def _check_empty(answer: Answer) -> None:
    """Raise `ClientError` if an answer without messages isn't from SQS, which answers `{}`.

    botocore makes the same of a page of HTML, and of no body at all, so the headers decide. Those
    of emulators differ: JSON is enough, unless it is longer than `{}` and no header is AWS's.
    """
    metadata: Answer = answer.get("ResponseMetadata", {})
    headers: dict[str, str] = metadata.get("HTTPHeaders", {})
    content_type = headers.get("content-type", "")
    is_of_aws = "x-amz-json" in content_type or "x-amzn-requestid" in headers
    is_brief = headers.get("content-length", "2") == "2"
    if "json" in content_type and (is_of_aws or is_brief):
        return
    raise refusal_in(answer, "ReceiveMessage")


def _messages_in(answer: Answer) -> Iterator[Message]:
    for message in answer.get("Messages") or ():
        yield Message(message.get("Body", ""), message["ReceiptHandle"])


async def delete(client: Client, queue_url: str, receipts: Sequence[str]) -> None:
    """Delete messages. Needs sqs:DeleteMessage.

    A message that SQS doesn't delete comes again. Raises botocore's errors, `TimeoutError`, and
    `ClientError` for an answer that isn't from SQS, or that names a message that wasn't deleted.
    """
    for first in range(0, len(receipts), MOST_MESSAGES):
        batch = receipts[first : first + MOST_MESSAGES]
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(batch)
        ]
        async with asyncio.timeout(CALL_SECONDS):
            answer = await client.delete_message_batch(QueueUrl=queue_url, Entries=entries)
        # SQS answers both lists, also if they are empty.
        if "Successful" not in answer and "Failed" not in answer:
            raise refusal_in(answer, "DeleteMessageBatch")
        failed: list[dict[str, str]] = answer.get("Failed") or []
        if failed:
            code = failed[0].get("Code", "")
            sentence = failed[0].get("Message", "")
            raise refusal_in(answer, "DeleteMessageBatch", code=code, sentence=sentence)
