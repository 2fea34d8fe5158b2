"""The meaning of answers from replica regions: whether a service could read a secret there."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from aiocredentials._identifiers import in_region, region_in
from aiocredentials.doctor.answers import Answers
from aiocredentials.doctor.layout import Row
from aiocredentials.doctor.results import FINE, WRONG, Contents, ReplicaReport
from aiocredentials.doctor.wording import reason_and_advice_of
from aiocredentials.errors import SecretNotFoundError

if TYPE_CHECKING:
    from aiocredentials import SecretDescription
    from aiocredentials.doctor.answers import Outcome
    from aiocredentials.doctor.layout import Rows

# AWS's word for a replica that has the primary's current version.
_IN_SYNC = "InSync"


def replica_report(
    *,
    name: str,
    primary_region: str,
    primary: Outcome | None,
    region: str,
    got: Outcome,
) -> ReplicaReport:
    """Return the facts about a secret in a replica region.

    Args:
        name: The secret's identifier in the primary region.
        primary_region: The primary region.
        primary: The answer of the primary region to GetSecretValue; None if it wasn't asked.
        region: The replica region.
        got: Its answer to GetSecretValue.
    """
    answers = Answers(got)
    version_id = None
    is_same = None
    problem = None
    exit_code = answers.exit_code
    if isinstance(got, Contents):
        version_id = got.version_id
        if isinstance(primary, Contents):
            is_same = version_id == primary.version_id
            if _is_another(primary, primary_region, got, region):
                is_same = None
                problem = _another(got.arn, name, primary_region, region)
                exit_code = WRONG
    elif isinstance(got, SecretNotFoundError) and isinstance(primary, SecretNotFoundError):
        problem = f"The secret doesn't exist in {region} either."
    elif isinstance(got, SecretNotFoundError):
        command = _command(name, primary_region, region)
        problem = f"The secret isn't replicated to {region}. Replicate it: {command}"
    else:
        problem = reason_and_advice_of(got)
    return ReplicaReport(
        region=region,
        found=answers.found,
        version_id=version_id,
        is_same_version=is_same,
        problem=problem,
        exit_code=exit_code,
    )


def _is_another(primary: Contents, primary_region: str, got: Contents, region: str) -> bool:
    """Return whether a secret isn't a replica: it has another ARN, not only another region."""
    # An emulator's ARN may name any region.
    if region_in(got.arn) != region:
        return False
    return in_region(got.arn, primary_region) != primary.arn


def _another(arn: str, name: str, primary_region: str, region: str) -> str:
    command = _command(name, primary_region, region)
    return (
        f"another secret, not a replica: {arn} was created separately. A pool doesn't use it once "
        f"it knows the primary's ARN. Delete it there, and replicate the primary: {command}"
    )


def _command(name: str, primary_region: str, region: str) -> str:
    target = f"{shlex.quote(name)} --region {shlex.quote(primary_region)}"
    return (
        f"aws secretsmanager replicate-secret-to-regions --secret-id {target} "
        f"--add-replica-regions Region={shlex.quote(region)}"
    )


def rows_of_replicas(replicas: tuple[ReplicaReport, ...]) -> Rows:
    """Return the rows about the replica regions that the caller named."""
    for replica in replicas:
        if replica.exit_code == WRONG:
            yield Row("replica get", f"{replica.region}: {replica.problem}", "FAIL")
        elif replica.exit_code != FINE:
            yield Row("replica get", f"{replica.region}: {replica.problem}", "?")
        elif replica.is_same_version is False:
            text = f"version {replica.version_id}, which isn't the primary region's"
            yield Row("replica get", f"{replica.region}: {text}", "note")
        elif replica.is_same_version:
            yield Row("replica get", f"{replica.region}: allowed, the same version", "ok")
        else:
            yield Row("replica get", f"{replica.region}: allowed", "ok")


def rows_of_replication(description: SecretDescription) -> Rows:
    """Return the rows about the replication of a secret, as AWS describes it."""
    primary = description.primary_region
    if primary and primary != description.region:
        yield Row("replica of", primary)
    for replica in description.replicas:
        is_in_sync = replica.status == _IN_SYNC
        text = f"{replica.region}: {replica.status}"
        if replica.message and not is_in_sync:
            text += f" ({replica.message})"
        yield Row("replica", text, "ok" if is_in_sync else "note")
