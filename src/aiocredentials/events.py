"""What a listener is told: of fetches, refreshes, failures and rotations; never of values."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
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
    """Any callable that takes an event. It is called in the event loop: it must return at once, and never wait."""

    def __call__(self, event: SecretEvent, /) -> None:
        """Take note of an event."""
        ...


def fan_out(*listeners: Listener) -> Listener:
    """Make one listener of several: each is told each event, in this order, also where one before it raises."""

    def listener(event: SecretEvent, /) -> None:
        for each in listeners:
            tell(each, event)

    return listener


def tell(listener: Listener | None, event: SecretEvent) -> None:
    """Call a listener; what it raises is logged, and hurts nobody."""
    if listener is not None:
        try:
            listener(event)
        except (Exception, asyncio.CancelledError):
            logger.exception("A listener failed on %s", type(event).__name__)
