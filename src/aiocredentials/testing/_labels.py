"""The staging labels of a secret at an endpoint: read, moved, and checked against AWS's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from aiocredentials.testing._seeds import CURRENT, PENDING, PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Mapping

    Description: TypeAlias = Mapping[str, Any]
    """The answer to DescribeSecret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The ids of the versions that have the three staging labels of a rotation."""

    current: str | None
    previous: str | None
    pending: str | None

    @classmethod
    def of(cls, description: Description) -> Labels:
        """Return the labels in an answer to DescribeSecret."""
        return cls(
            current=_first_holder(description, CURRENT),
            previous=_first_holder(description, PREVIOUS),
            pending=_first_holder(description, PENDING),
        )

    def after_rotation(self, new: str, *, promote: bool) -> Labels:
        """Return the labels after a rotation to a new version, which is promoted or pending."""
        if promote:
            return Labels(current=new, previous=self.current, pending=None)

        # The first version of a secret becomes current in any case.
        current = self.current or new
        return Labels(current=current, previous=self.previous, pending=new)

    def by_name(self) -> dict[str, str | None]:
        """Return the version ids by staging label."""
        return {
            CURRENT: self.current,
            PREVIOUS: self.previous,
            PENDING: self.pending,
        }


class LabelMover:
    """Moves the staging labels of one secret by API calls, and reads them back.

    AWS needs little of this. moto 5.2.5 stores the id of the current version apart from the labels,
    and UpdateSecretVersionStage moves only the label. Afterwards, readers without a label and
    batches get the old version. The next new version takes AWSCURRENT away from the wrong version,
    so two versions have it.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401 (botocore makes its class)
        url: str,
        name: str,
    ) -> None:
        self._client = client
        self._url = url
        self._name = name

    def promote(self, pending: str, current: str | None) -> None:
        """Move AWSCURRENT to the pending version, as the last step of a rotation does.

        Raises `RuntimeError` if readers without a label still get another version.
        """
        self._move(CURRENT, to=pending, holder=current)
        if self._read_without_label() == pending:
            return

        self._put_again(pending)
        version_id = self._read_without_label()
        if version_id != pending:
            problem = f"AWSCURRENT is at {pending}, and readers without a label get {version_id}"
            raise self._flawed(problem)

    def settle(self, wanted: Labels) -> None:
        """Check that each label is where AWS has it by now, and move a label that isn't.

        Raises `RuntimeError` if the endpoint doesn't move it.
        """
        description = self._describe()
        for label, version_id in wanted.by_name().items():
            expected = [] if version_id is None else [version_id]
            holders = _holders(description, label)
            if holders == expected:
                continue

            self._correct(label, version_id, holders)
            description = self._describe()
            holders = _holders(description, label)
            if holders != expected:
                raise self._not_moved(label, version_id, holders)

    def _put_again(self, version_id: str) -> None:
        # moto updates its id when a version that is AWSPENDING is put once more. AWS ignores such a
        # request, because the version has this value already (API reference, PutSecretValue).
        answer = self._client.get_secret_value(SecretId=self._name, VersionId=version_id)
        value: dict[str, str | bytes] = {}
        for kind in ("SecretString", "SecretBinary"):
            if kind in answer:
                value[kind] = answer[kind]
        self._client.put_secret_value(
            SecretId=self._name,
            ClientRequestToken=version_id,
            VersionStages=[CURRENT],
            **value,
        )

    def _correct(
        self,
        label: str,
        version_id: str | None,
        holders: list[str],
    ) -> None:
        """Move a label to a version, and take it away from all other holders.

        One call moves a label to one version and takes it away from one other.
        """
        others = [holder for holder in holders if holder != version_id]
        must_be_added = version_id is not None and version_id not in holders
        if must_be_added:
            former_holder = others.pop(0) if others else None
            self._move(label, to=version_id, holder=former_holder)

        for holder in others:
            self._move(label, to=None, holder=holder)

    def _move(
        self,
        label: str,
        *,
        to: str | None,
        holder: str | None,
    ) -> None:
        versions: dict[str, str] = {}
        if to is not None:
            versions["MoveToVersionId"] = to
        if holder is not None:
            versions["RemoveFromVersionId"] = holder

        self._client.update_secret_version_stage(
            SecretId=self._name,
            VersionStage=label,
            **versions,
        )

    def _describe(self) -> Description:
        description: Description = self._client.describe_secret(SecretId=self._name)
        return description

    def _read_without_label(self) -> str:
        answer = self._client.get_secret_value(SecretId=self._name)
        version_id: str = answer["VersionId"]
        return version_id

    def _not_moved(
        self,
        label: str,
        version_id: str | None,
        holders: list[str],
    ) -> RuntimeError:
        expected = version_id or "no version"
        found = " and ".join(holders) or "no version"
        return self._flawed(f"{label} should be at {expected}, and is at {found}")

    def _flawed(self, problem: str) -> RuntimeError:
        return RuntimeError(
            f"{self._url} doesn't move the staging labels of {self._name!r} as AWS does: "
            f"{problem}. "
            "moto is known to lose track of them after UpdateSecretVersionStage. "
            "Use FakeSecretsManager for this test."
        )


def _holders(description: Description, label: str) -> list[str]:
    """Return the ids of the versions that have a staging label: at AWS one or none."""
    labels_by_id: Mapping[str, list[str]] = description.get("VersionIdsToStages", {})
    return [version_id for version_id, labels in labels_by_id.items() if label in labels]


def _first_holder(description: Description, label: str) -> str | None:
    holders = _holders(description, label)
    return holders[0] if holders else None
