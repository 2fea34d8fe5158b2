"""Find out why a secret can't be had: who asks, in which region, what AWS allows, and which region has it instead.

`python -m aiocredentials doctor NAME...` prints what `diagnose` finds. A secret's value is fetched, and neither kept
nor shown; the names of its keys are.
"""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from aiocredentials import SecretDescription
from aiocredentials._probe import Contents, Elsewhere, Identity, Probe, kms_denies, told, why_unreachable
from aiocredentials.errors import (
    AccessDeniedError,
    CredentialsError,
    EndpointUnreachableError,
    InvalidParameterError,
    InvalidRequestError,
    MalformedResponseError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

FINE: Final = 0
WRONG: Final = 1
UNKNOWN: Final = 3  # 2 is for a command that was called wrongly

# What AWS says of the secret. Every other error says that AWS wasn't reached, or that it doesn't know us.
_ABOUT_THE_SECRET = (
    SecretNotFoundError,
    SecretDecryptionError,
    AccessDeniedError,
    InvalidParameterError,
    InvalidRequestError,
)

Permission: TypeAlias = Literal["allowed", "denied", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What the identity may do with one secret; unknown where AWS wasn't asked, or answered something else."""

    get: Permission
    """secretsmanager:GetSecretValue, which every service needs."""
    batch: Permission
    """secretsmanager:BatchGetSecretValue, for `prefetch`."""
    describe: Permission
    """secretsmanager:DescribeSecret, for `describe`."""
    decrypt: Permission
    """kms:Decrypt, where the secret has a key of the account's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where one region was asked, and whether it answered."""

    region: str
    region_source: str
    """What named the region: an argument, a variable, the profile, the secret's ARN."""
    url: str | None
    url_source: str | None
    """What named the URL; None where it is AWS's own."""
    proxy: str | None
    reachable: bool | None
    """Whether something answered; None where nothing was sent."""
    tls: bool | None
    """Whether certificate and host name are good; False without encryption too; None where it didn't come to that."""
    failure: str | None
    """Where the way ends: "dns", "refused", "timeout", "tls", "proxy" or "no answer"."""
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReport:
    """What was found out about one secret; never its value. None is what isn't known."""

    asked: str
    region: str
    found: bool | None
    permissions: Permissions
    contents: Contents | None
    description: SecretDescription | None
    elsewhere: Elsewhere | None
    """What the other regions say, where they were asked."""
    problems: tuple[str, ...]
    """What keeps a service from having the secret, and what to do."""
    notes: tuple[str, ...]
    """What doesn't, and may be worth a look."""
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole diagnosis."""

    identity: Identity
    region: str | None
    """The region of secrets that don't name their own."""
    region_source: str | None
    endpoints: tuple[Endpoint, ...]
    secrets: tuple[SecretReport, ...]
    problem: str | None
    """What kept the doctor from asking anything."""

    @property
    def exit_code(self) -> int:
        """0: each secret can be had; 1: one can't; 3: of one it isn't known, since AWS didn't say."""
        return UNKNOWN if self.problem else max((one.exit_code for one in self.secrets), default=FINE)


_Answers: TypeAlias = tuple[
    Contents | CredentialsError, SecretDescription | CredentialsError | None, CredentialsError | None
]


async def diagnose(
    secret_names: Iterable[str],
    *,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 (of each call; a caller's own would be of all)
    regions: Sequence[str] | None = None,
    search: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Find out about secrets, given by name or ARN. Raises `TypeError` or `ValueError` for bad arguments, no more.

    `timeout` is for one call, in seconds. A secret that isn't in its region is looked for in all others, or in
    `regions`; not with `search=False`. `tell` is called with what is being done. It asks STS for the identity, and
    uses secretsmanager:GetSecretValue, BatchGetSecretValue and DescribeSecret, each of which may be denied.
    """
    try:
        async with Probe(region_name, endpoint_url, timeout) as probe:
            tell("looking for AWS credentials")
            known = await probe.credentials()
            examination = _Examination(probe, regions if search else (), tell)
            # Without credentials STS has nobody to tell of. Each secret's own error says so too.
            who = probe.identity(known) if known.problem is None else _as_it_is(known)
            names = dict.fromkeys(secret_names)
            identity, secrets = await asyncio.gather(who, asyncio.gather(*map(examination.examine, names)))
            return Report(
                identity=identity,
                region=probe.region.name,
                region_source=probe.region.source,
                endpoints=await examination.endpoints(names),
                secrets=tuple(secrets),
                problem=None,
            )
    except CredentialsError as error:
        problem = f"{told(error)} {error.advice}"
    nobody = Identity()
    return Report(identity=nobody, region=None, region_source=None, endpoints=(), secrets=(), problem=problem)


async def _as_it_is(known: Identity) -> Identity:
    return known


class _Examination:
    """All secrets of one diagnosis, and what came of the calls for them."""

    def __init__(self, probe: Probe, regions: Sequence[str] | None, tell: Callable[[str], None]) -> None:
        self._probe = probe
        self._regions = regions
        self._tell = tell
        self._got: dict[str, Contents | CredentialsError] = {}

    async def examine(self, name: str) -> SecretReport:
        """Ask for one secret in each way there is, and for other regions that have it."""
        region = self._probe.region_of(name)
        self._tell(f"asking {region.name} for {name}")
        got = self._got[name] = await self._probe.get(name)
        answers: _Answers = (got, None, None)
        elsewhere = None
        if isinstance(got, (Contents, *_ABOUT_THE_SECRET)):
            answers = (got, *await asyncio.gather(self._probe.describe(name), self._probe.batch(name)))
            if _is_worth_a_search(answers):
                elsewhere = await self._search(name, by_value=isinstance(answers[1], AccessDeniedError))
        return SecretReport(
            asked=name,
            region=region.name,
            found=_found(answers),
            permissions=_permissions(answers),
            contents=got if isinstance(got, Contents) else None,
            description=answers[1] if isinstance(answers[1], SecretDescription) else None,
            elsewhere=elsewhere,
            problems=tuple(_problems(name, f"{region.name} (from {region.source})", answers, elsewhere)),
            notes=tuple(_notes(answers)),
            exit_code=FINE if isinstance(got, Contents) else WRONG if isinstance(got, _ABOUT_THE_SECRET) else UNKNOWN,
        )

    async def _search(self, name: str, *, by_value: bool) -> Elsewhere | None:
        regions = self._regions
        home = self._probe.region_of(name)
        if regions is None:
            regions = await self._probe.other_regions(home)
        others = [region for region in dict.fromkeys(regions) if region != home.name]
        return await self._probe.search(name, others, by_value=by_value, tell=self._tell) if others else None

    async def endpoints(self, names: Iterable[str]) -> tuple[Endpoint, ...]:
        """Say of each region that was asked for these whether it answered."""
        by_region: dict[str, list[str]] = {}
        for name in names:
            by_region.setdefault(self._probe.region_of(name).name, []).append(name)
        return tuple(await asyncio.gather(*map(self._endpoint, by_region.values())))

    async def _endpoint(self, names: Sequence[str]) -> Endpoint:
        region = self._probe.region_of(names[0])
        outcomes = [self._got[name] for name in names]
        told_most = next((one for one in outcomes if _is_answer(one)), outcomes[0])
        error = told_most if isinstance(told_most, CredentialsError) else None
        unreachable = error if isinstance(error, EndpointUnreachableError) and not _is_answer(error) else None
        route = await self._probe.route(region)
        reachable = _is_answer(told_most) or (False if unreachable else None)
        failure = await why_unreachable(route, unreachable) if unreachable and route else None
        tls = None
        if reachable or failure == "tls":
            tls = failure is None and route is not None and route.url.startswith("https:")
        return Endpoint(
            region=region.name,
            region_source=region.source,
            url=route.url if route else None,
            url_source=route.source if route else None,
            proxy=route.proxy if route else None,
            reachable=reachable,
            tls=tls,
            failure=failure,
            problem=f"{told(error)} {error.advice}" if error and not isinstance(error, _ABOUT_THE_SECRET) else None,
        )


def _is_answer(outcome: Contents | CredentialsError) -> bool:
    # Who isn't Secrets Manager and answers all the same can be reached.
    return isinstance(outcome, (Contents, MalformedResponseError)) or outcome.code is not None


def _is_denied(outcome: object) -> bool:
    return isinstance(outcome, AccessDeniedError) and not kms_denies(outcome)


def _found(answers: _Answers) -> bool | None:
    got, described, _ = answers
    if isinstance(got, Contents | SecretDeletedError) or isinstance(described, SecretDescription) or kms_denies(got):
        return True
    return False if isinstance(got, SecretNotFoundError) or isinstance(described, SecretNotFoundError) else None


def _is_worth_a_search(answers: _Answers) -> bool:
    # A policy that names the secret's real region denies all others, whether they have it or not.
    return _found(answers) is False or (_found(answers) is None and _is_denied(answers[0]))


def _permissions(answers: _Answers) -> Permissions:
    got, described, batched = answers
    there = isinstance(described, SecretDescription)
    # An answer that only somebody gets who may ask. That there is no such secret tells of no permission on one.
    may_get = isinstance(got, Contents | InvalidRequestError) or kms_denies(got)
    may_get = may_get or (there and isinstance(got, SecretNotFoundError))
    asked = described is not None
    return Permissions(
        get=_permission(got, allowed=may_get),
        batch=_permission(batched, allowed=asked and batched is None),
        describe=_permission(described, allowed=there),
        decrypt="allowed" if isinstance(got, Contents) else "denied" if kms_denies(got) else "unknown",
    )


def _permission(outcome: object, *, allowed: bool) -> Permission:
    return "allowed" if allowed else "denied" if _is_denied(outcome) else "unknown"


def _problems(name: str, region: str, answers: _Answers, elsewhere: Elsewhere | None) -> Iterator[str]:
    """Say what keeps a service from having the secret, and what to do."""
    got, described, _ = answers
    target = f"{shlex.quote(name)} --region {region.partition(' ')[0]}"
    if isinstance(got, Contents):
        return
    if isinstance(got, SecretNotFoundError) and isinstance(described, SecretDescription):
        command = f"aws secretsmanager put-secret-value --secret-id {target} --secret-string file://value.json"
        yield f"It is there, and no version of it is AWSCURRENT: put a value into it ({command})."
    elif isinstance(got, SecretNotFoundError):
        yield f"There is no such secret in {region}. {_advice_by(elsewhere, target)}".rstrip()
    elif isinstance(got, SecretDeletedError):
        date = described.deleted_at if isinstance(described, SecretDescription) else None
        when = f" ({date.astimezone(UTC):%Y-%m-%d})" if date else ""
        yield f"It is scheduled for deletion{when}. Restore it: aws secretsmanager restore-secret --secret-id {target}"
    elif kms_denies(got):
        yield f"KMS doesn't decrypt it: {told(got)} {SecretDecryptionError.advice}"
    else:
        yield f"{told(got)} {got.advice if isinstance(got, _ABOUT_THE_SECRET) else ''}".rstrip()
        if elsewhere and (elsewhere.found or elsewhere.deleted):
            yield f"What is denied in {region} may not be there. {_advice_by(elsewhere, target)}"


def _advice_by(elsewhere: Elsewhere | None, target: str) -> str:
    """Say which regions have the secret, and what follows."""
    if elsewhere is None:
        return ""
    if elsewhere.found:
        return f"It is in {', '.join(elsewhere.found)}: ask there, by region_name= or AWS_REGION."
    if elsewhere.deleted:
        return f"In {', '.join(elsewhere.deleted)} it is scheduled for deletion."
    unsure = len(elsewhere.refused) + len(elsewhere.silent)
    said = f"{len(elsewhere.absent)} other regions don't have it either"
    said += f", and {unsure} didn't say" if unsure else ""
    command = f"aws secretsmanager create-secret --name {target} --secret-string file://value.json"
    return f"{said}. Correct the name, or create it: {command}"


def _notes(answers: _Answers) -> Iterator[str]:
    """Say what keeps nobody from having the secret, and may be worth a look."""
    _, described, batched = answers
    if _is_denied(batched):
        yield "secretsmanager:BatchGetSecretValue is denied: prefetch asks for each secret singly."
    if _is_denied(described):
        yield "secretsmanager:DescribeSecret is denied: no service needs it, but versions and rotation can't be shown."
    if not isinstance(described, SecretDescription):
        return
    for version, labels in described.versions.items():
        if "AWSPENDING" in labels and "AWSCURRENT" not in labels:
            yield (
                f"Version {version} is AWSPENDING and not AWSCURRENT: a rotation is under way, or stuck. If that stays "
                "so, look at the log of the rotation function."
            )
    due = described.next_rotation_at
    if described.rotation_enabled and due is not None and due < datetime.now(UTC):
        yield f"A rotation was due by {due.astimezone(UTC):%Y-%m-%d %H:%M} UTC and hasn't come."
