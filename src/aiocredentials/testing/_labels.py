"""The staging labels of a secret at an endpoint: read, moved, and checked against AWS's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiocredentials.testing._seeds import CURRENT, PENDING, PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The ids of the versions that have the three staging labels of a rotation."""

    current: str | None
    previous: str | None
    pending: str | None

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Labels:
        """Read them off an answer of DescribeSecret."""
        return cls(
            current=_first(description, CURRENT),
            previous=_first(description, PREVIOUS),
            pending=_first(description, PENDING),
        )


class LabelMover:
    """Moves the staging labels of one secret by the API, and reads them back.

    AWS needs little of this. moto 5.2.5 stores the id of the current version apart from the labels,
    and UpdateSecretVersionStage moves only the label. Afterwards, readers without a label and batches
    get the old version. The next new version takes AWSCURRENT away from the wrong version, so two
    versions have it.
    """

    def __init__(self, client: Any, url: str, name: str) -> None:  # noqa: ANN401 (a botocore client)
        self._client = client
        self._url = url
        self._name = name

    def promote(self, pending: str, current: str | None) -> None:
        """Move AWSCURRENT to the pending version, as the last step of a rotation does.

        Raises `RuntimeError` if readers without a label still get another version.
        """
        self._move(CURRENT, pending, current)
        if self._read_without_a_label() == pending:
            return

        self._put_again(pending)
        read = self._read_without_a_label()
        if read != pending:
            what = f"AWSCURRENT is at {pending}, and readers without a label get {read}"
            raise self._flawed(what)

    def settle(self, wanted: Labels) -> None:
        """Check that each label is where AWS has it by now, and move a label that isn't.

        Raises `RuntimeError` if the endpoint doesn't do it.
        """
        places = {CURRENT: wanted.current, PREVIOUS: wanted.previous, PENDING: wanted.pending}
        description = self._describe()
        for label, version_id in places.items():
            right = [] if version_id is None else [version_id]
            holders = _holders(description, label)
            if holders == right:
                continue
            self._put_right(label, version_id, holders)
            description = self._describe()
            holders = _holders(description, label)
            if holders != right:
                found = " and ".join(holders) or "no version"
                expected = version_id or "no version"
                raise self._flawed(f"{label} should be at {expected}, and is at {found}")

    def _put_again(self, version_id: str) -> None:
        # moto updates its id when a version that is AWSPENDING is put once more. AWS ignores such a
        # request, because the version has this value already (API reference, PutSecretValue).
        answer = self._client.get_secret_value(SecretId=self._name, VersionId=version_id)
        same = {kind: answer[kind] for kind in ("SecretString", "SecretBinary") if kind in answer}
        self._client.put_secret_value(
            SecretId=self._name, ClientRequestToken=version_id, VersionStages=[CURRENT], **same
        )

    def _put_right(self, label: str, version_id: str | None, holders: list[str]) -> None:
        to = None if version_id in holders else version_id
        wrong = [holder for holder in holders if holder != version_id]
        for holder in wrong:
            self._move(label, to, holder)
            to = None
        if to is not None:
            self._move(label, to, None)

    def _move(self, label: str, to: str | None, holder: str | None) -> None:
        where = {"MoveToVersionId": to, "RemoveFromVersionId": holder}
        given = {name: version_id for name, version_id in where.items() if version_id is not None}
        self._client.update_secret_version_stage(SecretId=self._name, VersionStage=label, **given)

    def _describe(self) -> Mapping[str, Any]:
        description: Mapping[str, Any] = self._client.describe_secret(SecretId=self._name)
        return description

    def _read_without_a_label(self) -> str:
        version_id: str = self._client.get_secret_value(SecretId=self._name)["VersionId"]
        return version_id

    def _flawed(self, what: str) -> RuntimeError:
        return RuntimeError(
            f"{self._url} doesn't move the staging labels of {self._name!r} as AWS does: {what}. "
            "moto is known to lose track of them after UpdateSecretVersionStage. "
            "Use FakeSecretsManager for this test."
        )


def _holders(description: Mapping[str, Any], label: str) -> list[str]:
    """Return the ids of the versions that have a staging label: at AWS one or none."""
    stages: Mapping[str, list[str]] = description.get("VersionIdsToStages", {})
    return [version_id for version_id, labels in stages.items() if label in labels]


def _first(description: Mapping[str, Any], label: str) -> str | None:
    return next(iter(_holders(description, label)), None)
