"""Reports of the cache become events for the pool's listener, and lines in the log."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiocredentials._listeners import report_event
from aiocredentials._loops import bookkeeping

if TYPE_CHECKING:
    from typing import TypeAlias

    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._aws.roles import Role
    from aiocredentials._secret import Secret
    from aiocredentials.errors import CredentialsError
    from aiocredentials.events import FetchFailed, Listener, RefreshFailed, SecretEvent

    _Subject: TypeAlias = tuple[str, str, Role | None]

logger = logging.getLogger("aiocredentials")

# After these reports, a secret whose refreshes failed has recovered.
_RECOVERED = ("fetched", "refreshed")

# The reporter remembers this many failing secrets. With more, a warning may be logged once more.
_MOST_FAILING = 1024


class Reporter:
    """Passes each report to the listener, and logs failures and recoveries of refreshes.

    A kind of failure is logged once until the secret recovers.
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        if listener is not None:
            # Most pools have no listener, and so don't need the classes of the events. An import at
            # the first event could be half done in a child that another thread forks.
            importlib.import_module("aiocredentials.events")
        self._failing: dict[_Subject, set[type[CredentialsError]]] = {}
        """By secret, region and role: the kinds of error since the last success."""

    def __call__(
        self,
        word: str,
        key: Any,  # noqa: ANN401 (the cache's keys are any hashables)
        **facts: Any,  # noqa: ANN401 (the fields of a report)
    ) -> None:
        """Receive a report of the cache: a word, a key, and fields of `_Report`."""
        report = _Report(cast("SecretRequest", key), **facts)

        if word == "failed" and report.refresh:
            error = cast("CredentialsError", report.error)
            self.warn(report.secret_name, report.region_name, error, role=report.request.role)
        elif word in _RECOVERED:
            self._log_recovery(report)

        if self._listener is not None:
            report_event(self._listener, report.event(word))

    def warn(
        self,
        secret_name: str,
        region_name: str,
        error: CredentialsError,
        *,
        role: Role | None = None,
    ) -> None:
        """Log that a refresh failed, once per kind of error until the next success."""
        key = (secret_name, region_name, role)
        kind = type(error)
        with bookkeeping:
            is_full = len(self._failing) >= _MOST_FAILING
            if is_full and key not in self._failing:
                oldest = next(iter(self._failing))
                del self._failing[oldest]

            kinds = self._failing.setdefault(key, set())
            is_news = kind not in kinds
            kinds.add(kind)

        if is_news:
            # The region isn't known if finding it has failed.
            where = f" in {region_name!r}" if region_name else ""
            logger.warning(
                "Secret %r%s%s: a refresh failed (%s): %s",
                secret_name,
                where,
                _as(role),
                kind.__name__,
                error,
            )

    def failed_over(
        self,
        request: SecretRequest,
        replica_region: str,
        error: CredentialsError,
    ) -> None:
        """Report that reads go to a replica region. The request is located in the primary one."""
        logger.warning(
            "Region %r failed (%s): reads go to %r",
            request.region_name,
            type(error).__name__,
            replica_region,
        )
        if self._listener is not None:
            # It was imported with the listener.
            from aiocredentials import events  # noqa: PLC0415

            subject = _Report(request).subject()
            event = events.FailedOver(**subject, replica_region=replica_region, error=error)
            report_event(self._listener, event)

    def failed_back(self, request: SecretRequest) -> None:
        """Report that reads go to the primary region again."""
        logger.info("Region %r answers again: reads go to it", request.region_name)
        if self._listener is not None:
            from aiocredentials import events  # noqa: PLC0415 (imported with the listener)

            subject = _Report(request).subject()
            report_event(self._listener, events.FailedBack(**subject))

    def _log_recovery(self, report: _Report) -> None:
        role = report.request.role
        key = (report.secret_name, report.region_name, role)
        with bookkeeping:
            kinds = self._failing.pop(key, None)

        if kinds is not None:
            logger.info("Secret %r in %r%s: refreshed again", key[0], key[1], _as(role))


def _as(role: Role | None) -> str:
    """Return the words that name a role in a log line; none without a role."""
    if role is None:
        return ""
    return f" as {role.role_arn}"


class _Report(NamedTuple):
    """A report of the cache, which makes its event."""

    request: SecretRequest
    value: Secret | None = None
    error: CredentialsError | None = None
    refresh: bool = False
    before: tuple[str, str] | None = None
    """ARN and version id of the value that was replaced."""
    age: float = 0.0
    duration: float = 0.0

    @property
    def secret_name(self) -> str:
        if self.value is None:
            return self.request.secret_name
        return self.value.name

    @property
    def region_name(self) -> str:
        if self.request.region_name:
            return self.request.region_name
        if self.value is None:
            return ""
        return self.value.region

    def subject(self) -> dict[str, Any]:
        """Return the fields that all events have."""
        return {
            "secret_name": self.secret_name,
            "region_name": self.region_name,
            "version_stage": self.request.version_stage,
        }

    def _version(self) -> dict[str, Any]:
        """Return the fields of an event about one version."""
        secret = cast("Secret", self.value)
        return {**self.subject(), "version_id": secret.version_id}

    def event(self, word: str) -> SecretEvent:
        """Make the event for a listener, by the cache's word for its kind."""
        # `Reporter` has imported it.
        from aiocredentials import events  # noqa: PLC0415

        match word:
            case "fetched":
                return events.Fetched(**self._version(), duration=self.duration)
            case "refreshed":
                return events.Refreshed(**self._version(), duration=self.duration)
            case "rotated":
                _, previous = cast("tuple[str, str]", self.before)
                return events.Rotated(**self._version(), previous_version_id=previous)
            case "stale":
                return events.ServedStale(**self._version(), age=self.age)
            case "failed":
                return self._failure(events.RefreshFailed if self.refresh else events.FetchFailed)
            case _:
                return events.Evicted(**self.subject())

    def _failure(
        self,
        kind: type[FetchFailed | RefreshFailed],
    ) -> FetchFailed | RefreshFailed:
        error = cast("CredentialsError", self.error)
        return kind(
            **self.subject(),
            error=error,
            duration=self.duration,
        )
