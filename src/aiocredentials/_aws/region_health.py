"""`RegionHealth`: a region that failed is left alone for a pause, and then one call probes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocredentials._loops import bookkeeping
from aiocredentials._random import random_share
from aiocredentials.errors import CredentialsError, for_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

FIRST_PAUSE = 2.0
"""Seconds. Each failed probe doubles the pause."""

LONGEST_PAUSE = 60.0
"""Seconds."""

REFUSAL_PAUSE = 30.0
"""Seconds for which a region isn't asked with AWS credentials that it doesn't accept."""

# A pause is shortened by a random part of up to this share, so a fleet doesn't probe at once.
_JITTER = 0.2
# From here on the pause is the longest one. A larger exponent would overflow one day.
_MOST_DOUBLINGS = 10


class Admission:
    """The permission to begin a call to a region. It knows the epoch of the region's health."""

    __slots__ = ("epoch",)

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch


class RegionHealth:
    """Whether a region answers, for all calls of a pool, in all loops and threads.

    An epoch begins when the region fails and when it answers again. A call that began in an earlier
    epoch changes nothing, so 200 calls that fail together begin one pause, not 200.

    Args:
        clock: The pool's clock, by which pauses end.
        longest_call: How long a call takes at most, in seconds. After this time another probe may
            begin, because a probe whose loop was closed, or that a fork left behind, never ends.
        rng: Returns a random number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        longest_call: float,
        rng: Callable[[], float] = random_share,
    ) -> None:
        self._clock = clock
        self._longest_call = longest_call
        self._rng = rng
        self._epoch = 0
        self._pauses = 0
        """How many pauses have begun since the last answer. If it is 0, the region answers."""
        self._resumes_at = 0.0
        """When the next probe may begin."""
        self._probe: Admission | None = None
        self._is_reported = False
        self._refused_until: dict[Hashable, float] = {}
        """By role: when it may be tried again. None stands for no role."""
        self.error: CredentialsError | None = None
        """The last failure that began a pause."""

    def admit(self) -> Admission | None:
        """Return an admission if the region may be asked now; None if it is left alone.

        After a pause, the first caller gets the admission that probes the region.
        """
        now = self._clock()
        with bookkeeping:
            if not self._pauses:
                return Admission(self._epoch)
            if now < self._resumes_at:
                return None
            # Until the probe has ended, all others are still refused.
            self._resumes_at = now + self._longest_call
            self._probe = Admission(self._epoch)
            return self._probe

    def admit_anyway(self) -> Admission:
        """Return an admission for a caller that has no other region left to ask."""
        with bookkeeping:
            return Admission(self._epoch)

    def answered(self, admission: Admission) -> bool:
        """Note an answer. Return whether it ends an outage that was reported."""
        with bookkeeping:
            if not self._pauses or admission.epoch != self._epoch:
                return False
            self._pauses = 0
            self._epoch += 1
            self._probe = None
            was_reported = self._is_reported
            self._is_reported = False
            return was_reported

    def failed(self, admission: Admission, error: CredentialsError) -> None:
        """Note a failure of the region. A longer pause begins if the call was the probe."""
        with bookkeeping:
            if admission.epoch != self._epoch:
                return
            if self._pauses and admission is not self._probe:
                return
            self._pauses += 1
            self._epoch += 1
            # The copy has no traceback, and so holds no frame.
            self.error = for_caller(error)
            self._begin_pause()

    def unknown(self, admission: Admission) -> None:
        """Note that a call proved nothing about the region: it was cancelled, for instance.

        If it was the probe, the pause begins again. Otherwise, callers with less patience than a
        region that hangs would probe it one after the other.
        """
        with bookkeeping:
            if admission is self._probe:
                self._begin_pause()

    def refused(self, role: Hashable) -> None:
        """Note that the region doesn't accept the AWS credentials of a role.

        The region isn't in an outage, because it may accept those of other roles.
        """
        end = self._clock() + REFUSAL_PAUSE
        with bookkeeping:
            self._refused_until[role] = end

    def refuses(self, role: Hashable) -> bool:
        """Return whether the region has refused the AWS credentials of a role not long ago."""
        end = self._refused_until.get(role)
        return end is not None and self._clock() < end

    def outage_to_report(self) -> CredentialsError | None:
        """Return the failure if there is an outage, once per outage."""
        with bookkeeping:
            if not self._pauses or self._is_reported:
                return None
            self._is_reported = True
            return self.error

    def _begin_pause(self) -> None:
        doublings = min(self._pauses - 1, _MOST_DOUBLINGS)
        pause = min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE)
        self._resumes_at = self._clock() + pause * (1 - _JITTER * self._rng())
        self._probe = None
