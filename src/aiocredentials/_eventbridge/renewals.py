"""The refreshes that events ask for: each begins after a random delay, and duplicates share one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from aiocredentials._eventbridge.events import Kind, account_in
from aiocredentials._held import held_under, held_version, keys_of, lifetime_of, renew
from aiocredentials._identifiers import same_secret
from aiocredentials.errors import CredentialsError, PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._eventbridge.events import SecretChange
    from aiocredentials._held import Held
    from aiocredentials._secret import Lifetime
    from aiocredentials._store import SecretStore

logger = logging.getLogger("aiocredentials")

# So many events are remembered, to log each failed rotation once.
_MOST_EVENTS = 64


class _Waiting(NamedTuple):
    """A refresh that hasn't begun yet."""

    task: asyncio.Task[bool]
    wanted: set[str | None]
    """The versions that the events have named; None for an event that names none."""


class Renewals:
    """Acts on events: finds the cached values that an event concerns, and refreshes them.

    Args:
        store: The store of the pool.
        spread: The longest delay of a refresh, in seconds.
        rng: Returns a random number from 0 to 1.
    """

    def __init__(
        self,
        store: SecretStore,
        spread: float,
        rng: Callable[[], float],
    ) -> None:
        self._store = store
        self._spread = spread
        self._rng = rng
        self._waiting: dict[SecretRequest, _Waiting] = {}
        self.tasks: set[asyncio.Task[bool]] = set()
        """The refreshes that haven't ended. If one is cancelled, its fetch continues."""
        self._failed_rotations: dict[str, None] = {}

    def act(self, change: SecretChange) -> list[asyncio.Task[bool]]:
        """Act on an event; return the refreshes to wait for.

        Each of them returns whether the event is handled. If not, it should come again.
        """
        if change.kind is Kind.OTHER:
            return []
        keys = self._keys_of(change)
        held = [one for one in held_under(self._store, keys) if _is_meant(change, one)]
        if change.kind is Kind.FAILED:
            self._warn(change, held)
            return []
        if change.kind is Kind.GONE:
            self._forget(change, keys, held)
            return []
        return self._refresh(change, held)

    def _keys_of(self, change: SecretChange) -> list[SecretRequest]:
        keys: list[SecretRequest] = []
        for identifier in (change.arn, change.name):
            if identifier is not None:
                keys += keys_of(self._store, identifier, change.region)
        return keys

    def _forget(
        self,
        change: SecretChange,
        keys: list[SecretRequest],
        held: list[Held],
    ) -> None:
        """Invalidate a secret that was deleted or restored."""
        # A key without a value may have a failure, which is over if the secret was restored.
        by_arn = [key for key in keys if key.secret_name == change.arn]
        by_name = [one.key for one in held if _is_same_secret(change, one)]
        for key in {*by_arn, *by_name}:
            self._store.invalidate(key)

    def _refresh(self, change: SecretChange, held: list[Held]) -> list[asyncio.Task[bool]]:
        refreshes: dict[SecretRequest, asyncio.Task[bool]] = {}
        for one in held:
            key = one.renewal_key
            if not _is_same_secret(change, one):
                # The secret was deleted, and another one has its name now.
                self._store.invalidate(one.key)
            elif _is_concerned(change, one):
                refreshes[key] = self._joined(key, change.version_id)
        return list(refreshes.values())

    def _joined(self, key: SecretRequest, version_id: str | None) -> asyncio.Task[bool]:
        """Return the refresh of a key that hasn't begun yet; make one if there is none."""
        waiting = self._waiting.get(key)
        if waiting is None:
            wanted: set[str | None] = set()
            task = asyncio.create_task(
                self._refresh_later(key, wanted),
                name="aiocredentials.rotation_queue_watched: refresh",
            )
            waiting = _Waiting(task, wanted)
            self._waiting[key] = waiting
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        waiting.wanted.add(version_id)
        return waiting.task

    async def _refresh_later(self, key: SecretRequest, wanted: set[str | None]) -> bool:
        try:
            await asyncio.sleep(self._spread * self._rng())
        finally:
            # An event from now on needs another refresh, because this one may miss its version.
            del self._waiting[key]

        lifetime = self._lifetime_of_other(key, wanted)
        if lifetime is None:
            return True
        try:
            error = await renew(self._store, key, lifetime)
        except PoolClosedError as closed:
            error = closed
        # The pool has logged a failure.
        return _is_final(error)

    def _lifetime_of_other(self, key: SecretRequest, wanted: set[str | None]) -> Lifetime | None:
        """Return the lifetime of a cached value that isn't the version that is wanted.

        Return None if the value was invalidated, or if that version was fetched meanwhile. The
        value itself is no local variable of a task that waits.
        """
        secret = held_version(self._store, key)
        if secret is None or wanted == {secret.version_id}:
            return None
        return lifetime_of(secret)

    def _warn(self, change: SecretChange, held: list[Held]) -> None:
        """Log a failed rotation of a secret that the pool holds: once per event."""
        event_id = change.event_id or ""
        if not held or event_id in self._failed_rotations:
            return
        if event_id:
            self._failed_rotations[event_id] = None
        if len(self._failed_rotations) > _MOST_EVENTS:
            oldest = next(iter(self._failed_rotations))
            del self._failed_rotations[oldest]
        secret = held[0].secret
        logger.warning(
            "Secret %r in %r: AWS reports that its rotation failed. "
            "Look at the log of its rotation function.",
            secret.name,
            change.region,
        )


def _is_meant(change: SecretChange, held: Held) -> bool:
    """Return whether a value belongs to the secret of an event, or to one of the same name.

    Secrets of other accounts may have the same name.
    """
    is_by_arn = held.key.secret_name == change.arn
    return is_by_arn or account_in(held.secret.arn) == change.account


def _is_same_secret(change: SecretChange, held: Held) -> bool:
    if change.arn is None:
        return True
    return same_secret(change.arn, held.secret.name, held.secret.arn)


def _is_concerned(change: SecretChange, held: Held) -> bool:
    """Return whether a label of the event leads to the value, and to another version by now."""
    key = held.key
    if key.version_id is not None or key.version_stage not in change.labels:
        return False
    return held.secret.version_id != change.version_id


def _is_final(error: Exception | None) -> bool:
    """Return whether a refresh needn't be repeated: it has succeeded, or would fail again."""
    if error is None:
        return True
    if isinstance(error, PoolClosedError) or not isinstance(error, CredentialsError):
        return False
    return not error.transient
