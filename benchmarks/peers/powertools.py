"""Powertools for AWS Lambda: `get_secret` with `transform="json"`, and its provider made before."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NAME = "bench/database"

# Secrets Manager takes ten values in a filter by name, by which Powertools fetches several secrets.
FILTER_LIMIT = 10


def new_provider(endpoint: str) -> Any:
    """Return a provider of secrets."""
    import boto3
    from aws_lambda_powertools.utilities.parameters import SecretsProvider

    client = boto3.client("secretsmanager", region_name="us-east-1", endpoint_url=endpoint)
    return SecretsProvider(boto3_client=client)


def first_value(endpoint: str) -> Any:
    """Read one secret through a new provider."""
    return new_provider(endpoint).get(NAME, transform="json")


@asynccontextmanager
async def opened(endpoint: str, *, ttl: float = 300) -> AsyncIterator[Callable[[str], Any]]:
    """Make a provider; yield a function that reads a secret's JSON, and blocks while it fetches."""
    provider = new_provider(endpoint)
    # The default of 5 s would make most reads fetches. It takes whole seconds.
    max_age = max(1, int(ttl))

    def read(name: str) -> Any:
        return provider.get(name, max_age=max_age, transform="json")

    yield read


async def start(endpoint: str, names: list[str]) -> None:
    """Fetch all of these secrets, ten per call, in threads."""
    provider = new_provider(endpoint)
    calls = []
    for first in range(0, len(names), FILTER_LIMIT):
        few = names[first : first + FILTER_LIMIT]
        calls.append(asyncio.to_thread(provider.get_multiple, few, max_age=300, transform="json"))
    await asyncio.gather(*calls)
