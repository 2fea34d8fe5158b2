"""What the tests of the doctor share: servers, an environment whose secrets could leak, and shortcuts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from aiobotocore.config import AioConfig

from aiocredentials._aws.settings import ClientSettings
from aiocredentials.doctor import diagnose, probe as probing
from aiocredentials.doctor.rendering import as_json, as_text
from leaks.canary import TOKEN, VALUE
from server.tls_servers import AWSServer, LoopbackServer, Request as HTTPRequest, Response

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from aiocredentials.doctor import Endpoint, Report, SecretReport
    from aiocredentials.testing import MotoServer


REGIONS = ["eu-west-2", "us-east-1"]
KEY = "AKIAMADEUPFORTESTS42"
# A profile for IAM Identity Center.
SSO = """
sso_start_url = https://sso.invalid/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = mistyped
"""


class IdentityStub(AWSServer):
    """STS's GetCallerIdentity."""

    def service(self, request: HTTPRequest) -> Response:
        """Everybody is the same user."""
        assert parse_qs(request.body.decode())["Action"] == ["GetCallerIdentity"]
        body = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/app</Arn><UserId>AIDAMADEUP</UserId>
            <Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"""
        return Response(body.encode(), 200, {"Content-Type": "text/xml"})


class LoopbackSSO(AWSServer):
    """An IAM Identity Center that knows no role."""

    def service(self, request: HTTPRequest) -> Response:
        """Refuse each role."""
        assert request.headers["x-amz-sso_bearer_token"] == TOKEN
        answer = {"__type": "ResourceNotFoundException", "message": "The specified role could not be found"}
        return Response.of_json(answer, 404)


class Silence(LoopbackServer):
    """Accepts connections, and never answers."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG002
        """Wait until the other side has enough of it."""
        await reader.read()


@pytest.fixture(autouse=True)
def environment(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have credentials that could leak, a region, and nothing that leaves this machine; one attempt saves seconds."""
    assert aws_environment is None  # first the clean environment, then these
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", VALUE)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    one_attempt = AioConfig(retries={"mode": "standard", "total_max_attempts": 1})
    monkeypatch.setattr(probing, "ClientSettings", partial(ClientSettings, config=one_attempt))
    return monkeypatch


@pytest.fixture
async def sts(environment: pytest.MonkeyPatch) -> AsyncIterator[IdentityStub]:
    """An STS that knows us."""
    async with IdentityStub() as server:
        environment.setenv("AWS_ENDPOINT_URL_STS", server.url())
        yield server


@pytest.fixture
def aws(moto_environment: MotoServer, environment: pytest.MonkeyPatch) -> MotoServer:
    """Send Secrets Manager and STS to moto."""
    environment.setenv("AWS_ACCESS_KEY_ID", KEY)  # moto's environment has others
    environment.setenv("AWS_SECRET_ACCESS_KEY", VALUE)
    environment.setenv("AWS_ENDPOINT_URL_STS", moto_environment.url)
    return moto_environment


async def of_one(name: str = "prod/db", **options: Any) -> SecretReport:  # noqa: ANN401 - of diagnose
    """Diagnose one secret."""
    (secret,) = (await diagnose([name], **options)).secrets
    return secret


async def endpoint_of(url: str, **options: Any) -> Endpoint:  # noqa: ANN401 - of diagnose
    """Diagnose what is behind a URL."""
    report = await diagnose(["prod/db"], endpoint_url=url, **options)
    assert report.exit_code == 3
    (endpoint,) = report.endpoints
    return endpoint


def every_text(report: Report) -> str:
    """All that is shown of a report, or kept in it."""
    secret = report.secrets[0]
    now = secret.contents.created_at if secret.contents else None
    assert now
    return f"{report!r} {as_json(report)} {as_text(report, colours=True, now=now)}"
