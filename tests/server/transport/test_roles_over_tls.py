"""The STS that a role is assumed from: it proves its name, and nothing follows its redirects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, CredentialsPool
from aiocredentials.errors import CredentialsError, CredentialSourceError
from server.certificates import server_context
from server.sts import ROLE, RoleStub
from server.tls_servers import Response, SecretsManagerStub, Trap
from server.transport.fetching import EXPECTED, FLAWS, REGION, Certificates, one_attempt, routed, signed_by, tells

if TYPE_CHECKING:
    from aiobotocore.config import AioConfig


async def fetch(url: str, config: AioConfig, way: str) -> Any:  # noqa: ANN401 - the parsed JSON
    """Fetch through the role, in one of both ways."""
    if way == "per call":
        return await AsyncCredentialsManager("a", REGION, endpoint_url=url, config=config, role_arn=ROLE).get()
    async with CredentialsPool(REGION, endpoint_url=url, config=config, role_arn=ROLE) as pool:
        return await pool.manager("a").get()


@pytest.fixture(params=["per call", "pooled"])
def way(request: pytest.FixtureRequest) -> str:
    """Fetch in both of the ways that the library has."""
    name: str = request.param
    return name


@pytest.mark.parametrize("route", ["direct", "proxy argument"])
async def test_trusted(certificates: Certificates, environment: pytest.MonkeyPatch, route: str, way: str) -> None:
    """An STS with the right certificate is asked by the route of the secret's request."""
    async with (
        SecretsManagerStub(server_context(certificates.right)) as server,
        RoleStub(server_context(certificates.right)) as sts,
        routed(route, environment) as (config, proxy),
    ):
        environment.setenv("AWS_ENDPOINT_URL_STS", sts.url())
        assert await fetch(server.url(), config, way) == EXPECTED
        assert [key for key, _ in signed_by(server)] == ["ASIA0001"]
        authorities = [f"localhost:{sts.port}", f"localhost:{server.port}"]
        assert proxy.tunnels == ([] if route == "direct" else authorities)


@pytest.mark.parametrize("flaw", FLAWS)
async def test_a_flawed_certificate(
    certificates: Certificates, environment: pytest.MonkeyPatch, flaw: str, way: str
) -> None:
    """An STS that doesn't prove its name isn't shown the external id, and Secrets Manager isn't asked."""
    async with (
        SecretsManagerStub(server_context(certificates.right)) as server,
        RoleStub(server_context(certificates.flawed[flaw])) as sts,
    ):
        environment.setenv("AWS_ENDPOINT_URL_STS", sts.url())
        with pytest.raises(CredentialSourceError) as caught:
            await fetch(server.url(), one_attempt(), way)
        await sts.settle()
        assert tells(caught.value, flaw), str(caught.value)
        assert sts.handshake_failures
        assert (sts.asked, server.requests) == ([], [])


async def test_redirects(certificates: Certificates, environment: pytest.MonkeyPatch, way: str) -> None:
    """The external id and the process's token don't go where STS's redirect points."""
    async with (
        Trap() as trap,
        SecretsManagerStub(server_context(certificates.right)) as server,
        RoleStub(server_context(certificates.right)) as sts,
    ):
        sts.redirect = Response(b"", 307, {"Location": trap.url()})
        environment.setenv("AWS_ENDPOINT_URL_STS", sts.url())
        with pytest.raises(CredentialsError):
            await fetch(server.url(), one_attempt(), way)
        assert len(sts.asked) == 1
        assert server.requests == []
        assert trap.is_untouched
