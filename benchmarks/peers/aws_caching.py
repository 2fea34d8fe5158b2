"""aws-secretsmanager-caching, AWS's own cache for boto3: a DescribeSecret per refresh interval."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NAME = "bench/database"


def new_cache(endpoint: str, ttl: int) -> Any:
    """Return a cache that refreshes after this many seconds, with room for all secrets."""
    from aws_secretsmanager_caching import SecretCache, SecretCacheConfig
    from botocore.session import get_session

    session = get_session()
    client = session.create_client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=endpoint,
    )
    config = SecretCacheConfig(secret_refresh_interval=ttl, max_cache_size=20_000)
    return SecretCache(config=config, client=client)


def first_value(endpoint: str) -> Any:
    """Read one secret through a new cache."""
    return json.loads(new_cache(endpoint, 3600).get_secret_string(NAME))


@asynccontextmanager
async def opened(endpoint: str, *, ttl: float = 3600) -> AsyncIterator[Callable[[str], Any]]:
    """Make a cache; yield its function, which returns the text and blocks while it fetches."""
    # Its interval is a whole number of seconds, of which it takes a random part.
    cache = new_cache(endpoint, max(1, int(ttl)))
    yield cache.get_secret_string
