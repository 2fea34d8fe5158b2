"""The doctor reports the identity and the source of the credentials, or why there are none."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, UnauthorizedSSOTokenError

from aiocredentials.doctor import Identity, cli as main, diagnose
from aiocredentials.doctor.probe import Probe
from aiocredentials.doctor.wording import CREDENTIALS_ADVICE
from leaks.canary import TOKEN, VALUE, leaked
from server.doctor_servers import KEY, SSO, IdentityStub, LoopbackSSO, Silence, environment, sts
from server.tls_servers import Redirect, Response

if TYPE_CHECKING:
    from pathlib import Path

    from server.stub import StubSecretsManager

__all__ = ["environment", "sts"]  # fixtures


async def test_identity(sts: IdentityStub, stub: StubSecretsManager) -> None:
    """STS returns our identity, over our own transport, asked in the region of the secrets."""
    report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert (report.identity.arn, report.identity.account) == ("arn:aws:iam::123456789012:user/app", "123456789012")
    assert "/eu-west-1/sts/" in sts.requests[0].headers["authorization"]


@pytest.mark.parametrize("what", ["refused", "redirect"])
async def test_sts_fails(stub: StubSecretsManager, environment: pytest.MonkeyPatch, what: str) -> None:
    """If STS can't be reached or trusted, the report says so, and everything else goes on."""
    async with IdentityStub(redirect=Redirect("http://127.0.0.1:1", 302)) as redirect:
        if what == "redirect":
            environment.setenv("AWS_ENDPOINT_URL_STS", redirect.url())
        report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert report.exit_code == 0
    assert (report.identity.arn, report.identity.key_ending) == (None, "TS42")
    says = {
        "refused": "STS in eu-west-1: EndpointConnectionError: Connect call failed",
        "redirect": "STS in eu-west-1: it answered with a redirect",
    }
    assert str(report.identity.problem).startswith(says[what])


async def test_sts_is_silent(environment: pytest.MonkeyPatch) -> None:
    """STS has no longer than any other call."""
    async with Silence() as silent, Probe(None, None, 0.2) as probe:
        environment.setenv("AWS_ENDPOINT_URL_STS", silent.url())
        assert (await probe.identity(Identity())).problem == "STS in eu-west-1: no answer within 0.2 s."


async def test_sts_refuses(sts: IdentityStub, stub: StubSecretsManager, environment: pytest.MonkeyPatch) -> None:
    """An error that STS answers is shown with the operation, and concerns the identity alone."""
    body = b"<ErrorResponse><Error><Code>ExpiredToken</Code><Message>It has expired</Message></Error></ErrorResponse>"
    denial = Response(body, 403, {"Content-Type": "text/xml"})
    environment.setattr(sts, "service", lambda _: denial)
    report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert str(report.identity.problem).startswith("STS in eu-west-1: GetCallerIdentity failed with ExpiredToken: ")
    assert (report.identity.key_ending, report.exit_code) == ("TS42", 0)


async def test_no_credentials(stub: StubSecretsManager, environment: pytest.MonkeyPatch) -> None:
    """Without AWS credentials nobody is asked, the exit code is 3, and the report has the reason."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name)
    report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert (report.exit_code, report.identity.key_ending) == (3, None)
    assert str(report.identity.problem).startswith("No AWS credentials were found. Configure one")
    (endpoint,) = report.endpoints
    assert (endpoint.url, endpoint.reachable, endpoint.problem) == (stub.url, None, None)
    assert "AWS was never asked for this secret" in report.secrets[0].problems[0]
    assert stub.requests == []


async def test_half_credentials(stub: StubSecretsManager, environment: pytest.MonkeyPatch) -> None:
    """The missing part of the credentials is named."""
    environment.delenv("AWS_SECRET_ACCESS_KEY")
    report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert report.exit_code == 3
    problem = str(report.identity.problem)
    assert "AWS_SECRET_ACCESS_KEY" in problem


@pytest.mark.parametrize(
    ("error", "beginning", "advice"),
    [
        (UnauthorizedSSOTokenError(), "No AWS credentials could be loaded: the SSO session", "aws sso login"),
        (
            EndpointConnectionError(endpoint_url="http://169.254.169.254"),
            "No AWS credentials could be loaded: EndpointConnectionError",
            CREDENTIALS_ADVICE,
        ),
        (TimeoutError(), "No AWS credentials could be loaded: no answer within 5 s.", CREDENTIALS_ADVICE),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "Not allowed"}}, "AssumeRole"),
            "No AWS credentials could be loaded: AssumeRole failed with AccessDenied: Not allowed.",
            "Correct role_arn",
        ),
    ],
    ids=["signed out", "unreachable", "silent", "denied"],
)
async def test_a_chain_that_fails(error: Exception, beginning: str, advice: str) -> None:
    """A failure of the credential chain is shown with the words of its error, and with advice about credentials."""

    async def get_credentials() -> None:
        raise error

    async with Probe(None, None, 5) as probe:
        probe._session.get_credentials = get_credentials
        problem = str((await probe.credentials()).problem)
    assert problem.startswith(beginning)
    assert f" {advice}" in problem
    assert "GetSecretValue" not in problem
    assert "aiocredentials doctor" not in problem


async def test_a_chain_that_is_refused(
    stub: StubSecretsManager, environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A role that SSO doesn't know is no secret that doesn't exist: its words come once, and no secret was asked."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name)
    (tmp_path / "config").write_text(f"[profile dev]{SSO}", encoding="utf-8")
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"startUrl": "https://sso.invalid/start", "accessToken": TOKEN, "expiresAt": "2100-01-01T00:00:00Z"}
    name = hashlib.sha1(b"https://sso.invalid/start", usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text(json.dumps(token), encoding="utf-8")
    environment.setenv("HOME", str(tmp_path))
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    environment.setenv("AWS_PROFILE", "dev")
    environment.setattr("aiobotocore.credentials.AioSSOProvider._SSO_TOKEN_CACHE_DIR", str(cache))
    async with LoopbackSSO() as sso:
        environment.setenv("AWS_ENDPOINT_URL_SSO", sso.url())
        names = ["prod/db", "prod/redis", "prod/api"]
        exit_code = await asyncio.to_thread(main.run, ["doctor", *names, "--endpoint-url", stub.url])
    shown = capsys.readouterr().out
    assert exit_code == 3
    assert shown.count("The specified role could not be found") == 1
    assert shown.count("AWS was never asked for this secret") == 3
    assert "IAM Identity Center (SSO), profile 'dev'" in shown
    assert "GetSecretValue" not in shown
    assert "doesn't exist" not in shown
    assert leaked(shown) is None
    assert stub.requests == []


async def test_a_profile(stub: StubSecretsManager, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile is named, with the file of its credentials and the region that it sets."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        environment.delenv(name)
    (tmp_path / "credentials").write_text(
        f"[dev]\naws_access_key_id={KEY}\naws_secret_access_key={VALUE}\n", encoding="utf-8"
    )
    (tmp_path / "config").write_text(f"[profile dev]\nregion=eu-west-3\nendpoint_url={stub.url}\n", encoding="utf-8")
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    environment.setenv("AWS_PROFILE", "dev")
    report = await diagnose(["prod/db"])
    who = report.identity
    assert (who.method, who.profile, who.key_ending) == ("shared-credentials-file", "dev", "TS42")
    assert (report.region, report.region_source) == ("eu-west-3", "profile 'dev'")
    assert (report.endpoints[0].url, report.endpoints[0].url_source) == (stub.url, "a setting or the profile")
    environment.setenv("AWS_PROFILE", "none")
    broken = await diagnose(["prod/db"])
    assert (broken.exit_code, broken.secrets) == (3, ())
    assert broken.problem
    assert "there is no profile" in broken.problem
