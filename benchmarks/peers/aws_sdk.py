"""aws-sdk-secrets-manager, AWS's SDK of the next generation: async, and experimental so far."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NAME = "bench/database"


@asynccontextmanager
async def opened(
    endpoint: str,
    *,
    ttl: float = 300,  # noqa: ARG001 (it has no cache)
) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """Open one client for all calls; yield a function that fetches a secret."""
    from aws_sdk_secrets_manager.client import AsyncSecretsManagerClient
    from aws_sdk_secrets_manager.config import AsyncSecretsManagerConfig
    from aws_sdk_secrets_manager.models import GetSecretValueInput

    config = await AsyncSecretsManagerConfig.resolve(region="us-east-1", endpoint_uri=endpoint)
    async with AsyncSecretsManagerClient(config) as client:

        async def read(name: str) -> Any:
            response = await client.get_secret_value(GetSecretValueInput(secret_id=name))
            return json.loads(response.secret_string)

        yield read


async def first_value(endpoint: str) -> Any:
    """Open, fetch and close a client."""
    async with opened(endpoint) as read:
        return await read(NAME)
