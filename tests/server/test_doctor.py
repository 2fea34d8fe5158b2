"""The doctor against servers: moto for what is there, our own for what is denied, broken, or can't be trusted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import UnauthorizedSSOTokenError

from aiocredentials import AsyncCredentialsManager, SecretNotFoundError, __main__ as main, _probe
from aiocredentials._doctor_report import as_json, as_text
from aiocredentials._session import ClientSettings
from aiocredentials.doctor import diagnose
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


class Silence(LoopbackServer):
    """Takes what comes, and says nothing."""

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
    """Identity, region and its source, permissions, keys and versions are told; the value and the key id are not."""
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
    """Of what is no JSON object, not even the length is told."""
    create_secret("prod/db", value, "eu-west-1")
    report = await diagnose(["prod/db"])
    assert report.secrets[0].contents
    assert (report.secrets[0].contents.kind, report.secrets[0].contents.keys) == (kind, None)
    assert leaked(every_text(report)) is None


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
    assert by_arn.elsewhere.found == ("ap-southeast-2",)


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
    assert elsewhere == _probe.Elsewhere(silent=tuple(REGIONS))


# Who asks


async def test_identity(sts: IdentityStub, stub: StubSecretsManager) -> None:
    """STS tells who we are, over our own transport, asked in the region of the secrets."""
    report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert (report.identity.arn, report.identity.account) == ("arn:aws:iam::123456789012:user/app", "123456789012")
    assert "/eu-west-1/sts/" in sts.requests[0].headers["authorization"]


@pytest.mark.parametrize("what", ["refused", "redirect"])
async def test_sts_fails(stub: StubSecretsManager, environment: pytest.MonkeyPatch, what: str) -> None:
    """Where STS can't be reached or trusted, this is said, and all the rest goes on."""
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
        assert (await probe.identity(_probe.Identity())).problem == "STS: no answer within 0.2 s"


async def test_no_credentials(stub: StubSecretsManager, environment: pytest.MonkeyPatch) -> None:
    """Without AWS credentials STS isn't asked, the exit code is 3, and why is said."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name)
    report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert (report.exit_code, report.identity.problem) == (3, "No AWS credentials were found.")
    assert report.endpoints[0].reachable is None
    assert "none were found" in report.secrets[0].problems[0]


async def test_half_credentials(stub: StubSecretsManager, environment: pytest.MonkeyPatch) -> None:
    """What is missing of the credentials is named."""
    environment.delenv("AWS_SECRET_ACCESS_KEY")
    report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert report.exit_code == 3
    problem = str(report.identity.problem)
    assert problem.startswith("No AWS credentials could be loaded: the environment variable")
    assert "AWS_SECRET_ACCESS_KEY" in problem


async def test_signed_out() -> None:
    """Where SSO wants a new login, botocore's own words say so."""

    async def get_credentials() -> None:
        raise UnauthorizedSSOTokenError

    async with _probe.Probe(None, None, 5) as probe:
        probe._session.get_credentials = get_credentials
        problem = str((await probe.credentials()).problem)
    assert problem.startswith("No AWS credentials could be loaded: The SSO session")
    assert "aws sso login" in problem


async def test_a_profile(stub: StubSecretsManager, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile is named, with the file that the credentials come from and the region that it sets."""
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


# Whether it can be reached


@pytest.mark.usefixtures("sts")
async def test_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection, and a host name that doesn't exist, are told apart."""
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
    """A server that takes the request and says nothing is told from one that isn't there."""
    impatient = AioConfig(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=0.2)
    environment.setattr(_probe, "ClientSettings", partial(ClientSettings, config=impatient))
    async with Silence() as silent:
        endpoint = await endpoint_of(silent.url())
    assert (endpoint.reachable, endpoint.failure) == (False, "no answer")


@pytest.mark.usefixtures("sts")
@pytest.mark.parametrize("flaw", ["wrong host name", "unknown authority", "expired", "self-signed", None])
async def test_tls(tmp_path: Path, environment: pytest.MonkeyPatch, flaw: str | None) -> None:
    """What is wrong with a certificate is said; a good one is said to be good."""
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
    """A proxy is named without its password, and told from the endpoint where it is what fails."""
    async with ConnectProxy(refusal=407) as proxy:
        environment.setenv("HTTPS_PROXY", f"http://user:{VALUE[:8]}@localhost:{proxy.port}")
        environment.setenv("NO_PROXY", "127.0.0.1")
        endpoint = await endpoint_of("https://secretsmanager.example")
        assert (endpoint.failure, endpoint.proxy) == ("proxy", f"http://localhost:{proxy.port}")


@pytest.mark.usefixtures("sts")
async def test_an_impostor() -> None:
    """Who answers with a redirect is reached, and isn't Secrets Manager."""
    async with SecretsManagerStub(redirect=Redirect("http://127.0.0.1:1", 302)) as server:
        endpoint = await endpoint_of(server.url())
    assert (endpoint.reachable, endpoint.failure) == (True, None)
    assert "redirect" in str(endpoint.problem)


@pytest.mark.parametrize("region", ["eu-west-1", "cn-north-1"])
async def test_awss_own_endpoint(region: str) -> None:
    """AWS's own endpoint is told without a source, since nobody chose it."""
    async with _probe.Probe(region, None, 5) as probe:
        route = await probe.route(probe.region)
        others = await probe.other_regions(probe.region)
    assert route
    assert route.url.startswith(f"https://secretsmanager.{region}.amazonaws.com")
    assert (route.source, route.proxy) == (None, None)
    assert {others[0].partition("-")[0], region} == ({"cn", region} if region == "cn-north-1" else {"af", region})


@pytest.mark.usefixtures("sts")
async def test_no_such_region() -> None:
    """A region that isn't one has no endpoint, and the nearest real one is named."""
    report = await diagnose(["prod/db"], region_name="eu west 1")
    (endpoint,) = report.endpoints
    assert (report.exit_code, endpoint.url, endpoint.reachable) == (3, None, None)
    assert "did you mean 'eu-west-1'" in str(endpoint.problem)


# A process of its own


def command(*arguments: str) -> list[str]:
    """The command line of the doctor."""
    return [sys.executable, "-m", "aiocredentials", "doctor", *arguments]


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
    import pty  # noqa: PLC0415 - not on every system

    create_secret("prod/db", VALUE, "eu-west-1")
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    with subprocess.Popen(command("prod/db"), stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends on Linux
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == 0
    spinner, _, report = shown.rpartition(b"\x1b[K")
    assert b"\r\x1b[K| " in spinner
    assert b"\x1b[32mok" in report
    assert b"all fine" in report


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
    """A reader who leaves early, such as head, makes no noise."""
    with subprocess.Popen(command("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


# Its page in the docs

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "doctor.md"
is_checkout = pytest.mark.skipif(not HOW_TO.exists(), reason="only a checkout has the docs")


def skeleton(text: str) -> list[str]:
    """What is in the first columns: the marks and the labels, the titles, and the last line."""
    return [line[:20].strip() if line.startswith("  ") else line for line in text.splitlines()]


@is_checkout
@pytest.mark.usefixtures("aws")
def test_the_how_to(create_secret: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """What the page shows is what is printed, line by line, but for names and numbers."""
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
