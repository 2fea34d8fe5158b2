"""Where trust comes from, and the certificate that we show to an endpoint that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aioboto3
import pytest
from aiobotocore.config import AioConfig

from aiocredentials.errors import CredentialsError, EndpointUnreachableError
from server.certificates import server_context
from server.tls_servers import SecretsManagerStub

if TYPE_CHECKING:
    from pathlib import Path
from server.transport.fetching import EXPECTED, ROUTES, Certificates, Fetch, one_attempt, routed, tells


class TestTrust:
    """Where trust comes from: the places that botocore reads, and no others."""

    @pytest.mark.parametrize("given_by", ["AWS_PROFILE", "session"])
    async def test_bundle_of_the_profile(
        self,
        fetch: Fetch,
        certificates: Certificates,
        environment: pytest.MonkeyPatch,
        tmp_path: Path,
        given_by: str,
    ) -> None:
        """`ca_bundle` in the profile is the trust store, and it replaces the public authorities only."""
        configuration = tmp_path / "config"
        configuration.write_text(f"[profile private]\nca_bundle = {certificates.authority.bundle}\n", encoding="utf-8")
        environment.setenv("AWS_CONFIG_FILE", str(configuration))
        environment.delenv("AWS_CA_BUNDLE")
        session = None
        if given_by == "AWS_PROFILE":
            environment.setenv("AWS_PROFILE", "private")
        else:
            # A session with a profile doesn't read the keys of the environment.
            session = aioboto3.Session(
                profile_name="private", aws_access_key_id="AKIAFROMTHESESSION00", aws_secret_access_key="not-a-real-key"
            )
        async with SecretsManagerStub(server_context(certificates.right)) as server:
            assert await fetch(server.url(), one_attempt(), session=session) == EXPECTED
        async with SecretsManagerStub(server_context(certificates.flawed["untrusted authority"])) as server:
            with pytest.raises(EndpointUnreachableError):
                await fetch(server.url(), one_attempt(), session=session)
            assert server.requests == []

    @pytest.mark.parametrize("bundle", ["unset", "empty"])
    async def test_public_authorities_by_default(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch, bundle: str
    ) -> None:
        """Without a bundle only the public authorities are trusted; an empty name doesn't switch the checks off."""
        environment.delenv("AWS_CA_BUNDLE")
        if bundle == "empty":
            environment.setenv("AWS_CA_BUNDLE", "")
        async with SecretsManagerStub(server_context(certificates.right)) as server:
            with pytest.raises(CredentialsError):
                await fetch(server.url(), one_attempt())
            assert server.requests == []

    @pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "broken"])
    async def test_bundle_that_cannot_be_read(
        self,
        fetch: Fetch,
        certificates: Certificates,
        environment: pytest.MonkeyPatch,
        tmp_path: Path,
        content: str | None,
    ) -> None:
        """A bundle that isn't there, or isn't one, is named by the error, and nobody connects without checks."""
        bundle = tmp_path / "bundle.pem"
        if content is not None:
            bundle.write_text(content, encoding="utf-8")
        environment.setenv("AWS_CA_BUNDLE", str(bundle))
        async with SecretsManagerStub(server_context(certificates.right)) as server:
            with pytest.raises(EndpointUnreachableError) as caught:
                await fetch(server.url(), one_attempt())
            assert f"the CA bundle or client certificate ({bundle}) can't be loaded: " in str(caught.value)
            assert server.connections == 0

    async def test_without_verification(self, fetch: Fetch, certificates: Certificates) -> None:
        """A session that verifies nothing may ask an endpoint on this machine, as one does while developing."""
        session = aioboto3.Session()
        session._session.set_config_variable("ca_bundle", False)  # noqa: FBT003 (botocore's signature)
        async with SecretsManagerStub(server_context(certificates.flawed["self-signed"])) as server:
            assert await fetch(server.url(), one_attempt(), session=session) == EXPECTED

    async def test_renewed_bundle(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A bundle that is replaced on disk is read again by the next client: what is shared isn't kept for ever."""
        bundle = tmp_path / "bundle.pem"
        environment.setenv("AWS_CA_BUNDLE", str(bundle))
        async with SecretsManagerStub(server_context(certificates.right)) as server:
            bundle.write_bytes(certificates.flawed["untrusted authority"].certificate.read_bytes())
            with pytest.raises(EndpointUnreachableError):
                await fetch(server.url(), one_attempt())
            renewed = tmp_path / "renewed.pem"
            renewed.write_bytes(certificates.authority.bundle.read_bytes())
            renewed.replace(bundle)
            assert await fetch(server.url(), one_attempt()) == EXPECTED


class TestClientCertificate:
    """A certificate of our own, for an endpoint that asks who is calling."""

    @pytest.mark.parametrize("route", ROUTES)
    async def test_shown(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch, route: str
    ) -> None:
        """`client_cert` is shown to the endpoint, behind a proxy too."""
        context = server_context(certificates.right, clients_of=certificates.authority)
        async with SecretsManagerStub(context) as server, routed(route, environment) as (config, _):
            ours = AioConfig(client_cert=certificates.authority.client("payments").pair).merge(config)
            assert await fetch(server.url(), ours) == EXPECTED
            assert [request.client for request in server.requests] == ["payments"]

    async def test_missing(self, fetch: Fetch, certificates: Certificates) -> None:
        """Without one the endpoint ends the connection, which is an endpoint that can't be reached."""
        context = server_context(certificates.right, clients_of=certificates.authority)
        async with SecretsManagerStub(context) as server:
            with pytest.raises(EndpointUnreachableError):
                await fetch(server.url(), one_attempt())
            await server.settle()
            assert server.handshake_failures
            assert server.requests == []

    async def test_one_client_does_not_borrow_anothers(self, fetch: Fetch, certificates: Certificates) -> None:
        """What clients share is shared by those with the same certificate only."""
        context = server_context(certificates.right, clients_of=certificates.authority)
        async with SecretsManagerStub(context) as server:
            for name in ("payments", "reports"):
                pair = certificates.authority.client(name).pair
                assert await fetch(server.url(), one_attempt(client_cert=pair)) == EXPECTED
            with pytest.raises(EndpointUnreachableError):
                await fetch(server.url(), one_attempt())
            assert [request.client for request in server.requests] == ["payments", "reports"]

    async def test_renewed(self, fetch: Fetch, certificates: Certificates) -> None:
        """A certificate that is renewed on disk, under the same name, is the one that the next client shows."""
        context = server_context(certificates.right, clients_of=certificates.authority)
        first, second = certificates.authority.client("monday"), certificates.authority.client("tuesday")
        async with SecretsManagerStub(context) as server:
            assert await fetch(server.url(), one_attempt(client_cert=first.pair)) == EXPECTED
            second.certificate.replace(first.certificate)
            second.key.replace(first.key)
            assert await fetch(server.url(), one_attempt(client_cert=first.pair)) == EXPECTED
            assert [request.client for request in server.requests] == ["monday", "tuesday"]

    async def test_checks_stay(self, fetch: Fetch, certificates: Certificates) -> None:
        """Having a certificate of our own to show doesn't make us believe the endpoint's."""
        context = server_context(certificates.flawed["wrong host name"], clients_of=certificates.authority)
        async with SecretsManagerStub(context) as server:
            pair = certificates.authority.client("payments").pair
            with pytest.raises(EndpointUnreachableError) as caught:
                await fetch(server.url(), one_attempt(client_cert=pair))
            assert tells(caught.value, "wrong host name"), str(caught.value)
            assert server.requests == []
