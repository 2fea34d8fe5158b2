"""What `tests/mutants.py` takes out of replica regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _aws/gateway.py
    (
        "a region that hangs leaves no time for the replica",
        "_aws/gateway.py",
        "        left = (end - now) * limits.share",
        "        left = end - now",
    ),
    # _aws/region_health.py
    (
        "each call of a herd that fails lengthens the pause",
        "_aws/region_health.py",
        "            if admission.epoch != self._epoch:\n                return\n            if self._pauses and",
        "            if self._pauses and",
    ),
    (
        "everybody probes a region after its pause",
        "_aws/region_health.py",
        "            self._resumes_at = now + self._longest_call\n",
        "",
    ),
    (
        "a cancelled probe is never given up",
        "_aws/region_health.py",
        "            if admission is self._probe:\n                self._begin_pause()",
        "            pass",
    ),
    (
        "the pauses of a region don't grow",
        "_aws/region_health.py",
        "        doublings = min(self._pauses - 1, _MOST_DOUBLINGS)",
        "        doublings = 0",
    ),
    (
        "a pause overflows one day",
        "_aws/region_health.py",
        "min(self._pauses - 1, _MOST_DOUBLINGS)",
        "float(self._pauses - 1)",
    ),
    (
        "an answer from before the outage ends it",
        "_aws/region_health.py",
        "            if not self._pauses or admission.epoch != self._epoch:",
        "            if not self._pauses:",
    ),
    (
        "a failover is reported at each read",
        "_aws/region_health.py",
        "            self._is_reported = True\n",
        "",
    ),
    (
        "a region that refuses our credentials is asked at each read",
        "_aws/region_health.py",
        "            self._refused_until[role] = end",
        "            pass",
    ),
    (
        "a refusal of our credentials holds for ever",
        "_aws/region_health.py",
        "        return end is not None and self._clock() < end",
        "        return end is not None",
    ),
    # _aws/known_versions.py
    (
        "a version that the primary replaced is accepted",
        "_aws/known_versions.py",
        "        if secret.version_id in self.superseded:\n            return True",
        "        pass",
    ),
    (
        "a version that is older than the newest one is accepted",
        "_aws/known_versions.py",
        "        return self.is_newer_than(_creation_of(secret))",
        "        return False",
    ),
    (
        "a rollback forgets the newest version",
        "_aws/known_versions.py",
        "if created_at is not None and not self.is_newer_than(created_at):",
        "if created_at is not None:",
    ),
    (
        "the memory of versions grows without end",
        "_aws/known_versions.py",
        "        if len(self._by_question) > self._most:",
        "        if False:",
    ),
    (
        "an answer to an earlier fetch counts as the newest",
        "_aws/known_versions.py",
        "            if secret._born >= known.born:",
        "            if True:",
    ),
    (
        "a late answer of the primary is lost",
        "_aws/known_versions.py",
        "                known.add_earlier(secret)",
        "                pass",
    ),
    (
        "a late answer of the primary undoes a rollback",
        "_aws/known_versions.py",
        "        if self.is_from_replica and self.created_at",
        "        if self.created_at",
    ),
    (
        "another secret of the same name is taken for a replica",
        "_aws/replicas.py",
        "        if self._versions.is_another(secret):",
        "        if False:",
    ),
    (
        "the memory of ARNs grows without end",
        "_aws/known_versions.py",
        "        if len(self._arns) > self._most:",
        "        if False:",
    ),
    # doctor/replicas.py
    (
        "a replica that lags looks like the primary",
        "doctor/replicas.py",
        "            is_same = version_id == primary.version_id",
        "            is_same = True",
    ),
    (
        "the doctor takes another secret for a replica",
        "doctor/replicas.py",
        "    return in_region(got.arn, primary_region) != primary.arn",
        "    return False",
    ),
    # _aws/replicas.py and _aws/replica_reads.py
    (
        "a replica's answer has its own ARN",
        "_aws/replicas.py",
        "        put_arn(secret, _primary_arn(place, secret))\n",
        "",
    ),
    (
        "a replica is asked by the primary's ARN",
        "_aws/requests.py",
        "        name = in_region(self.secret_name, region.name)",
        "        name = self.secret_name",
    ),
    (
        "a read has one timeout per region",
        "_aws/replicas.py",
        "            seconds = end - loop.time()",
        "            seconds = self._timeout",
    ),
    (
        "regions that are left alone are never asked",
        "_aws/replicas.py",
        "                queue.append(place)\n",
        "",
    ),
    (
        "secrets of other regions are replicated",
        "_aws/replicas.py",
        "        if request.region in {None, places[0].region}:",
        "        if True:",
    ),
    (
        "the regions outlive forget()",
        "_aws/replicas.py",
        "            self._places = ()\n",
        "",
    ),
    (
        "a region that was found before forget() is kept",
        "_aws/replicas.py",
        "            if before == self._times_forgotten:",
        "            if True:",
    ),
    (
        "a replica's refusal in a batch is the secret's",
        "_aws/replicas.py",
        "        elif place.is_primary:\n            return outcome",
        "        elif outcome:\n            return outcome",
    ),
    (
        "a permanent error fails over",
        "_aws/replica_reads.py",
        "            if not self._may_differ_elsewhere(failure):\n                raise failure",
        "            pass",
    ),
    (
        "AWS credentials that can't be loaded fail over",
        "_aws/replica_reads.py",
        "        if isinstance(failure, CredentialSourceError) and self._request.role is None:",
        "        if False:",
    ),
    (
        "a region's STS that fails leaves no other region to ask",
        "_aws/replica_reads.py",
        "        if isinstance(failure, CredentialSourceError) and self._request.role is None:",
        "        if isinstance(failure, CredentialSourceError):",
    ),
    (
        "a region's STS that hangs leaves no time for another region",
        "_aws/gateway.py",
        "        if limits is not None and request.role is not None:",
        "        if False:",
    ),
    (
        "a throttled batch is an outage of its region",
        "_aws/replica_reads.py",
        "        if self._is_throttled_batch(failure):\n            place.health.unknown(admission)\n        elif",
        "        if",
    ),
    (
        "a throttled batch fails over",
        "_aws/replica_reads.py",
        "        return failure.transient and not self._is_throttled_batch(failure)",
        "        return failure.transient",
    ),
    (
        "a region that hangs never fails for impatient callers",
        "_aws/replica_reads.py",
        "        if limits.opened_at is None or now - limits.opened_at < enough:",
        "        if True:",
    ),
    (
        "a caller that gives up at once has seen a failure",
        "_aws/replica_reads.py",
        "        if limits.opened_at is None or now - limits.opened_at < enough:",
        "        if limits.opened_at is None:",
    ),
    (
        "AWS credentials are a region's fault",
        "_aws/replica_reads.py",
        "    return error.transient and not isinstance(error, CredentialSourceError)",
        "    return error.transient",
    ),
    (
        "a cancelled call says nothing",
        "_aws/replica_reads.py",
        "            self._note_end_without_answer(place, admission, limits)\n            raise",
        "            raise",
    ),
]
