"""The certificates of the endpoint: who can't prove to be it never gets a request, over real TLS sockets."""

from __future__ import annotations

import aioboto3
import pytest
from aiobotocore.httpsession import AIOHTTPSession

from aiocredentials.errors import CredentialsError, EndpointUnreachableError
from server.certificates import server_context
from server.tls_servers import ConnectProxy, SecretsManagerStub
from server.transport.fetching import (
    EXPECTED,
    FLAWS,
    REGION,
    ROUTES,
    SESSION_TOKEN,
    Certificates,
    Fetch,
    one_attempt,
    routed,
    signed_by,
    tells,
)

# A configuration that asks for less is either refused or overruled; both keep the promise.
REFUSED = (CredentialsError, TypeError, ValueError)


class TestCertificates:
    """The endpoint's certificate: for this name, signed by an authority that we trust, and in date."""

    @pytest.mark.parametrize("route", ROUTES)
    async def test_right_certificate(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch, route: str
    ) -> None:
        """The endpoint that proves its name is asked, once, through the proxy where there is one."""
        async with (
            SecretsManagerStub(server_context(certificates.right)) as server,
            routed(route, environment) as (config, proxy),
        ):
            assert await fetch(server.url(), config) == EXPECTED
            assert signed_by(server) == [("AKIAFROMENVIRONMENT0", SESSION_TOKEN)]
            assert proxy.tunnels == ([] if route == "direct" else [f"localhost:{server.port}"])

    @pytest.mark.parametrize("route", ROUTES)
    @pytest.mark.parametrize("flaw", FLAWS)
    async def test_flawed_certificate(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch, flaw: str, route: str
    ) -> None:
        """An endpoint that doesn't prove its name gets no request, and the error says what was wrong."""
        async with (
            SecretsManagerStub(server_context(certificates.flawed[flaw])) as server,
            routed(route, environment) as (config, proxy),
        ):
            with pytest.raises(EndpointUnreachableError) as caught:
                await fetch(server.url(), config)
            await server.settle()
            assert caught.value.transient is True
            assert tells(caught.value, flaw), str(caught.value)
            assert server.handshake_failures
            assert server.requests == []
            assert proxy.tunnels == ([] if route == "direct" else [f"localhost:{server.port}"])

    async def test_by_address(self, fetch: Fetch, certificates: Certificates) -> None:
        """An endpoint given as an IP address must have that address in its certificate, and then is asked."""
        async with SecretsManagerStub(server_context(certificates.right)) as server:
            assert await fetch(server.url("127.0.0.1"), one_attempt()) == EXPECTED
        async with SecretsManagerStub(server_context(certificates.authority.leaf("localhost"))) as server:
            with pytest.raises(EndpointUnreachableError, match=r"(?i)address mismatch"):
                await fetch(server.url("127.0.0.1"), one_attempt())
            assert server.requests == []

    async def test_aws_own_name_behind_a_proxy(self, fetch: Fetch, certificates: Certificates) -> None:
        """Without an endpoint the region's own host name is asked of the proxy, and the certificate is held to it."""
        host = f"secretsmanager.{REGION}.amazonaws.com"
        async with (
            SecretsManagerStub(server_context(certificates.aws)) as right,
            SecretsManagerStub(server_context(certificates.right)) as wrong,
        ):
            async with ConnectProxy(hosts={f"{host}:443": right.port}) as proxy:
                assert await fetch(None, one_attempt(proxies={"https": proxy.url()})) == EXPECTED
                assert proxy.tunnels == [f"{host}:443"]
            async with ConnectProxy(hosts={f"{host}:443": wrong.port}) as proxy:
                with pytest.raises(EndpointUnreachableError) as caught:
                    await fetch(None, one_attempt(proxies={"https": proxy.url()}))
                assert tells(caught.value, "wrong host name"), str(caught.value)
            assert wrong.requests == []

    async def test_without_a_config(self, fetch: Fetch, certificates: Certificates) -> None:
        """The checks are there when the user gives no config at all, and for each attempt of the retries."""
        async with SecretsManagerStub(server_context(certificates.flawed["wrong host name"])) as server:
            with pytest.raises(EndpointUnreachableError):
                await fetch(server.url())
            await server.settle()
            assert len(server.handshake_failures) == server.connections
            assert server.requests == []

    async def test_pseudo_region(self, fetch: Fetch, certificates: Certificates) -> None:
        """A FIPS pseudo-region, for which botocore rewrites the config on its way, loses none of the checks."""
        async with SecretsManagerStub(server_context(certificates.flawed["wrong host name"])) as server:
            with pytest.raises(CredentialsError):
                await fetch(server.url(), one_attempt(), region_name="us-east-1-fips")
            assert server.requests == []

    async def test_config_with_another_session_class(self, fetch: Fetch, certificates: Certificates) -> None:
        """A user's config that names aiobotocore's own session class doesn't take the checks out."""
        async with SecretsManagerStub(server_context(certificates.flawed["wrong host name"])) as server:
            with pytest.raises(REFUSED):
                await fetch(server.url(), one_attempt(http_session_cls=AIOHTTPSession))
            assert server.requests == []

    @pytest.mark.parametrize("given", ["neither", "default config", "config", "both"])
    async def test_session_of_the_user(self, fetch: Fetch, certificates: Certificates, given: str) -> None:
        """A session that the user made is as safe as ours, or refused, whatever configs come with it."""
        session = aioboto3.Session()
        if given in {"default config", "both"}:
            session._session.set_default_client_config(one_attempt())  # aioboto3 has no other door
        config = one_attempt() if given in {"config", "both"} else None
        async with SecretsManagerStub(server_context(certificates.flawed["wrong host name"])) as server:
            with pytest.raises(REFUSED):
                await fetch(server.url(), config, session=session)
            assert server.requests == []
