"""Fetch the versions of a secret by their staging labels, in a search for an accepted version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocredentials._loops import running_loop
from aiocredentials.errors import CredentialsError, PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocredentials._rotation.budget import Budget
    from aiocredentials._rotation.news import RotatingSecret
    from aiocredentials._secret import Secret

# The versions with other staging labels are fetched again after so many seconds, or when AWSCURRENT
# has moved.
_LABELS_PAUSE = 15.0


class LabelledVersions:
    """The current version, and those with other staging labels, for one search."""

    def __init__(
        self,
        manager: RotatingSecret[Any],
        other_labels: Sequence[str],
        budget: Budget,
    ) -> None:
        self._manager = manager
        self._other_labels = other_labels
        self._budget = budget
        self.failure = ""
        """Why the current version couldn't be fetched at the last attempt; empty if it could."""
        self._asked_for = ""
        """The version that was the current one when other labels were last asked for."""
        self._asked_at = float("-inf")

    async def fetch(self, label: str | None) -> Secret | None:
        """Return the version with a staging label, or the current version if the label is None.

        Return None if there is no such version, or it is unavailable.
        """
        manager = self._manager
        try:
            if label is None:
                current = await self._budget.wait_for(manager.secret())
                self.failure = ""
                return current
            labelled = manager.secret(version_stage=label)
            return await self._budget.wait_for(labelled)
        except PoolClosedError:
            raise
        except CredentialsError as error:
            if error.transient:
                if label is None:
                    self.failure = str(error)
                # There was no answer, so the next round asks again.
                self._asked_at = float("-inf")
            elif label is None:
                raise
            return None

    def take_labels_to_ask(self, current: Secret | None) -> Sequence[str]:
        """Return the other staging labels, and note that they are asked for now.

        Return none if they were asked for a moment ago.
        """
        now = running_loop().time()
        version_id = ""
        known_labels: Sequence[str] = ()
        if current is not None:
            version_id = current.version_id
            known_labels = current.version_stages

        since_asked = now - self._asked_at
        is_recent = since_asked < _LABELS_PAUSE
        if is_recent and version_id == self._asked_for:
            return ()
        self._asked_for = version_id
        self._asked_at = now
        # The current version needn't be fetched by its other labels as well.
        return [label for label in self._other_labels if label not in known_labels]
