"""The doctor's conclusions from AWS's answers about a secret."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials._aws.regions import Region
from aiocredentials.doctor import Elsewhere
from aiocredentials.doctor.diagnosis import Examination
from unit.doctor_fakes import (
    CONTENTS,
    DELETED,
    DENIED,
    DESCRIPTION,
    KMS_DENIED,
    NO_CREDENTIALS,
    NOT_FOUND,
    NOW,
    REFUSED,
    FakeProbe,
    answered,
    examined,
)

if TYPE_CHECKING:
    from aiocredentials.errors import CredentialsError


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
    assert "1 other region doesn't have it either, and 2 denied access or didn't answer" in problem
    assert "aws secretsmanager create-secret --name prod/db --region eu-west-1" in problem
    (problem,) = (await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(absent=("a", "b"))))).problems
    assert "2 other regions don't have it either. " in problem


@pytest.mark.parametrize("got", [NOT_FOUND, DELETED])
async def test_commands_can_be_pasted(got: CredentialsError) -> None:
    """Names and regions with spaces are quoted in the commands that a problem ends with."""
    probe = FakeProbe(got, NOT_FOUND, elsewhere=Elsewhere(absent=("us-east-1",)))
    fake: Any = probe
    fake.region_of = lambda _: Region("eu west 1", "--region")
    (problem,) = (await Examination(fake, None, lambda _: None).examine("prod db")).problems
    assert "'prod db' --region 'eu west 1'" in problem


async def test_deleted_elsewhere() -> None:
    """A secret that is scheduled for deletion in another region is reported."""
    (problem,) = (await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(deleted=("us-east-1",))))).problems
    command = "aws secretsmanager restore-secret --secret-id prod/db --region us-east-1"
    assert problem.endswith(f"It is scheduled for deletion in us-east-1. Restore it there: {command}")


ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"


@pytest.mark.parametrize(
    ("identifier", "elsewhere", "advice"),
    [
        (ARN, Elsewhere(absent=("us-east-1",)), "create-secret --name prod/db --region eu-west-1"),
        (ARN, Elsewhere(found=("us-east-1",)), "pass the ARN that it has there, or its name with region_name="),
        (ARN, Elsewhere(deleted=("us-east-1",)), "restore-secret --secret-id prod/db --region us-east-1"),
        ("arn:aws:s3:::bucket", Elsewhere(absent=("us-east-1",)), "This ARN isn't that of a secret: pass the secret's"),
        ("prod/db", None, "Correct the name or the region, or create the secret: aws secretsmanager create-secret"),
    ],
    ids=["missing", "in another region", "deleted", "of S3", "not searched"],
)
async def test_advice_for_each_identifier(identifier: str, elsewhere: Elsewhere | None, advice: str) -> None:
    """Commands name a secret and not its ARN, an ARN isn't looked up by a setting, and S3's bucket isn't created."""
    fake: Any = FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=elsewhere)
    (problem,) = (await Examination(fake, None if elsewhere else [], lambda _: None).examine(identifier)).problems
    assert advice in problem
    assert "--name arn:" not in problem


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
    assert "KMS didn't decrypt the secret" in report.problems[0]
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
    kind = type(error).__name__
    assert (
        problem
        == f"There is no answer about this secret ({kind}). For the reason, see the problem of region eu-west-1."
    )
