"""What a pool has open: in each running loop, one session and one client per region, which heal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from botocore.exceptions import NoCredentialsError

from aiocredentials._aws.redact import our_call, wire_logs_redacted
from aiocredentials._aws.regions import Region, default_region
from aiocredentials._aws.session import Opened, note_refusal, open_client, open_session, signs_again
from aiocredentials._aws.settings import ClientSettings, core_of, is_custom
from aiocredentials._loops import (
    PerLoop,
    bookkeeping,
    close_in_each_loop,
    detached_task,
    join,
    turn,
)
from aiocredentials.errors import CredentialsError, PoolClosedError, for_caller, make_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    import aioboto3
    from aiobotocore.session import AioSession

    from aiocredentials._aws.settings import CustomSession

R = TypeVar("R")

logger = logging.getLogger("aiocredentials")

CLOSE_SECONDS = 3.0
"""How long closing waits for an event loop.

A third of it is for the calls that closing has ended, a third for openings that it has cancelled.
"""

_CREDENTIALS = object()


class PooledSession:
    """One session and one client per region, for all calls of a running loop until `aclose`."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._loops = PerLoop(partial(_LoopClients, settings), _LoopClients.abandon)
        self._state: Literal["new", "open", "closed"] = "new"
        # A pool may be forgotten, or live until the process ends, after the loops that used it.
        weakref.finalize(self, self._loops.abandon_dead)

    def open(self) -> bool:
        """Allow calls, which open sessions and clients. Return whether it wasn't open before."""
        with bookkeeping:
            was_new = self._state == "new"
            if self._state != "closed":
                self._state = "open"
                return was_new
        what = "The pool was closed, and closing is final: make a new one."
        raise make_error(PoolClosedError, what)

    @property
    def closed(self) -> bool:
        """Whether the pool is closed."""
        return self._state == "closed"

    @property
    def profile(self) -> str | None:
        """The AWS profile of the settings."""
        return self._settings.profile

    def _check_open(self) -> None:
        if self._state == "new":
            what = "The pool isn't open yet: use `async with pool:` first."
            raise make_error(PoolClosedError, what)
        if self._state == "closed":
            raise make_error(PoolClosedError, "The pool is closed: make a new one.")

    async def region(self) -> Region:
        """Return the default region of the pool."""
        self._check_open()
        return default_region(self._settings, await self._loops.get().current.session())

    @asynccontextmanager
    async def client(
        self,
        region: Region | None,
        deadline: asyncio.Timeout,
    ) -> AsyncGenerator[Opened]:
        """Lend the shared client of the region."""
        self._check_open()
        state = self._loops.get()
        redact = self._settings.redact_wire_logs
        with state.lent(deadline) as clients, our_call(redact=redact):
            # Once more: another thread that closed the pool meanwhile may not have seen this loop.
            self._check_open()
            try:
                yield await clients.opened(region, _seconds_left(deadline))
            except Exception as error:
                note_refusal(self._settings, error)
                if clients.would_fail_again(error):
                    state.renew(clients)
                raise

    async def aclose(self) -> None:
        """Close the clients of all loops; calling it again does nothing.

        A cancelled caller waits for the end, too. A loop that doesn't close its clients in time,
        because it is blocked or stopped, is left alone, with a warning in the log.
        """
        with bookkeeping:
            self._state = "closed"
        states = [(loop, state) for loop, state in self._loops.living() if state.is_in_use]
        late = await close_in_each_loop(states, _LoopClients.aclose, CLOSE_SECONDS)
        self._loops.abandon_dead()
        if late:
            logger.warning(
                "The pool is closed, but %d event loop(s) didn't close their clients within %g s: "
                "they are blocked or stopped, or a call in them ignores its cancellation. "
                "Close a pool before its loops end.",
                late,
                CLOSE_SECONDS,
            )

    @property
    def holds_clients(self) -> bool:
        """Whether there is something that only `aclose` closes."""
        return any(state.current.open for _, state in self._loops.living())

    def __repr__(self) -> str:
        """Name the state, and the regions that have a client."""
        states = [state for _, state in self._loops.living()]
        # A tuple is made at once: the loops of other threads go on.
        names = [name for state in states for name in tuple(state.current.open)]
        return " ".join([self._state, *sorted({name for name in names if name})])


def _seconds_left(deadline: asyncio.Timeout) -> float | None:
    when = deadline.when()
    return None if when is None else when - asyncio.get_running_loop().time()


class _LoopClients:
    """What a pool has in one running loop: the clients for new calls, and those of older calls."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self.current = _Clients(settings)
        self._replaced: set[_Clients] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def is_in_use(self) -> bool:
        """Whether there is anything to close, or a call to end."""
        return bool(self._replaced) or self.current.is_in_use

    @contextmanager
    def lent(self, deadline: asyncio.Timeout) -> Generator[_Clients]:
        """Note that a call uses the clients: closing ends the calls first, and the clients then."""
        clients = self.current
        clients.users.add(deadline)
        try:
            yield clients
        finally:
            clients.users.discard(deadline)
            clients.returned.set()
            if clients is not self.current and not clients.users:
                self._close(clients)

    def renew(self, failed: _Clients) -> None:
        """Have later calls search for AWS credentials again.

        Of many calls that fail together, the first one does this for all.
        """
        if failed is self.current:
            self._replaced.add(failed)
            self.current = _Clients(self._settings)

    def _close(self, replaced: _Clients) -> None:
        """Close clients that no call uses any more. `aclose` does it if it comes first."""

        async def close() -> None:
            await replaced.aclose()
            self._replaced.discard(replaced)

        task = detached_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all clients."""
        closing = [clients.aclose() for clients in (self.current, *self._replaced)]
        await asyncio.gather(*closing, *self._closing)
        self._replaced.clear()

    def abandon(self) -> None:
        """Close the sockets when the loop is closed already."""
        for clients in (self.current, *self._replaced):
            clients.abandon()


@dataclass(frozen=True, slots=True, repr=False)
class _Outcome:
    """The result of a shared task.

    An error is returned, not raised: asyncio logs what a task raises and nobody awaits. It has no repr of its own,
    because the repr of a task shows its result, and an error of the credential chain may hold an answer.
    """

    value: object = None
    error: Exception | None = None


class _Clients:
    """A session and the clients made of it, which are dropped together when AWS refuses them."""

    def __init__(self, settings: ClientSettings) -> None:
        self.open: dict[str | None, Opened] = {}
        self.users: set[asyncio.Timeout] = set()
        self.returned = asyncio.Event()
        self._settings = settings
        self._is_spoiled = False
        self._was_opened = False
        self._session: AioSession | aioboto3.Session | CustomSession | None = None
        self._making = asyncio.Lock()
        self._shared: dict[object, asyncio.Task[_Outcome | None]] = {}
        self._tasks: set[asyncio.Task[_Outcome | None]] = set()
        self._searching = 0
        self._seconds: float | None = None
        self._stack = AsyncExitStack()
        self._redaction = wire_logs_redacted(redact=settings.redact_wire_logs)

    @property
    def is_in_use(self) -> bool:
        """Whether there is anything to close, or a call to end."""
        return self._was_opened or bool(self.users)

    def would_fail_again(self, error: Exception) -> bool:
        """Return whether the next call would fail as this one has, with what these clients know.

        Either they have no credentials, or these can't be renewed, or AWS refuses them; or no
        client could be opened, and the session remembers what the configuration files said.
        """
        is_refused = isinstance(error, NoCredentialsError) or signs_again(error)
        return is_refused or self._is_spoiled or not (self.open or self._tasks)

    async def session(self) -> aioboto3.Session | AioSession | CustomSession:
        """Return the session; making it needs no network, and so no task of its own."""
        async with self._making:
            if self._session is None:
                session = await open_session(self._settings)
                if not is_custom(session):
                    core = core_of(session)
                    search = partial(self._credentials, core.get_credentials, core)
                    vars(core)["get_credentials"] = search
                self._session = session
        return self._session

    async def opened(self, region: Region | None, seconds: float | None) -> Opened:
        """Return the client of the region, or of the default one.

        Opening it may take `seconds`, as long as a whole call. A caller that is cancelled
        meanwhile leaves the opening to the others.
        """
        key = region.name if region else None
        found = self.open.get(key)
        if found is None:
            self._seconds = seconds
            self._was_opened = True
            self._redaction.__enter__()
            try:
                # In an empty context: the client belongs to no caller's trace or request.
                found = await self._once(key, partial(self._open, region), start=detached_task)
            except CredentialsError as error:
                failure = for_caller(error, **(region.facts() if region else {}))
            else:
                return found
            raise failure
        # The errors of each caller name the source of its own region.
        return found if region is None else Opened(found.client, region)

    async def _open(self, region: Region | None) -> Opened:
        session = await self.session()
        try:
            if region is None:
                where = default_region(self._settings, session)
                opened = await self.opened(where, self._seconds)
                self.open[None] = opened
            else:
                opened = await open_client(self._stack, session, region, self._settings)
                self.open[region.name] = opened
        except asyncio.CancelledError:
            # The opening took too long. This session remembers what the configuration files said;
            # the next one reads them.
            if self._session is session:
                self._session = None
            raise
        return opened

    async def _credentials(
        self,
        get_credentials: Callable[[], Coroutine[Any, Any, object]],
        core: AioSession,
    ) -> object:
        """Search for AWS credentials once, for all clients that need them at the same time.

        It takes the place of the session's own method.
        """
        # The transport was loaded in a thread before there was a session.
        from aiocredentials._aws import chain  # noqa: PLC0415

        self._searching += 1
        try:
            search = partial(chain.resolve, get_credentials, core)
            # In the context of the opening, which says what may be logged.
            credentials = await self._once(_CREDENTIALS, search)
        finally:
            self._searching -= 1
            task = None if self._searching else self._shared.pop(_CREDENTIALS, None)
            if task is not None:
                # All openings that needed it were given up.
                task.cancel()
        chain.when_refresh_fails(credentials, self._spoil)
        # Now botocore builds a client without an await, which takes several milliseconds.
        await turn()
        return credentials

    def _spoil(self) -> None:
        self._is_spoiled = True

    async def _once(
        self,
        key: object,
        work: Callable[[], Coroutine[Any, Any, R]],
        start: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]] = asyncio.create_task,
    ) -> R:
        """Do some work once for all callers that need it, in a task that belongs to none of them.

        The task is given up when it takes longer than a whole call may. A caller that still has
        time begins a new one: a helper process that hung may work when it is started again.
        """
        while True:
            task = self._shared.get(key)
            if task is None or task.done():
                task = start(self._in_time(work))
                self._shared[key] = task
                self._tasks.add(task)
                task.add_done_callback(partial(self._ended, key))
            outcome = await join(task)
            if outcome is not None:
                break
        if outcome.error is not None:
            raise outcome.error
        return cast("R", outcome.value)

    def _ended(self, key: object, task: asyncio.Task[_Outcome | None]) -> None:
        self._tasks.discard(task)
        if self._shared.get(key) is task:
            del self._shared[key]

    async def _in_time(self, work: Callable[[], Coroutine[Any, Any, object]]) -> _Outcome | None:
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                return _Outcome(await work())
        except Exception as error:  # noqa: BLE001 (it is raised to the callers that wait)
            return None if limit.expired() else _Outcome(error=error)

    async def aclose(self) -> None:
        """End the calls and the openings in flight, then close the clients."""
        for deadline in self.users:
            if not deadline.expired():
                deadline.reschedule(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS / 3):
                while self.users:
                    self.returned.clear()
                    await self.returned.wait()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS / 3)
        try:
            await self._stack.aclose()
        except Exception as error:  # noqa: BLE001 (a session of the caller's may raise anything)
            # Nobody can do anything about it, and the other clients and loops are to be closed too.
            logger.warning("A client raised %s when it was closed.", type(error).__name__)
        finally:
            self._forget()

    def abandon(self) -> None:
        """Close the sockets, without the loop."""
        for opened in self.open.values():
            if not is_custom(self._settings.session):
                from aiocredentials._aws import transport  # noqa: PLC0415 (it made the client)

                transport.abandon(opened.client)
        self._forget()

    def _forget(self) -> None:
        self.open.clear()
        self._session = None
        self._was_opened = False
        self._redaction.__exit__()
