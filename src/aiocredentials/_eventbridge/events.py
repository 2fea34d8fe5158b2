"""Reading messages: the facts about a secret in an event of EventBridge.

`read` is a pure function of a message's body. The body may hold anything: SQS delivers whatever is
sent. No field is used before its type was checked, and nothing here raises.

Three forms are known. A rule that sends to a queue puts the event itself into the body, and so does
a topic of SNS with raw delivery. Without raw delivery, a topic wraps the event as a string.

Sources: AWS Secrets Manager user guide, the pages about events and about CloudTrail; Amazon SNS
developer guide, the pages about the JSON format of notifications and about raw message delivery.
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard, cast

from aiocredentials._identifiers import region_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    Fields: TypeAlias = Mapping[str, Any]

LONGEST_BODY = 1 << 18
"""Characters: more than an event of CloudTrail can have (user guide, quotas: 256 KB)."""

# The longest ARN has 2,048 characters, and a name has at most 512.
_LONGEST_FIELD = 2048

_SOURCE = "aws.secretsmanager"
_NATIVE = "Secret Label Updated"
_CLOUDTRAIL = ("AWS API Call via CloudTrail", "AWS Service Event via CloudTrail")
_CURRENT = "AWSCURRENT"


class Kind(Enum):
    """The kinds of events."""

    MOVED = "a staging label has moved, or may have moved"
    GONE = "the secret was deleted or restored"
    FAILED = "a rotation failed"
    OTHER = "nothing about the current values"


# The names of CloudTrail's events, except those that change no value.
_KINDS = {
    "RotationSucceeded": Kind.MOVED,
    "PutSecretValue": Kind.MOVED,
    "UpdateSecret": Kind.MOVED,
    "UpdateSecretVersionStage": Kind.MOVED,
    "DeleteSecret": Kind.GONE,
    "RestoreSecret": Kind.GONE,
    "RotationFailed": Kind.FAILED,
}


class SecretChange(NamedTuple):
    """The facts in an event about one secret."""

    kind: Kind
    arn: str | None
    """The secret's full or partial ARN; None if the event has only its name."""
    name: str | None
    """The secret's name; None if the event has only its ARN."""
    region: str
    account: str
    labels: tuple[str, ...] = (_CURRENT,)
    """The staging labels that have moved."""
    version_id: str | None = None
    """The version that has these labels now; None if the event doesn't name it."""
    event_id: str | None = None
    time: datetime | None = None
    """When it happened, by AWS's clock, in whole seconds."""


def read(body: object) -> SecretChange | None:
    """Return the facts in a message, or None if it isn't an event of Secrets Manager."""
    event = _parsed(body)
    if event is not None and event.get("Type") == "Notification":
        event = _parsed(event.get("Message"))
    if event is None or event.get("source") != _SOURCE:
        return None

    detail = event.get("detail")
    detail_type = event.get("detail-type")
    if not _is_fields(detail):
        return None
    if detail_type == _NATIVE:
        return _of_native(event, detail)
    if detail_type in _CLOUDTRAIL:
        return _of_cloudtrail(event, detail)
    return None


def _parsed(text: object) -> Fields | None:
    """Return a JSON object; None if the text isn't one."""
    if not isinstance(text, str) or len(text) > LONGEST_BODY:
        return None
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        # It isn't JSON, a number has too many digits, or it is nested too deeply.
        return None
    return parsed if _is_fields(parsed) else None


def _of_native(event: Fields, detail: Fields) -> SecretChange | None:
    label = _text(detail, "labelUpdated")
    version_id = _text(detail, "versionId")
    if label is None or version_id is None:
        return None
    resources = _list(event, "resources")
    first = resources[0] if resources else None
    return _change(
        event,
        Kind.MOVED,
        (_text({"arn": first}, "arn"), _text(detail, "name")),
        labels=(label,),
        version_id=version_id,
    )


def _of_cloudtrail(event: Fields, detail: Fields) -> SecretChange | None:
    event_name = _text(detail, "eventName")
    if event_name is None:
        return None
    kind = _KINDS.get(event_name, Kind.OTHER)
    if detail.get("errorCode") is not None:
        # AWS refused the call, so nothing has changed.
        kind = Kind.OTHER

    more = _fields(detail, "additionalEventData")
    answered = _fields(detail, "responseElements")
    asked = _fields(detail, "requestParameters")
    identifiers = (
        _text(more, "SecretId"),
        _text(more, "arn"),
        # CloudTrail wrote it so before February 2024.
        _text(more, "aRN"),
        _text(answered, "arn"),
        _text(answered, "aRN"),
        _text(asked, "secretId"),
    )
    labels: tuple[str, ...] = (_CURRENT,)
    version_id: str | None = None
    if event_name == "UpdateSecretVersionStage":
        labels = (_text(asked, "versionStage") or _CURRENT,)
        version_id = _text(asked, "moveToVersionId")
    elif event_name in {"PutSecretValue", "UpdateSecret"}:
        labels = _labels(answered) or _labels(asked) or labels
        version_id = _text(answered, "versionId") or _text(asked, "clientRequestToken")
    return _change(event, kind, identifiers, labels=labels, version_id=version_id)


def _change(
    event: Fields,
    kind: Kind,
    identifiers: tuple[str | None, ...],
    *,
    labels: tuple[str, ...],
    version_id: str | None,
) -> SecretChange | None:
    """Return the facts in an event; None if it names no secret.

    An event that changes no value may name none.
    """
    known = [identifier for identifier in identifiers if identifier is not None]
    arns = [identifier for identifier in known if region_in(identifier) is not None]
    names = [identifier for identifier in known if region_in(identifier) is None]
    arn = arns[0] if arns else None
    name = names[0] if names else None
    region = _text(event, "region")
    account = _text(event, "account")
    if arn is not None:
        region = region_in(arn)
        account = account_in(arn)
    is_complete = bool(known and region and account)
    if not is_complete and kind is not Kind.OTHER:
        return None

    event_id = _text(event, "id")
    return SecretChange(
        kind,
        arn,
        name,
        region or "",
        account or "",
        labels,
        version_id,
        event_id,
        _time(event),
    )


def _time(event: Fields) -> datetime | None:
    try:
        time = datetime.fromisoformat(_text(event, "time") or "")
    except ValueError:
        return None
    # One without a time zone can't be compared.
    return None if time.tzinfo is None else time


def account_in(arn: str) -> str | None:
    """Return the account that an ARN names; None for a name."""
    if region_in(arn) is None:
        return None
    return arn.split(":")[4]


def _labels(fields: Fields) -> tuple[str, ...]:
    # AWS allows 20 labels per version (API reference, PutSecretValue).
    listed = _list(fields, "versionStages")[:20]
    return tuple(label for label in listed if isinstance(label, str))


def _text(fields: Fields, name: str) -> str | None:
    """Return a field if it is a text of the form that the field must have."""
    value = fields.get(name)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_FIELD:
        return value
    return None


def _list(fields: Fields, name: str) -> list[object]:
    """Return a field if it is a list."""
    value = fields.get(name)
    return cast("list[object]", value) if isinstance(value, list) else []


def _fields(fields: Fields, name: str) -> Fields:
    """Return a field if it is an object; CloudTrail writes null for one that is empty."""
    value = fields.get(name)
    return value if _is_fields(value) else {}


def _is_fields(value: object) -> TypeGuard[Fields]:
    return isinstance(value, dict)
