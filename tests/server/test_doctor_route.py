"""The doctor names the endpoint and the proxy, and the step that fails."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig

from aiocredentials._aws.settings import ClientSettings
from aiocredentials.doctor import diagnose, probe as probing
from aiocredentials.doctor.probe import Probe
from leaks.canary import VALUE
from server.certificates import Authority, self_signed, server_context
from server.doctor_servers import Silence, endpoint_of, environment, sts
from server.tls_servers import ConnectProxy, Redirect, SecretsManagerStub

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["environment", "sts"]  # fixtures


@pytest.mark.usefixtures("sts")
async def test_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection and a host name that doesn't exist are distinguished."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str | None, *arguments: Any) -> Any:  # noqa: ANN401 - as the system's
        if host == "secretsmanager.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    refused = await endpoint_of("http://127.0.0.1:1")
    assert (refused.reachable, refused.failure, refused.url_source) == (False, "refused", "--endpoint-url")
    unknown = await endpoint_of("https://secretsmanager.invalid")
    assert (unknown.reachable, unknown.failure, unknown.tls) == (False, "dns", None)


@pytest.mark.usefixtures("sts")
async def test_silence(environment: pytest.MonkeyPatch) -> None:
    """A server that reads the request and never answers is distinguished from one that isn't there."""
    impatient = AioConfig(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=0.2)
    environment.setattr(probing, "ClientSettings", partial(ClientSettings, config=impatient))
    async with Silence() as silent:
        endpoint = await endpoint_of(silent.url())
    assert (endpoint.reachable, endpoint.failure) == (False, "no answer")


@pytest.mark.usefixtures("sts")
@pytest.mark.parametrize("flaw", ["wrong host name", "unknown authority", "expired", "self-signed", None])
async def test_tls(tmp_path: Path, environment: pytest.MonkeyPatch, flaw: str | None) -> None:
    """The flaw of a certificate is shown; a valid one is shown to be valid."""
    authority, stranger = Authority(tmp_path, "trusted"), Authority(tmp_path, "stranger")
    environment.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    leaf, says = {
        "wrong host name": (authority.leaf("other.example"), "Hostname mismatch"),
        "unknown authority": (stranger.leaf("localhost"), "unable to get local issuer"),
        "expired": (authority.leaf("localhost", expired=True), "expired"),
        "self-signed": (self_signed(tmp_path, "localhost"), "self-signed"),
        None: (authority.leaf("localhost"), ""),
    }[flaw]
    async with SecretsManagerStub(server_context(leaf)) as server:
        if flaw is None:
            (endpoint,) = (await diagnose(["prod/db"], endpoint_url=server.url())).endpoints
            assert (endpoint.reachable, endpoint.tls, endpoint.problem) == (True, True, None)
        else:
            endpoint = await endpoint_of(server.url())
            assert (endpoint.reachable, endpoint.tls, endpoint.failure) == (False, False, "tls")
            assert says in str(endpoint.problem)


@pytest.mark.usefixtures("sts")
async def test_a_bundle_that_is_missing(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """A CA bundle that can't be loaded isn't a refusal: nothing is sent, so the endpoint may be reachable."""
    environment.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    endpoint = await endpoint_of("https://localhost:1")
    assert (endpoint.reachable, endpoint.tls, endpoint.failure) == (None, None, "ca bundle")
    assert "missing.pem" in str(endpoint.problem)


@pytest.mark.usefixtures("sts")
async def test_a_proxy_that_refuses(environment: pytest.MonkeyPatch) -> None:
    """A proxy is named without its password, and its failure is distinguished from the endpoint's."""
    async with ConnectProxy(refusal=407) as proxy:
        environment.setenv("HTTPS_PROXY", f"http://user:{VALUE[:8]}@localhost:{proxy.port}")
        environment.setenv("NO_PROXY", "127.0.0.1")
        endpoint = await endpoint_of("https://secretsmanager.example")
        assert (endpoint.failure, endpoint.proxy) == ("proxy", f"http://localhost:{proxy.port}")


@pytest.mark.usefixtures("sts")
async def test_an_impostor() -> None:
    """A server that answers with a redirect is reachable, and isn't Secrets Manager."""
    async with SecretsManagerStub(redirect=Redirect("http://127.0.0.1:1", 302)) as server:
        endpoint = await endpoint_of(server.url())
    assert (endpoint.reachable, endpoint.failure) == (True, None)
    assert "redirect" in str(endpoint.problem)


@pytest.mark.parametrize("region", ["eu-west-1", "cn-north-1"])
async def test_awss_own_endpoint(region: str) -> None:
    """AWS's own endpoint has no source, because no setting chose it."""
    async with Probe(region, None, 5) as probe:
        route = await probe.route(probe.region)
        others = await probe.other_regions(probe.region)
    assert route
    assert route.url.startswith(f"https://secretsmanager.{region}.amazonaws.com")
    assert (route.source, route.proxy) == (None, None)
    assert {others[0].partition("-")[0], region} == ({"cn", region} if region == "cn-north-1" else {"af", region})


async def test_the_case_of_a_region() -> None:
    """AWS's own endpoint is known by its host name, which has no upper case, unlike a region in a variable."""
    async with Probe("EU-WEST-1", None, 5) as probe:
        route = await probe.route(probe.region)
    assert route
    assert (route.url, route.source) == ("https://secretsmanager.EU-WEST-1.amazonaws.com", None)


@pytest.mark.parametrize("region", ["eu-west1", "Ireland"])
async def test_regions_beside_an_unknown_one(region: str) -> None:
    """A region that belongs to no partition, which an endpoint may have, is searched for in AWS's usual partition."""
    async with Probe(region, "http://127.0.0.1:1", 5) as probe:
        others = await probe.other_regions(probe.region)
    assert {"eu-west-1", "us-east-1"} < set(others)
    assert not any(other.startswith("cn-") for other in others)


@pytest.mark.usefixtures("sts")
async def test_no_such_region() -> None:
    """A malformed region has no endpoint, and the nearest real one is named."""
    report = await diagnose(["prod/db"], region_name="eu west 1")
    (endpoint,) = report.endpoints
    assert (report.exit_code, endpoint.url, endpoint.reachable) == (3, None, None)
    assert "did you mean 'eu-west-1'" in str(endpoint.problem)
