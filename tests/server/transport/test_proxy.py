"""A proxy that refuses, that wants a password, or that speaks TLS itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiocredentials.errors import EndpointUnreachableError
from server.certificates import Authority, server_context
from server.tls_servers import ConnectProxy, SecretsManagerStub

if TYPE_CHECKING:
    from pathlib import Path
from server.transport.fetching import EXPECTED, Certificates, Fetch, one_attempt


class TestProxy:
    """The proxy itself: one that won't, one that isn't there, one that speaks TLS."""

    @pytest.mark.parametrize("status", [407, 502])
    async def test_refusing(self, fetch: Fetch, certificates: Certificates, status: int) -> None:
        """A proxy that refuses the tunnel is an endpoint that can't be reached, and nobody goes around it."""
        async with (
            SecretsManagerStub(server_context(certificates.right)) as server,
            ConnectProxy(refusal=status) as proxy,
        ):
            with pytest.raises(EndpointUnreachableError) as caught:
                await fetch(server.url(), one_attempt(proxies={"https": proxy.url()}))
            assert caught.value.transient is True
            assert proxy.tunnels == [f"localhost:{server.port}"]
            assert server.connections == 0

    async def test_password(self, fetch: Fetch, certificates: Certificates) -> None:
        """The proxy's password goes to the proxy, not to the endpoint, and not into the error when it is refused."""
        async with SecretsManagerStub(server_context(certificates.right)) as server:
            async with ConnectProxy() as proxy:
                url = proxy.url().replace("://", "://user:hunter2@")
                assert await fetch(server.url(), one_attempt(proxies={"https": url})) == EXPECTED
                assert [request.headers.get("proxy-authorization") for request in proxy.requests] == [
                    "Basic dXNlcjpodW50ZXIy"
                ]
                assert [request.headers.get("proxy-authorization") for request in server.requests] == [None]
            async with ConnectProxy(refusal=407) as proxy:
                url = proxy.url().replace("://", "://user:hunter2@")
                with pytest.raises(EndpointUnreachableError) as caught:
                    await fetch(server.url(), one_attempt(proxies={"https": url}))
                assert "hunter2" not in f"{caught.value} {caught.value!r}"
                assert "dXNlcjpodW50ZXIy" not in f"{caught.value} {caught.value!r}"

    async def test_over_tls(self, fetch: Fetch, certificates: Certificates) -> None:
        """A proxy that speaks TLS proves its own name before it is told which endpoint we want."""
        async with SecretsManagerStub(server_context(certificates.right)) as server:
            async with ConnectProxy(server_context(certificates.right)) as proxy:
                assert await fetch(server.url(), one_attempt(proxies={"https": proxy.url()})) == EXPECTED
            async with ConnectProxy(server_context(certificates.flawed["wrong host name"])) as proxy:
                with pytest.raises(EndpointUnreachableError):
                    await fetch(server.url(), one_attempt(proxies={"https": proxy.url()}))
                assert proxy.tunnels == []

    async def test_over_tls_is_not_shown_our_certificate(self, fetch: Fetch, certificates: Certificates) -> None:
        """The client certificate is for the endpoint: a proxy that asks for one doesn't get it."""
        demanding = server_context(certificates.right, clients_of=certificates.authority)
        async with (
            SecretsManagerStub(server_context(certificates.right)) as server,
            ConnectProxy(demanding) as proxy,
        ):
            pair = certificates.authority.client("payments").pair
            with pytest.raises(EndpointUnreachableError):
                await fetch(server.url(), one_attempt(client_cert=pair, proxies={"https": proxy.url()}))
            assert proxy.tunnels == []
            assert server.connections == 0

    async def test_over_tls_with_settings_of_its_own(
        self, fetch: Fetch, certificates: Certificates, tmp_path: Path
    ) -> None:
        """`proxies_config` gives the proxy an authority and a certificate that aren't the endpoint's."""
        private = Authority(tmp_path, "private")
        demanding = server_context(private.leaf("localhost"), clients_of=private)
        async with (
            SecretsManagerStub(server_context(certificates.right)) as server,
            ConnectProxy(demanding) as proxy,
        ):
            settings = {"proxy_ca_bundle": str(private.bundle), "proxy_client_cert": private.client("app").pair}
            config = one_attempt(proxies={"https": proxy.url()}, proxies_config=settings)
            assert await fetch(server.url(), config) == EXPECTED
            assert proxy.tunnels == [f"localhost:{server.port}"]
            with pytest.raises(EndpointUnreachableError):
                await fetch(server.url(), one_attempt(proxies={"https": proxy.url()}))
