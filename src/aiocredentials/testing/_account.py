"""The secrets of a fake: names and ARNs, versions and staging labels, as in Secrets Manager.

The errors have AWS's codes and AWS's words.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any, TypeAlias

from aiocredentials.testing._failures import MARKED_FOR_DELETION, answered
from aiocredentials.testing._seeds import (
    CURRENT,
    NAME,
    PENDING,
    PREVIOUS,
    SeededVersion,
    check_name,
    check_replica_region,
    missing,
    read_only,
    scheduled_for_deletion,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Answer: TypeAlias = dict[str, Any]
"""An answer of AWS's, as botocore returns it."""

_ACCOUNT = "123456789012"
# AWS reads an ARN that ends like this as a complete one (user guide, "Partial ARN"). The library
# has its own copy of this rule. A fake that used it couldn't show a mistake in it.
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}\Z")
# The partitions of ARNs, by the start of a region. All other regions are in "aws".
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}

_LABEL_OF_ANOTHER = "You provided a VersionStage that is not associated to the provided VersionId."
_INVALID_NAME = (
    "Invalid name. Must be a valid name containing alphanumeric characters, "
    "or any of the following: -/_+=.@!"
)


@dataclass(slots=True)
class Version:
    """One version of a secret. Its repr doesn't show the value."""

    version_id: str
    value: str | bytes = field(repr=False)
    created_at: datetime
    labels: list[str] = field(default_factory=list[str])

    def answer(self) -> Answer:
        """Return the part of the answer to GetSecretValue that is about this version."""
        kind = "SecretString" if isinstance(self.value, str) else "SecretBinary"
        return {
            "VersionId": self.version_id,
            kind: self.value,
            "VersionStages": list(self.labels),
            "CreatedDate": self.created_at,
        }


@dataclass(slots=True)
class StoredSecret:
    """One secret of one region, with all the versions that it ever had."""

    name: str
    arn: str
    region_name: str
    created_at: datetime
    changed_at: datetime
    versions: dict[str, Version] = field(default_factory=dict[str, Version], repr=False)
    rotated_at: datetime | None = None
    deleted_at: datetime | None = None
    primary_region: str | None = None
    """For a replica, the region of its primary."""

    def check_writable(self) -> None:
        """Raise `ValueError` if it is a replica."""
        if self.primary_region is not None:
            raise read_only(self.name, self.region_name, self.primary_region)

    def labelled(self, label: str) -> Version | None:
        """Return the version that has a staging label. There is one at most."""
        for version in self.versions.values():
            if label in version.labels:
                return version
        return None

    def add(self, version: Version, label: str) -> None:
        """Add a new version with a staging label.

        The first version of a secret becomes AWSCURRENT in any case (API reference,
        PutSecretValue).
        """
        is_first = not self.versions
        self.versions[version.version_id] = version
        self.changed_at = version.created_at

        if label == CURRENT or is_first:
            self.promote(version)
        if label != CURRENT:
            self._move_label(label, version)

    def promote(self, version: Version) -> None:
        """Make a version current, and the version that was current AWSPREVIOUS.

        See the API reference, UpdateSecretVersionStage.
        """
        before = self.labelled(CURRENT)
        if before is not None and before is not version:
            self._move_label(PREVIOUS, before)
        self._move_label(CURRENT, version)

        # AWSPENDING may stay on the current version or be removed (user guide, rotation). Here it
        # is removed.
        version.labels = [label for label in version.labels if label != PENDING]

    def _move_label(self, label: str, to: Version) -> None:
        holder = self.labelled(label)
        if holder is not None:
            holder.labels.remove(label)
        to.labels.append(label)

    def find(
        self,
        version_id: str | None,
        label: str | None,
        operation: str,
    ) -> Version:
        """Return the version with an id, with a staging label, or with both.

        Raises AWS's error if there is no such version, or if its label is another one.
        """
        if version_id is None:
            wanted = label or CURRENT
            asked = f"staging label: {wanted}"
            version = self.labelled(wanted)
        else:
            asked = f"VersionId: {version_id}"
            version = self.versions.get(version_id)

        if version is None:
            message = f"Secrets Manager can't find the specified secret value for {asked}"
            raise answered("ResourceNotFoundException", operation, message)
        if label is not None and label not in version.labels:
            raise answered("InvalidRequestException", operation, _LABEL_OF_ANOTHER)
        return version

    def seeded(self, version: Version | None) -> SeededVersion:
        """Return a version as a test sees it, without its value."""
        version_id = None
        if version is not None:
            version_id = version.version_id

        return SeededVersion(
            name=self.name,
            arn=self.arn,
            region_name=self.region_name,
            version_id=version_id,
        )

    def answer(self, version: Version) -> Answer:
        """Return the answer to GetSecretValue for a version."""
        return {
            "ARN": self.arn,
            "Name": self.name,
            **version.answer(),
        }

    def description(self) -> Answer:
        """Return the answer to DescribeSecret. It names the versions that have a label."""
        labelled = [version for version in self.versions.values() if version.labels]
        labels = {version.version_id: list(version.labels) for version in labelled}
        answer = {
            "ARN": self.arn,
            "Name": self.name,
            "RotationEnabled": self.rotated_at is not None,
            "LastChangedDate": self.changed_at,
            "CreatedDate": self.created_at,
            "VersionIdsToStages": labels,
        }
        if self.rotated_at is not None:
            answer["LastRotatedDate"] = self.rotated_at
        if self.deleted_at is not None:
            answer["DeletedDate"] = self.deleted_at
        return answer


class Account:
    """The secrets of all regions. Ids and ARNs look random, and are the same in each run."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], StoredSecret] = {}
        self._random = Random(0)  # noqa: S311 (it makes names, and guards nothing)

    def create(self, region_name: str, name: str) -> StoredSecret:
        """Create a secret without a value. Raises `ValueError` for a name that AWS rejects."""
        check_name(name)
        partition = _partition_of(region_name)
        characters = self._random.choices(ascii_letters + digits, k=6)
        suffix = "".join(characters)
        arn = f"arn:{partition}:secretsmanager:{region_name}:{_ACCOUNT}:secret:{name}-{suffix}"
        now = datetime.now(UTC)

        secret = StoredSecret(
            name=name,
            arn=arn,
            region_name=region_name,
            created_at=now,
            changed_at=now,
        )
        self.secrets[region_name, name] = secret
        return secret

    def replicate(self, secret: StoredSecret, region_name: str) -> StoredSecret:
        """Copy a secret, as it is now, to another region. Only the region of its ARN differs.

        Raises `ValueError` for a region that can't have a replica of it.
        """
        check_replica_region(region_name, secret.region_name)
        copied = {
            one.version_id: replace(one, labels=[*one.labels]) for one in secret.versions.values()
        }
        arn = secret.arn.replace(f":{secret.region_name}:", f":{region_name}:", 1)
        replica = replace(
            secret,
            arn=arn,
            region_name=region_name,
            versions=copied,
            primary_region=secret.region_name,
        )
        self.secrets[region_name, secret.name] = replica
        return replica

    def version(self, value: str | bytes) -> Version:
        """Return a new version, with an id of the same form as AWS's."""
        number = self._random.getrandbits(128)
        version_id = str(uuid.UUID(int=number, version=4))
        return Version(version_id, value, datetime.now(UTC))

    def known(self, region_name: str, name: str) -> StoredSecret:
        """Return the secret with a name.

        Raises `KeyError`, with what to do, if the test forgot to create it.
        """
        secret = self.secrets.get((region_name, name))
        if secret is None:
            raise missing(name, region_name)
        return secret

    def changeable(self, region_name: str, name: str) -> StoredSecret:
        """Return the secret with a name, for a change.

        Raises `KeyError` if there is none, and `ValueError` if it is scheduled for deletion.
        """
        secret = self.known(region_name, name)
        if secret.deleted_at is not None:
            raise scheduled_for_deletion(name)
        return secret

    def resolve(self, region_name: str, secret_id: str) -> StoredSecret | None:
        """Return the secret that an identifier means: a name, a full ARN or a partial ARN.

        An ARN that ends in a hyphen and six characters is a complete ARN. So a secret whose name
        ends like that has no partial ARN.
        """
        secret = self.secrets.get((region_name, secret_id))
        if secret is not None:
            return secret

        _, _, end_of_arn = secret_id.rpartition(":secret:")
        is_partial = _SUFFIX.search(secret_id) is None
        for name in (_SUFFIX.sub("", end_of_arn), end_of_arn):
            secret = self.secrets.get((region_name, name))
            if secret is None:
                continue
            if secret_id == secret.arn:
                return secret
            if is_partial and secret_id == _SUFFIX.sub("", secret.arn):
                return secret
        return None

    def get(
        self,
        region_name: str,
        parameters: Mapping[str, Any],
        operation: str,
    ) -> Answer:
        """Answer GetSecretValue, or one secret of a batch. Raises AWS's errors."""
        secret_id = str(parameters["SecretId"])
        secret = self.find(region_name, secret_id, operation)
        if secret.deleted_at is not None:
            raise answered("InvalidRequestException", operation, MARKED_FOR_DELETION)

        version_id = parameters.get("VersionId")
        label = parameters.get("VersionStage")
        version = secret.find(version_id, label, operation)
        return secret.answer(version)

    def find(
        self,
        region_name: str,
        secret_id: str,
        operation: str,
    ) -> StoredSecret:
        """Return a secret by an identifier, as AWS does. Raises AWS's errors."""
        is_arn = secret_id.startswith("arn:")
        if not is_arn and not NAME.fullmatch(secret_id):
            raise answered("ValidationException", operation, _INVALID_NAME)

        secret = self.resolve(region_name, secret_id)
        if secret is None:
            raise answered("ResourceNotFoundException", operation)
        return secret


def _partition_of(region_name: str) -> str:
    for start, partition in _PARTITIONS.items():
        if region_name.startswith(start):
            return partition
    return "aws"
