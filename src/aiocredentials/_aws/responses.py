"""How answers of Secrets Manager become a `Secret`, a `SecretDescription` or an error.

An answer that can't be used becomes an error that is returned, not raised: the traceback of a
raised error would hold the answer, and with it the secret's value.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiocredentials._aws.answered_errors import from_answer
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._identifiers import identifiers, same_secret
from aiocredentials._secret import ReplicaStatus, Secret, SecretDescription
from aiocredentials.errors import (
    CredentialsError,
    MalformedResponseError,
    SecretNotFoundError,
    make_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.requests import Facts
    from aiocredentials._secret import Lifetime

    Answer = Mapping[str, Any]


class FetchStart(NamedTuple):
    """When a fetch began, by both clocks. The age of a secret counts from here."""

    born: float
    """By the monotonic clock, in seconds."""
    fetched_at: datetime
    """By this host's clock, in UTC."""
    clock: Callable[[], float]
    """The monotonic clock."""


def read_secret(
    answer: Answer,
    request: SecretRequest,
    region: Region,
    start: FetchStart,
    lifetime: Lifetime,
) -> Secret | CredentialsError:
    """Return the secret in an answer of GetSecretValue or in an item of a batch, or an error.

    Args:
        answer: The answer of AWS.
        request: What was asked.
        region: The region that was asked.
        start: When the fetch began.
        lifetime: How long the secret is fresh.
    """
    facts = request.facts(region)
    value = _value_in(answer)
    if value is None:
        wrong = "has neither SecretString nor SecretBinary, or both, or one of another type"
        return _malformed_error(wrong, facts)
    name = _text(answer, "Name")
    arn = _text(answer, "ARN")
    if name is None or arn is None:
        return _malformed_error("doesn't name the secret", facts)
    if not same_secret(request.secret_name, name, arn):
        return _error_about_another_secret(request, name, arn, facts)

    version_id = answer.get("VersionId", "")
    labels = _labels_in(answer.get("VersionStages"))
    wrong_version = _wrong_version(request, version_id, labels)
    if wrong_version is not None:
        return _malformed_error(wrong_version, facts)
    return Secret(
        value,
        name=name,
        arn=arn,
        region=region.name,
        version_id=version_id,
        version_stages=labels,
        created_at=_date(answer, "CreatedDate"),
        fetched_at=start.fetched_at,
        born=start.born,
        lifetime=lifetime,
        clock=start.clock,
    )


def _wrong_version(
    request: SecretRequest,
    version_id: object,
    labels: tuple[str, ...],
) -> str | None:
    """Return what is wrong with the version in an answer; None if it is the one that was asked."""
    if not isinstance(version_id, str) or not version_id:
        return "doesn't name the version"
    if request.version_id not in {None, version_id}:
        return "has another version than the requested one"
    if request.version_stage not in {None, *labels}:
        return "doesn't have the requested staging label"
    return None


def _value_in(answer: Answer) -> str | bytes | None:
    """Return the value; None if there isn't exactly one, or if it has the wrong type."""
    text = answer.get("SecretString")
    binary = answer.get("SecretBinary")
    if binary is None and isinstance(text, str):
        return text
    if text is None and isinstance(binary, bytes):
        return binary
    return None


def _labels_in(labels: object) -> tuple[str, ...]:
    """Return the staging labels in an answer; none if they have the wrong type."""
    if not isinstance(labels, list):
        return ()
    listed = cast("list[object]", labels)
    return tuple(map(str, listed))


def _error_about_another_secret(
    request: SecretRequest,
    name: str,
    arn: str,
    facts: Facts,
) -> CredentialsError:
    """Return the error for an answer about another secret than the one that was asked."""
    prefix = f"{request.secret_name}-"
    if arn.startswith(prefix):
        # AWS took the ARN for a partial one. It may be the full ARN of a secret that was deleted.
        what = (
            f"No secret has this ARN. AWS answered with the secret {name!r}, whose ARN is longer: "
            "to ask for that one, give its name or its full ARN."
        )
        return make_error(SecretNotFoundError, what, **facts)
    return _malformed_error("is about another secret", facts)


def read_description(
    answer: Answer,
    request: SecretRequest,
    region: Region,
) -> SecretDescription | CredentialsError:
    """Return the description in an answer of DescribeSecret, or an error.

    Args:
        answer: The answer of AWS.
        request: The secret that was asked.
        region: The region that was asked.
    """
    facts = request.facts(region)
    name = _text(answer, "Name")
    arn = _text(answer, "ARN")
    versions: object = answer.get("VersionIdsToStages") or {}
    if name is None or arn is None:
        return _malformed_error("doesn't name the secret", facts)
    if not same_secret(request.secret_name, name, arn):
        return _malformed_error("is about another secret", facts)
    if not isinstance(versions, dict):
        return _malformed_error("doesn't list the versions", facts)

    listed = cast("dict[str, list[str]]", versions)
    labels_by_version = {version: tuple(labels) for version, labels in listed.items()}
    return SecretDescription(
        name=name,
        arn=arn,
        region=region.name,
        versions=labels_by_version,
        kms_key_id=_text(answer, "KmsKeyId"),
        created_at=_date(answer, "CreatedDate"),
        changed_at=_date(answer, "LastChangedDate"),
        deleted_at=_date(answer, "DeletedDate"),
        rotation_enabled=answer.get("RotationEnabled") is True,
        rotated_at=_date(answer, "LastRotatedDate"),
        next_rotation_at=_date(answer, "NextRotationDate"),
        primary_region=_text(answer, "PrimaryRegion"),
        replicas=_replicas_in(answer.get("ReplicationStatus")),
    )


def _replicas_in(listed: object) -> tuple[ReplicaStatus, ...]:
    """Return the replicas in a description; none if they have the wrong type."""
    if not isinstance(listed, list):
        return ()
    replicas: list[ReplicaStatus] = []
    for item in cast("list[object]", listed):
        replica = cast("Answer", item if isinstance(item, dict) else {})
        region = _text(replica, "Region")
        if region is not None:
            status = ReplicaStatus(
                region=region,
                status=_text(replica, "Status"),
                message=_text(replica, "StatusMessage"),
                kms_key_id=_text(replica, "KmsKeyId"),
            )
            replicas.append(status)
    return tuple(replicas)


def read_page(
    answer: Answer,
    requests: Sequence[SecretRequest],
    start: FetchStart,
    lifetime: Callable[[], Lifetime],
    found: dict[str, Secret | CredentialsError],
) -> str | None:
    """Put the secrets and errors of one page of a batch into `found`.

    Args:
        answer: The answer of BatchGetSecretValue.
        requests: The requests of the batch.
        start: When the batch began.
        lifetime: Returns how long a secret is fresh; it is called once per secret.
        found: By the identifier that was asked, the secret or its error.

    Returns:
        The token of the next page; None after the last page.
    """
    for item in answer.get("SecretValues") or ():
        name = str(item.get("Name"))
        arn = str(item.get("ARN"))
        confirmed = identifiers(name, arn)
        for request in requests:
            if request.secret_name in confirmed:
                # Each request of a batch has a region.
                region = cast("Region", request.region)
                fresh_for = lifetime()
                secret = read_secret(item, request, region, start, fresh_for)
                found[request.secret_name] = secret

    by_name = {request.secret_name: request for request in requests}
    for item in answer.get("Errors") or ():
        asked = str(item.get("SecretId"))
        unknown = SecretRequest(asked)
        request = by_name.get(asked, unknown)
        found[asked] = _error_in(item, request)
    return cast("str | None", answer.get("NextToken"))


def _error_in(item: Answer, request: SecretRequest) -> CredentialsError:
    error = {
        "Code": item.get("ErrorCode") or "",
        "Message": item.get("Message") or "",
    }
    facts = request.facts()
    return from_answer({"Error": error}, "BatchGetSecretValue", **facts)


def _malformed_error(wrong: str, facts: Facts) -> CredentialsError:
    what = f"The answer {wrong}."
    return make_error(MalformedResponseError, what, **facts)


def _text(answer: Answer, field: str) -> str | None:
    value = answer.get(field)
    if isinstance(value, str):
        return value
    return None


def _date(answer: Answer, field: str) -> datetime | None:
    value = answer.get(field)
    if isinstance(value, datetime):
        return value
    return None
