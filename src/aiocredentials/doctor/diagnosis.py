"""`diagnose`: find out why secrets can't be read.

`python -m aiocredentials doctor NAME...` prints its report. A secret's value is fetched, but
neither kept nor shown. The names of a JSON object's keys are shown if all of them look like names
of fields, or if the caller asks for them.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from aiocredentials import CredentialsPool
from aiocredentials.doctor.advice import Asked, notes, problems
from aiocredentials.doctor.answers import Answers, is_about_the_secret
from aiocredentials.doctor.endpoints import endpoint_of
from aiocredentials.doctor.probe import Probe
from aiocredentials.doctor.replicas import replica_report
from aiocredentials.doctor.results import (
    UNKNOWN,
    Identity,
    Permissions,
    ReplicaReport,
    Report,
    SecretReport,
)
from aiocredentials.doctor.wording import reason_and_advice_of
from aiocredentials.errors import AccessDeniedError, CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aiocredentials.doctor.answers import Outcome
    from aiocredentials.doctor.results import Elsewhere, Endpoint

_NEVER_ASKED = "AWS was never asked for this secret, because no AWS credentials could be loaded."
_NO_ROLE = "AWS was never asked for this secret in this region, because the role can't be assumed."
_UNKNOWN_PERMISSIONS = Permissions(
    get="unknown",
    batch="unknown",
    describe="unknown",
    decrypt="unknown",
)


async def diagnose(
    secret_names: Iterable[str],
    *,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 (a caller's own timeout would limit all calls)
    regions: Sequence[str] | None = None,
    search: bool = True,
    show_keys: bool = False,
    role_arn: str | None = None,
    external_id: str | None = None,
    role_session_name: str | None = None,
    replica_regions: list[str] | tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Find out whether secrets can be read, and why not.

    It asks STS for the identity, which needs no permission. With `role_arn`, it assumes the role,
    which needs sts:AssumeRole, and asks for the secrets as the role. It calls
    secretsmanager:GetSecretValue, secretsmanager:BatchGetSecretValue and
    secretsmanager:DescribeSecret. The report shows which of these are denied.

    Example:
        ```python
        from aiocredentials.doctor import diagnose


        async def main() -> None:
            report = await diagnose(["prod/database"], region_name="eu-west-1")
            for secret in report.secrets:
                print(secret.asked, secret.exit_code, *secret.problems)
        ```

    Args:
        secret_names: The names or ARNs of the secrets. Each is examined once.
        region_name: The region of secrets that are passed by name; by default the one that a
            service would use.
        endpoint_url: The endpoint to ask instead of AWS's own.
        timeout: The limit of each call, in seconds.
        regions: The other regions to search; by default all of them.
        search: Whether other regions are searched for a secret that its region doesn't have.
        show_keys: Whether all names of JSON keys are reported, also those that may be secrets
            themselves.
        role_arn: The role that the secrets are read through, as for a pool.
        external_id: The id that the role's trust policy names. It is never shown.
        role_session_name: The name of the role's session, which CloudTrail shows.
        replica_regions: The regions that are asked for replicas of these secrets, as a pool with
            this argument would ask them.
        progress: Called in the event loop at each step, with a text that names the step.

    Returns:
        The report. It holds no secret's value.

    Raises:
        TypeError: `region_name`, `endpoint_url`, `replica_regions` or a setting of the role has a
            wrong type.
        ValueError: One of these is empty or malformed. Every other failure is part of the report.
    """
    # The pool rejects arguments that it can't use.
    CredentialsPool(region_name, endpoint_url=endpoint_url, replica_regions=replica_regions)
    searched = regions if search else ()
    try:
        probing = Probe(
            region_name,
            endpoint_url,
            timeout,
            show_keys=show_keys,
            role=(role_arn, external_id, role_session_name),
        )
        async with probing as probe:
            examination = Examination(probe, searched, progress, replica_regions)
            return await examination.report_on(secret_names)
    except CredentialsError as error:
        return _report_without_session(error)


def _report_without_session(error: CredentialsError) -> Report:
    return Report(
        identity=Identity(),
        region=None,
        region_source=None,
        endpoints=(),
        secrets=(),
        problem=reason_and_advice_of(error),
    )


class Examination:
    """All secrets of one diagnosis, and the outcomes of the calls for them."""

    def __init__(
        self,
        probe: Probe,
        regions: Sequence[str] | None,
        progress: Callable[[str], None],
        replica_regions: Sequence[str] = (),
    ) -> None:
        self._replica_regions = replica_regions
        self._probe = probe
        self._regions = regions
        self._progress = progress
        self._outcomes: dict[str, Outcome] = {}

    async def report_on(self, secret_names: Iterable[str]) -> Report:
        """Load the credentials and examine the secrets, each of them once."""
        probe = self._probe
        self._progress("loading AWS credentials")
        identity = await probe.credentials()
        names = dict.fromkeys(secret_names)
        if not identity.problem:
            identity = await probe.assumed(identity)
        if identity.problem:
            secrets = [self._unasked(name, _NEVER_ASKED) for name in names]
        elif identity.role_problem:
            # The STS of a replica region may answer.
            unassumed = asyncio.gather(*(self._unassumed(name) for name in names))
            identity, secrets = await asyncio.gather(probe.identity(identity), unassumed)
        else:
            examinations = map(self.examine, names)
            examining = asyncio.gather(*examinations)
            identity, secrets = await asyncio.gather(probe.identity(identity), examining)

        endpoints = await self.endpoints(names)
        return Report(
            identity=identity,
            region=probe.region.name,
            region_source=probe.region.source,
            endpoints=endpoints,
            secrets=tuple(secrets),
            problem=None,
        )

    def _unasked(self, name: str, reason: str) -> SecretReport:
        """Report on a secret that can't be asked for."""
        region = self._probe.region_of(name)
        return SecretReport(
            asked=name,
            region=region.name,
            found=None,
            permissions=_UNKNOWN_PERMISSIONS,
            contents=None,
            description=None,
            elsewhere=None,
            problems=(reason,),
            notes=(),
            exit_code=UNKNOWN,
        )

    async def _unassumed(self, name: str) -> SecretReport:
        replicas = await self._replicas_of(name, None)
        return replace(self._unasked(name, _NO_ROLE), replicas=replicas)

    async def examine(self, name: str) -> SecretReport:
        """Ask for one secret with each kind of call, and search other regions for it."""
        region = self._probe.region_of(name)
        self._progress(f"asking {region.name} for {name}")
        answers = await self._answers_for(name)
        elsewhere = None
        if answers.is_worth_a_search:
            by_value = isinstance(answers.described, AccessDeniedError)
            elsewhere = await self._search_elsewhere(name, by_value=by_value)

        asked = Asked(
            name=name,
            region=region.name,
            region_source=region.source,
        )
        explanations = problems(asked, answers, elsewhere)
        return SecretReport(
            asked=name,
            region=region.name,
            found=answers.found,
            permissions=answers.permissions,
            contents=answers.contents,
            description=answers.description,
            elsewhere=elsewhere,
            problems=tuple(explanations),
            notes=tuple(notes(answers)),
            exit_code=answers.exit_code,
            replicas=await self._replicas_of(name, answers.got),
        )

    async def _replicas_of(self, name: str, primary: Outcome | None) -> tuple[ReplicaReport, ...]:
        """Ask the replica regions for a secret. Secrets of another region have none."""
        if not self._replica_regions:
            return ()
        here = self._probe.region
        if self._probe.region_of(name) != here:
            return ()
        others = [region for region in self._replica_regions if region != here.name]
        self._progress(f"asking the replica regions for {name}")
        outcomes = await asyncio.gather(*(self._probe.get_replica(name, one) for one in others))
        reports = [
            replica_report(
                name=name,
                primary_region=here.name,
                primary=primary,
                region=region,
                got=got,
            )
            for region, got in zip(others, outcomes, strict=True)
        ]
        return tuple(reports)

    async def _answers_for(self, name: str) -> Answers:
        probe = self._probe
        got = await probe.get(name)
        self._outcomes[name] = got
        if not is_about_the_secret(got):
            return Answers(got)
        described, batched = await asyncio.gather(
            probe.describe(name),
            probe.batch(name),
        )
        return Answers(got, described, batched)

    async def _search_elsewhere(self, name: str, *, by_value: bool) -> Elsewhere | None:
        probe = self._probe
        asked = probe.region_of(name)
        regions = self._regions
        if regions is None:
            regions = await probe.other_regions(asked)

        # A dict keeps the order, and each region once.
        others = dict.fromkeys(regions)
        others.pop(asked.name, None)
        if not others:
            return None
        return await probe.search(
            name,
            list(others),
            by_value=by_value,
            progress=self._progress,
        )

    async def endpoints(self, names: Iterable[str]) -> tuple[Endpoint, ...]:
        """Report for each region of these secrets whether it answered."""
        names_by_region: dict[str, list[str]] = {}
        for name in names:
            region = self._probe.region_of(name)
            others = names_by_region.setdefault(region.name, [])
            others.append(name)

        groups = names_by_region.values()
        endpoints = await asyncio.gather(*map(self._endpoint, groups))
        return tuple(endpoints)

    async def _endpoint(self, names: Sequence[str]) -> Endpoint:
        probe = self._probe
        region = probe.region_of(names[0])
        route = await probe.route(region)
        # Without AWS credentials there are no outcomes.
        results = map(self._outcomes.get, names)
        outcomes = [result for result in results if result is not None]
        return await endpoint_of(region, route, outcomes)
