"""A server that sends the bytes it is told to: what a body may do, and what no HTTP server would."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any, Self

from leaks.canary import VALUE

NAME = "prod/db"
ARN = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{NAME}-AbCdEf"
CALM = {
    "ARN": ARN,
    "Name": NAME,
    "VersionId": "11111111-2222-4333-8444-555555555555",
    "VersionStages": ["AWSCURRENT"],
    "CreatedDate": 1_767_225_600.0,
}
# Text that is no JSON but for its ends; what a service of ours would keep; bytes that are no text.
SECRET_JSON = json.dumps({"username": "user", "password": VALUE})
SECRET_BINARY = VALUE.encode() + b"\xff"


def answer(
    body: object = None, *, status: int = 200, kind: str = "application/x-amz-json-1.1", **headers: str
) -> bytes:
    """Write an answer; the body is JSON unless it is bytes. An underscore in a header's name stands for a hyphen."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    known = {"content-type": kind, "content-length": str(len(payload)), "x-amzn-requestid": "wire-request"}
    known |= {name.replace("_", "-"): text for name, text in headers.items()}
    head = "".join(f"{name}: {text}\r\n" for name, text in known.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode("latin-1", "replace") + payload


def secret(value: object = SECRET_JSON, **changed: Any) -> bytes:  # noqa: ANN401 - any JSON
    """Write a good answer, but for what is changed; None leaves a field out."""
    fields = {**CALM, "SecretString": value} | changed
    return answer({name: each for name, each in fields.items() if each is not None})


def binary(value: bytes) -> bytes:
    """Write a good answer with a binary secret."""
    return secret(None, SecretBinary=base64.b64encode(value).decode())


class Wire:
    """Answers one request after the other with the bytes of `answers`, and ends the connection after the last.

    Where an answer has a `HOLD`, silence begins; when there is no answer left, silence is the answer.
    """

    HOLD = b"\0hold"

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests = 0
        self.arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("content-length:")[2].partition("\r\n")[0]
        await reader.readexactly(int(length or 0))
        self.requests += 1
        self.arrived.set()
        sent, hold, _ = (self.answers.pop(0) if self.answers else self.HOLD).partition(self.HOLD)
        writer.write(sent)
        await writer.drain()
        if hold:
            await reader.read()
        await asyncio.sleep(0.01)  # what follows a good answer shall have been read before the end of the connection
        return bool(self.answers)
