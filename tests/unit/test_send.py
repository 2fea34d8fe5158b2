"""The way of a request through the transport: a URL is checked once, and again when anything has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import ProxyConfiguration

from aiocredentials import CredentialsPool
from aiocredentials._aws.transport import TrustedSession
from aiocredentials.errors import TransportError

if TYPE_CHECKING:
    from server.stub import StubSecretsManager


def request_to(url: str) -> AWSPreparedRequest:
    """Make a request that is ready to be sent."""
    return AWSPreparedRequest("POST", url, {}, b"{}", False)  # noqa: FBT003 (a positional parameter of botocore)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each URL that is checked."""
    urls: list[str] = []
    check = TrustedSession._check_endpoint

    def noting(self: TrustedSession, request: Any) -> None:  # noqa: ANN401 (a request of botocore's)
        urls.append(request.url)
        check(self, request)

    monkeypatch.setattr(TrustedSession, "_check_endpoint", noting)
    return urls


async def test_checked_once(stub: StubSecretsManager, checked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests of a client have one URL, so it is checked once, and its proxy is looked up once per request."""
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        manager = pool.manager("prod/db", policy=None)
        await manager.secret()
        lookups: list[str] = []
        find = ProxyConfiguration.proxy_url_for

        def noting(self: ProxyConfiguration, url: str) -> Any:  # noqa: ANN401 (as botocore declares it)
            lookups.append(url)
            return find(self, url)

        monkeypatch.setattr(ProxyConfiguration, "proxy_url_for", noting)
        for _ in range(3):
            await manager.secret()
    assert checked == [f"{stub.url}/"]
    assert lookups == [f"{stub.url}/"] * 3


async def test_another_url(stub: StubSecretsManager, checked: list[str]) -> None:
    """Another URL of the same client is checked, and so is the first one when it comes again."""
    url = f"{stub.url}/"
    refused = f"http://user:password@127.0.0.1:{stub.port}/"
    async with TrustedSession() as session:
        for each in (url, url, f"{url}x"):
            await session.send(request_to(each))
        for _ in range(2):
            with pytest.raises(TransportError, match="a user and a password"):
                await session.send(request_to(refused))
        await session.send(request_to(url))
    assert checked == [url, f"{url}x", refused, refused, url]


async def test_closed(stub: StubSecretsManager) -> None:
    """A closed session sends nothing, with an error that botocore doesn't take for a failed connection."""
    async with TrustedSession() as session:
        await session.send(request_to(f"{stub.url}/"))
    with pytest.raises(aiohttp.ClientConnectionError, match="is closed"):
        await session.send(request_to(f"{stub.url}/"))
    assert len(stub.requests) == 1
