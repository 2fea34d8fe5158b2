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
        "            if attempt.epoch != self._epoch:\n                return\n            if self._pauses and",
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
        "            if attempt is self._probe:\n                self._begin_pause()",
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
        "            if not self._pauses or attempt.epoch != self._epoch:",
        "            if not self._pauses:",
    ),
    (
        "a failover is reported at each read",
        "_aws/region_health.py",
        "            self._is_reported = True\n",
        "",
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
        "        put_arn(secret, self._primary_arn(secret))\n",
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
        "        return request.region in {None, self._places[0].region}",
        "        return True",
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
        "            if not _is_the_regions_fault(failure):\n                raise failure",
        "            pass",
    ),
    (
        "AWS credentials are a region's fault",
        "_aws/replica_reads.py",
        "    return error.transient and not isinstance(error, CredentialSourceError)",
        "    return error.transient",
    ),
    (
        "a cancelled attempt says nothing",
        "_aws/replica_reads.py",
        "            place.health.unknown(attempt)\n            raise",
        "            raise",
    ),
]
