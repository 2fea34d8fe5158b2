"""What the doctor concludes from the answers of replica regions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aiocredentials import ReplicaStatus
from aiocredentials._aws.regions import Region
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.responses import read_description
from aiocredentials.doctor.rendering import as_json, as_text
from aiocredentials.doctor.replicas import replica_report, rows_of_replicas, rows_of_replication
from unit.doctor_fakes import (
    ARN,
    CONTENTS,
    DENIED,
    DESCRIPTION,
    KMS_DENIED,
    NOT_FOUND,
    NOW,
    REFUSED,
    FakeProbe,
    examined,
    report_on,
)

if TYPE_CHECKING:
    from aiocredentials.doctor import ReplicaReport
    from aiocredentials.doctor.answers import Outcome

REPLICA = "eu-central-1"
THERE = ARN.replace("eu-west-1", REPLICA)


def reported(got: Outcome, primary: Outcome = CONTENTS) -> ReplicaReport:
    """Report on the answer of a replica region."""
    return replica_report(name="prod/db", primary_region="eu-west-1", primary=primary, region=REPLICA, got=got)


@pytest.mark.parametrize(
    ("got", "primary", "mark", "text"),
    [
        (CONTENTS, CONTENTS, "ok", "allowed, the same version"),
        (CONTENTS, REFUSED, "ok", "allowed"),
        (replace(CONTENTS, version_id="v-1"), CONTENTS, "note", "version v-1, which isn't the primary region's"),
        (NOT_FOUND, NOT_FOUND, "FAIL", "The secret doesn't exist in eu-central-1 either."),
        (
            replace(CONTENTS, arn=THERE.replace("AbCdEf", "QqQqQq")),
            CONTENTS,
            "FAIL",
            f"another secret, not a replica: {THERE[:-6]}QqQqQq was created separately.",
        ),
        (replace(CONTENTS, arn=THERE), CONTENTS, "ok", "allowed, the same version"),
        (NOT_FOUND, CONTENTS, "FAIL", "The secret isn't replicated to eu-central-1. Replicate it: aws"),
        (DENIED, CONTENTS, "FAIL", "AccessDeniedException: User: app isn't authorized"),
        (KMS_DENIED, CONTENTS, "FAIL", "AccessDeniedException: Access to KMS is not allowed"),
        (REFUSED, CONTENTS, "?", "Secrets Manager gave no usable answer: Conn"),
    ],
)
def test_replica_regions(got: Outcome, primary: Outcome, mark: str, text: str) -> None:
    """The row says whether a service could read the replica, and if not, why, and what to do."""
    report = reported(got, primary)
    (row,) = rows_of_replicas((report,))
    assert (row.label, row.mark) == ("replica get", mark)
    assert row.text.startswith(f"{REPLICA}: {text}")
    assert report.exit_code == {"ok": 0, "note": 0, "FAIL": 1, "?": 3}[mark]


def test_replication() -> None:
    """A replica that isn't in sync stands out, with AWS's reason; a primary secret isn't its own replica."""
    listed = (
        ReplicaStatus(region=REPLICA, status="InSync", message="Replication succeeded", kms_key_id=None),
        ReplicaStatus(region="us-east-1", status="Failed", message="It exists already", kms_key_id=None),
        ReplicaStatus(region="us-east-2", status="InProgress", message=None, kms_key_id=None),
    )
    rows = list(rows_of_replication(replace(DESCRIPTION, primary_region="eu-west-1", replicas=listed)))
    assert [(row.mark, row.text) for row in rows] == [
        ("ok", "eu-central-1: InSync"),
        ("note", "us-east-1: Failed (It exists already)"),
        ("note", "us-east-2: InProgress"),
    ]
    (row,) = rows_of_replication(replace(DESCRIPTION, primary_region="us-east-1"))
    assert (row.label, row.text) == ("replica of", "us-east-1")
    assert list(rows_of_replication(DESCRIPTION)) == []


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (None, ()),
        ("InSync", ()),
        ([7, None, {}, {"Region": 7}], ()),
        ([{"Region": REPLICA}], ((REPLICA, None, None, None),)),
        (
            [{"Region": REPLICA, "Status": "Failed", "StatusMessage": "No.", "KmsKeyId": "alias/app", "Other": 1}],
            ((REPLICA, "Failed", "No.", "alias/app"),),
        ),
    ],
)
def test_descriptions(listed: object, expected: tuple[object, ...]) -> None:
    """The replicas in AWS's answer are read; what isn't one is left out."""
    answer = {"ARN": ARN, "Name": "prod/db", "ReplicationStatus": listed, "PrimaryRegion": "eu-west-1"}
    described = read_description(answer, SecretRequest("prod/db"), Region("eu-west-1", "the test"))
    assert not isinstance(described, Exception)
    assert described.replicas == expected
    assert described.primary_region == "eu-west-1"


async def test_summary() -> None:
    """The summary counts the replicas, because the exit code does."""
    secret = await examined(FakeProbe(CONTENTS))
    replicas = (reported(CONTENTS), reported(NOT_FOUND), reported(REFUSED))
    text = as_text(report_on(replace(secret, replicas=replicas)), colours=False, now=NOW)
    assert text.endswith(
        "\n1 secret checked: 1 ok. 3 replicas checked: 1 ok, 1 failed, 1 unknown (no answer from AWS)."
    )


async def test_json_without_a_description() -> None:
    """A report on a secret that AWS didn't describe has no replicas."""
    report = report_on(await examined(FakeProbe(REFUSED)), await examined(FakeProbe(CONTENTS)))
    unknown, known = json.loads(as_json(report))["secrets"]
    assert unknown["description"] is None
    assert known["description"]["replicas"] == []
