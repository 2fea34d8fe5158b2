"""A small, fast stand-in for Secrets Manager: loopback only, keep-alive, in its own process.

It answers for every name (stub_secrets.py), so a benchmark measures its client and little else.
When it listens, it prints `{"port": N, "tls_port": N}`. When its standard input closes, it exits:
so it can't outlive its parent.

    python stub_server.py [CERTIFICATE KEY]

With a certificate, it also listens for TLS, on a second port. `GET /stats` returns the number of
requests per operation, `POST /reset` sets all of them to 0, after `POST /latency?ms=20` the server
sends each answer 20 ms later, and `POST /release` sends at once the answers that still wait.
"""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import sys
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from stub_secrets import Answer, answer

if TYPE_CHECKING:
    from collections.abc import Callable


class Stub:
    """The counts and the latency, which all connections share."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.latency = 0.0
        # Answers that wait for their time: what sends them, by the timer that will.
        self.waiting: dict[asyncio.TimerHandle, Callable[[], None]] = {}

    def control(self, method: str, path: str) -> Answer:
        """Answer the requests of the benchmark itself: counts, reset, latency, release."""
        action, _, value = path.partition("?ms=")
        match method, action:
            case "GET", "/stats":
                return 200, dict(self.counts)
            case "POST", "/reset":
                self.counts.clear()
                return 200, {}
            case "POST", "/latency":
                self.latency = float(value) / 1000
                return 200, {}
            case "POST", "/release":
                self.release()
                return 200, {}
            case _:
                return 404, {}

    def send_later(self, send: Callable[[], None]) -> None:
        """Send an answer after the latency."""

        def send_now() -> None:
            del self.waiting[timer]
            send()

        timer = asyncio.get_running_loop().call_later(self.latency, send_now)
        self.waiting[timer] = send

    def release(self) -> None:
        """Send all answers that wait for their time."""
        waiting = self.waiting
        self.waiting = {}
        for timer, send in waiting.items():
            timer.cancel()
            send()


class Connection(asyncio.Protocol):
    """One keep-alive connection. It understands neither chunked bodies nor pipelined requests."""

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        self.buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect the bytes until a request is complete, then answer it."""
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return

        request_line, *lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            key, _, value = line.partition(":")
            headers[key.lower()] = value.strip()
        if len(body) < int(headers.get("content-length", 0)):
            return

        self.buffer = b""
        target = headers.get("x-amz-target")
        if target is None:
            method, path, _ = request_line.split(" ")
            self.write(*self.stub.control(method, path))
        else:
            self.answer_call(target.rpartition(".")[2], body)

    def answer_call(self, operation: str, body: bytes) -> None:
        """Count a call of the API and answer it, at once or after the latency."""
        self.stub.counts[operation] += 1
        status, document = answer(operation, body)
        if self.stub.latency:
            self.stub.send_later(lambda: self.write(status, document))
        else:
            self.write(status, document)

    def write(self, status: int, document: dict[str, Any]) -> None:
        """Send one answer, unless the client has closed the connection in the meantime."""
        if self.transport.is_closing():
            return

        payload = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            "content-type: application/x-amz-json-1.1\r\n"
            "x-amzn-requestid: 00000000-0000-4000-8000-000000000000\r\n"
            f"content-length: {len(payload)}\r\n\r\n"
        )
        self.transport.write(head.encode() + payload)


async def listen(stub: Stub, context: ssl.SSLContext | None) -> int:
    """Listen on a free loopback port, and return it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(stub),
        "127.0.0.1",
        0,
        backlog=1024,
        ssl=context,
    )
    port: int = server.sockets[0].getsockname()[1]
    return port


async def main() -> None:
    """Serve until stdin closes."""
    stub = Stub()
    ports = {"port": await listen(stub, None)}
    certificate_and_key = sys.argv[1:]
    if certificate_and_key:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate_and_key)
        ports["tls_port"] = await listen(stub, context)
    print(json.dumps(ports), flush=True)

    gc.freeze()
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(main())
