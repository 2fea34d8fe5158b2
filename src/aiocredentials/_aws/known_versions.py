"""`KnownVersions`: the versions that a pool has seen, by which it notices a replica that lags.

It also knows the ARN of each name, so another secret of the same name isn't mistaken for a replica.
It holds ids, times, names and ARNs, and no value.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC
from typing import TYPE_CHECKING

from aiocredentials._loops import bookkeeping

if TYPE_CHECKING:
    from datetime import datetime

    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._secret import Secret

# Superseded versions that are remembered per secret and label. The time of creation is enough to
# recognize older ones; emulators may leave that out.
_MOST_SUPERSEDED = 8


class _Known:
    """The newest version that is known for one secret and staging label."""

    __slots__ = ("born", "created_at", "is_from_replica", "superseded", "version_id")

    def __init__(self, secret: Secret, *, is_from_replica: bool) -> None:
        self.is_from_replica = is_from_replica
        self.version_id = secret.version_id
        self.created_at = _creation_of(secret)
        """When the newest of all known versions was created, also after a rollback."""
        self.born = secret._born  # noqa: SLF001 (ours to read)
        self.superseded: deque[str] = deque(maxlen=_MOST_SUPERSEDED)

    def replace_by(self, secret: Secret, *, is_from_replica: bool) -> None:
        """Let a version take the place of the one that was known."""
        self.is_from_replica = is_from_replica
        self.born = max(self.born, secret._born)  # noqa: SLF001 (ours to read)
        if secret.version_id == self.version_id:
            return

        self.superseded.append(self.version_id)
        if secret.version_id in self.superseded:
            self.superseded.remove(secret.version_id)
        self.version_id = secret.version_id
        self._note_creation(secret)

    def add_earlier(self, secret: Secret) -> None:
        """Note what the primary region answered to a fetch that began before the known one.

        The known version is the current one, except if a replica that lags answered it.
        """
        if secret.version_id == self.version_id:
            return
        created_at = _creation_of(secret)
        is_newest = created_at is not None and not self.is_newer_than(created_at)
        if self.is_from_replica and self.created_at is not None and is_newest:
            self.replace_by(secret, is_from_replica=False)
            return
        if secret.version_id not in self.superseded:
            self.superseded.append(secret.version_id)
        self._note_creation(secret)

    def _note_creation(self, secret: Secret) -> None:
        created_at = _creation_of(secret)
        if created_at is not None and not self.is_newer_than(created_at):
            self.created_at = created_at

    def is_newer_than(self, created_at: datetime | None) -> bool:
        """Return whether a known version was created after this time."""
        if self.created_at is None or created_at is None:
            return False
        return created_at < self.created_at

    def supersedes(self, secret: Secret) -> bool:
        """Return whether a replica's version is an older one than the one that is known."""
        if secret.version_id == self.version_id:
            return False
        if secret.version_id in self.superseded:
            return True
        return self.is_newer_than(_creation_of(secret))


class KnownVersions:
    """The known versions of each secret and staging label. The least recently used go first.

    Secrets have the ARN that they have in the primary region.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_question: dict[tuple[str, str | None], _Known] = {}
        # The ARNs by the part before the name, which has the account, and the name.
        self._arns: dict[tuple[str, str], str] = {}

    def note(self, request: SecretRequest, secret: Secret) -> None:
        """Note what the primary region answered. It is accepted even if its version is older."""
        with bookkeeping:
            self._learn_arn(secret)
        if request.version_id is not None:
            return
        with bookkeeping:
            known = self._known(request, secret, is_from_replica=False)
            # The answer to an earlier fetch may come later.
            if secret._born >= known.born:  # noqa: SLF001 (ours to read)
                known.replace_by(secret, is_from_replica=False)
            else:
                known.add_earlier(secret)

    def is_another(self, secret: Secret) -> bool:
        """Return whether a replica's answer is another secret, which only has the same name.

        A replica has the ARN of its primary, except for the region. As long as the ARN isn't known,
        each answer is accepted.
        """
        with bookkeeping:
            return self._arns.get(_place_of(secret), secret.arn) != secret.arn

    def accept(self, request: SecretRequest, secret: Secret) -> bool:
        """Return whether a replica's answer isn't older than what is known, and note it then.

        A version that was asked by its id is always accepted. Ask `is_another` before.
        """
        with bookkeeping:
            self._learn_arn(secret)
        if request.version_id is not None:
            return True
        with bookkeeping:
            known = self._known(request, secret, is_from_replica=True)
            if known.supersedes(secret):
                return False
            if secret.version_id != known.version_id:
                known.replace_by(secret, is_from_replica=True)
            return True

    def _learn_arn(self, secret: Secret) -> None:
        place = _place_of(secret)
        # It moves to the end, where the most recently used are.
        self._arns.pop(place, None)
        self._arns[place] = secret.arn
        if len(self._arns) > self._most:
            oldest = next(iter(self._arns))
            del self._arns[oldest]

    def _known(self, request: SecretRequest, secret: Secret, *, is_from_replica: bool) -> _Known:
        """Return what is known; at first, this secret."""
        question = (secret.arn, request.version_stage)
        known = self._by_question.pop(question, None)
        if known is None:
            known = _Known(secret, is_from_replica=is_from_replica)
        # It moves to the end, where the most recently used are.
        self._by_question[question] = known
        if len(self._by_question) > self._most:
            oldest = next(iter(self._by_question))
            del self._by_question[oldest]
        return known


def _place_of(secret: Secret) -> tuple[str, str]:
    """Return the account and the name, as the beginning of the ARN and the name.

    Two roles may be of two accounts, which may have secrets of the same name.
    """
    before_the_name = secret.arn.rpartition(f":{secret.name}")[0]
    return (before_the_name, secret.name)


def _creation_of(secret: Secret) -> datetime | None:
    """Return when a version was created. The time of an emulator may have no zone."""
    created_at = secret.created_at
    if created_at is None or created_at.tzinfo is not None:
        return created_at
    return created_at.replace(tzinfo=UTC)
