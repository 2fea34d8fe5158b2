"""The doctor's conclusions from the answers, its report, and its command line. No socket is opened."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import socket
import string
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import SecretDescription
from aiocredentials._aws.answers import from_answer
from aiocredentials._aws.mapping import map_error
from aiocredentials._aws.regions import Region
from aiocredentials.doctor import cli as command, probe as _probe
from aiocredentials.doctor.diagnosis import Endpoint, Report, SecretReport, _Examination
from aiocredentials.doctor.probe import (
    CREDENTIALS_ADVICE,
    Contents,
    Elsewhere,
    Identity,
    Route,
    is_field_name,
    told,
    utc,
    why_unreachable,
    without_password,
)
from aiocredentials.doctor.report import as_json, as_text, columns, printable
from aiocredentials.errors import (
    AuthenticationError,
    CredentialsError,
    EndpointUnreachableError,
    InvalidParameterError,
    InvalidRegionError,
    MalformedResponseError,
    make_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NOW = datetime.now(UTC)
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"
CONTENTS = Contents(
    arn=ARN,
    version_id="v-2",
    created_at=NOW - timedelta(days=22),
    kind="JSON object",
    keys=("password", "username"),
    key_count=2,
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
NO_CREDENTIALS = make_error(AuthenticationError, "There are no credentials.")


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
    assert "doesn't exist in eu-west-1 (region from AWS_REGION)" in problem
    assert "It exists in us-east-1" in problem
    assert (report.permissions.get, report.permissions.batch) == ("unknown", "allowed")


async def test_nobody_created_it() -> None:
    """Where no region has it, the problem says how to create it, and how sure that is."""
    nowhere = Elsewhere(absent=("eu-west-2",), refused=("ap-east-1",), silent=("us-east-1",))
    (problem,) = (await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=nowhere))).problems
    assert "1 other region does not have it either, and 2 gave no answer" in problem
    assert "aws secretsmanager create-secret --name prod/db --region eu-west-1" in problem
    (problem,) = (await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(absent=("a", "b"))))).problems
    assert "2 other regions do not have it either. " in problem


@pytest.mark.parametrize("got", [NOT_FOUND, DELETED])
async def test_commands_can_be_pasted(got: CredentialsError) -> None:
    """Names and regions with spaces are quoted in the commands that a problem ends with."""
    probe = FakeProbe(got, NOT_FOUND, elsewhere=Elsewhere(absent=("us-east-1",)))
    fake: Any = probe
    fake.region_of = lambda _: Region("eu west 1", "--region")
    (problem,) = (await _Examination(fake, None, lambda _: None).examine("prod db")).problems
    assert "'prod db' --region 'eu west 1'" in problem


async def test_deleted_elsewhere() -> None:
    """A secret that is scheduled for deletion in another region is reported."""
    (problem,) = (await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(deleted=("us-east-1",))))).problems
    assert "It is scheduled for deletion in us-east-1" in problem


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
    assert "GetSecretValue. Allow the identity" in denied
    assert "because the secret isn't in eu-west-1 (region from AWS_REGION). It exists in us-east-1" in elsewhere
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
    assert "KMS did not decrypt the secret" in report.problems[0]
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
    assert report.problems[0].startswith("The secret is scheduled for deletion. Restore it: aws secretsmanager")


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
    assert "The rotation is overdue" in overdue
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
    (problem,) = report.problems
    assert problem == f"No answer about this secret ({type(error).__name__}): see the problem of eu-west-1."


@pytest.mark.parametrize(
    ("got", "reachable", "tls", "has_problem"),
    [
        (CONTENTS, True, True, False),
        (NOT_FOUND, True, True, False),
        (answered("ThrottlingException"), True, True, True),
        (make_error(MalformedResponseError, "Not an answer."), True, True, True),
        (NO_CREDENTIALS, None, None, True),
        (make_error(InvalidRegionError, "No such region."), None, None, True),
        (make_error(EndpointUnreachableError, "The TLS handshake failed."), False, False, True),
    ],
)
async def test_reachable(
    got: Contents | CredentialsError, *, reachable: bool | None, tls: bool | None, has_problem: bool
) -> None:
    """A server that answers is reachable, whatever the answer; without credentials nothing was sent."""
    endpoint = await endpoint_by(FakeProbe(got))
    assert (endpoint.reachable, endpoint.tls, endpoint.problem is not None) == (reachable, tls, has_problem)


async def test_no_way_to_ask() -> None:
    """An endpoint that no client can be made for has no URL, and why it can't be reached isn't guessed."""
    probe = FakeProbe(REFUSED)
    probe.way = None
    endpoint = await endpoint_by(probe)
    assert (endpoint.url, endpoint.reachable, endpoint.failure) == (None, False, None)


async def test_a_setting_that_is_wrong() -> None:
    """An error without AWS's answer isn't about the secret, also where AWS could have answered the same class."""
    probe = FakeProbe(make_error(InvalidParameterError, "AWS_ENDPOINT_URL is malformed."))
    assert (await examined(probe)).exit_code == 3
    assert str((await endpoint_by(probe)).problem).startswith("AWS_ENDPOINT_URL is malformed. ")


async def test_sentences_come_once() -> None:
    """A region's problem has each sentence once, however many secrets it is about, and each kind of advice once."""
    errors = [REFUSED, REFUSED, make_error(EndpointUnreachableError, "No answer within 1 s."), NO_CREDENTIALS]
    probe = FakeProbe(REFUSED)
    probe.way = None
    fake: Any = probe
    examination = _Examination(fake, (), lambda _: None)
    for number, probe._got in enumerate(errors):
        await examination.examine(str(number))
    (endpoint,) = await examination.endpoints(map(str, range(len(errors))))
    problem = str(endpoint.problem)
    for sentence in (told(REFUSED), REFUSED.advice, "No answer within 1 s.", CREDENTIALS_ADVICE):
        assert problem.count(sentence) == 1


# Why AWS can't be reached


@pytest.mark.parametrize(
    ("url", "failure"),
    [
        ("http://a..invalid", "dns"),
        ("http://127.0.0.1:99999", None),
        ("http://[::1", None),
    ],
    ids=["no name of DNS", "no port", "no host"],
)
async def test_a_malformed_endpoint(url: str, failure: str | None) -> None:
    """An endpoint that can't be split, or whose name DNS can't express, doesn't stop the doctor."""
    assert await why_unreachable(Route(url=url, source=None, proxy=None), REFUSED) == failure


@pytest.mark.parametrize("said", ["the TLS certificate was refused: it has expired", "the CA bundle can't be loaded"])
async def test_tls_failed(said: str) -> None:
    """A failure of TLS is known already: no request is repeated."""
    route = Route(url="https://nowhere.invalid", source=None, proxy=None)
    assert await why_unreachable(route, make_error(EndpointUnreachableError, said)) == "tls"


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
    """The first step that fails is reported: the name, then the connection; with a proxy, both are the proxy's."""
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


@pytest.mark.parametrize("login", ["user:CANARY", "CANARY", "user:CANARY#1", "user:CAN/ARY", "u@v:CANARY", ""])
def test_a_password_in_a_url(login: str) -> None:
    """A login in a URL isn't shown, whatever its characters; the rest of the URL is."""
    assert without_password(f"http://{login}@proxy.example:3128/") == "http://proxy.example:3128/"
    assert without_password("http://proxy.example:3128/a") == "http://proxy.example:3128/a"


def test_a_password_in_an_error() -> None:
    """An error that repeats a URL is shown without the login in it; so is AWS's own message."""
    ours = make_error(EndpointUnreachableError, "No answer from https://user:CANARY@host.example or http://CANARY@b.")
    assert told(ours) == "No answer from https://host.example or http://b."
    assert told(answered("Odd", "See https://user:CANARY@host.example")) == "Odd: See https://host.example."


def test_told() -> None:
    """An error is shown by what happened alone: what was asked, and what to do, has other places."""
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
    """Other regions are asked by name, because the end of an ARN differs there."""
    assert _probe._name_of(given) == name


async def test_the_advice_names_the_name_in_an_arn() -> None:
    """A secret found elsewhere by the name in an ARN may be another one: the advice says which name was found."""
    elsewhere = Elsewhere(name="prod/other", found=("us-east-1",))
    (problem,) = (await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=elsewhere))).problems
    assert "A secret with the name 'prod/other' exists in us-east-1" in problem


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a local time that isn't UTC, where the system can."""
    reset: Callable[[], None] = getattr(time, "tzset", lambda: None)
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC-9")
        reset()
        yield
    reset()


FIELDS = """
    password username host port dbname engine dbInstanceIdentifier masterUserSecretArn apiKey client_id client-secret
    API_KEY AWS_SECRET_ACCESS_KEY STRIPE_SECRET_KEY_2 sentry.dsn oauth2_token s3_bucket sha256 x509_cert PGPASSWORD
    spring.datasource.password userId _comment id connectionstring mock_secret_key db_password_1
"""
TOKENS = """
    sk_live_4eC39HqLyjWDarjtT1zdp7dc AKIAIOSFODNN7EXAMPLE ghp_16C7e42F292c6912E7710c838347Ae178B4a hunter2222
    d41d8cd98f00b204e9800998ecf8427e 9f86d081884c7d65 xoxb-2048-kljf23 eyJhbGciOiJIUzI1NiJ9 wJalrXUtnFEMI
    0a4d55a8-d778-4fd0-8b5c-9d6f5f0c6f7d mail@example.com päss 2024 a_ _ . kljfwxbcd a--b pass%word
    averylongnameofafieldthatisnofield cdIpkZTUusZCAjpaOVSn ab12_cd34_ef5
"""


@pytest.mark.parametrize("key", FIELDS.split())
def test_names_of_fields(key: str) -> None:
    """Keys that services use as names of fields are shown."""
    assert is_field_name(key)


@pytest.mark.parametrize("key", [*TOKENS.split(), "", "two words", "x" * 33, "a" * 17, "password\n"])
def test_names_that_may_be_tokens(key: str) -> None:
    """Keys that may be tokens, mail addresses or numbers aren't taken for names of fields."""
    assert not is_field_name(key)


def test_random_tokens() -> None:
    """Of 20,000 random tokens of 20 letters and digits, fewer than one in 500 would pass for the name of a field."""
    random = Random(1)  # noqa: S311 - nothing that is kept secret
    letters = string.ascii_letters
    tokens = ("".join([random.choice(letters), *random.choices(letters + string.digits, k=19)]) for _ in range(20_000))
    assert sum(map(is_field_name, tokens)) < 40


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-11-01T09:30:00", "2026-11-01T09:30:00+00:00"),
        ("2026-11-01T09:30:00+02:00", "2026-11-01T07:30:00+00:00"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+00:00"),
    ],
)
@pytest.mark.usefixtures("tokyo")
async def test_odd_times(given: str, shown: str) -> None:
    """Times without a zone are in UTC; neither they nor the end of time stop the doctor, whatever an emulator sends."""
    odd = datetime.fromisoformat(given)
    assert utc(odd).isoformat() == shown
    description = replace(DESCRIPTION, changed_at=odd, deleted_at=odd, rotated_at=odd, next_rotation_at=odd)
    secret = await examined(FakeProbe(replace(CONTENTS, created_at=odd), description))
    assert len(secret.notes) == 1
    assert "created" in as_text(report_on(secret), colours=False, now=NOW)
    assert shown in as_json(report_on(secret))
    assert "scheduled for deletion (" in (await examined(FakeProbe(DELETED, description))).problems[0]


# The report


async def test_as_text() -> None:
    """The table has the identity, the region, the permissions, the keys, the versions, the rotation, and their ages."""
    endpoint = await endpoint_by(FakeProbe(CONTENTS))
    text = as_text(report_on(await examined(FakeProbe(CONTENTS)), endpoints=(endpoint,)), colours=False, now=NOW)
    for line in (
        "  ok    identity      arn:aws:iam::123456789012:user/app (account 123456789012)",
        "        credentials   environment variables, key ...WXYZ",
        "        region        eu-west-1 (from AWS_REGION)",
        "        endpoint      https://secretsmanager.eu-west-1.amazonaws.com",
        "  ok    reachable     yes",
        "  ok    TLS           certificate and host name are valid",
        "prod/db in eu-west-1",
        f"  ok    exists        yes, {ARN}",
        "  ok    describe      allowed",
        "        value         JSON object with the keys password, username",
        "1 secret checked: 1 ok.",
    ):
        assert line in text.splitlines()
    assert "UTC (22 days ago)" in text
    assert "UTC (1 hour ago)" in text
    assert "UTC (in 8 days)" in text
    assert "\x1b" not in text


async def test_problems_as_text() -> None:
    """Problems stand out, other regions are counted, and the last line counts the secrets."""
    elsewhere = Elsewhere(found=("us-east-1",), deleted=("us-west-1",), absent=("a", "b"), silent=("c",))
    wrong = await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=elsewhere))
    unknown = await examined(FakeProbe(REFUSED))
    report = report_on(
        wrong,
        unknown,
        identity=Identity(method="sso", profile="dev", key_ending="", problem="STS: no answer within 10 s."),
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
        "  ?     identity      STS: no answer within 10 s.",
        "        credentials   IAM Identity Center (SSO), profile 'dev'",
        "        endpoint      http://vpce.example (from AWS_ENDPOINT_URL)",
        "        proxy         http://proxy.example",
        "  FAIL  reachable     no: the host name can't be resolved (DNS)",
        "  note  TLS           none: the connection isn't encrypted",
        "  FAIL  exists        no",
        "  note  found in      us-east-1",
        "  note  deleted in    us-west-1",
        "        elsewhere     2 without it, 1 did not answer",
        "2 secrets checked: 1 failed, 1 unknown (no answer from AWS).",
    ):
        assert line in text.splitlines()


async def test_what_is_not_known_as_text() -> None:
    """A table has no holes: facts that AWS or an emulator leaves out are shown as not known."""
    probe = FakeProbe(NO_CREDENTIALS)
    probe.way = None
    endpoint = replace(await endpoint_by(probe), problem=None)
    untrusted = as_text(report_on(endpoints=(replace(endpoint, tls=False),)), colours=False, now=NOW)
    assert "  FAIL  TLS           failed\n" in untrusted
    known = Identity(method="new", key_ending="")
    lines = as_text(report_on(identity=known, endpoints=(endpoint,)), colours=False, now=NOW)
    assert "  ?     identity      not known\n" in lines
    assert lines.endswith("0 secrets checked: none.")
    assert "        credentials   new\n" in lines
    assert "\neu-west-1\n  ?     reachable     not asked\n" in lines
    bare = replace(
        DESCRIPTION, rotation_enabled=False, changed_at=None, versions={}, rotated_at=None, next_rotation_at=None
    )
    plain = replace(CONTENTS, kind="plain text", keys=None, key_count=None, created_at=None)
    secret = await examined(FakeProbe(plain, bare))
    text = as_text(report_on(secret), colours=False, now=NOW)
    assert "version       v-2, created not known" in text
    assert "rotation      off" in text
    assert "value         plain text\n" in text
    only_elsewhere = replace(secret, contents=None, elsewhere=Elsewhere(found=("us-east-1",)))
    assert "elsewhere     none" in as_text(report_on(only_elsewhere), colours=False, now=NOW)
    only_absent = replace(secret, elsewhere=Elsewhere(absent=("us-east-1",)))
    assert "elsewhere     1 without it" in as_text(report_on(only_absent), colours=False, now=NOW)


def test_no_session() -> None:
    """Where nothing could be asked at all, that is the whole report."""
    report = report_on(problem="The profile is broken.", identity=Identity())
    assert report.exit_code == 3
    text = as_text(report, colours=False, now=NOW)
    assert " ".join(text.split()) == (
        "FAIL session The profile is broken. Nothing was checked: the AWS session can't be opened."
    )


def test_no_credentials_as_text() -> None:
    """Without credentials the table says why, once, and that nothing was checked."""
    broken = report_on(identity=Identity(method="sso", profile="dev", problem="The token has expired."))
    assert as_text(broken, colours=False, now=NOW).splitlines() == [
        "  FAIL  credentials   IAM Identity Center (SSO), profile 'dev'",
        "  FAIL  problem       The token has expired.",
        "        region        eu-west-1 (from AWS_REGION)",
        "",
        "Nothing was checked: no AWS credentials could be loaded.",
    ]
    none = as_text(report_on(identity=Identity()), colours=False, now=NOW)
    assert "  FAIL  credentials   none\n  FAIL  problem       not known\n" in none


async def test_hidden_keys() -> None:
    """Names of keys that may be values are counted and not shown; the line names the option that shows them."""
    for count, said in ((1, "1 key "), (3, "3 keys ")):
        secret = await examined(FakeProbe(replace(CONTENTS, keys=None, key_count=count)))
        text = as_text(report_on(secret), colours=False, now=NOW)
        assert f"JSON object with {said}(names that may be values are hidden: --keys shows them)" in text
    empty = await examined(FakeProbe(replace(CONTENTS, keys=(), key_count=0)))
    assert "value         JSON object\n" in as_text(report_on(empty), colours=False, now=NOW)


HARMFUL = {
    "\x1b[2Jwiped": "\\x1b[2Jwiped",
    "a\nb": "a\\nb",
    "\u202egnp.exe": "\\u202egnp.exe",
    "\u2066x\u2069": "\\u2066x\\u2069",
    "zero\u200bwidth": "zero\\u200bwidth",
    "join\u200der": "join\\u200der",
    "\ufefflead": "\\ufefflead",
    "soft\xadhyphen": "soft\\xadhyphen",
    "fill\u3164er": "fill\\u3164er",
    "select\ufe0for": "select\\ufe0for",
    "\ud800": "\\ud800",
    "naïve": "naïve",
}


async def test_texts_of_others_are_harmless() -> None:
    """Names, labels and messages that a terminal would obey or hide are escaped; the JSON is ASCII."""
    labels = {"v-2": ("AWSCURRENT", *HARMFUL)}
    for harmful, shown in HARMFUL.items():
        assert printable(harmful) == shown
    contents = replace(CONTENTS, keys=tuple(HARMFUL), version_id="v\u202e")
    secret = replace(await examined(FakeProbe(contents, replace(DESCRIPTION, versions=labels))), asked="db\u202e")
    secret = replace(secret, problems=tuple(HARMFUL))
    report = report_on(secret)
    text = as_text(report, colours=False, now=NOW)
    assert f"with the keys {', '.join(HARMFUL.values())}" in text
    assert f"v-2 AWSCURRENT, {', '.join(HARMFUL.values())}" in text
    assert all(f"problem       {shown}" in text for shown in HARMFUL.values())
    assert "\ndb\\u202e in eu-west-1\n" in text
    assert all(line.isprintable() for line in text.splitlines())
    assert as_json(report).isascii()
    ascii_only = as_text(report, colours=False, now=NOW, encoding="ascii")
    assert "na\\xefve" in ascii_only
    assert ascii_only.isascii()
    (facts,) = json.loads(as_json(report))["secrets"]
    assert (facts["contents"]["keys"], facts["problems"]) == (list(HARMFUL), list(HARMFUL))


@pytest.mark.parametrize("width", [*range(8, 60), 79, 80, 200])
async def test_lines_wrap(width: int) -> None:
    """No line is wider than the terminal, wide characters counted twice; no word is lost; the text keeps its column."""
    odd = replace(CONTENTS, keys=("鍵" * 40, "パスワード", "e\u0301t\u0301e" * 9, "password"))
    stuck = replace(DESCRIPTION, versions={"v-3": ("AWSPENDING",)}, next_rotation_at=NOW - timedelta(days=2))
    endpoint = replace(await endpoint_by(FakeProbe(CONTENTS)), problem="A sentence of some words. And another.")
    report = report_on(
        await examined(FakeProbe(odd, stuck)),
        await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(absent=("a",), refused=("b",)))),
        endpoints=(endpoint,),
    )
    wrapped = as_text(report, colours=False, now=NOW, width=width)
    # A label can't be broken. The longest one takes 19 columns with its mark.
    assert all(columns(line) <= max(width, 19) for line in wrapped.splitlines())
    whole = as_text(report, colours=False, now=NOW)
    assert "".join(wrapped.split()) == "".join(whole.split())
    beginnings = {len(line) - len(line.lstrip()) for line in wrapped.splitlines() if line.startswith("   ")}
    assert beginnings <= ({8, 22} if width >= 42 else {8, 4})
    assert width >= 200 or beginnings & {22, 4}


def test_columns() -> None:
    """East Asian characters take two columns, combining accents none."""
    assert (columns("key"), columns("鍵"), columns("e\u0301"), columns("\uff21"), columns("")) == (3, 2, 1, 2, 0)


async def test_colours() -> None:
    """Colours mark what is good and what isn't, and change no word."""
    report = report_on(await examined(FakeProbe(DENIED)))
    for width in (None, 50, 30):
        text = as_text(report, colours=True, now=NOW, width=width)
        assert "\x1b[1;31mFAIL\x1b[0m" in text
        for code in ("\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[1m", "\x1b[0m"):
            text = text.replace(code, "")
        assert text == as_text(report, colours=False, now=NOW, width=width)


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
    assert (secret["contents"]["keys"], secret["contents"]["key_count"]) == (["password", "username"], 2)


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
    assert (diagnosed["regions"], diagnosed["search"], diagnosed["show_keys"]) == (None, True, False)
    command.run(["doctor", "a", "--no-search", "--region", "eu-west-1", "--timeout", "2.5", "--json", "--keys"])
    assert (diagnosed["region_name"], diagnosed["timeout"], diagnosed["search"]) == ("eu-west-1", 2.5, False)
    assert diagnosed["show_keys"]
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
    """Arguments that can't work are refused with 2 and a sentence, before anything is asked."""
    with pytest.raises(SystemExit) as ended:
        command.run(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert not diagnosed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--endpoint-url", "https://user:CANARY#1@gateway"],
        ["--endpoint-url", "https://user:CAN ARY@gateway"],
        ["--endpoint-url", "https://user:'CANARY\"@gateway:0"],
        ["--endpoint-url", "user:CANARY@gateway"],
        ["--endpint-url", "https://user:CANARY@gateway"],
        ["--timeout", "http://CANARY@gateway"],
        ["--\x1b[2J\u202e"],
    ],
)
@pytest.mark.usefixtures("diagnosed")
def test_wrong_arguments_are_harmless(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An argument is refused without the password in it, and without characters that a terminal obeys."""
    with pytest.raises(SystemExit):
        command.run(["doctor", "a", *arguments])
    error = capsys.readouterr().err.rpartition("error: ")[2].strip()
    assert error.isprintable()
    assert "CAN" not in error
    assert "ARY" not in error


@pytest.mark.usefixtures("diagnosed")
def test_a_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bug of the doctor's ends with 3 and the place of the bug, without a traceback and the exception's text."""

    async def diagnose(*_: object, **__: object) -> Report:
        raise LookupError("CANARY")

    monkeypatch.setattr(command, "diagnose", diagnose)
    assert command.run(["doctor", "a"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(
        r"The doctor failed: LookupError in test_a_bug\S*diagnose, line \d+\. Please report this as a bug\.\n",
        shown.err,
    )


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
    """A terminal gets colours and a spinner, unless TERM or NO_COLOR say otherwise."""
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


@pytest.mark.parametrize(("columns_variable", "width"), [(None, 70), ("44", 44), ("0", 70)])
@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.usefixtures("diagnosed")
def test_width(monkeypatch: pytest.MonkeyPatch, columns_variable: str | None, width: int, *, is_terminal: bool) -> None:
    """Lines end before the last column of a terminal, whose width COLUMNS may change; in a pipe none is broken."""
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((70, 24)))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns_variable:
        monkeypatch.setenv("COLUMNS", columns_variable)
    with contextlib.redirect_stdout(Terminal() if is_terminal else io.StringIO()) as output:
        command.run(["doctor", "a"])
    widest = max(map(len, output.getvalue().splitlines()))
    if is_terminal:
        assert width - 8 < widest < width
    else:
        assert any(line.endswith(ARN) for line in output.getvalue().splitlines())


@pytest.mark.parametrize("size", [1, 2, 3, 12, 40])
async def test_the_spinners_width(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The line that changes never reaches the last column: it would scroll, and leave copies of itself behind."""
    monkeypatch.setenv("COLUMNS", str(size))
    with contextlib.redirect_stdout(Terminal()) as terminal:
        spinner = asyncio.create_task(command._spin(["asking 東京 for größe\u202e" * 90]))
        while "\\" not in terminal.getvalue().replace("\\u202e", ""):
            if size < 2:
                break
            await asyncio.sleep(0)
            monkeypatch.setattr(command, "_FRAME_SECONDS", 0)
        spinner.cancel()
    lines = terminal.getvalue().split("\r\x1b[K")
    assert all(columns(line) < size and line.isprintable() for line in lines)


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
    assert "1 secret checked: 1 ok." in capsys.readouterr().out


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


@pytest.mark.usefixtures("diagnosed", "own_process")
def test_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process without standard output the report goes nowhere, and the exit code is the report's."""
    monkeypatch.setattr(sys, "stdout", None)
    assert command.main() == 0
    with sys.stdout as nowhere:
        assert nowhere.name == os.devnull


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.usefixtures("diagnosed", "own_process")
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A report that can't be written is missed in one sentence; the exit code is the report's."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert command.main() == 0
    assert capsys.readouterr().err == "The report can't be written: No space left on device.\n"


def test_help_is_cheap() -> None:
    """`python -m aiocredentials --help` imports neither aioboto3 nor aiohttp."""
    program = "import runpy, sys; sys.argv = ['aiocredentials', '--help']\n"
    program += "try: runpy.run_module('aiocredentials', run_name='__main__')\n"
    program += "except SystemExit: print([name for name in ('aioboto3', 'aiohttp') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=20)
    assert answer.stdout.splitlines()[-1] == "[]"
