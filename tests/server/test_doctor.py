"""The doctor against servers: moto for real secrets, our own for denials, faults, and endpoints without trust."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError, EndpointConnectionError, UnauthorizedSSOTokenError

from aiocredentials import AsyncCredentialsManager, SecretNotFoundError
from aiocredentials._aws.settings import ClientSettings
from aiocredentials.doctor import cli as main, diagnose, probe as _probe
from aiocredentials.doctor.report import as_json, as_text
from aiocredentials.errors import MalformedResponseError
from leaks.canary import TOKEN, VALUE, LogKeeper, leaked
from server.certificates import Authority, self_signed, server_context
from server.stub import Answer, Request, StubSecretsManager
from server.tls_servers import (
    AWSServer,
    ConnectProxy,
    LoopbackServer,
    Redirect,
    Request as HTTPRequest,
    Response,
    SecretsManagerStub,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiocredentials.doctor import Endpoint, Report, SecretReport
    from aiocredentials.testing import MotoServer

REGIONS = ["eu-west-2", "us-east-1"]
KEY = "AKIAMADEUPFORTESTS42"


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
    monkeypatch.setattr(_probe, "ClientSettings", partial(ClientSettings, config=one_attempt))
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


# What is there, by moto


@pytest.mark.usefixtures("aws")
async def test_a_good_secret(create_secret: Callable[..., Any], aws: MotoServer) -> None:
    """Identity, region and its source, permissions, keys and versions are shown; the value and the key id are not."""
    created = create_secret("prod/db", json.dumps({"username": "app", "password": VALUE}), "eu-west-1")
    report = await diagnose(["prod/db", "prod/db"])
    assert report.exit_code == 0
    who = report.identity
    assert (who.account, who.method, who.key_ending, who.problem) == ("123456789012", "env", "TS42", None)
    assert who.arn
    assert (report.region, report.region_source) == ("eu-west-1", "AWS_REGION")
    (endpoint,) = report.endpoints
    assert (endpoint.url, endpoint.url_source) == (aws.url, "AWS_ENDPOINT_URL_SECRETS_MANAGER")
    assert (endpoint.reachable, endpoint.tls, endpoint.proxy) == (True, False, None)
    (secret,) = report.secrets
    assert secret.contents
    assert (secret.contents.kind, secret.contents.keys) == ("JSON object", ("password", "username"))
    assert secret.contents.key_count == 2
    assert secret.contents.version_id == created["VersionId"]
    assert secret.description
    assert dict(secret.description.versions) == {created["VersionId"]: ("AWSCURRENT",)}
    assert leaked(every_text(report)) is None
    assert KEY not in every_text(report)


@pytest.mark.parametrize(
    ("value", "kind"), [(VALUE, "plain text"), (f'["{KEY}"]', "plain text"), (b"\xff\x00", "binary")]
)
@pytest.mark.usefixtures("aws")
async def test_other_kinds(create_secret: Callable[..., Any], value: str | bytes, kind: str) -> None:
    """Of values that aren't JSON objects, not even the length is shown."""
    create_secret("prod/db", value, "eu-west-1")
    report = await diagnose(["prod/db"])
    assert report.secrets[0].contents
    assert (report.secrets[0].contents.kind, report.secrets[0].contents.keys) == (kind, None)
    assert leaked(every_text(report)) is None


@pytest.mark.usefixtures("aws")
async def test_keys_that_are_values(create_secret: Callable[..., Any]) -> None:
    """Names of keys are shown if all look like names of fields, or on demand; otherwise their number is."""
    create_secret("prod/db", json.dumps({"password": "x", VALUE: True, KEY: True}), "eu-west-1")
    hidden = await diagnose(["prod/db"])
    assert hidden.secrets[0].contents
    assert (hidden.secrets[0].contents.keys, hidden.secrets[0].contents.key_count) == (None, 3)
    assert leaked(every_text(hidden)) is None
    assert KEY not in every_text(hidden)
    shown = await diagnose(["prod/db"], show_keys=True)
    assert shown.secrets[0].contents
    assert shown.secrets[0].contents.keys == tuple(sorted(["password", VALUE, KEY]))


@pytest.mark.usefixtures("aws")
async def test_the_wrong_region(create_secret: Callable[..., Any], secrets_client: Callable[..., Any]) -> None:
    """A secret of another region is found among all regions that there are, by name and by ARN."""
    arn = create_secret("prod/db", VALUE, "ap-southeast-2")["ARN"]
    create_secret("prod/db", VALUE, "eu-west-3")
    secrets_client("eu-west-3").delete_secret(SecretId="prod/db")
    said: list[str] = []
    secret = await of_one(tell=said.append)
    assert secret.exit_code == 1
    assert secret.elsewhere
    assert (secret.elsewhere.found, secret.elsewhere.deleted) == (("ap-southeast-2",), ("eu-west-3",))
    assert len(secret.elsewhere.absent) > 25
    assert "eu-west-1" not in secret.elsewhere.absent
    assert "asking eu-west-1 for prod/db" in said
    assert f"{len(secret.elsewhere.absent) + 2} other regions" in said[-1]
    by_arn = await of_one(arn.replace("ap-southeast-2", "eu-west-1"), regions=["ap-southeast-2"])
    assert by_arn.elsewhere
    assert (by_arn.elsewhere.name, by_arn.elsewhere.found) == ("prod/db", ("ap-southeast-2",))
    assert "A secret with the name 'prod/db' exists in ap-southeast-2" in by_arn.problems[0]


@pytest.mark.usefixtures("aws")
async def test_two_regions(create_secret: Callable[..., Any]) -> None:
    """An ARN is asked in its own region, a name in the one that is given; each region is told of once."""
    arn = create_secret("prod/db", VALUE, "us-west-2")["ARN"]
    create_secret("prod/redis", VALUE, "eu-west-3")
    report = await diagnose([arn, "prod/redis", "prod/none"], region_name="eu-west-3", search=False)
    assert [secret.exit_code for secret in report.secrets] == [0, 0, 1]
    assert [(one.region, one.region_source) for one in report.endpoints] == [
        ("us-west-2", "the secret's ARN"),
        ("eu-west-3", "--region"),
    ]


@pytest.mark.usefixtures("aws")
async def test_describe(create_secret: Callable[..., Any], secrets_client: Callable[..., Any]) -> None:
    """A manager describes its secret: versions, deletion, region; and raises as any call does."""
    first = create_secret("prod/db", VALUE, "eu-west-1")
    second = secrets_client("eu-west-1").put_secret_value(SecretId="prod/db", SecretString=VALUE)
    told = await AsyncCredentialsManager("prod/db").describe()
    assert (told.name, told.arn, told.region) == ("prod/db", first["ARN"], "eu-west-1")
    assert told.versions == {first["VersionId"]: ("AWSPREVIOUS",), second["VersionId"]: ("AWSCURRENT",)}
    assert (told.rotation_enabled, told.deleted_at) == (False, None)
    assert told.created_at
    secrets_client("eu-west-1").delete_secret(SecretId="prod/db")
    assert (await AsyncCredentialsManager("prod/db").describe()).deleted_at
    with pytest.raises(SecretNotFoundError, match="from AWS_REGION"):
        await AsyncCredentialsManager("prod/other").describe()


@pytest.mark.parametrize(
    "body",
    [
        {"ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:prod/other-AbCdEf", "Name": "prod/other"},
        {"Name": "prod/db"},
        b"<html/>",
    ],
)
async def test_describe_malformed(stub: StubSecretsManager, body: Any) -> None:  # noqa: ANN401 - any body
    """A description of another secret, or none at all, isn't taken for an answer."""
    stub.answer(body=body)
    with pytest.raises(MalformedResponseError):
        await AsyncCredentialsManager("prod/db", endpoint_url=stub.url).describe()


async def test_describe_without_versions(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A description whose versions are something else is malformed too."""
    arn = "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-AbCdEf"
    answer = {"ARN": arn, "Name": "prod/db", "VersionIdsToStages": ["v-1"]}
    async with _probe.Probe(None, stub.url, 5) as probe, probe._source.client(None, asyncio.timeout(5)) as opened:

        async def describe_secret(**_: str) -> dict[str, Any]:
            return answer

        monkeypatch.setattr(opened.client, "describe_secret", describe_secret)
        assert isinstance(await probe.describe("prod/db"), MalformedResponseError)


# What is denied, by our own server


def denies(*operations: str, message: str = "No.") -> Callable[[Request], Answer]:
    """Deny some operations, as AWS does."""

    def answer(request: Request) -> Answer:
        if request.target not in operations:
            return Answer()
        return Answer(400, {"__type": "AccessDeniedException", "Message": message})

    return answer


@pytest.mark.usefixtures("sts")
@pytest.mark.parametrize(
    ("operations", "may"),
    [
        ([], ("allowed", "allowed", "allowed")),
        (["BatchGetSecretValue"], ("allowed", "denied", "allowed")),
        (["DescribeSecret"], ("allowed", "allowed", "denied")),
        (["GetSecretValue"], ("denied", "allowed", "allowed")),
    ],
    ids=["none", "batch", "describe", "get"],
)
async def test_permissions(stub: StubSecretsManager, operations: list[str], may: tuple[str, ...]) -> None:
    """Each permission is asked by itself: only the one to get decides."""
    stub.handler = denies(*operations)
    secret = await of_one(endpoint_url=stub.url)
    permissions = secret.permissions
    assert (permissions.get, permissions.batch, permissions.describe) == may
    assert secret.exit_code == (may[0] == "denied")


@pytest.mark.usefixtures("sts")
async def test_kms_denied(stub: StubSecretsManager, caplog: pytest.LogCaptureFixture) -> None:
    """KMS is told apart from Secrets Manager."""
    stub.handler = denies("GetSecretValue", message="Access to KMS is not allowed")
    secret = await of_one(endpoint_url=stub.url)
    assert (secret.permissions.get, secret.permissions.decrypt, secret.found) == ("allowed", "denied", True)
    assert leaked(caplog.text) is None


def by_region(answers: dict[str, Answer]) -> Callable[[Request], Answer]:
    """Answer each region as it is said; a region that isn't named has no secret."""
    missing = Answer(400, {"__type": "ResourceNotFoundException", "Message": "No."})
    return lambda request: answers.get(request.region, missing)


@pytest.mark.usefixtures("sts")
@pytest.mark.parametrize("describe_is_denied", [False, True])
async def test_the_search(stub: StubSecretsManager, *, describe_is_denied: bool) -> None:
    """Regions that don't know the account, deny or fail aren't taken for regions without it; KMS gives it away."""
    error = lambda code, message="No.": Answer(400, {"__type": code, "Message": message})  # noqa: E731
    regions = {
        "ap-east-1": error("UnrecognizedClientException"),
        "us-east-1": error("AccessDeniedException"),
        "us-east-2": error("AccessDeniedException", "Access to KMS is not allowed"),
        "us-west-1": error("ThrottlingException"),
        "us-west-2": error("InvalidRequestException", "The secret is marked for deletion."),
        "eu-west-2": Answer(),
    }
    answers = by_region(regions)

    def handler(request: Request) -> Answer:
        if describe_is_denied and request.target == "DescribeSecret":
            return error("AccessDeniedException")
        return answers(request)

    stub.handler = handler
    elsewhere = (await of_one(endpoint_url=stub.url, regions=[*regions, "eu-west-3"])).elsewhere
    assert elsewhere
    assert elsewhere.found == ("us-east-2", "eu-west-2")
    assert (elsewhere.refused, elsewhere.deleted) == (("ap-east-1", "us-east-1"), ("us-west-2",))
    assert (elsewhere.silent, elsewhere.absent) == (("us-west-1",), ("eu-west-3",))


@pytest.mark.usefixtures("sts")
async def test_the_search_ends(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions that hang hold it up for some seconds, and no longer."""
    monkeypatch.setattr(_probe, "SEARCH_SECONDS", 0.2)
    stub.handler = by_region({region: Answer(action="hang") for region in REGIONS})
    elsewhere = (await of_one(endpoint_url=stub.url, regions=REGIONS)).elsewhere
    assert elsewhere == _probe.Elsewhere(name="prod/db", silent=tuple(REGIONS))


# The identity and the credentials


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
        "refused": "STS: EndpointConnectionError: Connect call failed",
        "redirect": "STS: it answered with a redirect",
    }
    assert str(report.identity.problem).startswith(says[what])


async def test_sts_is_silent(environment: pytest.MonkeyPatch) -> None:
    """STS has no longer than any other call."""
    async with Silence() as silent, _probe.Probe(None, None, 0.2) as probe:
        environment.setenv("AWS_ENDPOINT_URL_STS", silent.url())
        assert (await probe.identity(_probe.Identity())).problem == "STS: no answer within 0.2 s."


async def test_sts_refuses(sts: IdentityStub, stub: StubSecretsManager, environment: pytest.MonkeyPatch) -> None:
    """An error that STS answers is shown with the operation, and concerns the identity alone."""
    body = b"<ErrorResponse><Error><Code>ExpiredToken</Code><Message>It has expired</Message></Error></ErrorResponse>"
    denial = Response(body, 403, {"Content-Type": "text/xml"})
    environment.setattr(sts, "service", lambda _: denial)
    report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert str(report.identity.problem).startswith("STS: GetCallerIdentity failed with ExpiredToken: ")
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
            _probe.CREDENTIALS_ADVICE,
        ),
        (TimeoutError(), "No AWS credentials could be loaded: no answer within 5 s.", _probe.CREDENTIALS_ADVICE),
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

    async with _probe.Probe(None, None, 5) as probe:
        probe._session.get_credentials = get_credentials
        problem = str((await probe.credentials()).problem)
    assert problem.startswith(beginning)
    assert f" {advice}" in problem
    assert "GetSecretValue" not in problem
    assert "aiocredentials doctor" not in problem


SSO = """
sso_start_url = https://sso.invalid/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = mistyped
"""


async def test_a_chain_that_is_refused(
    stub: StubSecretsManager, environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A role that SSO doesn't know is no secret that doesn't exist: its words come once, and no secret was asked."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name)
    (tmp_path / "config").write_text(f"[profile dev]{SSO}")
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"startUrl": "https://sso.invalid/start", "accessToken": TOKEN, "expiresAt": "2100-01-01T00:00:00Z"}
    name = hashlib.sha1(b"https://sso.invalid/start", usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text(json.dumps(token))
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
    (tmp_path / "credentials").write_text(f"[dev]\naws_access_key_id={KEY}\naws_secret_access_key={VALUE}\n")
    (tmp_path / "config").write_text(f"[profile dev]\nregion=eu-west-3\nendpoint_url={stub.url}\n")
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


# The route


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
    environment.setattr(_probe, "ClientSettings", partial(ClientSettings, config=impatient))
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
    async with _probe.Probe(region, None, 5) as probe:
        route = await probe.route(probe.region)
        others = await probe.other_regions(probe.region)
    assert route
    assert route.url.startswith(f"https://secretsmanager.{region}.amazonaws.com")
    assert (route.source, route.proxy) == (None, None)
    assert {others[0].partition("-")[0], region} == ({"cn", region} if region == "cn-north-1" else {"af", region})


async def test_the_case_of_a_region() -> None:
    """AWS's own endpoint is known by its host name, which has no upper case, unlike a region in a variable."""
    async with _probe.Probe("EU-WEST-1", None, 5) as probe:
        route = await probe.route(probe.region)
    assert route
    assert (route.url, route.source) == ("https://secretsmanager.EU-WEST-1.amazonaws.com", None)


@pytest.mark.parametrize("region", ["eu-west1", "Ireland"])
async def test_regions_beside_an_unknown_one(region: str) -> None:
    """A region that belongs to no partition, which an endpoint may have, is searched for in AWS's usual partition."""
    async with _probe.Probe(region, "http://127.0.0.1:1", 5) as probe:
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


# A process of its own


def command(*arguments: str) -> list[str]:
    """The command line of the doctor."""
    return [sys.executable, "-m", "aiocredentials", "doctor", *arguments]


def in_a_terminal(*arguments: str, size: int = 80, exit_code: int = 0, **variables: str) -> str:
    """Run the doctor in a terminal with so many columns, and return all that it shows."""
    import fcntl  # noqa: PLC0415 - not on every system
    import pty  # noqa: PLC0415 - as above
    import termios  # noqa: PLC0415 - as above

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, size, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    environment = {**inherited, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **variables}
    with subprocess.Popen(command(*arguments), stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends on Linux
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == exit_code
    return shown.decode()


LOUD = """
import logging, runpy, sys
logging.basicConfig(level=logging.DEBUG)
sys.argv[0] = "aiocredentials"
runpy.run_module("aiocredentials", run_name="__main__")
"""


@pytest.mark.usefixtures("aws")
def test_nothing_leaks(create_secret: Callable[..., Any]) -> None:
    """No value, no secret key and no token is in the output, or in botocore's debug log, in development mode."""
    create_secret("prod/db", json.dumps({"password": VALUE}), "eu-west-1")
    create_secret("prod/text", VALUE, "eu-west-1")
    names = ["prod/db", "prod/text", "prod/none"]
    run = [sys.executable, "-X", "dev", "-c", LOUD, "doctor", *names, "--regions", "eu-west-2"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=25, check=False)
    assert done.returncode == 1
    assert "botocore" in done.stderr
    assert "password" in done.stdout
    assert leaked(done.stdout) is None
    assert leaked(done.stderr) is None
    assert "Warning" not in done.stderr


@pytest.mark.usefixtures("sts")
async def test_nothing_is_logged(stub: StubSecretsManager) -> None:
    """The value that is fetched, and the token that is sent to STS, are in no record of any logger."""
    stub.secrets["prod/db"] = VALUE
    with LogKeeper() as kept:
        report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert report.exit_code == 0
    assert any("GetCallerIdentity" in text for _, text in kept.texts)
    assert all(leaked(text) is None for _, text in kept.texts)


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
@pytest.mark.usefixtures("aws")
def test_a_terminal(create_secret: Callable[..., Any]) -> None:
    """A real terminal gets colours and a spinner, which is gone when the report comes."""
    create_secret("prod/db", VALUE, "eu-west-1")
    spinner, _, report = in_a_terminal("prod/db").rpartition("\x1b[K")
    assert "\r\x1b[K| " in spinner
    assert "\x1b[32mok" in report
    assert "1 secret checked: 1 ok." in report


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
@pytest.mark.usefixtures("aws")
def test_a_narrow_terminal(create_secret: Callable[..., Any]) -> None:
    """Each line fits into a terminal of 20 columns, also if it has no Unicode and letters are escaped."""
    create_secret("prod/db", json.dumps({"password": VALUE}), "eu-west-1")
    arguments = ["prod/db", "prod/größe", "--regions", "eu-west-2"]
    shown = in_a_terminal(*arguments, size=20, exit_code=1, PYTHONIOENCODING="ascii")
    report = re.sub("\x1b\\[[0-9;]*m", "", shown.rpartition("\x1b[K")[2])
    assert max(map(len, report.splitlines())) == 19
    assert "gr\\xf6\\xdfe" in report
    assert leaked(shown) is None


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_interrupted(stub: StubSecretsManager) -> None:
    """Ctrl-C ends it at once with 130, in the middle of a call, and without a traceback."""
    stub.hang(times=9)
    pipe = asyncio.subprocess.PIPE
    arguments = command("prod/db", "--endpoint-url", stub.url)
    process = await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe)
    await stub.arrival()
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130


def test_a_pipe_that_ends() -> None:
    """A reader that leaves early, such as head, causes no error message."""
    with subprocess.Popen(command("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
def test_closed_streams() -> None:
    """In a process without standard input, output and error only the exit code is left, and it is the right one."""
    line = f"{shlex.join(command('prod/db', '--endpoint-url', 'http://127.0.0.1:1'))} <&- >&- 2>&-"
    done = subprocess.run(line, shell=True, check=False, timeout=25)  # noqa: S602 - it closes the streams
    assert done.returncode == 3


def test_a_process_that_hangs(stub: StubSecretsManager, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A credential_process that never answers holds the doctor up as long as one call, and is reported."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name)
    (tmp_path / "config").write_text("[default]\ncredential_process = sleep 5\n")
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    arguments = command("prod/db", "--endpoint-url", stub.url, "--timeout", "0.3")
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=25)
    assert done.returncode == 3
    assert "No AWS credentials could be loaded: no answer within 0.3 s." in done.stdout
    assert "AWS was never asked for this secret" in done.stdout


# Every region, label, endpoint and credential state


KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": VALUE, "AWS_SESSION_TOKEN": TOKEN}
ROLE = "role_arn = arn:aws:iam::123456789012:role/app"
# For each kind the environment, and the profile "dev", which is used if there is one.
CREDENTIALS: dict[str, tuple[dict[str, str], str]] = {
    "keys": (KEYS, ""),
    "half of the keys": ({"AWS_ACCESS_KEY_ID": KEY}, ""),
    "a key with a line end": ({**KEYS, "AWS_ACCESS_KEY_ID": f"{KEY}\n"}, ""),
    "none": ({}, ""),
    "no such profile": ({"AWS_PROFILE": "other"}, "region = eu-west-1"),
    "half of a profile": ({}, f"aws_access_key_id = {KEY}"),
    "no source profile": ({}, f"{ROLE}\nsource_profile = nowhere"),
    "a loop of profiles": ({}, f"{ROLE}\nsource_profile = dev"),
    "mfa": ({}, f"{ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::123456789012:mfa/me"),
    "sso, never signed in": ({}, SSO),
    "sso, half": ({}, SSO.replace("sso_region", "region")),
    "a process that fails": ({}, f"credential_process = sh -c 'echo {TOKEN} >&2; exit 3'"),
    "a process without JSON": ({}, f"credential_process = echo {TOKEN}"),
    "no such process": ({}, "credential_process = /nowhere/credentials"),
    "a container that hangs": ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "SILENCE"}, ""),
    "a container that is gone": ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1"}, ""),
    "no token file": ({"AWS_ROLE_ARN": ROLE[11:], "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token"}, ""),
}
REGION_NAMES = {
    "good": "eu-west-1",
    "china": "cn-north-1",
    "isolated": "us-iso-east-1",
    "unlisted": "eu-north-77",
    "typo": "eu-west1",
    "a city": "Ireland",
    "empty": "",
    "a line end": "eu-west-1\n",
    "spaces": "eu west 1",
    "long": "eu-west-" * 38,
    "upper case": "EU-WEST-1",
    "not ASCII": "größe-1",
    "an escape": "\x1b[2J\u202e",
}
# For these botocore makes no client.
NO_REGIONS = {"a line end", "spaces", "long", "not ASCII", "an escape"}
# In the place of AWS_ENDPOINT_URL_SECRETS_MANAGER; STUB is one that answers.
ENDPOINTS = {
    "AWS's own": "",
    "refused": "http://127.0.0.1:1",
    "unresolved": "https://secretsmanager.invalid",
    "in clear, elsewhere": "http://secretsmanager.invalid",
    "with a login": f"http://user:{TOKEN[:8]}@127.0.0.1:1",
    "with an odd login": f"http://user:{TOKEN}@127.0.0.1:1",
    "no scheme": "127.0.0.1:1",
    "no port": "http://127.0.0.1:99999",
    "no host": "http://[::1",
    "not in DNS": "http://a..b",
    "a long name": f"http://{'a' * 300}.invalid",
}
PROXIES = {
    "refused": f"http://user:{TOKEN[:8]}@127.0.0.1:1",
    "unresolved": "http://proxy.invalid:3128",
    "no scheme": f"user:{TOKEN[:8]}@proxy.invalid",
    "no host": "http://[::1",
}
LABELS: dict[str, Any] = {
    "many": {f"v-{number}": ["AWSPENDING"] for number in range(100)},
    "harmful": {"v\x1b[2J": ["\u202eAWSCURRENT", "\u200b", "\ud800"]},
    "numbers": {"v-1": [1, None]},
    "none": {"v-1": None},
    "a list": ["v-1"],
}
STUB = "the stub"


class Situation(NamedTuple):
    """What the doctor must survive, by the keys of the tables above."""

    credentials: str = "keys"
    region: str = "good"
    endpoint: str = STUB
    proxy: str | None = None
    labels: str | None = None


def situations() -> list[Situation]:
    """Change each part by itself, and credentials and regions together with the parts that depend on them."""
    every = [Situation(region=region) for region in REGION_NAMES]
    every += [Situation(region=region, endpoint="AWS's own") for region in REGION_NAMES]
    every += [Situation("none", region) for region in ("typo", "spaces", "long")]
    every += [Situation(endpoint=endpoint) for endpoint in ENDPOINTS if endpoint != "AWS's own"]
    every += [Situation("none", endpoint=endpoint) for endpoint in ENDPOINTS]
    every += [Situation(credentials, "a city") for credentials in CREDENTIALS]
    every += [Situation(credentials, endpoint="no host") for credentials in CREDENTIALS if credentials != "keys"]
    every += [Situation(endpoint="unresolved", proxy=proxy) for proxy in PROXIES]
    every += [Situation(labels=labels) for labels in LABELS]
    return list(dict.fromkeys(every))


def test_situations() -> None:
    """There are enough situations to be worth something."""
    assert len(situations()) >= 60


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no host name be resolved but those of this machine."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the system's
        if str(host) not in {"127.0.0.1", "localhost"}:
            str(host).encode("idna")  # which raises for a name that DNS can't express, as the system's does
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("situation", situations(), ids=lambda one: "-".join(filter(None, one)))
async def test_it_survives(
    situation: Situation,
    stub: StubSecretsManager,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever is configured, there is an exit code, a report, no traceback and no secret."""
    no_network(environment)
    environment.setattr("getpass.getpass", raise_eof)
    environment.setattr(_probe, "SEARCH_SECONDS", 0.1)
    for name in (*KEYS, "AWS_REGION"):
        environment.delenv(name)
    variables, profile = CREDENTIALS[situation.credentials]
    if profile:
        base = f"[profile base]\naws_access_key_id = {KEY}\naws_secret_access_key = {TOKEN}\n"
        (tmp_path / "config").write_text(f"{base}[profile dev]\n{profile}\n")
        environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        environment.setenv("AWS_PROFILE", "dev")
    environment.setenv("AWS_REGION", REGION_NAMES[situation.region])
    if url := {STUB: stub.url, **ENDPOINTS}[situation.endpoint]:
        environment.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
    if situation.proxy:
        environment.setenv("HTTPS_PROXY", PROXIES[situation.proxy])
    stub.handler = partial(one_secret, LABELS.get(situation.labels or ""))
    arguments = ["doctor", "prod/db", "prod/none", "--timeout", "0.5"]
    # Searching all regions is for the odd ones, because it takes longer.
    arguments += ["--regions", "eu-west-2"] if situation.region == "good" else []
    async with Silence() as silent:
        for name, value in variables.items():
            environment.setenv(name, value.replace("SILENCE", silent.url()))
        exit_code = await asyncio.to_thread(main.run, arguments)
        as_object = await asyncio.to_thread(main.run, [*arguments, "--json"])
    shown = capsys.readouterr()
    table, _, facts = shown.out.partition("\n{")
    assert exit_code == as_object == json.loads(f"{{{facts}")["exit_code"]
    assert exit_code in {0, 1, 3}
    has_answer = situation.credentials == "keys" and situation.endpoint == STUB
    assert (exit_code == 1) == (has_answer and situation.region not in NO_REGIONS)
    assert table.splitlines()[-1].endswith(".")
    assert shown.err == ""
    assert "Traceback" not in shown.out
    assert leaked(shown.out) is None
    assert TOKEN[:8] not in shown.out
    assert all(line.isprintable() for line in shown.out.splitlines())


def raise_eof(*_: object) -> str:
    """Have nobody at the keyboard."""
    raise EOFError


def one_secret(versions: object, request: Request) -> Answer:
    """Answer as a Secrets Manager with one secret, prod/db, in every region."""
    if request.body.get("SecretId", "prod/db") != "prod/db":
        return Answer(400, {"__type": "ResourceNotFoundException", "Message": "No."})
    if versions is None or request.target != "DescribeSecret":
        return Answer()
    arn = f"arn:aws:secretsmanager:{request.region}:123456789012:secret:prod/db-AbCdEf"
    return Answer(body={"ARN": arn, "Name": "prod/db", "VersionIdsToStages": versions})


# Its page in the docs

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "doctor.md"
is_checkout = pytest.mark.skipif(not HOW_TO.exists(), reason="only a checkout has the docs")


def skeleton(text: str) -> list[str]:
    """What is in the first columns: the marks and the labels, the titles, and the last line."""
    return [line[:20].strip() if line.startswith("  ") else line for line in text.splitlines()]


@is_checkout
@pytest.mark.usefixtures("aws")
def test_the_how_to(create_secret: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows the printed lines, except for names and numbers."""
    create_secret("prod/database", '{"username": "a", "password": "b", "host": "c"}', "eu-west-1")
    create_secret("prod/redis", "text", "us-west-2")
    shown = re.findall(
        r"^\$ python -m aiocredentials (doctor prod/\S+)\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(shown) == 2
    for arguments, output in shown:
        main.run(arguments.split())
        # moto has no TLS, and nobody else's regions.
        printed = capsys.readouterr().out.replace("note  TLS", "ok    TLS")
        assert skeleton(printed) == skeleton(output)
        for line in re.findall(r"(?:value|problem|region) .*", output):
            assert line in printed


@is_checkout
def test_exit_codes_of_the_how_to(capsys: pytest.CaptureFixture[str]) -> None:
    """The page has the exit codes of the help, in the same words."""
    with pytest.raises(SystemExit):
        main.run(["doctor", "--help"])
    helped = re.findall(r"^  (\d+) +(.+)$", capsys.readouterr().out, re.MULTILINE)
    assert helped
    assert helped == re.findall(r"^\| (\d+) \| (.+) \|$", HOW_TO.read_text(), re.MULTILINE)
