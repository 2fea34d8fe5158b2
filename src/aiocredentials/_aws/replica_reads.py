"""One read of a secret that has replicas: the answer of each region, and its consequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from aiocredentials._loops import running_loop
from aiocredentials.errors import (
    AuthenticationError,
    CredentialsError,
    CredentialSourceError,
    EndpointUnreachableError,
    PoolClosedError,
    ThrottledError,
    for_caller,
    make_error,
    set_what,
    what_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiocredentials._aws.gateway import Limits
    from aiocredentials._aws.region_health import Admission, RegionHealth
    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.requests import SecretRequest

R = TypeVar("R")

LONG_WITHOUT_ANSWER = 1.0
"""Seconds. A caller that gives up a call after this time, or after half of the call's share if that
is less, has seen a failure of the region."""


class Reports(Protocol):
    """Reports to the log and the listener. `request` is located in the primary region."""

    def failed_over(
        self, request: SecretRequest, replica_region: str, error: CredentialsError
    ) -> None:
        """Report that reads go to a replica region."""
        ...

    def failed_back(self, request: SecretRequest) -> None:
        """Report that reads go to the primary region again."""
        ...


class Place:
    """A region that a secret can be read from. Without a `primary`, it is the primary region."""

    def __init__(self, region: Region, health: RegionHealth, primary: Place | None = None) -> None:
        self.region = region
        self.health = health
        self.is_primary = primary is None
        self._primary = primary

    @property
    def primary(self) -> Place:
        """The primary region."""
        return self._primary or self

    def request(self, request: SecretRequest) -> SecretRequest:
        """Return a request as this region understands it."""
        if self.is_primary:
            return request
        return request.in_region(self.region)


class NoAnswer(NamedTuple):
    """A replica's answer that can't be used. It doesn't count as a failure of the region."""

    reason: str


class Read:
    """One read, in one region after the other."""

    def __init__(self, primary: Place, request: SecretRequest, reports: Reports) -> None:
        self._primary = primary
        if request.region is None:
            request = request._replace(region=primary.region)
        # Otherwise the region has the caller's own source.
        self._request = request
        self._reports = reports
        self._error: CredentialsError | None = None
        """The error of the primary region."""
        self._replies: dict[str, str] = {}
        """Why each replica region that was asked has no answer."""

    @property
    def has_failed(self) -> bool:
        """Whether a region was asked, and has no answer."""
        return self._error is not None or bool(self._replies)

    def error(self) -> CredentialsError:
        """Return the error of a read that no region answered."""
        return unanswered(self._primary, self._request, self._replies, self._error)

    async def answer_from(
        self,
        place: Place,
        admission: Admission,
        call: Coroutine[Any, Any, R | NoAnswer],
        limits: Limits,
    ) -> R | None:
        """Make a call to a region; return None if the next region is to be asked.

        Raises an error that no other region would change.
        """
        try:
            answer = await call
        except CredentialsError as error:
            failure = error
        except BaseException:
            # The call was cancelled, or its loop was closed.
            self._note_end_without_answer(place, admission, limits)
            raise
        else:
            self._note_answer(place, admission)
            if isinstance(answer, NoAnswer):
                self._replies[place.region.name] = answer.reason
                return None
            self._report_failover(place)
            return answer

        self._note_failure(place, admission, failure)
        if place.is_primary:
            if not self._may_differ_elsewhere(failure):
                raise failure
            self._error = failure
        elif isinstance(failure, PoolClosedError) or self._is_throttled_batch(failure):
            raise for_caller(failure, **self._request.facts())
        else:
            self._note_reply(place, failure)
        return None

    def refuses(self, place: Place) -> bool:
        """Return whether a replica region has refused our AWS credentials not long ago.

        Asking it again would drop the clients of all regions, and load AWS credentials again. A
        region that the account hasn't enabled always refuses them.
        """
        refuses = place.health.refuses(self._request.role)
        if refuses:
            self._replies[place.region.name] = AuthenticationError.__name__
        return refuses

    def _note_reply(self, place: Place, failure: CredentialsError) -> None:
        """Note why a replica region has no answer."""
        self._replies[place.region.name] = type(failure).__name__
        if isinstance(failure, AuthenticationError) and _is_an_answer(failure):
            place.health.refused(self._request.role)

    def _may_differ_elsewhere(self, failure: CredentialsError) -> bool:
        """Return whether another region may answer where the primary region failed.

        AWS credentials are the same in all regions, but a role is assumed by the region's own STS.
        """
        if isinstance(failure, CredentialSourceError) and self._request.role is None:
            return False
        return failure.transient and not self._is_throttled_batch(failure)

    def _is_throttled_batch(self, failure: CredentialsError) -> bool:
        """Return whether the quota of batches is exceeded, which says nothing about single reads.

        The quota of single reads is 100 times as large, and each region has its own. So the error
        is raised, and `prefetch` reads the secrets singly. Batches in the replica region instead
        would soon exceed its quota, because a whole fleet is throttled at the same time.
        """
        is_batch = not self._request.secret_name
        return is_batch and isinstance(failure, ThrottledError)

    def _note_end_without_answer(
        self,
        place: Place,
        admission: Admission,
        limits: Limits,
    ) -> None:
        """Note a call that its caller gave up.

        If the caller has waited long enough for the region, it is a failure of the region.
        Otherwise a region that hangs would never fail for callers with little patience.
        """
        enough = min(LONG_WITHOUT_ANSWER, limits.seconds * limits.share / 2)
        now = running_loop().time()
        if limits.opened_at is None or now - limits.opened_at < enough:
            place.health.unknown(admission)
            return
        what = f"No answer from Secrets Manager within {enough:.3g} s: the caller gave up."
        failure = make_error(EndpointUnreachableError, what, **self._request.facts())
        place.health.failed(admission, failure)

    def _note_failure(self, place: Place, admission: Admission, failure: CredentialsError) -> None:
        if self._is_throttled_batch(failure):
            place.health.unknown(admission)
        elif _is_the_regions_fault(failure):
            place.health.failed(admission, failure)
        elif _is_an_answer(failure):
            self._note_answer(place, admission)
        else:
            place.health.unknown(admission)

    def _note_answer(self, place: Place, admission: Admission) -> None:
        is_news = place.health.answered(admission)
        if is_news and place.is_primary:
            self._report(self._reports.failed_back, self._request)

    def _report_failover(self, place: Place) -> None:
        if place.is_primary:
            return
        error = self._primary.health.outage_to_report()
        if error is not None:
            replica = place.region.name
            self._report(self._reports.failed_over, self._request, replica, error)

    def _report(self, report: Callable[..., None], *facts: object) -> None:
        """Report after the answer has reached the caller: a listener may raise an error."""
        running_loop().call_soon(report, *facts)


def unanswered(
    primary: Place,
    request: SecretRequest,
    replies: dict[str, str],
    error: CredentialsError | None = None,
) -> CredentialsError:
    """Return the primary region's error, with the replies of the replica regions.

    If the primary region wasn't asked, the error is the one for which it is left alone.
    """
    cause = cast("CredentialsError", error or primary.health.error)
    failure = for_caller(cause, **request.facts())
    listed = ", ".join(f"{region} ({reply})" for region, reply in replies.items())
    if listed:
        set_what(failure, f"{what_of(cause)} No replica region has an answer: {listed}.")
    return failure


def _is_the_regions_fault(error: CredentialsError) -> bool:
    """Return whether Secrets Manager fails in a region, and other reads would fail there as well.

    A region's STS doesn't count. It is asked once per role and hour, and other reads don't need it:
    once another region's STS has answered, reads through the role don't need it either.
    """
    return error.transient and not isinstance(error, CredentialSourceError)


def _is_an_answer(error: CredentialsError) -> bool:
    """Return whether Secrets Manager itself answered with an error."""
    return error.asked and error.code is not None


def is_refusal(error: CredentialsError) -> bool:
    """Return whether Secrets Manager refuses a call, and not our AWS credentials."""
    if error.transient or isinstance(error, AuthenticationError):
        return False
    return _is_an_answer(error)
