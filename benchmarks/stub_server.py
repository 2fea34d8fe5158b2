"""A small, fast stand-in for Secrets Manager: loopback only, keep-alive, in a process of its own.

It answers GetSecretValue, BatchGetSecretValue and DescribeSecret for every name, so that a benchmark pays for its
client and for little else. `{"port": N}` goes to stdout when it listens; it exits when its stdin closes, so that it
can't outlive its parent.

`GET /stats` gives the number of requests by operation, `POST /reset` empties it, and `POST /latency?ms=20` makes every
answer from then on wait, each request on its own.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import sys
from collections import Counter
from http import HTTPStatus
from typing import Any, cast

ACCOUNT = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
BATCH_LIMIT = 20
CREDENTIALS = {
    "engine": "postgres",
    "host": "database.cluster-c0ffee123456.us-east-1.rds.amazonaws.com",
    "username": "application",
    "password": "not-a-real-password-0123456789",
    "dbname": "orders",
    "port": 5432,
    "dbClusterIdentifier": "database",
}
SECRET_STRING = json.dumps(CREDENTIALS)


def secret_value(secret_id: str, stage: str) -> dict[str, Any]:
    """Build one secret as AWS answers it; name and ARN of a secret give the same one."""
    name = secret_id.removeprefix(ACCOUNT)[:-7] if secret_id.startswith(ACCOUNT) else secret_id
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {
        "ARN": f"{ACCOUNT}{name}-{digest[:6]}",
        "CreatedDate": 1700000000.123,
        "Name": name,
        "SecretString": SECRET_STRING,
        "VersionId": f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}",
        "VersionStages": [stage],
    }


def answer(operation: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Answer one call of the API: the status and the body, not yet encoded."""
    request = json.loads(body)
    if operation == "GetSecretValue":
        return 200, secret_value(request["SecretId"], request.get("VersionStage", "AWSCURRENT"))
    if operation == "BatchGetSecretValue":
        names = request["SecretIdList"]
        if not 1 <= len(names) <= BATCH_LIMIT:
            return 400, {
                "__type": "InvalidParameterException",
                "Message": "SecretIdList takes 1 to 20 ids.",
            }
        return 200, {
            "SecretValues": [secret_value(name, "AWSCURRENT") for name in names],
            "Errors": [],
        }
    if operation == "DescribeSecret":
        secret = secret_value(request["SecretId"], "AWSCURRENT")
        versions = {secret["VersionId"]: secret["VersionStages"]}
        return 200, {"ARN": secret["ARN"], "Name": secret["Name"], "VersionIdsToStages": versions}
    return 400, {
        "__type": "UnknownOperationException",
        "Message": "The stub knows three operations.",
    }


class Stub:
    """What all connections share: the counts and the latency."""

    def __init__(self) -> None:
        """Start with nothing counted and no latency."""
        self.counts: Counter[str] = Counter()
        self.latency = 0.0

    def control(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        """Answer the benchmark itself: counts, reset, latency."""
        if (method, path) == ("GET", "/stats"):
            return 200, dict(self.counts)
        if (method, path) == ("POST", "/reset"):
            self.counts.clear()
            return 200, {}
        if method == "POST" and path.startswith("/latency?ms="):
            self.latency = float(path.partition("=")[2]) / 1000
            return 200, {}
        return 404, {}


class Connection(asyncio.Protocol):
    """One keep-alive connection. Only what a well-behaved client sends is understood: no chunks, no pipelining."""

    def __init__(self, stub: Stub) -> None:
        """Begin with an empty buffer."""
        self.stub = stub
        self.buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect until one request is whole, then answer it."""
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        request_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
        if len(body) < int(headers.get("content-length", 0)):
            return
        self.buffer = b""
        target = headers.get("x-amz-target")
        if target is None:
            method, path, _ = request_line.split(" ")
            self.write(*self.stub.control(method, path))
            return
        operation = target.rpartition(".")[2]
        self.stub.counts[operation] += 1
        status, document = answer(operation, body)
        if self.stub.latency:
            asyncio.get_running_loop().call_later(self.stub.latency, self.write, status, document)
        else:
            self.write(status, document)

    def write(self, status: int, document: dict[str, Any]) -> None:
        """Send one answer, unless the client has gone in the meantime."""
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


async def main() -> None:
    """Serve on a free loopback port until stdin closes."""
    stub = Stub()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(stub), "127.0.0.1", 0, backlog=1024
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    gc.freeze()
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
