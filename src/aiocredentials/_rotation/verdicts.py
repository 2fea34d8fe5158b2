"""The versions that the server accepted and refused, and the pace of further attempts."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

from aiocredentials._loops import running_loop
from aiocredentials._random import random_share

if TYPE_CHECKING:
    from aiocredentials._rotation.news import RotatingSecret
    from aiocredentials._secret import Secret

# Between two rounds of attempts there is a pause, in seconds. It is a share of the time for which
# the server has refused every version. So no caller waits longer than one and a half times the time
# that the server needs, and a server that refuses forever sees about 20 logins in the first minute.
_SHORTEST_PAUSE = 0.2
_LONGEST_PAUSE = 15.0
_PAUSE_SHARE = 0.5
_PAUSE_SPREAD = 0.75
# Two refusals that are more seconds apart belong to different rotations.
_STREAK_GAP = 2 * _LONGEST_PAUSE
# This many versions are remembered whose refusal was logged.
_LOGGED = 16


class Verdicts:
    """The server's verdicts on versions of one secret, as seen in one event loop.

    All attempts for one manager share it: they learn from each other, and keep one pace.
    """

    def __init__(self) -> None:
        self.searching = asyncio.Lock()
        """Held by the one caller that searches for a version that the server accepts."""
        self.current: Secret | None = None
        """The version that was the current one when the secret was last read."""
        self.findings = 0
        """How often an attempt found out which version the server accepts."""
        self.accepted: Secret | None = None
        """The version that the server accepted last."""
        self._accepted_in = -1
        """The number of the attempt in which the server accepted it."""
        self._refused: set[str] = set()
        """The versions that the server refused, and hasn't accepted since."""
        self._has_refusals = False
        """Whether the server refused any version since it accepted one."""
        self._refused_since = float("-inf")
        self._refused_last = float("-inf")
        self._logged: deque[str] = deque(maxlen=_LOGGED)
        self._attempts = count()

    async def fetch_likely_version(self, manager: RotatingSecret[Any]) -> Secret:
        """Fetch and note the current version; return it, or the accepted one if it was refused."""
        current = await manager.secret()
        self.current = current
        accepted = self.accepted
        useful = {current.version_id}
        if accepted is not None:
            useful.add(accepted.version_id)
        # Other refused versions are forgotten: there would be one per rotation, as long as the
        # process lives.
        self._refused.intersection_update(useful)

        is_refused = current.version_id in self._refused
        if accepted is None or not is_refused:
            return current
        if accepted.version_id in self._refused:
            return current
        return accepted

    def begin_attempt(self) -> int:
        """Return the number of a new attempt."""
        return next(self._attempts)

    def refuse(self, secret: Secret, attempt: int) -> bool:
        """Note that the server refused a version; return whether that must be logged.

        The refusal is ignored if the server accepted this version in a later attempt.
        """
        version_id = secret.version_id
        if self._is_accepted(version_id) and attempt <= self._accepted_in:
            return False
        self._refused.add(version_id)
        self._has_refusals = True

        now = running_loop().time()
        if now - self._refused_last > _STREAK_GAP:
            self._refused_since = now
        self._refused_last = now

        is_first = version_id not in self._logged
        if is_first:
            self._logged.append(version_id)
        return is_first

    def accept(self, secret: Secret, attempt: int) -> None:
        """Note that the server accepted a version, unless a later attempt has noted one already."""
        if attempt < self._accepted_in:
            return
        version_id = secret.version_id
        # If the server accepts the same version as before, and refused another one meanwhile, that
        # is a finding too: `fetch_likely_version` returns the accepted one from now on.
        is_finding = self._has_refusals or not self._is_accepted(version_id)
        if is_finding:
            self.findings += 1

        self.accepted = secret
        self._accepted_in = attempt
        self._has_refusals = False
        self._refused_last = float("-inf")
        self._refused.discard(version_id)
        if version_id in self._logged:
            self._logged.remove(version_id)

    def pause(self) -> float:
        """Return the length of the next pause in seconds; all callers share this pace."""
        now = running_loop().time()
        refused_for = now - self._refused_since
        pause = refused_for * _PAUSE_SHARE
        pause = max(pause, _SHORTEST_PAUSE)
        pause = min(pause, _LONGEST_PAUSE)
        # The random factor spreads the logins of a fleet, and protects nothing.
        factor = _PAUSE_SPREAD + (1 - _PAUSE_SPREAD) * random_share()
        return pause * factor

    def _is_accepted(self, version_id: str) -> bool:
        accepted = self.accepted
        return accepted is not None and accepted.version_id == version_id
