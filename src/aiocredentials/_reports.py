"""What the cache reports becomes events for the pool's listener, and lines in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from aiocredentials._loops import bookkeeping
from aiocredentials.events import (
    Evicted,
    Fetched,
    FetchFailed,
    Listener,
    Refreshed,
    RefreshFailed,
    Rotated,
    SecretEvent,
    ServedStale,
    tell,
)

if TYPE_CHECKING:
    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._secret import Secret
    from aiocredentials.errors import CredentialsError

logger = logging.getLogger("aiocredentials")

# More failing secrets than this aren't told apart: the oldest may be logged once more.
_MOST_FAILING = 1024


class Reporter:
    """Tells a listener of everything, and the log what somebody on call must know: once, until it changes."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self._failing: dict[tuple[str, str], set[type[CredentialsError]]] = {}
        """By secret and region, which kinds of error came since the last success."""

    def __call__(
        self,
        what: str,
        key: Any,  # noqa: ANN401 (the cache's keys are any hashables)
        *,
        value: Secret | None = None,
        error: CredentialsError | None = None,
        refresh: bool = False,
        before: Any = None,  # noqa: ANN401 (a version is what version_of made it)
        age: float = 0.0,
        duration: float = 0.0,
    ) -> None:
        """Take a report of the cache."""
        asked = cast("SecretRequest", key)
        name = asked.secret_name if value is None else value.name
        region = asked.region_name or ("" if value is None else value.region)
        version = "" if value is None else value.version_id
        facts: dict[str, Any] = {
            "secret_name": name,
            "region_name": region,
            "version_stage": asked.version_stage,
        }
        event: SecretEvent
        match what:
            case "fetched":
                event = Fetched(**facts, version_id=version, duration=duration)
                self._recovered(name, region)
            case "refreshed":
                event = Refreshed(**facts, version_id=version, duration=duration)
                self._recovered(name, region)
            case "rotated":
                event = Rotated(**facts, version_id=version, previous_version_id=before[1])
            case "stale":
                event = ServedStale(**facts, version_id=version, age=age)
            case "failed":
                failure = cast("CredentialsError", error)
                kind = RefreshFailed if refresh else FetchFailed
                event = kind(**facts, error=failure, duration=duration)
                if refresh:
                    self.warn(name, region, failure)
            case _:
                event = Evicted(**facts)
        tell(self._listener, event)

    def warn(self, name: str, region: str, error: CredentialsError) -> None:
        """Log that a secret can't be kept current: once per kind of error, until it is fetched again."""
        with bookkeeping:
            if (name, region) not in self._failing and len(self._failing) >= _MOST_FAILING:
                del self._failing[next(iter(self._failing))]
            kinds = self._failing.setdefault((name, region), set())
            is_news = type(error) not in kinds
            kinds.add(type(error))
        if is_news:
            kind = type(error).__name__
            logger.warning("Secret %r in %r: a refresh failed (%s): %s", name, region, kind, error)

    def _recovered(self, name: str, region: str) -> None:
        with bookkeeping:
            kinds = self._failing.pop((name, region), None)
        if kinds is not None:
            logger.info("Secret %r in %r: refreshed again", name, region)
