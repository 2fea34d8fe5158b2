"""What the doctor makes of the answers, how it tells it, and its command line. No socket is opened."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import SecretDescription, __main__ as command, _probe
from aiocredentials._doctor_report import as_json, as_text
from aiocredentials._mapping import from_answer, map_error
from aiocredentials._probe import Contents, Elsewhere, Identity, Route, told, why_unreachable, without_password
from aiocredentials._session import Region
from aiocredentials.doctor import Endpoint, Report, SecretReport, _Examination
from aiocredentials.errors import (
    AuthenticationError,
    CredentialsError,
    EndpointUnreachableError,
    InvalidRegionError,
    MalformedResponseError,
    describe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOW = datetime.now(UTC)
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"
CONTENTS = Contents(
    arn=ARN, version_id="v-2", created_at=NOW - timedelta(days=22), kind="JSON object", keys=("password", "username")
)
DESCRIPTION = SecretDescription(
    name="prod/db",
    arn=ARN,
    region="eu-west-1",
    versions={"v-1": ("AWSPREVIOUS",), "v-2": ("AWSCURRENT",)},
    kms_key_id=None,
    created_at=NOW - timedelta(days=100),
    changed_at=NOW - timedelta(hours=1),
    deleted_at=None,
    rotation_enabled=True,
    rotated_at=NOW - timedelta(days=22),
    next_rotation_at=NOW + timedelta(days=8, minutes=1),
    primary_region=None,
)


def answered(code: str, message: str = "No.") -> CredentialsError:
    """Make an error that AWS answered."""
    return from_answer({"Error": {"Code": code, "Message": message}}, "GetSecretValue", secret_name="prod/db")


DENIED = answered("AccessDeniedException", "User: app isn't authorized to perform: secretsmanager:GetSecretValue")
KMS_DENIED = answered("AccessDeniedException", "Access to KMS is not allowed")
NOT_FOUND = answered("ResourceNotFoundException")
DELETED = answered("InvalidRequestException", "The secret was marked for deletion.")
REFUSED = map_error(ConnectionRefusedError(111, "Connection refused"), secret_name="prod/db")
NO_CREDENTIALS = describe(AuthenticationError, "There are no credentials.")


class FakeProbe:
    """Gives the answers that a test thinks up, and remembers where it was told to look."""

    def __init__(
        self,
        got: Contents | CredentialsError,
        described: SecretDescription | CredentialsError = DESCRIPTION,
        batched: CredentialsError | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._got, self._described, self._batched = got, described, batched
        self._elsewhere = elsewhere or Elsewhere()
        self.looked: list[tuple[list[str], bool]] = []
        self.way: Route | None = Route(url="https://secretsmanager.eu-west-1.amazonaws.com", source=None, proxy=None)

    def region_of(self, _: str) -> Region:
        """One region for all."""
        return Region("eu-west-1", "AWS_REGION")

    async def get(self, _: str) -> Contents | CredentialsError:
        """What was thought up."""
        return self._got

    async def describe(self, _: str) -> SecretDescription | CredentialsError:
        """What was thought up."""
        return self._described

    async def batch(self, _: str) -> CredentialsError | None:
        """What was thought up."""
        return self._batched

    async def other_regions(self, _: Region) -> list[str]:
        """Two of them."""
        return ["eu-west-2", "us-east-1"]

    async def route(self, _: Region) -> Route | None:
        """Where requests go."""
        return self.way

    async def search(self, _: str, regions: Sequence[str], *, by_value: bool, tell: Callable[[str], None]) -> Elsewhere:
        """What was thought up."""
        tell("looking")
        self.looked.append((list(regions), by_value))
        return self._elsewhere


async def examined(probe: FakeProbe, regions: Sequence[str] | None = None) -> SecretReport:
    """Examine one secret by those answers."""
    fake: Any = probe
    return await _Examination(fake, regions, lambda _: None).examine("prod/db")


async def endpoint_by(probe: FakeProbe) -> Endpoint:
    """Say of the endpoint what those answers mean."""
    fake: Any = probe
    examination = _Examination(fake, (), lambda _: None)
    await examination.examine("prod/db")
    (endpoint,) = await examination.endpoints(["prod/db"])
    return endpoint


def report_on(*secrets: SecretReport, **changed: Any) -> Report:  # noqa: ANN401 - of any field
    """Make a report on these, with an identity."""
    identity = Identity(
        account="123456789012", arn="arn:aws:iam::123456789012:user/app", method="env", key_ending="WXYZ"
    )
    report = Report(
        identity=identity,
        region="eu-west-1",
        region_source="AWS_REGION",
        endpoints=(),
        secrets=secrets,
        problem=None,
    )
    return replace(report, **changed)


# What the answers mean


async def test_all_is_well() -> None:
    """A secret that can be had has no problem and no note, and nobody looks into other regions."""
    probe = FakeProbe(CONTENTS)
    report = await examined(probe)
    assert (report.found, report.exit_code, report.problems, report.notes) == (True, 0, (), ())
    may = report.permissions
    assert (may.get, may.batch, may.describe, may.decrypt) == ("allowed",) * 4
    assert (report.contents, report.description, probe.looked) == (CONTENTS, DESCRIPTION, [])


async def test_the_wrong_region() -> None:
    """A secret of another region is found there, and the problem says where the wrong region came from."""
    report = await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(found=("us-east-1",))))
    assert (report.found, report.exit_code) == (False, 1)
    (problem,) = report.problems
    assert "eu-west-1 (from AWS_REGION)" in problem
    assert "It is in us-east-1" in problem
    assert (report.permissions.get, report.permissions.batch) == ("unknown", "allowed")


async def test_nobody_created_it() -> None:
    """Where no region has it, the problem says how to create it, and how sure that is."""
    nowhere = Elsewhere(absent=("eu-west-2",), refused=("ap-east-1",), silent=("us-east-1",))
    (problem,) = (await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=nowhere))).problems
    assert "1 other regions don't have it either, and 2 didn't say" in problem
    assert "aws secretsmanager create-secret --name prod/db --region eu-west-1" in problem
    (problem,) = (await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(absent=("a", "b"))))).problems
    assert "2 other regions don't have it either. " in problem


async def test_deleted_elsewhere() -> None:
    """A secret that another region is about to delete is told of."""
    (problem,) = (await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(deleted=("us-east-1",))))).problems
    assert "In us-east-1 it is scheduled for deletion" in problem


@pytest.mark.parametrize(
    ("regions", "looked"),
    [
        (None, [(["eu-west-2", "us-east-1"], False)]),
        (["eu-west-1", "eu-west-9", "eu-west-9"], [(["eu-west-9"], False)]),
        ([], []),
    ],
    ids=["all", "some", "none"],
)
async def test_where_it_looks(regions: list[str] | None, looked: list[tuple[list[str], bool]]) -> None:
    """It looks in all other regions, in those that are named, or not at all; never twice in one."""
    probe = FakeProbe(NOT_FOUND, NOT_FOUND)
    report = await examined(probe, regions)
    assert probe.looked == looked
    assert (report.elsewhere is None) == (not looked)


async def test_denied_in_the_wrong_region() -> None:
    """A policy that names the right region denies the wrong one: so a denial is looked into, too."""
    probe = FakeProbe(DENIED, DENIED, DENIED, elsewhere=Elsewhere(found=("us-east-1",)))
    report = await examined(probe)
    assert (report.found, report.exit_code) == (None, 1)
    assert probe.looked == [(["eu-west-2", "us-east-1"], True)]
    denied, elsewhere = report.problems
    assert "AccessDeniedException: User: app isn't authorized" in denied
    assert "It is in us-east-1" in elsewhere
    may = report.permissions
    assert (may.get, may.batch, may.describe, may.decrypt) == ("denied", "denied", "denied", "unknown")


async def test_denied_where_it_is() -> None:
    """What is there and denied isn't looked for anywhere else."""
    probe = FakeProbe(DENIED)
    report = await examined(probe)
    assert (report.found, len(report.problems), probe.looked) == (True, 1, [])


async def test_denied_everywhere() -> None:
    """Where no region has more to say, a denial is all there is to tell."""
    report = await examined(FakeProbe(DENIED, DENIED, elsewhere=Elsewhere(refused=("us-east-1",))))
    assert len(report.problems) == 1


@pytest.mark.parametrize("error", [KMS_DENIED, answered("DecryptionFailure", "The key is disabled.")])
async def test_kms(error: CredentialsError) -> None:
    """Where KMS is what refuses, the permission to get is there, and decryption is the problem."""
    report = await examined(FakeProbe(error))
    assert (report.found, report.exit_code) == (True, 1)
    assert (report.permissions.get, report.permissions.decrypt) == ("allowed", "denied")
    assert "KMS doesn't decrypt it" in report.problems[0]
    assert "kms:Decrypt" in report.problems[0]


async def test_without_a_value() -> None:
    """A secret that was created and never given a value isn't called missing."""
    probe = FakeProbe(NOT_FOUND)
    report = await examined(probe)
    assert (report.found, report.permissions.get, probe.looked) == (True, "allowed", [])
    assert "put-secret-value --secret-id prod/db --region eu-west-1" in report.problems[0]


async def test_scheduled_for_deletion() -> None:
    """The date is told where it is known, and the command that undoes it."""
    report = await examined(FakeProbe(DELETED, replace(DESCRIPTION, deleted_at=datetime(2031, 2, 3, tzinfo=UTC))))
    assert (report.found, report.permissions.get, report.exit_code) == (True, "allowed", 1)
    assert "(2031-02-03). Restore it: aws secretsmanager restore-secret --secret-id prod/db" in report.problems[0]
    report = await examined(FakeProbe(DELETED, DENIED))
    assert report.problems[0].startswith("It is scheduled for deletion. Restore it: aws secretsmanager restore-secret")


async def test_an_invalid_name() -> None:
    """What AWS finds wrong with a name is passed on."""
    report = await examined(FakeProbe(answered("ValidationException", "A bad name"), NOT_FOUND))
    assert (report.found, report.exit_code) == (False, 1)
    assert "ValidationException: A bad name" in report.problems[0]


async def test_what_services_can_do_without() -> None:
    """That batch or describe are denied is no problem; what it means is said."""
    report = await examined(FakeProbe(CONTENTS, DENIED, DENIED))
    assert (report.exit_code, report.problems, report.description) == (0, (), None)
    assert [note.partition(" ")[0] for note in report.notes] == [
        "secretsmanager:BatchGetSecretValue",
        "secretsmanager:DescribeSecret",
    ]


async def test_a_stuck_rotation() -> None:
    """A version that stays AWSPENDING, and a rotation that is overdue, are noted; a finished rotation is not."""
    stuck = replace(
        DESCRIPTION,
        versions={"v-2": ("AWSCURRENT",), "v-3": ("AWSPENDING",)},
        next_rotation_at=NOW - timedelta(days=2),
    )
    pending, overdue = (await examined(FakeProbe(CONTENTS, stuck))).notes
    assert "Version v-3 is AWSPENDING and not AWSCURRENT" in pending
    assert "was due by" in overdue
    done = replace(DESCRIPTION, versions={"v-2": ("AWSCURRENT", "AWSPENDING")}, next_rotation_at=None)
    assert (await examined(FakeProbe(CONTENTS, done))).notes == ()


@pytest.mark.parametrize("error", [REFUSED, NO_CREDENTIALS, answered("ThrottlingException")])
async def test_aws_does_not_say(error: CredentialsError) -> None:
    """Where AWS isn't reached, or doesn't say, nothing more is asked, and nothing is claimed."""
    probe = FakeProbe(error)
    report = await examined(probe)
    assert (report.found, report.exit_code, report.description, probe.looked) == (None, 3, None, [])
    may = report.permissions
    assert (may.get, may.batch, may.describe, may.decrypt) == ("unknown",) * 4


@pytest.mark.parametrize(
    ("got", "reachable", "tls", "has_problem"),
    [
        (CONTENTS, True, True, False),
        (NOT_FOUND, True, True, False),
        (answered("ThrottlingException"), True, True, True),
        (describe(MalformedResponseError, "Not an answer."), True, True, True),
        (NO_CREDENTIALS, None, None, True),
        (describe(InvalidRegionError, "No such region."), None, None, True),
        (describe(EndpointUnreachableError, "The TLS handshake failed."), False, False, True),
    ],
)
async def test_reachable(
    got: Contents | CredentialsError, *, reachable: bool | None, tls: bool | None, has_problem: bool
) -> None:
    """Whoever answers can be reached, whatever is said; without credentials nothing was sent."""
    endpoint = await endpoint_by(FakeProbe(got))
    assert (endpoint.reachable, endpoint.tls, endpoint.problem is not None) == (reachable, tls, has_problem)


async def test_no_way_to_ask() -> None:
    """An endpoint that no client can be made for has no URL, and why it can't be reached isn't guessed."""
    probe = FakeProbe(REFUSED)
    probe.way = None
    endpoint = await endpoint_by(probe)
    assert (endpoint.url, endpoint.reachable, endpoint.failure) == (None, False, None)


# Why AWS can't be reached


@pytest.mark.parametrize("said", ["the TLS certificate was refused: it has expired", "the CA bundle can't be loaded"])
async def test_tls_failed(said: str) -> None:
    """What is wrong with TLS is known already: nobody is asked again."""
    route = Route(url="https://nowhere.invalid", source=None, proxy=None)
    assert await why_unreachable(route, describe(EndpointUnreachableError, said)) == "tls"


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:1"])
@pytest.mark.parametrize(
    ("of_name", "of_connection", "step"),
    [
        (socket.gaierror(-2, "Name or service not known"), None, "dns"),
        (None, ConnectionRefusedError(111, "Connection refused"), "refused"),
        (None, TimeoutError(), "timeout"),
    ],
)
async def test_steps(
    monkeypatch: pytest.MonkeyPatch,
    of_name: Exception | None,
    of_connection: Exception | None,
    step: str,
    proxy: str | None,
) -> None:
    """The first step that fails is told: the name, then the connection; with a proxy, both are the proxy's."""
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> list[object]:
        asked.append((host, port))
        if of_name:
            raise of_name
        return []

    async def connect(*_: object) -> None:
        assert of_connection
        raise of_connection

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    monkeypatch.setattr(asyncio, "open_connection", connect)
    route = Route(url="https://secretsmanager.example", source=None, proxy=proxy)
    assert await why_unreachable(route, REFUSED) == ("proxy" if proxy else step)
    assert asked == [("127.0.0.1", 1) if proxy else ("secretsmanager.example", 443)]


def test_a_proxys_password() -> None:
    """A proxy is shown without what is before its host name."""
    assert without_password("http://user:pass@proxy.example:3128/") == "http://proxy.example:3128/"
    assert without_password("http://proxy.example:3128") == "http://proxy.example:3128"


def test_told() -> None:
    """An error is told by what happened alone: what was asked, and what to do, has other places."""
    assert told(REFUSED) == "Secrets Manager gave no usable answer: ConnectionRefusedError: Connection refused."
    assert told(NOT_FOUND) == "ResourceNotFoundException: No."
    assert told(answered("Odd", "")).startswith("An error occurred (Odd)")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("prod/db", "prod/db"),
        (ARN, "prod/db"),
        (ARN[:-7], "prod/db"),
        ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:a:b-AbCdEf", "a:b"),
    ],
)
def test_the_name_in_an_arn(given: str, name: str) -> None:
    """Other regions are asked by name, since the end of an ARN is another one there."""
    assert _probe._name_of(given) == name


# How it is told


async def test_as_text() -> None:
    """The table says who, where, what is allowed, the keys, the versions, the rotation, and how old all that is."""
    endpoint = await endpoint_by(FakeProbe(CONTENTS))
    text = as_text(report_on(await examined(FakeProbe(CONTENTS)), endpoints=(endpoint,)), colours=False, now=NOW)
    for line in (
        "  ok    identity      arn:aws:iam::123456789012:user/app (account 123456789012)",
        "        credentials   environment variables, key ...WXYZ",
        "        region        eu-west-1 (from AWS_REGION)",
        "        endpoint      https://secretsmanager.eu-west-1.amazonaws.com",
        "  ok    reachable     yes",
        "  ok    TLS           certificate and host name are good",
        "prod/db in eu-west-1",
        f"  ok    is there      yes {ARN}",
        "  ok    may describe  allowed",
        "        value         JSON object with the keys password, username",
        "1 asked for: all fine.",
    ):
        assert line in text.splitlines()
    assert "UTC (22 days ago)" in text
    assert "UTC (1 hour ago)" in text
    assert "UTC (in 8 days)" in text
    assert "\x1b" not in text


async def test_problems_as_text() -> None:
    """What is wrong stands out, other regions are counted, and the last line adds up."""
    elsewhere = Elsewhere(found=("us-east-1",), deleted=("us-west-1",), absent=("a", "b"), silent=("c",))
    wrong = await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=elsewhere))
    unknown = await examined(FakeProbe(REFUSED))
    report = report_on(
        wrong,
        unknown,
        identity=Identity(method="sso", profile="dev", key_ending="", problem="STS: no answer within 10 s"),
        endpoints=(
            Endpoint(
                region="eu-west-1",
                region_source="AWS_REGION",
                url="http://vpce.example",
                url_source="AWS_ENDPOINT_URL",
                proxy="http://proxy.example",
                reachable=False,
                tls=None,
                failure="dns",
                problem="No answer.",
            ),
        ),
    )
    assert report.exit_code == 3
    text = as_text(report, colours=False, now=NOW)
    for line in (
        "  FAIL  identity      STS: no answer within 10 s",
        "        credentials   IAM Identity Center (SSO), profile 'dev'",
        "        endpoint      http://vpce.example (from AWS_ENDPOINT_URL)",
        "        proxy         http://proxy.example",
        "  FAIL  reachable     no: its host name isn't known (DNS)",
        "  note  TLS           none: nothing is encrypted on the way",
        "  FAIL  is there      no",
        "  note  it is in      us-east-1",
        "  note  deleted in    us-west-1",
        "        others        2 don't have it, 1 didn't answer",
        "2 asked for, 1 can't be had, of 1 AWS didn't say.",
    ):
        assert line in text.splitlines()


async def test_what_is_not_known_as_text() -> None:
    """A table has no holes: what AWS or an emulator leaves out is said to be unknown."""
    probe = FakeProbe(NO_CREDENTIALS)
    probe.way = None
    endpoint = replace(await endpoint_by(probe), problem=None)
    lines = as_text(report_on(identity=Identity(method="new"), endpoints=(endpoint,)), colours=False, now=NOW)
    assert "        credentials   new\n" in lines
    assert "\neu-west-1\n  ?     reachable     not asked\n" in lines
    bare = replace(
        DESCRIPTION, rotation_enabled=False, changed_at=None, versions={}, rotated_at=None, next_rotation_at=None
    )
    secret = await examined(FakeProbe(replace(CONTENTS, kind="plain text", keys=None, created_at=None), bare))
    text = as_text(report_on(secret, identity=Identity(problem="x")), colours=False, now=NOW)
    assert "version       v-2, created not known" in text
    assert "rotation      off" in text
    assert "value         plain text\n" in text
    only_elsewhere = replace(secret, contents=None, elsewhere=Elsewhere(found=("us-east-1",)))
    assert "others        none" in as_text(report_on(only_elsewhere), colours=False, now=NOW)
    only_absent = replace(secret, elsewhere=Elsewhere(absent=("us-east-1",)))
    assert "others        1 don't have it" in as_text(report_on(only_absent), colours=False, now=NOW)


def test_no_session() -> None:
    """Where nothing could be asked at all, that is the whole report."""
    report = report_on(problem="The profile is broken.", identity=Identity())
    assert report.exit_code == 3
    text = as_text(report, colours=False, now=NOW)
    assert " ".join(text.split()) == "FAIL session The profile is broken. Nothing could be asked."


async def test_names_of_keys_are_harmless() -> None:
    """A key's name, or a secret's, that would steer a terminal is escaped; the JSON has it as it is."""
    secret = await examined(FakeProbe(replace(CONTENTS, keys=("\x1b[2Jwiped", "naïve", "\ud800"))))
    report = report_on(secret)
    text = as_text(report, colours=False, now=NOW)
    assert "\\x1b[2Jwiped, naïve, \\ud800" in text
    assert json.loads(as_json(report))["secrets"][0]["contents"]["keys"] == ["\x1b[2Jwiped", "naïve", "\ud800"]


async def test_colours() -> None:
    """Colours mark what is good and what isn't, and change no word."""
    report = report_on(await examined(FakeProbe(DENIED)))
    text = as_text(report, colours=True, now=NOW)
    assert "\x1b[1;31mFAIL\x1b[0m" in text
    for code in ("\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[1m", "\x1b[0m"):
        text = text.replace(code, "")
    assert text == as_text(report, colours=False, now=NOW)


async def test_as_json() -> None:
    """The JSON is one object with a version, the exit code and every fact; times are ISO 8601."""
    facts = json.loads(as_json(report_on(await examined(FakeProbe(CONTENTS)))))
    assert (facts["version"], facts["exit_code"]) == (1, 0)
    assert set(facts) == {
        "version", "exit_code", "identity", "region", "region_source", "endpoints", "secrets", "problem",
    }  # fmt: skip
    (secret,) = facts["secrets"]
    assert secret["permissions"] == dict.fromkeys(("get", "batch", "describe", "decrypt"), "allowed")
    assert datetime.fromisoformat(secret["contents"]["created_at"]) == CONTENTS.created_at
    assert secret["description"]["versions"] == {"v-1": ["AWSPREVIOUS"], "v-2": ["AWSCURRENT"]}


# The command line


@pytest.fixture
def diagnosed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a diagnosis without AWS in place of the real one, and return what it was called with."""
    called: dict[str, Any] = {}

    async def diagnose(names: list[str], **options: Any) -> Report:  # noqa: ANN401 - any option
        called.update(names=names, **options)
        options["tell"]("looking")
        await asyncio.sleep(0)  # a turn for the spinner
        return report_on(await examined(FakeProbe(called.get("got", CONTENTS))))

    monkeypatch.setattr(command, "diagnose", diagnose)
    return called


def test_arguments(diagnosed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Each option reaches the diagnosis; without options it has the defaults; the exit code is the report's."""
    assert command.run(["doctor", "a", "b"]) == 0
    assert diagnosed["names"] == ["a", "b"]
    assert (diagnosed["region_name"], diagnosed["endpoint_url"], diagnosed["timeout"]) == (None, None, 10.0)
    assert (diagnosed["regions"], diagnosed["search"]) == (None, True)
    command.run(["doctor", "a", "--no-search", "--region", "eu-west-1", "--timeout", "2.5", "--json"])
    assert (diagnosed["region_name"], diagnosed["timeout"], diagnosed["search"]) == ("eu-west-1", 2.5, False)
    command.run(["doctor", "a", "--regions", "eu-west-1, eu-west-2", "--endpoint-url", "https://vpce.example"])
    assert (diagnosed["regions"], diagnosed["endpoint_url"]) == (["eu-west-1", "eu-west-2"], "https://vpce.example")
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["doctor"],
        ["doctor", ""],
        ["doctor", "a", "--region", " "],
        ["doctor", "a", "--endpoint-url", "nowhere"],
        ["doctor", "a", "--timeout", "0"],
        ["doctor", "a", "--timeout", "nan"],
        ["doctor", "a", "--regions", " , "],
        ["doctor", "a", "--regions", "b", "--no-search"],
        ["nurse"],
    ],
)
def test_wrong_arguments(arguments: list[str], diagnosed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be meant is refused with 2 and a sentence, before anything is asked."""
    with pytest.raises(SystemExit) as ended:
        command.run(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert not diagnosed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--version"], version("aiocredentials")), (["--help"], "doctor"), (["doctor", "--help"], "exit codes:\n  0 ")],
)
def test_help(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` and `--help` answer on standard output, with 0; the exit codes are part of the help."""
    with pytest.raises(SystemExit) as ended:
        command.run(arguments)
    assert ended.value.code == 0
    assert said in capsys.readouterr().out


class Terminal(io.StringIO):
    """A standard output that says it is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize(("variables", "is_fancy"), [({}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)])
@pytest.mark.usefixtures("diagnosed")
def test_terminal(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, is_fancy: bool) -> None:
    """A terminal gets colours and a spinner, unless it can't show them or somebody doesn't want them."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with contextlib.redirect_stdout(Terminal()) as terminal:
        command.run(["doctor", "a"])
    shown = terminal.getvalue()
    assert ("\r\x1b[K| looking" in shown) == is_fancy
    assert ("\x1b[32mok  \x1b[0m" in shown) == is_fancy
    assert ("\x1b" in shown) == is_fancy


@pytest.mark.usefixtures("diagnosed")
def test_json_on_a_terminal() -> None:
    """With --json a terminal gets the object and nothing else."""
    with contextlib.redirect_stdout(Terminal()) as terminal:
        command.run(["doctor", "a", "--json"])
    assert json.loads(terminal.getvalue())["version"] == 1


@pytest.fixture
def own_process(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keep what `main` does to its process from this one."""
    done: dict[str, Any] = {}
    monkeypatch.setattr(signal, "signal", lambda _, handler: done.setdefault("handler", handler))
    monkeypatch.setattr(os, "_exit", lambda code: done.update(exit=code))
    monkeypatch.setattr(os, "write", lambda _, data: done.update(written=data))
    monkeypatch.setattr(sys, "argv", ["aiocredentials", "doctor", "a"])
    return done


@pytest.mark.usefixtures("diagnosed", "own_process")
def test_main(capsys: pytest.CaptureFixture[str]) -> None:
    """The console script prints the report and returns its exit code."""
    assert command.main() == 0
    assert "all fine" in capsys.readouterr().out


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.usefixtures("diagnosed")
def test_interrupted(own_process: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool) -> None:
    """Ctrl-C ends the process with 130, and leaves no half line on a terminal."""
    command.main()
    monkeypatch.setattr(os, "isatty", lambda _: is_terminal)
    own_process["handler"](signal.SIGINT, None)
    assert own_process["exit"] == 130
    assert own_process.get("written") == (b"\r\x1b[K" if is_terminal else None)


@pytest.mark.parametrize("is_wrong", [True, False])
@pytest.mark.usefixtures("own_process")
def test_whoever_reads_has_read_enough(
    diagnosed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, is_wrong: bool
) -> None:
    """A pipe that its reader has closed ends the command in silence; its exit code is that of the report."""
    diagnosed["got"] = NOT_FOUND if is_wrong else CONTENTS
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert command.main() == is_wrong
        assert Path(os.devnull).samefile(f"/dev/fd/{pipe.fileno()}")


def test_help_is_cheap() -> None:
    """`python -m aiocredentials --help` imports neither aioboto3 nor aiohttp."""
    program = "import runpy, sys; sys.argv = ['aiocredentials', '--help']\n"
    program += "try: runpy.run_module('aiocredentials', run_name='__main__')\n"
    program += "except SystemExit: print([name for name in ('aioboto3', 'aiohttp') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=20)
    assert answer.stdout.splitlines()[-1] == "[]"
