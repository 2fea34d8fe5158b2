"""The clients that fetch our own AWS credentials: they check and refuse as those of Secrets Manager do."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from botocore.credentials import SSOProvider
from botocore.utils import ContainerMetadataFetcher

from aiocredentials.errors import CredentialsError, CredentialSourceError
from server.certificates import server_context
from server.tls_servers import ContainerStub, Redirect, SecretsManagerStub, SecurityTokenStub, SingleSignOnStub, Trap

if TYPE_CHECKING:
    from pathlib import Path
from server.transport.fetching import (
    EXPECTED,
    FLAWS,
    REDIRECTS,
    REGION,
    ROUTES,
    Certificates,
    Fetch,
    one_attempt,
    routed,
    signed_by,
    tells,
)


class TestCredentialChain:
    """The clients that fetch our own credentials hold to the same, for they are handed tokens too."""

    @pytest.fixture(autouse=True)
    def no_keys(self, environment: pytest.MonkeyPatch) -> None:
        """Leave the chain nothing easier than what each test offers."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            environment.delenv(name)

    @pytest.fixture
    def web_identity(self, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Offer a web identity, as EKS gives one to a pod."""
        token = tmp_path / "token"
        token.write_text("a-web-identity-token", encoding="utf-8")
        environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app")
        environment.setenv("AWS_ROLE_SESSION_NAME", "tests")

    @pytest.fixture
    def single_sign_on(self, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Offer a profile whose single sign-on has logged in, its token in the cache."""
        start = "https://portal.example/start"
        (tmp_path / "config").write_text(
            f"[default]\nsso_start_url = {start}\nsso_region = {REGION}\n"
            "sso_account_id = 123456789012\nsso_role_name = app\n",
            encoding="utf-8",
        )
        token = {"startUrl": start, "region": REGION, "accessToken": "portal", "expiresAt": "2099-01-01T00:00:00Z"}
        name = hashlib.sha1(start.encode(), usedforsecurity=False).hexdigest()
        (tmp_path / f"{name}.json").write_text(json.dumps(token), encoding="utf-8")
        environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        # botocore works out the home directory when it is imported: too early for HOME to help.
        environment.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path))

    @pytest.mark.usefixtures("web_identity")
    @pytest.mark.parametrize("route", ROUTES)
    async def test_sts(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch, route: str
    ) -> None:
        """STS with the right certificate gives the credentials that the fetch is signed with, by the same route."""
        async with (
            SecretsManagerStub(server_context(certificates.right)) as server,
            SecurityTokenStub(server_context(certificates.right)) as sts,
            routed(route, environment) as (config, proxy),
        ):
            environment.setenv("AWS_ENDPOINT_URL_STS", sts.url())
            assert await fetch(server.url(), config) == EXPECTED
            assert signed_by(server) == [("ASIAFROMWEBIDENTITY0", "token-from-web-identity")]
            authorities = [f"localhost:{sts.port}", f"localhost:{server.port}"]
            assert proxy.tunnels == ([] if route == "direct" else authorities)

    @pytest.mark.usefixtures("web_identity")
    @pytest.mark.parametrize("route", ROUTES)
    @pytest.mark.parametrize("flaw", FLAWS)
    async def test_sts_with_a_flawed_certificate(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch, flaw: str, route: str
    ) -> None:
        """An STS that doesn't prove its name isn't shown the web identity, and Secrets Manager isn't asked."""
        async with (
            SecretsManagerStub(server_context(certificates.right)) as server,
            SecurityTokenStub(server_context(certificates.flawed[flaw])) as sts,
            routed(route, environment) as (config, _),
        ):
            environment.setenv("AWS_ENDPOINT_URL_STS", sts.url())
            with pytest.raises(CredentialSourceError) as caught:
                await fetch(server.url(), config)
            await sts.settle()
            assert tells(caught.value, flaw), str(caught.value)
            assert sts.handshake_failures
            assert sts.requests == []
            assert server.requests == []

    @pytest.mark.usefixtures("web_identity")
    @pytest.mark.parametrize("status", REDIRECTS)
    async def test_sts_redirects(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch, status: int
    ) -> None:
        """The web identity doesn't go where STS's redirect points."""
        async with (
            Trap() as trap,
            SecretsManagerStub(server_context(certificates.right)) as server,
            SecurityTokenStub(server_context(certificates.right), redirect=Redirect(trap.url(), status)) as sts,
        ):
            environment.setenv("AWS_ENDPOINT_URL_STS", sts.url())
            with pytest.raises(CredentialsError):
                await fetch(server.url(), one_attempt())
            assert len(sts.requests) == 1
            assert server.requests == []
            assert trap.is_untouched

    @pytest.mark.usefixtures("single_sign_on")
    async def test_single_sign_on(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch
    ) -> None:
        """The single sign-on portal with the right certificate gives the credentials that the fetch is signed with."""
        async with (
            SecretsManagerStub(server_context(certificates.right)) as server,
            SingleSignOnStub(server_context(certificates.right)) as portal,
        ):
            environment.setenv("AWS_ENDPOINT_URL_SSO", portal.url())
            assert await fetch(server.url(), one_attempt()) == EXPECTED
            assert signed_by(server) == [("ASIAFROMSINGLESIGNON", "token-from-single-sign-on")]

    @pytest.mark.usefixtures("single_sign_on")
    @pytest.mark.parametrize("flaw", FLAWS)
    async def test_single_sign_on_with_a_flawed_certificate(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch, flaw: str
    ) -> None:
        """A portal that doesn't prove its name isn't shown the access token."""
        async with (
            SecretsManagerStub(server_context(certificates.right)) as server,
            SingleSignOnStub(server_context(certificates.flawed[flaw])) as portal,
        ):
            environment.setenv("AWS_ENDPOINT_URL_SSO", portal.url())
            with pytest.raises(CredentialSourceError) as caught:
                await fetch(server.url(), one_attempt())
            assert tells(caught.value, flaw), str(caught.value)
            assert portal.requests == []
            assert server.requests == []

    @pytest.mark.usefixtures("single_sign_on")
    async def test_single_sign_on_redirects(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch
    ) -> None:
        """The access token doesn't go where the portal's redirect points."""
        async with (
            Trap() as trap,
            SecretsManagerStub(server_context(certificates.right)) as server,
            SingleSignOnStub(server_context(certificates.right), redirect=Redirect(trap.url(), 302)) as portal,
        ):
            environment.setenv("AWS_ENDPOINT_URL_SSO", portal.url())
            with pytest.raises(CredentialsError):
                await fetch(server.url(), one_attempt())
            assert len(portal.requests) == 1
            assert trap.is_untouched

    async def test_container(self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch) -> None:
        """The container's endpoint, which is plain HTTP on loopback, gives the credentials."""
        async with (
            SecretsManagerStub(server_context(certificates.right)) as server,
            ContainerStub() as agent,
        ):
            environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url()}/credentials")
            assert await fetch(server.url(), one_attempt()) == EXPECTED
            assert signed_by(server) == [("ASIAFROMCONTAINER000", "token-from-container")]

    async def test_container_redirects(
        self, fetch: Fetch, certificates: Certificates, environment: pytest.MonkeyPatch
    ) -> None:
        """Credentials aren't taken from where the container's endpoint redirects to."""
        environment.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
        async with (
            Trap() as trap,
            SecretsManagerStub(server_context(certificates.right)) as server,
            ContainerStub(redirect=Redirect(trap.url(), 302)) as agent,
        ):
            environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url()}/credentials")
            with pytest.raises(CredentialsError):
                await fetch(server.url(), one_attempt())
            assert agent.requests
            assert server.requests == []
            assert trap.is_untouched
