"""The other sides of the rows: code that people write, and caches that they install.

Each function imports what it needs, so a process loads only the side that it measures.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiobotocore.config import AioConfig

    Loop = Callable[[int], Awaitable[None]]

REGION = "us-east-1"
NAME = "bench/database"


def config(connections: int = 10) -> AioConfig:
    """Return the retries, timeouts and connections that both sides of a pooled row have.

    Args:
        connections: How many connections the client may open; 10 is botocore's default.
    """
    from aiobotocore.config import AioConfig

    return AioConfig(
        connect_timeout=3,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=connections,
    )


async def naive_session_per_call(endpoint: str) -> Any:
    """Open, fetch and close a session and a client per call, as aioboto3's documentation does."""
    import aioboto3

    session = aioboto3.Session()
    async with session.client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=endpoint,
    ) as client:
        response = await client.get_secret_value(SecretId=NAME)
    return json.loads(response["SecretString"])


@asynccontextmanager
async def bare_client(endpoint: str, connections: int = 10) -> AsyncIterator[Any]:
    """Open one aiobotocore client: its calls are the least that a pooled fetch can cost."""
    from aiobotocore.session import get_session

    session = get_session()
    async with session.create_client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=endpoint,
        config=config(connections),
    ) as client:
        yield client


def bare_coroutine() -> Loop:
    """Read a dict in a coroutine: nothing that is awaited can be faster."""
    values = {NAME: object()}

    async def read() -> object:
        return values[NAME]

    async def loop(calls: int) -> None:
        for _ in range(calls):
            await read()

    return loop


def powertools(endpoint: str) -> Loop:
    """Read with Powertools' `get_secret`, whose provider is made before.

    We pass `max_age` because its default is 5 s.
    """
    import boto3
    from aws_lambda_powertools.utilities import parameters
    from aws_lambda_powertools.utilities.parameters.constants import DEFAULT_PROVIDERS

    client = boto3.client("secretsmanager", region_name=REGION, endpoint_url=endpoint)
    DEFAULT_PROVIDERS["secrets"] = parameters.SecretsProvider(boto3_client=client)

    async def loop(calls: int) -> None:
        for _ in range(calls):
            parameters.get_secret(NAME, max_age=300, transform="json")

    return loop


def async_lru(_endpoint: str) -> Loop:
    """Read through async-lru with a TTL. The coroutine inside returns at once: only hits count."""
    from async_lru import alru_cache

    @alru_cache(maxsize=1024, ttl=300)
    async def read(_name: str) -> object:
        return object()

    async def loop(calls: int) -> None:
        for _ in range(calls):
            await read(NAME)

    return loop


def aws_caching(endpoint: str) -> Loop:
    """Read from AWS's own cache with its default configuration: it refreshes after an hour."""
    import boto3
    from aws_secretsmanager_caching import SecretCache

    client = boto3.client("secretsmanager", region_name=REGION, endpoint_url=endpoint)
    cache = SecretCache(client=client)

    async def loop(calls: int) -> None:
        for _ in range(calls):
            cache.get_secret_string(NAME)

    return loop


# Each function takes the stub's endpoint, and returns a loop that makes a number of reads.
OTHER_CACHES: dict[str, Callable[[str], Loop]] = {
    "powertools": powertools,
    "async_lru": async_lru,
    "aws_caching": aws_caching,
}
