"""boto3, by the class that many services have a copy of: a session and a client for each call."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NAME = "bench/database"


class CredentialsManager:
    """What the copied class does, without its decorator."""

    def __init__(self, secret_name: str, region_name: str, endpoint: str) -> None:
        self.secret_name = secret_name
        self.region_name = region_name
        self.endpoint = endpoint

    def retrieve_secret_string(self) -> Any:
        """Return the secret's JSON, parsed."""
        import boto3

        session = boto3.session.Session()
        client = session.client(
            service_name="secretsmanager",
            region_name=self.region_name,
            endpoint_url=self.endpoint,
        )
        response = client.get_secret_value(SecretId=self.secret_name)
        return json.loads(response["SecretString"])


def first_value(endpoint: str) -> Any:
    """Read one secret with that class."""
    return CredentialsManager(NAME, "us-east-1", endpoint).retrieve_secret_string()


@asynccontextmanager
async def opened(endpoint: str, *, ttl: float = 300) -> AsyncIterator[Callable[[str], Any]]:  # noqa: ARG001 (it has no cache)
    """Make one client for all calls; yield a function that fetches a secret, and blocks."""
    import boto3

    client = boto3.client("secretsmanager", region_name="us-east-1", endpoint_url=endpoint)

    def read(name: str) -> Any:
        return json.loads(client.get_secret_value(SecretId=name)["SecretString"])

    try:
        yield read
    finally:
        client.close()
