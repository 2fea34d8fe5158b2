"""What a listener is told: of fetches, refreshes, failures and rotations; never of values."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocredentials.errors import CredentialsError

logger = logging.getLogger("aiocredentials")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEvent:
    """Something that happened to one secret of a pool."""

    secret_name: str
    region_name: str
    version_stage: str | None = None
    """The staging label that was asked; None where a version id was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(SecretEvent):
    """A secret that wasn't cached came in."""

    version_id: str
    duration: float
    """Seconds from the start of the fetch to its end, waiting for its turn included; a batch's is that of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed(SecretEvent):
    """A secret that was cached came in again: the same version or a new one."""

    version_id: str
    duration: float
    """Seconds from the start of the fetch to its end, waiting for its turn included; a batch's is that of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated(SecretEvent):
    """Another version has become the one that is asked for; this follows `Fetched` or `Refreshed`."""

    version_id: str
    previous_version_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFailed(SecretEvent):
    """A secret that wasn't cached couldn't be fetched; those who asked get the error too."""

    error: CredentialsError
    duration: float
    """Seconds from the start of the fetch to its end, waiting for its turn included; a batch's is that of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFailed(SecretEvent):
    """A secret that is cached couldn't be refreshed; perhaps nobody but the listener learns of it."""

    error: CredentialsError
    duration: float
    """Seconds from the start of the fetch to its end, waiting for its turn included; a batch's is that of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedStale(SecretEvent):
    """A stale value was served, since a refresh failed or hangs. Told at each change, not with each read."""

    version_id: str
    age: float
    """Seconds since the fetch that brought it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted(SecretEvent):
    """A secret was dropped, since the pool holds `max_secrets` and this one was used longest ago."""


class Listener(Protocol):
    """Any callable that takes an event. It is called in the event loop: it must return at once, without waiting.

    A listener may have two more methods, `pool_opened(pool)` and `pool_closed(pool)`. A pool calls them once each, when
    it has opened (after its `prefetch`) and when it has closed. `OpenTelemetryListener` learns by them which pools it
    reports on.

    An exception from a listener is logged and affects neither callers nor other listeners. `KeyboardInterrupt` and
    `SystemExit` are raised again, in the event loop, after the callers have their result.
    """

    def __call__(self, event: SecretEvent, /) -> None:
        """Receive an event."""
        ...


def fan_out(*listeners: Listener) -> Listener:
    """Make one listener of several: each is called in this order, also if one before it raises.

    It passes `pool_opened` and `pool_closed` on to the listeners that have them.
    """
    return _FanOut(listeners)


class _FanOut:
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def __call__(self, event: SecretEvent, /) -> None:
        """Pass an event on."""
        self._each(tell, event)

    def pool_opened(self, pool: object, /) -> None:
        """Pass on that a pool has opened."""
        self._each(tell_opened, pool)

    def pool_closed(self, pool: object, /) -> None:
        """Pass on that a pool has closed."""
        self._each(tell_closed, pool)

    def _each(self, how: Callable[[Listener, Any], None], about: object) -> None:
        # The stack calls all of them, in the reverse order, also if one raises a KeyboardInterrupt.
        with ExitStack() as stack:
            for listener in reversed(self._listeners):
                stack.callback(how, listener, about)


def tell(listener: Listener | None, event: SecretEvent) -> None:
    """Call a listener. What it raises is logged, except for `KeyboardInterrupt` and `SystemExit`."""
    if listener is not None:
        _call(listener, event, type(event).__name__)


def tell_opened(listener: Listener | None, pool: object) -> None:
    """Call the `pool_opened` of a listener that has one, as `tell` calls the listener."""
    hook = getattr(listener, "pool_opened", None)
    if callable(hook):
        _call(hook, pool, "pool_opened")


def tell_closed(listener: Listener | None, pool: object) -> None:
    """Call the `pool_closed` of a listener that has one, as `tell` calls the listener."""
    hook = getattr(listener, "pool_closed", None)
    if callable(hook):
        _call(hook, pool, "pool_closed")


def _call(function: Callable[[Any], object], about: object, what: str) -> None:
    try:
        function(about)
    except (KeyboardInterrupt, SystemExit):
        # They end the program. Our callers have finished their bookkeeping by now.
        raise
    except BaseException:
        # Also what isn't an Exception: pytest.fail() and a cancellation are none, and no caller could handle them.
        logger.exception("A listener failed on %s", what)
