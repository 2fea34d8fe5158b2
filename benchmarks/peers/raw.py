"""The limit of a fetch: a signed POST by aiohttp, without retries, checks or a chain."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NAME = "bench/database"
KEY = "testing"
TARGET = "secretsmanager.GetSecretValue"
SIGNED = "content-type;host;x-amz-date;x-amz-target"


def digest(key: bytes, text: str) -> bytes:
    """Return one step of AWS's chain of keys."""
    return hmac.digest(key, text.encode(), "sha256")


def signed_headers(host: str, body: bytes) -> dict[str, str]:
    """Return the headers of a call, signed by AWS's Signature Version 4."""
    now = datetime.now(UTC)
    time = now.strftime("%Y%m%dT%H%M%SZ")
    day = time[:8]
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": host,
        "x-amz-date": time,
        "x-amz-target": TARGET,
    }
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"POST\n/\n\n{lines}\n{SIGNED}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{day}/us-east-1/secretsmanager/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashed}"

    key = digest(f"AWS4{KEY}".encode(), day)
    for part in ("us-east-1", "secretsmanager", "aws4_request"):
        key = digest(key, part)
    signature = digest(key, to_sign).hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={SIGNED}, Signature={signature}"
    )
    return headers


@asynccontextmanager
async def opened(
    endpoint: str,
    *,
    ttl: float = 300,  # noqa: ARG001 (it has no cache)
) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """Open one HTTP session for all calls; yield a function that fetches a secret."""
    import aiohttp

    host = endpoint.partition("://")[2]
    async with aiohttp.ClientSession() as session:

        async def read(name: str) -> Any:
            body = json.dumps({"SecretId": name}).encode()
            headers = signed_headers(host, body)
            async with session.post(endpoint, data=body, headers=headers) as response:
                document = json.loads(await response.read())
            return json.loads(document["SecretString"])

        yield read


async def first_value(endpoint: str) -> Any:
    """Open, fetch and close an HTTP session."""
    async with opened(endpoint) as read:
        return await read(NAME)
