"""A small, fast stand-in for Secrets Manager: loopback only, keep-alive, in its own process.

It answers GetSecretValue, BatchGetSecretValue and DescribeSecret for every name, so a benchmark
measures its client and little else. When it listens, it prints `{"port": N}`. When its standard
input closes, it exits: so it can't outlive its parent.

`GET /stats` returns the number of requests per operation, `POST /reset` sets all of them to 0, and
after `POST /latency?ms=20` the server sends each answer 20 ms later.
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

# AWS adds a hyphen and six characters to the name in an ARN.
SUFFIX_LENGTH = 7

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

# The HTTP status, and the JSON document.
Answer = tuple[int, dict[str, Any]]


def secret_value(secret_id: str, stage: str) -> dict[str, Any]:
    """Return the answer of AWS for one secret, which is the same for its name and its ARN."""
    name = secret_id
    if secret_id.startswith(ACCOUNT):
        name = secret_id.removeprefix(ACCOUNT)[:-SUFFIX_LENGTH]

    digest = hashlib.sha256(name.encode()).hexdigest()
    version_id = [
        digest[:8],
        digest[8:12],
        "4" + digest[13:16],
        "8" + digest[17:20],
        digest[20:32],
    ]
    return {
        "ARN": f"{ACCOUNT}{name}-{digest[:6]}",
        "CreatedDate": 1700000000.123,
        "Name": name,
        "SecretString": SECRET_STRING,
        "VersionId": "-".join(version_id),
        "VersionStages": [stage],
    }


def answer(operation: str, body: bytes) -> Answer:
    """Return the status and the body, not yet encoded, for one call of the API."""
    request = json.loads(body)
    match operation:
        case "GetSecretValue":
            stage = request.get("VersionStage", "AWSCURRENT")
            return 200, secret_value(request["SecretId"], stage)
        case "BatchGetSecretValue":
            return answer_batch(request["SecretIdList"])
        case "DescribeSecret":
            return 200, describe_secret(request["SecretId"])
        case _:
            return bad_request("UnknownOperationException", "The stub knows three operations.")


def answer_batch(names: list[str]) -> Answer:
    """Return the values of several secrets."""
    if not 1 <= len(names) <= BATCH_LIMIT:
        return bad_request("InvalidParameterException", "SecretIdList takes 1 to 20 ids.")

    secrets = [secret_value(name, "AWSCURRENT") for name in names]
    return 200, {"SecretValues": secrets, "Errors": []}


def describe_secret(secret_id: str) -> dict[str, Any]:
    """Return the one version of a secret with its staging label."""
    secret = secret_value(secret_id, "AWSCURRENT")
    return {
        "ARN": secret["ARN"],
        "Name": secret["Name"],
        "VersionIdsToStages": {secret["VersionId"]: secret["VersionStages"]},
    }


def bad_request(error: str, message: str) -> Answer:
    """Return an error as AWS writes it."""
    return 400, {"__type": error, "Message": message}


class Stub:
    """The counts and the latency, which all connections share."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.latency = 0.0

    def control(self, method: str, path: str) -> Answer:
        """Answer the requests of the benchmark itself: counts, reset, latency."""
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
            case _:
                return 404, {}


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
            key, _, value = line.partition(": ")
            headers[key.lower()] = value
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
            loop = asyncio.get_running_loop()
            loop.call_later(self.stub.latency, self.write, status, document)
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


async def main() -> None:
    """Serve on a free loopback port until stdin closes."""
    stub = Stub()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(stub),
        "127.0.0.1",
        0,
        backlog=1024,
    )

    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"port": port}), flush=True)

    gc.freeze()
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
