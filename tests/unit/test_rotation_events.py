"""What messages say: events in three forms, native ones and those of CloudTrail, and junk."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aiocredentials._eventbridge.events import LONGEST_BODY, Kind, SecretChange, account_in, read
from unit.fake_sqs import ACCOUNT, REGION, by_sns, cloudtrail, label_updated

NAME = "prod/database"
ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{NAME}-Ab12Cd"
MOVED = SecretChange(
    Kind.MOVED, ARN, NAME, REGION, ACCOUNT, ("AWSCURRENT",), "v2", "event-of-v2", datetime(2026, 11, 25, 12, tzinfo=UTC)
)


def change_of(event: object) -> SecretChange:
    """Read an event that must be understood."""
    change = read(json.dumps(event))
    assert change is not None
    return change


@pytest.mark.parametrize("form", [json.dumps, by_sns])
def test_three_forms(form: Any) -> None:  # noqa: ANN401 (a function)
    """The event itself, which raw delivery sends too, and the event in a notification of SNS mean the same."""
    assert read(form(label_updated(ARN, NAME, "v2"))) == MOVED


def test_without_arn() -> None:
    """A native event that lists no resource is known by its name, region and account."""
    for resources in ([], None, [7], "x"):
        event = {**label_updated(ARN, NAME, "v2"), "resources": resources}
        assert change_of(event) == MOVED._replace(arn=None)


def test_the_arn_names_region_and_account() -> None:
    """Where the ARN and the event differ, the ARN is right: the event of a replica, for example."""
    event = {**label_updated(ARN, NAME, "v2"), "region": "us-east-1", "account": "1"}
    assert change_of(event) == MOVED


@pytest.mark.parametrize(
    "detail",
    [
        {"additionalEventData": {"SecretId": ARN}},
        {"additionalEventData": {"arn": ARN}},
        {"additionalEventData": {"aRN": ARN}},
        {"responseElements": {"arn": ARN}, "requestParameters": None},
        {"responseElements": {"aRN": ARN}},
        {"requestParameters": {"secretId": ARN}},
    ],
)
@pytest.mark.parametrize(
    ("event_name", "kind"),
    [
        ("RotationSucceeded", Kind.MOVED),
        ("PutSecretValue", Kind.MOVED),
        ("UpdateSecret", Kind.MOVED),
        ("UpdateSecretVersionStage", Kind.MOVED),
        ("DeleteSecret", Kind.GONE),
        ("RestoreSecret", Kind.GONE),
        ("RotationFailed", Kind.FAILED),
        ("TagResource", Kind.OTHER),
    ],
)
def test_cloudtrail_names_the_secret_in_many_places(event_name: str, kind: Kind, detail: dict[str, Any]) -> None:
    """Each place in which CloudTrail writes the ARN is read."""
    change = change_of(cloudtrail(event_name, **detail))
    assert (change.kind, change.arn, change.region, change.account) == (kind, ARN, REGION, ACCOUNT)
    assert (change.labels, change.version_id) == (("AWSCURRENT",), None)


def test_cloudtrail_with_a_name() -> None:
    """A call that names the secret by its name is about the account and the region of the event."""
    change = change_of(cloudtrail("DeleteSecret", requestParameters={"secretId": NAME}))
    assert (change.arn, change.name, change.region, change.account) == (None, NAME, REGION, ACCOUNT)


@pytest.mark.parametrize(
    ("event_name", "asked", "answered", "labels", "version_id"),
    [
        ("PutSecretValue", {"clientRequestToken": "v3"}, {}, ("AWSCURRENT",), "v3"),
        ("PutSecretValue", {"versionStages": ["AWSPENDING"]}, {"versionId": "v3"}, ("AWSPENDING",), "v3"),
        ("PutSecretValue", {"versionStages": [7, "x"]}, {"versionStages": 7}, ("x",), None),
        ("UpdateSecret", {}, {"versionId": "v3"}, ("AWSCURRENT",), "v3"),
        ("UpdateSecretVersionStage", {"versionStage": "x", "moveToVersionId": "v3"}, {}, ("x",), "v3"),
        ("UpdateSecretVersionStage", {"versionStage": "x", "removeFromVersionId": "v1"}, {}, ("x",), None),
    ],
)
def test_labels_and_versions_of_cloudtrail(
    event_name: str, asked: dict[str, Any], answered: dict[str, Any], labels: tuple[str, ...], version_id: str | None
) -> None:
    """The labels and the version are read where the call names them."""
    parameters = {"secretId": ARN, **asked}
    change = change_of(cloudtrail(event_name, requestParameters=parameters, responseElements=answered))
    assert (change.labels, change.version_id) == (labels, version_id)


def test_a_refused_call() -> None:
    """A call that AWS refused has changed nothing."""
    event = cloudtrail("DeleteSecret", errorCode="AccessDenied", requestParameters={"secretId": ARN})
    assert change_of(event).kind is Kind.OTHER


def test_an_event_about_no_secret() -> None:
    """A call of Secrets Manager that names no secret is understood, and about no value."""
    assert change_of(cloudtrail("ListSecrets")).kind is Kind.OTHER


NATIVE = label_updated(ARN, NAME, "v2")
JUNK: list[object] = [
    None,
    7,
    "",
    "{",
    "[]",
    "7",
    "null",
    "[" * 100_000,
    '{"source":' * 50_000,
    "1" * 10_000,
    '{"source": "aws.secretsmanager", "detail": ' + "9" * 5_000 + "}",
    json.dumps({"Type": "Notification"}),
    json.dumps({"Type": "Notification", "Message": 7}),
    json.dumps({"Type": "Notification", "Message": json.dumps({"Type": "Notification", "Message": "{}"})}),
    json.dumps({"Type": "Notification", "Message": by_sns(NATIVE)}),
    json.dumps(NATIVE) + " " * LONGEST_BODY,
    json.dumps({**NATIVE, "source": "aws.ec2"}),
    json.dumps({**NATIVE, "source": ["aws.secretsmanager"]}),
    json.dumps({**NATIVE, "detail-type": "Another"}),
    json.dumps({**NATIVE, "detail-type": ["Secret Label Updated"]}),
    json.dumps({**NATIVE, "detail": "x"}),
    json.dumps({**NATIVE, "detail": {"name": NAME}}),
    json.dumps({**NATIVE, "detail": {"name": NAME, "labelUpdated": 7, "versionId": "v2"}}),
    json.dumps({**NATIVE, "detail": {"name": NAME, "labelUpdated": "AWSCURRENT", "versionId": ""}}),
    json.dumps({**NATIVE, "resources": [], "region": None}),
    json.dumps({**NATIVE, "resources": [], "account": 7}),
    json.dumps({**NATIVE, "resources": [], "detail": {"labelUpdated": "AWSCURRENT", "versionId": "v2"}}),
    json.dumps({**NATIVE, "resources": ["x" * 3000], "detail": {"labelUpdated": "AWSCURRENT", "versionId": "v2"}}),
    json.dumps(cloudtrail("DeleteSecret")),
    json.dumps(cloudtrail("DeleteSecret", requestParameters={"secretId": ["x"]})),
    json.dumps({**cloudtrail("DeleteSecret"), "detail": {"eventName": 7}}),
]


@pytest.mark.parametrize("body", JUNK, ids=range(len(JUNK)))
def test_junk(body: object) -> None:
    """A message that isn't an event of Secrets Manager isn't understood, and nothing is raised."""
    assert read(body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([ARN, NAME, "Notification"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("Type", "Message", "source", "detail-type", "detail", "resources", "region", "account", "id")
DETAILS = ("name", "labelUpdated", "versionId", "eventName", "errorCode", "requestParameters", "responseElements")


@settings(max_examples=60, deadline=None)
@given(
    base=st.sampled_from([NATIVE, cloudtrail("DeleteSecret", requestParameters={"secretId": ARN}), {}]),
    fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3),
    details=st.dictionaries(st.sampled_from(DETAILS), JSON, max_size=3),
)
def test_damaged_events(base: dict[str, Any], fields: dict[str, Any], details: dict[str, Any]) -> None:
    """Whatever the fields of an event hold, it is read or it isn't: each field of the result has its type."""
    event = {**base, "detail": {**base.get("detail", {}), **details}, **fields}
    change = read(json.dumps(event))
    if change is not None and change.kind is not Kind.OTHER:
        assert isinstance(change.arn or change.name, str)
        assert isinstance(change.region, str)
        assert isinstance(change.account, str)
        assert all(isinstance(label, str) for label in change.labels)
        assert change.version_id is None or isinstance(change.version_id, str)
        hash(change)


@settings(max_examples=40, deadline=None)
@given(st.text() | st.binary().map(repr))
def test_any_text(body: str) -> None:
    """Any text is read or it isn't; nothing is raised."""
    change = read(body)
    assert change is None


def test_account() -> None:
    """The account is read off an ARN, and off nothing else."""
    assert account_in(ARN) == ACCOUNT
    assert account_in(NAME) is None
