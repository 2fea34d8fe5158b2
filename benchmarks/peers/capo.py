"""capo-secrets-manager: an async client on an HTTP stack of its own, without botocore."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NAME = "bench/database"


async def first_value(endpoint: str) -> Any:
    """Open, fetch and close a client."""
    from capo_secrets_manager import AsyncSecretsManagerClient

    async with AsyncSecretsManagerClient(region="us-east-1", endpoint=endpoint) as client:
        response = await client.get_secret_value(secret_id=NAME)
    return json.loads(response["secret_string"])


@asynccontextmanager
async def opened(
    endpoint: str,
    *,
    ttl: float = 300,  # noqa: ARG001 (it has no cache)
) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """Open one client for all calls; yield a function that fetches a secret."""
    from capo_secrets_manager import AsyncSecretsManagerClient

    async with AsyncSecretsManagerClient(region="us-east-1", endpoint=endpoint) as client:

        async def read(name: str) -> Any:
            response = await client.get_secret_value(secret_id=name)
            return json.loads(response["secret_string"])

        yield read
