"""The longest time that a caller waits for a connection: the setting `max_wait` of the adapters.

`Waits` holds the limit of one pool, and reports what a caller waited for when its time was over. An
attempt to connect notes its progress in the `Wait` of its caller, which it finds in its context.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from aiocredentials._arguments import seconds
from aiocredentials._rotation.naming import with_advice
from aiocredentials._rotation.words import text_for_log, words_of
from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
    from datetime import timedelta
    from typing import Self, TypeAlias

    from aiocredentials._secret import Secret

    Task: TypeAlias = asyncio.Task[Any]

R = TypeVar("R")
ConnectionT = TypeVar("ConnectionT")

# What a caller waits for, for the error's message.
SLOT = "a free connection of the pool: each was in use or being made"
CREDENTIALS = "the credentials from AWS"
SERVER = "the server's answer"
SEARCH = "credentials that the server accepts"
CHECK = "the server's answer to the pool, which checks a connection before it lends it"

# How long the end of a pool's block waits for attempts that were cut, in seconds. Drivers end such
# an attempt at once.
_SETTLING = 5.0

_wait_here: ContextVar[Wait] = ContextVar("wait")


class Wait:
    """What a caller waits for, as its attempt to connect has noted it."""

    def __init__(self, waits: Waits | None, what: str, *, pool: Wait | None = None) -> None:
        """Begin with `what`; as long as it is `SLOT`, the caller waits for what its pool does."""
        self.what = what
        self._waits = waits
        self._pool = pool

    def subject(self) -> str:
        """Return what the caller waits for, for the error's message."""
        if self._pool is not None and self.what == SLOT:
            return self._pool.what
        return self.what

    def note_failure(self, error: Exception, secret: Secret) -> None:
        """Note that the server, or the way to it, refused a version of the secret."""
        if self._waits is not None:
            self._waits.reason = words_of(error, secret)

    def note_advice(self, advice: str) -> None:
        """Add the advice for a refusal to the last note."""
        if self._waits is not None:
            self._waits.reason = with_advice(self._waits.reason, advice)

    def note_success(self) -> None:
        """Note that a connection was made."""
        if self._waits is not None:
            self._waits.reason = ""


def current_wait() -> Wait:
    """Return the wait that this attempt to connect is for; a new one if there is no limit."""
    wait = _wait_here.get(None)
    if wait is None:
        return Wait(None, CREDENTIALS)
    return wait


@contextmanager
def noted_in(wait: Wait) -> Generator[None]:
    """Let the attempts to connect that the block makes note their progress in `wait`."""
    token = _wait_here.set(wait)
    try:
        yield
    finally:
        _wait_here.reset(token)


def noted_check(
    check: Callable[[ConnectionT], Awaitable[object]] | None,
) -> Callable[[ConnectionT], Awaitable[None]] | None:
    """Return a pool's check of a connection that also notes what the caller waits for."""
    if check is None:
        return None

    async def check_and_note(connection: ConnectionT) -> None:
        wait = current_wait()
        before = wait.what
        wait.what = CHECK
        try:
            await check(connection)
        finally:
            wait.what = before

    return check_and_note


class Waits:
    """The limit for the callers of one pool, and the reason why the pool has no connection."""

    def __init__(
        self,
        max_wait: float | timedelta | None,
        error: Callable[[str], Exception],
    ) -> None:
        """Keep the limit.

        Args:
            max_wait: The limit in seconds or as a `timedelta`; None for no limit.
            error: The class of the error that is raised when the time is over.

        Raises:
            TypeError: `max_wait` isn't a duration.
            ValueError: `max_wait` isn't positive.
        """
        limit = max_wait
        if limit is not None:
            limit = seconds(limit, "max_wait")
        self.seconds: float | None = limit
        self.reason = ""
        """Why the last attempt to connect failed; empty after one that succeeded."""
        self._error = error
        self._cut: dict[Task, Task] = {}
        """Attempts that were cut and haven't ended yet, by the task that waits for that."""

    async def within(
        self,
        get: Callable[[], Coroutine[Any, Any, R]],
        give_back: Callable[[R], Awaitable[object]],
        *,
        wait: Wait | None = None,
    ) -> R:
        """Return the result of `get()`, if it comes within the limit.

        Otherwise, and if the caller is cancelled, `get()` is cancelled, and the caller doesn't wait
        for its end: psycopg, for instance, needs seconds to give up a query to a silent server. For
        this reason it runs in its own task.

        Args:
            get: Makes or acquires a connection.
            give_back: Closes or releases a connection that comes too late.
            wait: The record of the caller's progress, if other code fills it. Otherwise `get` does.

        Raises:
            Exception: The error of `get`, or the one for the end of the time.
        """
        if self.seconds is None:
            return await get()

        if wait is None:
            wait = Wait(self, SLOT)
        task = self._start(get, wait)
        try:
            await asyncio.wait([task], timeout=self.seconds)
        except BaseException:
            self._cut_off(task, give_back)
            raise
        if task.done():
            return task.result()
        self._cut_off(task, give_back)
        raise self._error_of(wait)

    @asynccontextmanager
    async def limited(self) -> AsyncGenerator[None]:
        """Limit a block that gets a connection, in the caller's own task.

        It is for a library that ends an attempt at once when it is cancelled, and that keeps facts
        about the task that connects. A block inside of another one has the wait of that one.
        """
        if self.seconds is None:
            yield
            return
        limit = asyncio.timeout(self.seconds)
        async with self.limited_by(limit):
            yield

    @asynccontextmanager
    async def limited_by(self, limit: asyncio.Timeout) -> AsyncGenerator[None]:
        """Limit a block as `limited` does, by a limit that may be changed while the block runs."""
        wait = _wait_here.get(None)
        if wait is None:
            wait = Wait(self, SLOT)
        try:
            with noted_in(wait):
                async with limit:
                    yield
        except CredentialsError as error:
            self.note_error(error)
            raise
        except TimeoutError:
            if not limit.expired():
                raise
        else:
            return
        raise self._error_of(wait)

    def note_error(self, error: CredentialsError) -> None:
        """Note that the secret is unavailable. The text of such an error holds no value."""
        name = type(error).__name__
        self.reason = text_for_log(f"{name}: {error}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait until the attempts that were cut have ended, for a limited time."""
        # A driver that asks the server to stop a query ends that, too, if it is cancelled again.
        for attempt in self._cut.values():
            attempt.cancel()
        if self._cut:
            await asyncio.wait(list(self._cut), timeout=_SETTLING)

    def _start(
        self,
        get: Callable[[], Coroutine[Any, Any, R]],
        wait: Wait,
    ) -> asyncio.Task[R]:
        """Start the task that gets a connection; it notes its progress in `wait`."""
        with noted_in(wait):
            return asyncio.create_task(self._noting(get))

    async def _noting(self, get: Callable[[], Coroutine[Any, Any, R]]) -> R:
        try:
            return await get()
        except CredentialsError as error:
            self.note_error(error)
            raise

    def _cut_off(self, task: asyncio.Task[R], give_back: Callable[[R], Awaitable[object]]) -> None:
        """Cancel an attempt, and release its connection if it succeeds nevertheless."""
        task.cancel()
        ending = asyncio.create_task(_end(task, give_back))
        self._cut[ending] = task
        ending.add_done_callback(self._cut.pop)

    def _error_of(self, wait: Wait) -> Exception:
        limit = f"No connection within {self.seconds:g} s, which is max_wait"
        error = self._error(f"{limit}. The caller waited for {wait.subject()}.")
        if self.reason:
            error.add_note(f"The last attempt to connect failed. {self.reason}")
        return error


async def _end(task: asyncio.Task[R], give_back: Callable[[R], Awaitable[object]]) -> None:
    await asyncio.wait([task])
    if task.cancelled() or task.exception() is not None:
        return
    # A pool that was closed meanwhile may refuse the connection, and has closed it.
    with suppress(Exception):
        await give_back(task.result())
