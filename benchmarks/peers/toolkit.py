"""fastapi-toolkit: a pydantic model per secret, fetched by botocore in a thread, and cached.

Each fetch opens a session and a client. The name of the secret is `environment/project`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NAME = "bench/database"


def new_settings(endpoint: str, ttl: int) -> Any:
    """Return the settings with one secret."""
    from fastapi_toolkit import BaseSettings, SecretSettings
    from loguru import logger

    # It writes a line per fetch, which isn't what we measure.
    logger.remove()

    class DatabaseSecret(SecretSettings):
        engine: str = ""
        host: str = ""
        username: str = ""
        password: str = ""
        dbname: str = ""
        port: int = 0
        dbClusterIdentifier: str = ""  # noqa: N815 (the key in AWS's JSON)

    environment, project = NAME.split("/")
    return BaseSettings[DatabaseSecret](
        project=project,
        environment=environment,
        region="us-east-1",
        secret_model=DatabaseSecret,
        aws_endpoint_url=endpoint,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 (a made-up key)
        cache_ttl=ttl,
    )


async def first_value(endpoint: str) -> Any:
    """Read the secret through new settings."""
    return await new_settings(endpoint, 300).get_secret()


@asynccontextmanager
async def opened(
    endpoint: str,
    *,
    ttl: float = 300,
) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """Make the settings; yield a function that reads their one secret, whatever the name."""
    settings = new_settings(endpoint, max(1, int(ttl)))

    async def read(_name: str) -> Any:
        return await settings.get_secret()

    yield read
