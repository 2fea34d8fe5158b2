"""Act on a rotation: connect to a server whose password is being changed, and learn of each new version.

No database is imported here: a connection is whatever `connect` returns, an authentication error whatever
`is_auth_error` says. The adapters in `aiocredentials.integrations` are built on this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from contextlib import aclosing, asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from aiocredentials._loops import PerLoop, finish, running_loop
from aiocredentials._policy import seconds
from aiocredentials.errors import CredentialsError, PoolClosedError, SecretFormatError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
    from datetime import timedelta

    from aiocredentials._secret import Secret

__all__ = ["OTHER_STAGES", "RotatingSecret", "connect_through_rotation", "is_auth_error", "rotations_watched"]

C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
R = TypeVar("R")

logger = logging.getLogger("aiocredentials")

OTHER_STAGES = ("AWSPENDING", "AWSPREVIOUS")
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between two rounds of attempts
_PAUSE_SHARE = 0.25  # of the time since the search began: nobody waits much longer than the window was open
_RESUME = 60.0  # seconds until a secret is looked at again that can't be had

_POSTGRES_WORDS = re.compile(
    'password authentication failed|no password supplied|role ".*" (does not exist|is not permitted to log in)'
    "|SASL authentication failed|password that was provided for the role"  # PgBouncer; RDS Proxy
)
_MYSQL_CODES = {1044, 1045, 1698}  # access denied: to the database, with this password, without a password
_REDIS_CLIENTS = {"redis", "valkey", "coredis"}


class RotatingSecret(Protocol[C_co]):
    """What is needed of a manager: each `AsyncCredentialsManager` has it."""

    async def secret(self, *, version_stage: str | None = None) -> Secret:
        """Return the current version, or the one with another staging label."""
        ...

    def decoded(self, secret: Secret) -> C_co:
        """Return the credentials of a version."""
        ...

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget a version."""
        ...

    def changes(self) -> AsyncGenerator[Secret]:
        """Yield each new version."""
        ...


def is_auth_error(exception: BaseException) -> bool:
    """Say whether a server refused user or password: PostgreSQL, MySQL or Redis, whichever client library tells it.

    It looks at the exception, its causes, and what SQLAlchemy keeps as `.orig`: for an SQLSTATE of class 28, for
    PostgreSQL's words where psycopg has no SQLSTATE, for MySQL's 1044, 1045 and 1698, and for Redis's WRONGPASS and
    NOAUTH, which redis-py gives as `AuthenticationError`. A `CredentialsError` isn't one: that is about AWS.
    """
    return any(_is_refusal(each) for each in _chain(exception))


def _chain(exception: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was made from, each once: a chain can be a circle."""
    waiting: list[object] = [exception]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            waiting += [each.__cause__, getattr(each, "orig", None)]
            yield each


def _is_refusal(exception: BaseException) -> bool:
    if isinstance(exception, (CredentialsError, OSError)):
        return False
    code = getattr(exception, "errno", exception.args[0] if exception.args else None)
    if type(code) is int and code in _MYSQL_CODES:
        return True
    sqlstate = getattr(exception, "sqlstate", "")
    if isinstance(sqlstate, str) and sqlstate:
        return sqlstate.startswith("28")  # invalid authorization specification (PostgreSQL, appendix A)
    said = str(exception)
    if sqlstate is None and _POSTGRES_WORDS.search(said):
        return True
    kinds = {cls.__name__ for cls in type(exception).__mro__ if cls.__module__.partition(".")[0] in _REDIS_CLIENTS}
    return "AuthenticationError" in kinds or said.startswith(("WRONGPASS", "NOAUTH"))


class _Known:
    """What the attempts for one manager, in one event loop, have found out."""

    def __init__(self) -> None:
        self.searching = asyncio.Lock()
        self.findings = 0
        """How often it was found out which version the server takes."""
        self.accepted: Secret | None = None
        """The version that it took last."""
        self._accepted_by = -1
        self._refused: set[str] = set()
        """The versions that it refused, and hasn't taken since."""
        self._refusals = False
        self._attempts = count()

    async def likely(self, manager: RotatingSecret[Any]) -> Secret:
        """Return the current version; or the accepted one, if the current one is known to be refused."""
        current, accepted = await manager.secret(), self.accepted
        # What else was refused is of no use any more: there would be one a rotation, as long as the process lives.
        self._refused.intersection_update((current.version_id, accepted.version_id if accepted else ""))
        if accepted and current.version_id in self._refused and accepted.version_id not in self._refused:
            return accepted
        return current

    def begin(self) -> int:
        """Number an attempt."""
        return next(self._attempts)

    def refuse(self, secret: Secret, attempt: int) -> None:
        """Note that the server refused a version. That is old news if it took this one in a later attempt."""
        if self.accepted is None or self.accepted.version_id != secret.version_id or attempt > self._accepted_by:
            self._refused.add(secret.version_id)
            self._refusals = True

    def take(self, secret: Secret, attempt: int) -> bool:
        """Note that the server took a version; say whether that is news. An attempt that began earlier has none."""
        if attempt < self._accepted_by:
            return False
        changed = self.accepted is None or self.accepted.version_id != secret.version_id
        # Also that it takes the same as before, while it refuses another: `likely` returns this one from now on.
        self.findings += changed or self._refusals
        self._refusals = False
        self.accepted, self._accepted_by = secret, attempt
        self._refused.discard(secret.version_id)
        return changed


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
    """Return what `connect(credentials)` returns, also while the secret or the server's password is being changed.

    Where the server refuses the credentials, that version is forgotten and the secret fetched anew. While the current
    version is refused as well, those with other staging labels are tried: a rotation changes the server before it moves
    AWSCURRENT, or after. `stages=()` leaves these out. Between rounds of attempts there is a pause, which ends at once
    when a new version comes in. One caller at a time looks for what the server takes, and the others wait for its
    finding, so that any number of connections that fail together cost one refresh a version. This takes at most
    `budget`, in seconds or as a `timedelta`, from the first refusal; an attempt that was begun isn't cut.

    The credentials always are of one version, user and password alike. Raises what `connect` raises: at once if
    `is_auth_error` doesn't know it, else the last of it when the budget is spent, with a note on what was tried. Raises
    a `CredentialsError` if the secret can't be had, `TypeError` or `ValueError` for a budget that makes no sense. Needs
    secretsmanager:GetSecretValue; a label for which it isn't allowed is passed over.
    """
    limit = seconds(budget, "budget")
    known = _known.setdefault(manager, PerLoop(_Known)).get()
    return await _Connecting(known, manager, connect, is_auth_error, stages).run(limit)


class _Connecting(Generic[C, R]):
    """One call of `connect_through_rotation`. An attempt gives a connection as a tuple of one, or None if refused."""

    def __init__(
        self,
        known: _Known,
        manager: RotatingSecret[C],
        connect: Callable[[C], Awaitable[R]],
        is_auth_error: Callable[[BaseException], bool],
        stages: Sequence[str],
    ) -> None:
        self._known, self._manager, self._connect = known, manager, connect
        self._is_auth_error, self._stages = is_auth_error, stages
        self._refused: dict[str, None] = {}
        self._refusal: Exception | None = None
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelled_before = self._task.cancelling()

    async def run(self, limit: float) -> R:
        known, deadline = self._known, None
        while True:
            findings, secret = known.findings, await known.likely(self._manager)
            if made := await self._attempt(secret):
                return made[0]
            deadline = running_loop().time() + limit if deadline is None else deadline
            try:
                async with asyncio.timeout_at(deadline):
                    await known.searching.acquire()
            except TimeoutError:
                self._give_up(secret, limit)
            try:
                # Else another caller has found something while this one tried, or waited.
                if findings == known.findings:
                    if made := await self._search(secret.version_id, deadline):
                        return made[0]
                    self._give_up(secret, limit)
            finally:
                known.searching.release()
            if running_loop().time() >= deadline:
                self._give_up(secret, limit)

    async def _attempt(self, secret: Secret) -> tuple[R] | None:
        number = self._known.begin()
        try:
            made = (await self._connect(self._manager.decoded(secret)),)
        except Exception as error:
            if not self._is_auth_error(error):
                raise
            # Before Python 3.12, asyncio.wait_for, by which drivers connect, may swallow a cancellation.
            if self._task.cancelling() > self._cancelled_before:
                raise asyncio.CancelledError from None
            self._refusal = error
            self._refused[secret.version_id] = None
            self._known.refuse(secret, number)
            return None
        if self._known.take(secret, number) and self._refused:
            what = "/".join(secret.version_stages)
            logger.info("Secret %r: version %r (%s) is accepted", secret.name, secret.version_id, what)
        return made

    async def _search(self, version_id: str, deadline: float) -> tuple[R] | None:
        """Try the versions that there are, again and again, until one is taken or the time is up."""
        clock = running_loop().time
        began, tried = clock(), {version_id}
        while not (made := await self._round(tried)) and (now := clock()) < deadline:
            pause = min(max((now - began) * _PAUSE_SHARE, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            pause *= random.uniform(0.5, 1.0)  # noqa: S311 (it spreads a fleet, nothing more)
            await _wait_for_news(self._manager, min(pause, deadline - now))
            tried.clear()
        return made

    async def _round(self, tried: set[str]) -> tuple[R] | None:
        """Try each version once that isn't among those `tried`."""
        accepted = self._known.accepted
        if accepted is not None and accepted.version_id not in tried:
            tried.add(accepted.version_id)
            if made := await self._attempt(accepted):
                return made
        for version_id in self._refused:
            self._manager.invalidate(if_version=version_id)
        labels: tuple[str, ...] = ()  # of the current version, which needn't be fetched by these as well
        for stage in (None, *self._stages):
            secret = await self._labelled(stage) if stage not in labels else None
            labels = secret.version_stages if secret is not None and stage is None else labels
            if secret is not None and secret.version_id not in tried:
                tried.add(secret.version_id)
                # Whoever writes AWSPENDING may not have written it well: that isn't for us to raise.
                with contextlib.nullcontext() if stage is None else contextlib.suppress(SecretFormatError):
                    if made := await self._attempt(secret):
                        return made
        return None

    async def _labelled(self, stage: str | None) -> Secret | None:
        """Return the version that has the label; None if there is none, or none to be had now."""
        try:
            if stage is not None:
                return await self._manager.secret(version_stage=stage)
            return await self._manager.secret()
        except PoolClosedError:
            raise
        except CredentialsError as error:
            if stage is None and not error.transient:
                raise
            return None

    def _give_up(self, secret: Secret, limit: float) -> NoReturn:
        refusal, self._refusal = self._refusal, None  # the traceback of what is raised holds this object
        assert refusal is not None  # this is reached by refusals only  # noqa: S101
        refusal.add_note(
            f"Secret {secret.name!r} in {secret.region!r}: for {limit:g} s the server refused each version that was "
            f"tried: {', '.join(map(repr, self._refused))}. Compare its user and password with the server's."
        )
        try:
            raise refusal
        finally:
            del refusal


async def _wait_for_news(manager: RotatingSecret[Any], delay: float) -> None:
    """Wait, but not a moment longer than until a fetch by anybody brings a new version."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay):
            # RuntimeError: the manager has no policy, and so no cache that could tell.
            with contextlib.suppress(CredentialsError, RuntimeError):
                async with aclosing(manager.changes()) as changes:
                    await anext(changes)
                    return
            await asyncio.sleep(delay)


@asynccontextmanager
async def rotations_watched(
    manager: RotatingSecret[Any], act: Callable[[Secret], Awaitable[object]]
) -> AsyncGenerator[None]:
    """Await `act(secret)` with each new version while the block lasts: to renew what was made with the old one.

    A version isn't new that was there at the start. What `act` raises is logged, and the watching goes on; so it does
    when the secret can't be had. Needs a manager with a `policy`: without one there is nothing to compare with, which
    is logged as a warning. Needs secretsmanager:GetSecretValue.
    """
    task = asyncio.create_task(_watch(manager, act), name="aiocredentials.rotations_watched")
    try:
        yield
    finally:
        task.cancel()
        await finish([task])


async def _watch(manager: RotatingSecret[Any], act: Callable[[Secret], Awaitable[object]]) -> None:
    while True:
        try:
            async with aclosing(manager.changes()) as changes:
                async for secret in changes:
                    await _act(act, secret)
        except PoolClosedError:
            return
        except CredentialsError as error:
            logger.warning("Rotations are looked for again in %g s: %s", _RESUME, error)
            await asyncio.sleep(_RESUME)
        except RuntimeError as error:
            logger.warning("Rotations aren't watched: %s", error)
            return


async def _act(act: Callable[[Secret], Awaitable[object]], secret: Secret) -> None:
    try:
        await act(secret)
    except Exception:
        logger.exception("What was to be done on a rotation of secret %r failed", secret.name)
