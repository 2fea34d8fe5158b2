"""`ReplicatedGateway`: asks replica regions if the primary region fails.

It has the methods of a `Gateway`, and stands between the store and one. `region_health` decides
which region is asked, and `known_versions` notices a replica that lags.

Secrets have the ARN of the primary region, whichever region answered: it is their identity. So one
secret has one entry in the cache, and a failover isn't taken for a rotation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiocredentials._arguments import LONGEST_REGION
from aiocredentials._aws.gateway import UNNAMED, Limits
from aiocredentials._aws.known_versions import KnownVersions
from aiocredentials._aws.region_health import RegionHealth
from aiocredentials._aws.regions import Region, hint_if_unlisted
from aiocredentials._aws.replica_reads import NoAnswer, Place, Read, is_refusal, unanswered
from aiocredentials._aws.settings import is_custom
from aiocredentials._identifiers import in_region, region_in
from aiocredentials._loops import bookkeeping, running_loop
from aiocredentials._secret import FRESH_FOR_EVER, Lifetime, put_arn
from aiocredentials.errors import CredentialsError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from aiocredentials._aws.gateway import Gateway
    from aiocredentials._aws.replica_reads import Reports
    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._aws.settings import ClientSettings
    from aiocredentials._secret import Secret, SecretDescription

R = TypeVar("R")

_AN_OLDER_VERSION = "an older version"
_ANOTHER_ONE = "another secret of the same name"
# What all names of regions look like: "eu-west-1", "us-gov-east-1".
_SHAPE = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")

if TYPE_CHECKING:
    Ask = Callable[[Place, Limits], Coroutine[Any, Any, R | NoAnswer]]


def _fresh_for_ever() -> Lifetime:
    return FRESH_FOR_EVER


def replica_regions_of(names: object, settings: ClientSettings) -> tuple[Region, ...]:
    """Check the argument `replica_regions`, and return its regions.

    Raises:
        TypeError: It isn't a list of strings.
        ValueError: A name isn't a region's, is listed twice or is the primary region's; or the pool
            has an `endpoint_url`.
    """
    if isinstance(names, str):
        raise TypeError(f"replica_regions is a string: give a list, such as [{names!r}].")
    if not isinstance(names, (list, tuple)):
        kind = type(names).__name__
        raise TypeError(f"replica_regions is a {kind}: give a list of regions.")

    listed = list(cast("list[object]", names))
    primary = getattr(settings.config, "region_name", None) or settings.region_name
    for position, name in enumerate(listed):
        _check_replica_region(name, primary, listed[:position])
    if listed and settings.endpoint_url is not None:
        raise ValueError(
            "endpoint_url is one endpoint, and so it is in one region: "
            "leave it out, or leave replica_regions out."
        )
    return tuple(Region(str(name), "replica_regions") for name in listed)


def _check_replica_region(name: object, primary: str | None, before: list[object]) -> None:
    if not isinstance(name, str):
        kind = type(name).__name__
        raise TypeError(f"replica_regions has a {kind}: give the names of regions.")
    if len(name) > LONGEST_REGION or _SHAPE.fullmatch(name) is None:
        raise ValueError(
            f"replica_regions has {shown(name)}, which isn't the name of a region: "
            "write it as 'eu-central-1'."
        )
    if name == primary:
        raise ValueError(
            f"replica_regions has {name!r}, which is the primary region: list the other regions."
        )
    if name in before:
        raise ValueError(f"replica_regions has {name!r} twice: list each region once.")


def warning_of(settings: ClientSettings) -> Callable[[str], None] | None:
    """Return how to warn of unknown regions; None for a session that may have its own regions."""
    if is_custom(settings.session):
        return None
    return settings.chosen_at.warn


class ReplicatedGateway:
    """A gateway that asks the primary region, and replica regions if that one fails.

    The primary region is the default region of the pool. A request for another region isn't
    replicated: it is asked there and nowhere else.

    Args:
        gateway: Makes the calls.
        replica_regions: The other regions, in the order in which they are asked.
        warn: Called with a hint for each region that botocore doesn't list, at the first read, so a
            wrong name is noticed before the first outage. None means no hints.
        timeout: For a whole read, in all regions, in seconds.
        clock: By which pauses end.
        most_versions: For how many secrets and labels the newest version is remembered.
        reports: Reports a failover, and its end.
    """

    def __init__(
        self,
        gateway: Gateway,
        replica_regions: Sequence[Region],
        *,
        warn: Callable[[str], None] | None = None,
        timeout: float,
        clock: Callable[[], float],
        most_versions: int,
        reports: Reports,
    ) -> None:
        self._gateway = gateway
        self._replica_regions = replica_regions
        self._warn = warn
        self._timeout = timeout
        self._clock = clock
        self._versions = KnownVersions(most_versions)
        self._reports = reports
        self._places: tuple[Place, ...] = ()
        """The primary region and the replica regions, once the primary region is known."""
        self._times_forgotten = 0

    def forget(self) -> None:
        """Forget which region is the primary one, and which regions have failed.

        Which versions are known is kept: it is no value, and no version becomes newer by it.
        """
        with bookkeeping:
            self._places = ()
            self._times_forgotten += 1

    @property
    def timeout(self) -> float:
        """The deadline of each call, in seconds."""
        return self._timeout

    async def region(self, request: SecretRequest) -> Region:
        """Return the region that a request goes to, as `Gateway.region` does."""
        return await self._gateway.region(request)

    async def get(
        self,
        request: SecretRequest,
        lifetime: Callable[[], Lifetime] = _fresh_for_ever,
        **options: Any,  # noqa: ANN401 (they are the gateway's)
    ) -> Secret:
        """Call GetSecretValue, as `Gateway.get` does.

        The error is the primary region's, and lists the replies of the replica regions.
        """
        get = self._gateway.get
        places = await self._places_for(request)
        if not places:
            return await get(request, lifetime, **options)

        async def ask(place: Place, limits: Limits) -> Secret | NoAnswer:
            asked = place.request(request)
            # The answer is never a local variable, as in `Gateway.get`.
            return self._checked(
                place,
                request,
                await get(asked, lifetime, **options, limits=limits),
            )

        return await self._first_answer(places, request, ask)

    async def get_many(
        self,
        requests: Sequence[SecretRequest],
        lifetime: Callable[[], Lifetime] = _fresh_for_ever,
        **options: Any,  # noqa: ANN401 (they are the gateway's)
    ) -> dict[str, Secret | CredentialsError]:
        """Call BatchGetSecretValue, as `Gateway.get_many` does. A batch fails over as a whole."""
        get_many = self._gateway.get_many
        places = await self._places_for(requests[0])
        if not places:
            return await get_many(requests, lifetime, **options)

        async def ask(place: Place, limits: Limits) -> dict[str, Secret | CredentialsError]:
            asked = [place.request(request) for request in requests]
            try:
                return self._checked_batch(
                    place,
                    requests,
                    await get_many(asked, lifetime, **options, limits=limits),
                )
            except CredentialsError as error:
                if place.is_primary or not is_refusal(error):
                    raise
            # The replica region refuses the batch. Its secrets are asked singly then.
            return {}

        whole_batch = requests[0]._replace(secret_name=UNNAMED)
        return await self._first_answer(places, whole_batch, ask)

    async def describe(
        self,
        request: SecretRequest,
        **options: Any,  # noqa: ANN401 (they are the gateway's)
    ) -> SecretDescription:
        """Call DescribeSecret, as `Gateway.describe` does."""
        describe = self._gateway.describe
        places = await self._places_for(request)
        if not places:
            return await describe(request, **options)

        async def ask(place: Place, limits: Limits) -> SecretDescription:
            asked = place.request(request)
            description = await describe(asked, **options, limits=limits)
            if place.is_primary:
                return description
            arn = _primary_arn(place, description)
            return dataclasses.replace(description, arn=arn)

        return await self._first_answer(places, request, ask)

    # Regions

    async def _places_for(self, request: SecretRequest) -> tuple[Place, ...]:
        """Return the regions that a request can be read from; none if it isn't replicated.

        Other threads may forget the regions at any time, so a call keeps those that it has got.
        """
        places = self._places or await self._found_places(request)
        if request.region in {None, places[0].region}:
            return places
        return ()

    async def _found_places(self, request: SecretRequest) -> tuple[Place, ...]:
        """Find the primary region, and keep it with the replica regions for all calls."""
        before = self._times_forgotten
        default = await self._gateway.region(request._replace(region=None))
        places = self._places_from(default)
        with bookkeeping:
            # All threads share the health of the regions.
            places = self._places or places
            # What was found before `forget` may be old.
            if before == self._times_forgotten:
                self._places = places
            warn = self._warn
            self._warn = None
        if warn is not None:
            self._warn_of_unlisted(warn)
        return places

    def _places_from(self, primary_region: Region) -> tuple[Place, ...]:
        primary = Place(primary_region, self._new_health())
        replicas = [
            Place(region, self._new_health(), primary)
            for region in self._replica_regions
            # A service that runs in several regions can have the same list in each of them.
            if region != primary_region
        ]
        return (primary, *replicas)

    def _new_health(self) -> RegionHealth:
        return RegionHealth(self._clock, self._timeout)

    def _warn_of_unlisted(self, warn: Callable[[str], None]) -> None:
        for region in self._replica_regions:
            hint = ""
            # A hint must not break a read, whatever is in botocore's data.
            with contextlib.suppress(Exception):
                hint = hint_if_unlisted(region.name)
            if hint:
                warn(f"replica_regions: {hint}")

    async def _first_answer(
        self,
        places: tuple[Place, ...],
        request: SecretRequest,
        ask: Ask[R],
    ) -> R:
        """Ask one region after the other, the primary one first, until one answers.

        Regions that are left alone are asked last, if no other region has answered. When a region
        is asked, the time that is left is divided equally among it and the regions that may follow.

        Raises the error of the primary region.
        """
        loop = running_loop()
        end = loop.time() + self._timeout
        read = Read(places[0], request, self._reports)
        queue = deque(places)
        postponed: list[Place] = []
        while queue:
            place = queue.popleft()
            if read.refuses(place):
                continue
            admission = place.health.admit()
            if admission is None and place not in postponed:
                postponed.append(place)
                queue.append(place)
                continue

            seconds = end - loop.time()
            if seconds <= 0 and read.has_failed:
                break
            limits = Limits(seconds, share=1 / (1 + len(queue)))
            call = ask(place, limits)
            admission = admission or place.health.admit_anyway()
            answer = await read.answer_from(place, admission, call, limits)
            if answer is not None:
                return answer
        raise read.error()

    # Answers

    def _checked(self, place: Place, request: SecretRequest, secret: Secret) -> Secret | NoAnswer:
        """Return the secret that a region answered, unless it is older or another one."""
        if place.is_primary:
            self._versions.note(request, secret)
            return secret
        put_arn(secret, _primary_arn(place, secret))
        if self._versions.is_another(secret):
            return NoAnswer(_ANOTHER_ONE)
        if self._versions.accept(request, secret):
            return secret
        return NoAnswer(_AN_OLDER_VERSION)

    def _checked_batch(
        self,
        place: Place,
        requests: Sequence[SecretRequest],
        answers: dict[str, Secret | CredentialsError],
    ) -> dict[str, Secret | CredentialsError]:
        """Return the outcomes by the identifiers of the primary region."""
        found: dict[str, Secret | CredentialsError] = {}
        for request in requests:
            asked = place.request(request)
            if asked.secret_name in answers:
                outcome = self._checked_outcome(place, request, answers[asked.secret_name])
                found[request.secret_name] = outcome
        return found

    def _checked_outcome(
        self,
        place: Place,
        request: SecretRequest,
        outcome: Secret | CredentialsError,
    ) -> Secret | CredentialsError:
        """Return one outcome of a batch. A replica's error isn't the primary's answer."""
        if not isinstance(outcome, CredentialsError):
            checked = self._checked(place, request, outcome)
            if not isinstance(checked, NoAnswer):
                return checked
            reason = checked.reason
        elif place.is_primary:
            return outcome
        else:
            reason = type(outcome).__name__
        return unanswered(place.primary, request, {place.region.name: reason})


def _primary_arn(place: Place, answer: Secret | SecretDescription) -> str:
    """Return the ARN of the primary. An emulator's ARN may name another region."""
    if region_in(answer.arn) != answer.region:
        return answer.arn
    return in_region(answer.arn, place.primary.region.name)
