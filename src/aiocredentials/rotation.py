"""Connect while a password is being rotated, and react to each new version of a secret.

No database library is imported here: a connection is the object that `connect` returns, and an
authentication error is an error that `is_auth_error` recognizes. The adapters in
`aiocredentials.integrations` are built on this module.
"""

# `connect_through_rotation` first attempts to connect with the version that the server most likely
# accepts. If the server refuses its password, `_Connecting._retry_after_refusal` makes the further
# attempts.

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from typing import TYPE_CHECKING, Generic, NoReturn, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

from aiocredentials._arguments import seconds
from aiocredentials._loops import PerLoop, forgetting
from aiocredentials._rotation.budget import Budget
from aiocredentials._rotation.labels import LabelledVersions
from aiocredentials._rotation.naming import (
    naming_of,
    own_advice,
    subject_of,
    version_of,
    with_advice,
)
from aiocredentials._rotation.news import RotatingSecret, rotations_watched, wait_for_news
from aiocredentials._rotation.refusals import is_auth_error, remove_passwords
from aiocredentials._rotation.verdicts import Verdicts
from aiocredentials._rotation.waits import CREDENTIALS, SEARCH, SERVER, current_wait
from aiocredentials._rotation.words import words_of
from aiocredentials.errors import SecretFormatError

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

# The result of an attempt: the connection, or None if the server refused the version.
Made: TypeAlias = tuple[R] | None

logger = logging.getLogger("aiocredentials")

OTHER_STAGES = ("AWSPENDING", "AWSPREVIOUS")

_ADVICE = "Compare its user and password with the server's."

# The verdicts for a manager live as long as the manager.
_verdicts_of: WeakKeyDictionary[object, PerLoop[Verdicts]] = WeakKeyDictionary()
# A verdict holds the version. Without verdicts, the next refusal begins a new search.
forgetting.append(_verdicts_of.clear)


async def connect_through_rotation(
    manager: RotatingSecret[C],
    connect: Callable[[C], Awaitable[R]],
    *,
    budget: float | timedelta = 60.0,
    is_auth_error: Callable[[BaseException], bool] = is_auth_error,
    stages: Sequence[str] = OTHER_STAGES,
) -> R:
    """Return the result of `connect(credentials)`, also while a rotation is under way.

    If the server refuses the credentials, their version is invalidated and the secret is fetched
    again. If the server refuses the current version too, the versions with other staging labels are
    tried, because some rotations change the server before they move AWSCURRENT, others afterwards.
    Between two rounds of attempts there is a pause, which ends at once when a new version is
    fetched. The pause grows with the time for which the server has refused every version: about 20
    logins in the first minute, half as many in each later minute. One caller at a time searches,
    and the others wait for its result. So any number of connections that fail together cause one
    refresh per version.

    User and password always come from the same version. The first refusal of a version is logged as
    a warning, with the server's answer.

    Example:
        ```python
        import asyncmy

        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.rotation import connect_through_rotation


        async def connect(credentials: DatabaseCredentials) -> asyncmy.Connection:
            return await asyncmy.connect(
                host="db.example",
                user=credentials.username,
                password=credentials.password,
            )


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as pool:
                manager = pool.manager("prod/database", decode=DatabaseCredentials.from_json)
                connection = await connect_through_rotation(manager, connect, budget=30)
        ```

    Args:
        manager: The manager of the secret.
        connect: Makes a connection from the credentials, or raises.
        budget: How long the search may take from the first refusal, in seconds or as a `timedelta`.
            An attempt that has begun is not interrupted.
        is_auth_error: Returns whether an error of `connect` means that the server refused the user
            or the password. Any other error is raised at once.
        stages: The other staging labels to try; `()` for none. A label for which
            secretsmanager:GetSecretValue isn't allowed is skipped.

    Returns:
        The result of `connect`.

    Raises:
        Exception: The error of `connect`. When the budget is spent, it is the last refusal, with a
            note that names the versions that were tried, and with another note if no newer version
            could be fetched meanwhile.
        CredentialsError: The secret is unavailable. The call needs secretsmanager:GetSecretValue.
        TypeError: `budget` isn't a duration, or `stages` is one string.
        ValueError: `budget` isn't positive.
    """
    budget_in_seconds = seconds(budget, "budget")
    if isinstance(stages, str):
        raise TypeError(f"stages is a string: give a tuple of staging labels, as in ({stages!r},).")

    per_loop = _verdicts_of.get(manager)
    if per_loop is None:
        per_loop = _verdicts_of.setdefault(manager, PerLoop(Verdicts))

    connecting = _Connecting(
        per_loop.get(),
        manager,
        connect,
        is_auth_error,
        stages,
        budget=Budget(budget_in_seconds),
    )
    return await connecting.run()


class _Connecting(Generic[C, R]):
    """One call of `connect_through_rotation`."""

    def __init__(
        self,
        verdicts: Verdicts,
        manager: RotatingSecret[C],
        connect: Callable[[C], Awaitable[R]],
        is_auth_error: Callable[[BaseException], bool],
        stages: Sequence[str],
        *,
        budget: Budget,
    ) -> None:
        self._verdicts = verdicts
        self._manager = manager
        self._connect = connect
        self._is_auth_error = is_auth_error
        self._budget = budget
        self._versions = LabelledVersions(manager, stages, budget)

        self._tried: set[str] = set()
        """The versions that were tried in this round of a search."""
        self._refused_here: dict[str, None] = {}
        """The versions that the server refused in this call, in their order."""
        self._refusal: Exception | None = None
        self._refused: Secret | None = None
        """The version that the server refused last."""

        self._cancelled_before = _cancellations()
        self._wait = current_wait()
        """The wait of the caller that this call is for."""

    async def run(self) -> R:
        """Attempt to connect until the server accepts a version, or the budget is spent."""
        verdicts = self._verdicts
        self._wait.what = CREDENTIALS
        if verdicts.searching.locked():
            # Another caller searches, and has invalidated the cached version. So this call may wait
            # for that caller's fetch, and the budget begins now.
            self._budget.start()

        while True:
            findings = verdicts.findings
            likely_version = verdicts.fetch_likely_version(self._manager)
            secret = await self._budget.wait_for(likely_version)
            if secret is None and self._refusal is not None:
                self._give_up()
            # If the budget is spent before the first attempt, the current version is tried once,
            # because there must be a refusal to raise.
            version = secret or cast("Secret", verdicts.current)
            made = await self._attempt(version)
            if made is not None:
                return made[0]
            if secret is None:
                self._give_up()

            made = await self._retry_after_refusal(version, findings)
            if made is not None:
                return made[0]

    async def _retry_after_refusal(self, version: Secret, findings: int) -> Made[R]:
        """Search for a version that the server accepts, one caller at a time.

        Return None if another caller found a version while this one tried or waited: then `run`
        begins again.
        """
        verdicts = self._verdicts
        acquire = verdicts.searching.acquire()
        is_acquired = await self._budget.wait_for(acquire)
        if not is_acquired:
            self._give_up()
        try:
            if findings == verdicts.findings:
                return await self._search(version)
        finally:
            verdicts.searching.release()

        if self._budget.is_spent():
            self._give_up()
        return None

    async def _search(self, refused: Secret) -> tuple[R]:
        """Try all versions, again and again, until one is accepted or the budget is spent."""
        self._tried = {refused.version_id}
        # The versions that have ended a pause. Each of them ends one pause only.
        heard: set[str] = set()
        while True:
            made = await self._try_each_version()
            if made is not None:
                return made

            pause = self._verdicts.pause()
            remaining = self._budget.remaining()
            pause = min(pause, remaining)
            known = heard.union(self._refused_here)
            news = await wait_for_news(self._manager, pause, known)
            if self._budget.is_spent():
                self._give_up()
            if news is not None:
                heard.add(news)
            self._tried.clear()

    async def _try_each_version(self) -> Made[R]:
        """Try each version once that wasn't tried in this round."""
        accepted = self._verdicts.accepted
        # If the server refused the accepted version in this call, it is tried again only if it is
        # the current one.
        if accepted is not None and accepted.version_id not in self._refused_here:
            made = await self._try(accepted)
            if made is not None:
                return made

        for version_id in self._refused_here:
            self._manager.invalidate(if_version=version_id)
        current = await self._versions.fetch(None)
        if current is not None:
            made = await self._try(current)
            if made is not None:
                return made

        for label in self._versions.take_labels_to_ask(current):
            secret = await self._versions.fetch(label)
            if secret is None:
                continue
            # A version that is AWSPENDING may be malformed. That is no reason to end the search.
            with contextlib.suppress(SecretFormatError):
                made = await self._try(secret)
                if made is not None:
                    return made
        return None

    async def _try(self, secret: Secret) -> Made[R]:
        """Attempt to connect with a version, unless it was tried or the budget is spent."""
        version_id = secret.version_id
        if version_id in self._tried:
            return None
        if self._budget.is_spent():
            return None
        self._tried.add(version_id)
        return await self._attempt(secret)

    async def _attempt(self, secret: Secret) -> Made[R]:
        """Connect with a version, and note the server's verdict."""
        number = self._verdicts.begin_attempt()
        self._wait.what = SERVER
        try:
            # No local variable holds the credentials, because a traceback may show them.
            connection = await self._connect(self._manager.decoded(secret))
        except asyncio.CancelledError as error:
            # psycopg closes the socket of an attempt when no frame holds the attempt any more.
            traceback.clear_frames(error.__traceback__)
            raise
        except Exception as error:
            remove_passwords(error)
            self._wait.note_failure(error, secret)
            is_refusal = self._is_auth_error(error)
            if not is_refusal:
                raise
            # Only for Python 3.11: asyncio.wait_for, by which drivers connect, may swallow a
            # cancellation there.
            is_cancelled = _cancellations() > self._cancelled_before
            if is_cancelled:
                raise asyncio.CancelledError from None
            self._note_refusal(secret, number, error)
            self._wait.what = SEARCH
            return None

        self._wait.note_success()
        self._verdicts.accept(secret, number)
        if self._refused_here:
            subject = subject_of(self._manager, secret)
            version = version_of(self._manager, secret)
            logger.info("%s: %s is accepted", subject, version)
        return (connection,)

    def _note_refusal(self, secret: Secret, number: int, error: Exception) -> None:
        self._refusal = error
        self._refused_here[secret.version_id] = None
        self._refused = secret
        self._budget.start()
        advice = own_advice(self._manager)
        self._wait.note_advice(advice)
        is_first = self._verdicts.refuse(secret, number)
        if is_first:
            logger.warning(
                "%s: the server refused %s. It answered: %s",
                subject_of(self._manager, secret),
                version_of(self._manager, secret),
                with_advice(words_of(error, secret), advice),
            )

    def _give_up(self) -> NoReturn:
        """Raise the last refusal, with a note that names the versions that were tried."""
        # The traceback of the error holds this object, so this object must not hold the error.
        refusal = cast("Exception", self._refusal)
        self._refusal = None
        refusal.add_note(self._note())
        failure = self._versions.failure
        if failure:
            # In this case, the advice in the first note may not help.
            refusal.add_note(f"The server may expect a newer version. None was fetched: {failure}")
        try:
            raise refusal
        finally:
            del refusal

    def _note(self) -> str:
        secret = cast("Secret", self._refused)
        subject = subject_of(self._manager, secret)
        each = naming_of(self._manager).each
        region = secret.region
        limit = self._budget.seconds
        advice = own_advice(self._manager) or _ADVICE
        version_ids = map(repr, self._refused_here)
        tried = ", ".join(version_ids)
        return (
            f"{subject} in {region!r}: "
            f"for {limit:g} s the server refused {each} that was tried: {tried}. {advice}"
        )


def _cancellations() -> int:
    """Return how often the running task was cancelled."""
    task = asyncio.current_task()
    return cast("asyncio.Task[object]", task).cancelling()
