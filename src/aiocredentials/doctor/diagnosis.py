"""Find out why a secret can't be read: identity, region, permissions, and regions that have it.

`python -m aiocredentials doctor NAME...` prints the report of `diagnose`. A secret's value is
fetched, but neither kept nor shown. The names of a JSON object's keys are shown if all of them look
like names of fields, or if the caller asks for them.
"""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from aiocredentials import SecretDescription
from aiocredentials.doctor.probe import (
    Contents,
    Elsewhere,
    Identity,
    Probe,
    advice_for,
    kms_denies,
    told,
    utc,
    why_unreachable,
)
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
# 2 is the exit code of a wrong command line.
UNKNOWN: Final = 3

# AWS's answers about the secret. Every other error means that AWS wasn't reached, or rejected the
# credentials.
_ABOUT_THE_SECRET = (
    SecretNotFoundError,
    SecretDecryptionError,
    AccessDeniedError,
    InvalidParameterError,
    InvalidRequestError,
)

# The end of a command that stores a value, which belongs neither on a screen nor in a history.
_FROM_FILE = "--secret-string file://value.json"

Permission: TypeAlias = Literal["allowed", "denied", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """The identity's permissions on one secret; unknown if no answer of AWS depends on them."""

    get: Permission
    """secretsmanager:GetSecretValue: every service needs it."""
    batch: Permission
    """secretsmanager:BatchGetSecretValue, for `prefetch`."""
    describe: Permission
    """secretsmanager:DescribeSecret, for `describe`."""
    decrypt: Permission
    """kms:Decrypt, if the secret is encrypted with a customer managed key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The endpoint that one region's secrets were asked from, and whether it answered."""

    region: str
    region_source: str
    """The setting that named the region: an argument, a variable, the profile, the secret's ARN."""
    url: str | None
    url_source: str | None
    """The setting that named the URL; None for AWS's own."""
    proxy: str | None
    reachable: bool | None
    """Whether something answered; None if nothing was sent."""
    tls: bool | None
    """Whether certificate and host name are valid; False without encryption, None if unknown."""
    failure: str | None
    """The step that failed: "dns", "refused", "timeout", "tls", "proxy" or "no answer"."""
    problem: str | None
    """Why the secrets of this region got no answer, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReport:
    """The facts about one secret, without its value. None means unknown."""

    asked: str
    region: str
    found: bool | None
    permissions: Permissions
    contents: Contents | None
    description: SecretDescription | None
    elsewhere: Elsewhere | None
    """The answers of the other regions, if they were asked."""
    problems: tuple[str, ...]
    """Why a service can't read the secret, and what to do."""
    notes: tuple[str, ...]
    """Facts that keep no service from reading the secret."""
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of `diagnose`."""

    identity: Identity
    region: str | None
    """The region of secrets whose identifier names none."""
    region_source: str | None
    endpoints: tuple[Endpoint, ...]
    secrets: tuple[SecretReport, ...]
    problem: str | None
    """Why nothing could be asked at all."""

    @property
    def exit_code(self) -> int:
        """0: every secret can be read; 1: at least one can't; 3: AWS didn't answer for one."""
        if self.problem:
            return UNKNOWN
        return max((secret.exit_code for secret in self.secrets), default=FINE)


_Outcome: TypeAlias = Contents | CredentialsError
# Of GetSecretValue, DescribeSecret and BatchGetSecretValue; None for a call that wasn't made or has
# nothing to report.
_Answers: TypeAlias = tuple[
    _Outcome,
    SecretDescription | CredentialsError | None,
    CredentialsError | None,
]


async def diagnose(
    secret_names: Iterable[str],
    *,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 (of each call; a caller's own would be of all)
    regions: Sequence[str] | None = None,
    search: bool = True,
    show_keys: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Find out whether secrets can be read, and why not.

    It asks STS for the identity, which needs no permission. It uses secretsmanager:GetSecretValue,
    BatchGetSecretValue and DescribeSecret, each of which may be denied.

    Args:
        secret_names: Names or ARNs.
        region_name: The region of names; by default the one that a service would use.
        endpoint_url: The endpoint to ask instead of AWS's own.
        timeout: The limit of each call, in seconds.
        regions: The other regions to search for a secret that its region doesn't have; by default
            all of them.
        search: Whether other regions are searched.
        show_keys: Whether all names of JSON keys are reported, also those that may be values.
        tell: Called with the present step, in the event loop.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument is empty or malformed. Every other failure is part of the report.
    """
    try:
        async with Probe(region_name, endpoint_url, timeout, show_keys=show_keys) as probe:
            tell("loading AWS credentials")
            identity = await probe.credentials()
            examination = _Examination(probe, regions if search else (), tell)
            names = dict.fromkeys(secret_names)
            if identity.problem:
                secrets = [examination.unasked(name) for name in names]
            else:
                identity, secrets = await asyncio.gather(
                    probe.identity(identity), asyncio.gather(*map(examination.examine, names))
                )
            return Report(
                identity=identity,
                region=probe.region.name,
                region_source=probe.region.source,
                endpoints=await examination.endpoints(names),
                secrets=tuple(secrets),
                problem=None,
            )
    except CredentialsError as error:
        problem = _sentence(error)
    return Report(
        identity=Identity(),
        region=None,
        region_source=None,
        endpoints=(),
        secrets=(),
        problem=problem,
    )


class _Examination:
    """All secrets of one diagnosis, and the outcomes of the calls for them."""

    def __init__(
        self,
        probe: Probe,
        regions: Sequence[str] | None,
        tell: Callable[[str], None],
    ) -> None:
        self._probe = probe
        self._regions = regions
        self._tell = tell
        self._outcomes: dict[str, _Outcome] = {}

    def unasked(self, name: str) -> SecretReport:
        """Report on a secret that can't be asked for without AWS credentials."""
        reason = "no AWS credentials could be loaded"
        return SecretReport(
            asked=name,
            region=self._probe.region_of(name).name,
            found=None,
            permissions=Permissions(
                get="unknown",
                batch="unknown",
                describe="unknown",
                decrypt="unknown",
            ),
            contents=None,
            description=None,
            elsewhere=None,
            problems=(f"AWS was never asked for this secret, because {reason}.",),
            notes=(),
            exit_code=UNKNOWN,
        )

    async def examine(self, name: str) -> SecretReport:
        """Ask for one secret with each kind of call, and search other regions for it."""
        region = self._probe.region_of(name)
        self._tell(f"asking {region.name} for {name}")
        got = self._outcomes[name] = await self._probe.get(name)
        answers: _Answers = (got, None, None)
        elsewhere = None
        if _is_about_the_secret(got):
            answers = (
                got,
                *await asyncio.gather(self._probe.describe(name), self._probe.batch(name)),
            )
            if _is_worth_a_search(answers):
                by_value = isinstance(answers[1], AccessDeniedError)
                elsewhere = await self._search(name, by_value=by_value)
        return SecretReport(
            asked=name,
            region=region.name,
            found=_found(answers),
            permissions=_permissions(answers),
            contents=got if isinstance(got, Contents) else None,
            description=answers[1] if isinstance(answers[1], SecretDescription) else None,
            elsewhere=elsewhere,
            problems=tuple(_problems(_Asked(name, region.name, region.source), answers, elsewhere)),
            notes=tuple(_notes(answers)),
            exit_code=_exit_code(got),
        )

    async def _search(self, name: str, *, by_value: bool) -> Elsewhere | None:
        regions = self._regions
        home = self._probe.region_of(name)
        if regions is None:
            regions = await self._probe.other_regions(home)
        others = [region for region in dict.fromkeys(regions) if region != home.name]
        if not others:
            return None
        return await self._probe.search(name, others, by_value=by_value, tell=self._tell)

    async def endpoints(self, names: Iterable[str]) -> tuple[Endpoint, ...]:
        """Report for each region of these secrets whether it answered."""
        by_region: dict[str, list[str]] = {}
        for name in names:
            by_region.setdefault(self._probe.region_of(name).name, []).append(name)
        return tuple(await asyncio.gather(*map(self._endpoint, by_region.values())))

    async def _endpoint(self, names: Sequence[str]) -> Endpoint:
        region = self._probe.region_of(names[0])
        route = await self._probe.route(region)
        outcomes = [self._outcomes[name] for name in names if name in self._outcomes]
        is_reached = any(map(_is_answer, outcomes))
        failures = [one for one in outcomes if isinstance(one, EndpointUnreachableError)]
        failure = None
        if failures and route and not is_reached:
            failure = await why_unreachable(route, failures[0])
        reachable = False if failures else None
        if is_reached:
            reachable = True
        tls = None
        if is_reached or failure == "tls":
            tls = failure is None and route is not None and route.url.startswith("https:")
        others = [outcome for outcome in outcomes if not _is_about_the_secret(outcome)]
        errors = [error for error in others if isinstance(error, CredentialsError)]
        # Each sentence once, however many secrets it is about.
        sentences = dict.fromkeys([*map(told, errors), *map(advice_for, errors)])
        return Endpoint(
            region=region.name,
            region_source=region.source,
            url=route.url if route else None,
            url_source=route.source if route else None,
            proxy=route.proxy if route else None,
            reachable=reachable,
            tls=tls,
            failure=failure,
            problem=" ".join(filter(None, sentences)) or None,
        )


def _sentence(error: CredentialsError) -> str:
    return f"{told(error)} {advice_for(error)}".rstrip()


def _is_about_the_secret(outcome: _Outcome) -> bool:
    if isinstance(outcome, Contents):
        return True
    # Without a code AWS gave no answer: it is a setting or an argument that the error is about.
    return isinstance(outcome, _ABOUT_THE_SECRET) and outcome.code is not None


def _is_answer(outcome: _Outcome) -> bool:
    # A server that isn't Secrets Manager and answers all the same is reachable.
    return isinstance(outcome, (Contents, MalformedResponseError)) or outcome.code is not None


def _is_denied(outcome: object) -> bool:
    return isinstance(outcome, AccessDeniedError) and not kms_denies(outcome)


def _exit_code(got: _Outcome) -> int:
    if isinstance(got, Contents):
        return FINE
    return WRONG if _is_about_the_secret(got) else UNKNOWN


def _found(answers: _Answers) -> bool | None:
    got, described, _ = answers
    if isinstance(got, Contents | SecretDeletedError) or kms_denies(got):
        return True
    if isinstance(described, SecretDescription):
        return True
    is_absent = isinstance(got, SecretNotFoundError) or isinstance(described, SecretNotFoundError)
    return False if is_absent else None


def _is_worth_a_search(answers: _Answers) -> bool:
    # A policy that names the secret's real region denies access in all others.
    found = _found(answers)
    return found is False or (found is None and _is_denied(answers[0]))


def _permissions(answers: _Answers) -> Permissions:
    got, described, batched = answers
    exists = isinstance(described, SecretDescription)
    # Only an identity with the permission gets one of these answers. "Not found" alone reveals no
    # permission.
    may_get = isinstance(got, Contents | InvalidRequestError) or kms_denies(got)
    may_get = may_get or (exists and isinstance(got, SecretNotFoundError))
    was_asked = described is not None
    return Permissions(
        get=_permission(got, allowed=may_get),
        batch=_permission(batched, allowed=was_asked and batched is None),
        describe=_permission(described, allowed=exists),
        decrypt=_decryption(got),
    )


def _permission(outcome: object, *, allowed: bool) -> Permission:
    if allowed:
        return "allowed"
    return "denied" if _is_denied(outcome) else "unknown"


def _decryption(got: _Outcome) -> Permission:
    if isinstance(got, Contents):
        return "allowed"
    return "denied" if kms_denies(got) else "unknown"


class _Asked(NamedTuple):
    """A secret's identifier, the region that was asked, and the setting that named the region."""

    name: str
    region: str
    region_source: str

    @property
    def where(self) -> str:
        """The region in a sentence."""
        return f"{self.region} (region from {self.region_source})"

    @property
    def target(self) -> str:
        """The end of a command line for the AWS CLI."""
        return f"{shlex.quote(self.name)} --region {shlex.quote(self.region)}"


def _problems(asked: _Asked, answers: _Answers, elsewhere: Elsewhere | None) -> Iterator[str]:
    """Explain why a service can't read the secret, and what to do."""
    got, described, _ = answers
    exists = isinstance(described, SecretDescription)
    if isinstance(got, Contents):
        return
    if not _is_about_the_secret(got):
        kind = type(got).__name__
        yield f"No answer about this secret ({kind}): see the problem of {asked.region}."
    elif isinstance(got, SecretNotFoundError) and exists:
        yield (
            "The secret exists, but it has no value: no version is AWSCURRENT. Store a value: "
            f"aws secretsmanager put-secret-value --secret-id {asked.target} {_FROM_FILE}"
        )
    elif isinstance(got, SecretNotFoundError):
        yield f"The secret doesn't exist in {asked.where}. {_advice_by(elsewhere, asked)}".rstrip()
    elif isinstance(got, SecretDeletedError):
        date = described.deleted_at if isinstance(described, SecretDescription) else None
        when = f" ({utc(date):%Y-%m-%d})" if date else ""
        command = f"aws secretsmanager restore-secret --secret-id {asked.target}"
        yield f"The secret is scheduled for deletion{when}. Restore it: {command}"
    elif kms_denies(got):
        yield f"KMS did not decrypt the secret: {told(got)} {SecretDecryptionError.advice}"
    else:
        yield _sentence(got)
        if elsewhere and (elsewhere.found or elsewhere.deleted):
            advice = _advice_by(elsewhere, asked)
            yield f"AWS may deny access because the secret isn't in {asked.where}. {advice}"


def _advice_by(elsewhere: Elsewhere | None, asked: _Asked) -> str:
    """Name the regions that have the secret, and what to do."""
    if elsewhere is None:
        return ""
    # The last characters of an ARN are left out of the search, because they differ between regions.
    which = "It"
    if elsewhere.name not in {"", asked.name}:
        which = f"A secret with the name {elsewhere.name!r}"
    if elsewhere.found:
        regions = ", ".join(elsewhere.found)
        return f"{which} exists in {regions}: ask there, with region_name= or AWS_REGION."
    if elsewhere.deleted:
        return f"{which} is scheduled for deletion in {', '.join(elsewhere.deleted)}."
    absent = len(elsewhere.absent)
    unsure = len(elsewhere.refused) + len(elsewhere.silent)
    result = f"{absent} other region{' does' if absent == 1 else 's do'} not have it either"
    result += f", and {unsure} gave no answer" if unsure else ""
    command = f"aws secretsmanager create-secret --name {asked.target} {_FROM_FILE}"
    return f"{result}. Correct the name, or create the secret: {command}"


def _notes(answers: _Answers) -> Iterator[str]:
    """Report facts that keep no service from reading the secret."""
    _, described, batched = answers
    if _is_denied(batched):
        yield "secretsmanager:BatchGetSecretValue is denied: prefetch makes a call per secret."
    if _is_denied(described):
        yield (
            "secretsmanager:DescribeSecret is denied: no service needs it, but versions and "
            "rotation can't be shown here."
        )
    if not isinstance(described, SecretDescription):
        return
    for version, labels in described.versions.items():
        if "AWSPENDING" in labels and "AWSCURRENT" not in labels:
            yield (
                f"Version {version} is AWSPENDING and not AWSCURRENT: a rotation is in progress, "
                "or it failed. If this stays so, read the log of the rotation function."
            )
    due = described.next_rotation_at
    if described.rotation_enabled and due is not None and utc(due) < datetime.now(UTC):
        latest = f"{utc(due):%Y-%m-%d %H:%M} UTC"
        yield f"The rotation is overdue: it was scheduled for {latest} at the latest."
