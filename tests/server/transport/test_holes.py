"""The holes that the other tests of this folder are about: aioboto3 alone does what we don't.

With a plain aioboto3 client the same servers do get what they shouldn't, so none of those tests passes for want of
an attacker.
"""

from __future__ import annotations

from typing import Any

import aioboto3
import aiobotocore
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession

from server.certificates import server_context
from server.tls_servers import Redirect, SecretsManagerStub, Trap
from server.transport.fetching import (
    FLAWS,
    REDIRECTS,
    REGION,
    ROUTES,
    SECRET,
    SESSION_TOKEN,
    Certificates,
    one_attempt,
    routed,
    signed_by,
)

_AIOBOTOCORE = tuple(int(part) for part in aiobotocore.__version__.split(".")[:2])
checks_nothing = pytest.mark.skipif(
    _AIOBOTOCORE >= (3, 9), reason="aiobotocore checks the host name itself from 3.9 on: this hole isn't there"
)
merge_forgets = pytest.mark.skipif(
    _AIOBOTOCORE >= (3, 0), reason="AioConfig.merge is known to forget the session class on aiobotocore 2 only"
)


async def plain(endpoint_url: str, config: AioConfig | None = None, *, default: AioConfig | None = None) -> Any:  # noqa: ANN401 (botocore's answer)
    """Fetch with aioboto3 alone, as one would without this library."""
    session = aioboto3.Session()
    if default is not None:
        session._session.set_default_client_config(default)  # aioboto3 has no other door
    async with session.client(
        "secretsmanager", region_name=REGION, endpoint_url=endpoint_url, config=config or one_attempt()
    ) as client:
        return await client.get_secret_value(SecretId=SECRET)


class TestControls:
    """The holes that the tests above are about: there without this library, on the versions that are named."""

    @checks_nothing
    async def test_any_host_name(self, certificates: Certificates) -> None:
        """aioboto3 alone takes the answer of an endpoint whose certificate is for another name."""
        async with SecretsManagerStub(server_context(certificates.flawed["wrong host name"])) as server:
            answer = await plain(server.url())
            assert answer["SecretString"] == SecretsManagerStub.value
            assert signed_by(server) == [("AKIAFROMENVIRONMENT0", SESSION_TOKEN)]

    @checks_nothing
    @pytest.mark.parametrize("route", ROUTES[1:])
    @pytest.mark.parametrize("flaw", FLAWS)
    async def test_nothing_behind_a_proxy(
        self, certificates: Certificates, environment: pytest.MonkeyPatch, flaw: str, route: str
    ) -> None:
        """aioboto3 alone believes any certificate behind a proxy."""
        async with (
            SecretsManagerStub(server_context(certificates.flawed[flaw])) as server,
            routed(route, environment) as (config, proxy),
        ):
            answer = await plain(server.url(), config)
            assert answer["SecretString"] == SecretsManagerStub.value
            assert proxy.tunnels == [f"localhost:{server.port}"]

    @checks_nothing
    async def test_empty_bundle_switches_off(self, certificates: Certificates, environment: pytest.MonkeyPatch) -> None:
        """aioboto3 alone checks nothing at all where AWS_CA_BUNDLE is empty."""
        environment.setenv("AWS_CA_BUNDLE", "")
        async with SecretsManagerStub(server_context(certificates.flawed["self-signed"])) as server:
            answer = await plain(server.url())
            assert answer["SecretString"] == SecretsManagerStub.value

    @merge_forgets
    async def test_merge_forgets_the_session_class(self, certificates: Certificates) -> None:
        """A session class in a session's default config is lost as soon as a client brings a config of its own."""
        opened: list[str] = []

        class Noted(AIOHTTPSession):
            def __init__(self, **options: Any) -> None:  # noqa: ANN401 (botocore's options)
                super().__init__(**options)
                opened.append("noted")

        async with SecretsManagerStub(server_context(certificates.right)) as server:
            await plain(server.url(), AioConfig(), default=AioConfig(http_session_cls=Noted))
            assert opened == []
            await plain(server.url(), AioConfig(http_session_cls=Noted))
            assert opened == ["noted"]

    @pytest.mark.parametrize("status", REDIRECTS)
    async def test_redirects_are_followed(self, certificates: Certificates, status: int) -> None:
        """aioboto3 alone carries the session token to wherever a redirect points."""
        async with Trap() as trap:
            redirect = Redirect(f"{trap.url()}/stolen", status)
            async with SecretsManagerStub(server_context(certificates.right), redirect=redirect) as server:
                await plain(server.url())
            assert [request.headers.get("x-amz-security-token") for request in trap.requests] == [SESSION_TOKEN]
            assert not trap.is_untouched
