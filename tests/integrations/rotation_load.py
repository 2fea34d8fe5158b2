"""Fifty workers query while the secret and the server rotate five times, each time with an open window.

The window, between the change of the server and the move of AWSCURRENT, is real time: it is what is measured.

A place is a database server and a Secrets Manager. A `Run` is one load of one adapter at a place. `PasswordRun` rotates
a password; another kind of rotation is another subclass, and `measure` gets a function that makes its runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aiocredentials import DatabaseCredentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    from aiocredentials import CredentialsPool
    from integrations.postgres import RotatingSecrets

    Query = Callable[[], Awaitable[object]]
    Record = Callable[[dict[str, Any]], None]

WORKERS = 50
ROTATIONS = 5
WINDOW = 2.0
SETTLED = 0.2  # after a window, at least, until what came of it is looked at and the next rotation begins
PAUSE = 2.5  # of a worker, on average, between two queries
REST = 4.0  # a pause once something failed: controls that can't connect leave the processor to the others

SINGLE, ALTERNATING = "single user", "alternating users"
SERVER_FIRST, CURRENT_FIRST = "server first", "AWSCURRENT first"


class Login(NamedTuple):
    """A login, as the server saw it: in seconds since the epoch, by which user, and whether it was accepted."""

    at: float
    """The latest moment that the server's note allows."""
    user: str
    is_accepted: bool
    precision: float = 0.0
    """By how many seconds it may have been earlier: a log may name the second only."""

    def is_in(self, opened: float, closed: float) -> bool:
        """Return whether it may have been between two moments."""
        return opened <= self.at and self.at - self.precision <= closed


class LoadedPlace(Protocol):
    """What a load needs of a database server and a Secrets Manager."""

    server_name: str
    """What the table calls the server."""
    sleep: str
    """A statement that takes a connection for 20 ms, and no processor."""
    secrets: RotatingSecrets

    def fields(self, username: str, password: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return a secret's fields."""
        ...

    async def role(self, name: str, password: str) -> None:
        """Create a user."""
        ...

    async def set_password(self, role: str, password: str) -> None:
        """Change a user's password."""
        ...

    async def connected_since(self, roles: str, moment: float) -> bool:
        """Say whether a user whose name begins so has connected since."""
        ...

    async def connect_elsewhere(self) -> None:
        """Make a connection that no rotation concerns, and close it."""
        ...

    def host(self) -> AbstractAsyncContextManager[CredentialsPool]:
        """Open a pool of the library."""
        ...

    async def logins(self) -> list[Login]:
        """Return all logins since the place was made."""
        ...


class Adapter(NamedTuple):
    """How to open what the workers query with: through the library, and with credentials that are read once."""

    open_pool: Callable[[Any], AbstractAsyncContextManager[Query]]
    open_control: Callable[[DatabaseCredentials], AbstractAsyncContextManager[Query]]


class Window(NamedTuple):
    """One rotation: when its window opened and closed, whose credentials changed, and what it cost."""

    opened: float
    closed: float
    role: str
    fetches: int


@dataclass
class Run:
    """One load, and what came of it. A subclass says what rotates, and how a server's log shows that it was met."""

    place: LoadedPlace
    adapter: str
    kind: str
    order: str
    control: bool = False
    queries: int = 0
    longest: float = 0.0
    probe: float = 0.0
    """The longest that a connection took meanwhile which no rotation concerns: a busy machine takes its time."""
    failures: list[str] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What its secret is called, and how its users begin."""
        words = f"{self.adapter} {self.kind[0]} {self.order[0]} {'control' if self.control else 'load'}"
        return re.sub(r"\W", "_", words).lower()

    async def prepare(self) -> None:
        """Create users and secret."""
        raise NotImplementedError

    async def rotate(self, number: int, told: Callable[[], Awaitable[Any]]) -> Window:
        """Rotate once, with an open window."""
        raise NotImplementedError

    def check_met(self, window: Window, logins: list[Login]) -> None:
        """See in the server's log that new connections met the rotation."""
        raise NotImplementedError

    def manager(self, host: CredentialsPool) -> Any:  # noqa: ANN401 (what the adapter takes)
        """Return what the adapter connects with."""
        return host.manager(self.name, decode=DatabaseCredentials.from_json)

    async def told(self, host: CredentialsPool) -> None:
        """Let a host learn of a rotation: from a queue, or as the ttl ends."""
        await self.manager(host).refresh()

    def row(self) -> dict[str, Any]:
        """Return the line of the table."""
        longest_window = max(window.closed - window.opened for window in self.windows)
        return {
            "server": self.place.server_name,
            "adapter": self.adapter,
            "control": self.control,
            "kind": self.kind,
            "order": self.order,
            "queries": self.queries,
            "failures": len(self.failures),
            "longest": round(self.longest, 2),
            "window": round(longest_window, 2),
            "fetches": None if self.control else max(window.fetches for window in self.windows),
        }

    async def under_load(self, host: CredentialsPool, adapter: Adapter, start: asyncio.Barrier) -> None:
        """Rotate while the workers query. All runs start together: to open a client takes the processor from others."""
        manager = self.manager(host)
        opened = adapter.open_control(await manager.get()) if self.control else adapter.open_pool(manager)

        async def told() -> None:
            if not self.control:
                await self.told(host)

        async with opened as query, asyncio.TaskGroup() as group:
            await query()
            await start.wait()
            over = asyncio.Event()
            for _ in range(WORKERS):
                group.create_task(self._work(query, over))
            await asyncio.sleep(SETTLED)
            for number in range(1, ROTATIONS + 1):
                self.windows.append(await self.rotate(number, told))
            over.set()  # and no cancelling: psycopg_pool takes that for an error of its own

    async def _work(self, query: Query, over: asyncio.Event) -> None:
        while not await _passed(random.uniform(0, 2 * PAUSE) + (REST if self.failures else 0), over):  # noqa: S311
            began = time.monotonic()
            try:
                await query()
            except Exception as error:  # noqa: BLE001 (each is a failure)
                self.failures.append(f"{type(error).__name__}: {error}")
            self.longest = max(self.longest, time.monotonic() - began)
            self.queries += 1


class PasswordRun(Run):
    """The password in the server and the one in the secret rotate, either first, of one user or of two in turn."""

    async def prepare(self) -> None:
        """Create users and secret."""
        for number in (1, 0):
            await self.place.role(self.role(number), f"{self.name}-0")
        self.place.secrets.create(self.name, self.place.fields(self.role(0), f"{self.name}-0"))

    async def rotate(self, number: int, told: Callable[[], Awaitable[Any]]) -> Window:
        """Change the password on both sides, with an open window between."""
        secrets, before = self.place.secrets, self.place.secrets.fetches[self.name]
        role = self.role(number)
        password = f"{self.name}-{number}"
        secrets.pend(self.name, self.place.fields(role, password))
        opened = time.time()
        if self.order == SERVER_FIRST:
            await self.place.set_password(role, password)
            await asyncio.sleep(WINDOW)
            secrets.promote(self.name)
        else:
            secrets.promote(self.name)
            await told()
            await asyncio.sleep(WINDOW)
            await self.place.set_password(role, password)
        closed = time.time()
        if self.order == SERVER_FIRST and self.kind == ALTERNATING:
            await told()
        await asyncio.sleep(SETTLED)
        # A rotation that nobody meets before the next one comes would be counted with that one.
        while not self.control and not await self.place.connected_since(self.name, closed):  # noqa: ASYNC110
            await asyncio.sleep(SETTLED / 4)
        return Window(opened, closed, role, secrets.fetches[self.name] - before)

    def role(self, number: int) -> str:
        """Return whose password a rotation changes."""
        return f"{self.name}_{number % 2 if self.kind == ALTERNATING else 0}"

    def check_met(self, window: Window, logins: list[Login]) -> None:
        """See in the server's log that new connections met the rotation."""
        own = [login for login in logins if login.user.startswith(self.name)]
        during = [login.is_accepted for login in own if login.is_in(window.opened, window.closed)]
        assert True in during, f"{self.row()}: no new connection in a window"
        if self.kind == ALTERNATING and self.order == SERVER_FIRST:
            # The user of before goes on working; what is met is the change to the other.
            later = {login.user for login in own if login.at >= window.closed}
            assert window.role in later, f"{self.row()}: no new connection as the new user"
        else:
            assert False in during, f"{self.row()}: nothing was refused in a window"


def password_runs(place: LoadedPlace, adapter: str) -> list[Run]:
    """Return a run of each kind and order, and the controls."""
    orders = [(kind, order) for kind in (SINGLE, ALTERNATING) for order in (SERVER_FIRST, CURRENT_FIRST)]
    runs: list[Run] = [PasswordRun(place, adapter, kind, order) for kind, order in orders]
    controls = [PasswordRun(place, adapter, kind, SERVER_FIRST, control=True) for kind in (SINGLE, ALTERNATING)]
    return [*runs, *controls]


async def _passed(pause: float, over: asyncio.Event) -> bool:
    """Wait, but not longer than until it is over; say whether it is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(pause):
            await over.wait()
    return over.is_set()


async def measure(
    place: LoadedPlace,
    adapters: Mapping[str, Adapter],
    make_runs: Callable[[LoadedPlace, str], Iterable[Run]] = password_runs,
) -> list[Run]:
    """Make the runs of all adapters, run them all at once, and return what came of each."""
    pairs = [(run, adapter) for name, adapter in adapters.items() for run in make_runs(place, name)]
    runs = [run for run, _ in pairs]
    for run in runs:
        await run.prepare()

    start = asyncio.Barrier(len(runs))
    async with place.host() as host, asyncio.TaskGroup() as group:
        tasks = [group.create_task(run.under_load(host, adapter, start)) for run, adapter in pairs]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(SETTLED)
            began = time.monotonic()
            await place.connect_elsewhere()
            probe = time.monotonic() - began
            for run in runs:
                run.probe = max(run.probe, probe)
    return runs


def check(runs: list[Run], logins: list[Login], record_rotation: Record) -> None:
    """Hold the promise, and see that the controls break it; each run leaves its line of the table."""
    for run in runs:
        record_rotation(run.row())
    for run in runs:
        if run.control:
            assert run.failures, f"{run.row()}: a password that is read once survived"
            continue
        assert run.failures == [], run.row()
        window = max(window.closed - window.opened for window in run.windows)
        # Who meets a window makes up to three connections: two are refused, one is taken.
        assert run.longest < window + 1 + 3 * run.probe, f"{run.row()}, where one connection took {run.probe:.2f} s"
        assert max(window.fetches for window in run.windows) <= 2, run.row()
        assert run.queries > WORKERS * 2, run.row()
        for window in run.windows:
            run.check_met(window, logins)
