"""A Secrets Manager that breaks, byte by byte, in each way that is known to us; on the loopback interface.

It is healthy until `break_with` names one of `FAULTS`, and again after `heal`. It counts how often each fault really
happened: a test whose fault never came proves nothing. Every healthy answer names its secret and the server's edition,
so that a value which belongs to another secret, or to another time, shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import socket
import struct
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

JSON = "application/x-amz-json-1.1"
OTHER = "prod/other"
_ABSENT = object()
_PACE = 0.01  # seconds between two pieces of what drips


def value_of(name: str, edition: int) -> str:
    """Return the text of a secret in an edition of the server."""
    return json.dumps({"secret": name, "edition": edition})


@dataclass
class Exchange:
    """A connection, and the request that has come by it; at accept there is none yet."""

    server: FaultServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    name: str = ""

    def healthy(self, **changes: object) -> dict[str, Any]:
        """Return the right answer, with some members changed or `_ABSENT`."""
        edition = self.server.edition
        answer = {
            "ARN": f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{self.name}-AbCdEf",
            "Name": self.name,
            "VersionId": f"{edition:08d}-2222-4333-8444-555555555555",
            "SecretString": value_of(self.name, edition),
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": 1_767_225_600.0,
        }
        return {name: value for name, value in (answer | changes).items() if value is not _ABSENT}

    def message(
        self, body: dict[str, Any] | bytes | None = None, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Return a whole answer. By itself it has the right length; the headers given replace those."""
        content = body if isinstance(body, bytes) else json.dumps(self.healthy() if body is None else body).encode()
        fields = {"content-type": JSON, "content-length": str(len(content)), "x-amzn-requestid": "fault-server"}
        if not self.server.keep_alive:
            fields["connection"] = "close"
        fields |= headers or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + content

    async def send(self, content: bytes) -> None:
        """Write bytes, and see them off."""
        self.writer.write(content)
        await self.writer.drain()

    async def drip(self, content: bytes) -> None:
        """Write one byte after the other, slowly, until the client has gone."""
        for byte in content:
            await self.send(bytes([byte]))
            await asyncio.sleep(_PACE)
        await self.gone()

    async def gone(self) -> None:
        """Wait until the client has gone."""
        await self.reader.read()

    def reset(self) -> None:
        """End the connection by RST: a close that lingers for 0 s."""
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


@dataclass(frozen=True)
class Fault:
    """What happens in place of an answer. The connection ends after it, but for those that `keep` it."""

    act: Callable[[Exchange], Awaitable[None]]
    at_accept: bool = False  # before a request is read, so that it needs a new connection
    hangs: bool = False  # only the client's own deadline ends it
    once: bool = False  # the next attempt is answered well
    keep: bool = False


async def _nothing(_: Exchange) -> None:
    """Close."""


async def _reset(at: Exchange) -> None:
    at.reset()


def _cut(where: Callable[[bytes], int], then: Callable[[Exchange], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Send a right answer up to some place, and then do something else."""

    async def act(at: Exchange) -> None:
        whole = at.message()
        await at.send(whole[: where(whole)])
        await then(at)

    return act


def _in_headers(whole: bytes) -> int:
    return whole.index(b"content-length")


def _in_body(whole: bytes) -> int:
    return whole.index(b"SecretString") + 20


async def _silence(at: Exchange) -> None:
    await at.gone()


async def _banner(at: Exchange) -> None:
    """Be another service, one that greets whoever connects."""
    await at.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await at.gone()


async def _reset_after(at: Exchange) -> None:
    await at.send(at.message())
    at.reset()


async def _drip_all(at: Exchange) -> None:
    await at.drip(at.message())


async def _drip_body(at: Exchange) -> None:
    whole = at.message()
    head = whole.index(b"\r\n\r\n") + 4
    await at.send(whole[:head])
    await at.drip(whole[head:])


async def _late(at: Exchange) -> None:
    whole = at.message()
    await at.server.healed.wait()
    await at.send(whole)


async def _continue(at: Exchange) -> None:
    while not at.writer.is_closing():
        await at.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(_PACE)


def _says(body: bytes, **more: Any) -> Callable[..., Awaitable[None]]:  # noqa: ANN401 - arguments of `message`
    async def act(at: Exchange) -> None:
        await at.send(at.message(body, **more))

    return act


def _with(**changes: object) -> Callable[..., Awaitable[None]]:
    async def act(at: Exchange) -> None:
        await at.send(at.message(at.healthy(**changes)))

    return act


def _length(of: Callable[[int], str], then: Callable[[Exchange], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def act(at: Exchange) -> None:
        await at.send(at.message(headers={"content-length": of(len(json.dumps(at.healthy())))}))
        await then(at)

    return act


async def _half_body(at: Exchange) -> None:
    body = json.dumps(at.healthy()).encode()
    await at.send(at.message(body[: len(body) // 2]))


def _chunks(end: bytes, then: Callable[[Exchange], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def act(at: Exchange) -> None:
        body = json.dumps(at.healthy()).encode()
        chunked = at.message(b"", headers={"content-length": "", "transfer-encoding": "chunked"})
        await at.send(chunked + b"%x\r\n%b" % (len(body), body) + end)
        await then(at)

    return act


async def _endless(at: Exchange) -> None:
    """Send pieces of 1 MiB: not for ever, for the sake of a client that would take them all."""
    await at.send(at.message(b"", headers={"content-length": "", "transfer-encoding": "chunked"}))
    for at.server.mebibytes in range(1, 65):
        await at.send(b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20)))


async def _bom(at: Exchange) -> None:
    await at.send(at.message(b"\xef\xbb\xbf" + json.dumps(at.healthy()).encode()))


async def _bad_utf8(at: Exchange) -> None:
    await at.send(at.message(json.dumps(at.healthy()).encode().replace(b"edition", b"ed\xff\xfetion")))


async def _utf16(at: Exchange) -> None:
    await at.send(at.message(json.dumps(at.healthy()).encode("utf-16")))


async def _gzip(at: Exchange) -> None:
    body = gzip.compress(json.dumps(at.healthy()).encode())
    await at.send(at.message(body, headers={"content-encoding": "gzip"}))


async def _nested_member(at: Exchange) -> None:
    body = json.dumps(at.healthy(Deep=0)).replace('"Deep": 0', f'"Deep": {"[" * 200_000}{"]" * 200_000}')
    await at.send(at.message(body.encode()))


async def _other_arn(at: Exchange) -> None:
    await at.send(at.message(at.healthy(Name=OTHER, ARN=at.healthy()["ARN"].replace(at.name, OTHER))))


async def _other_secret(at: Exchange) -> None:
    """Everything of another secret: what a cache in between, or a connection out of step, would bring."""
    await at.send(Exchange(at.server, at.reader, at.writer, OTHER).message())


async def _eight_mib(at: Exchange) -> None:
    value = json.dumps(json.loads(at.healthy()["SecretString"]) | {"padding": "x" * (8 << 20)})
    await at.send(at.message(at.healthy(SecretString=value)))


def _redirect(status: int) -> Callable[..., Awaitable[None]]:
    async def act(at: Exchange) -> None:
        await at.send(at.message(b"", status, {"location": f"http://127.0.0.1:{at.server.elsewhere}/"}))

    return act


def _error(code: str, status: int = 400, message: str = "No.", **headers: str) -> Callable[..., Awaitable[None]]:
    body = json.dumps({"__type": code, "Message": message}).encode()
    return _says(body, status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def _answer_and_close(at: Exchange) -> None:
    await at.send(at.message())


async def _two_at_once(at: Exchange) -> None:
    await at.send(at.message() + Exchange(at.server, at.reader, at.writer, OTHER).message())


async def _two_in_turn(at: Exchange) -> None:
    await at.send(at.message())
    await asyncio.sleep(3 * _PACE)  # by now the client has put the connection by
    await at.send(Exchange(at.server, at.reader, at.writer, OTHER).message())


_DELETED = "You can't perform this operation on the secret because it was marked for deletion."

FAULTS = {
    # The connection
    "refused": Fault(_nothing, at_accept=True),
    "accept and close": Fault(_nothing, at_accept=True),
    "accept and reset": Fault(_reset, at_accept=True),
    "speaks first": Fault(_banner, at_accept=True),
    "close before the answer": Fault(_nothing),
    "reset before the answer": Fault(_reset),
    "close in the headers": Fault(_cut(_in_headers, _nothing)),
    "reset in the headers": Fault(_cut(_in_headers, _reset)),
    "close in the body": Fault(_cut(_in_body, _nothing)),
    "reset in the body": Fault(_cut(_in_body, _reset)),
    "reset after the answer": Fault(_reset_after),
    # Time
    "slow first byte": Fault(_silence, hangs=True),
    "stalled headers": Fault(_cut(_in_headers, _silence), hangs=True),
    "stalled body": Fault(_cut(_in_body, _silence), hangs=True),
    "dripping headers": Fault(_drip_all, hangs=True),
    "dripping body": Fault(_drip_body, hangs=True),
    "late answer": Fault(_late, hangs=True),
    "endless continue": Fault(_continue, hangs=True),
    # Lengths
    "length too long": Fault(_length(lambda right: str(right + 40), _nothing)),
    "length too long, kept open": Fault(_length(lambda right: str(right + 40), _silence), hangs=True),
    "length too short": Fault(_length(lambda right: str(right - 40), _nothing), keep=True),
    "length that is none": Fault(_length(lambda _: "many", _nothing)),
    "length that is negative": Fault(_length(lambda _: "-7", _nothing)),
    "half body, right length": Fault(_half_body, keep=True),
    "chunk cut": Fault(_chunks(b"", _nothing)),
    "chunk stalled": Fault(_chunks(b"\r\n", _silence), hangs=True),
    "chunk of junk": Fault(_chunks(b"\r\nno size\r\n", _nothing)),
    "a body without end": Fault(_endless),
    # What isn't HTTP
    "not HTTP": Fault(lambda at: at.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")),
    "a header without end": Fault(lambda at: at.send(at.message(headers={"x-much": "x" * (1 << 20)}))),
    # 200, and no answer
    "HTML": Fault(_says(b"<html><title>Welcome</title></html>", headers={"content-type": "text/html"}), keep=True),
    "HTML said to be JSON": Fault(_says(b"<html><title>Welcome</title></html>"), keep=True),
    "empty": Fault(_says(b""), keep=True),
    "no content": Fault(lambda at: at.send(at.message(b"", 204, {"content-length": ""})), keep=True),
    "{}": Fault(_says(b"{}"), keep=True),
    "null": Fault(_says(b"null"), keep=True),
    "[]": Fault(_says(b"[]"), keep=True),
    "a string": Fault(_says(b'"hello"'), keep=True),
    "a number": Fault(_says(b"7"), keep=True),
    "BOM": Fault(_bom, keep=True),
    "bad UTF-8": Fault(_bad_utf8, keep=True),
    "UTF-16": Fault(_utf16, keep=True),
    "gzip": Fault(_gzip, keep=True),
    "nested 200,000 deep": Fault(_says(b"[" * 200_000 + b"]" * 200_000), keep=True),
    "nested member": Fault(_nested_member, keep=True),
    "junk date": Fault(_with(CreatedDate="the day before yesterday"), keep=True),
    "infinite date": Fault(_with(CreatedDate=float("inf")), keep=True),
    "bad base64": Fault(_with(SecretString=_ABSENT, SecretBinary="a***"), keep=True),
    "binary of another type": Fault(_with(SecretString=_ABSENT, SecretBinary=7), keep=True),
    "both values": Fault(_with(SecretBinary="aGVsbG8="), keep=True),
    "neither value": Fault(_with(SecretString=_ABSENT), keep=True),
    "null value": Fault(_with(SecretString=None), keep=True),
    "value of another type": Fault(_with(SecretString={"secret": "prod/db"}), keep=True),
    "stages of another type": Fault(_with(VersionStages="AWSCURRENT"), keep=True),
    "other name": Fault(_with(Name=OTHER), keep=True),
    "other ARN": Fault(_other_arn, keep=True),
    "other secret": Fault(_other_secret, keep=True),
    "no name": Fault(_with(Name=_ABSENT), keep=True),
    "no ARN": Fault(_with(ARN=_ABSENT), keep=True),
    "no version": Fault(_with(VersionId=_ABSENT), keep=True),
    "no stage": Fault(_with(VersionStages=_ABSENT), keep=True),
    "other stage": Fault(_with(VersionStages=["AWSPREVIOUS"]), keep=True),
    "8 MiB": Fault(_eight_mib, keep=True),
    # Redirects
    **{f"redirect {status}": Fault(_redirect(status), keep=True) for status in (301, 302, 303, 307, 308)},
    # Errors
    "throttled": Fault(_error("ThrottlingException"), keep=True),
    "access denied": Fault(_error("AccessDeniedException"), keep=True),
    "expired token": Fault(_error("ExpiredTokenException"), keep=True),
    "decryption": Fault(_error("DecryptionFailure"), keep=True),
    "not found": Fault(_error("ResourceNotFoundException"), keep=True),
    "deleted": Fault(_error("InvalidRequestException", message=_DELETED), keep=True),
    "500": Fault(_error("InternalServiceError", 500), keep=True),
    "500, HTML": Fault(_says(b"<h1>Oh</h1>", status=500, headers={"content-type": "text/html"}), keep=True),
    **{
        f"{status}, HTML": Fault(_says(b"<h1>No</h1>", status=status, headers={"content-type": "text/html"}), keep=True)
        for status in (400, 401, 403, 404, 407)
    },
    "403, HTML said to be JSON": Fault(_says(b"<h1>No</h1>", status=403), keep=True),
    "403 without a body": Fault(_says(b"", status=403), keep=True),
    "503": Fault(_error("ServiceUnavailable", 503), keep=True),
    "503 with Retry-After": Fault(_error("ServiceUnavailable", 503, retry_after="3600"), keep=True),
    "429 without a body": Fault(_says(b"", status=429), keep=True),
    "400, null": Fault(_says(b"null", status=400), keep=True),
    "400, a list": Fault(_says(b"[1]", status=400), keep=True),
    "400, code of another type": Fault(_says(b'{"__type": 7, "Message": {"a": 1}}', status=400), keep=True),
    # What a second attempt heals
    "closed once": Fault(_nothing, once=True),
    "reset once": Fault(_reset, once=True),
    "throttled once": Fault(_error("ThrottlingException"), once=True, keep=True),
    "503 with Retry-After once": Fault(_error("ServiceUnavailable", 503, retry_after="3600"), once=True, keep=True),
    "idle drop": Fault(_answer_and_close),
    # Two answers to one request
    "two answers at once": Fault(_two_at_once, keep=True),
    "two answers in turn": Fault(_two_in_turn, keep=True),
}


class FaultServer:
    """The server. `keep_alive=False` has it close each connection after a healthy answer, as HTTP allows."""

    def __init__(self) -> None:
        self.edition = 1
        self.keep_alive = True
        self.fired: Counter[str] = Counter()
        self.requests: list[str] = []
        self.strays = 0  # connections to where the redirects point
        self.mebibytes = 0  # how much of a body without end the client took last
        self.healed = asyncio.Event()
        self.chance: Callable[[], str | None] = lambda: None  # a fault for the next request, or None
        self._fault: str | None = None
        self._spent = False
        self._busy = 0
        self._idle = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        """Listen on two ports: one for the client, one where redirects lead."""
        self._trap = await asyncio.start_server(self._stray, "127.0.0.1", 0)
        self.elsewhere: int = self._trap.sockets[0].getsockname()[1]
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all that is under way."""
        self._server.close()
        self._trap.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    async def break_with(self, name: str) -> None:
        """From now on, every request meets this fault."""
        self._fault, self._spent = name, False
        self.healed.clear()
        if name == "refused":
            await self._refuse()

    async def heal(self, edition: int) -> None:
        """Answer rightly again, in a new edition."""
        if self._fault == "refused":
            self._server = await asyncio.start_server(self._connected, sock=self._reserved)
        self._fault, self.edition = None, edition
        self.healed.set()

    async def quiet(self) -> None:
        """Wait until what was under way has been sent, and the client's loop has had a chance to read it."""
        while self._busy:
            self._idle.clear()
            await self._idle.wait()
        for _ in range(5):
            await asyncio.sleep(0)

    async def _refuse(self) -> None:
        """Stop listening, and hold the port meanwhile; count the fault when a connection is really refused."""
        self._server.close()
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", self.port))
        try:
            await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            self.fired["refused"] += 1

    def _stray(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.strays += 1
        writer.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A client that leaves, before or in the middle of anything, is part of what is tested.
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                fault = FAULTS.get(self._fault or "")
                if fault is not None and fault.at_accept:
                    await self._meet(str(self._fault), fault, Exchange(self, reader, writer))
                else:
                    while await self._exchange(reader, writer):
                        pass
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; say whether the connection stays open."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        # The local agent is asked by a query, Secrets Manager by a body.
        query = re.search(rb"[?&]secretId=([^& ]+)", head)
        name = unquote(query[1].decode()) if query else json.loads(body)["SecretId"]
        at = Exchange(self, reader, writer, name)
        self.requests.append(at.name)
        fault = self._fault or self.chance()
        if fault is None or (FAULTS[fault].once and self._spent):
            await at.send(at.message())
            return self.keep_alive
        self._spent = True
        await self._meet(fault, FAULTS[fault], at)
        return FAULTS[fault].keep

    async def _meet(self, name: str, fault: Fault, at: Exchange) -> None:
        self.fired[name] += 1
        self._busy += 1
        try:
            await fault.act(at)
        finally:
            self._busy -= 1
            self._idle.set()
