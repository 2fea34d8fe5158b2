"""How answers of Secrets Manager become a `Secret`, a `SecretDescription` or an error.

An answer that can't be used becomes an error that is returned, not raised: the traceback of a
raised error would hold the answer, and with it the secret's value.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from aiocredentials._aws.answers import from_answer
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._identifiers import identifiers, same_secret
from aiocredentials._secret import Secret, SecretDescription
from aiocredentials.errors import (
    CredentialsError,
    MalformedResponseError,
    SecretNotFoundError,
    make_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiocredentials._aws.regions import Region
    from aiocredentials._secret import Lifetime

T = TypeVar("T")


class FetchStart(NamedTuple):
    """When a fetch began, by both clocks. The age of a secret counts from here."""

    born: float
    """By the monotonic clock, in seconds."""
    fetched_at: datetime
    """By this host's clock, in UTC."""
    clock: Callable[[], float]
    """The monotonic clock."""


def read_secret(
    answer: Mapping[str, Any],
    request: SecretRequest,
    region: Region,
    start: FetchStart,
    lifetime: Lifetime,
) -> Secret | CredentialsError:
    """Return the secret in an answer of GetSecretValue or in an item of a batch, or an error."""
    name = answer.get("Name")
    arn = answer.get("ARN")
    version_id = answer.get("VersionId")
    labels = _labels(answer.get("VersionStages"))
    value = _value(answer)
    if value is None:
        wrong = "has neither or both of SecretString and SecretBinary, or of another type"
    elif not (isinstance(name, str) and isinstance(arn, str)):
        wrong = "doesn't say which secret it is about"
    elif not same_secret(request.secret_name, name, arn):
        return _of_another_secret(request, name, arn, region)
    elif not isinstance(version_id, str) or not version_id:
        wrong = "doesn't say which version it is"
    elif request.version_id not in {None, version_id}:
        wrong = "is another version than the one that was asked"
    elif request.version_stage not in {None, *labels}:
        wrong = "doesn't have the staging label that was asked"
    else:
        return Secret(
            value,
            name=name,
            arn=arn,
            region=region.name,
            version_id=version_id,
            version_stages=labels,
            created_at=_only(datetime, answer.get("CreatedDate")),
            fetched_at=start.fetched_at,
            born=start.born,
            lifetime=lifetime,
            clock=start.clock,
        )
    return _malformed(wrong, request, region)


def _value(answer: Mapping[str, Any]) -> str | bytes | None:
    """Return the value; None if there isn't exactly one, or if it has the wrong type."""
    text = answer.get("SecretString")
    binary = answer.get("SecretBinary")
    if binary is None and isinstance(text, str):
        return text
    if text is None and isinstance(binary, bytes):
        return binary
    return None


def _labels(stages: object) -> tuple[str, ...]:
    if not isinstance(stages, list):
        return ()
    return tuple(map(str, cast("list[object]", stages)))


def _of_another_secret(
    request: SecretRequest,
    name: str,
    arn: str,
    region: Region,
) -> CredentialsError:
    """Return the error for an answer about another secret than the one that was asked."""
    if arn.startswith(f"{request.secret_name}-"):
        # AWS took the ARN for a partial one. It may be the full ARN of a secret that was deleted.
        what = (
            f"No secret has this ARN. AWS answered with the secret {name!r}, whose ARN is longer: "
            "to ask for that one, give its name or its full ARN."
        )
        return make_error(SecretNotFoundError, what, **request.facts(region))
    return _malformed("is about another secret", request, region)


def read_description(
    answer: Mapping[str, Any],
    request: SecretRequest,
    region: Region,
) -> SecretDescription | CredentialsError:
    """Return the description in an answer of DescribeSecret, or an error."""
    name = answer.get("Name")
    arn = answer.get("ARN")
    versions: object = answer.get("VersionIdsToStages") or {}
    if not (isinstance(name, str) and isinstance(arn, str)):
        return _malformed("doesn't say which secret it is about", request, region)
    if not same_secret(request.secret_name, name, arn):
        return _malformed("is about another secret", request, region)
    if not isinstance(versions, dict):
        return _malformed("doesn't list the versions", request, region)

    stages = cast("dict[str, list[str]]", versions)
    return SecretDescription(
        name=name,
        arn=arn,
        region=region.name,
        versions={version_id: tuple(labels) for version_id, labels in stages.items()},
        kms_key_id=_only(str, answer.get("KmsKeyId")),
        created_at=_only(datetime, answer.get("CreatedDate")),
        changed_at=_only(datetime, answer.get("LastChangedDate")),
        deleted_at=_only(datetime, answer.get("DeletedDate")),
        rotation_enabled=answer.get("RotationEnabled") is True,
        rotated_at=_only(datetime, answer.get("LastRotatedDate")),
        next_rotation_at=_only(datetime, answer.get("NextRotationDate")),
        primary_region=_only(str, answer.get("PrimaryRegion")),
    )


def read_page(
    answer: Mapping[str, Any],
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
    for value in answer.get("SecretValues") or ():
        names = identifiers(str(value.get("Name")), str(value.get("ARN")))
        for request in requests:
            if request.secret_name in names:
                region = cast("Region", request.region)
                secret = read_secret(value, request, region, start, lifetime())
                found[request.secret_name] = secret

    by_name = {request.secret_name: request for request in requests}
    for error in answer.get("Errors") or ():
        name = str(error.get("SecretId"))
        about = {"Code": error.get("ErrorCode") or "", "Message": error.get("Message") or ""}
        facts = by_name.get(name, SecretRequest(name)).facts()
        found[name] = from_answer({"Error": about}, "BatchGetSecretValue", **facts)
    return cast("str | None", answer.get("NextToken"))


def _malformed(wrong: str, request: SecretRequest, region: Region) -> CredentialsError:
    return make_error(MalformedResponseError, f"The answer {wrong}.", **request.facts(region))


def _only(kind: type[T], value: object) -> T | None:
    return value if isinstance(value, kind) else None
