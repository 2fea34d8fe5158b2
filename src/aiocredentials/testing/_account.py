"""The secrets that a fake holds: names and ARNs, versions and staging labels, as Secrets Manager has them.

Where an error of AWS's is answered, its code and words are AWS's own.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any

from aiocredentials.testing._failures import answered
from aiocredentials.testing._seeds import (
    CURRENT,
    NAME,
    PENDING,
    PREVIOUS,
    SeededVersion,
    check_name,
    missing,
    scheduled_for_deletion,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACCOUNT = "123456789012"
# AWS reads an ARN that ends like this as a complete one (user guide, "Partial ARN").
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}\Z")
_PARTITIONS = {"cn": "aws-cn", "us-gov": "aws-us-gov"}


@dataclass(slots=True)
class Version:
    """One version; its value isn't in its repr."""

    version_id: str
    value: str | bytes = field(repr=False)
    created_at: datetime
    stages: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class StoredSecret:
    """One secret of one region, with all versions that it ever had."""

    name: str
    arn: str
    region_name: str
    created_at: datetime
    changed_at: datetime
    versions: dict[str, Version] = field(default_factory=dict[str, Version], repr=False)
    rotated_at: datetime | None = None
    deleted_at: datetime | None = None

    def labelled(self, stage: str) -> Version | None:
        """Return the version that has a staging label; at most one has."""
        return next(
            (version for version in self.versions.values() if stage in version.stages), None
        )

    def add(self, version: Version, stage: str) -> None:
        """Keep a new version, and give it a staging label; the first one is AWSCURRENT in any case.

        API reference, PutSecretValue.
        """
        is_first = not self.versions
        self.versions[version.version_id] = version
        self.changed_at = version.created_at
        if stage == CURRENT or is_first:
            self.promote(version)
        if stage != CURRENT:
            self._move(stage, version)

    def promote(self, version: Version) -> None:
        """Make a version current. AWSPREVIOUS goes to the one that was (API reference, UpdateSecretVersionStage)."""
        before = self.labelled(CURRENT)
        if before is not None and before is not version:
            self._move(PREVIOUS, before)
        self._move(CURRENT, version)
        # AWSPENDING stays on the current version or goes (user guide, rotation): here it goes.
        version.stages = [stage for stage in version.stages if stage != PENDING]

    def _move(self, stage: str, to: Version) -> None:
        holder = self.labelled(stage)
        if holder is not None:
            holder.stages.remove(stage)
        to.stages.append(stage)

    def find(self, version_id: str | None, stage: str | None, operation: str) -> Version:
        """Return a version by its id, by its label, or by both, which must fit. Raises AWS's errors."""
        version = (
            self.labelled(stage or CURRENT) if version_id is None else self.versions.get(version_id)
        )
        if version is None:
            asked = (
                f"staging label: {stage or CURRENT}"
                if version_id is None
                else f"VersionId: {version_id}"
            )
            message = f"Secrets Manager can't find the specified secret value for {asked}"
            raise answered("ResourceNotFoundException", operation, message)
        if stage is not None and stage not in version.stages:
            message = (
                "You provided a VersionStage that is not associated to the provided VersionId."
            )
            raise answered("InvalidRequestException", operation, message)
        return version

    def seeded(self, version: Version | None) -> SeededVersion:
        """Return what a test learns of a version."""
        version_id = version.version_id if version else None
        return SeededVersion(
            name=self.name, arn=self.arn, region_name=self.region_name, version_id=version_id
        )

    def value(self, version: Version) -> dict[str, Any]:
        """Return what GetSecretValue says of a version."""
        return {
            "ARN": self.arn,
            "Name": self.name,
            "VersionId": version.version_id,
            "SecretString" if isinstance(version.value, str) else "SecretBinary": version.value,
            "VersionStages": list(version.stages),
            "CreatedDate": version.created_at,
        }

    def description(self) -> dict[str, Any]:
        """Return what DescribeSecret says; of the versions, those that have a label."""
        dates = {"LastRotatedDate": self.rotated_at, "DeletedDate": self.deleted_at}
        return {
            "ARN": self.arn,
            "Name": self.name,
            "RotationEnabled": self.rotated_at is not None,
            "LastChangedDate": self.changed_at,
            "CreatedDate": self.created_at,
            "VersionIdsToStages": {
                each.version_id: list(each.stages) for each in self.versions.values() if each.stages
            },
            **{name: date for name, date in dates.items() if date is not None},
        }


class Account:
    """The secrets of all regions. Ids and ARNs look random, and are the same in each run."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], StoredSecret] = {}
        self._random = Random(0)  # noqa: S311 (it makes names, and guards nothing)

    def create(self, region_name: str, name: str) -> StoredSecret:
        """Create a secret without a value. Raises `ValueError` for a name that AWS refuses."""
        check_name(name)
        partition = next(
            (end for start, end in _PARTITIONS.items() if region_name.startswith(f"{start}-")),
            "aws",
        )
        suffix = "".join(self._random.choices(ascii_letters + digits, k=6))
        arn = f"arn:{partition}:secretsmanager:{region_name}:{_ACCOUNT}:secret:{name}-{suffix}"
        now = datetime.now(UTC)
        secret = self.secrets[region_name, name] = StoredSecret(name, arn, region_name, now, now)
        return secret

    def version(self, value: str | bytes) -> Version:
        """Make a version, with an id as AWS makes them."""
        version_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        return Version(version_id, value, datetime.now(UTC))

    def known(self, region_name: str, name: str) -> StoredSecret:
        """Return the secret with a name. Raises `KeyError`, with what to do, if a test forgot to create it."""
        secret = self.secrets.get((region_name, name))
        if secret is None:
            raise missing(name, region_name)
        return secret

    def changeable(self, region_name: str, name: str) -> StoredSecret:
        """Return the secret with a name, for a change of it.

        Raises `KeyError` if there is none, and `ValueError` if it is scheduled for deletion.
        """
        secret = self.known(region_name, name)
        if secret.deleted_at is not None:
            raise scheduled_for_deletion(name)
        return secret

    def resolve(self, region_name: str, secret_id: str) -> StoredSecret | None:
        """Find a secret by name, ARN, or ARN without its hyphen and six characters.

        An ARN that ends in a hyphen and six characters is a complete ARN. So a secret whose name ends like
        that has no partial ARN.
        """
        secrets = [secret for (region, _), secret in self.secrets.items() if region == region_name]
        is_partial = _SUFFIX.search(secret_id) is None
        for secret in secrets:
            if secret_id in {secret.name, secret.arn}:
                return secret
            if is_partial and secret_id == _SUFFIX.sub("", secret.arn):
                return secret
        return None

    def get(
        self, region_name: str, parameters: Mapping[str, Any], operation: str
    ) -> dict[str, Any]:
        """Answer GetSecretValue, or one secret of a batch. Raises AWS's errors."""
        secret = self.find(region_name, str(parameters["SecretId"]), operation)
        if secret.deleted_at is not None:
            message = (
                "You can't perform this operation on the secret because it was marked for deletion."
            )
            raise answered("InvalidRequestException", operation, message)
        version_id, stage = parameters.get("VersionId"), parameters.get("VersionStage")
        return secret.value(secret.find(version_id, stage, operation))

    def find(self, region_name: str, secret_id: str, operation: str) -> StoredSecret:
        """Return a secret as AWS looks it up. Raises AWS's errors."""
        if not (secret_id.startswith("arn:") or NAME.fullmatch(secret_id)):
            message = (
                "Invalid name. Must be a valid name containing alphanumeric characters, "
                "or any of the following: -/_+=.@!"
            )
            raise answered("ValidationException", operation, message)
        secret = self.resolve(region_name, secret_id)
        if secret is None:
            raise answered("ResourceNotFoundException", operation)
        return secret
