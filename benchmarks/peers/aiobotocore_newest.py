"""aiobotocore, whose newest release loads botocore's data in a thread if its config says so."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiobotocore.session import ClientCreatorContext

NAME = "bench/database"


def new_client(endpoint: str, *, warm_up: bool = False) -> ClientCreatorContext[Any]:
    """Return a client that isn't open yet, of a new session."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    session = get_session()
    options = {}
    # It costs a few files more, so it is only used where stalls are measured.
    if warm_up and hasattr(session, "warm_up_loader_caches"):
        options["warm_up_loader_caches"] = True
    return session.create_client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=endpoint,
        config=AioConfig(**options),
    )


async def first_value(endpoint: str, *, warm_up: bool = False) -> Any:
    """Open, fetch and close a session and a client."""
    async with new_client(endpoint, warm_up=warm_up) as client:
        response = await client.get_secret_value(SecretId=NAME)
    return json.loads(response["SecretString"])


async def smooth_first_value(endpoint: str) -> Any:
    """Do the same, with botocore's data loaded in a thread."""
    return await first_value(endpoint, warm_up=True)


@asynccontextmanager
async def opened(
    endpoint: str,
    *,
    ttl: float = 300,  # noqa: ARG001 (it has no cache)
) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """Open one client for all calls; yield a function that fetches a secret."""
    async with new_client(endpoint) as client:

        async def read(name: str) -> Any:
            response = await client.get_secret_value(SecretId=name)
            return json.loads(response["SecretString"])

        yield read
