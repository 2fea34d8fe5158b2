"""Redirects, which are never followed."""

from __future__ import annotations

import json

import pytest

from aiocredentials.errors import MalformedResponseError
from server.certificates import server_context
from server.tls_servers import ConnectProxy, Redirect, SecretsManagerStub, Trap
from server.transport.fetching import REDIRECTS, SECRET, Certificates, Fetch, one_attempt

REDIRECT_BODIES = {
    "empty": b"",
    "html": b"<html><body>Moved</body></html>",
    "a secret": json.dumps({"Name": SECRET, "SecretString": '{"from": "a redirect"}'}).encode(),
    "an AWS error": b'{"__type": "ResourceNotFoundException", "Message": "not here"}',
    "null": b"null",
    "not UTF-8": b"\xff\xfe",
}


class TestRedirects:
    """A redirect is an answer that isn't one: never followed, so the credentials go nowhere else."""

    @pytest.mark.parametrize("status", REDIRECTS)
    async def test_to_another_origin(self, fetch: Fetch, certificates: Certificates, status: int) -> None:
        """Nobody so much as connects to where a redirect points, and the error says that the answer was no answer."""
        async with Trap(server_context(certificates.right)) as trap:
            redirect = Redirect(f"{trap.url()}/stolen", status)
            async with SecretsManagerStub(server_context(certificates.right), redirect=redirect) as server:
                with pytest.raises(MalformedResponseError) as caught:
                    await fetch(server.url(), one_attempt())
                assert caught.value.transient is True
                assert str(status) in str(caught.value)
                assert len(server.requests) == 1
            assert trap.is_untouched

    @pytest.mark.parametrize("body", REDIRECT_BODIES.values(), ids=REDIRECT_BODIES.keys())
    async def test_with_a_body(self, fetch: Fetch, certificates: Certificates, body: bytes) -> None:
        """Whatever a redirect carries, a secret or an AWS error among it, is not taken for the endpoint's answer."""
        async with Trap() as trap:
            redirect = Redirect(trap.url(), 307, body)
            async with SecretsManagerStub(server_context(certificates.right), redirect=redirect) as server:
                with pytest.raises(MalformedResponseError):
                    await fetch(server.url(), one_attempt())
            assert trap.is_untouched

    @pytest.mark.parametrize("status", REDIRECTS)
    async def test_over_plain_http(self, fetch: Fetch, status: int) -> None:
        """It holds as well between two plain origins on loopback, where no certificate could stop it."""
        async with Trap() as trap, SecretsManagerStub(redirect=Redirect(trap.url(), status)) as server:
            with pytest.raises(MalformedResponseError):
                await fetch(server.url(), one_attempt())
            assert len(server.requests) == 1
            assert trap.is_untouched

    async def test_down_from_tls(self, fetch: Fetch, certificates: Certificates) -> None:
        """A redirect from https to http, which would send the token in clear, isn't followed either."""
        async with Trap() as trap:
            redirect = Redirect(trap.url(), 308)
            async with SecretsManagerStub(server_context(certificates.right), redirect=redirect) as server:
                with pytest.raises(MalformedResponseError):
                    await fetch(server.url(), one_attempt())
            assert trap.is_untouched

    async def test_to_the_same_origin(self, fetch: Fetch, certificates: Certificates) -> None:
        """Not even to another path of the endpoint itself: Secrets Manager has no reason to redirect."""
        redirect = Redirect("/elsewhere", 307)
        async with SecretsManagerStub(server_context(certificates.right), redirect=redirect) as server:
            with pytest.raises(MalformedResponseError):
                await fetch(server.url(), one_attempt())
            assert [request.target for request in server.requests] == ["/"]

    async def test_without_a_config(self, fetch: Fetch, certificates: Certificates) -> None:
        """It is so without any config of the user's, and a redirect isn't worth a second attempt."""
        async with Trap() as trap:
            redirect = Redirect(trap.url(), 307)
            async with SecretsManagerStub(server_context(certificates.right), redirect=redirect) as server:
                with pytest.raises(MalformedResponseError):
                    await fetch(server.url())
                assert len(server.requests) == 1
            assert trap.is_untouched

    async def test_behind_a_proxy(self, fetch: Fetch, certificates: Certificates) -> None:
        """The proxy isn't asked for a tunnel to where the redirect points."""
        async with Trap(server_context(certificates.right)) as trap, ConnectProxy() as proxy:
            redirect = Redirect(trap.url(), 307)
            async with SecretsManagerStub(server_context(certificates.right), redirect=redirect) as server:
                with pytest.raises(MalformedResponseError):
                    await fetch(server.url(), one_attempt(proxies={"https": proxy.url()}))
                assert proxy.tunnels == [f"localhost:{server.port}"]
            assert trap.is_untouched
