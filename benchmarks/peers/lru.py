"""async-lru around one aioboto3 client: what people write who want one fetch for all callers."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@asynccontextmanager
async def opened(
    endpoint: str,
    *,
    ttl: float = 300,
) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """Open one client for all calls; yield a cached function that fetches a secret."""
    import aioboto3
    from async_lru import alru_cache

    session = aioboto3.Session()
    async with session.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=endpoint,
    ) as client:

        @alru_cache(maxsize=None, ttl=ttl)
        async def read(name: str) -> Any:
            response = await client.get_secret_value(SecretId=name)
            return json.loads(response["SecretString"])

        try:
            yield read
        finally:
            await read.cache_close()
