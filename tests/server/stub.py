"""A Secrets Manager of our own on the loopback interface, for what moto can't emit: throttling, hangs, resets, junk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import sys
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

CREATED = 1_767_225_600.0
VERSION_ID = "11111111-2222-4333-8444-555555555555"
SECRET_STRING = '{"mock_secret_key": "mock_secret_value"}'


@dataclass(frozen=True)
class Request:
    """One call that arrived."""

    target: str  # the operation alone: "GetSecretValue"
    body: dict[str, Any]
    headers: dict[str, str]  # by lower-case name
    connection: int  # 1 for the first connection, 2 for the second

    @property
    def region(self) -> str:
        """The region that the request was signed for."""
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", self.headers.get("authorization", ""))
        return scope[1] if scope else "us-east-1"


@dataclass(frozen=True)
class Answer:
    """What the stub does with one request."""

    status: int = 200
    body: dict[str, Any] | bytes | None = None  # None: what Secrets Manager would say
    headers: Mapping[str, str] = field(default_factory=dict)
    gate: asyncio.Event | None = None  # the answer waits for this
    body_gate: asyncio.Event | None = None  # the headers go at once, the body waits for this
    action: Literal["answer", "hang", "reset", "hang up"] = "answer"


class StubSecretsManager:
    """Answers from a queue, then from `handler`; by itself each request gets a valid reply.

    `secrets` maps names to secret strings for those replies; a name that isn't there has `SECRET_STRING`.
    """

    def __init__(self, *, ssl: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.secrets: dict[str, str] = {}
        self.handler: Callable[[Request], Answer] = lambda _: Answer()
        self._answers: deque[Answer] = deque()
        self._ssl = ssl
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._ssl)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"{'https' if self._ssl else 'http'}://{self._host}:{self.port}"

    def answer(
        self,
        *,
        status: int = 200,
        body: dict[str, Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        gate: asyncio.Event | None = None,
        body_gate: asyncio.Event | None = None,
        times: int = 1,
    ) -> None:
        """Queue an answer for the next `times` requests; your headers replace those of the stub."""
        self._answers.extend([Answer(status, body, headers or {}, gate, body_gate)] * times)

    def error(
        self, code: str, message: str = "No.", *, status: int = 400, request_id: str = "stub-request", times: int = 1
    ) -> None:
        """Queue an error in Secrets Manager's form."""
        body = {"__type": code, "Message": message}
        self.answer(status=status, body=body, headers={"x-amzn-RequestId": request_id}, times=times)

    def hang(self, *, times: int = 1) -> None:
        """Queue silence: the request is read, and never answered."""
        self._answers.extend([Answer(action="hang")] * times)

    def reset(self, *, times: int = 1) -> None:
        """Queue a connection reset in place of an answer."""
        self._answers.extend([Answer(action="reset")] * times)

    def hang_up(self, *, times: int = 1) -> None:
        """Queue an orderly end of the connection in place of an answer."""
        self._answers.extend([Answer(action="hang up")] * times)

    async def arrival(self, count: int = 1) -> None:
        """Wait until `count` requests have arrived since the start."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        try:
            # A client that leaves, before or in the middle of a request, is part of what is tested.
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while await self._exchange(reader, writer, connection):
                    pass
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> bool:
        """Read one request and answer it; say whether the connection stays open."""
        request = await self._read(reader, connection)
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        answer = self._answers.popleft() if self._answers else self.handler(request)
        if answer.gate:
            await answer.gate.wait()
        if answer.action == "hang":
            await reader.read()  # the client gives up, or the stub closes
        if answer.action == "reset":  # a close that lingers for 0 s sends RST; then there is nothing to flush
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        if answer.action != "answer":
            return False
        body = self._valid(request) if answer.body is None else answer.body
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": "stub-request"}
        headers |= {"content-length": str(len(payload))}
        headers |= {name.lower(): value for name, value in answer.headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{head}\r\n".encode())
        if answer.body_gate:
            await writer.drain()
            await answer.body_gate.wait()
        writer.write(payload)
        await writer.drain()
        # A length that isn't the body's leaves the client waiting, unless the connection ends.
        return headers.get("connection") != "close" and headers["content-length"] == str(len(payload))

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Request:
        _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        target = headers.get("x-amz-target", "").removeprefix("secretsmanager.")
        return Request(target, json.loads(content or b"{}"), headers, connection)

    def _valid(self, request: Request) -> dict[str, Any]:
        if request.target == "BatchGetSecretValue":
            values = [self._value(request, name) for name in request.body["SecretIdList"]]
            return {"SecretValues": values, "Errors": []}
        value = self._value(request, request.body.get("SecretId", "unnamed"))
        if request.target == "DescribeSecret":
            versions = {value["VersionId"]: value["VersionStages"]}
            return {"ARN": value["ARN"], "Name": value["Name"], "VersionIdsToStages": versions}
        return value

    def _value(self, request: Request, secret_id: str) -> dict[str, Any]:
        arn = re.fullmatch(r"arn:.*:secret:(.+?)(-\w{6})?", secret_id)
        name = arn[1] if arn else secret_id
        return {
            "ARN": f"arn:aws:secretsmanager:{request.region}:123456789012:secret:{name}-AbCdEf",
            "Name": name,
            "VersionId": request.body.get("VersionId", VERSION_ID),
            "SecretString": self.secrets.get(name, SECRET_STRING),
            "VersionStages": [request.body.get("VersionStage", "AWSCURRENT")],
            "CreatedDate": CREATED,
        }
