"""The refreshes that events ask for: each begins after a random delay, and duplicates share one."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocredentials._eventbridge.events import Kind, account_in
from aiocredentials._held import (
    held_under,
    held_version,
    is_being_fetched,
    keys_of,
    lifetime_of,
    renew,
)
from aiocredentials._identifiers import may_be_the_same, same_secret
from aiocredentials.errors import CredentialsError, PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from datetime import datetime

    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._eventbridge.events import SecretChange
    from aiocredentials._held import Held
    from aiocredentials._secret import Lifetime
    from aiocredentials._store import SecretStore

logger = logging.getLogger("aiocredentials")

# The number of events that are remembered, to log each failed rotation once.
_MOST_EVENTS = 64
# The number of values whose newest event is remembered. A message that comes again adds its own.
_MOST_VALUES = 1024

# Seconds. How often to check whether a fetch has ended, because it may run in another thread; and
# for how long, because a message comes again after half a minute.
_LOOK_SECONDS = 0.1
_LONGEST_LOOK = 30.0


class _Waiting(NamedTuple):
    """A refresh that hasn't begun yet."""

    task: asyncio.Task[bool]
    wanted: set[str | None]
    """The versions that the events have named; None for an event that names none."""


class _Newest(NamedTuple):
    """The newest event of a value that has named a version."""

    time: datetime
    version_id: str


class Renewals:
    """Acts on events: finds the cached values that an event concerns, and refreshes them.

    An answer may be older than the event: that of a replica that lags, or of a cache on the way.
    So the newest event of a value decides, because events come in any order. If the value isn't
    the version that this event names, and was created before it, no event of the value is handled.
    A value that was created later is newer than the event, so an old event is handled.

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
        self._newest: dict[SecretRequest, _Newest] = {}

    def act(self, change: SecretChange) -> list[asyncio.Task[bool]]:
        """Act on an event; return the refreshes to wait for.

        Each of them returns whether the event is handled. If not, it should come again.
        """
        if change.kind is Kind.OTHER:
            return []
        keys = self._keys_of(change)
        held = self._held_of(change, keys)
        if change.kind is Kind.FAILED:
            self._warn(change, held)
            return []
        if change.kind is Kind.GONE:
            self._forget(change, keys, held)
            return []

        refreshes = self._refresh(change, held)
        now = self._store.cache.clock()
        if self._is_being_fetched(change, now):
            task = self._begun(self._refresh_after_fetches(change, now))
            refreshes.append(task)
        return refreshes

    def _held_of(self, change: SecretChange, keys: list[SecretRequest]) -> list[Held]:
        return [one for one in held_under(self._store, keys) if _is_meant(change, one)]

    def _is_being_fetched(self, change: SecretChange, before: float) -> bool:
        return is_being_fetched(self._store, partial(_may_concern, change), before)

    async def _refresh_after_fetches(self, change: SecretChange, before: float) -> bool:
        """Act on an event when the fetches from before it have ended: they may return old values.

        Return whether the event is handled: not if a fetch takes so long that SQS delivers the
        message again.
        """
        now = asyncio.get_running_loop().time
        end = now() + _LONGEST_LOOK
        while self._is_being_fetched(change, before):
            if now() >= end:
                return False
            await asyncio.sleep(_LOOK_SECONDS)

        refreshes = self._refresh(change, self._held_of(change, self._keys_of(change)))
        if refreshes:
            await asyncio.wait(refreshes)
        return all_have_succeeded(refreshes)

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
        if self._is_being_fetched(change, self._store.cache.clock()):
            # The values of these fetches aren't kept, but readers that wait for them get them.
            mark = (change.arn or change.name, change.region)
            self._store.cache.invalidate(marks=[mark])

    def _refresh(self, change: SecretChange, held: list[Held]) -> list[asyncio.Task[bool]]:
        refreshes: dict[SecretRequest, asyncio.Task[bool]] = {}
        for one in held:
            key = one.renewal_key
            if _is_under_label(change, key):
                self._note(change, key)
            if not _is_same_secret(change, one):
                # The secret was deleted, and another one has its name now.
                self._store.invalidate(one.key)
            elif _is_concerned(change, one):
                refreshes[key] = self._joined(key, change.version_id)
        return list(refreshes.values())

    def _note(self, change: SecretChange, key: SecretRequest) -> None:
        """Remember an event if it is the newest one of a value."""
        if change.time is None or change.version_id is None:
            return
        known = self._newest.pop(key, None)
        newest = _Newest(change.time, change.version_id)
        if known is not None and known.time >= newest.time:
            newest = known
        self._newest[key] = newest
        if len(self._newest) > _MOST_VALUES:
            oldest = next(iter(self._newest))
            del self._newest[oldest]

    def _is_old(self, key: SecretRequest) -> bool:
        """Return whether a value is older than the newest event of it."""
        newest = self._newest.get(key)
        secret = held_version(self._store, key)
        if newest is None or secret is None or secret.version_id == newest.version_id:
            return False
        created_at = secret.created_at
        # A time without a zone, of a client that isn't AWS's, can't be compared.
        if created_at is None or created_at.tzinfo is None:
            return False
        return created_at < newest.time

    def _joined(self, key: SecretRequest, version_id: str | None) -> asyncio.Task[bool]:
        """Return the refresh of a key that hasn't begun yet; make one if there is none."""
        waiting = self._waiting.get(key)
        if waiting is None:
            wanted: set[str | None] = set()
            task = self._begun(self._refresh_later(key, wanted))
            waiting = _Waiting(task, wanted)
            self._waiting[key] = waiting
        waiting.wanted.add(version_id)
        return waiting.task

    def _begun(self, work: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        task = asyncio.create_task(work, name="aiocredentials.rotation_queue_watched: refresh")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

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
        if error is None:
            return not self._is_old(key)
        # The pool has logged the failure.
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
            "Read the log of its rotation function.",
            secret.name,
            change.region,
        )


def all_have_succeeded(refreshes: Iterable[asyncio.Task[bool]]) -> bool:
    """Return whether all refreshes have ended, and none of them need be repeated."""
    return all(map(_has_succeeded, refreshes))


def _has_succeeded(task: asyncio.Task[bool]) -> bool:
    if task.cancelled() or task.exception() is not None:
        return False
    return task.result()


def _may_concern(change: SecretChange, key: SecretRequest) -> bool:
    """Return whether an event may concern a key whose value isn't known yet.

    If it doesn't after all, that costs no fetch, because the value is checked when it is known.
    """
    if key.region_name != change.region or not _is_under_label(change, key):
        return False
    identifiers = (change.arn, change.name)
    return any(one is not None and may_be_the_same(one, key.secret_name) for one in identifiers)


def _is_under_label(change: SecretChange, key: SecretRequest) -> bool:
    return key.version_id is None and key.version_stage in change.labels


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
    """Return whether a label of the event selects the value, and its version isn't current."""
    if not _is_under_label(change, held.key):
        return False
    return held.secret.version_id != change.version_id


def _is_final(error: Exception) -> bool:
    """Return whether a refresh that failed needn't be repeated, because it would fail again."""
    if isinstance(error, PoolClosedError) or not isinstance(error, CredentialsError):
        return False
    return not error.transient
