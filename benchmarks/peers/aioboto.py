"""aioboto3: a session and a client for each call, as its documentation shows; or one client."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NAME = "bench/database"


async def first_value(endpoint: str) -> Any:
    """Open, fetch and close a session and a client."""
    import aioboto3

    session = aioboto3.Session()
    async with session.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=endpoint,
    ) as client:
        response = await client.get_secret_value(SecretId=NAME)
    return json.loads(response["SecretString"])


@asynccontextmanager
async def opened(
    endpoint: str,
    *,
    ttl: float = 300,  # noqa: ARG001 (it has no cache)
) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """Open one client for all calls; yield a function that fetches a secret."""
    import aioboto3

    session = aioboto3.Session()
    async with session.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=endpoint,
    ) as client:

        async def read(name: str) -> Any:
            response = await client.get_secret_value(SecretId=name)
            return json.loads(response["SecretString"])

        yield read
