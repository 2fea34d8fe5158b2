"""What the tests of the transport share: certificates, ways to fetch, and routes to the endpoint."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aiobotocore.config import AioConfig

from aiocredentials import AsyncCredentialsManager, CredentialsPool
from server.tls_servers import AWSServer, ConnectProxy, SecretsManagerStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import aioboto3
    import pytest

    from server.certificates import Authority, Leaf

SECRET = "prod/database"
REGION = "us-east-1"
TIMEOUT = 5.0
SESSION_TOKEN = "a-session-token"
EXPECTED = json.loads(SecretsManagerStub.value)

# What the error must say of each flaw: one of these words, in lower case, whatever OpenSSL's wording is today.
FLAWS: dict[str, tuple[str, ...]] = {
    "wrong host name": ("hostname mismatch", "host name", "hostname"),
    "untrusted authority": ("unable to get local issuer", "unknown ca", "self-signed certificate in certificate chain"),
    "expired": ("expired",),
    "self-signed": ("self-signed", "self signed"),
}
ROUTES = ("direct", "proxy argument", "proxy environment")
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Certificates:
    """All that the servers of one test run can show."""

    directory: Path
    authority: Authority
    right: Leaf
    aws: Leaf
    flawed: dict[str, Leaf]


class Fetch(Protocol):
    """One fetch of the secret through the public API."""

    async def __call__(
        self,
        endpoint_url: str | None,
        config: AioConfig | None = None,
        *,
        session: aioboto3.Session | None = None,
        region_name: str = REGION,
    ) -> object:
        """Give the secret's JSON value."""


async def per_call(
    endpoint_url: str | None,
    config: AioConfig | None = None,
    *,
    session: aioboto3.Session | None = None,
    region_name: str = REGION,
) -> object:
    """Fetch with a session per call."""
    manager = AsyncCredentialsManager(
        SECRET, region_name=region_name, session=session, endpoint_url=endpoint_url, config=config, timeout=TIMEOUT
    )
    return await manager.retrieve_secret_string()


async def pooled(
    endpoint_url: str | None,
    config: AioConfig | None = None,
    *,
    session: aioboto3.Session | None = None,
    region_name: str = REGION,
) -> object:
    """Fetch with a pool."""
    async with CredentialsPool(
        region_name=region_name, session=session, endpoint_url=endpoint_url, config=config, timeout=TIMEOUT
    ) as pool:
        return await pool.manager(SECRET).retrieve_secret_string()


def one_attempt(**options: Any) -> AioConfig:  # noqa: ANN401 (botocore's options)
    """Make a user's config that doesn't retry: each retry of a refused handshake waits about a second."""
    return AioConfig(retries={"mode": "standard", "total_max_attempts": 1}, **options)


@asynccontextmanager
async def routed(route: str, environment: pytest.MonkeyPatch) -> AsyncIterator[tuple[AioConfig, ConnectProxy]]:
    """Open a proxy and give the config that leads by this route; a direct one leaves the proxy alone."""
    async with ConnectProxy() as proxy:
        if route == "proxy environment":
            environment.setenv("HTTPS_PROXY", proxy.url())
        yield one_attempt(proxies={"https": proxy.url()}) if route == "proxy argument" else one_attempt(), proxy


def tells(error: BaseException, flaw: str) -> bool:
    """Whether the error's text names the flaw."""
    return any(word in str(error).lower() for word in FLAWS[flaw])


def signed_by(server: AWSServer) -> list[tuple[str, str | None]]:
    """Give the access key and the session token of each request that the server got."""
    return [
        (
            request.headers["authorization"].partition("Credential=")[2].partition("/")[0],
            request.headers.get("x-amz-security-token"),
        )
        for request in server.requests
    ]
