"""Act on a rotation: connect while a password is being changed, and learn of each new version.

No database library is imported here: a connection is what `connect` returns, an authentication
error what `is_auth_error` recognizes. The adapters in `aiocredentials.integrations` build on this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast
from weakref import WeakKeyDictionary

from aiocredentials._arguments import seconds
from aiocredentials._loops import PerLoop, running_loop
from aiocredentials._rotation.news import RotatingSecret, rotations_watched, wait_for_news
from aiocredentials._rotation.refusals import is_auth_error, one_line, remove_passwords, words_of
from aiocredentials.errors import CredentialsError, PoolClosedError, SecretFormatError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import timedelta

    from aiocredentials._secret import Secret

__all__ = [
    "OTHER_STAGES",
    "RotatingSecret",
    "connect_through_rotation",
    "is_auth_error",
    "rotations_watched",
]

C = TypeVar("C")
R = TypeVar("R")
R2 = TypeVar("R2")

logger = logging.getLogger("aiocredentials")

OTHER_STAGES = ("AWSPENDING", "AWSPREVIOUS")

# Between two rounds of attempts there is a pause, in seconds. It is a share of the time for which
# the server has refused everything. So no caller waits longer than one and a half times as long as
# a window is open, and a server that refuses for good sees about 20 logins in the first minute.
_SHORTEST_PAUSE = 0.2
_LONGEST_PAUSE = 15.0
_PAUSE_SHARE = 0.5
_PAUSE_SPREAD = 0.75
# Other labels are asked for again after so many seconds, or when AWSCURRENT has moved.
_LABELS_PAUSE = 15.0
# Refusals that are more seconds apart don't belong together.
_STREAK_GAP = 2 * _LONGEST_PAUSE
# How many versions are remembered whose refusal was logged.
_LOGGED = 16


class _Known:
    """What the attempts for one manager, in one event loop, have found out."""

    def __init__(self) -> None:
        self.searching = asyncio.Lock()
        self.current: Secret | None = None
        """The version that was the current one when the secret was last read."""
        self.findings = 0
        """How often it was found out which version the server accepts."""
        self.accepted: Secret | None = None
        """The version that it accepted last."""
        self._accepted_by = -1
        self._refused: set[str] = set()
        """The versions that it refused, and hasn't accepted since."""
        self._refusals = False
        self._refused_since = float("-inf")
        self._refused_last = float("-inf")
        self._logged: deque[str] = deque(maxlen=_LOGGED)
        self._attempts = count()

    async def likely(self, manager: RotatingSecret[Any]) -> Secret:
        """Return the current version; or the accepted one, if the current one was refused."""
        current = await manager.secret()
        self.current = current
        accepted = self.accepted
        # Other refused versions are of no use any more: there would be one per rotation, as long as
        # the process lives.
        useful = (current.version_id, accepted.version_id if accepted else "")
        self._refused.intersection_update(useful)
        if accepted is None or accepted.version_id in self._refused:
            return current
        return accepted if current.version_id in self._refused else current

    def begin(self) -> int:
        """Number an attempt."""
        return next(self._attempts)

    def refuse(self, secret: Secret, attempt: int) -> bool:
        """Note that the server refused a version; return whether that must be logged.

        It is old news if the server accepted this version in a later attempt.
        """
        version_id = secret.version_id
        is_accepted = self.accepted is not None and self.accepted.version_id == version_id
        if is_accepted and attempt <= self._accepted_by:
            return False
        self._refused.add(version_id)
        self._refusals = True

        now = running_loop().time()
        if now - self._refused_last > _STREAK_GAP:
            self._refused_since = now
        self._refused_last = now

        is_news = version_id not in self._logged
        if is_news:
            self._logged.append(version_id)
        return is_news

    def accept(self, secret: Secret, attempt: int) -> None:
        """Note that the server accepted a version. An attempt that began earlier has no news."""
        if attempt < self._accepted_by:
            return
        version_id = secret.version_id
        is_other = self.accepted is None or self.accepted.version_id != version_id
        # It is a finding as well that the server accepts the same version as before, while it
        # refuses another one: `likely` returns this one from now on.
        self.findings += is_other or self._refusals
        self._refusals = False
        self._refused_last = float("-inf")
        self.accepted = secret
        self._accepted_by = attempt
        self._refused.discard(version_id)
        if version_id in self._logged:
            self._logged.remove(version_id)

    def pause(self) -> float:
        """Return how long the next pause is, in seconds. All callers share this pace."""
        refused_for = running_loop().time() - self._refused_since
        pause = min(max(refused_for * _PAUSE_SHARE, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        # It spreads a fleet, nothing more.
        return pause * random.uniform(_PAUSE_SPREAD, 1.0)  # noqa: S311


# By manager, and so as long as it lives.
_known: WeakKeyDictionary[object, PerLoop[_Known]] = WeakKeyDictionary()


async def connect_through_rotation(
    manager: RotatingSecret[C],
    connect: Callable[[C], Awaitable[R]],
    *,
    budget: float | timedelta = 60.0,
    is_auth_error: Callable[[BaseException], bool] = is_auth_error,
    stages: Sequence[str] = OTHER_STAGES,
) -> R:
    """Return what `connect(credentials)` returns, also while a rotation is under way.

    If the server refuses the credentials, that version is forgotten and the secret is fetched anew.
    While the current version is refused as well, the versions with other staging labels are tried:
    a rotation changes the server before it moves AWSCURRENT, or after. Between rounds of attempts
    there is a pause, which ends at once when a new version is fetched. It grows with the time for
    which the server has refused every version: about 20 logins in the first minute, half of that in
    each later one. One caller at a time searches and the others wait for its finding, so any number
    of connections that fail together cost one refresh per version.

    The credentials always are of one version, user and password alike. The first refusal of a
    version is logged as a warning, with the server's words.

    Args:
        manager: whose secret it is.
        connect: makes a connection, or raises.
        budget: how long the search may take from the first refusal, in seconds or as a `timedelta`.
            An attempt that has begun isn't cut.
        is_auth_error: whether an error of `connect` is a refusal of user or password. An error that
            isn't is raised at once.
        stages: the other staging labels to try; `()` leaves them out.

    Returns:
        What `connect` returned.

    Raises:
        Exception: what `connect` raises. If the budget is spent, the last refusal, with a note on
            what was tried.
        CredentialsError: if the secret is unavailable. Needs secretsmanager:GetSecretValue; a label
            for which that isn't allowed is passed over.
        TypeError: if `budget` is no duration.
        ValueError: if `budget` isn't positive.
    """
    limit = seconds(budget, "budget")
    per_loop = _known.get(manager) or _known.setdefault(manager, PerLoop(_Known))
    known = per_loop.get()
    return await _Connecting(known, manager, connect, is_auth_error, stages, limit=limit).run()


class _Connecting(Generic[C, R]):
    """One call of `connect_through_rotation`.

    An attempt returns the connection as a tuple of one, or None if it was refused.
    """

    def __init__(
        self,
        known: _Known,
        manager: RotatingSecret[C],
        connect: Callable[[C], Awaitable[R]],
        is_auth_error: Callable[[BaseException], bool],
        stages: Sequence[str],
        *,
        limit: float,
    ) -> None:
        self._known = known
        self._manager = manager
        self._connect = connect
        self._is_auth_error = is_auth_error
        self._stages = stages
        self._limit = limit
        self._deadline: float | None = None
        self._refused: dict[str, None] = {}
        self._refusal: Exception | None = None
        self._where = ""
        self._labels_of = ""
        self._labels_at = float("-inf")
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelled_before = self._task.cancelling()

    async def run(self) -> R:
        known = self._known
        if known.searching.locked():
            # The version that is cached was forgotten, so this may wait for that search's fetch.
            self._deadline = running_loop().time() + self._limit
        while True:
            findings = known.findings
            secret = await self._in_time(known.likely(self._manager))
            if secret is None and self._refusal is not None:
                self._give_up()
            # If the time is up, what was current is tried once, so there is a refusal to raise.
            if made := await self._attempt(secret or cast("Secret", known.current)):
                return made[0]
            if secret is None:
                self._give_up()
            if not await self._in_time(known.searching.acquire()):
                self._give_up()
            try:
                # Else another caller has found something while this one tried, or waited.
                if findings == known.findings:
                    if made := await self._search(secret.version_id):
                        return made[0]
                    self._give_up()
            finally:
                known.searching.release()
            if self._is_over():
                self._give_up()

    async def _in_time(self, awaitable: Awaitable[R2]) -> R2 | None:
        """Return the result; None if the budget is spent first."""
        limit = asyncio.timeout_at(self._deadline)
        try:
            async with limit:
                return await awaitable
        except TimeoutError:
            if not limit.expired():
                raise
            return None

    def _is_over(self) -> bool:
        return self._deadline is not None and running_loop().time() >= self._deadline

    async def _attempt(self, secret: Secret) -> tuple[R] | None:
        number = self._known.begin()
        try:
            made = (await self._connect(self._manager.decoded(secret)),)
        except Exception as error:
            remove_passwords(error)
            if not self._is_auth_error(error):
                raise
            # Before Python 3.12, asyncio.wait_for, by which drivers connect, may swallow a
            # cancellation.
            if self._task.cancelling() > self._cancelled_before:
                raise asyncio.CancelledError from None
            self._note_refusal(secret, number, error)
            return None
        self._known.accept(secret, number)
        if self._refused:
            logger.info("Secret %r: version %s is accepted", secret.name, _named(secret))
        return made

    def _note_refusal(self, secret: Secret, number: int, error: Exception) -> None:
        self._refusal = error
        self._refused[secret.version_id] = None
        self._where = f"Secret {secret.name!r} in {secret.region!r}"
        if self._deadline is None:
            self._deadline = running_loop().time() + self._limit
        if self._known.refuse(secret, number):
            message = "Secret %r: the server refused version %s. It said: %s"
            logger.warning(message, secret.name, _named(secret), words_of(error, secret))

    async def _search(self, version_id: str) -> tuple[R] | None:
        """Try the versions that there are, again and again, until one is accepted or time is up."""
        clock = running_loop().time
        deadline = cast("float", self._deadline)
        tried = {version_id}
        # News that have ended a pause end no other one, whatever becomes of them.
        heard: set[str] = set()
        while not (made := await self._round(tried)):
            pause = min(self._known.pause(), deadline - clock())
            news = await wait_for_news(self._manager, pause, heard.union(self._refused))
            if self._is_over():
                break
            heard.update(news)
            tried.clear()
        return made

    async def _round(self, tried: set[str]) -> tuple[R] | None:
        """Try each version once that isn't among those `tried`."""
        accepted = self._known.accepted
        if accepted is not None and accepted.version_id in self._refused:
            # It is tried again if it is the current one.
            accepted = None
        if accepted is not None and (made := await self._try(accepted, tried)):
            return made

        for version_id in self._refused:
            self._manager.invalidate(if_version=version_id)
        current = await self._labelled(None)
        if current is not None and (made := await self._try(current, tried)):
            return made

        for stage in self._stages_to_ask(current):
            secret = await self._labelled(stage)
            # The author of AWSPENDING may not have written it well: that isn't ours to raise.
            with contextlib.suppress(SecretFormatError):
                if secret is not None and (made := await self._try(secret, tried)):
                    return made
        return None

    async def _try(self, secret: Secret, tried: set[str]) -> tuple[R] | None:
        if secret.version_id in tried or self._is_over():
            return None
        tried.add(secret.version_id)
        return await self._attempt(secret)

    def _stages_to_ask(self, current: Secret | None) -> Sequence[str]:
        """Return the other labels, unless they were asked for a moment ago."""
        now = running_loop().time()
        version_id = current.version_id if current else ""
        if version_id == self._labels_of and now - self._labels_at < _LABELS_PAUSE:
            return ()
        self._labels_of = version_id
        self._labels_at = now
        # The current version needn't be fetched by its other labels as well.
        labels = current.version_stages if current else ()
        return [stage for stage in self._stages if stage not in labels]

    async def _labelled(self, stage: str | None) -> Secret | None:
        """Return the version that has the label; None if there is none, or it is unavailable."""
        manager = self._manager
        try:
            if stage is None:
                return await self._in_time(manager.secret())
            return await self._in_time(manager.secret(version_stage=stage))
        except PoolClosedError:
            raise
        except CredentialsError as error:
            if stage is None and not error.transient:
                raise
            if error.transient:
                # It wasn't answered, so the next round asks again.
                self._labels_at = float("-inf")
            return None

    def _give_up(self) -> NoReturn:
        # The traceback of what is raised holds this object.
        refusal = self._refusal
        self._refusal = None
        assert refusal is not None  # only a refusal leads here  # noqa: S101
        tried = ", ".join(map(repr, self._refused))
        refusal.add_note(
            f"{self._where}: for {self._limit:g} s the server refused each version that was tried: "
            f"{tried}. Compare its user and password with the server's."
        )
        try:
            raise refusal
        finally:
            del refusal


def _named(secret: Secret) -> str:
    return f"{secret.version_id!r} ({one_line('/'.join(secret.version_stages))})"
