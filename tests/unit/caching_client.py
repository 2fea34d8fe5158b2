"""A `CustomSession` whose client has a cache of its own, which `refresh_secret_value` goes past."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class CachingClient:
    """A client of a `CustomSession`, with a cache that also answers batches."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        self.calls: list[str] = []
        self.error: Exception | None = None
        self._cached: dict[str, Any] = {}

    def _answer(self, name: str, *, fresh: bool = False) -> Any:  # noqa: ANN401 (botocore's)
        if fresh or name not in self._cached:
            self._cached[name] = {
                "ARN": f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCd12",
                "Name": name,
                "VersionId": "v" * 32,
                "SecretString": self.values[name],
                "VersionStages": ["AWSCURRENT", "AWSPREVIOUS"],
            }
        return self._cached[name]

    async def get_secret_value(self, **parameters: str) -> Any:  # noqa: ANN401 (botocore's)
        """Answer, from the cache perhaps."""
        self.calls.append(f"get {parameters['SecretId']}")
        return self._answer(parameters["SecretId"])

    async def refresh_secret_value(self, **parameters: str) -> Any:  # noqa: ANN401 (botocore's)
        """Answer past the cache."""
        self.calls.append(f"refresh {parameters['SecretId']}")
        return self._answer(parameters["SecretId"], fresh=True)

    async def batch_get_secret_value(self, **parameters: Any) -> Any:  # noqa: ANN401 (botocore's)
        """Answer, from the cache perhaps."""
        self.calls.append(f"batch {' '.join(parameters['SecretIdList'])}")
        if self.error is not None:
            raise self.error
        return {"SecretValues": [self._answer(name) for name in parameters["SecretIdList"]], "Errors": []}


class CachingSession:
    """A session of such a client."""

    region_name = "us-east-1"

    def __init__(self, client: CachingClient) -> None:
        self.client = client

    @asynccontextmanager
    async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Any]:
        """Lend the client."""
        del region_name
        yield self.client
