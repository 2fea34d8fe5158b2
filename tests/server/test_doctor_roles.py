"""The doctor asks as a role does: it says which identity the role becomes, or why it can't be assumed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.doctor import cli, diagnose
from aiocredentials.doctor.rendering import as_json, as_text
from leaks.canary import TOKEN, VALUE
from server.doctor_servers import REGIONS, environment
from server.sts import DENIED, EXTERNAL_ID, ROLE, RoleStub
from server.test_roles import signed_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiocredentials.doctor import Report
    from server.stub import StubSecretsManager

__all__ = ["environment"]  # fixtures

BECAME = "arn:aws:sts::123456789012:assumed-role/reader/doctor"


@pytest.fixture
async def sts(environment: pytest.MonkeyPatch) -> AsyncIterator[RoleStub]:
    """An STS that assumes each role."""
    async with RoleStub() as server:
        environment.setenv("AWS_ENDPOINT_URL_STS", server.url())
        yield server


async def report_by(stub: StubSecretsManager, **options: float) -> Report:
    """Diagnose one secret, as the role."""
    return await diagnose(
        ["prod/db"],
        endpoint_url=stub.url,
        regions=REGIONS,
        role_arn=ROLE,
        external_id=EXTERNAL_ID,
        role_session_name="doctor",
        **options,
    )


def text_of(report: Report) -> str:
    """Give the table, and see that it and the JSON show no secret of ours."""
    contents = report.secrets[0].contents
    text = as_text(report, colours=False, now=contents.created_at if contents else None)  # type: ignore[arg-type]
    for secret in (EXTERNAL_ID, "canary", VALUE, TOKEN):
        assert secret not in f"{report!r} {as_json(report)} {text}"
    return text


async def test_identities(stub: StubSecretsManager, sts: RoleStub) -> None:
    """The report has the identity of the process and the one that the role becomes, and all is asked as the role."""
    report = await report_by(stub)
    text = text_of(report)
    assert "  ok    identity      arn:aws:iam::123456789012:user/app (account 123456789012)\n" in text
    assert f"  ok    role          {ROLE}, as {BECAME}\n" in text
    assert report.exit_code == 0
    assert set(signed_with(stub)) == {"ASIA0002"}
    identity = json.loads(as_json(report))["identity"]
    assert (identity["role_arn"], identity["assumed_arn"], identity["role_problem"]) == (ROLE, BECAME, None)
    assert {one.parameters.get("ExternalId") for one in sts.asked} == {EXTERNAL_ID, None}


async def test_searched_as_the_role(stub: StubSecretsManager, sts: RoleStub) -> None:
    """Other regions are searched as the role, too."""
    stub.error("ResourceNotFoundException", times=3)
    report = await report_by(stub)
    elsewhere = report.secrets[0].elsewhere
    assert elsewhere is not None
    assert elsewhere.found == tuple(REGIONS)
    assert {key[:4] for key in signed_with(stub)} == {"ASIA"}
    assert sts.asked


async def test_refused(stub: StubSecretsManager, sts: RoleStub) -> None:
    """A refused AssumeRole is reported once, in STS's words, with what to do; no secret is asked for."""
    sts.refuse()
    report = await report_by(stub)
    text = text_of(report)
    assert f"  FAIL  role          {ROLE}\n" in text
    assert f"  FAIL  problem       AccessDenied: {DENIED}. Allow the identity of this process sts:AssumeRole" in text
    assert "  ok    identity      arn:aws:iam::123456789012:user/app" in text
    assert "because the role can't be assumed." in text
    assert text.endswith("Nothing was checked: the role can't be assumed.")
    assert (report.exit_code, stub.requests) == (3, [])


async def test_silent(stub: StubSecretsManager, sts: RoleStub) -> None:
    """An STS that doesn't answer is given up after the timeout."""
    sts.gate.clear()
    report = await report_by(stub, timeout=0.1)
    problem = str(report.identity.role_problem)
    assert problem.startswith("STS in eu-west-1: no answer within 0.1 s. ")
    assert "VPC endpoint for STS (com.amazonaws.eu-west-1.sts)" in problem
    assert "Nothing was checked" in text_of(report)
    sts.gate.set()


async def test_an_outage(stub: StubSecretsManager, sts: RoleStub) -> None:
    """An STS that fails is named as such: nobody is advised to correct the credentials."""
    sts.refuse("ServiceUnavailable", "down", status=503, times=20)
    problem = str((await report_by(stub)).identity.role_problem)
    assert problem.startswith("STS in eu-west-1: ServiceUnavailable: down. It is an outage of STS")
    assert "Correct or renew" not in problem


async def test_an_unreachable_sts(stub: StubSecretsManager, environment: pytest.MonkeyPatch) -> None:
    """An STS that can't be reached may lack a VPC endpoint."""
    environment.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    problem = str((await report_by(stub)).identity.role_problem)
    assert problem.startswith("STS in eu-west-1: 127.0.0.1 gave no usable answer: EndpointConnectionError")
    assert "VPC endpoint for STS" in problem


async def test_replicas_without_the_primary_sts(
    stub: StubSecretsManager, sts: RoleStub, environment: pytest.MonkeyPatch
) -> None:
    """If only the primary region's STS fails, the replicas are asked through that of their region."""
    environment.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", stub.url)
    sts.hanging = "eu-west-1"
    sts.gate.clear()
    options: dict[str, Any] = {"role_arn": ROLE, "external_id": EXTERNAL_ID}
    report = await diagnose(["prod/db"], timeout=0.5, replica_regions=["eu-central-1"], **options)
    sts.gate.set()
    text = text_of(report)
    assert "  ok    replica get   eu-central-1: allowed\n" in text
    assert text.endswith("Nothing was checked: the role can't be assumed. 1 replica checked: 1 ok.")
    assert report.exit_code == 3


async def test_an_sts_that_names_nobody(stub: StubSecretsManager, sts: RoleStub) -> None:
    """An emulator may leave the identity out."""
    sts.name_nobody = True
    assert f"{ROLE}, as an identity that STS doesn't name" in text_of(await report_by(stub))


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line has the three settings, and refuses those that a service couldn't use."""
    arguments = ["doctor", "prod/db", "--external-id", EXTERNAL_ID]
    with pytest.raises(SystemExit) as caught:
        cli.run(arguments)
    assert caught.value.code == 2
    with pytest.raises(SystemExit):
        cli.run([*arguments, "--role-arn", ROLE, "--role-session-name", "a b"])
    printed = capsys.readouterr().err
    assert "give --role-arn as well." in printed
    assert "--role-session-name is 'a b'" in printed
    assert EXTERNAL_ID not in printed


def test_by_the_command_line(capsys: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch) -> None:
    """The role of the command line is the one that is asked for."""
    environment.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    assert cli.run(["doctor", "prod/db", "--role-arn", ROLE, "--external-id", EXTERNAL_ID, "--timeout", "5"]) == 3
    printed = capsys.readouterr().out
    assert f"FAIL  role          {ROLE}" in printed
    assert EXTERNAL_ID not in printed
