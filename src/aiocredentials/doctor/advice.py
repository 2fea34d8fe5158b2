"""The sentences about one secret: its problems, with the remedy, and its notes."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from aiocredentials.doctor.answers import is_about_the_secret, is_denied
from aiocredentials.doctor.results import Contents
from aiocredentials.doctor.search import name_in
from aiocredentials.doctor.wording import (
    kms_denies,
    minute_of,
    reason_and_advice_of,
    reason_of,
    utc,
)
from aiocredentials.errors import SecretDecryptionError, SecretDeletedError, SecretNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocredentials import SecretDescription
    from aiocredentials.doctor.answers import Answers
    from aiocredentials.doctor.results import Elsewhere

# The end of a command that stores a value, which belongs neither on a screen nor in a history.
_FROM_FILE = "--secret-string file://value.json"
_OTHER_ARN = (
    "This ARN isn't that of a secret: "
    "pass the secret's name, or an ARN with :secretsmanager: in it."
)


class Asked(NamedTuple):
    """A secret's identifier, the region that was asked, and the setting that named the region."""

    name: str
    region: str
    region_source: str

    @property
    def where(self) -> str:
        """The region in a sentence."""
        origin = f"(region from {self.region_source})"
        return f"{self.region} {origin}"

    @property
    def plain_name(self) -> str:
        """The secret's name: for the ARN of a secret, the name in it."""
        return name_in(self.name)

    @property
    def target(self) -> str:
        """The end of a command line for the AWS CLI."""
        return _target(self.name, self.region)


def _target(name: str, region: str) -> str:
    return f"{shlex.quote(name)} --region {shlex.quote(region)}"


def problems(
    asked: Asked,
    answers: Answers,
    elsewhere: Elsewhere | None,
) -> Iterator[str]:
    """Explain why a service can't read the secret, and what to do.

    Args:
        asked: The secret and its region.
        answers: The answers of that region.
        elsewhere: The answers of the other regions, if they were asked.
    """
    got = answers.got
    if isinstance(got, Contents):
        return

    if not is_about_the_secret(got):
        kind = type(got).__name__
        yield (
            f"There is no answer about this secret ({kind}). "
            f"For the reason, see the problem of region {asked.region}."
        )
    elif isinstance(got, SecretNotFoundError) and answers.description:
        target = f"{asked.target} {_FROM_FILE}"
        command = f"aws secretsmanager put-secret-value --secret-id {target}"
        yield (
            "The secret exists, but it has no value: no version is AWSCURRENT. "
            f"Store a value: {command}"
        )
    elif isinstance(got, SecretNotFoundError):
        advice = _advice_by_search(elsewhere, asked)
        yield f"The secret doesn't exist in {asked.where}. {advice}"
    elif isinstance(got, SecretDeletedError):
        yield _deletion(asked, answers.description)
    elif kms_denies(got):
        reason = reason_of(got)
        advice = SecretDecryptionError.advice
        yield f"KMS didn't decrypt the secret: {reason} {advice}"
    else:
        yield reason_and_advice_of(got)
        if elsewhere and (elsewhere.found or elsewhere.deleted):
            reason = f"the secret isn't in {asked.where}"
            advice = _advice_by_search(elsewhere, asked)
            yield f"AWS may deny access because {reason}. {advice}"


def _deletion(asked: Asked, description: SecretDescription | None) -> str:
    problem = "The secret is scheduled for deletion"
    if description and description.deleted_at:
        date = utc(description.deleted_at)
        problem += f" ({date:%Y-%m-%d})"
    command = f"aws secretsmanager restore-secret --secret-id {asked.target}"
    return f"{problem}. Restore it: {command}"


def _advice_by_search(elsewhere: Elsewhere | None, asked: Asked) -> str:
    """Name the regions that have the secret, and what to do."""
    name = asked.plain_name
    is_arn = asked.name.startswith("arn:")
    if is_arn and name == asked.name:
        return _OTHER_ARN

    # The last characters of an ARN are left out of the search: separate secrets differ in them.
    which = f"A secret with the name {name!r}" if is_arn else "It"
    if elsewhere and elsewhere.found:
        regions = ", ".join(elsewhere.found)
        # The region in an ARN overrides every setting.
        advice = "pass the ARN that it has there, or its name" if is_arn else "use that region,"
        return f"{which} exists in {regions}: {advice} with region_name= or AWS_REGION."
    if elsewhere and elsewhere.deleted:
        regions = ", ".join(elsewhere.deleted)
        target = _target(name, elsewhere.deleted[0])
        command = f"aws secretsmanager restore-secret --secret-id {target}"
        return f"{which} is scheduled for deletion in {regions}. Restore it there: {command}"

    command = f"aws secretsmanager create-secret --name {_target(name, asked.region)} {_FROM_FILE}"
    if elsewhere is None:
        return f"Correct the name or the region, or create the secret: {command}"
    absence = _absence(elsewhere)
    return f"{absence}. Correct the name, or create the secret: {command}"


def _absence(elsewhere: Elsewhere) -> str:
    """Count the regions that don't have the secret, and those that may have it."""
    absent = len(elsewhere.absent)
    if absent == 1:
        absence = "1 other region doesn't have it either"
    else:
        absence = f"{absent} other regions don't have it either"

    unsure = [*elsewhere.refused, *elsewhere.silent]
    if unsure:
        absence += f", and {len(unsure)} denied access or didn't answer"
    return absence


def notes(answers: Answers) -> Iterator[str]:
    """Report facts that keep no service from reading the secret."""
    if is_denied(answers.batched):
        yield (
            "secretsmanager:BatchGetSecretValue is denied, so prefetch makes one call per secret."
        )
    if is_denied(answers.described):
        yield (
            "secretsmanager:DescribeSecret is denied. No service needs it, but versions and "
            "rotation can't be shown here."
        )
    if answers.description:
        yield from _notes_on_rotation(answers.description)


def _notes_on_rotation(description: SecretDescription) -> Iterator[str]:
    for version, labels in description.versions.items():
        if "AWSPENDING" in labels and "AWSCURRENT" not in labels:
            yield (
                f"Version {version} is AWSPENDING and not AWSCURRENT: a rotation is in progress, "
                "or it failed. If this doesn't change, read the log of the rotation function."
            )

    due = description.next_rotation_at
    if due is None or not description.rotation_enabled:
        return
    now = datetime.now(UTC)
    if utc(due) < now:
        latest = minute_of(due)
        yield (
            f"The rotation is overdue: it was scheduled for {latest} at the latest. "
            "Read the log of the rotation function."
        )
