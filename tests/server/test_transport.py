"""What the transport promises, over real TLS sockets: whoever can't prove to be the endpoint never gets a request.

Each promise is held for a session per call and for a pool. The last section proves the holes: with a plain aioboto3
client the same servers do get what they shouldn't, so none of these tests passes for want of an attacker.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import aioboto3
import aiobotocore
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from botocore.credentials import SSOProvider
from botocore.utils import ContainerMetadataFetcher

from aiocredentials import AsyncCredentialsManager, CredentialsPool
from aiocredentials.errors import (
    CredentialsError,
    CredentialSourceError,
    EndpointUnreachableError,
    MalformedResponseError,
)
from server.certificates import Authority, Leaf, self_signed, server_context
from server.tls_servers import (
    AWSServer,
    ConnectProxy,
    ContainerStub,
    Redirect,
    SecretsManagerStub,
    SecurityTokenStub,
    SingleSignOnStub,
    Trap,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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
REDIRECT_BODIES = {
    "empty": b"",
    "html": b"<html><body>Moved</body></html>",
    "a secret": json.dumps({"Name": SECRET, "SecretString": '{"from": "a redirect"}'}).encode(),
    "an AWS error": b'{"__type": "ResourceNotFoundException", "Message": "not here"}',
    "null": b"null",
    "not UTF-8": b"\xff\xfe",
}
# A configuration that asks for less is either refused or overruled; both keep the promise.
REFUSED = (CredentialsError, TypeError, ValueError)

_AIOBOTOCORE = tuple(int(part) for part in aiobotocore.__version__.split(".")[:2])
checks_nothing = pytest.mark.skipif(
    _AIOBOTOCORE >= (3, 9), reason="aiobotocore checks the host name itself from 3.9 on: this hole isn't there"
)
merge_forgets = pytest.mark.skipif(
    _AIOBOTOCORE >= (3, 0), reason="AioConfig.merge is known to forget the session class on aiobotocore 2 only"
)


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


async def _per_call(
    endpoint_url: str | None,
    config: AioConfig | None = None,
    *,
    session: aioboto3.Session | None = None,
    region_name: str = REGION,
) -> object:
    manager = AsyncCredentialsManager(
        SECRET, region_name=region_name, session=session, endpoint_url=endpoint_url, config=config, timeout=TIMEOUT
    )
    return await manager.retrieve_secret_string()


async def _pooled(
    endpoint_url: str | None,
    config: AioConfig | None = None,
    *,
    session: aioboto3.Session | None = None,
    region_name: str = REGION,
) -> object:
    async with CredentialsPool(
        region_name=region_name, session=session, endpoint_url=endpoint_url, config=config, timeout=TIMEOUT
    ) as pool:
        return await pool.manager(SECRET).retrieve_secret_string()


@pytest.fixture(params=[_per_call, _pooled], ids=["session per call", "pooled"])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    """Fetch in both of the ways that the library has."""
    way: Fetch = request.param
    return way


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make an authority that the client trusts, one that it doesn't, and what either would sign."""
    directory = tmp_path_factory.mktemp("certificates")
    authority, stranger = Authority(directory, "trusted"), Authority(directory, "stranger")
    return Certificates(
        directory=directory,
        authority=authority,
        right=authority.leaf("localhost", "127.0.0.1"),
        aws=authority.leaf(f"secretsmanager.{REGION}.amazonaws.com"),
        flawed={
            "wrong host name": authority.leaf("other.example"),
            "untrusted authority": stranger.leaf("localhost", "127.0.0.1"),
            "expired": authority.leaf("localhost", "127.0.0.1", expired=True),
            "self-signed": self_signed(directory, "localhost", "127.0.0.1"),
        },
    )


@pytest.fixture(autouse=True)
def environment(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> pytest.MonkeyPatch:
    """Trust our authority, as a company's own is trusted, and have credentials with a token that can be stolen."""
    assert aws_environment is None  # first the clean environment, then these
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFROMENVIRONMENT0")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-real-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.authority.bundle))
    return monkeypatch


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
        configuration.write_text(f"[profile private]\nca_bundle = {certificates.authority.bundle}\n")
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
            bundle.write_text(content)
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
        token.write_text("a-web-identity-token")
        environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app")
        environment.setenv("AWS_ROLE_SESSION_NAME", "tests")

    @pytest.fixture
    def single_sign_on(self, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Offer a profile whose single sign-on has logged in, its token in the cache."""
        start = "https://portal.example/start"
        (tmp_path / "config").write_text(
            f"[default]\nsso_start_url = {start}\nsso_region = {REGION}\n"
            "sso_account_id = 123456789012\nsso_role_name = app\n"
        )
        token = {"startUrl": start, "region": REGION, "accessToken": "portal", "expiresAt": "2099-01-01T00:00:00Z"}
        name = hashlib.sha1(start.encode(), usedforsecurity=False).hexdigest()
        (tmp_path / f"{name}.json").write_text(json.dumps(token))
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
