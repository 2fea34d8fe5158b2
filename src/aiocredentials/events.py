"""The events that a pool reports to its listener. No event contains the value of a secret."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aiocredentials._listeners import report_closed, report_event, report_opened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocredentials.errors import CredentialsError


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEvent:
    """The base class of all events. Each event is about one secret of a pool."""

    secret_name: str
    """The secret's name. It is the identifier that was asked if no fetch has succeeded."""
    region_name: str
    """The region of the secret. It is empty if the region isn't known."""
    version_stage: str | None = None
    """The requested staging label. It is None if a version id was requested instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(SecretEvent):
    """A secret that wasn't cached was fetched."""

    version_id: str
    """The id of the version that was fetched."""
    duration: float
    """Seconds from the start of the fetch to its end, including the wait for its turn.

    Each secret of a batch has the duration of the batch.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed(SecretEvent):
    """A secret that was cached was fetched again: the same version or a new one."""

    version_id: str
    """The id of the version that was fetched."""
    duration: float
    """Seconds from the start of the fetch to its end, including the wait for its turn.

    Each secret of a batch has the duration of the batch.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated(SecretEvent):
    """A fetch returned another version than the fetch before.

    This event follows the `Fetched` or `Refreshed` of that fetch.
    """

    version_id: str
    """The id of the version that was fetched."""
    previous_version_id: str
    """The id of the version that it replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFailed(SecretEvent):
    """A secret that wasn't cached couldn't be fetched. The callers get the error as well."""

    error: CredentialsError
    """The error, without the value of a secret."""
    duration: float
    """Seconds from the start of the fetch to its end, including the wait for its turn.

    Each secret of a batch has the duration of the batch.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFailed(SecretEvent):
    """A cached secret couldn't be refreshed.

    While callers are served the cached value, this event and the log are the only signs of it.
    """

    error: CredentialsError
    """The error, without the value of a secret."""
    duration: float
    """Seconds from the start of the fetch to its end, including the wait for its turn.

    Each secret of a batch has the duration of the batch.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedStale(SecretEvent):
    """A stale value was served, because a refresh failed or hangs.

    It is reported at the first such read while a refresh hangs, and at the first one after a
    refresh has failed, not at each read.
    """

    version_id: str
    """The id of the version that was served."""
    age: float
    """Seconds since the fetch of that version began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted(SecretEvent):
    """A secret was dropped from the cache.

    The pool held `max_secrets` secrets, and this one was the least recently used.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOver(SecretEvent):
    """The primary region failed, and a replica region answered: reads go there from now on.

    It is reported once per outage, with the secret whose read found the outage; the name is empty
    if that was a batch. `region_name` is the primary region.
    """

    replica_region: str
    """The region that answered."""
    error: CredentialsError
    """The error of the primary region, without the value of a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedBack(SecretEvent):
    """The primary region answers again, and reads go to it. It follows a `FailedOver`."""


class Listener(Protocol):
    """Any callable that accepts an event. It is called in the event loop, so it must not block.

    A listener may have two more methods, `pool_opened(pool)` and `pool_closed(pool)`. A pool calls
    each of them once: after it has opened (and after its `prefetch`), and after it has closed. With
    them, `OpenTelemetryListener` knows the pools that it reports on.

    If a listener raises an error, the error is logged, and has no effect on callers and other
    listeners. `KeyboardInterrupt` and `SystemExit` are raised again, in the event loop, after the
    callers have their results.

    Example:
        ```python
        from aiocredentials import CredentialsPool
        from aiocredentials.events import Rotated, SecretEvent

        def on_event(event: SecretEvent) -> None:
            if isinstance(event, Rotated):
                print(f"{event.secret_name} has the new version {event.version_id}")

        pool = CredentialsPool("eu-west-1", listener=on_event)
        ```
    """

    def __call__(self, event: SecretEvent, /) -> None:
        """Receive an event."""
        ...


def fan_out(*listeners: Listener) -> Listener:
    """Return one listener that passes each event on to several.

    The listeners are called in this order, also if one of them raises an error. `pool_opened` and
    `pool_closed` are passed on to the listeners that have these methods.

    Args:
        listeners: The listeners, in the order in which they are called.
    """
    return _FanOut(listeners)


class _FanOut:
    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def __call__(self, event: SecretEvent, /) -> None:
        """Pass an event on."""
        self._call_each(report_event, event)

    def pool_opened(self, pool: object, /) -> None:
        """Report an opened pool to the listeners."""
        self._call_each(report_opened, pool)

    def pool_closed(self, pool: object, /) -> None:
        """Report a closed pool to the listeners."""
        self._call_each(report_closed, pool)

    def _call_each(
        self,
        call: Callable[[Listener, Any], None],
        argument: object,
    ) -> None:
        # The stack makes all calls, in the reverse order, also if one raises a KeyboardInterrupt.
        with ExitStack() as stack:
            for listener in reversed(self._listeners):
                stack.callback(call, listener, argument)
