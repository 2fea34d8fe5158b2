"""The local agent, as its source and its documentation describe it, on the loopback interface.

It has the agent's own cache, its limit of connections, its token, and the errors of its versions.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "mock_agent_token"
VERSION_ID = "{:08d}-2222-4333-8444-555555555555"
CREATED = "1569534789.046"


@dataclass(frozen=True)
class Asked:
    """One request that arrived."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]  # by lower-case name
    connection: int


@dataclass
class AgentStub:
    """An agent of a version: (1, 0), (1, 1), (2, 0), (2, 1) or (3, 0)."""

    version: tuple[int, int] = (3, 0)
    region: str = "us-east-1"
    token: str = TOKEN
    max_conn: int = 800
    secrets: dict[str, str | bytes] = field(default_factory=dict)
    editions: dict[str, int] = field(default_factory=dict)
    errors: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    ready: bool = True
    not_ready: tuple[int, str] = (400, "not ready to serve traffic, please wait")
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    connections: int = 0
    fetches: int = 0
    most_at_once: int = 0
    gate: asyncio.Event | None = None

    async def __aenter__(self) -> Self:
        self._cache: dict[tuple[str, ...], str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = 0
        self._busy = 0
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()  # a connection has ended
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.drop_connections()

    @property
    def url(self) -> str:
        """The address."""
        return f"http://localhost:{self.port}"

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return self._open

    def set(self, name: str, value: str | bytes) -> None:
        """Give a secret a new version in AWS; what the agent has cached stays."""
        self.secrets[name] = value
        self.editions[name] = self.editions.get(name, 0) + 1

    async def drop_connections(self) -> None:
        """End all connections, as the agent ends each after a minute."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def gets(self) -> list[dict[str, str]]:
        """Return the queries for secrets."""
        return [one.query for one in self.asked if one.path == "/secretsmanager/get"]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open += 1
        # The connections are counted when one is accepted, and that decides for its whole life.
        over = self._open - self.max_conn
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer, over, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, over: int, number: int) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    status, text = await self._answer(head, over, number)
                    body = text.encode()
                    writer.write(b"HTTP/1.1 %d Whatever\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
                    await writer.drain()
        finally:
            self._open -= 1
            self.left.set()
            writer.transport.abort()

    async def _answer(self, head: str, over: int, number: int) -> tuple[int, str]:
        line, *fields = head.splitlines()
        method, target, _ = line.split()
        pairs = (one.partition(":") for one in fields if one)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.asked.append(Asked(parts.path, query, headers, number))
        self.arrived.set()
        refused = self._refused(method, parts.path, headers, over)
        if refused is not None:
            return refused
        if parts.path == "/ping":
            return 200, "healthy"
        if parts.path.startswith("/v1/"):
            query["secretId"] = parts.path[4:]  # it isn't decoded
        elif parts.path != "/secretsmanager/get":
            return 404, "Not found"
        self._busy += 1
        self.most_at_once = max(self.most_at_once, self._busy)
        try:
            await (self.gate.wait() if self.gate else asyncio.sleep(0))
            return self._get(query)
        finally:
            self._busy -= 1

    def _refused(self, method: str, path: str, headers: dict[str, str], over: int) -> tuple[int, str] | None:
        is_ping = path == "/ping"
        if over > (2 if is_ping else 0):
            return 429, "Connection limit exceeded"
        if not is_ping and "x-forwarded-for" in headers:
            return 400, "Forwarded"
        if not is_ping and headers.get("x-aws-parameters-secrets-token") != self.token:
            return 403, "Bad Token"
        if method != "GET":
            return 405, "Not allowed"
        return None if is_ping or self.ready else self.not_ready

    def _get(self, query: dict[str, str]) -> tuple[int, str]:
        known = {"secretId", "versionId", "versionStage"}
        known |= {"refreshNow"} if self.version >= (1, 1) else set()
        known |= {"roleArn"} if self.version >= (2, 1) else set()
        for name in query:
            if name not in known:
                return 400, f"unknown parameter: {name}"
        name = query.get("secretId", "")
        if not name:
            return 400, "missing parameter secretId"
        key = tuple(query.get(part, "") for part in ("secretId", "versionId", "versionStage", "roleArn"))
        if query.get("refreshNow") == "true" or key not in self._cache:
            self.fetches += 1
            if name in self.errors:
                return self._error(*self.errors[name])
            if name not in self.secrets:
                return self._error("ResourceNotFoundException", "Secrets Manager can't find the specified secret.", 400)
            self._cache[key] = json.dumps(self.change(self._found(name, query)))
        return 200, self._cache[key]

    def _error(self, code: str, message: str, status: int) -> tuple[int, str]:
        if self.version <= (2, 0):
            return status, f'{{"__type":"{code}", "message":"{message}"}}'  # it isn't escaped
        return status, json.dumps({"__type": code, "message": message})

    def _found(self, name: str, query: dict[str, str]) -> dict[str, Any]:
        value = self.secrets[name]
        answer: dict[str, Any] = {
            "ARN": f"arn:aws:secretsmanager:{self.region}:123456789012:secret:{name}-AbCdEf",
            "Name": name,
            "VersionId": query.get("versionId") or VERSION_ID.format(self.editions.get(name, 0)),
        }
        if isinstance(value, str):
            answer["SecretString"] = value
        else:
            answer["SecretBinary"] = base64.b64encode(value).decode()
        answer["VersionStages"] = [query.get("versionStage", "AWSCURRENT")]
        answer["CreatedDate"] = CREATED
        return answer
